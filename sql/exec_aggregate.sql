-- Vectorized aggregation answers as core's own does, for every kind of key and aggregate, and says what it did.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/test/lib/regress.sql'
\i :setup
SET vdb.debug_aggregate = on;
SET max_parallel_workers_per_gather = 0;
CREATE TABLE ag_made (id int, i2 smallint, i4 int, i8 bigint, f4 real, f8 float8, n numeric, b bool, d date, tm time,
	ts timestamp, tz timestamptz, iv interval, o oid, m money, c "char", nm name, t text, vc varchar, bp char(5),
	by bytea, u uuid, a int[], j jsonb, k text COLLATE "C", x float8);
INSERT INTO ag_made
SELECT g, g % 100, g % 1000, g::int8 * 4000000007, (g % 70) / 7.0, (g % 50) / 3.0, (g % 400) / 100.0, g % 3 = 0,
	date '2001-01-01' + g % 60, time '00:00' + g % 90 * interval '1 minute', timestamp '2001-01-01' + g % 80 * interval '1 hour',
	timestamptz '2001-01-01 00:00+00' + g % 70 * interval '1 day', g % 9 * interval '1 hour', 4000000000 + g % 7, g % 11,
	chr(200 + g % 20)::"char", 'name ' || g % 13, 'text ' || g % 17, repeat('v', g % 19), repeat('b', g % 4),
	decode(lpad(to_hex(g % 21), 2, '0'), 'hex'), md5((g % 23)::text)::uuid, ARRAY[g % 5, g % 2], jsonb_build_object('k', g % 6), chr(65 + g % 26),
	CASE g % 9 WHEN 1 THEN 'NaN' WHEN 2 THEN 'Infinity' WHEN 3 THEN '-Infinity' ELSE (g % 9)::text END::float8
FROM generate_series(1, 9000) g;
-- what comparisons stumble over: nulls, two zeroes, no numbers, infinity, scales, long and compressed values
UPDATE ag_made SET i4 = NULL, f8 = NULL, t = NULL, n = NULL, b = NULL, d = NULL WHERE id % 13 = 0;
UPDATE ag_made SET f8 = '-0', f4 = '-0', n = 1.0 WHERE id % 50 = 1;
UPDATE ag_made SET f8 = '0', f4 = 0, n = 1.000 WHERE id % 50 = 2;
UPDATE ag_made SET t = repeat('long ', 2000), by = decode(repeat('ab', 3000), 'hex') WHERE id % 1000 = 7;
-- in the same order in both, so that sums of floats must be the same to the last digit
CREATE TABLE ag_heap AS SELECT * FROM ag_made ORDER BY id;
CREATE TABLE ag_vdb (LIKE ag_heap) USING vdb;
INSERT INTO ag_vdb SELECT * FROM ag_heap WHERE id <= 6000 ORDER BY id;
CALL test_migrate('ag_vdb');
INSERT INTO ag_vdb SELECT * FROM ag_heap WHERE id > 6000 ORDER BY id;
INSERT INTO ag_heap (id, t) SELECT 10000 + g, (SELECT string_agg(md5(g || ' ' || i), '') FROM generate_series(1, 1500 + g) i) FROM generate_series(1, 6) g;
INSERT INTO ag_vdb SELECT * FROM ag_heap WHERE id > 10000 ORDER BY id;
DELETE FROM ag_heap WHERE id % 10 = 4;
DELETE FROM ag_vdb WHERE id % 10 = 4;
ANALYZE ag_heap, ag_vdb;

