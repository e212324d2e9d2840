-- ctid as applications use it; LISTEN and NOTIFY, large objects, advisory locks, temporary tables beside.
CREATE TABLE d (a int, b text);
INSERT INTO d SELECT g % 300, 'b' || g % 300 FROM generate_series(1, 1000) g;
-- duplicates away, the two usual ways
DELETE FROM d WHERE ctid NOT IN (SELECT min(ctid) FROM d GROUP BY a, b);
SELECT count(*), count(DISTINCT a), sum(a) FROM d;
INSERT INTO d SELECT a, b FROM d WHERE a < 50;
DELETE FROM d x USING d y WHERE x.ctid > y.ctid AND x.a = y.a AND x.b = y.b;
SELECT count(*), count(DISTINCT a), sum(a) FROM d;
INSERT INTO d SELECT a, b FROM d WHERE a > 250;
DELETE FROM d WHERE ctid = ANY (ARRAY(SELECT ctid FROM (SELECT ctid, row_number() OVER (PARTITION BY a ORDER BY ctid) AS n FROM d) x WHERE n > 1));
SELECT count(*), count(DISTINCT a), sum(a) FROM d;
-- deletes and updates in batches
DO $$
DECLARE
	n int;
	rounds int := 0;
BEGIN
	LOOP
		DELETE FROM d WHERE ctid IN (SELECT ctid FROM d WHERE a >= 200 LIMIT 17);
		GET DIAGNOSTICS n = ROW_COUNT;
		EXIT WHEN n = 0;
		rounds := rounds + 1;
	END LOOP;
	RAISE NOTICE '% rounds', rounds;
END $$;
WITH batch AS (SELECT ctid FROM d WHERE b LIKE 'b1%' ORDER BY ctid LIMIT 10 FOR UPDATE SKIP LOCKED)
	UPDATE d SET b = upper(b) FROM batch WHERE d.ctid = batch.ctid;
SELECT count(*) FROM d WHERE b LIKE 'B%';
-- read a position, come back by it
DO $$
DECLARE
	at tid;
	r record;
BEGIN
	SELECT ctid INTO at FROM d WHERE a = 77;
	UPDATE d SET b = 'found' WHERE ctid = at AND a = 77;
	SELECT * INTO r FROM d WHERE ctid = at;
	RAISE NOTICE 'old place: %', r;
	SELECT * INTO r FROM d WHERE a = 77;
	RAISE NOTICE 'new place: %', r;
END $$;
-- optimistic locking by xmin
DO $$
DECLARE
	x xid;
	n int;
BEGIN
	SELECT xmin INTO x FROM d WHERE a = 88;
	UPDATE d SET b = 'first' WHERE a = 88 AND xmin = x;
	GET DIAGNOSTICS n = ROW_COUNT;
	RAISE NOTICE '%', n;
	UPDATE d SET b = 'second' WHERE a = 88 AND xmin = x;
	GET DIAGNOSTICS n = ROW_COUNT;
	RAISE NOTICE '%', n;
END $$;
SELECT * FROM d WHERE a IN (77, 88) ORDER BY a;
SELECT count(*) FROM d WHERE xmin <> '0' AND tableoid = 'd'::regclass;
SELECT count(*) FROM d WHERE ctid = '(4000000000,7)' OR ctid = '(0,0)';
SELECT count(*) FROM d x JOIN d y ON x.ctid = y.ctid WHERE x.a = y.a;
SELECT count(DISTINCT ctid) = count(*) FROM d;
-- notifications in the transaction that changes rows
-- @ s2
LISTEN news;
-- @ s1
LISTEN news;
BEGIN;
INSERT INTO d VALUES (1000, 'news');
NOTIFY news, 'inserted';
SAVEPOINT s;
NOTIFY news, 'rolled back';
ROLLBACK TO s;
SELECT pg_notify('news', (SELECT count(*)::text FROM d WHERE a = 1000));
COMMIT;
-- @ s2
SELECT b FROM d WHERE a = 1000;
SELECT 1;
-- @ s1
BEGIN;
DELETE FROM d WHERE a = 1000;
NOTIFY news, 'never';
ROLLBACK;
SELECT b FROM d WHERE a = 1000;
-- large objects
CREATE TABLE lo (name text PRIMARY KEY, obj oid);
BEGIN;
INSERT INTO lo SELECT 'l' || g, lo_from_bytea(70000 + g, convert_to(repeat('x' || g, 5000), 'UTF8')) FROM generate_series(1, 5) g;
SELECT name, length(lo_get(obj)) FROM lo ORDER BY name;
COMMIT;
BEGIN;
SELECT lo_unlink(obj) FROM lo WHERE name = 'l1';
DELETE FROM lo WHERE name = 'l1';
ROLLBACK;
BEGIN;
SELECT lo_unlink(obj) FROM lo WHERE name = 'l2';
DELETE FROM lo WHERE name = 'l2';
COMMIT;
SELECT name, convert_from(lo_get(obj, 9990, 20), 'UTF8') FROM lo ORDER BY name;
-- advisory locks held and given back with the rows that carry them
BEGIN;
SELECT a, pg_try_advisory_xact_lock(a) FROM d WHERE a < 3 ORDER BY a;
-- @ s2
SELECT pg_try_advisory_lock(1);
-- @ s1
COMMIT;
-- temporary tables: rows kept, deleted and dropped at the end
BEGIN;
CREATE TEMP TABLE t1 (a int) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE t2 (a int) ON COMMIT DROP;
CREATE TEMP TABLE t3 (a int) ON COMMIT PRESERVE ROWS;
INSERT INTO t1 SELECT a FROM d WHERE a < 10;
INSERT INTO t2 SELECT a FROM d WHERE a < 20;
INSERT INTO t3 SELECT a FROM d WHERE a < 30;
SELECT (SELECT count(*) FROM t1), (SELECT count(*) FROM t2), (SELECT count(*) FROM t3);
COMMIT;
SELECT (SELECT count(*) FROM t1), (SELECT count(*) FROM t3);
-- ! 42P01
SELECT count(*) FROM t2;
BEGIN;
INSERT INTO t3 VALUES (1000);
DROP TABLE t3;
ROLLBACK;
SELECT count(*), max(a) FROM t3;
-- two-phase
BEGIN;
UPDATE d SET b = 'prepared' WHERE a = 10;
INSERT INTO d VALUES (2000, 'prepared');
PREPARE TRANSACTION 'host';
SELECT a, b FROM d WHERE a IN (10, 2000) ORDER BY a;
-- ! 55P03
SELECT a FROM d WHERE a = 10 FOR UPDATE NOWAIT;
COMMIT PREPARED 'host';
SELECT a, b FROM d WHERE a IN (10, 2000) ORDER BY a;
BEGIN;
DELETE FROM d WHERE a IN (10, 2000);
PREPARE TRANSACTION 'host';
ROLLBACK PREPARED 'host';
SELECT a, b FROM d WHERE a IN (10, 2000) ORDER BY a;
-- statements that work on many tables
ANALYZE d, lo;
