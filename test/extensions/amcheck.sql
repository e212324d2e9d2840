-- Do the indexes have an entry for each row, wherever it is?  (verify_heapam is for heap.)
CREATE EXTENSION amcheck;
CALL twice($$CREATE TABLE t (id int PRIMARY KEY, a text, b int)$$);
CALL twice($$CREATE INDEX t_a ON t (a); CREATE INDEX t_expr ON t ((b / 7), lower(a)); CREATE INDEX t_part ON t (b) WHERE b % 3 = 0$$);
CREATE PROCEDURE check_all(name text) LANGUAGE plpgsql AS $$
DECLARE
	i regclass;
	n int := 0;
BEGIN
	FOR i IN SELECT indexrelid FROM pg_index WHERE indrelid = name::regclass LOOP
		PERFORM bt_index_check(i, true);
		PERFORM bt_index_parent_check(i, true, true);
		n := n + 1;
	END LOOP;
	IF n <> 4 THEN RAISE EXCEPTION '% indexes checked', n; END IF;
END $$;
CALL twice($$INSERT INTO t SELECT i, md5(i::text), i * 31 % 1000 FROM generate_series(1, 5000) i$$);
CALL twice($$UPDATE t SET b = b + 1 WHERE id % 4 = 0$$);
CALL twice($$DELETE FROM t WHERE id % 9 = 0$$);
CALL check_all('v.t');
CALL moved('t');
CALL check_all('v.t');
CALL twice($$INSERT INTO t SELECT i, md5(i::text), i FROM generate_series(5001, 7000) i$$);
CALL twice($$UPDATE t SET a = a || 'x' WHERE id % 50 = 1; DELETE FROM t WHERE id % 50 = 2$$);
CALL in_both_places('t');
CALL check_all('v.t');
CALL twice($$REINDEX INDEX t_a$$);
VACUUM v.t;
CALL moved('t');
CALL check_all('v.t');
SET vdb.enable_custom_scan = off;
SET enable_seqscan = off;
CALL same($$SELECT id FROM t WHERE b / 7 = 33 AND lower(a) > '4'$$);
CALL same($$SELECT id FROM t WHERE b > 500 AND b % 3 = 0$$);
CALL sound('t');

-- Rows that an index misses are found: one in SCM ...
UPDATE pg_index SET indisready = false WHERE indexrelid IN ('h.t_a'::regclass, 'v.t_a'::regclass);
CALL twice($$INSERT INTO t VALUES (9001, 'missed', 1)$$);
UPDATE pg_index SET indisready = true WHERE indexrelid IN ('h.t_a'::regclass, 'v.t_a'::regclass);
CALL refused($$SELECT bt_index_check('{s}.t_a', true)$$, 'XX001');
CALL refused($$SELECT bt_index_parent_check('{s}.t_a', true)$$, 'XX001');
-- ... and one on flash
CALL moved('t');
CALL refused($$SELECT bt_index_check('{s}.t_a', true)$$, 'XX001');
CALL twice($$REINDEX INDEX t_a$$);
CALL check_all('v.t');
