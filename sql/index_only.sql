-- Index-only scans pass over the table where migration or VACUUM has found everything visible, and nowhere else.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/test/lib/regress.sql'
\i :setup
SET client_min_messages = warning;
-- A worker's transaction would keep VACUUM from seeing the latest deletes as over.
ALTER SYSTEM SET vdb.migrate_enabled = off;
SELECT pg_reload_conf();
CALL test_alone();
SET enable_seqscan = off;
SET vdb.enable_custom_scan = off;
-- Rows that an index-only scan finds, and whether it had to look at the table.
CREATE FUNCTION io(relation regclass, low int, high int, OUT n bigint, OUT looked bool) LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	SET LOCAL enable_bitmapscan = off;
	EXECUTE format('EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) SELECT id FROM %s WHERE id BETWEEN %s AND %s',
		relation, low, high) INTO plan;
	plan := plan->0->'Plan';
	IF plan->>'Node Type' <> 'Index Only Scan' THEN
		RAISE EXCEPTION 'not an index-only scan: %', plan;
	END IF;
	n := (plan->>'Actual Rows')::numeric;
	looked := (plan->>'Heap Fetches')::bigint > 0;
END
$$;
CREATE FUNCTION by_bitmap(relation regclass, low int, high int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
BEGIN
	SET LOCAL enable_indexscan = off;
	SET LOCAL enable_indexonlyscan = off;
	EXECUTE format('SELECT count(*) FROM %s WHERE id BETWEEN %s AND %s', relation, low, high) INTO n;
	RETURN n;
END
$$;
CREATE TABLE io1 (id int PRIMARY KEY, v text) USING vdb WITH (autovacuum_enabled = off);
INSERT INTO io1 SELECT g, 'v' || g FROM generate_series(1, 5000) g;
VACUUM io1;
SELECT * FROM io('io1', 1, 1000);	-- in SCM
SELECT vdb.migrate('io1') > 0 AS moved;
SELECT * FROM io('io1', 1, 1000);	-- on flash: marked when it moved
VACUUM io1;
SELECT * FROM io('io1', 1, 1000);
SELECT relallvisible > 0 AND relallvisible <= relpages AS counted FROM pg_class WHERE oid = 'io1'::regclass;
SELECT by_bitmap('io1', 1, 1000);

-- a delete, and one taken back
DELETE FROM io1 WHERE id = 500;
SELECT * FROM io('io1', 1, 1000);
SELECT * FROM io('io1', 4000, 5000);	-- other blocks are as before
SELECT by_bitmap('io1', 1, 1000);
VACUUM io1;
SELECT * FROM io('io1', 1, 1000);
BEGIN;
DELETE FROM io1 WHERE id = 501;
SELECT * FROM io('io1', 1, 1000);
ROLLBACK;
SELECT * FROM io('io1', 1, 1000);
VACUUM io1;
SELECT * FROM io('io1', 1, 1000);
BEGIN;
SAVEPOINT a;
DELETE FROM io1 WHERE id = 502;
ROLLBACK TO a;
SELECT * FROM io('io1', 1, 1000);
COMMIT;

-- updates: of another column, and of the key
UPDATE io1 SET v = 'new' WHERE id = 600;
SELECT * FROM io('io1', 1, 1000);
UPDATE io1 SET id = 10600 WHERE id = 600;
SELECT * FROM io('io1', 1, 1000);
SELECT * FROM io('io1', 10600, 10600);
SELECT vdb.migrate('io1') > 0 AS moved;
SELECT * FROM io('io1', 1, 1000);
SELECT * FROM io('io1', 10600, 10600);
VACUUM io1;
SELECT * FROM io('io1', 1, 1000);
SELECT * FROM io('io1', 10600, 10600);

-- a lock hides nothing
BEGIN;
SELECT id FROM io1 WHERE id = 700 FOR UPDATE;
SELECT * FROM io('io1', 1, 1000);
COMMIT;
-- but the delete of a locked row does
BEGIN;
SELECT id FROM io1 WHERE id = 700 FOR SHARE;
DELETE FROM io1 WHERE id = 700;
COMMIT;
SELECT * FROM io('io1', 1, 1000);
VACUUM io1;
SELECT * FROM io('io1', 1, 1000);

-- rows that never came to be, their index entries still there
BEGIN;
INSERT INTO io1 SELECT g, 'aborted' FROM generate_series(20001, 20300) g;
ROLLBACK;
INSERT INTO io1 SELECT g, 'there' FROM generate_series(20301, 20400) g;
SELECT vdb.migrate('io1') > 0 AS moved;
SELECT * FROM io('io1', 20001, 21000);
VACUUM (INDEX_CLEANUP off) io1;
SELECT * FROM io('io1', 20001, 21000);
VACUUM io1;
SELECT * FROM io('io1', 20001, 21000);
SELECT count(*) FROM vdb.verify('io1');

-- rows that a rewrite of the stripe leaves out
DELETE FROM io1 WHERE id <= 5000 AND id % 2 = 0;
SELECT vdb.migrate('io1') >= 0 AS moved;
SELECT * FROM io('io1', 1, 1000);
VACUUM (INDEX_CLEANUP off) io1;
SELECT * FROM io('io1', 1, 1000);
VACUUM io1;
SELECT * FROM io('io1', 1, 1000);
SELECT by_bitmap('io1', 1, 1000);
-- VACUUM fails between its steps
DELETE FROM io1 WHERE id <= 5000 AND id % 3 = 0;
SET vdb.stop_action = 'error';
SET vdb.stop_point = 'vacuum-before-visible';
\set VERBOSITY terse
VACUUM io1;
SET vdb.stop_point = 'vacuum-before-indexes';
VACUUM io1;
RESET vdb.stop_point;
RESET vdb.stop_action;
\set VERBOSITY default
SELECT * FROM io('io1', 1, 1000);
VACUUM io1;
SELECT * FROM io('io1', 1, 1000);
SELECT count(*) FROM vdb.verify('io1');

-- new storage
CREATE TABLE io2 (id int, v text) USING vdb WITH (autovacuum_enabled = off);
CREATE INDEX ON io2 (id);
INSERT INTO io2 SELECT g, 'v' FROM generate_series(1, 1000) g;
SELECT vdb.migrate('io2') > 0 AS moved;
VACUUM ANALYZE io2;
-- the planner counts on it, of itself
BEGIN;
SET LOCAL enable_seqscan = on;
SET LOCAL vdb.enable_custom_scan = on;
EXPLAIN (COSTS OFF) SELECT count(*) FROM io2 WHERE id BETWEEN 1 AND 20;
ROLLBACK;
SELECT * FROM io('io2', 1, 1000);
VACUUM FULL io2;
SELECT * FROM io('io2', 1, 1000);
SELECT vdb.migrate('io2') > 0 AS moved;
VACUUM io2;
SELECT * FROM io('io2', 1, 1000);
TRUNCATE io2;
BEGIN;
INSERT INTO io2 SELECT g, 'aborted' FROM generate_series(1, 1000) g;
ROLLBACK;
SELECT n FROM io('io2', 1, 1000);
INSERT INTO io2 SELECT g, 'v' FROM generate_series(1, 1000) g;
SELECT vdb.migrate('io2') > 0 AS moved;
VACUUM io2;
SELECT * FROM io('io2', 1, 1000);
-- another tablespace takes the bits along; what is done there and taken back
SET allow_in_place_tablespaces = true;
CREATE TABLESPACE io_space LOCATION '';
BEGIN;
ALTER TABLE io2 SET TABLESPACE io_space;
SELECT * FROM io('io2', 1, 1000);
DELETE FROM io2 WHERE id = 1;
SELECT * FROM io('io2', 1, 1000);
ROLLBACK;
SELECT * FROM io('io2', 1, 1000);
ALTER TABLE io2 SET TABLESPACE io_space;
SELECT * FROM io('io2', 1, 1000);
DELETE FROM io2 WHERE id = 1;
SELECT * FROM io('io2', 1, 1000);
VACUUM io2;
SELECT * FROM io('io2', 1, 1000);
-- emptied in place: row numbers begin anew
BEGIN;
ALTER TABLE io2 SET TABLESPACE pg_default;
TRUNCATE io2;
SAVEPOINT a;
INSERT INTO io2 SELECT g, 'aborted' FROM generate_series(1, 1000) g;
ROLLBACK TO a;
INSERT INTO io2 SELECT g, 'v' FROM generate_series(1, 10) g;
COMMIT;
SELECT * FROM io('io2', 1, 1000);
SELECT count(*) FROM vdb.verify('io2');
DROP TABLE io2;
DROP TABLESPACE io_space;

-- unlogged and temporary tables
CREATE UNLOGGED TABLE io3 (id int PRIMARY KEY) USING vdb WITH (autovacuum_enabled = off);
INSERT INTO io3 SELECT generate_series(1, 1000);
SELECT vdb.migrate('io3') > 0 AS moved;
VACUUM io3;
SELECT * FROM io('io3', 1, 1000);
DELETE FROM io3 WHERE id = 7;
SELECT * FROM io('io3', 1, 1000);
CREATE TEMPORARY TABLE io4 (id int PRIMARY KEY) USING vdb;
INSERT INTO io4 SELECT generate_series(1, 1000);
SELECT vdb.migrate('io4') > 0 AS moved;
VACUUM io4;
SELECT * FROM io('io4', 1, 1000);
DELETE FROM io4 WHERE id = 7;
SELECT * FROM io('io4', 1, 1000);
SELECT count(*) FROM vdb.verify('io3');
SELECT count(*) FROM vdb.verify('io4');
-- what migration marks by itself, and what it must not
CREATE TABLE io5 (id int PRIMARY KEY, v text) USING vdb WITH (autovacuum_enabled = off);
INSERT INTO io5 SELECT g, 'v' FROM generate_series(1, 2000) g;
BEGIN;
INSERT INTO io5 SELECT g, 'aborted' FROM generate_series(2001, 2300) g;
ROLLBACK;
INSERT INTO io5 SELECT g, 'v' FROM generate_series(2301, 8000) g;
DELETE FROM io5 WHERE id = 500;
SELECT vdb.migrate('io5') > 0 AS moved;
SELECT * FROM io('io5', 1000, 1500);
SELECT * FROM io('io5', 5000, 8000);
SELECT * FROM io('io5', 2001, 2600);	-- entries of rows that never were
SELECT * FROM io('io5', 490, 510);	-- of a row that is gone
SELECT count(*) FROM vdb.verify('io5');
-- the planner knows, without statistics
BEGIN;
SET LOCAL enable_seqscan = on;
SET LOCAL vdb.enable_custom_scan = on;
EXPLAIN (COSTS OFF) SELECT count(*) FROM io5 WHERE id BETWEEN 5000 AND 5100;
ROLLBACK;
-- merged with rows that come later: what was marked stays so, what was not neither
INSERT INTO io5 SELECT g, 'v' FROM generate_series(8001, 20000) g;
SELECT vdb.migrate('io5') > 0 AS moved, (SELECT count(*) FROM vdb.stripes('io5')) AS stripes;
SELECT * FROM io('io5', 5000, 8000);
SELECT * FROM io('io5', 9000, 20000);
SELECT * FROM io('io5', 2001, 2600);
SELECT * FROM io('io5', 490, 510);
-- what VACUUM has marked, with a row that is left out by the next rewriting
VACUUM io5;
UPDATE io5 SET v = 'new' WHERE id = 3000;
SELECT * FROM io('io5', 2950, 3050);
VACUUM (INDEX_CLEANUP off) io5;
INSERT INTO io5 SELECT g, 'v' FROM generate_series(20001, 60000) g;
SELECT vdb.migrate('io5') > 0 AS moved, (SELECT count(*) FROM vdb.stripes('io5')) AS stripes;
SELECT * FROM io('io5', 2950, 3050);
SELECT * FROM io('io5', 9000, 20000);
SELECT count(*) FROM vdb.verify('io5');
-- rows removed in the pool, their entries still there
CREATE TABLE io6 (id int PRIMARY KEY, v text) USING vdb WITH (autovacuum_enabled = off);
INSERT INTO io6 SELECT g, 'v' FROM generate_series(1, 1000) g;
DELETE FROM io6 WHERE id % 10 = 0;
VACUUM (INDEX_CLEANUP off) io6;
SELECT vdb.migrate('io6') > 0 AS moved;
SELECT * FROM io('io6', 1, 500);
SELECT count(*) FROM vdb.verify('io6');
-- and when they are not
TRUNCATE io6;
INSERT INTO io6 SELECT g, 'v' FROM generate_series(1, 1000) g;
DELETE FROM io6 WHERE id % 10 = 0;
VACUUM io6;
SELECT vdb.migrate('io6') > 0 AS moved;
SELECT * FROM io('io6', 1, 500);
SELECT count(*) FROM vdb.verify('io6');
-- a row that is locked, one that is being deleted, and a transaction's own
TRUNCATE io6;
INSERT INTO io6 SELECT g, 'v' FROM generate_series(1, 1000) g;
BEGIN;
SELECT id FROM io6 WHERE id = 7 FOR UPDATE;
SELECT vdb.migrate('io6') > 0 AS moved;
SELECT * FROM io('io6', 1, 500);
ROLLBACK;
TRUNCATE io6;
INSERT INTO io6 SELECT g, 'v' FROM generate_series(1, 1000) g;
BEGIN;
DELETE FROM io6 WHERE id = 7;
SELECT vdb.migrate('io6') > 0 AS moved;
SELECT * FROM io('io6', 1, 200);
SELECT * FROM io('io6', 600, 700);
ROLLBACK;
SELECT * FROM io('io6', 1, 200);
SET vdb.debug_migrate = 'all';
BEGIN;
TRUNCATE io6;
INSERT INTO io6 SELECT g, 'v' FROM generate_series(1, 1000) g;
SAVEPOINT a;
INSERT INTO io6 SELECT g, 'aborted' FROM generate_series(1001, 1500) g;
ROLLBACK TO a;
INSERT INTO io6 SELECT g, 'v' FROM generate_series(1501, 2000) g;
SELECT * FROM io('io6', 1, 2000);
COMMIT;
RESET vdb.debug_migrate;
SELECT n FROM io('io6', 1, 2000);
SELECT count(*) FROM vdb.verify('io6');
-- a session's own temporary table; an error before the bits
CREATE TEMPORARY TABLE io7 (id int PRIMARY KEY) USING vdb;
INSERT INTO io7 SELECT generate_series(1, 1000);
SELECT vdb.migrate('io7') > 0 AS moved;
SELECT * FROM io('io7', 1, 1000);
TRUNCATE io7;
INSERT INTO io7 SELECT generate_series(1, 1000);
SET vdb.stop_action = 'error';
SET vdb.stop_point = 'migrate-before-visible';
\set VERBOSITY terse
SELECT vdb.migrate('io7');
\set VERBOSITY default
RESET vdb.stop_point;
RESET vdb.stop_action;
SELECT * FROM io('io7', 1, 1000);
-- merged; no index has an entry to delete, so blocks with holes are marked, too
INSERT INTO io7 SELECT generate_series(1001, 2500);
SELECT vdb.migrate('io7') > 0 AS moved, (SELECT count(*) FROM vdb.stripes('io7')) AS stripes;
SELECT * FROM io('io7', 1, 2500);
SELECT count(*) FROM vdb.verify('io7');
DROP TABLE io1, io3, io4, io5, io6, io7;
DROP FUNCTION io, by_bitmap;
ALTER SYSTEM RESET vdb.migrate_enabled;
SELECT pg_reload_conf();
