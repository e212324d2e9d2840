-- Bitmap and sample scans look at the rows that they were asked for, and at no others of a block.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/test/lib/regress.sql'
\i :setup
SET client_min_messages = warning;
SET max_parallel_workers_per_gather = 0;
SET enable_seqscan = off;
SET enable_indexscan = off;
SET enable_indexonlyscan = off;
SET vdb.enable_custom_scan = off;
ALTER SYSTEM SET vdb.migrate_enabled = off;
SELECT pg_reload_conf();
CALL test_alone();
CREATE TABLE bm (id int, k int, v text) USING vdb WITH (autovacuum_enabled = off);
INSERT INTO bm SELECT g, g % 500, 'v' || g FROM generate_series(1, 40000) g;
CREATE TABLE bm_heap USING heap AS SELECT * FROM bm;
CREATE INDEX ON bm (k);
CREATE INDEX ON bm (id);
CREATE INDEX ON bm_heap (k);
CREATE INDEX ON bm_heap (id);
-- Rows found, those that heap finds, and how many versions were tested for them.
CREATE FUNCTION found(clause text, OUT rows bigint, OUT same bool, OUT tested bigint) LANGUAGE plpgsql AS $$
DECLARE
	query text := 'SELECT count(*), sum(hashtextextended(v, id)) FROM %s WHERE ' || clause;
	before bigint;
	digest numeric;
	heap_rows bigint;
	heap_digest numeric;
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) ' || format(query, 'bm') INTO plan;
	IF plan::text !~ 'Bitmap Heap Scan' THEN
		RAISE EXCEPTION 'no bitmap scan: %', plan;
	END IF;
	SELECT visibility_checks INTO before FROM vdb.pool;
	EXECUTE format(query, 'bm') INTO rows, digest;
	SELECT visibility_checks - before INTO tested FROM vdb.pool;
	EXECUTE format(query, 'bm_heap') INTO heap_rows, heap_digest;
	same := rows = heap_rows AND digest IS NOT DISTINCT FROM heap_digest;
END $$;
-- in the pool
SELECT * FROM found('k = 7');
SELECT * FROM found('k = 7 AND id < 20000');
SELECT * FROM found('k = 7 OR k = 8');
SELECT * FROM found('k IN (7, 8) AND right(v, 1) = ''7''');
SELECT * FROM found('id BETWEEN 300 AND 900');
SELECT * FROM found('id = -1');
-- dead versions that the index still names are tested, others are not
DELETE FROM bm WHERE id % 1000 = 7;
DELETE FROM bm_heap WHERE id % 1000 = 7;
UPDATE bm SET v = v || 'u' WHERE id % 1000 = 507;
UPDATE bm_heap SET v = v || 'u' WHERE id % 1000 = 507;
SELECT * FROM found('k = 7');
SELECT * FROM found('k = 8');
-- lossy: whole blocks
SET work_mem = '64kB';
CREATE TABLE wide_apart (id int, v text) USING vdb WITH (autovacuum_enabled = off);
INSERT INTO wide_apart SELECT g % 50, repeat('w', 4000) FROM generate_series(1, 3000) g;
INSERT INTO wide_apart SELECT g % 50, 'narrow' FROM generate_series(1, 300000) g;
CREATE INDEX ON wide_apart (id);
ANALYZE wide_apart;
SELECT visibility_checks AS before FROM vdb.pool \gset
SELECT count(*) FROM wide_apart WHERE id = 7;
SELECT visibility_checks - :before > 6060 AS lossy FROM vdb.pool;
CREATE FUNCTION lossy(query text) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE plan text;
BEGIN
	FOR plan IN EXECUTE 'EXPLAIN (ANALYZE, COSTS off, TIMING off) ' || query LOOP
		IF plan ~ 'lossy=' THEN RETURN true; END IF;
	END LOOP;
	RETURN false;
END $$;
SELECT lossy('SELECT * FROM wide_apart WHERE id = 7');
SELECT count(*) FROM wide_apart WHERE id = 7 AND v <> 'narrow';
SELECT vdb.migrate('wide_apart') > 0 AS moved;
SELECT count(*) FROM wide_apart WHERE id = 7;
DROP TABLE wide_apart;
RESET work_mem;
-- on flash: rows that everybody sees are not tested at all, others one by one
SELECT vdb.migrate('bm') > 0 AS moved;
SELECT * FROM found('k = 7');
SELECT * FROM found('k = 7 OR k = 8');
SELECT * FROM found('id BETWEEN 300 AND 900');
DELETE FROM bm WHERE id % 100 = 9;
DELETE FROM bm_heap WHERE id % 100 = 9;
SELECT * FROM found('k = 8');
SELECT * FROM found('k = 9');
SELECT * FROM found('k = 9 OR k = 10');
-- on both
INSERT INTO bm SELECT g, g % 500, 'n' || g FROM generate_series(40001, 60000) g;
INSERT INTO bm_heap SELECT g, g % 500, 'n' || g FROM generate_series(40001, 60000) g;
SELECT * FROM found('k = 7');
SELECT * FROM found('id BETWEEN 39000 AND 41000');
-- by several processes, and again within one query
SET min_parallel_table_scan_size = 0;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET max_parallel_workers_per_gather = 2;
SELECT rows, same FROM found('k < 100');
SET max_parallel_workers_per_gather = 0;
SELECT sum((SELECT count(*) FROM bm WHERE k = x)) FROM generate_series(1, 20) x;
SELECT sum((SELECT count(*) FROM bm_heap WHERE k = x)) FROM generate_series(1, 20) x;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT * FROM found('k = 7');
COMMIT;

-- samples: BERNOULLI asks for the rows it has drawn
CREATE TABLE drawn (id int) USING vdb WITH (autovacuum_enabled = off);
INSERT INTO drawn SELECT generate_series(1, 50000);
SELECT visibility_checks AS before FROM vdb.pool \gset
SELECT count(*) AS n FROM drawn TABLESAMPLE BERNOULLI (2) REPEATABLE (1) \gset
SELECT :n BETWEEN 700 AND 1300 AS drawn, visibility_checks - :before = :n AS no_others_checked FROM vdb.pool;
SELECT visibility_checks AS before FROM vdb.pool \gset
SELECT count(*) AS n FROM drawn TABLESAMPLE SYSTEM (20) REPEATABLE (1) \gset
SELECT :n BETWEEN 3000 AND 20000 AS drawn, visibility_checks - :before = :n AS no_others_checked FROM vdb.pool;
SELECT count(*) FROM drawn TABLESAMPLE BERNOULLI (100);
SELECT count(*) FROM drawn TABLESAMPLE BERNOULLI (0);
SELECT count(*) AS n FROM drawn TABLESAMPLE BERNOULLI (2) REPEATABLE (1) \gset again_
SELECT :n > 0 AND (SELECT count(*) FROM (SELECT id FROM drawn TABLESAMPLE BERNOULLI (2) REPEATABLE (1)
	INTERSECT SELECT id FROM drawn TABLESAMPLE BERNOULLI (2) REPEATABLE (1)) s) = :again_n AS repeats;
SELECT vdb.migrate('drawn') > 0 AS moved;
SELECT count(*) = :again_n AS the_same_on_flash FROM drawn TABLESAMPLE BERNOULLI (2) REPEATABLE (1);
DROP TABLE bm, bm_heap, drawn;
DROP FUNCTION found, lossy;
ALTER SYSTEM RESET vdb.migrate_enabled;
SELECT pg_reload_conf();
