-- What depends on row positions: ranges of them, samples, cursors over them, and the predicate locks that
-- SERIALIZABLE takes on single rows.  The table lies half on flash, half in SCM.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/test/lib/regress.sql'
\i :setup
SET default_table_access_method = :am;
CREATE TABLE pos (id int PRIMARY KEY, pad text);
INSERT INTO pos SELECT g, repeat('x', g % 50) FROM generate_series(1, 1200) g;
DELETE FROM pos WHERE id % 3 = 0;
CALL test_migrate('pos');
INSERT INTO pos SELECT g, repeat('y', g % 50) FROM generate_series(1201, 1800) g;
DELETE FROM pos WHERE id % 5 = 0;
CREATE TABLE pos_ranked AS SELECT id, ctid AS at, row_number() OVER (ORDER BY ctid) AS rank FROM pos;
SELECT count(*) AS total FROM pos_ranked \gset
SELECT :total AS total, max(rank) = :total AS all_ranked, count(DISTINCT at) = :total AS all_different FROM pos_ranked;
-- every bound splits the table where it should
EXPLAIN (COSTS OFF) SELECT id FROM pos WHERE ctid > '(1,7)' AND ctid <= '(3,0)';
SELECT count(*) AS checked,
	count(*) FILTER (WHERE (SELECT count(*) FROM pos p WHERE p.ctid <= r.at) <> rank) AS wrong_le,
	count(*) FILTER (WHERE (SELECT count(*) FROM pos p WHERE p.ctid < r.at) <> rank - 1) AS wrong_lt,
	count(*) FILTER (WHERE (SELECT count(*) FROM pos p WHERE p.ctid >= r.at) <> :total - rank + 1) AS wrong_ge,
	count(*) FILTER (WHERE (SELECT count(*) FROM pos p WHERE p.ctid > r.at) <> :total - rank) AS wrong_gt,
	count(*) FILTER (WHERE (SELECT min(id) FROM pos p WHERE p.ctid = r.at) IS DISTINCT FROM id) AS wrong_eq
FROM pos_ranked r WHERE rank % 7 = 1;
SELECT a.rank AS low, b.rank AS high, (SELECT count(*) FROM pos p WHERE p.ctid BETWEEN a.at AND b.at) AS rows_between
FROM pos_ranked a, pos_ranked b WHERE a.rank IN (1, 250, 600) AND b.rank IN (1, 251, 640, 960) ORDER BY 1, 2;
SELECT count(*) FROM pos WHERE ctid < '(0,0)';
SELECT count(*) FROM pos WHERE ctid > '(4294967294,65535)';
SELECT count(*) FROM pos WHERE ctid > '(5,1)' AND ctid < '(2,1)';
SELECT count(*) FROM pos WHERE ctid > NULL::tid;
-- both ways through a range
SELECT at AS low FROM pos_ranked WHERE rank = 500 \gset
SELECT at AS high FROM pos_ranked WHERE rank = 700 \gset
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT id = (SELECT id FROM pos_ranked r WHERE r.at = pos.ctid) AS right_row,
	(SELECT rank FROM pos_ranked r WHERE r.at = pos.ctid) FROM pos WHERE ctid >= :'low' AND ctid < :'high';
FETCH FIRST FROM c;
FETCH NEXT FROM c;
FETCH LAST FROM c;
FETCH NEXT FROM c;
FETCH BACKWARD 3 FROM c;
FETCH FIRST FROM c;
FETCH PRIOR FROM c;
FETCH NEXT FROM c;
MOVE FORWARD ALL IN c;
MOVE BACKWARD ALL IN c;
COMMIT;
-- samples: repeatable, made of the table's rows, none twice
SELECT count(DISTINCT x) AS same_again, bool_and(cardinality(x) BETWEEN 250 AND 700) AS about_half FROM
	(SELECT (SELECT array_agg(id) FROM pos TABLESAMPLE BERNOULLI (50) REPEATABLE (7) WHERE n > 0) AS x
	 FROM generate_series(1, 3) n) s;
SELECT count(*) - count(DISTINCT s.id) AS twice, count(*) - count(r.id) AS strangers
FROM pos s TABLESAMPLE BERNOULLI (30) REPEATABLE (1) LEFT JOIN pos_ranked r ON r.id = s.id AND r.at = s.ctid;
SELECT count(*) - count(DISTINCT s.id) AS twice, count(*) - count(r.id) AS strangers
FROM pos s TABLESAMPLE SYSTEM (40) REPEATABLE (1) LEFT JOIN pos_ranked r ON r.id = s.id AND r.at = s.ctid;
-- a block is in a sample as a whole
SELECT count(*) AS torn FROM (SELECT (ctid::text::point)[0] AS block, count(*) AS n FROM pos TABLESAMPLE SYSTEM (60) REPEATABLE (3) GROUP BY 1) s
JOIN (SELECT (ctid::text::point)[0] AS block, count(*) AS n FROM pos GROUP BY 1) a USING (block) WHERE a.n <> s.n;
SELECT count(*) = :total AS everything FROM pos TABLESAMPLE SYSTEM (100);
SELECT count(*) FROM pos TABLESAMPLE BERNOULLI (0);
BEGIN;
DECLARE s SCROLL CURSOR FOR SELECT id FROM pos TABLESAMPLE BERNOULLI (20) REPEATABLE (5);
FETCH FIRST FROM s \gset first_
MOVE FORWARD 50 IN s;
SELECT count(*) > 100 AS another_sample FROM pos TABLESAMPLE BERNOULLI (70);
FETCH FIRST FROM s \gset again_
SELECT :first_id = :again_id AS same_row;
COMMIT;
-- predicate locks: on the row that was read by its position or by index, on flash and in SCM
SELECT at AS flash FROM pos_ranked WHERE id = 400 - 2 \gset
SELECT at AS scm FROM pos_ranked WHERE id = 1501 \gset
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT id FROM pos WHERE ctid = :'flash';
SELECT relation::regclass, locktype, mode FROM pg_locks WHERE pid = pg_backend_pid() AND mode = 'SIReadLock' ORDER BY 1, 2;
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT id FROM pos WHERE ctid = :'scm';
SELECT relation::regclass, locktype, mode FROM pg_locks WHERE pid = pg_backend_pid() AND mode = 'SIReadLock' ORDER BY 1, 2;
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SET LOCAL enable_bitmapscan = off;
SET LOCAL enable_seqscan = off;
SELECT id FROM pos WHERE id = 398;
SELECT relation::regclass, locktype, mode FROM pg_locks WHERE pid = pg_backend_pid() AND mode = 'SIReadLock' ORDER BY 1, 2;
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SET LOCAL enable_indexscan = off;
SET LOCAL enable_seqscan = off;
SELECT id FROM pos WHERE id = 1501;
SELECT relation::regclass, locktype, mode FROM pg_locks WHERE pid = pg_backend_pid() AND mode = 'SIReadLock' ORDER BY 1, 2;
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT count(*) FROM pos WHERE pad = 'nothing like it';
SELECT relation::regclass, locktype, mode FROM pg_locks WHERE pid = pg_backend_pid() AND mode = 'SIReadLock' ORDER BY 1, 2;
COMMIT;
DROP TABLE pos, pos_ranked;
