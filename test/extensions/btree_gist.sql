-- An exclusion constraint: rooms are not booked twice.
CREATE EXTENSION btree_gist;
CALL twice($$CREATE TABLE t (id int PRIMARY KEY, room int, during tstzrange, EXCLUDE USING gist (room WITH =, during WITH &&))$$);
CALL twice($$INSERT INTO t SELECT i, i % 20, tstzrange('2024-01-01 UTC'::timestamptz + i / 20 * interval '2 hours', '2024-01-01 UTC'::timestamptz + (i / 20 * 2 + 1) * interval '1 hour')
	FROM generate_series(0, 999) i$$);
CALL moved('t');
-- against a row on flash, against one in SCM, against one of the same statement
CALL refused($$INSERT INTO t VALUES (5000, 3, '[2024-01-01 00:30 UTC, 2024-01-01 01:30 UTC)')$$, '23P01');
CALL twice($$INSERT INTO t VALUES (5001, 3, '[2024-01-01 01:10 UTC, 2024-01-01 01:50 UTC)')$$);
CALL refused($$INSERT INTO t VALUES (5002, 3, '[2024-01-01 01:20 UTC, 2024-01-01 01:30 UTC)')$$, '23P01');
CALL refused($$INSERT INTO t VALUES (5003, 77, '[2030-01-01, 2030-01-03)'), (5004, 77, '[2030-01-02, 2030-01-04)')$$, '23P01');
CALL refused($$UPDATE t SET room = 3 WHERE id = 4$$, '23P01');
-- a deleted row on flash is no obstacle, nor one that moved away
CALL twice($$DELETE FROM t WHERE id = 23$$);
CALL twice($$INSERT INTO t SELECT 5005, 3, '[2024-01-01 02:10 UTC, 2024-01-01 02:50 UTC)'$$);
CALL twice($$UPDATE t SET room = 99 WHERE id = 24$$);
CALL twice($$INSERT INTO t SELECT 5006, 4, '[2024-01-01 02:10 UTC, 2024-01-01 02:50 UTC)'$$);
CALL twice($$INSERT INTO t VALUES (5007, 3, '[2024-01-01 00:30 UTC, 2024-01-01 01:30 UTC)') ON CONFLICT DO NOTHING$$);
CALL in_both_places('t');
CALL moved('t');
CALL refused($$INSERT INTO t VALUES (5008, 3, '[2024-01-01 01:20 UTC, 2024-01-01 01:30 UTC)')$$, '23P01');
SET enable_seqscan = off;
SET vdb.enable_custom_scan = off;
CALL by($$SELECT * FROM t WHERE room = 3 AND during && '[2024-01-01, 2024-01-02)'$$, 't_room_during_excl');
CALL same($$SELECT * FROM t WHERE room = 3 AND during && '[2024-01-01, 2024-01-02)'$$);
CALL same($$SELECT * FROM t$$);
CALL same($$SELECT id FROM t ORDER BY room <-> 7, id LIMIT 60$$);
CALL sound('t');
