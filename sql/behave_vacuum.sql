-- VACUUM in its forms keeps what is visible, advances relfrozenxid, and gives space back.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/test/lib/regress.sql'
\i :setup
SET default_table_access_method = :am;
CREATE TABLE vc (id int PRIMARY KEY, g int, t text) WITH (autovacuum_enabled = off);
CREATE INDEX vc_g ON vc (g);
INSERT INTO vc SELECT g, g % 10, 'text ' || g FROM generate_series(1, 5000) g;
PREPARE vc_look AS SELECT * FROM test_digest('vc');
EXECUTE vc_look;
DELETE FROM vc WHERE id % 3 = 0;
UPDATE vc SET t = 'new ' || id WHERE id % 7 = 0;
EXECUTE vc_look;
VACUUM vc;
EXECUTE vc_look;
CALL test_migrate('vc');
EXECUTE vc_look;
DELETE FROM vc WHERE id BETWEEN 1000 AND 3000;
UPDATE vc SET g = 11 WHERE id > 4900;
VACUUM (INDEX_CLEANUP on) vc;
EXECUTE vc_look;
SELECT * FROM test_all_scans('SELECT id, g FROM vc WHERE g = 11');
SELECT * FROM test_all_scans('SELECT id FROM vc WHERE id > 4990');
-- keys and positions given back are not met again through an old index entry
INSERT INTO vc SELECT g, 12, 'again' FROM generate_series(1000, 1500) g;
SELECT count(*), sum(id) FROM vc WHERE g = 12;
VACUUM vc;
CALL test_migrate('vc');
VACUUM vc;
SELECT * FROM test_all_scans('SELECT id FROM vc WHERE id BETWEEN 990 AND 1010');
-- freezing
SELECT relfrozenxid AS before FROM pg_class WHERE relname = 'vc' \gset
SELECT pg_current_xact_id() IS NOT NULL;
INSERT INTO vc VALUES (10001, 1, 'x');
VACUUM (FREEZE) vc;
SELECT age(relfrozenxid) < age(:'before'::xid) AS advanced FROM pg_class WHERE relname = 'vc';
EXECUTE vc_look;
VACUUM (FREEZE, ANALYZE, PARALLEL 0) vc;
VACUUM (DISABLE_PAGE_SKIPPING, TRUNCATE off) vc;
EXECUTE vc_look;
ANALYZE vc;
SELECT reltuples = (SELECT count(*) FROM vc) AS tuples_right FROM pg_class WHERE relname = 'vc';
SELECT attname, null_frac, n_distinct <> 0 AS has_distinct, histogram_bounds IS NOT NULL OR most_common_vals IS NOT NULL AS has_values FROM pg_stats WHERE tablename = 'vc' ORDER BY attname;
-- rewritten
VACUUM FULL vc;
EXECUTE vc_look;
CALL test_migrate('vc');
CLUSTER vc USING vc_g;
EXECUTE vc_look;
SELECT * FROM test_all_scans('SELECT id, g FROM vc WHERE g = 12');
REINDEX TABLE vc;
EXECUTE vc_look;
-- empty it, vacuum, fill it again
DELETE FROM vc;
VACUUM vc;
CALL test_migrate('vc');
VACUUM vc;
SELECT count(*) FROM vc;
INSERT INTO vc SELECT g, 1, 'refilled' FROM generate_series(1, 100) g;
SELECT * FROM test_all_scans('SELECT id FROM vc WHERE id > 50');
-- churn: many versions of few rows
DO $$ BEGIN FOR i IN 1..200 LOOP UPDATE vc SET g = i WHERE id <= 20; END LOOP; END $$;
VACUUM vc;
CALL test_migrate('vc');
DO $$ BEGIN FOR i IN 1..100 LOOP UPDATE vc SET g = i WHERE id <= 20; END LOOP; END $$;
SELECT count(*), sum(g) FROM vc;
VACUUM vc;
SELECT count(*), sum(g) FROM vc;
SELECT test_verify('vc');
DROP TABLE vc;
