#!/usr/bin/env bash
# Children of one parent, one a transaction, 8 clients: all lock the same row. Flushes beside. (goal: 0.9 of heap)
set -euo pipefail
. "$(dirname "$0")/lib.sh"
bench_open "INSERT of children of one parent, 8 clients, $BENCH_SECS s a run"
runs=$((BENCH_RUNS < 3 ? BENCH_RUNS : 3))
for am in $ams; do
	sql "CREATE TABLE parent_$am (id int PRIMARY KEY, name text) USING $(using "$am")"
	sql "INSERT INTO parent_$am SELECT i, 'parent ' || i FROM generate_series(1, 100) i"
	sql "CREATE TABLE child_$am (id bigint, parent int REFERENCES parent_$am) USING $(using "$am")"
	printf '\\set id random(1, 1000000000)\nINSERT INTO child_%s VALUES (:id, 1)\n' "$am" >"$VDB_WORK/foreign_$am.sql"
done
for where in pool stripe; do
	for ((run = 1; run <= runs; run++)); do
		for am in $ams; do
			bench_counted "parent in $where" "$am" bench_pgbench 8 "$VDB_WORK/foreign_$am.sql"
		done
	done
	bench_report_counted "parent in $where" tps higher 'goal: 0.9'
	[ "$second" = heap ] || sql "SELECT vdb.migrate('parent_vdb')" >/dev/null
done
