-- INSERT, UPDATE, DELETE, upsert, MERGE and what they return, with rows in SCM, on flash, and both.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/test/lib/regress.sql'
\i :setup
SET default_table_access_method = :am;
CREATE TABLE dml (id int PRIMARY KEY, grp int, txt text, num numeric(10,2) DEFAULT 1.5);
PREPARE look AS SELECT count(*), sum(id), sum(grp), sum(num), min(txt), max(txt) FROM dml;
PREPARE some_rows AS SELECT * FROM dml WHERE id <= 6 OR id > 1000 ORDER BY id;
INSERT INTO dml SELECT g, g % 7, 'row ' || g FROM generate_series(1, 1000) g;
INSERT INTO dml VALUES (1001, NULL, NULL, NULL), (1002, 1, '', 0) RETURNING *;
EXECUTE look;
CALL test_migrate('dml');
EXECUTE look;
EXECUTE some_rows;
-- change rows on flash
UPDATE dml SET txt = 'changed ' || id, num = num + 1 WHERE id IN (1, 3, 5) RETURNING *;
DELETE FROM dml WHERE id IN (2, 4) RETURNING id, txt;
EXECUTE some_rows;
CALL test_migrate('dml');
EXECUTE some_rows;
-- change them again: rows in SCM over rows on flash
UPDATE dml SET grp = 100 WHERE id % 100 = 0;
UPDATE dml SET grp = grp + 1 WHERE grp = 100;
DELETE FROM dml WHERE id BETWEEN 900 AND 950;
INSERT INTO dml VALUES (2, 2, 'again'), (900, 9, 'again') RETURNING *;
EXECUTE look;
CALL test_migrate('dml');
EXECUTE look;
-- the key itself
UPDATE dml SET id = id + 5000 WHERE id IN (10, 20) RETURNING *;
UPDATE dml SET id = 1 WHERE id = 11;
INSERT INTO dml VALUES (5010);
EXECUTE look;
-- several changes of a row in a transaction, seen by it and taken back
BEGIN;
UPDATE dml SET txt = txt || '+' WHERE id < 4;
UPDATE dml SET txt = txt || '+' WHERE id < 4;
DELETE FROM dml WHERE id = 3;
INSERT INTO dml VALUES (3, 3, 'three again');
EXECUTE some_rows;
ROLLBACK;
EXECUTE some_rows;
BEGIN;
INSERT INTO dml SELECT g FROM generate_series(2000, 2099) g;
UPDATE dml SET grp = id WHERE id >= 2000 AND id < 3000;
DELETE FROM dml WHERE id % 2 = 1 AND id BETWEEN 2000 AND 2099;
SELECT count(*), sum(grp) FROM dml WHERE id BETWEEN 2000 AND 2099;
COMMIT;
CALL test_migrate('dml');
SELECT count(*), sum(grp) FROM dml WHERE id BETWEEN 2000 AND 2099;
-- upsert
INSERT INTO dml VALUES (1, 1, 'new'), (3001, 1, 'new') ON CONFLICT DO NOTHING RETURNING *;
INSERT INTO dml AS d VALUES (1, 1, 'new'), (3002, 1, 'new'), (3001, 2, 'newer')
	ON CONFLICT (id) DO UPDATE SET txt = d.txt || ' / ' || excluded.txt, grp = excluded.grp RETURNING *;
INSERT INTO dml VALUES (1, 50, 'x') ON CONFLICT (id) DO UPDATE SET grp = excluded.grp WHERE dml.grp > 1000 RETURNING *;
INSERT INTO dml VALUES (7000), (7000) ON CONFLICT (id) DO UPDATE SET grp = 1;
CALL test_migrate('dml');
INSERT INTO dml AS d VALUES (3002, 5, 'flash') ON CONFLICT (id) DO UPDATE SET txt = d.txt || ' / ' || excluded.txt RETURNING *;
-- merge
MERGE INTO dml d USING (SELECT g AS id, g % 3 AS k FROM generate_series(1, 12) g UNION ALL SELECT 8001, 1) s ON d.id = s.id
	WHEN MATCHED AND s.k = 0 THEN DELETE
	WHEN MATCHED THEN UPDATE SET txt = 'merged', grp = s.k
	WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.k, 'by merge');
SELECT * FROM dml WHERE id <= 12 OR id >= 8000 ORDER BY id;
CALL test_migrate('dml');
SELECT * FROM dml WHERE id <= 12 OR id >= 8000 ORDER BY id;
-- from other tables, and from itself
UPDATE dml a SET num = b.num * 2 FROM dml b WHERE b.id = a.id + 1 AND a.id BETWEEN 100 AND 110;
SELECT id, num FROM dml WHERE id BETWEEN 99 AND 111 ORDER BY id;
DELETE FROM dml a USING dml b WHERE a.id = b.id + 1 AND b.id IN (100, 102);
INSERT INTO dml SELECT id + 10000, grp, txt, num FROM dml WHERE id < 500;
EXECUTE look;
WITH gone AS (DELETE FROM dml WHERE id > 10000 RETURNING id), made AS (INSERT INTO dml SELECT id + 10000 FROM gone RETURNING id)
	SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM made);
SELECT * FROM test_all_scans('SELECT * FROM dml WHERE id BETWEEN 50 AND 300');
-- everything goes
DELETE FROM dml;
SELECT count(*) FROM dml;
CALL test_migrate('dml');
SELECT count(*) FROM dml;
INSERT INTO dml VALUES (1, 1, 'first again');
TRUNCATE dml;
SELECT count(*) FROM dml;
INSERT INTO dml VALUES (1, 1, 'first again');
BEGIN;
TRUNCATE dml;
INSERT INTO dml VALUES (2, 2, 'after truncate');
SELECT * FROM dml;
ROLLBACK;
CALL test_migrate('dml');
SELECT * FROM dml;
SELECT test_verify('dml');
DROP TABLE dml;
-- a table without columns, and one without rows
CREATE TABLE nocols ();
INSERT INTO nocols DEFAULT VALUES;
INSERT INTO nocols DEFAULT VALUES;
CALL test_migrate('nocols');
INSERT INTO nocols DEFAULT VALUES;
SELECT count(*) FROM nocols;
DROP TABLE nocols;
CREATE TABLE norows (a int);
CALL test_migrate('norows');
SELECT * FROM norows;
DROP TABLE norows;
