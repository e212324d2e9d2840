-- The planner gets about as many rows as there are, whatever the table's size and whatever happened to it.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/test/lib/regress.sql'
\i :setup
SET client_min_messages = warning;
CREATE TABLE looked_at (kind text, size int, state text, rows numeric, estimate numeric) USING heap;
CREATE FUNCTION estimate(relation regclass) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) SELECT * FROM ' || relation INTO plan;
	RETURN plan->0->'Plan'->>'Plan Rows';
END $$;
-- The estimate comes first: counting leaves hint bits behind.
CREATE PROCEDURE look(kind text, size int, state text, relation regclass) LANGUAGE plpgsql AS $$
DECLARE
	e numeric := estimate(relation);
	n bigint;
BEGIN
	EXECUTE 'SELECT count(*) FROM ' || relation INTO n;
	INSERT INTO looked_at VALUES (kind, size, state, n, e), (kind, size, state || ', read', n, estimate(relation));
END $$;
-- What ANALYZE or VACUUM has noted.
CREATE PROCEDURE look_noted(kind text, size int, state text, relation regclass) LANGUAGE plpgsql AS $$
DECLARE n bigint;
BEGIN
	EXECUTE 'SELECT count(*) FROM ' || relation INTO n;
	INSERT INTO looked_at SELECT kind, size, state || ', noted', n, reltuples FROM pg_class WHERE oid = relation;
END $$;
-- One table's life; wide: bytes of each row, above 8000 they are no rows of one block.
CREATE PROCEDURE walk(kind text, size int, wide int, storage text DEFAULT '') LANGUAGE plpgsql AS $$
DECLARE
	fill text := format('SELECT g, g %% 100, repeat(''x'', %s) FROM generate_series(1, %s) g', wide, size);
BEGIN
	EXECUTE format('CREATE %s TABLE t (id int, v int, w text) USING vdb WITH (autovacuum_enabled = off)', storage);
	ALTER TABLE t ALTER w SET STORAGE external;
	COMMIT;
	EXECUTE 'INSERT INTO t ' || fill;
	CALL look(kind, size, 'being loaded', 't');
	EXECUTE 'INSERT INTO t ' || fill;
	CALL look(kind, size, 'being loaded again', 't');
	COMMIT;
	CALL look(kind, size, 'loaded', 't');
	ANALYZE t;
	CALL look(kind, size, 'analyzed', 't');
	CALL look_noted(kind, size, 'analyzed', 't');
	-- an abort, and some more than there are
	BEGIN
		EXECUTE 'INSERT INTO t ' || fill;
		EXECUTE 'INSERT INTO t ' || fill;
		EXECUTE 'INSERT INTO t ' || fill;
		RAISE division_by_zero;
	EXCEPTION WHEN division_by_zero THEN NULL;
	END;
	CALL look(kind, size, 'aborted', 't');
	COMMIT;
	EXECUTE 'INSERT INTO t ' || fill;
	EXECUTE 'INSERT INTO t ' || fill;
	COMMIT;
	CALL look(kind, size, 'grown', 't');
	DELETE FROM t WHERE v % 4 <> 0;
	CALL look(kind, size, 'being deleted', 't');
	COMMIT;
	CALL look(kind, size, 'deleted', 't');
	ANALYZE t;
	CALL look_noted(kind, size, 'deleted and analyzed', 't');
	CALL look(kind, size, 'deleted and analyzed', 't');
	UPDATE t SET v = v + 100;
	COMMIT;
	CALL look(kind, size, 'updated', 't');
	PERFORM vdb.migrate('t');
	COMMIT;
	CALL look(kind, size, 'migrated', 't');
	ANALYZE t;
	CALL look_noted(kind, size, 'migrated and analyzed', 't');
	-- on both sides
	EXECUTE 'INSERT INTO t ' || fill;
	COMMIT;
	CALL look(kind, size, 'mixed', 't');
	DELETE FROM t WHERE id % 3 <> 0;
	COMMIT;
	CALL look(kind, size, 'deleted on both sides', 't');
	DELETE FROM t WHERE id > size / 2;
	COMMIT;
	CALL look(kind, size, 'a half deleted', 't');
	TRUNCATE t;
	COMMIT;
	EXECUTE 'INSERT INTO t ' || fill;
	CALL look(kind, size, 'truncated', 't');
	COMMIT;
	DROP TABLE t;
