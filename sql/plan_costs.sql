-- Fetching a row from a stripe costs more than core thinks. The plan that is chosen is the cheapest with that cost in: no setting
-- that forbids some of its kind of path finds a cheaper one.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/test/lib/regress.sql'
\i :setup
SET client_min_messages = warning;
SET max_parallel_workers_per_gather = 0;
ALTER SYSTEM SET vdb.migrate_enabled = off;
SELECT pg_reload_conf();
CALL test_alone();
CREATE TABLE pc (id int PRIMARY KEY, apart int, near int, w text) USING vdb WITH (autovacuum_enabled = off);
INSERT INTO pc SELECT g, g % 1000, g / 1000, repeat('w', 40) FROM generate_series(1, 200000) g;
CREATE INDEX pc_apart ON pc (apart);
CREATE INDEX pc_near ON pc (near);
CREATE INDEX pc_both ON pc (apart, near, id);
CREATE INDEX pc_part ON pc (near) WHERE apart < 50;
CREATE TABLE pc_outer (x int, y int) USING heap;
INSERT INTO pc_outer SELECT g, g % 10 FROM generate_series(1, 50) g;
SELECT vdb.migrate('pc') > 0 AS moved;
VACUUM ANALYZE pc;
ANALYZE pc_outer;
CREATE FUNCTION cost(query text, OUT cost numeric, OUT plan text) LANGUAGE plpgsql AS $$
DECLARE j json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO j;
	cost := j->0->'Plan'->>'Total Cost';
	plan := (SELECT string_agg(m[1], ', ') FROM regexp_matches(j::text, '"Node Type": "([^"]+)"', 'g') m);
END $$;
CREATE TABLE query (q text) USING heap;
INSERT INTO query VALUES
	('SELECT * FROM pc WHERE id = 7'),
	('SELECT * FROM pc WHERE id BETWEEN 7 AND 90'),
	('SELECT * FROM pc WHERE id < 20000'),
	('SELECT * FROM pc WHERE apart = 7'),
	('SELECT apart FROM pc WHERE apart = 7'),
	('SELECT apart, near FROM pc WHERE apart = 7'),
	('SELECT apart, near FROM pc WHERE apart < 50'),
	('SELECT * FROM pc WHERE apart < 5'),
	('SELECT * FROM pc WHERE apart < 20'),
	('SELECT * FROM pc WHERE apart < 100'),
	('SELECT * FROM pc WHERE apart < 300'),
	('SELECT xmin, * FROM pc WHERE apart < 5'),
	('SELECT xmin, * FROM pc WHERE apart < 100'),
	('SELECT xmin, * FROM pc WHERE near < 20'),
	('SELECT * FROM pc WHERE near = 5'),
	('SELECT * FROM pc WHERE near = 5 AND apart = 7'),
	('SELECT * FROM pc WHERE near = 5 AND apart < 50'),
	('SELECT xmin, * FROM pc WHERE near = 5 AND apart < 50'),
	('SELECT * FROM pc WHERE near < 5 AND apart = 7'),
	('SELECT * FROM pc WHERE near = 5 OR apart = 7'),
	('SELECT * FROM pc WHERE ctid = ''(7,7)'''),
	('SELECT * FROM pc WHERE ctid = ''(7,7)'' OR apart = 7'),
	('SELECT * FROM pc ORDER BY id LIMIT 10'),
	('SELECT * FROM pc ORDER BY apart LIMIT 1000'),
	('SELECT xmin, * FROM pc ORDER BY apart'),
	('SELECT apart, count(*) FROM pc GROUP BY apart'),
	('SELECT * FROM pc WHERE apart IN (7, 8, 9) ORDER BY apart'),
	('SELECT min(apart), max(id) FROM pc'),
	('SELECT * FROM pc_outer JOIN pc ON id = x'),
	('SELECT * FROM pc_outer JOIN pc ON apart = x'),
	('SELECT * FROM pc_outer JOIN pc ON apart = x AND near = y'),
	('SELECT apart, near FROM pc_outer JOIN pc ON apart = x WHERE y = 3'),
	('SELECT * FROM pc_outer JOIN pc ON apart = x WHERE y = 3'),
	('SELECT * FROM pc_outer, LATERAL (SELECT * FROM pc WHERE apart = x LIMIT 3) l'),
	('SELECT * FROM pc a JOIN pc b USING (id) WHERE a.apart < 30'),
	('SELECT * FROM pc a JOIN pc b USING (id) WHERE a.apart = 3'),
	('SELECT * FROM pc a JOIN pc b ON b.apart = a.id WHERE a.near = 3'),
	('SELECT * FROM pc_outer WHERE EXISTS (SELECT FROM pc WHERE apart = x AND near > 5)'),
	('DELETE FROM pc WHERE apart < 100'),
	('UPDATE pc SET w = '''' WHERE near = 5 AND apart < 50');
-- Every choice of what is forbidden, for each query. A forbidden kind of path costs 10 billion and is never the cheapest.
CREATE PROCEDURE compare(kind text) LANGUAGE plpgsql AS $$
DECLARE
	switch text[] := '{enable_seqscan,enable_indexscan,enable_indexonlyscan,enable_bitmapscan,vdb.enable_custom_scan}';
	q text;
	chosen record;
	other record;
	better record;
	n int := 0;
BEGIN
	FOR q IN SELECT query.q FROM query LOOP
		FOR i IN 1..5 LOOP PERFORM set_config(switch[i], 'on', true); END LOOP;
		chosen := cost(q);
		better := chosen;
		FOR choice IN 1..31 LOOP
			FOR i IN 1..5 LOOP
				PERFORM set_config(switch[i], CASE WHEN choice & (1 << i - 1) <> 0 THEN 'off' ELSE 'on' END, true);
			END LOOP;
			other := cost(q);
			n := n + 1;
			IF other.cost < better.cost THEN
				better := other;
			END IF;
		END LOOP;
		-- add_path takes costs as equal that differ by a hundredth; so at each of the plan's levels
		IF better.cost < chosen.cost * 0.96 THEN
			RAISE WARNING '% (%): % costs %, and % only %', q, kind, chosen.plan, chosen.cost, better.plan, better.cost;
		END IF;
	END LOOP;
	RAISE WARNING '%: % plans compared', kind, n;
END $$;
CALL compare('all visible');
-- index-only scans have to fetch
UPDATE pc SET w = w WHERE id % 250 = 0;
CALL compare('none is all visible');
INSERT INTO pc SELECT g, g % 1000, g / 1000, repeat('w', 40) FROM generate_series(200001, 300000) g;
ANALYZE pc;
CALL compare('a third in the pool');
-- a scan that custom scans can't stand for, and that core dropped before fetches were charged
EXPLAIN (COSTS off) SELECT xmin, * FROM pc WHERE apart < 100;
-- of two indexes the one that fetches less, though it reads more pages
SET enable_bitmapscan = off;
DROP INDEX pc_both;
EXPLAIN (COSTS off) SELECT * FROM pc WHERE near = 5 AND apart = 7 AND w > '';
DROP TABLE pc, pc_outer, query;
DROP FUNCTION cost;
DROP PROCEDURE compare;
ALTER SYSTEM RESET vdb.migrate_enabled;
SELECT pg_reload_conf();
