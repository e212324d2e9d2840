-- Filters over slices pass the rows that core's own do, clause by clause and together, as loops or not.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/test/lib/regress.sql'
\i :setup
SET max_parallel_workers_per_gather = 0;
CREATE DOMAIN fi_dom AS int;
CREATE TABLE fi_made (id int, i2 smallint, i4 int, i8 bigint, f4 real, f8 float8, d date, tm time, ts timestamp, tz timestamptz,
	o oid, t text, vc varchar(20), b bool, n numeric, dm fi_dom, c "char", a int[]);
INSERT INTO fi_made
SELECT g, g % 41 - 20, g % 301 - 150, (g % 97 - 48)::int8 * 5000000000, (g % 33 - 16) / 4.0,
	CASE g % 19 WHEN 0 THEN 'NaN' WHEN 1 THEN 'Infinity' WHEN 2 THEN '-Infinity' WHEN 3 THEN '-0' WHEN 4 THEN '0' ELSE (g % 19 / 8.0)::text END::float8,
	CASE g % 70 WHEN 0 THEN 'infinity' WHEN 1 THEN '-infinity' ELSE date '2000-01-01' + (g % 70 - 35) END::date, time '00:00' + g % 50 * interval '29 minutes',
	timestamp '2000-01-01' + (g % 60 - 30) * interval '7 hours', timestamptz '2000-01-01 00:00+00' + (g % 60 - 30) * interval '7 hours',
	4294967290 + g % 5, 'text ' || g % 23, repeat('v', g % 9), g % 3 = 0, (g % 50) / 10.0, g % 12, chr(65 + g % 5)::"char", ARRAY[g % 4]
FROM generate_series(1, 5000) g;
UPDATE fi_made SET i4 = NULL, f8 = NULL, d = NULL, t = NULL, b = NULL WHERE id % 11 = 0;
UPDATE fi_made SET i2 = NULL, o = NULL, ts = NULL WHERE id % 7 = 0;
UPDATE fi_made SET t = repeat(t, 3000) WHERE id % 500 = 3;
CREATE TABLE fi_heap AS SELECT * FROM fi_made ORDER BY id;
CREATE TABLE fi_vdb (LIKE fi_heap) USING vdb;
INSERT INTO fi_vdb SELECT * FROM fi_heap WHERE id <= 3500 ORDER BY id;
CALL test_migrate('fi_vdb');
INSERT INTO fi_vdb SELECT * FROM fi_heap WHERE id > 3500 ORDER BY id;
DELETE FROM fi_heap WHERE id % 10 = 4;
DELETE FROM fi_vdb WHERE id % 10 = 4;

