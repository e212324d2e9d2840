#!/usr/bin/env bash
# A whole-table aggregate over three of ten columns, all rows in stripes. (goal: 1.5 times as fast as heap)
set -euo pipefail
. "$(dirname "$0")/lib.sh"
answer=()
bench_open "aggregate over 3 of 10 columns, $BENCH_EVENTS events in stripes"
for am in $ams; do
	bench_load "$am"
	bench_settle "$am"
	answer[${#answer[@]}]=$(sql "SELECT region, count(*), round(sum(latency_ms)), max(reading) FROM events_$am GROUP BY region ORDER BY 1")
done
[ "${answer[0]}" = "${answer[1]}" ] || { echo 'the answers differ' >&2; exit 1; }
for parallel in 0 2; do
	for ((run = 1; run <= BENCH_RUNS; run++)); do
		for am in $ams; do
			t=$(now_ms)
			PGOPTIONS="-c max_parallel_workers_per_gather=$parallel" \
				sql "SELECT region, count(*), sum(latency_ms), max(reading) FROM events_$am GROUP BY region" >/dev/null
			bench_result "aggregate, $parallel workers" "$am" $(($(now_ms) - t))
		done
	done
	bench_report "aggregate, $parallel workers" ms lower 'goal: 1.5'
done
