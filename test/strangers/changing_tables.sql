-- Tables that change under their rows: columns come, go and change type, rewrites in between, no columns at all, very many.
CREATE TABLE t (id int, a int, b text, gone int, gen int GENERATED ALWAYS AS (a * 2) STORED);
INSERT INTO t SELECT i, i % 30, 'b' || i, i FROM generate_series(1, 500) i;
-- move
ALTER TABLE t ADD COLUMN c int DEFAULT 7;
ALTER TABLE t DROP COLUMN gone;
INSERT INTO t SELECT i, i % 30, 'b' || i FROM generate_series(501, 700) i;
ALTER TABLE t ADD COLUMN volatile_one bigint DEFAULT (random() * 0 + 5)::bigint;
-- move
INSERT INTO t SELECT i, i % 30, NULL FROM generate_series(701, 800) i;
ALTER TABLE t ADD COLUMN d text, ADD COLUMN e timestamp DEFAULT '2000-01-01' NOT NULL;
UPDATE t SET d = 'd' || id WHERE id % 7 = 0;
CREATE TABLE no_columns ();
INSERT INTO no_columns SELECT FROM generate_series(1, 400);
-- move
INSERT INTO no_columns DEFAULT VALUES;
SELECT format('CREATE TABLE wide (%s)', string_agg('c' || i || CASE i % 3 WHEN 0 THEN ' int' WHEN 1 THEN ' text' ELSE ' bool' END, ', ' ORDER BY i)) FROM generate_series(1, 1600) i;
DO $$ BEGIN EXECUTE (SELECT format('CREATE TABLE wide (%s)', string_agg('c' || i || ' int', ', ' ORDER BY i)) FROM generate_series(1, 1600) i); END $$;
INSERT INTO wide (c1, c800, c1600) SELECT i, i * 2, i * 3 FROM generate_series(1, 20) i;
-- move
INSERT INTO wide (c1, c1599) VALUES (0, 5);
-- queries
SELECT * FROM t WHERE id IN (1, 7, 501, 700, 701, 800) ORDER BY id;
SELECT c, volatile_one, e, count(*), sum(gen), count(d) FROM t GROUP BY 1, 2, 3;
SELECT count(*) FROM t WHERE gen > 40 AND c = 7;
SELECT count(*) FROM t WHERE e = '2000-01-01' AND volatile_one = 5 AND d IS NULL;
SELECT count(*) FROM t WHERE c IS NULL OR volatile_one <> 5;
SELECT count(*) FROM no_columns;
SELECT * FROM no_columns LIMIT 1;
SELECT count(*) FROM no_columns x WHERE x IS NULL;
SELECT c1, c800, c1600, c1599 FROM wide ORDER BY c1;
SELECT count(c2), sum(c1600), max(c1599) FROM wide;
SELECT count(*) FROM wide WHERE c800 > 10 AND c1600 < 50;
BEGIN;
ALTER TABLE t ALTER COLUMN a TYPE text USING 'a' || a, DROP COLUMN gen;
SELECT a, count(*) FROM t WHERE a > 'a28' GROUP BY a;
ROLLBACK;
BEGIN;
ALTER TABLE t RENAME COLUMN b TO bb;
TRUNCATE t;
INSERT INTO t (id, a, bb) VALUES (1, 2, 'three');
SELECT * FROM t;
ROLLBACK;
-- changes
CREATE INDEX t_a ON t (a);
CLUSTER t USING t_a;
INSERT INTO t SELECT i, i % 30, 'b' || i FROM generate_series(801, 900) i;
-- move
VACUUM FULL t;
ALTER TABLE t ALTER COLUMN id TYPE bigint;
-- move
UPDATE t SET a = a + 1;
REINDEX TABLE t;
VACUUM t;
