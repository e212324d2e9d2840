#!/usr/bin/env bash
# The demo: real flights stream into a vdb table through eight sessions while another one asks for
# totals and a consumer follows them as events; they migrate, and are queried beside a heap twin; then the server is killed. About a minute.
#
#   DEMO_SESSIONS   writers (default 8)
#   DEMO_BATCH      rows a transaction (default 100)
#   DEMO_ROWS       stop after so many rows (default: all 937,500)
#   DEMO_DATA       another flights.csv.xz with the same columns
#   DEMO_SETUP=0    the extension is built and installed already
#   VDB_TEST_AM     heap: without the extension, to check this script
#
# Every transaction writes its rows into 'flights' and one line with their number and miles into
# 'batches', a vdb table too. So in any snapshot the two must agree, or someone saw half a transaction.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
if [ "${DEMO_SETUP:-1}" = 1 ]; then
	echo 'Setting up (packages, build, install) ...'
	if [ "${VDB_TEST_AM:-vdb}" = heap ]; then "$here/../setup.sh" packages; else "$here/../setup.sh"; fi
fi
. "$here/../lib/server.sh"

sessions=${DEMO_SESSIONS:-8}
batch=${DEMO_BATCH:-100}
data=${DEMO_DATA:-$here/flights.csv.xz}
limit=${DEMO_ROWS:-1000000000}
am=$VDB_TEST_AM
begin=$(date +%s%N)
problems=()
summary=()

if [ -t 1 ]; then
	bold=$(printf '\033[1m') dim=$(printf '\033[2m') good=$(printf '\033[32m') bad=$(printf '\033[31m')
	plain=$(printf '\033[0m') tty=1
else
	bold='' dim='' good='' bad='' plain='' tty=0
fi

step() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
note() { printf '  %s\n' "$*"; }
problem() { printf '  %s%s%s\n' "$bad" "$*" "$plain"; problems+=("$*"); }
seconds() { awk -v a="$1" -v b="$(date +%s%N)" 'BEGIN {printf "%.1f", (b - a) / 1e9}'; }
thousands() { printf '%s' "$1" | sed -E ':a; s/^([0-9]+)([0-9]{3})/\1,\2/; ta'; }
mb() { awk -v b="$1" 'BEGIN {printf (b < 10485760 ? "%.2f MB" : "%.1f MB"), b / 1048576}'; }
share() { awk -v a="$1" -v b="$2" 'BEGIN {printf "%.1f", (b > 0 ? a / b : 0)}'; }
# one line: replaced by the next on a terminal, every few seconds one of them elsewhere
last_line=0
progress() {
	if [ $tty = 1 ]; then
		printf '\r\033[K  %s' "$*"
	elif [ $((SECONDS - last_line)) -ge 3 ]; then
		last_line=$SECONDS
		note "$*"
	fi
}
progress_end() { [ $tty = 0 ] || printf '\r\033[K'; }

# A row of the view vdb.tables for flights: rows in SCM, rows on flash, stripes (0s on heap).
flights_places() {
	if [ "$am" = heap ]; then
		echo '0|0|0'
	else
		sql "SELECT coalesce(sum(pool_rows), 0), coalesce(sum(striped_rows), 0), coalesce(sum(stripes), 0)
			FROM vdb.tables WHERE relation::regclass = 'flights'::regclass"
	fi
}
pool_used() { [ "$am" = heap ] && echo 0 || sql 'SELECT used_bytes FROM vdb.pool'; }

step "1. A throwaway PostgreSQL server"
server_create demo 'shared_buffers = 256MB' 'max_wal_size = 2GB' 'wal_level = logical' "log_min_messages = warning"
extension_create
note "$(sql 'SHOW server_version' | cut -d' ' -f1) in $VDB_WORK, data checksums on, fsync on"
if [ "$am" != heap ]; then
	pool=$(sql 'SELECT persistent, size_bytes, path FROM vdb.pool')
	IFS='|' read -r persistent size path <<<"$pool"
	if [ "$persistent" = t ]; then
		note "the pool is on persistent memory: $path, $(mb "$size")"
	else
		note "no persistent memory in its tablespace: the pool is emulated in a file ($path, $(mb "$size"))"
	fi
fi
columns='date timestamp NOT NULL, delay int NOT NULL, distance int NOT NULL, origin text NOT NULL, destination text NOT NULL'
sql "CREATE TABLE flights ($columns) USING $am"
sql "CREATE TABLE batches (session int, batch int, n int NOT NULL, miles bigint NOT NULL, PRIMARY KEY (session, batch)) USING $am"
sql "CREATE TABLE flights_heap ($columns) USING heap"
note 'CREATE TABLE flights (date, delay, distance, origin, destination) USING vdb'

