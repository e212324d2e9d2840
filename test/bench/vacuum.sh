#!/usr/bin/env bash
# VACUUM with one dead row in each 256, rows in stripes; flushes beside. (goal: 1.5 times heap's time)
set -euo pipefail
. "$(dirname "$0")/lib.sh"
bench_open "VACUUM of $BENCH_EVENTS events, every 256th dead"
vacuum() {
	local begin
	begin=$(now_ms)
	sql "VACUUM events_$1" >/dev/null
	echo $(($(now_ms) - begin))
}
for am in $ams; do
	bench_load "$am"
	sql "CREATE UNIQUE INDEX ON events_$am (id)"
	bench_settle "$am"
done
for ((run = 1; run <= BENCH_RUNS; run++)); do
	for am in $ams; do
		sql "DELETE FROM events_$am WHERE id % 256 = $run" >/dev/null
		sql CHECKPOINT
		bench_counted vacuum "$am" vacuum "$am"
	done
done
bench_report_counted vacuum ms lower 'goal: 0.67'
