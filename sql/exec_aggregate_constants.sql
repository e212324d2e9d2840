-- Grouping by columns that equal a constant, and by constants: no pathkey is left to sort by, or fewer than columns.
-- Every query must run as vectorized aggregation, sorted and hashed, serial and parallel, and answer as core's own.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/test/lib/regress.sql'
\i :setup
CREATE TABLE agc_vdb (id int, g int, n numeric, s text, p int) USING vdb;
INSERT INTO agc_vdb SELECT i, i % 10, CASE i % 3 WHEN 1 THEN 1.0 ELSE i % 3 END, 's' || i % 5, i % 2 FROM generate_series(1, 3000) i;
CALL test_migrate('agc_vdb');
INSERT INTO agc_vdb SELECT i, i % 10, CASE i % 3 WHEN 1 THEN 1.00 ELSE i % 3 END, 's' || i % 5, i % 2 FROM generate_series(3001, 4000) i;
ANALYZE agc_vdb;
CREATE FUNCTION agc_rows(query text, OUT answer text[], OUT plan text) LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	plan := '';
	EXECUTE format('SELECT array_agg(q::text ORDER BY q::text) FROM (%s) q', query) INTO answer;
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		plan := plan || line || E'\n';
	END LOOP;
END $$;
-- Core's answer, and how ours was found where it is the same.
CREATE FUNCTION agc_same(query text, OUT answer text, OUT ways text) LANGUAGE plpgsql AS $$
DECLARE
	core text[];
	got record;
	way text;
BEGIN
	SET LOCAL vdb.enable_aggregate = off;
	core := (agc_rows(query)).answer;
	SET LOCAL vdb.enable_aggregate = on;
	answer := coalesce(array_to_string(core[1:6], ' '), 'no rows');
	FOREACH way IN ARRAY ARRAY['sort', 'hash', 'sort 2'] LOOP
		PERFORM set_config('enable_hashagg', CASE WHEN way ~ 'hash' THEN 'on' ELSE 'off' END, true),
			set_config('enable_sort', CASE WHEN way ~ 'hash' THEN 'off' ELSE 'on' END, true),
			set_config('max_parallel_workers_per_gather', CASE WHEN way ~ '2' THEN '2' ELSE '0' END, true);
		got := agc_rows(query);
		ways := concat_ws(', ', ways, way || CASE
			WHEN got.answer IS DISTINCT FROM core THEN ': ' || coalesce(array_to_string(got.answer, ' '), 'no rows')
			WHEN got.plan !~ 'VdbAggregate' THEN ': core''s own'
			WHEN way ~ '2' AND got.plan !~ 'Gather' THEN ': serial' ELSE '' END);
	END LOOP;
END $$;
SET vdb.debug_aggregate = on;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET cpu_tuple_cost = 10;
\x on
SELECT query, (agc_same(query)).* FROM unnest(ARRAY[
	-- all columns are constant
	'SELECT g, count(*) FROM agc_vdb WHERE g = 3 GROUP BY g',
	'SELECT count(*) FROM agc_vdb WHERE g = 3 GROUP BY g',
	'SELECT g, trunc(n) AS n, s, count(*), sum(id) FROM agc_vdb WHERE g = 3 AND s = ''s3'' AND n = 1 GROUP BY g, agc_vdb.n, s',
	'SELECT g AS a, g AS b, count(*) FROM agc_vdb WHERE g = 3 GROUP BY 1, 2',
	'SELECT g, p, max(s) FROM agc_vdb WHERE g = p AND p = 1 GROUP BY p, g',
	'SELECT g % 4, count(*) FROM agc_vdb WHERE g % 4 = 1 GROUP BY g % 4',
	'SELECT g, count(*) FROM agc_vdb WHERE g = (SELECT 3) GROUP BY g',
	'SELECT g, count(*) FROM agc_vdb WHERE g IN (3) GROUP BY g HAVING count(*) > 10',
	'SELECT trunc(n) AS n, count(*) FROM agc_vdb WHERE n = 1 GROUP BY agc_vdb.n',
	-- and there is no row, so there is no group
	'SELECT g, count(*) FROM agc_vdb WHERE g = 30 GROUP BY g',
	'SELECT count(*) FROM agc_vdb WHERE g = 30 GROUP BY g',
	'SELECT 1 AS one, count(*) FROM agc_vdb WHERE id < 0 GROUP BY one',
	-- some are
	'SELECT g, s, count(*) FROM agc_vdb WHERE g = 3 GROUP BY g, s',
	'SELECT s, p, count(*) FROM agc_vdb WHERE p = 1 GROUP BY s, p HAVING sum(id) > 0',
	-- constants
	'SELECT ''x'' AS x, count(*) FROM agc_vdb GROUP BY x',
	'SELECT 1 AS one, s, NULL::int AS none, count(*) FROM agc_vdb GROUP BY one, s, none',
	'SELECT count(*) FROM agc_vdb GROUP BY 1 + 1, ''y''::text',
	-- columns named twice
	'SELECT g + 1 AS a, g + 1 AS b, count(*) FROM agc_vdb WHERE p = 1 GROUP BY 1, 2',
	'SELECT g, count(*) FROM agc_vdb GROUP BY g, g',
	-- nothing to group by
	'SELECT count(*) FROM agc_vdb HAVING count(*) > 10',
	'SELECT count(*) FROM agc_vdb HAVING count(*) < 10']) query;
\x off
-- with parameters, prepared and lateral
SET max_parallel_workers_per_gather = 0;
SET enable_hashagg = off;
SET plan_cache_mode = force_generic_plan;
PREPARE agc_one(int) AS SELECT g, count(*) FROM agc_vdb WHERE g = $1 GROUP BY g;
PREPARE agc_value(int) AS SELECT $1 AS p, count(*) FROM agc_vdb GROUP BY 1;
EXPLAIN (COSTS OFF) EXECUTE agc_one(3);
EXECUTE agc_one(3);
EXECUTE agc_one(30);
EXECUTE agc_one(NULL);
EXECUTE agc_value(4);
DEALLOCATE ALL;
SELECT x, g, c FROM generate_series(8, 11) x, LATERAL (SELECT g, count(*) c FROM agc_vdb WHERE g = x GROUP BY g) l;
SELECT x, (SELECT count(*) FROM agc_vdb WHERE g = x GROUP BY g) FROM generate_series(8, 11) x;
-- a view, a child of an inheritance tree, partitions each aggregated by itself
CREATE VIEW agc_view AS SELECT g, s, count(*) c FROM agc_vdb GROUP BY g, s;
SELECT * FROM agc_view WHERE g = 3 AND s = 's3';
CREATE TABLE agc_part (k int, g int) PARTITION BY LIST (k);
CREATE TABLE agc_part1 PARTITION OF agc_part FOR VALUES IN (1) USING vdb;
CREATE TABLE agc_part2 PARTITION OF agc_part FOR VALUES IN (2) USING vdb;
INSERT INTO agc_part SELECT 1 + i % 2, i % 4 FROM generate_series(1, 400) i;
ANALYZE agc_part;
SET enable_partitionwise_aggregate = on;
EXPLAIN (COSTS OFF) SELECT k, g, count(*) FROM agc_part WHERE g = 3 GROUP BY k, g;
SELECT k, g, count(*) FROM agc_part WHERE g = 3 GROUP BY k, g;
SELECT k, g, count(*) FROM agc_part WHERE k = 2 AND g = 1 GROUP BY k, g;
DROP VIEW agc_view;
DROP TABLE agc_vdb, agc_part;
DROP FUNCTION agc_same(text), agc_rows(text);