-- The same query on both; 'vectorized' only if the plan has our node.
CREATE FUNCTION ag_plan(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
	lines text := '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF, VERBOSE) ' || query LOOP
		lines := lines || line || E'\n';
	END LOOP;
	IF lines !~ 'VdbAggregate' THEN RETURN 'by core'; END IF;
	RETURN 'vectorized ' || coalesce(substring(lines FROM 'Vectorized Aggregates: (\d+)'), '?') || ', called ' || coalesce(substring(lines FROM 'Row-by-Row Aggregates: (\d+)'), '?');
END $$;
CREATE FUNCTION ag_same(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	ours text := replace(query, '@', 'ag_vdb');
	theirs text := replace(query, '@', 'ag_heap');
	extra text;
	n bigint;
BEGIN
	EXECUTE format('SELECT string_agg(q::text, '' '') FROM ((SELECT (o.*)::text q FROM (%s) o EXCEPT ALL SELECT (t.*)::text FROM (%s) t) LIMIT 2) x', ours, theirs) INTO extra;
	IF extra IS NOT NULL THEN RETURN 'ours alone: ' || extra; END IF;
	EXECUTE format('SELECT string_agg(q::text, '' '') FROM ((SELECT (t.*)::text q FROM (%s) t EXCEPT ALL SELECT (o.*)::text FROM (%s) o) LIMIT 2) x', theirs, ours) INTO extra;
	IF extra IS NOT NULL THEN RETURN 'heap alone: ' || extra; END IF;
	EXECUTE format('SELECT count(*) FROM (%s) t', theirs) INTO n;
	RETURN n || ' rows the same, ' || ag_plan(ours);
END $$;

-- every kernel, with and without groups; what has none is called
SELECT expr, ag_same(format('SELECT %s AS x FROM @', expr)), ag_same(format('SELECT i2, %s AS x FROM @ GROUP BY i2', expr))
FROM unnest(ARRAY['count(*)', 'count(t)', 'sum(i2)', 'sum(i4)', 'sum(i8)', 'sum(f4)', 'sum(f8)', 'sum(n)', 'sum(m)', 'sum(iv)',
	'avg(i2)', 'avg(i4)', 'avg(i8)', 'avg(f4)', 'avg(f8)', 'avg(n)', 'avg(iv)', 'min(i2)', 'max(i2)', 'min(i4)', 'max(i4)', 'min(i8)', 'max(i8)',
	'min(f4)', 'max(f4)', 'min(f8)', 'max(f8)', 'min(n)', 'max(n)', 'min(d)', 'max(d)', 'min(tm)', 'max(tm)', 'min(ts)', 'max(ts)',
	'min(tz)', 'max(tz)', 'min(iv)', 'max(iv)', 'min(o)', 'max(o)', 'min(m)', 'max(m)', 'min(t)', 'max(t)', 'max(bp)', 'max(a)',
	'bool_and(b)', 'bool_or(b)', 'every(b)', 'bit_and(i4)', 'bit_or(i8)', 'stddev(i4)', 'variance(f8)', 'stddev_pop(f4)', 'stddev_samp(n)', 'var_pop(i8)',
	'corr(f8, f4)', 'regr_slope(f8, i4)', 'covar_pop(i2, f8)', 'sum(x)', 'avg(x)', 'stddev(x)', 'min(x)', 'max(x)', 'max(x) FILTER (WHERE x <> ''NaN'')']) WITH ORDINALITY e (expr, place) ORDER BY place;
-- every kind of key
SELECT keys, ag_same(format('SELECT %s, count(*), sum(i4), avg(f8) FROM @ GROUP BY %1$s', keys))
FROM unnest(ARRAY['i2', 'i4', 'i8 % 77', 'f4', 'f8', 'n', 'b', 'd', 'tm', 'ts', 'tz', 'iv', 'o', 'm', 'c', 'nm', 't', 'vc', 'bp', 'by', 'u', 'a', 'j', 'k', 'x',
	'b, i2', 't, d', 'f8, n', 't, b, c', 'j, a, u', 'lower(t)', 'date_trunc(''day'', ts)', 'i4 / 10, t', 'CASE WHEN b THEN o ELSE 4000000001 END',
	'upper(k COLLATE "C")', 'length(t)']) WITH ORDINALITY e (keys, place) ORDER BY place;
-- filters, on aggregates and on rows; arguments of rows that a filter drops are not evaluated
SELECT ag_same('SELECT t, count(*) FILTER (WHERE b), sum(i4) FILTER (WHERE f8 > 3), sum(1000 / i4) FILTER (WHERE i4 <> 0), min(d) FILTER (WHERE false) FROM @ GROUP BY t');
SELECT ag_same('SELECT count(*), count(*) FILTER (WHERE b), sum(100 / i2) FILTER (WHERE i2 <> 0) FROM @');
SELECT ag_same('SELECT sum(1000 / i4) FROM @ WHERE i4 <> 0');
SELECT ag_same('SELECT b, sum(f8), max(t) FROM @ WHERE d >= ''2001-02-01'' AND t LIKE ''%1%'' GROUP BY b');
SELECT ag_same('SELECT b, count(*) FROM @ WHERE id BETWEEN 5990 AND 6010 GROUP BY b');
SELECT sum(1000 / i4) FROM ag_vdb;
-- nothing to aggregate
SELECT ag_same('SELECT count(*), sum(i4), avg(f8), max(t), stddev(n) FROM @ WHERE id < 0');
SELECT ag_same('SELECT b, count(*) FROM @ WHERE id < 0 GROUP BY b');
SELECT ag_same('SELECT count(*), avg(i4) FROM @ WHERE false');
-- no aggregate, HAVING, expressions above, carried columns, the same transition twice
SELECT ag_same('SELECT t FROM @ GROUP BY t');
SELECT ag_same('SELECT t, b FROM @ GROUP BY t, b HAVING count(*) > 100 AND max(i8) > 0');
SELECT ag_same('SELECT i4 + 1, sum(i2) * 2 + count(*), i4 * 3 FROM @ GROUP BY i4');
SELECT ag_same('SELECT i4 / 10 + count(*) FROM @ GROUP BY i4 / 10');
SELECT ag_same('SELECT t, avg(f8), stddev(f8), variance(f8), sum(n), avg(n), sum(i8), avg(i8) FROM @ GROUP BY t');
SELECT ag_same('SELECT d, count(*), row_number() OVER (ORDER BY d) FROM @ GROUP BY d');
SELECT ag_same('SELECT g, c FROM (SELECT i2 % 10 g, count(*) c FROM @ GROUP BY 1) s WHERE c > 10');
SELECT ag_same('SELECT DISTINCT c FROM (SELECT t, count(*) c FROM @ GROUP BY t) s');
SELECT ag_same('SELECT (SELECT count(*) FROM @ WHERE i4 = y) FROM generate_series(1, 5) y');
SELECT ag_same('SELECT y, (SELECT max(i8) FROM @ WHERE i2 = y AND b) FROM generate_series(1, 40) y');
SELECT ag_same('SELECT max(id), count(tableoid) FROM @ WHERE ctid IS NOT NULL');
SELECT ag_same('SELECT count(*), max(n) FROM (SELECT count(*) n FROM @ GROUP BY ctid, b) s');
CREATE TEMP TABLE ag_ends AS SELECT b, min(ctid) lo, max(ctid) hi FROM ag_vdb GROUP BY b;
SET vdb.enable_aggregate = off;
SELECT count(*) FROM (TABLE ag_ends EXCEPT SELECT b, min(ctid), max(ctid) FROM ag_vdb GROUP BY b) x;
RESET vdb.enable_aggregate;
ALTER TABLE ag_heap ADD PRIMARY KEY (id);
ALTER TABLE ag_vdb ADD PRIMARY KEY (id);
SELECT ag_same('SELECT id, t, a, count(*) FROM @ GROUP BY id');
-- left to core: order or distinctness within, grouping sets, other rows' columns, aggregates of others
SELECT ag_plan('SELECT count(DISTINCT t) FROM ag_vdb');
SELECT ag_plan('SELECT string_agg(k, '','' ORDER BY k) FROM ag_vdb');
SELECT ag_plan('SELECT t, b, count(*) FROM ag_vdb GROUP BY ROLLUP (t, b)');
SELECT ag_plan('SELECT count(*) FROM ag_vdb v JOIN ag_heap h USING (id)');
SELECT ag_plan('SELECT sum((SELECT y)) FROM ag_vdb, LATERAL (SELECT i4 AS y) l');
SELECT ag_plan('SELECT count(*) FROM ag_vdb TABLESAMPLE SYSTEM (10)');
CREATE AGGREGATE ag_own(int) (SFUNC = int4pl, STYPE = int, COMBINEFUNC = int4pl, PARALLEL = SAFE);
SELECT ag_plan('SELECT ag_own(i4) FROM ag_vdb');
SELECT ag_same('SELECT ag_own(i4) FROM @');
SET vdb.enable_aggregate = off;
SELECT ag_plan('SELECT count(*) FROM ag_vdb');
RESET vdb.enable_aggregate;

-- more groups than memory: they are flushed as partial results, and core makes one of the parts
SET plan_cache_mode = force_generic_plan;
PREPARE ag_many AS SELECT id, t, count(*), sum(i8), max(d) FROM ag_vdb GROUP BY id, t;
PREPARE ag_thirds AS SELECT id % 3000, count(*), stddev(n) FROM ag_vdb GROUP BY 1;
PREPARE ag_few AS SELECT b, count(*) FROM ag_vdb GROUP BY b;
CREATE TEMP TABLE ag_roomy1 AS EXECUTE ag_many;
CREATE TEMP TABLE ag_roomy2 AS EXECUTE ag_thirds;
EXPLAIN (COSTS OFF) EXECUTE ag_many;
SET work_mem = '64kB';
SET hash_mem_multiplier = 1;
CREATE TEMP TABLE ag_tight1 AS EXECUTE ag_many;
CREATE TEMP TABLE ag_tight2 AS EXECUTE ag_thirds;
CREATE FUNCTION ag_early(query text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query LOOP
		IF line ~ 'Partial Flushes' THEN RETURN true; END IF;
	END LOOP;
	RETURN false;
END $$;
SELECT ag_early('EXECUTE ag_many'), ag_early('EXECUTE ag_thirds'), ag_early('EXECUTE ag_few');
RESET work_mem;
RESET hash_mem_multiplier;
RESET plan_cache_mode;
SELECT (SELECT count(*) FROM (TABLE ag_roomy1 EXCEPT ALL TABLE ag_tight1) x) + (SELECT count(*) FROM (TABLE ag_tight1 EXCEPT ALL TABLE ag_roomy1) x) AS differ1,
	(SELECT count(*) FROM (TABLE ag_roomy2 EXCEPT ALL TABLE ag_tight2) x) + (SELECT count(*) FROM (TABLE ag_tight2 EXCEPT ALL TABLE ag_roomy2) x) AS differ2;
SELECT ag_same('SELECT id, t, count(*), sum(i8), max(d) FROM @ GROUP BY id, t');
DEALLOCATE ALL;

-- expressions whose results are large are worked off in parts
SELECT ag_same('SELECT md5(repeat(t, 3)), count(*), max(length(repeat(vc, 5000))), max(repeat(vc, 5000)) FROM @ GROUP BY 1');

-- parallel
SET cpu_tuple_cost = 10;
SET max_parallel_workers_per_gather = 2;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS OFF) SELECT t, count(*), sum(i4) FROM ag_vdb WHERE i2 > 3 GROUP BY t;
SELECT ag_same('SELECT t, count(*), sum(i4), avg(n), max(d), avg(i8) FROM @ WHERE i2 > 3 GROUP BY t');
SELECT ag_same('SELECT count(*), sum(i4), avg(n), max(d), min(i8) FROM @');
SET max_parallel_workers_per_gather = 0;
RESET cpu_tuple_cost;

-- what EXPLAIN shows
EXPLAIN (COSTS OFF, VERBOSE) SELECT i2 % 10, count(*), avg(n), sum(i4) FILTER (WHERE b) FROM ag_vdb WHERE d > '2001-01-15' GROUP BY 1 ORDER BY 1;
-- the worker may have moved some of the rows, to other stripes
VACUUM FULL ag_vdb;
CALL test_migrate('ag_vdb');
CREATE FUNCTION ag_ran(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (ANALYZE, BUFFERS OFF, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query LOOP
		RETURN NEXT replace(line, '.00 loops', ' loops');
	END LOOP;
END $$;
SELECT ag_ran('SELECT count(*), max(i4) FROM ag_vdb WHERE i2 < 50');

-- in cursors, prepared statements, functions; while a statement changes the table
BEGIN;
DECLARE ag_c SCROLL CURSOR FOR SELECT b, count(*) FROM ag_vdb GROUP BY b ORDER BY b;
FETCH 2 FROM ag_c;
FETCH BACKWARD 1 FROM ag_c;
FETCH ALL FROM ag_c;
COMMIT;
PREPARE ag_p(int) AS SELECT count(*), sum(i4) FROM ag_vdb WHERE id <= $1;
SET plan_cache_mode = force_generic_plan;
EXECUTE ag_p(100);
EXECUTE ag_p(9000);
RESET plan_cache_mode;
INSERT INTO ag_vdb (id, i4) SELECT -1, count(*) FROM ag_vdb;
SELECT i4 FROM ag_vdb WHERE id = -1;
BEGIN;
DELETE FROM ag_vdb WHERE id > 3000;
SELECT count(*), max(id) FROM ag_vdb;
SAVEPOINT s;
INSERT INTO ag_vdb (id) VALUES (50000);
SELECT count(*), max(id) FROM ag_vdb;
ROLLBACK TO s;
SELECT count(*), max(id) FROM ag_vdb;
ROLLBACK;
SELECT count(*), max(id) FROM ag_vdb;
-- columns that came and went after the stripes
ALTER TABLE ag_vdb ADD COLUMN late int DEFAULT 7, DROP COLUMN o;
SELECT late, count(*), sum(late) FROM ag_vdb GROUP BY late;
-- an error within an aggregate leaves nothing behind
SELECT sum(i8 * 2000000000) FROM ag_vdb;
SELECT count(*) FROM ag_vdb;
-- a table without rows, one never written, a partition
CREATE TABLE ag_empty (x int) USING vdb;
SELECT count(*), sum(x) FROM ag_empty;
SELECT x, count(*) FROM ag_empty GROUP BY x;
CREATE TABLE ag_part (x int, y int) PARTITION BY RANGE (x);
CREATE TABLE ag_part1 PARTITION OF ag_part FOR VALUES FROM (0) TO (100) USING vdb;
CREATE TABLE ag_part2 PARTITION OF ag_part FOR VALUES FROM (100) TO (200) USING vdb;
INSERT INTO ag_part SELECT g % 200, g FROM generate_series(1, 2000) g;
SET enable_partitionwise_aggregate = on;
ANALYZE ag_part;
EXPLAIN (COSTS OFF) SELECT x, count(*), sum(y) FROM ag_part GROUP BY x;
SELECT count(*), sum(c), sum(s) FROM (SELECT x, count(*) c, sum(y) s FROM ag_part GROUP BY x) q;
RESET enable_partitionwise_aggregate;
DROP TABLE ag_ends, ag_made, ag_heap, ag_vdb, ag_roomy1, ag_roomy2, ag_tight1, ag_tight2, ag_empty, ag_part;
DROP AGGREGATE ag_own(int);
DROP FUNCTION ag_plan(text), ag_same(text), ag_early(text), ag_ran(text);
