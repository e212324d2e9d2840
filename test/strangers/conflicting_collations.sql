-- Collations that conflict: heap says 42P22, or plans and has no row to ask about; never an internal error.
CREATE DOMAIN other AS text COLLATE "POSIX";
CREATE DOMAIN third AS text COLLATE "und-x-icu";
CREATE TABLE t (id int, a text COLLATE "C", b text COLLATE "POSIX", o other, u text COLLATE "und-x-icu");
CREATE TABLE none (LIKE t);
INSERT INTO t SELECT i, 'a' || i, 'a' || i % 7, 'a' || i, chr(97 + i % 26) || i FROM generate_series(1, 300) i;
-- move
INSERT INTO t SELECT i, 'a' || i, 'a' || i % 7, 'a' || i, chr(65 + i % 26) || i FROM generate_series(301, 500) i;
-- queries
SELECT count(*) FROM t WHERE a = 'a5'::other;
SELECT count(*) FROM none WHERE a = 'a5'::other;
SELECT count(*) FROM t WHERE a < 'a5'::other;
SELECT count(*) FROM t WHERE a = b;
SELECT count(*) FROM t WHERE a > o;
SELECT count(*) FROM none WHERE a = b OR a > o;
SELECT count(*) FROM t WHERE a = (SELECT b FROM t WHERE id = 5);
SELECT count(*) FROM none WHERE a = (SELECT b FROM none LIMIT 1);
SELECT count(*) FROM t WHERE a IN (SELECT b FROM t WHERE id = 5);
SELECT count(*) FROM t WHERE a = ANY (ARRAY['a5', 'a6']::other[]);
SELECT count(*) FROM t WHERE o = 'a5'::third;
SELECT count(*) FROM t WHERE u < 'B' COLLATE "C";
SELECT count(*) FROM t WHERE u < 'B'::third;
SELECT count(*) FROM t WHERE a COLLATE "und-x-icu" < 'A9';
SELECT count(*) FROM t WHERE u BETWEEN 'a' AND 'b';
SELECT max(a), min(b), max(u), min(u COLLATE "C") FROM t;
SELECT min(CASE WHEN id > 3 THEN a ELSE b END) FROM t;
SELECT a, count(*) FROM t GROUP BY a HAVING max(b) > min(o);
SELECT count(*) FROM (SELECT a FROM t UNION SELECT b FROM t) x;
SELECT a || b, count(*) FROM t WHERE id < 5 GROUP BY 1;
SELECT u FROM t ORDER BY u, id LIMIT 20;
SELECT a FROM t ORDER BY a || b LIMIT 3;
EXPLAIN (COSTS OFF) SELECT count(*) FROM none WHERE false;
PREPARE p(other) AS SELECT count(*) FROM t WHERE a = $1;
EXECUTE p('a5');
DEALLOCATE p;