-- ids of the rows that pass, from both; and how many clauses were loops
CREATE FUNCTION fi_same(clause text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	ours text;
	theirs text;
	line text;
	loops text := 'no plan of ours';
BEGIN
	EXECUTE 'SELECT md5(string_agg(id::text, '','')) || '' '' || count(*) FROM (SELECT id FROM fi_vdb WHERE ' || clause || ') s' INTO ours;
	EXECUTE 'SELECT md5(string_agg(id::text, '','')) || '' '' || count(*) FROM (SELECT id FROM fi_heap WHERE ' || clause || ') s' INTO theirs;
	FOR line IN EXECUTE 'EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM fi_vdb WHERE ' || clause LOOP
		loops := coalesce(substring(line FROM 'Vectorized Filters: (\d+)'), loops);
	END LOOP;
	IF ours IS DISTINCT FROM theirs THEN RETURN 'differ: ' || ours || ' ' || theirs; END IF;
	RETURN coalesce(substring(ours FROM ' (\d+)$'), '0') || ' rows the same, loops ' || loops;
END $$;
-- every pair of types and every operator
SELECT pair, string_agg(substring(fi_same(replace(pair, '@', op)) FROM '^.*?(\d+ rows|differ)') || substring(fi_same(replace(pair, '@', op)) FROM ', loops.*'), ' | ' ORDER BY o) AS "< <= = >= > <>"
FROM unnest(ARRAY['i2 @ 3::int2', 'i2 @ 3', 'i2 @ 3::int8', 'i4 @ -7::int2', 'i4 @ -7', 'i4 @ -7::int8', 'i8 @ 5::int2', 'i8 @ 0', 'i8 @ 5000000000',
	'f4 @ 1.25::float4', 'f4 @ 1.25::float8', 'f8 @ 0::float8', 'f8 @ ''NaN''::float8', 'f8 @ ''Infinity''::float4', 'f4 @ ''-Infinity''::float8',
	'd @ date ''2000-01-05''', 'd @ date ''infinity''', 'tm @ time ''12:05''', 'ts @ timestamp ''2000-01-02 03:00''', 'tz @ timestamptz ''2000-01-02 03:00+00''',
	'o @ 4294967292::oid', 't @ ''text 5''', 'vc @ ''vvv''', 'n @ 2.5', 'dm @ 5', 'd @ timestamp ''2000-01-05''', 'tz @ timestamp ''2000-01-02''',
	'3 @ i2', '''text 7'' @ t', 'i4 @ NULL::int', 't @ NULL', 'c @ ''C''']) WITH ORDINALITY p (pair, place),
	unnest(ARRAY['<', '<=', '=', '>=', '>', '<>']) WITH ORDINALITY q (op, o)
GROUP BY pair, place ORDER BY place;
-- other clauses, and several together
SELECT clause, fi_same(clause)
FROM unnest(ARRAY['i4 IS NULL', 'i4 IS NOT NULL', 'd IS NULL AND b IS NULL', 'b', 'NOT b', 'b IS NOT TRUE', 't LIKE ''%1%''', 'lower(t) = ''text 3''', 'length(t) > 100',
	'i4 = ANY (ARRAY[1, 2, NULL])', 'i4 IN (1, 5, 9)', 'i4 NOT IN (1, 5)', 'i4 < i8', 'i4 + i2 > 100', 'a = ARRAY[2]', 'i4 > 5 AND i4 < 50', 'i4 BETWEEN -5 AND 5 AND t <> ''text 1'' AND f8 > 0',
	'i4 > 0 AND 100 / i4 > 3', 'i4 <> 0 AND t LIKE ''%2%'' AND 100 / i4 > 3', 'i4 < 3 OR t = ''text 2''', 'ctid IS NOT NULL AND i4 > 100', 'tableoid > 0',
	't = ''text '' || ''4''', 'i4 = (SELECT 17)', 'i4 > (SELECT avg(i4) FROM fi_heap)', 'EXISTS (SELECT FROM fi_heap h WHERE h.id = i4)',
	't IN (SELECT t FROM fi_heap WHERE id < 3)', 'id IN (SELECT max(id) FROM fi_heap)', 'random() >= 0', 'd > now()', 't COLLATE "C" = ''text 6''', 'n = 2.5 AND n = 2.50',
	'f8 = ''-0''', 'i2 = 40000', 'i4 = 3000000000', 'i8 = 0 AND i2 > i4', 'false', 'NULL::bool', 'i4::text = ''17''', 'extract(year FROM d) = 2000']) WITH ORDINALITY e (clause, place) ORDER BY place;
-- constants that change from one scan to the next, and those that fail only when there is a row
SELECT x, (SELECT count(*) FROM fi_vdb WHERE i4 = x AND t <> 'text ' || x) = (SELECT count(*) FROM fi_heap WHERE i4 = x AND t <> 'text ' || x) AS same FROM generate_series(-3, 3) x;
SELECT x, (SELECT string_agg(id::text, ',') FROM (SELECT id FROM fi_vdb WHERE i4 = x LIMIT 3) s) FROM unnest(ARRAY[1, NULL, 2]) x;
-- a scan begun anew while a slice is half read
SELECT (SELECT string_agg(concat(y, ':', (SELECT id FROM fi_vdb WHERE i2 = y LIMIT 1)), ' ') FROM generate_series(-22, 22) y) =
	(SELECT string_agg(concat(y, ':', (SELECT id FROM fi_heap WHERE i2 = y LIMIT 1)), ' ') FROM generate_series(-22, 22) y) AS same;
SELECT count(*) FROM generate_series(-22, 22) y WHERE (SELECT true FROM fi_vdb WHERE i2 = y AND length(t) > 0 LIMIT 1);
PREPARE fi_p(int, text) AS SELECT count(*) FROM fi_vdb WHERE i4 < $1 AND t = $2;
SET plan_cache_mode = force_generic_plan;
EXECUTE fi_p(10, 'text 5');
EXECUTE fi_p(NULL, 'text 5');
EXECUTE fi_p(1000, repeat('text 3', 3000));
EXECUTE fi_p(1000, NULL);
RESET plan_cache_mode;
CREATE TABLE fi_empty (x int) USING vdb;
SELECT * FROM fi_empty WHERE x = 1 / (SELECT count(*) FROM fi_empty);
-- clauses that aren't loops are evaluated for no row past the last one wanted
CREATE SEQUENCE fi_seq;
CREATE TEMP TABLE fi_kept AS SELECT id FROM fi_vdb WHERE nextval('fi_seq') > 0 AND i4 > 0 LIMIT 3;
SELECT last_value FROM fi_seq;
-- and what is volatile for each row
SELECT count(*) = (SELECT last_value FROM fi_seq) - 3 AS each FROM fi_vdb WHERE nextval('fi_seq') + length(c::text) > 0;
SELECT id FROM fi_vdb WHERE i4 > -140 AND 100 / (i4 + 100) < 0 LIMIT 2;
SELECT id FROM fi_vdb WHERE i4 > -140 AND 100 / (i4 + 100) < 0;
-- cursors: forward by slices, backward and scrolling row by row
BEGIN;
DECLARE c1 NO SCROLL CURSOR FOR SELECT id FROM fi_vdb WHERE i4 = 5;
DECLARE c2 SCROLL CURSOR FOR SELECT id FROM fi_vdb WHERE i4 = 5;
FETCH 2 FROM c1;
FETCH 2 FROM c2;
UPDATE fi_vdb SET n = -1 WHERE CURRENT OF c1;
UPDATE fi_vdb SET n = -2 WHERE CURRENT OF c2;
FETCH BACKWARD 1 FROM c2;
FETCH 3 FROM c1;
FETCH ALL FROM c2;
SELECT id, n FROM fi_vdb WHERE n < 0;
ROLLBACK;
-- what barriers hide: a function that tells what it sees sees what the barrier lets through
CREATE FUNCTION fi_tell(int) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN IF $1 > 4990 THEN RAISE NOTICE 'saw %', $1; END IF; RETURN true; END $$;
CREATE VIEW fi_view WITH (security_barrier) AS SELECT * FROM fi_vdb WHERE i4 % 7 = 3;
SELECT count(*) FROM fi_view WHERE fi_tell(id) AND i2 > 0;
EXPLAIN (COSTS OFF, VERBOSE) SELECT id FROM fi_view WHERE fi_tell(id) AND i2 > 0;
DROP VIEW fi_view;
CREATE ROLE fi_role;
GRANT SELECT ON fi_vdb TO fi_role;
ALTER TABLE fi_vdb ENABLE ROW LEVEL SECURITY;
CREATE POLICY fi_policy ON fi_vdb USING (i4 % 7 = 3 AND length(t) < 7);
SET ROLE fi_role;
SELECT count(*) FROM fi_vdb WHERE fi_tell(id) AND i2 > 0;
EXPLAIN (COSTS OFF, VERBOSE) SELECT id FROM fi_vdb WHERE fi_tell(id) AND i2 > 0;
RESET ROLE;
DROP TABLE fi_made, fi_heap, fi_vdb, fi_empty, fi_kept;
DROP FUNCTION fi_same(text), fi_tell(int);
DROP SEQUENCE fi_seq;
DROP DOMAIN fi_dom;
DROP ROLE fi_role;
