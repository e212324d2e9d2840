-- Groups by expressions that have fewer values than their columns: the estimate is near, so aggregation over slices is chosen.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/test/lib/regress.sql'
\i :setup
SET max_parallel_workers_per_gather = 0;
SET timezone = 'UTC';
CREATE TYPE age_mood AS ENUM ('sad', 'ok', 'happy');
CREATE TABLE age_vdb (id int, ts timestamp, tz timestamptz, d date, tm time, n numeric, f float8, m age_mood, few timestamp) USING vdb;
INSERT INTO age_vdb SELECT i, timestamp '2019-01-01' + i * interval '23 minutes', timestamptz '2019-01-01' + i * interval '23 minutes', date '2019-01-01' + i / 60,
	time '00:00' + i % 80000 * interval '1 second', i / 100.0, i * 1.5, (ARRAY['sad', 'ok', 'happy'])[1 + i % 3]::age_mood, timestamp '2019-01-01' + i % 3 * interval '1 year'
	FROM generate_series(1, 100000) i;
INSERT INTO age_vdb (id, ts, tz, d) VALUES (0, 'infinity', '-infinity', 'infinity'), (0, NULL, NULL, NULL);
CALL test_migrate('age_vdb');
CREATE TABLE age_unknown (id int, ts timestamp) USING vdb;
INSERT INTO age_unknown SELECT id, ts FROM age_vdb;
ANALYZE age_vdb;
-- Whose aggregation the planner chose, and whether it expects about as many groups as there are.
CREATE FUNCTION age_ask(query text, OUT whose text, OUT groups text) LANGUAGE plpgsql AS $$
DECLARE
	line text;
	expected float8;
	actual float8;
BEGIN
	whose := 'core';
	FOR line IN EXECUTE 'EXPLAIN ' || query LOOP
		expected := coalesce(expected, substring(line FROM 'rows=(\d+)')::float8);
		IF line ~ 'VdbAggregate' THEN whose := 'vdb'; END IF;
	END LOOP;
	EXECUTE format('SELECT count(*) FROM (%s) q', query) INTO actual;
	groups := CASE WHEN expected BETWEEN actual / 2.5 AND actual * 2.5 THEN 'near' ELSE format('%s for %s', expected, actual) END;
END $$;
SELECT expr, (age_ask(format('SELECT %s, count(*), avg(f) FROM age_vdb WHERE id > 0 GROUP BY 1', expr))).* FROM unnest(ARRAY[
	'date_trunc(''month'', ts)', 'date_trunc(''day'', tz)', 'date_trunc(''week'', tz, ''Asia/Tokyo'')', 'date_trunc(''quarter'', d)', 'date_bin(''12 hours'', ts, ''2001-01-01'')',
	'extract(month FROM ts)', 'extract(dow FROM tz)', 'date_part(''hour'', tm)', 'extract(year FROM d)', 'extract(doy FROM ts)::int', 'extract(quarter FROM tz) + 1',
	'ts::date', '(tz AT TIME ZONE ''Asia/Tokyo'')::date', 'to_char(date_trunc(''month'', ts - interval ''1 day''), ''YYYY-MM'')',
	'CASE WHEN id < 5 THEN ''a'' WHEN id < 50000 THEN ''b'' WHEN id < 60000 THEN ''a'' ELSE ''c'' END', 'CASE WHEN id < 50000 THEN m END', 'CASE WHEN id > 9 THEN id % 10 ELSE 11 END',
	'm', 'm::text', 'id > 500', 'id = 5 OR f > 7', 'ts IS NULL', 'id::bool', 'coalesce(id > 7, false)', 'n::int', 'round(n)', 'round(n, -1)', 'floor(f)::int', 'id % 17', 'id / 10000', 'id / 1000 * 3', 'date_trunc(''day'', few)']) WITH ORDINALITY e (expr, place) ORDER BY place;
SELECT (age_ask('SELECT extract(year FROM ts), extract(month FROM ts), m, count(*) FROM age_vdb WHERE id > 0 GROUP BY 1, 2, 3')).*;
-- what has no bound is left to core; so is what is volatile, and a column without statistics
SELECT expr, (age_ask(format('SELECT %s, count(*) FROM age_vdb WHERE id > 0 GROUP BY 1', expr))).* FROM unnest(ARRAY['ts', 'id + 1', 'extract(epoch FROM ts)', 'md5(id::text)']) expr;
SELECT (age_ask('SELECT date_trunc(''month'', ts + random() * interval ''1 second''), count(*) FROM age_vdb GROUP BY 1')).whose;
SELECT (age_ask('SELECT date_trunc(''month'', ts), count(*) FROM age_unknown GROUP BY 1')).whose;
-- infinite times in the statistics, an unknown field, a constant that is null
UPDATE age_vdb SET ts = 'infinity' WHERE id % 50 = 0;
ANALYZE age_vdb;
SELECT (age_ask('SELECT date_trunc(''month'', ts), count(*) FROM age_vdb GROUP BY 1')).*;
EXPLAIN (COSTS OFF) SELECT date_trunc(NULL, ts), extract(timezone FROM tz), id % NULL, id / 0, count(*) FROM age_vdb GROUP BY 1, 2, 3, 4;
SELECT date_trunc('fortnight', ts), count(*) FROM age_vdb GROUP BY 1;
SELECT id % 0, count(*) FROM age_vdb GROUP BY 1;
DROP TABLE age_vdb, age_unknown;
DROP TYPE age_mood;
DROP FUNCTION age_ask(text);