step "2. The same flights into a heap table, to compare with later"
xz -dc "$data" | awk -v n="$limit" 'NR <= n + 1' >"$VDB_WORK/flights.csv" || true
sql "\\copy flights_heap FROM '$VDB_WORK/flights.csv' (FORMAT csv, HEADER)"
sql 'VACUUM ANALYZE flights_heap'
total=$(sql 'SELECT count(*) FROM flights_heap')
note "$(thousands "$total") flights of 2001"

# One script a session: transactions of $batch rows each, dealt out in turn, so that all sessions move
# through the year together.
awk -F, -v s="$sessions" -v b="$batch" -v dir="$VDB_WORK" '
	function close_batch() {
		if (n == 0) return
		printf "\\.\nINSERT INTO batches VALUES (%d, %d, %d, %d);\nCOMMIT;\n", k, ++count, n, miles >out
		n = miles = 0
		k = (k + 1) % s
	}
	BEGIN { k = 0 }
	NR > 1 {
		if (n == 0) { out = dir "/stream." k; print "BEGIN;\nCOPY flights FROM STDIN (FORMAT csv);" >out }
		print >out
		miles += $3
		if (++n == b) close_batch()
	}
	END { close_batch() }' "$VDB_WORK/flights.csv"

step "3. $sessions sessions stream them in, $batch rows a transaction; others check the totals and follow the events"
# The consumer: each flight as it comes out of a logical slot, in the order of commits. It counts them, and their miles.
sql "SELECT pg_create_logical_replication_slot('demo', 'test_decoding')" >/dev/null
"$PGBIN/pg_recvlogical" -d "${PGDATABASE:-postgres}" -S demo --start -s 1 -f - -o skip-empty-xacts=1 2>"$VDB_WORK/events.err" |
	awk -v out="$VDB_WORK/events" '
		/^table public.flights: INSERT/ {n++; match($0, /distance\[integer\]:[0-9]+/); miles += substr($0, RSTART + 18, RLENGTH - 18)}
		/^COMMIT/ && ++commits % 100 == 0 {print n, miles >out; close(out)}
		END {print n + 0, miles + 0 >out}' &
consumer=$!
start=$(date +%s%N)
writers=()
for ((i = 0; i < sessions; i++)); do
	psql_as -q -v ON_ERROR_STOP=1 -f "$VDB_WORK/stream.$i" >"$VDB_WORK/stream.$i.log" 2>&1 &
	writers+=($!)
done

running() { local p; for p in "${writers[@]}"; do kill -0 "$p" 2>/dev/null && return; done; return 1; }

