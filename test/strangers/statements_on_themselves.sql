-- Statements that read what they write: RETURNING in a CTE, INSERT ... SELECT of the table itself, self-joins, MERGE.
CREATE TABLE t (id int PRIMARY KEY, g int, v text);
CREATE TABLE log (id int, old text, new text);
INSERT INTO t SELECT i, i % 10, 'v' || i FROM generate_series(1, 600) i;
-- move
INSERT INTO t SELECT i, i % 10, 'v' || i FROM generate_series(601, 1000) i;
-- queries
SELECT count(*), sum(id), sum(g), max(v), min(v) FROM t;
SELECT count(*), sum(id), max(new) FROM log;
BEGIN;
WITH d AS (DELETE FROM t WHERE g = 3 RETURNING *), i AS (INSERT INTO log SELECT id, v, 'gone' FROM d RETURNING id) SELECT count(*), sum(id) FROM i;
SELECT count(*) FROM t;
WITH u AS (UPDATE t SET v = v || '!' WHERE g = 4 RETURNING id, v) SELECT count(*), max(u.v), max(t.v) FROM u JOIN t USING (id);
INSERT INTO t SELECT id + 10000, g, v FROM t;
UPDATE t SET g = o.g + 1 FROM t o WHERE o.id = t.id + 1;
DELETE FROM t USING t o WHERE o.id = t.id - 10000 AND o.g % 2 = 0;
SELECT count(*), sum(id), sum(g) FROM t;
MERGE INTO t USING (SELECT id + 500 AS id, v FROM t WHERE id <= 800) s ON t.id = s.id
	WHEN MATCHED AND t.g > 5 THEN DELETE WHEN MATCHED THEN UPDATE SET v = s.v || '+' WHEN NOT MATCHED THEN INSERT VALUES (s.id, -1, s.v);
SELECT count(*), sum(id), sum(g), count(*) FILTER (WHERE v LIKE '%+') FROM t;
UPDATE t SET id = id;
UPDATE t SET id = id + 1;
ROLLBACK;
BEGIN;
INSERT INTO t VALUES (1, 0, 'x') ON CONFLICT (id) DO UPDATE SET v = t.v || excluded.v RETURNING *;
INSERT INTO t SELECT i, 0, 'y' FROM generate_series(990, 1010) i ON CONFLICT DO NOTHING RETURNING id;
SAVEPOINT s;
UPDATE t SET v = 'lost';
ROLLBACK TO s;
SELECT count(*) FROM t WHERE v = 'lost';
SELECT id FROM t WHERE id < 4 ORDER BY id FOR UPDATE SKIP LOCKED;
ROLLBACK;
-- changes
UPDATE t SET g = -g WHERE id % 3 = 0;
-- move
DELETE FROM t WHERE g < -5;
INSERT INTO t SELECT id + 5000, g, v FROM t WHERE g = 1;
-- move
WITH u AS (UPDATE t SET v = upper(v) WHERE id > 5000 RETURNING *) INSERT INTO log SELECT id, NULL, v FROM u;
