-- Joins, aggregates, windows, subqueries and locks in queries over a table that lies half in SCM, half on flash.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/test/lib/regress.sql'
\i :setup
SET default_table_access_method = :am;
CREATE TABLE qa (id int PRIMARY KEY, day date, grp int, amt numeric(10,2), name text, f float8);
CREATE TABLE qb (grp int PRIMARY KEY, label text);
INSERT INTO qb SELECT g, 'group ' || g FROM generate_series(0, 19) g;
INSERT INTO qa SELECT g, date '2001-01-01' + g / 20, g % 25, (g % 997) / 4.0, CASE WHEN g % 11 = 0 THEN NULL ELSE 'name ' || g % 100 END, g % 64 / 8.0 FROM generate_series(1, 6000) g;
CALL test_migrate('qa');
CALL test_migrate('qb');
INSERT INTO qa SELECT g, date '2001-01-01' + g / 20, g % 25, (g % 997) / 4.0, CASE WHEN g % 11 = 0 THEN NULL ELSE 'name ' || g % 100 END, g % 64 / 8.0 FROM generate_series(6001, 8000) g;
UPDATE qa SET amt = 0 WHERE id % 500 = 0;
DELETE FROM qa WHERE id % 333 = 0;
-- aggregates
SELECT count(*), count(name), count(DISTINCT name), sum(amt), avg(amt), min(day), max(day), sum(f), stddev(grp) FROM qa;
SELECT grp, count(*), sum(amt), min(name), max(id) FROM qa GROUP BY grp HAVING sum(amt) > 39900 ORDER BY grp;
SELECT day, grp, count(*) FROM qa WHERE id < 200 GROUP BY GROUPING SETS ((day), (grp), ()) ORDER BY day, grp LIMIT 12;
SELECT count(*) FROM qa WHERE day BETWEEN '2001-03-01' AND '2001-03-31';
SELECT count(*) FROM qa WHERE NOT (day >= '2001-02-01' AND grp <> 3);
SELECT count(*) FROM qa WHERE grp IN (1, 2, 3) OR day > '2002-01-25';
SELECT count(*) FROM qa WHERE name IS NULL AND id > 5000;
SELECT count(*) FROM qa WHERE name IS NOT NULL AND grp IS NOT NULL;
SELECT count(*) FROM qa WHERE name <> 'name 5';
SELECT count(*) FROM qa WHERE amt = 0 OR f = 7.875;
SELECT count(*) FROM qa WHERE id = 4001.0;
SELECT count(*) FROM qa WHERE day > timestamp '2001-12-31 12:00';
SELECT count(*) FROM qa WHERE grp = ANY (ARRAY[1, NULL, 2]);
SELECT count(*) FROM qa WHERE name COLLATE "C" < 'name 2';
SELECT count(*) FROM qa WHERE id > (SELECT max(id) - 100 FROM qa);
SELECT count(*) FROM qa WHERE false;
SELECT count(*) FROM qa WHERE NULL::int = id;
-- parameters known only at run time
PREPARE by_day(date, date) AS SELECT count(*), sum(amt) FROM qa WHERE day >= $1 AND day < $2;
SET plan_cache_mode = force_generic_plan;
EXECUTE by_day('2001-05-01', '2001-05-08');
EXECUTE by_day('2002-01-20', '2003-01-01');
EXECUTE by_day(NULL, '2001-05-08');
RESET plan_cache_mode;
-- joins
SELECT b.label, count(*), sum(a.amt) FROM qa a JOIN qb b USING (grp) WHERE a.day < '2001-02-01' GROUP BY 1 ORDER BY 1 LIMIT 5;
SELECT count(*), count(b.grp) FROM qa a LEFT JOIN qb b USING (grp);
SELECT count(*) FROM qa a WHERE NOT EXISTS (SELECT FROM qb b WHERE b.grp = a.grp);
SELECT count(*) FROM qa a JOIN qa b ON a.id = b.id + 1 AND a.grp <> b.grp;
BEGIN;
SET LOCAL enable_hashjoin = off;
SET LOCAL enable_mergejoin = off;
SET LOCAL enable_seqscan = off;
SELECT count(*), sum(a.amt) FROM qb b JOIN LATERAL (SELECT * FROM qa WHERE qa.id BETWEEN b.grp * 100 AND b.grp * 100 + 10) a ON true;
COMMIT;
BEGIN;
SET LOCAL enable_hashjoin = off;
SET LOCAL enable_nestloop = off;
SELECT count(*) FROM qa a JOIN qb b USING (grp);
COMMIT;
SELECT id, amt FROM qa ORDER BY amt DESC, id LIMIT 5;
SELECT DISTINCT grp FROM qa WHERE id < 10 ORDER BY grp;
SELECT id, rank() OVER (PARTITION BY grp ORDER BY amt DESC, id), lag(id) OVER (ORDER BY id) FROM qa WHERE id < 60 AND grp = 5 ORDER BY id;
WITH RECURSIVE walk AS (SELECT id, amt FROM qa WHERE id = 1 UNION ALL SELECT q.id, q.amt FROM walk w JOIN qa q ON q.id = w.id * 2) SELECT * FROM walk ORDER BY id;
SELECT id FROM qa WHERE id < 20 INTERSECT SELECT id FROM qa WHERE id > 10 ORDER BY id;
SELECT count(*) FROM (SELECT id FROM qa EXCEPT SELECT id + 1 FROM qa) x;
-- parallel
BEGIN;
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
SET LOCAL max_parallel_workers_per_gather = 3;
-- force_parallel_mode, by its name in this server
SELECT count(set_config(name, 'on', true)) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
SELECT count(*), sum(amt), count(DISTINCT id) FROM qa;
SELECT grp, count(*) FROM qa WHERE day > '2001-10-01' GROUP BY grp ORDER BY grp LIMIT 3;
SELECT count(*) FROM qa a JOIN qb b USING (grp);
COMMIT;
-- the whole row, system columns, positions
SELECT qa FROM qa WHERE id IN (1, 7999) ORDER BY id;
SELECT count(*), count(DISTINCT ctid), bool_and(tableoid = 'qa'::regclass) FROM qa;
SELECT count(*) FROM qa WHERE xmin IS NULL OR cmin IS NULL;
SELECT bool_and(xmax = '0') FROM qa WHERE id BETWEEN 7001 AND 7100;
-- row locks in queries
BEGIN;
SELECT id FROM qa WHERE id IN (10, 7010) ORDER BY id FOR UPDATE;
SELECT a.id, b.label FROM qa a JOIN qb b USING (grp) WHERE a.id IN (11, 7011) ORDER BY a.id FOR UPDATE OF a FOR SHARE OF b;
UPDATE qa SET name = 'locked' WHERE id IN (10, 7010);
SELECT id FROM qa WHERE name = 'locked' ORDER BY id FOR KEY SHARE;
COMMIT;
SELECT id, name FROM qa WHERE id IN (10, 11, 7010, 7011) ORDER BY id;
CALL test_migrate('qa');
SELECT count(*), count(name), count(DISTINCT name), sum(amt), avg(amt), min(day), max(day), sum(f), stddev(grp) FROM qa;
SELECT id, name FROM qa WHERE id IN (10, 11, 7010, 7011) ORDER BY id;
SELECT * FROM test_all_scans('SELECT * FROM qa WHERE id BETWEEN 5990 AND 6010');
SELECT test_verify('qa');
DROP TABLE qa, qb;
