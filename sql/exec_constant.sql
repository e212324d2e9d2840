-- A constant is evaluated when the first row reaches its clause, not earlier: an error in it shows where heap shows it.
-- (The planner evaluates stable functions of constants for its estimates, on heap too: so theirs is a subquery's result here.)
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/test/lib/regress.sql'
\i :setup
SET max_parallel_workers_per_gather = 0;
SET vdb.chunk_rows = 256;
CREATE TABLE ec_none (i int);
CREATE DOMAIN ec_positive AS int CHECK (value > 0);
CREATE FUNCTION ec_fails(int) RETURNS int LANGUAGE plpgsql STABLE COST 1 AS $$ BEGIN RAISE EXCEPTION 'evaluated for %', $1; END $$;
CREATE FUNCTION ec_tells(int) RETURNS int LANGUAGE plpgsql STABLE COST 1 AS $$ BEGIN RAISE NOTICE 'evaluated for %', $1; RETURN $1; END $$;
CREATE FUNCTION ec_slow(int) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN RETURN $1 < 0; END $$;
CREATE FUNCTION ec_some(int) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN RETURN $1 > 3069; END $$;
CREATE TABLE ec_heap (id int, x int, n numeric, t text, ts timestamptz);
INSERT INTO ec_heap SELECT g, g % 100, g, 'text ' || g % 7, timestamptz '2020-01-01 00:00+00' + g * interval '1 h' FROM generate_series(0, 256 * 20 - 1) g;
UPDATE ec_heap SET x = NULL WHERE id % 9 = 0;
-- empty; filled in the pool; in stripes; both; and a table all of whose rows are gone
CREATE TABLE ec_empty (LIKE ec_heap) USING vdb;
CREATE TABLE ec_pool (LIKE ec_heap) USING vdb;
INSERT INTO ec_pool SELECT * FROM ec_heap ORDER BY id;
CREATE TABLE ec_striped (LIKE ec_heap) USING vdb;
INSERT INTO ec_striped SELECT * FROM ec_heap ORDER BY id;
CALL test_migrate('ec_striped');
CREATE TABLE ec_mixed (LIKE ec_heap) USING vdb;
INSERT INTO ec_mixed SELECT * FROM ec_heap WHERE id < 256 * 16 ORDER BY id;
CALL test_migrate('ec_mixed');
INSERT INTO ec_mixed SELECT * FROM ec_heap WHERE id >= 256 * 16 ORDER BY id;
CREATE TABLE ec_gone (LIKE ec_heap) USING vdb;
INSERT INTO ec_gone SELECT * FROM ec_heap;
CALL test_migrate('ec_gone');
INSERT INTO ec_gone SELECT * FROM ec_heap WHERE id < 300;
DELETE FROM ec_gone;
CREATE TABLE ec_nulls (LIKE ec_heap) USING vdb;
INSERT INTO ec_nulls (id) SELECT id FROM ec_heap;
CALL test_migrate('ec_nulls');
CREATE TABLE ec_nulls_heap AS SELECT * FROM ec_nulls;
CREATE TABLE ec_empty_heap (LIKE ec_heap);
-- With aggregation, a row at a time, and behind a scrolling cursor's plan: what heap answers, where any of ours answers otherwise
CREATE FUNCTION ec_ask(clause text, target text) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
	answers text[];
BEGIN
	answers := ARRAY[test_answer(format('SELECT count(*) FROM %I WHERE %s', target, clause)),
		test_answer(format('SELECT count(*) FROM (SELECT id FROM %I WHERE %s OFFSET 0) s', target, clause))];
	RETURN answers || test_answer(format('SELECT count(*) FROM (SELECT id FROM %I WHERE %s LIMIT 10) s', target, clause));
END $$;
CREATE FUNCTION ec_same(clause text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	pair text[];
	result text := '';
	ours text[];
	theirs text[];
BEGIN
	FOREACH pair SLICE 1 IN ARRAY ARRAY[['ec_heap', 'ec_pool'], ['ec_heap', 'ec_striped'], ['ec_heap', 'ec_mixed'], ['ec_empty_heap', 'ec_empty'],
		['ec_empty_heap', 'ec_gone'], ['ec_nulls_heap', 'ec_nulls']] LOOP
		theirs := ec_ask(clause, pair[1]);
		ours := ec_ask(clause, pair[2]);
		IF ours <> theirs THEN result := result || format(' %s: %s heap: %s', pair[2], ours, theirs);
		ELSIF pair[2] = 'ec_striped' THEN result := theirs[1] || result;
		END IF;
	END LOOP;
	RETURN result;
END $$;
SELECT clause, ec_same(clause)
FROM unnest(ARRAY['id < 0 AND x = (SELECT 1 / count(*) FROM ec_none)', 'x = (SELECT 1 / count(*) FROM ec_none)', 'x = (SELECT 1 / count(*) FROM ec_none) AND id < 0', 'id < 0 AND id > 10 / (SELECT count(*) FROM ec_none)',
	'ec_slow(id) AND x = (SELECT 1 / count(*) FROM ec_none)', 'ec_some(id) AND x = (SELECT 1 / count(*) FROM ec_none)', 'ec_some(id) AND x = (SELECT 5 + count(*) FROM ec_none)',
	'id < 0 AND x = ec_fails((SELECT 1))', 'x = ec_fails((SELECT 1))', 'id < 0 OR x = ec_fails((SELECT 1))', 'id >= 0 OR x = ec_fails((SELECT 1))', 'id >= 0 AND (id < 5 OR id >= 5 OR x = ec_fails((SELECT 1)))',
	'id < 0 AND (x = ec_fails((SELECT 1)) OR x = ec_fails((SELECT 2)))', '(id < 0 AND x = ec_fails((SELECT 1))) OR id = 5', '(id = 7 AND x = ec_fails((SELECT 1))) OR id = 5',
	'ec_slow(id) AND id IN (1, ec_fails((SELECT 1)))', 'id < 0 AND id = ANY (ARRAY[1, ec_fails((SELECT 1))])', 'n < 0 AND n = ec_fails((SELECT 1))::numeric', 'n > 4000 AND n = ec_fails((SELECT 1))::numeric',
	'id < 0 AND t = ec_fails((SELECT 1))::text', 'CASE WHEN id < 0 THEN x = ec_fails((SELECT 1)) ELSE x = 3 END', 'CASE WHEN id = 70 THEN x = ec_fails((SELECT 1)) ELSE x = 3 END',
	'id < 0 AND x = (-5)::ec_positive', 'x = (-5)::ec_positive', 'x = 5::ec_positive', 'id < 0 AND x = (SELECT -5)::ec_positive', 'x IS NULL AND x = ec_fails((SELECT 1))', 'x IS NOT NULL AND x = ec_fails((SELECT 1))',
	'x = (SELECT NULL::int FROM ec_none)', 'id < 0 AND x > (SELECT id FROM ec_heap)', 'ts < ''-infinity'' AND ts > now() - interval ''170000000 years'' - interval ''170000000 years''',
	'ts > now() - interval ''1 h''', 'ts < current_date - 7', 'id < 0 AND ts > (SELECT ''no time'' || count(*) FROM ec_none)::timestamptz', 'x + 1 = ec_fails((SELECT 1)) AND id < 0', 'EXISTS (SELECT FROM ec_none) AND x = ec_fails((SELECT 1))',
	'id < 0 AND EXISTS (SELECT FROM ec_none e WHERE e.i = id) AND x = ec_fails((SELECT 1))', 'id > 10 AND x = 5 AND id = (SELECT 105 + count(*) FROM ec_none)']) WITH ORDINALITY q (clause, place) ORDER BY place;
-- Nothing is evaluated by EXPLAIN and PREPARE
EXPLAIN (COSTS OFF) SELECT id FROM ec_striped WHERE x = (-5)::ec_positive;
EXPLAIN (COSTS OFF) SELECT id FROM ec_striped WHERE x = ec_fails((SELECT 1)) AND id > (SELECT 1 / count(*) FROM ec_none);
SET plan_cache_mode = force_generic_plan;
PREPARE ec_p(int) AS SELECT count(*) FROM ec_striped WHERE id < 0 AND x = $1::ec_positive;
EXPLAIN (COSTS OFF) EXECUTE ec_p(-5);
EXECUTE ec_p(-5);
SET plan_cache_mode = force_custom_plan;
EXPLAIN (COSTS OFF) EXECUTE ec_p(-5);
EXECUTE ec_p(-5);
RESET plan_cache_mode;
-- How often, and that a row must be wanted
SELECT id FROM ec_striped WHERE id >= 4000 AND ec_tells((SELECT 1)) = x LIMIT 2;
SELECT id FROM ec_striped WHERE ec_some(id) AND x = ec_tells((SELECT 2)) LIMIT 2;
SELECT count(*) FROM ec_empty WHERE x = ec_tells((SELECT 3));
SELECT count(*) FROM ec_gone WHERE x = ec_tells((SELECT 4));
SELECT id FROM ec_striped WHERE id < 5 AND (id = 1 OR x = ec_fails((SELECT 1))) LIMIT 0;
SELECT id FROM ec_striped WHERE id BETWEEN 1 AND 2 AND (id = 1 OR x = ec_fails((SELECT 2))) LIMIT 1;
SELECT id FROM ec_striped WHERE id BETWEEN 1 AND 2 AND (id = 1 OR x = ec_fails((SELECT 2)));
-- What prunes from the first block on: constants, parameters, what is made of the current time; and what from the second on
CREATE FUNCTION ec_plan(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
	result text := '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query LOOP
		IF line ~ 'Chunks|Rows from Stripes' THEN result := result || '  ' || trim(line); END IF;
	END LOOP;
	RETURN result;
END $$;
SELECT clause, ec_plan('SELECT FROM ec_striped s WHERE ' || clause)
FROM unnest(ARRAY['id >= 5000', 'ts > now() - interval ''1 h''', 'id = 3000 AND ts > current_date - 7', 'ts > date_trunc(''month'', now()) - interval ''1 year''', 'id = 3000 AND ts > current_timestamp::date',
	'id >= (SELECT 5000 + count(*) FROM ec_none)', 'n >= (SELECT 5000 + count(*) FROM ec_none)', 'id = ANY (ARRAY(SELECT id FROM ec_heap WHERE id > 5100))', 'id >= ec_tells((SELECT 5000))', 'ec_some(id) AND id >= (SELECT 5000 + count(*) FROM ec_none)',
	'id >= 5100 OR id < (SELECT 5 + count(*) FROM ec_none)', 'n >= 5100 OR (n < (SELECT 5 + count(*) FROM ec_none) AND id >= 0)', 'id >= 3840 AND (n < 0 OR n > (SELECT 5000 + count(*) FROM ec_none))', 'NOT EXISTS (SELECT FROM ec_none) AND id > ec_tells((SELECT 5000))', 'id % 2 = 0 AND EXISTS (SELECT FROM ec_heap h WHERE h.id = s.id) AND id > (SELECT 5000 + count(*) FROM ec_none)']) WITH ORDINALITY q (clause, place) ORDER BY place;
SET plan_cache_mode = force_generic_plan;
PREPARE ec_q(int, int) AS SELECT FROM ec_striped WHERE id IN ($1, $2) AND id <= $2;
SELECT ec_plan('EXECUTE ec_q(5000, 5001)');
SELECT ec_plan('EXECUTE ec_q(NULL, 70)');
CREATE FUNCTION ec_variable(lowest int) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT FROM ec_striped WHERE id >= lowest LOOP
		IF line ~ 'Chunks|Filter:' THEN RETURN NEXT trim(line); END IF;
	END LOOP;
END $$;
SELECT ec_variable(5000);
RESET plan_cache_mode;
-- again with each new scan
SELECT v, (SELECT count(*) FROM ec_striped WHERE id >= v AND x = (SELECT v % 100 FROM ec_heap WHERE id = v)) AS ours, (SELECT count(*) FROM ec_heap WHERE id >= v AND x = (SELECT v % 100 FROM ec_heap WHERE id = v)) AS theirs
FROM (VALUES (5000), (17), (4), (NULL), (5119), (6000)) s (v);
SELECT ec_plan('SELECT (SELECT count(*) FROM ec_striped WHERE id = v) FROM (VALUES (5000), (5050), (NULL), (5)) s (v)');
-- by cursors that may go back, row by row; and in parallel
BEGIN;
DECLARE ec_c SCROLL CURSOR FOR SELECT id FROM ec_striped WHERE id >= (SELECT 5118 + count(*) FROM ec_none);
FETCH ALL FROM ec_c;
FETCH BACKWARD ALL FROM ec_c;
DECLARE ec_d SCROLL CURSOR FOR SELECT id FROM ec_striped WHERE id < 0 AND x = (SELECT 1 / count(*) FROM ec_none);
FETCH ALL FROM ec_d;
DECLARE ec_e SCROLL CURSOR FOR SELECT id FROM ec_striped WHERE ec_some(id) AND id >= (SELECT 5119 + count(*) FROM ec_none);
FETCH ALL FROM ec_e;
ROLLBACK;
SET max_parallel_workers_per_gather = 2;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
ALTER FUNCTION ec_fails(int) PARALLEL SAFE;
SELECT count(*) FROM ec_striped WHERE id < 0 AND x = ec_fails((SELECT 1));
SELECT count(*) FROM ec_striped WHERE id < 0 OR x = ec_fails((SELECT 1));
SELECT count(*) FROM ec_striped WHERE id >= (SELECT 5000 + count(*) FROM ec_none);
RESET max_parallel_workers_per_gather;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
DROP TABLE ec_none, ec_heap, ec_empty, ec_empty_heap, ec_pool, ec_striped, ec_mixed, ec_gone, ec_nulls, ec_nulls_heap;
DROP FUNCTION ec_fails(int), ec_tells(int), ec_slow(int), ec_some(int), ec_ask(text, text), ec_same(text), ec_plan(text), ec_variable(int);
DROP DOMAIN ec_positive;