# The checker asks in one statement, so in one snapshot, until the writers are done.
(
	checks=0 wrong=0
	while [ ! -e "$VDB_WORK/streamed" ]; do
		r=$(sql 'SELECT f.n, f.miles, b.n, b.miles FROM (SELECT count(*) AS n, coalesce(sum(distance), 0) AS miles FROM flights) f,
			(SELECT coalesce(sum(n), 0) AS n, coalesce(sum(miles), 0) AS miles FROM batches) b' 2>>"$VDB_WORK/checker.err") || { wrong=$((wrong + 1)); sleep 0.2; continue; }
		IFS='|' read -r fn fm bn bm <<<"$r"
		checks=$((checks + 1))
		if [ "$fn" != "$bn" ] || [ "$fm" != "$bm" ]; then
			wrong=$((wrong + 1))
			echo "flights: $fn rows, $fm miles; batches say $bn and $bm" >>"$VDB_WORK/checker.err"
		fi
		echo "$checks $wrong $fn" >"$VDB_WORK/checker.new"
		mv "$VDB_WORK/checker.new" "$VDB_WORK/checker"
		sleep 0.1
	done
) &
checker=$!

moved_meanwhile=0
while running; do
	{ read -r checks wrong rows <"$VDB_WORK/checker"; } 2>/dev/null || { checks=0 wrong=0 rows=0; }
	IFS='|' read -r in_scm on_flash stripes <<<"$(flights_places 2>/dev/null || echo '0|0|0')"
	[ "$on_flash" -le "$moved_meanwhile" ] || moved_meanwhile=$on_flash
	line="$(printf '%5.1f s  %9s rows' "$(seconds "$start")" "$(thousands "$rows")")"
	[ "$am" = heap ] || line="$line  SCM $(thousands "$in_scm")  flash $(thousands "$on_flash") in $stripes stripes  pool $(mb "$(pool_used)")"
	progress "$line  $checks checks, $wrong wrong"
	sleep 0.3
done
touch "$VDB_WORK/streamed"
wait "$checker" || true
progress_end
took=$(seconds "$start")
for ((i = 0; i < sessions; i++)); do
	wait "${writers[$i]}" || problem "session $i: $(tail -n 1 "$VDB_WORK/stream.$i.log")"
done
{ read -r checks wrong rows <"$VDB_WORK/checker"; } 2>/dev/null || { checks=0 wrong=0; }
[ "$wrong" = 0 ] || problem "$wrong checks saw half a transaction: $(tail -n 1 "$VDB_WORK/checker.err")"
[ "$checks" -gt 0 ] || problem 'no check of the totals was made'
transactions=$(sql 'SELECT count(*) FROM batches')
rate=$(awk -v n="$total" -v s="$took" 'BEGIN {printf "%d", n / s}')
note "$(thousands "$total") rows in $(thousands "$transactions") transactions in $took s: $(thousands "$rate") rows/s, each acknowledged when durable"
note "$checks times the totals were asked for meanwhile; $wrong times they saw half a transaction"
summary+=("$(thousands "$rate") rows/s through $sessions sessions; $checks snapshots checked, $wrong wrong")

# The consumer is done when it has confirmed what is in WAL by now; then the slot lets go of it.
start=$(date +%s%N)
read -r followed rest <"$VDB_WORK/events" 2>/dev/null || followed=0
end=$(sql 'SELECT pg_current_wal_lsn()')
until [ "$(sql "SELECT confirmed_flush_lsn >= '$end' OR NOT active FROM pg_replication_slots WHERE slot_name = 'demo'")" = t ]; do
	sql "SELECT pg_logical_emit_message(true, 'demo', '')" >/dev/null
	sleep 0.3
done
sql "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 'demo' AND active" >/dev/null
for p in $(children_of $$) $(children_of "$consumer"); do
	[ "$(cat "/proc/$p/comm" 2>/dev/null)" != pg_recvlogical ] || kill -INT "$p" 2>/dev/null || true
done
wait "$consumer" || true
sql "SELECT pg_drop_replication_slot('demo')" >/dev/null
read -r events miles <"$VDB_WORK/events"
note "a consumer of the slot had $(thousands "$followed") events when the last was committed, and all $(thousands "$events") $(seconds "$start") s later"
if [ "$events $miles" = "$(sql "SELECT count(*) || ' ' || sum(distance) FROM flights")" ]; then
	summary+=("$(thousands "$events") events followed as they arrived: the table's number and miles")
else
	problem "the consumer counted $(thousands "$events") flights and $miles miles"
fi

if [ "$am" != heap ]; then
	step "4. Migration: what moved by itself, and the rest by request"
	before=$(pool_used)
	note "$(thousands "$moved_meanwhile") rows had moved to flash while the others came in"
	start=$(date +%s%N)
	moved=$(sql "SELECT vdb.migrate('flights')")
	note "SELECT vdb.migrate('flights'): $(thousands "$moved") rows in $(seconds "$start") s"
	IFS='|' read -r in_scm on_flash stripes <<<"$(flights_places)"
	note "now $(thousands "$in_scm") rows in SCM, $(thousands "$on_flash") on flash in $stripes stripes; pool use $(mb "$before") -> $(mb "$(pool_used)")"
	[ "$on_flash" = "$total" ] || problem "$(thousands "$on_flash") rows on flash, not $(thousands "$total")"
	# and some new rows, so that every question below meets both kinds
	sql "DELETE FROM flights WHERE date >= '2001-06-30 23:00'"
	sql "INSERT INTO flights SELECT * FROM flights_heap WHERE date >= '2001-06-30 23:00'"
	IFS='|' read -r in_scm on_flash stripes <<<"$(flights_places)"
	fresh=$in_scm
	note "the last hour deleted and inserted again: $(thousands "$fresh") new rows in SCM"
	sql 'ANALYZE flights'
	summary+=("$(thousands "$moved_meanwhile") rows moved to flash by themselves while rows streamed in")
fi

step "5. Ten questions, asked of both tables"
ask() {	# ask TABLE QUERY: the answer on stdout, milliseconds in $VDB_WORK/ms
	local t
	t=$(date +%s%N)
	printf '%s\n' "$2" | psql_as -q -A -t -v ON_ERROR_STOP=1 -v t="$1" 2>&1 || true
	echo $((($(date +%s%N) - t) / 1000000)) >"$VDB_WORK/ms"
}
same=0 asked=0 ms_v=0 ms_h=0
printf '  %s%-72s %8s %8s%s\n' "$dim" '' "$am" heap "$plain"
question='' query=''
one_question() {
	local v h tv th verdict
	[ -n "$query" ] || return 0
	v=$(ask flights "$query") tv=$(cat "$VDB_WORK/ms")
	h=$(ask flights_heap "$query") th=$(cat "$VDB_WORK/ms")
	asked=$((asked + 1)) ms_v=$((ms_v + tv)) ms_h=$((ms_h + th))
	if [ "$v" = "$h" ] && [ -n "${h//[[:space:]]/}" ]; then
		same=$((same + 1)) verdict="${good}same${plain}"
	elif [ "$v" = "$h" ] && [ "${h#*ERROR}" = "$h" ]; then
		same=$((same + 1)) verdict="${good}same (none)${plain}"
	else
		verdict="${bad}DIFFERENT${plain}"
		problems+=("question $asked differs: $(printf '%s' "$v" | head -n 1) / $(printf '%s' "$h" | head -n 1)")
	fi
	printf '  %2d %-69s %5d ms %5d ms  %s\n' "$asked" "$question" "$tv" "$th" "$verdict"
	printf '%s     %s%s\n' "$dim" "$(printf '%s' "$h" | head -n 3 | paste -sd ';' | sed 's/;/;  /g' | cut -c1-90)" "$plain"
	query=''
}
while IFS= read -r line; do
	case $line in
		'-- question: '*) one_question; question=${line#-- question: } ;;
		--*) ;;
		*) query="$query$line
