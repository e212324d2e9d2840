#!/usr/bin/env bash
# Decoding what was inserted, updated and deleted one row a transaction, and inserted by one transaction of many rows: changes a second that
# a slot of test_decoding gives. Updates leave the key alone; deletes have it. (goal: 0.9 of heap)
set -euo pipefail
. "$(dirname "$0")/lib.sh"
BENCH_SETTINGS="$BENCH_SETTINGS${BENCH_SETTINGS:+;}wal_level = logical;synchronous_commit = off;work_mem = 1GB"
bench_open "logical decoding, $((BENCH_EVENTS / 10)) rows inserted, updated and deleted one by one, $BENCH_EVENTS inserted by one statement"
declare -A statement=(
	[INSERT]="INSERT INTO events_@am@ VALUES (i, now(), i % 5000, 'north', 'measure', 200, i / 7.0, 12, '/api/v1/devices/' || i, '{\"fw\": \"3.1\", \"battery\": 80}')"
	[UPDATE]='UPDATE events_@am@ SET reading = reading + 1 WHERE id = i'
	[DELETE]='DELETE FROM events_@am@ WHERE id = i')
# one_by_one AM STATEMENT ROWS: a transaction for each row
one_by_one() {
	sql "CREATE OR REPLACE PROCEDURE change_events(n int) LANGUAGE plpgsql AS \$\$
BEGIN
	FOR i IN 1..n LOOP
		${statement[$2]//@am@/$1};
		COMMIT;
	END LOOP;
END \$\$"
	sql "CALL change_events($3)"
}
declare -A end                  # by access method: where its changes end in WAL
# decode_of CASE AM STATEMENT CHANGES: what the slot has, read as often as there are runs
decode_of() {
	local begin found
	begin=$(now_ms)
	found=$(sql "SELECT count(*) FROM pg_logical_slot_peek_changes('$2', '${end[$2]}', NULL, 'skip-empty-xacts', '1') WHERE data LIKE 'table public.events\\_$2: $3%'")
	[ "$found" = "$4" ] || { echo "$2: $found changes, not $4" >&2; exit 1; }
	bench_result "$1" "$2" $(($4 * 1000 / ($(now_ms) - begin)))
}
for kind in INSERT UPDATE DELETE 'one statement'; do
	what=$kind
	n=$((BENCH_EVENTS / 10))
	[ "$kind" != 'one statement' ] || { what=INSERT; n=$BENCH_EVENTS; }
	for am in $ams; do
		case $kind in INSERT | 'one statement') bench_tables "$am" ;; esac
		[ "$kind" != INSERT ] || sql "ALTER TABLE events_$am ADD PRIMARY KEY (id)"
		sql "SELECT pg_create_logical_replication_slot('$am', 'test_decoding')" >/dev/null
		if [ "$kind" = 'one statement' ]; then bench_load "$am"; else one_by_one "$am" "$what" "$n"; fi
		end[$am]=$(sql "SELECT pg_logical_emit_message(true, 'end', '')")
	done
	for ((run = 1; run <= BENCH_RUNS; run++)); do
		for am in $ams; do decode_of "$kind" "$am" "$what" "$n"; done
	done
	for am in $ams; do sql "SELECT pg_drop_replication_slot('$am')" >/dev/null; done
	bench_report "$kind" changes/s higher 'goal: 0.9'
done
