#!/usr/bin/env bash
# One row a transaction, at 1, 4, 16 and 64 clients. (goal: 0.9 of heap)
set -euo pipefail
. "$(dirname "$0")/lib.sh"
bench_open "one-row INSERT, $BENCH_SECS s a run"
runs=$((BENCH_RUNS < 3 ? BENCH_RUNS : 3))
for am in $ams; do
	cat >"$VDB_WORK/insert_$am.sql" <<SQL
\set device random(1, 5000)
\set id random(1, 1000000000)
INSERT INTO events_$am VALUES (:id, now(), :device, 'north', 'measure', 200, :device / 7.0, 12, '/api/v1/devices/' || :device, '{"fw": "3.1", "battery": 80}')
SQL
done
for clients in $BENCH_CLIENTS; do
	for ((run = 1; run <= runs; run++)); do
		for am in $ams; do
			bench_tables "$am"
			sql CHECKPOINT
			bench_result "$clients clients" "$am" "$(bench_pgbench "$clients" "$VDB_WORK/insert_$am.sql")"
		done
	done
	bench_report "$clients clients" tps higher 'goal: 0.9'
done
