-- Values from wider than a page to several megabytes, compressible or not, in rows of every shape.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/test/lib/regress.sql'
\i :setup
SET default_table_access_method = :am;
CREATE FUNCTION noise(seed int, bytes int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT left(string_agg(md5(seed || '/' || g), '' ORDER BY g), bytes) FROM generate_series(1, bytes / 32 + 1) g $$;
CREATE TABLE wd (id int PRIMARY KEY, t text, b bytea, j jsonb, small text);
INSERT INTO wd (id, t, small) SELECT g, noise(g, g * 1000), 's' || g FROM generate_series(1, 40) g;
INSERT INTO wd (id, t, small) VALUES (100, repeat('compressible ', 100000), 'c'), (101, noise(101, 3000000), 'n');
INSERT INTO wd (id, b) VALUES (102, decode(md5('x') || repeat('00ff', 500000), 'hex'));
INSERT INTO wd (id, j) SELECT 103, jsonb_object_agg('key' || g, noise(g, 40)) FROM generate_series(1, 3000) g;
INSERT INTO wd (id, t, b) VALUES (104, noise(1, 70000), convert_to(noise(2, 90000), 'UTF8'));
PREPARE wide_look AS SELECT count(*), sum(length(t)), sum(length(b)), sum(hashtextextended(wd::text, 0)) FROM wd;
PREPARE wide_rows AS SELECT id, length(t), md5(t), length(b), md5(b), md5(j::text), small FROM wd WHERE id IN (1, 8, 9, 40) OR id >= 100 ORDER BY id;
EXECUTE wide_look;
EXECUTE wide_rows;
CALL test_migrate('wd');
EXECUTE wide_look;
EXECUTE wide_rows;
-- pieces of them, and lengths
SELECT id, substr(t, 500, 20), octet_length(t), right(t, 10) FROM wd WHERE id IN (20, 100, 101) ORDER BY id;
SELECT j->>'key2999' FROM wd WHERE id = 103;
SELECT id FROM wd WHERE t = noise(17, 17000);
SELECT id FROM wd WHERE t LIKE '%compressible compressible%';
-- changes that leave the wide value alone, and changes of it
UPDATE wd SET small = small || '+' WHERE id IN (40, 101);
UPDATE wd SET t = t || 'tail' WHERE id IN (8, 100);
UPDATE wd SET t = NULL WHERE id = 9;
EXECUTE wide_rows;
CALL test_migrate('wd');
EXECUTE wide_rows;
DELETE FROM wd WHERE id = 101;
EXECUTE wide_look;
BEGIN;
INSERT INTO wd (id, t) VALUES (200, noise(200, 500000));
SELECT length(t) FROM wd WHERE id = 200;
ROLLBACK;
INSERT INTO wd (id, t) VALUES (200, 'short');
SELECT * FROM wd WHERE id = 200;
-- rows whose sum of small values is wide; the most columns there may be
DO $$
BEGIN
	EXECUTE 'CREATE TABLE wd_cols (id int, ' || (SELECT string_agg('c' || g || ' int', ', ') FROM generate_series(1, 1500) g) || ')';
	EXECUTE 'INSERT INTO wd_cols SELECT g, ' || (SELECT string_agg(CASE WHEN g % 7 = 0 THEN 'NULL' ELSE 'g + ' || g END, ', ') FROM generate_series(1, 1500) g) || ' FROM generate_series(1, 20) g';
	EXECUTE 'CREATE TABLE wd_text (id int, ' || (SELECT string_agg('c' || g || ' text', ', ') FROM generate_series(1, 300) g) || ')';
	EXECUTE 'INSERT INTO wd_text SELECT g, ' || (SELECT string_agg('noise(g, ' || g * 5 || ')', ', ') FROM generate_series(1, 300) g) || ' FROM generate_series(1, 5) g';
END $$;
SELECT * FROM test_digest('wd_cols');
SELECT * FROM test_digest('wd_text');
CALL test_migrate('wd_cols');
CALL test_migrate('wd_text');
SELECT * FROM test_digest('wd_cols');
SELECT * FROM test_digest('wd_text');
UPDATE wd_cols SET c700 = id WHERE id < 5;
UPDATE wd_text SET c150 = repeat('w', 20000) WHERE id = 3;
SELECT * FROM test_digest('wd_cols');
SELECT * FROM test_digest('wd_text');
SELECT id, c1, c7, c700, c1500 FROM wd_cols WHERE id IN (1, 20) ORDER BY id;
-- from one table to another, through functions and variables
CREATE TABLE wd2 AS SELECT * FROM wd;
CALL test_migrate('wd2');
INSERT INTO wd2 SELECT id + 1000, t, b, j, small FROM wd;
SELECT count(*), count(DISTINCT md5(t)) FROM wd2;
DO $$
DECLARE
	r wd%ROWTYPE;
BEGIN
	SELECT * INTO r FROM wd WHERE id = 100;
	DELETE FROM wd WHERE id = 100;
	r.id := 300;
	INSERT INTO wd VALUES (r.*);
END $$;
SELECT id, length(t) FROM wd WHERE id IN (100, 300);
VACUUM wd;
VACUUM FULL wd;
EXECUTE wide_look;
CALL test_migrate('wd');
EXECUTE wide_look;
SELECT test_verify('wd'), test_verify('wd2'), test_verify('wd_cols'), test_verify('wd_text');
DROP TABLE wd, wd2, wd_cols, wd_text;
DROP FUNCTION noise;
