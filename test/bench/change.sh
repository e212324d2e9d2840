#!/usr/bin/env bash
# UPDATE and DELETE of one row by a unique index, rows in stripes, 4 clients.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
bench_open "UPDATE and DELETE of one row among $BENCH_EVENTS events in stripes, 4 clients"
for am in $ams; do
	bench_load "$am"
	sql "CREATE UNIQUE INDEX ON events_$am (id)"
	bench_settle "$am"
	printf '\\set id random(1, %s)\nUPDATE events_%s SET reading = reading + 1 WHERE id = :id\n' "$BENCH_EVENTS" "$am" >"$VDB_WORK/update_$am.sql"
	printf '\\set id random(1, %s)\nDELETE FROM events_%s WHERE id = :id\n' "$BENCH_EVENTS" "$am" >"$VDB_WORK/delete_$am.sql"
done
runs=$((BENCH_RUNS < 3 ? BENCH_RUNS : 3))
for what in update delete; do
	for ((run = 1; run <= runs; run++)); do
		for am in $ams; do
			bench_result "$what" "$am" "$(bench_pgbench 4 "$VDB_WORK/${what}_$am.sql")"
		done
	done
	bench_report "$what" tps higher 'no goal yet'
done
