#!/usr/bin/env bash
# 100 rows a statement, by VALUES and by SELECT, at 1 and 8 clients; flushes beside. (goal: heap's speed)
set -euo pipefail
. "$(dirname "$0")/lib.sh"
bench_open "100-row INSERT, $BENCH_SECS s a run"
runs=$((BENCH_RUNS < 3 ? BENCH_RUNS : 3))
row="now(), 1, 'north', 'measure', 200, 0.5, 12, '/api/v1/devices/1', '{\"fw\": \"3.1\", \"battery\": 80}'"
for am in $ams; do
	{
		printf 'INSERT INTO events_%s VALUES' "$am"
		for ((i = 1; i <= 100; i++)); do printf '%s (%d, %s)' "$([ "$i" = 1 ] || echo ,)" "$i" "$row"; done
		echo
	} >"$VDB_WORK/values_$am.sql"
	echo "INSERT INTO events_$am SELECT i, $row FROM generate_series(1, 100) i" >"$VDB_WORK/select_$am.sql"
done
for what in values select; do
	for clients in 1 8; do
		for ((run = 1; run <= runs; run++)); do
			for am in $ams; do
				bench_tables "$am"
				sql CHECKPOINT
				bench_counted "$what, $clients clients" "$am" bench_pgbench "$clients" "$VDB_WORK/${what}_$am.sql"
			done
		done
		bench_report_counted "$what, $clients clients" tps higher 'goal: 1'
	done
done
