#!/usr/bin/env bash
# Decoding what was inserted one row a transaction, and by one transaction of many rows: changes a second that a
# slot of test_decoding gives. (goal: 0.9 of heap)
set -euo pipefail
. "$(dirname "$0")/lib.sh"
BENCH_SETTINGS="$BENCH_SETTINGS${BENCH_SETTINGS:+;}wal_level = logical;synchronous_commit = off;work_mem = 1GB"
bench_open "logical decoding, $((BENCH_EVENTS / 10)) rows inserted one by one, $BENCH_EVENTS by one statement"
one_by_one="CREATE OR REPLACE PROCEDURE insert_events(n int) LANGUAGE plpgsql AS \$\$
BEGIN
	FOR i IN 1..n LOOP
		INSERT INTO events_@am@ VALUES (i, now(), i % 5000, 'north', 'measure', 200, i / 7.0, 12, '/api/v1/devices/' || i, '{\"fw\": \"3.1\", \"battery\": 80}');
		COMMIT;
	END LOOP;
END \$\$"
declare -A end                  # by access method: where its changes end in WAL
# decode_of CASE AM CHANGES: what the slot has, read as often as there are runs
decode_of() {
	local begin found
	begin=$(now_ms)
	found=$(sql "SELECT count(*) FROM pg_logical_slot_peek_changes('$2', '${end[$2]}', NULL, 'skip-empty-xacts', '1') WHERE data LIKE 'table public.events\\_$2: INSERT%'")
	[ "$found" = "$3" ] || { echo "$2: $found changes, not $3" >&2; exit 1; }
	bench_result "$1" "$2" $(($3 * 1000 / ($(now_ms) - begin)))
}
for kind in 'one by one' 'one statement'; do
	for am in $ams; do
		bench_tables "$am"
		sql "SELECT pg_create_logical_replication_slot('$am', 'test_decoding')" >/dev/null
		if [ "$kind" = 'one by one' ]; then
			n=$((BENCH_EVENTS / 10))
			sql "${one_by_one//@am@/$am}"
			sql "CALL insert_events($n)"
		else
			n=$BENCH_EVENTS
			bench_load "$am"
		fi
		end[$am]=$(sql "SELECT pg_logical_emit_message(true, 'end', '')")
	done
	for ((run = 1; run <= BENCH_RUNS; run++)); do
		for am in $ams; do decode_of "$kind" "$am" "$n"; done
	done
	for am in $ams; do sql "SELECT pg_drop_replication_slot('$am')" >/dev/null; done
	bench_report "$kind" changes/s higher 'goal: 0.9'
done
