#!/usr/bin/env bash
# How many rows a second does COPY load, with migration going on? (goal: 0.8 of heap)
set -euo pipefail
. "$(dirname "$0")/lib.sh"
bench_open "COPY of $BENCH_EVENTS events"
bench_data
for ((run = 1; run <= BENCH_RUNS; run++)); do
	for am in $ams; do
		bench_tables "$am"
		sql CHECKPOINT
		t=$(now_ms)
		sql "COPY events_$am FROM '$EVENTS_FILE' (FORMAT csv)"
		bench_result copy "$am" $((BENCH_EVENTS * 1000 / ($(now_ms) - t)))
		sql "DROP TABLE events_$am"
	done
done
bench_report copy rows/s higher 'goal: 0.8'
