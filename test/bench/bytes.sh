#!/usr/bin/env bash
# Bytes of the events at rest: table, and for vdb what the pool holds. (goal: 70 bytes an event)
set -euo pipefail
. "$(dirname "$0")/lib.sh"
bench_open "bytes of $BENCH_EVENTS events"
for am in $ams; do
	wal=$(sql 'SELECT pg_current_wal_insert_lsn()')
	bench_load "$am"
	bench_settle "$am"
	pool=0
	[ "$am" = heap ] || [ "$second" = heap ] || pool=$(sql 'SELECT used_bytes FROM vdb.pool')
	bytes=$(($(sql "SELECT pg_total_relation_size('events_$am')") + pool))
	bench_result 'bytes, table and pool' "$am" "$bytes"
	bench_result 'WAL bytes, load to rest' "$am" "$(sql "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '$wal')::bigint")"
	echo "   $am: $(awk -v b="$bytes" -v n="$BENCH_EVENTS" 'BEGIN {printf "%.1f bytes an event, %.0f MB for 10 million", b / n, b / n * 1e7 / 1048576}'), of them in the pool: $pool"
done
bench_report 'bytes, table and pool' bytes lower 'goal: 700 MB for 10 million'
bench_report 'WAL bytes, load to rest' bytes lower 'no goal yet'
