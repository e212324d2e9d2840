-- Every index method, built before and after migration and kept through changes, agrees with a sequential scan.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/test/lib/regress.sql'
\i :setup
SET default_table_access_method = :am;
CREATE TABLE ix (id int, a int, t text, r int4range, p point, j jsonb, arr int[], ip inet, d date);
CREATE FUNCTION ix_fill(lo int, hi int) RETURNS void LANGUAGE sql AS $$
	INSERT INTO ix SELECT g, g % 100, 'text ' || (g * 7919) % 5000, int4range(g, g + g % 20 + 1), point(g % 100, g / 100),
		jsonb_build_object('k', g % 50, 'tag', ARRAY['t' || g % 10, 'u' || g % 7]), ARRAY[g % 10, g % 13], '10.0.0.0'::inet + g, date '2001-01-01' + g % 400
	FROM generate_series(lo, hi) g $$;
SELECT ix_fill(1, 2000);
-- built over rows in SCM
CREATE UNIQUE INDEX ix_id ON ix (id);
CREATE INDEX ix_a ON ix (a) INCLUDE (id);
CREATE INDEX ix_t ON ix (t text_pattern_ops);
CREATE INDEX ix_hash ON ix USING hash (t);
CREATE INDEX ix_r ON ix USING gist (r);
CREATE INDEX ix_p ON ix USING spgist (p);
CREATE INDEX ix_j ON ix USING gin (j);
CREATE INDEX ix_arr ON ix USING gin (arr);
CREATE INDEX ix_ip ON ix USING gist (ip inet_ops);
CREATE INDEX ix_d ON ix USING brin (d) WITH (pages_per_range = 1);
CREATE INDEX ix_bloom ON ix USING brin (a int4_bloom_ops) WITH (pages_per_range = 2);
CREATE INDEX ix_expr ON ix ((a + id) DESC NULLS LAST);
CREATE INDEX ix_part ON ix (d) WHERE a = 5;
CREATE VIEW ix_all AS
	SELECT q.n, s.* FROM (VALUES
		(1, 'SELECT id, t FROM ix WHERE id BETWEEN 100 AND 150'), (2, 'SELECT id, a FROM ix WHERE a = 7'),
		(3, 'SELECT id FROM ix WHERE t LIKE ''text 12%'''), (4, 'SELECT id, t FROM ix WHERE t = ''text 79'''),
		(5, 'SELECT id FROM ix WHERE r && int4range(500, 520)'), (6, 'SELECT id FROM ix WHERE p <@ box ''((0,0),(10,10))'''),
		(7, 'SELECT id FROM ix WHERE j @> ''{"k": 7}'''), (8, 'SELECT id FROM ix WHERE j @> ''{"tag": ["t3"]}'''),
		(9, 'SELECT id FROM ix WHERE arr @> ARRAY[3, 4]'), (10, 'SELECT id FROM ix WHERE ip << ''10.0.1.0/26'''),
		(11, 'SELECT id FROM ix WHERE d = ''2001-03-01'''), (12, 'SELECT id FROM ix WHERE d BETWEEN ''2001-12-25'' AND ''2002-01-05'''),
		(13, 'SELECT id FROM ix WHERE a + id > 1990'), (14, 'SELECT id, d FROM ix WHERE a = 5 AND d > ''2001-06-01'''),
		(15, 'SELECT id FROM ix WHERE a IN (1, 50, 99) AND id > 1000'), (16, 'SELECT id FROM ix WHERE a = 3 OR t = ''text 100'''),
		(17, 'SELECT id FROM ix WHERE id = ANY (ARRAY[1, 5, 1999, 5000])'), (18, 'SELECT id FROM ix WHERE arr IS NULL')
	) q (n, sql), LATERAL test_all_scans(q.sql) s;
-- one line a query where all ways agree, with the way that differs otherwise
CREATE VIEW ix_agree AS
	SELECT n, min(row_count) AS row_count, count(DISTINCT (row_count, digest)) AS answers, min(digest) AS digest FROM ix_all GROUP BY n ORDER BY n;
