-- Grouping by columns that equal a constant, and by constants: nothing is left to sort by.
CREATE TABLE t (id int, g int, n numeric, s text);
INSERT INTO t SELECT i, i % 10, i % 3, 's' || i % 5 FROM generate_series(1, 2000) i;
-- move
INSERT INTO t SELECT i, i % 10, i % 3, 's' || i % 5 FROM generate_series(2001, 3000) i;
ANALYZE t;
CREATE VIEW v AS SELECT g, s, count(*) AS c FROM t GROUP BY g, s;
PREPARE one(int) AS SELECT g, count(*) FROM t WHERE g = $1 GROUP BY g;
PREPARE value(int) AS SELECT $1 AS p, count(*) FROM t GROUP BY 1;
-- queries
SELECT g, count(*) FROM t WHERE g = 3 GROUP BY g;
SELECT g, count(*) FROM t WHERE g = 33 GROUP BY g;
SELECT count(*) FROM t WHERE g = 3 GROUP BY g HAVING sum(id) > 0;
SELECT g, s, n, sum(id) FROM t WHERE g = 3 AND s = 's3' GROUP BY g, s, n;
SELECT g % 3 AS m, count(*) FROM t WHERE g % 3 = 1 GROUP BY g % 3;
SELECT g, g AS h, count(*) FROM t WHERE g = 3 GROUP BY 1, 2;
SELECT 'x' AS x, count(*) FROM t GROUP BY x;
SELECT 'x' AS x, count(*) FROM t WHERE id < 0 GROUP BY x;
SELECT count(*) FROM t GROUP BY 1 + 1;
SELECT count(*) FROM t GROUP BY ();
SELECT count(*) FROM t WHERE id < 0 GROUP BY ();
SELECT 1 FROM t HAVING true;
SELECT g, s, count(*) FROM t WHERE g = 3 GROUP BY GROUPING SETS ((g), (g, s), ());
SELECT g, count(*) FROM t WHERE g = (SELECT 3) GROUP BY g;
SELECT x, l.* FROM generate_series(8, 11) x, LATERAL (SELECT g, count(*) FROM t WHERE g = x GROUP BY g) l;
SELECT x, (SELECT count(*) FROM t WHERE g = x GROUP BY g) FROM generate_series(8, 11) x;
SELECT * FROM v WHERE g = 3 AND s = 's3';
SELECT DISTINCT g FROM t WHERE g = 3;
SELECT DISTINCT ON (g) g, count(*) OVER () FROM t WHERE g = 3;
EXECUTE one(3);
EXECUTE one(33);
EXECUTE one(NULL);
EXECUTE value(4);
SET plan_cache_mode = force_generic_plan;
EXECUTE one(3);
EXECUTE value(4);
RESET plan_cache_mode;
