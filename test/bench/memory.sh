#!/usr/bin/env bash
# The most private memory a backend takes while it loads, scans, looks up (goal: under 64 MB beyond work_mem), and
# while it moves rows to stripes, which the worker does with the same code (goal: under 256 MB; heap: VACUUM FULL).
set -euo pipefail
. "$(dirname "$0")/lib.sh"
BENCH_SETTINGS="$BENCH_SETTINGS${BENCH_SETTINGS:+;}work_mem = 4MB;max_parallel_workers_per_gather = 0"
bench_open "private memory (RssAnon) of one backend, work_mem 4 MB"
bench_data
# peak_of CASE AM SQL: runs it in one session and samples that backend
peak_of() {
	local peak=0 now pid client
	printf "SET application_name = 'measured';\n%s\n" "$3" | psql_as -q -v ON_ERROR_STOP=1 >/dev/null &
	client=$!
	while kill -0 "$client" 2>/dev/null; do
		pid=${pid:-$(sql "SELECT pid FROM pg_stat_activity WHERE application_name = 'measured'" | head -n 1)}
		now=0
		[ -z "$pid" ] || now=$(awk '/RssAnon/ {print $2}' "/proc/$pid/status" 2>/dev/null || echo 0)
		[ "${now:-0}" -le "$peak" ] || peak=$now
		sleep 0.02
	done
	wait "$client"
	bench_result "$1" "$2" "$peak"
}
for am in $ams; do
	bench_tables "$am"
	peak_of COPY "$am" "COPY events_$am FROM '$EVENTS_FILE' (FORMAT csv);"
	sql "CREATE UNIQUE INDEX ON events_$am (id)"
	bench_settle "$am"
	peak_of scan "$am" "SELECT count(*), sum(latency_ms), max(path), max(detail::text) FROM events_$am;"
	peak_of lookups "$am" "DO \$\$ BEGIN FOR i IN 1..20000 LOOP PERFORM * FROM events_$am WHERE id = 1 + (i * 7919) % $BENCH_EVENTS; END LOOP; END \$\$;"
done
# rows of 2 kB that don't compress, 96 MB of them in a range of row numbers
sql "ALTER SYSTEM SET vdb.migrate_enabled = off" 2>/dev/null
sql "SELECT pg_reload_conf()" >/dev/null
for am in $ams; do
	move="VACUUM FULL moved_$am;"
	[ "$am" = heap ] || [ "$second" = heap ] || move="SELECT vdb.migrate('moved_$am');"
	for what in events wide; do
		columns='LIKE events_heap'
		rows="SELECT * FROM events_heap LIMIT 300000"
		if [ "$what" = wide ]; then
			columns='id int, body text'
			rows="SELECT g, (SELECT string_agg(md5((g * 64 + i)::text), '') FROM generate_series(1, 64) i) FROM generate_series(1, 60000) g"
		fi
		sql "DROP TABLE IF EXISTS moved_$am" 2>/dev/null
		sql "CREATE TABLE moved_$am ($columns) USING $(using "$am")"
		sql "INSERT INTO moved_$am $rows"
		peak_of "moving $what" "$am" "$move"
	done
done
for what in 'moving events' 'moving wide'; do bench_report "$what" kB lower 'goal: under 262,144 kB'; done
for what in COPY scan lookups; do bench_report $what kB lower 'goal: under 65,536 kB'; done