SELECT * FROM ix_agree;
CALL test_migrate('ix');
SELECT * FROM ix_agree;
-- changes to rows on flash, entries to rows in SCM and on flash side by side
SELECT ix_fill(2001, 2500);
UPDATE ix SET a = 7, t = 'text 79' WHERE id % 250 = 0;
UPDATE ix SET r = int4range(505, 506), p = point(5, 5), j = '{"k": 7, "tag": ["t3"]}', arr = '{3,4}' WHERE id % 300 = 1;
DELETE FROM ix WHERE id % 9 = 0;
SELECT * FROM ix_agree;
CALL test_migrate('ix');
SELECT * FROM ix_agree;
VACUUM ix;
SELECT * FROM ix_agree;
REINDEX TABLE ix;
SELECT * FROM ix_agree;
-- built over rows on flash, some also in SCM
DROP INDEX ix_a, ix_t, ix_hash, ix_r, ix_p, ix_j, ix_arr, ix_ip, ix_d, ix_bloom, ix_expr, ix_part;
UPDATE ix SET t = 'text 100' WHERE id % 77 = 0;
CREATE INDEX ix_a ON ix (a) INCLUDE (id);
CREATE INDEX ix_t ON ix (t text_pattern_ops);
CREATE INDEX ix_hash ON ix USING hash (t);
CREATE INDEX ix_r ON ix USING gist (r);
CREATE INDEX ix_p ON ix USING spgist (p);
CREATE INDEX ix_j ON ix USING gin (j jsonb_path_ops);
CREATE INDEX CONCURRENTLY ix_arr ON ix USING gin (arr);
CREATE INDEX ix_d ON ix USING brin (d) WITH (pages_per_range = 1);
CREATE INDEX CONCURRENTLY ix_expr ON ix ((a + id));
CREATE UNIQUE INDEX ix_dup ON ix ((least(id, 5)));
CREATE UNIQUE INDEX CONCURRENTLY ix_dup2 ON ix ((least(id, 5)));
DROP INDEX ix_dup2;
SELECT * FROM ix_agree;
REINDEX TABLE CONCURRENTLY ix;
SELECT * FROM ix_agree;
SELECT brin_summarize_new_values('ix_d') >= 0;
-- in order, backwards, with limits; nearest neighbors
BEGIN;
SET LOCAL enable_seqscan = off;
SET LOCAL enable_sort = off;
SELECT id FROM ix ORDER BY id LIMIT 4;
SELECT id FROM ix ORDER BY id DESC LIMIT 4;
SELECT id, p <-> point(50, 10) AS away FROM ix ORDER BY p <-> point(50, 10), id LIMIT 3;
SELECT max(id), min(id) FROM ix;
COMMIT;
-- a parallel index build
SET max_parallel_maintenance_workers = 2;
SET min_parallel_table_scan_size = 0;
CREATE INDEX ix_par ON ix (d, id);
RESET min_parallel_table_scan_size;
SELECT * FROM test_all_scans('SELECT d, id FROM ix WHERE d > ''2001-11-01''');
-- system columns and row positions work, whatever they are
SELECT count(*) FROM ix a JOIN ix b ON a.ctid = b.ctid;
SELECT count(*) FROM ix WHERE ctid = (SELECT ctid FROM ix WHERE id = 10);
SELECT count(*) FROM ix WHERE ctid = ANY (ARRAY(SELECT ctid FROM ix WHERE id < 10));
SELECT count(*) = (SELECT count(*) FROM ix) FROM ix WHERE ctid >= '(0,1)';
SELECT count(DISTINCT tableoid::regclass) FROM ix;
SELECT count(*) FROM ix TABLESAMPLE SYSTEM (100);
SELECT count(*) FROM ix TABLESAMPLE BERNOULLI (100);
SELECT count(*) FROM ix TABLESAMPLE SYSTEM (0);
CLUSTER ix USING ix_par;
SELECT * FROM ix_agree;
SELECT test_verify('ix');
DROP VIEW ix_agree, ix_all;
DROP TABLE ix;
DROP FUNCTION ix_fill;