END $$;
CALL walk('narrow', 100, 4);
CALL walk('narrow', 1000, 4);
CALL walk('narrow', 10000, 4);
CALL walk('narrow', 50000, 4);
CALL walk('half a page', 1000, 4000);
CALL walk('wide', 200, 20000);
CALL walk('temporary', 3000, 40, 'TEMP');
CALL walk('unlogged', 3000, 40, 'UNLOGGED');

-- after VACUUM: it can't run in a procedure
CREATE TABLE vacuumed (id int, v text) USING vdb WITH (autovacuum_enabled = off);
INSERT INTO vacuumed SELECT g, 'v' || g FROM generate_series(1, 100000) g;
DELETE FROM vacuumed WHERE id % 10 <> 0;
CALL test_alone();
VACUUM vacuumed;
CALL look('vacuumed', 10000, 'in the pool', 'vacuumed');
CALL look_noted('vacuumed', 10000, 'in the pool', 'vacuumed');
INSERT INTO vacuumed SELECT g, 'v' || g FROM generate_series(1, 100000) g;
SELECT vdb.migrate('vacuumed') > 0 AS moved;
DELETE FROM vacuumed WHERE id % 10 <> 0;
CALL look('vacuumed', 10000, 'not yet', 'vacuumed');
CALL test_alone();
VACUUM vacuumed;
CALL look('vacuumed', 10000, 'on flash', 'vacuumed');
CALL look_noted('vacuumed', 10000, 'on flash', 'vacuumed');
DROP TABLE vacuumed;

-- a queue: all rows are at the end of a long row of numbers
CREATE TABLE queue (id int, v text) USING vdb WITH (autovacuum_enabled = off);
DO $$ BEGIN FOR i IN 1..12 LOOP
	INSERT INTO queue SELECT g, repeat('q', 60) FROM generate_series(i * 20000, i * 20000 + 19999) g;
	DELETE FROM queue WHERE id < i * 20000 + 19500;
	COMMIT;
	PERFORM vdb.migrate('queue');
	COMMIT;
END LOOP; END $$;
INSERT INTO queue SELECT g, repeat('q', 60) FROM generate_series(1, 1500) g;
CALL look('queue', 2000, 'at the end', 'queue');
-- segments claimed ahead that none of the rows has reached
BEGIN;
INSERT INTO queue SELECT g, repeat('q', 60) FROM generate_series(1, 15000) g;
SAVEPOINT a;
DELETE FROM queue WHERE id % 2 = 0;
CALL look('queue', 2000, 'half deleted', 'queue');
ROLLBACK TO a;
CALL look('queue', 2000, 'taken back', 'queue');
COMMIT;

-- partitions, each as itself
CREATE TABLE parted (id int, v int) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10000) USING vdb;
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (10000) TO (50000) USING vdb;
INSERT INTO parted SELECT g, g FROM generate_series(0, 39999) g;
CALL look('partition', 10000, 'loaded', 'parted_1');
CALL look('partition', 30000, 'loaded', 'parted_2');
CALL look('partition', 40000, 'loaded', 'parted');

SELECT * FROM looked_at WHERE estimate NOT BETWEEN rows / 2 AND rows * 2;
SELECT kind, count(*), count(DISTINCT size) AS sizes, min(rows) >= 10 AS has_rows FROM looked_at GROUP BY kind ORDER BY kind;

-- A table of fresh rows is joined as one that has them.
CREATE TABLE fresh (id int, v int) USING vdb WITH (autovacuum_enabled = off);
CREATE TABLE small (id int PRIMARY KEY, v int) USING heap;
INSERT INTO fresh SELECT g, g FROM generate_series(1, 200000) g;
INSERT INTO small SELECT g, g FROM generate_series(1, 400000) g;
ANALYZE small;
SET max_parallel_workers_per_gather = 0;
EXPLAIN (COSTS off) SELECT count(*) FROM fresh JOIN small USING (id);
DROP TABLE looked_at, queue, parted, fresh, small;
DROP FUNCTION estimate;
DROP PROCEDURE look, look_noted, walk;
