# shellcheck shell=bash
# What the benchmarks share. Sourced by test/bench/*.sh.
#
#   bench_open TITLE              one line about the question; server, settings, machine, commit
#   bench_tables AM               makes events_AM, empty
#   bench_load AM                 ... with BENCH_EVENTS events
#   bench_settle AM               vdb: moves all to stripes; both: VACUUM ANALYZE
#   bench_result CASE AM VALUE    one run's figure
#   bench_counted CASE AM COMMAND...   ... the figure that the command prints, and how often it made WAL durable
#   bench_report_counted CASE UNIT higher|lower GOAL   as bench_report, for the figures and for the flushes
#   bench_report CASE UNIT higher|lower GOAL   medians and the ratio: above 1 means better than heap
#
# Knobs: BENCH_EVENTS (1000000), BENCH_RUNS (5), BENCH_SECS (10, a pgbench run), BENCH_CLIENTS ('1 4 16 64'),
# BENCH_SHARED_BUFFERS (2GB), BENCH_SETTINGS (more settings, ';' between them).

. "$(dirname "${BASH_SOURCE[0]}")/../lib/server.sh"

: "${BENCH_EVENTS:=1000000}" "${BENCH_RUNS:=5}" "${BENCH_SECS:=10}" "${BENCH_CLIENTS:=1 4 16 64}"
: "${BENCH_SHARED_BUFFERS:=2GB}" "${BENCH_SETTINGS:=}"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# heap and vdb; with VDB_TEST_AM=heap a second heap table stands in (a check of the scripts)
second=$VDB_TEST_AM
ams="heap vdb"
using() { if [ "$1" = heap ]; then echo heap; else echo "$second"; fi; }

now_ms() { echo $(($(date +%s%N) / 1000000)); }

bench_open() {
	local settings=("shared_buffers = $BENCH_SHARED_BUFFERS" 'work_mem = 256MB' 'maintenance_work_mem = 1GB'
		'max_parallel_workers_per_gather = 2' 'jit = off' 'max_wal_size = 8GB' 'max_connections = 200')
	local more
	IFS=';' read -ra more <<<"$BENCH_SETTINGS"
	settings+=(${more[@]+"${more[@]}"})
	RESULTS=$(mktemp)
	server_create bench "${settings[@]}"
	extension_create
	echo "== $1"
	echo "   commit   $(git -C "$here" describe --always --dirty 2>/dev/null || echo unknown)"
	echo "   machine  $(nproc) x $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(awk '/MemTotal/ {printf "%.0f GB", $2 / 1048576}' /proc/meminfo), $(date -u +%Y-%m-%dT%H:%MZ)"
	echo "   server   PostgreSQL $(sql 'SHOW server_version'), fsync $VDB_FSYNC; $(printf '%s; ' "${settings[@]}")"
	if [ "$second" = heap ]; then
		echo '   NOTE     both columns are heap (VDB_TEST_AM=heap)'
	else
		echo "   pool     $(sql "SELECT CASE WHEN persistent THEN 'persistent memory' ELSE 'emulated on an ordinary file' END FROM vdb.pool"), vdb.scm_size $(sql 'SHOW vdb.scm_size')"
	fi
}

bench_tables() {
	sql "DROP TABLE IF EXISTS events_$1" 2>/dev/null
	sql "$(sed "s/@t@/events_$1/g; s/@am@/$(using "$1")/g" "$here/events.sql")"
}

# The events as one file that the server reads; test/bench/run names a folder for it in BENCH_DATA.
bench_data() {
	EVENTS_FILE=${BENCH_DATA:-$VDB_WORK}/events-$BENCH_EVENTS.csv
	[ -e "$EVENTS_FILE" ] || sql "$(sed "s/@n@/$BENCH_EVENTS/g" "$here/generate.sql")" >"$EVENTS_FILE"
	chmod a+r "$EVENTS_FILE"
}

bench_load() {
	bench_data
	bench_tables "$1"
	sql "COPY events_$1 FROM '$EVENTS_FILE' (FORMAT csv)"
}

bench_settle() {
	[ "$1" = heap ] || [ "$second" = heap ] || sql "SELECT vdb.migrate('events_$1')" >/dev/null
	sql "VACUUM ANALYZE events_$1"
	sql CHECKPOINT
}

bench_result() { echo "$1|$2|$3" >>"$RESULTS"; }

# Processes report what they did when they end, or when they have been idle for a while.
bench_counted() {
	local case=$1 am=$2 figure
	shift 2
	sql "SELECT pg_stat_reset_shared('wal')" >/dev/null
	figure=$("$@")
	bench_result "$case" "$am" "$figure"
	bench_result "$case, flushes" "$am" "$(sql 'SELECT wal_sync FROM pg_stat_wal')"
}

bench_report_counted() {
	bench_report "$@"
	bench_report "$1, flushes" fdatasync lower 'for comparison'
}

median() { sort -g | awk '{v[NR] = $1} END {if (NR) print (NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2)}'; }

bench_report() {
	local am h v
	for am in $ams; do
		printf '   %-28s %-5s %s: %s  median %s\n' "$1" "$am" "$2" \
			"$(awk -F'|' -v c="$1" -v a="$am" '$1 == c && $2 == a {printf "%s ", $3}' "$RESULTS")" \
			"$(awk -F'|' -v c="$1" -v a="$am" '$1 == c && $2 == a {print $3}' "$RESULTS" | median)"
	done
	h=$(awk -F'|' -v c="$1" '$1 == c && $2 == "heap" {print $3}' "$RESULTS" | median)
	v=$(awk -F'|' -v c="$1" '$1 == c && $2 == "vdb" {print $3}' "$RESULTS" | median)
	awk -v c="$1" -v h="$h" -v v="$v" -v d="$3" -v goal="$4" 'BEGIN {
		r = d == "higher" ? v / (h > 0 ? h : 1) : h / (v > 0 ? v : 1)
		printf "   %-28s vdb is %.2f of heap (%s)\n", c, r, goal }'
}

# pgbench: transactions a second. bench_pgbench CLIENTS SCRIPT [OPTIONS]
bench_pgbench() {
	local clients=$1 script=$2 out
	shift 2
	out=$("$PGBIN/pgbench" -n -M prepared -c "$clients" -j "$(nproc)" -T "$BENCH_SECS" -f "$script" "$@" 2>&1) ||
		{ printf '%s\n' "$out" | tail -n 3 >&2; echo 0; return; }
	printf '%s\n' "$out" | sed -nE 's/^tps = ([0-9]+).*/\1/p'
}
