#!/usr/bin/env bash
# One row by a unique index, rows in stripes, 4 clients. (goal: 5,000 tps)
set -euo pipefail
. "$(dirname "$0")/lib.sh"
bench_open "lookup by unique index among $BENCH_EVENTS events in stripes, 4 clients"
for am in $ams; do
	bench_load "$am"
	sql "CREATE UNIQUE INDEX ON events_$am (id)"
	bench_settle "$am"
	printf '\\set id random(1, %s)\nSELECT * FROM events_%s WHERE id = :id\n' "$BENCH_EVENTS" "$am" >"$VDB_WORK/lookup_$am.sql"
done
for ((run = 1; run <= BENCH_RUNS; run++)); do
	for am in $ams; do
		bench_result lookup "$am" "$(bench_pgbench 4 "$VDB_WORK/lookup_$am.sql")"
	done
done
bench_report lookup tps higher 'goal: 5,000 tps'
