-- Groups are handed up as soon as they take more than hash_mem, in the middle of a slice too; no row is lost or taken twice.
-- Rows move when this test says so.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/test/lib/regress.sql'
\i :setup
ALTER SYSTEM SET vdb.migrate_enabled = off;
SELECT pg_reload_conf() AS reloaded \gset
SET vdb.debug_aggregate = on;
SET max_parallel_workers_per_gather = 0;
SET work_mem = '64kB';
SET hash_mem_multiplier = 1;
SET plan_cache_mode = force_generic_plan;
CREATE FUNCTION agm_peak() RETURNS int LANGUAGE sql AS
$$ SELECT (regexp_match(pg_read_file('/proc/self/status'), 'VmHWM:\s+(\d+) kB'))[1]::int $$;
-- Whether the query is ours, reads rows where they should be, and how often it hands groups up.
CREATE FUNCTION agm_early(query text, place text, OUT early int) LANGUAGE plpgsql AS $$
DECLARE
	line text;
	ours boolean := false;
	found bigint := 0;
BEGIN
	early := 0;
	-- planned with room, so that it is ours
	SET LOCAL work_mem = '64MB';
	EXECUTE 'PREPARE agm AS ' || query;
	EXECUTE 'EXPLAIN EXECUTE agm';
	SET LOCAL work_mem = '64kB';
	FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) EXECUTE agm' LOOP
		ours := ours OR line ~ 'VdbAggregate';
		found := found + coalesce(substring(line FROM 'Rows from ' || place || ': (\d+)')::bigint, 0);
		early := early + coalesce(substring(line FROM 'Partial Flushes: (\d+)')::int, 0);
	END LOOP;
	DEALLOCATE agm;
	IF NOT ours OR found = 0 THEN RAISE 'not ours, or no row from %: %', place, query; END IF;
END $$;
CREATE FUNCTION agm_same(query text, OUT rows bigint, OUT differ bigint) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TEMP TABLE agm_ours AS %s', query);
	EXECUTE format('CREATE TEMP TABLE agm_theirs AS %s', replace(query, '_vdb', '_heap'));
	SELECT count(*) INTO rows FROM agm_ours;
	SELECT (SELECT count(*) FROM (TABLE agm_ours EXCEPT ALL TABLE agm_theirs) x) +
		(SELECT count(*) FROM (TABLE agm_theirs EXCEPT ALL TABLE agm_ours) x) INTO differ;
	DROP TABLE agm_ours, agm_theirs;
END $$;

-- values that are short as they lie in SCM, so that a slice has many rows, and 240 kB each when they are read
CREATE TABLE agm_heap (id int, k text) USING heap;
INSERT INTO agm_heap SELECT i, repeat(chr(65 + i % 26) || i, 60000) FROM generate_series(1, 100) i;
CREATE TABLE agm_vdb (LIKE agm_heap) USING vdb;
INSERT INTO agm_vdb TABLE agm_heap;
SELECT max(length(k)), max(pg_column_size(k)) < 8000 AS short FROM agm_vdb;
SELECT agm_peak() AS before \gset
SELECT agm_early('SELECT k, count(*) FROM agm_vdb GROUP BY k', 'Pool') > 0 AS keys;
SELECT agm_early('SELECT k || 1, count(*) FROM agm_vdb GROUP BY 1', 'Pool') > 90 AS made_keys;
SELECT agm_early('SELECT id, max(k) FROM agm_vdb GROUP BY id', 'Pool') > 2 AS transition_values;
SELECT string_agg(format('max(k || %s)', i), ', ') AS twenty FROM generate_series(1, 20) i \gset
SELECT agm_early('SELECT id, count(*) FILTER (WHERE id > 5), ' || :'twenty' || ' FROM agm_vdb GROUP BY id', 'Pool') > 90 AS many;
SELECT CASE WHEN agm_peak() - :before < 70000 THEN 'bounded' ELSE 'grew by ' || agm_peak() - :before || ' kB' END AS memory;
SELECT * FROM agm_same('SELECT md5(k), c, m FROM (SELECT k, count(*) c, md5(max(k)) m FROM agm_vdb GROUP BY k) x');
SELECT * FROM agm_same('SELECT id, md5(max(k)) a, count(*) FILTER (WHERE id > 5) b, md5(max(k || 2)) c FROM agm_vdb GROUP BY id');
DROP TABLE agm_heap, agm_vdb;

-- groups of 1 kB: some 50 at a time, so several times a slice; every place rows may lie in
CREATE TABLE agm_heap (id int, g int, k text, n numeric) USING heap;
INSERT INTO agm_heap SELECT i, i % 700, string_agg(md5((i % 700)::text || j), '' ORDER BY j), i % 97 FROM generate_series(1, 3000) i, generate_series(1, 32) j GROUP BY i ORDER BY i;
CREATE TABLE agm_vdb (LIKE agm_heap) USING vdb;
INSERT INTO agm_vdb SELECT * FROM agm_heap WHERE id <= 1800;
CALL test_migrate('agm_vdb');
INSERT INTO agm_vdb SELECT * FROM agm_heap WHERE id > 1800;
SELECT query, agm_early(query, 'Pool') > 30 AND agm_early(query, 'Stripes') > 30 AS early, (agm_same(query)).*
FROM unnest(ARRAY[
	'SELECT k, count(*) a, sum(id) b, min(n) c FROM agm_vdb GROUP BY k',
	'SELECT k, count(*), sum(n), avg(n), stddev(id) FROM agm_vdb GROUP BY k',
	'SELECT g, max(k), count(*) FROM agm_vdb GROUP BY g',
	'SELECT upper(k), max(lower(k)), sum(g) FILTER (WHERE id % 2 = 0), max(k) FILTER (WHERE id % 3 = 0) m FROM agm_vdb GROUP BY 1',
	'SELECT ARRAY[k, k], count(*), max(ARRAY[k]) FROM agm_vdb WHERE id % 5 <> 0 GROUP BY 1',
	'SELECT x, c, m FROM generate_series(1, 3) x, LATERAL (SELECT k, count(*) c, max(n) m FROM agm_vdb WHERE g % 3 = x % 3 GROUP BY k) l']) query;
-- each argument is evaluated once; and a scan begun anew in the middle of a slice
CREATE SEQUENCE agm_seq;
SET work_mem = '64MB';
PREPARE agm_once AS SELECT count(*), sum(c), max(m) FROM (SELECT k, count(nextval('agm_seq')) c, max(currval('agm_seq')) m FROM agm_vdb GROUP BY k) x;
PREPARE agm_again AS SELECT x, c FROM generate_series(1, 3) x, LATERAL (SELECT count(*) c FROM (SELECT k, count(*) FROM agm_vdb WHERE g >= x GROUP BY k OFFSET 0) q) l;
EXPLAIN (COSTS OFF) EXECUTE agm_once;
EXPLAIN (COSTS OFF) EXECUTE agm_again;
SET work_mem = '64kB';
EXECUTE agm_once;
SELECT last_value FROM agm_seq;
EXECUTE agm_again;
DEALLOCATE ALL;
DROP TABLE agm_heap, agm_vdb;
DROP SEQUENCE agm_seq;
DROP FUNCTION agm_peak(), agm_early(text, text), agm_same(text);
ALTER SYSTEM RESET vdb.migrate_enabled;
SELECT pg_reload_conf() AS reloaded \gset