" ;;
	esac
done <"$here/questions.sql"
one_question
note "$same of $asked answers are the same; $ms_v ms on $am, $ms_h ms on heap"
summary+=("$same of $asked questions answered as heap answers them ($ms_v ms, heap $ms_h ms)")

step "6. Pruning: one day of the half year"
sql "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT count(*) FROM flights
	WHERE date >= '2001-02-14' AND date < '2001-02-15'" | sed 's/^/  /'

step "7. Bytes"
size_v=$(sql "SELECT pg_total_relation_size('flights')")
size_h=$(sql "SELECT pg_total_relation_size('flights_heap')")
note "$(printf '%-14s %10s' "$am" "$(mb "$size_v")")"
note "$(printf '%-14s %10s' heap "$(mb "$size_h")")   $(share "$size_h" "$size_v") times as much"
[ "$am" = heap ] || note "$(printf '%-14s %10s' 'pool, used' "$(mb "$(pool_used)")")   for the rows that are not on flash, and the statistics of those that are"
summary+=("$(mb "$size_v") where heap takes $(mb "$size_h"): $(share "$size_h" "$size_v") to 1")

step "8. kill -9 to the whole server, in the middle of a transaction"
counts="SELECT count(*), sum(distance), sum(delay), min(date), max(date), md5(string_agg(DISTINCT origin, ',')) FROM"
wanted=$(sql "$counts flights_heap")
psql_as -q -c "BEGIN" -c "INSERT INTO flights SELECT * FROM flights_heap LIMIT 5000" \
	-c "DELETE FROM flights WHERE origin = 'ATL'" -c "SELECT pg_sleep(600)" >/dev/null 2>&1 &
victim=$!
n=0
until [ "$(sql "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND wait_event = 'PgSleep'")" = 1 ]; do
	sleep 0.1
	n=$((n + 1))
	[ $n -lt 300 ] || { problem 'the transaction to be killed did not start'; break; }
done
note 'a session has inserted 5,000 flights and deleted all from Atlanta, and has not committed'
server_kill9
wait "$victim" 2>/dev/null || true
start=$(date +%s%N)
server_start
note "killed; recovered in $(seconds "$start") s"
got=$(sql "$counts flights")
if [ "$got" = "$wanted" ]; then
	note "${good}$(thousands "${got%%|*}") flights, the same totals as before: nothing lost, nothing doubled, nothing half done$plain"
	summary+=("after kill -9: all $(thousands "${got%%|*}") flights, same totals, the open transaction gone")
else
	problem "after the crash: $got instead of $wanted"
fi
b=$(sql 'SELECT sum(n) FROM batches')
[ "$b" = "$total" ] || problem "after the crash the batches add up to $b rows instead of $total"
if [ "$am" != heap ]; then
	complaints=$(sql "SELECT count(*) FROM (SELECT vdb.verify('flights') UNION ALL SELECT vdb.verify('batches')) v") ||
		problem 'vdb.verify failed'
	if [ "${complaints:-1}" = 0 ]; then
		note "vdb.verify: every checksum right, map and indexes agree"
	else
		problem "vdb.verify has ${complaints:-an unknown number of} complaints"
	fi
fi

step "Summary ($(seconds "$begin") s)"
for s in "${summary[@]}"; do note "- $s"; done
if [ ${#problems[@]} -gt 0 ]; then
	printf '\n%s%d problem(s):%s\n' "$bad" ${#problems[@]} "$plain"
	for s in "${problems[@]}"; do note "- $s"; done
	exit 1
fi
printf '\n  %sOne table, new rows and old, and every answer right.%s\n' "$good" "$plain"
