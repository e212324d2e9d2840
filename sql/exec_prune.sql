-- Zone maps skip only what the filter would reject, for operators whose two sides have different types, in any time zone.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/test/lib/regress.sql'
\i :setup
SET max_parallel_workers_per_gather = 0;
-- The pairs of types that btree families of core compare.  Each has a line in src/exec/README.md that says why it may prune; one that is
-- new here has none, and is not used before it has.
SELECT opfname AS family, amproclefttype::regtype AS "left", amprocrighttype::regtype AS "right"
FROM pg_amproc p JOIN pg_opfamily f ON f.oid = amprocfamily JOIN pg_am a ON a.oid = opfmethod
WHERE amname = 'btree' AND amprocnum = 1 AND amproclefttype <> amprocrighttype AND p.oid < 16384
ORDER BY opfname COLLATE "C", amproclefttype, amprocrighttype;

-- The gap of a spring: 300 rows at a local time that doesn't exist (it is taken as 07:30 UTC), 300 at a greater one that comes before it (07:10)
SET timezone = 'America/New_York';
CREATE TABLE ep_gap (id int, ts timestamp) USING vdb;
INSERT INTO ep_gap SELECT g, CASE WHEN g > 300 THEN timestamp '2024-03-10 03:10' ELSE '2024-03-10 02:30' END FROM generate_series(1, 600) g;
CALL test_migrate('ep_gap');
SELECT count(*) FROM ep_gap WHERE ts > '2024-03-10 07:20+00'::timestamptz;
SELECT count(*) FROM ep_gap WHERE '2024-03-10 07:20+00'::timestamptz < ts;
SELECT count(*) FROM ep_gap WHERE ts IN ('2024-03-10 07:30+00'::timestamptz, '2024-03-11 07:30+00');
SELECT count(*) FROM ep_gap WHERE id < 0 OR ts >= '2024-03-10 07:30+00'::timestamptz;
SELECT count(*) FROM ep_gap WHERE ts <= '2024-03-10 07:10+00'::timestamptz;
SET timezone = 'UTC';
DROP TABLE ep_gap;

-- Local times around changes of offset, four in a chunk; rows of heap stand for 64.
SET vdb.chunk_rows = 256;
CREATE DOMAIN ep_local AS timestamp;
CREATE TABLE ep_change (zone text, at timestamptz);	-- a change of its offset, in each
INSERT INTO ep_change VALUES ('America/New_York', '2024-03-10 07:00+00'), ('Europe/Berlin', '2024-10-27 01:00+00'), ('America/Sao_Paulo', '2018-11-04 03:00+00'),
	('Pacific/Apia', '2011-12-30 10:00+00'), ('Australia/Lord_Howe', '2024-04-06 15:00+00'), ('Africa/Monrovia', '1972-01-07 00:44:30+00'),
	('LMT-167:59DST-150,M3.2.0/2,M11.1.0/2', '2024-03-03 02:01+00'), ('LMT167DST,M3.2.0/2,M11.1.0/2', '2024-03-17 01:00+00'), ('UTC', '2024-06-01 00:00+00');
CREATE TABLE ep_heap (id int, ts timestamp, td ep_local, d date, tz timestamptz);
INSERT INTO ep_heap (ts, d)
SELECT v, v::date + (extract(minute FROM v) / 30)::int FROM (SELECT (at AT TIME ZONE zone) + h * interval '30 min' AS v FROM ep_change, generate_series(-7, 7) h) s
UNION SELECT t::timestamp, t::timestamp::date FROM unnest(ARRAY['infinity', '-infinity', NULL, '4714-11-24 00:00:00 BC', '294276-12-31 23:59:59.999999', '0044-03-15 BC', '1582-10-15', '2000-01-01']) t;
INSERT INTO ep_heap (d) VALUES ('5874897-12-31'), ('294277-01-01');
UPDATE ep_heap SET id = n, td = ts, tz = CASE WHEN ts < '294276-01-01' OR ts = 'infinity' THEN ts AT TIME ZONE 'UTC' END FROM (SELECT ctid AS place, row_number() OVER (ORDER BY ts, d) AS n FROM ep_heap) s WHERE ctid = place;
CREATE TABLE ep_vdb (LIKE ep_heap) USING vdb;
INSERT INTO ep_vdb SELECT h.* FROM ep_heap h, generate_series(1, 64) ORDER BY id;
CALL test_migrate('ep_vdb');
SELECT count(*) AS stripes, sum(chunks) = (SELECT (count(*) + 3) / 4 FROM ep_heap) AS "four in a chunk" FROM vdb.stripes('ep_vdb');
-- Instants around them, and far away, as each of the types
CREATE TABLE ep_instant AS
SELECT zone, i FROM ep_change, unnest(ARRAY['-36 h', '-2 h', '-1 h', '-30 min', '-1 us', '0', '1 us', '30 min', '1 h', '2 h', '26 h']::interval[]) o, LATERAL (SELECT at + o AS i) s
UNION SELECT zone, t::timestamptz FROM ep_change, unnest(ARRAY['infinity', '-infinity', NULL, '4714-11-24 12:00:00+00 BC', '294276-12-31 12:00+00']) t;
CREATE FUNCTION ep_same(zone text, clause text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	ours text;
	theirs text;
BEGIN
	PERFORM set_config('timezone', zone, true);
	EXECUTE format('SELECT string_agg(coalesce((SELECT count(*) FROM ep_vdb WHERE %s), 0)::text, '','' ORDER BY i) FROM ep_instant WHERE zone = %L', clause, zone) INTO ours;
	EXECUTE format('SELECT string_agg(coalesce((SELECT 64 * count(*) FROM ep_heap WHERE %s), 0)::text, '','' ORDER BY i) FROM ep_instant WHERE zone = %L', clause, zone) INTO theirs;
	PERFORM set_config('timezone', 'UTC', true);
	RETURN CASE WHEN ours = theirs THEN 'same' ELSE 'differ: ' || ours || ' ' || theirs END;
END $$;
CREATE FUNCTION ep_pairs(pairs text[]) RETURNS TABLE (pair text, zones bigint, results text) LANGUAGE sql AS $$
SELECT replace(p, '@', '?'), count(DISTINCT zone), string_agg(DISTINCT substr(ep_same(zone, replace(p, '@', op)), 1, 300), ' ')
FROM unnest(pairs) WITH ORDINALITY q (p, place), ep_change, unnest(ARRAY['<', '<=', '=', '>=', '>']) op GROUP BY p, place ORDER BY place $$;
SELECT * FROM ep_pairs(ARRAY['ts @ i', 'd @ i', 'i @ td', 'tz @ (i AT TIME ZONE ''UTC'')', 'tz @ (i AT TIME ZONE ''UTC'')::date', 'ts @ (i AT TIME ZONE ''UTC'')::date', 'd @ (i AT TIME ZONE ''UTC'')']);
SELECT clause, (SELECT string_agg(DISTINCT ep_same(zone, clause), ' ') FROM ep_change)
FROM unnest(ARRAY['ts = ANY (ARRAY[i, i + ''1 h'', NULL])', 'd = ANY (ARRAY[i])', 'ts < i OR ts IS NULL', 'ts >= i AND d <= i']) clause;
-- In the same way without aggregation, and with rows of the pool besides
INSERT INTO ep_heap SELECT id + 1000, ts + interval '10 min', td, d + 1, tz FROM ep_heap WHERE isfinite(ts) AND ts < '2100-01-01';
INSERT INTO ep_vdb SELECT h.* FROM ep_heap h, generate_series(1, 64) WHERE id > 1000 ORDER BY id;
SET vdb.enable_aggregate = off;
SELECT clause, (SELECT string_agg(DISTINCT ep_same(zone, clause), ' ') FROM ep_change) FROM unnest(ARRAY['ts > i', 'd <= i']) clause;
RESET vdb.enable_aggregate;
CALL test_migrate('ep_vdb');
SELECT clause, (SELECT string_agg(DISTINCT ep_same(zone, clause), ' ') FROM ep_change) FROM unnest(ARRAY['ts > i', 'd <= i']) clause;

-- What is pruned: away from a change of offset exactly what the local time says
CREATE FUNCTION ep_plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query LOOP
		IF line ~ 'Chunks|Rows from' THEN RETURN NEXT trim(line); END IF;
	END LOOP;
END $$;
CREATE TABLE ep_day (id int, ts timestamp, d date, tz timestamptz) USING vdb;
INSERT INTO ep_day SELECT g, t, t, t AT TIME ZONE 'UTC' FROM generate_series(0, 256 * 32 - 1) g, LATERAL (SELECT timestamp '2024-03-08' + g / 256 * interval '3 h' AS t) s;
CALL test_migrate('ep_day');
SET timezone = 'America/New_York';
SELECT ep_plan('SELECT FROM ep_day WHERE ts >= timestamp ''2024-03-11 00:00''');
SELECT ep_plan('SELECT FROM ep_day WHERE ts >= timestamptz ''2024-03-11 00:00''');
SELECT ep_plan('SELECT FROM ep_day WHERE ts = timestamptz ''2024-03-11 00:00''');
SET timezone = 'Asia/Tokyo';
SELECT ep_plan('SELECT FROM ep_day WHERE ts >= timestamptz ''2024-03-11 00:00''');
SELECT ep_plan('SELECT FROM ep_day WHERE ts = timestamptz ''2024-03-11 00:00''');
SELECT ep_plan('SELECT FROM ep_day WHERE d = timestamptz ''2024-03-11 00:00''');
SELECT ep_plan('SELECT FROM ep_day WHERE tz = timestamp ''2024-03-11 09:00''');
SELECT ep_plan('SELECT FROM ep_day WHERE tz < date ''2024-03-10''');
-- The time zone changes while a cursor is open: from then on it is the new one that compares
SET timezone = 'UTC';
CREATE TABLE ep_day_heap AS SELECT * FROM ep_day ORDER BY id;
BEGIN;
DECLARE ours NO SCROLL CURSOR FOR SELECT id FROM ep_day WHERE ts < timestamptz '2024-03-09 03:00+00' AND id % 256 = 7;
DECLARE theirs NO SCROLL CURSOR FOR SELECT id FROM ep_day_heap WHERE ts < timestamptz '2024-03-09 03:00+00' AND id % 256 = 7;
FETCH 1 FROM ours;
FETCH 1 FROM theirs;
SET LOCAL timezone = 'Asia/Tokyo';
FETCH ALL FROM ours;
FETCH ALL FROM theirs;
COMMIT;

-- Orders in which values that look different are equal, or that aren't those of the bits
CREATE COLLATION ep_blind (provider = icu, locale = 'und-u-ks-level1', deterministic = false);
CREATE COLLATION ep_icu (provider = icu, locale = 'de');
CREATE TYPE ep_enum AS ENUM ('b', 'd', 'e');
CREATE TABLE ep_kinds (id int, f4 real, f8 float8, n numeric, i2 int2, i8 int8, o oid, c "char", bp char(6), nm name, t text, ci text COLLATE ep_icu, cb text COLLATE ep_blind,
	j jsonb, iv interval, tt timetz, e ep_enum, a int[], r int4range, u uuid, b bytea, ip inet, l pg_lsn, vb varbit);
INSERT INTO ep_kinds VALUES
(1, '-0', '-0', 'NaN', -32768, -9223372036854775808, 0, '', 'a', 'a', '', 'a', 'a', 'null', '1 mon', '12:00+00', 'b', '{}', 'empty', '00000000-0000-0000-0000-000000000001', '', '10.0.0.0/8', '0/0', B''),
(2, '0', '0', '1.0', 32767, 9223372036854775807, 4294967295, 'a', 'a  ', 'ab', 'a', 'ä', 'A', '"b"', '30 days', '13:00+01', 'd', '{1,2}', '[1,2)', 'ffffffff-0000-0000-0000-000000000001', '\x00', '10.0.0.0', 'FFFFFFFF/FFFFFFFF', B'0'),
(3, 'NaN', 'NaN', '1.000', 0, 0, 2147483648, '\200', 'a!', 'b', 'a ', 'A', 'á', '{"a": 1}', '720 hours', '11:00-01', 'e', '{1,NULL}', '[1,)', NULL, '\xff', '::1', '0/1', B'01'),
(4, 'Infinity', '-Infinity', 'Infinity', 1, 1, 1, '~', '', 'B', repeat('long', 100), 'z', 'b', '[1, 2]', '-1 mon 30 days', '12:00:00.000001+00', NULL, NULL, NULL, '00000000-0000-0000-0000-000000000002', '\x0000', '192.168.1.5/24', NULL, B'1'),
(5, 1e-40, 16777217, '-Infinity', 2, 16777217, 16777217, 'A', '  a', 'Z', 'A', 'Z', 'Ä', '1', '0', '00:00+15', 'b', '{0}', '(,1)', NULL, NULL, NULL, '1/0', NULL),
(6, 16777216, 16777216.5, '1e-20', -1, -1, 3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'e', '{2}', '[5,5]', NULL, NULL, '10.1.2.3', '0/FF', B'000');
ALTER TYPE ep_enum ADD VALUE 'c' BEFORE 'd';
ALTER TYPE ep_enum ADD VALUE 'a' BEFORE 'b';
INSERT INTO ep_kinds (id, e) VALUES (7, 'c'), (8, 'a'), (9, NULL);
CREATE TABLE ep_kinds_vdb (LIKE ep_kinds) USING vdb;
INSERT INTO ep_kinds_vdb SELECT h.* FROM ep_kinds h, generate_series(1, 128) ORDER BY id;
CALL test_migrate('ep_kinds_vdb');
ALTER TYPE ep_enum ADD VALUE 'bb' AFTER 'b';
UPDATE ep_kinds SET e = 'bb' WHERE id = 9;
INSERT INTO ep_kinds_vdb SELECT h.* FROM ep_kinds h, generate_series(1, 128) WHERE id = 9;
DELETE FROM ep_kinds_vdb WHERE id = 9 AND e IS NULL;
CALL test_migrate('ep_kinds_vdb');
CREATE FUNCTION ep_kind(clause text, op text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	ours text;
	theirs text;
BEGIN
	EXECUTE format('SELECT string_agg((SELECT count(*) FROM ep_kinds_vdb t WHERE %s)::text, '','' ORDER BY c.id) FROM ep_kinds c', replace(clause, '@', op)) INTO ours;
	EXECUTE format('SELECT string_agg((SELECT 128 * count(*) FROM ep_kinds t WHERE %s)::text, '','' ORDER BY c.id) FROM ep_kinds c', replace(clause, '@', op)) INTO theirs;
	RETURN CASE WHEN ours = theirs THEN 'same' ELSE clause || op || ' differ: ' || ours || ' ' || theirs END;
END $$;
SELECT string_agg(DISTINCT ep_kind('t.' || attname || ' @ c.' || attname, op), E'\n') AS "columns with themselves"
FROM pg_attribute, unnest(ARRAY['<', '<=', '=', '>=', '>', '<>']) op WHERE attrelid = 'ep_kinds'::regclass AND attnum > 1;
SELECT string_agg(DISTINCT ep_kind(pair, op), E'\n') AS "columns with others"
FROM unnest(ARRAY['t.f4 @ c.f8', 't.f8 @ c.f4', 't.i2 @ c.i8', 't.i8 @ c.i2', 't.id @ c.i8', 't.id @ c.i2', 't.i8 @ c.id', 't.i2 @ c.id', 't.t @ c.nm COLLATE "C"', 't.nm @ c.t COLLATE "C"', 't.nm @ c.t', 't.bp @ c.t',
	't.t @ c.ci', 't.ci @ c.t', 't.ci @ c.t COLLATE "C"', 't.cb @ c.t', 't.t COLLATE ep_blind @ c.t', 't.o @ c.i2::oid', 't.id::oid @ c.o', 't.o::int @ c.id', 't.n @ c.i2', 't.f8 @ c.n']) pair, unnest(ARRAY['<', '<=', '=', '>=', '>']) op;
SELECT string_agg(DISTINCT ep_kind(clause, ''), E'\n') AS "rows, lists, tests"
FROM unnest(ARRAY['(t.i2, t.id) > (c.i2, c.id)', '(t.id, t.f8) <= (c.i2, c.f4)', 't.i2 = ANY (ARRAY[c.i8, NULL, c.i2])', 't.i2 <> ALL (ARRAY[c.i8])', 't.id < ANY (ARRAY[c.id, c.i2])', 't.id = ALL (ARRAY[c.id])',
	't.i2 = ANY (ARRAY[]::int2[])', 't.i2 = ANY (NULL::int2[])', 't.f8 = ANY (ARRAY[c.f4])', 't.i2 IS NULL AND c.id > 0', 't.u IS NOT NULL AND t.t IS NULL', 't.u IS DISTINCT FROM c.u', 'NOT t.i2 < c.i2', 't.i2 < c.i2 IS NOT TRUE', '(t.i2 > c.i2 OR t.t = c.t) AND (t.b IS NULL OR t.f8 < c.f8)']) clause;
-- A new session compares for the first time where it prunes: what that takes (a collation to be opened, its version to be checked) happens
-- with no lock held, which servers with assertions check.
SELECT count(*) > 0 AS versioned FROM pg_collation WHERE collname = 'ep_icu' AND collversion IS NOT NULL;
UPDATE pg_collation SET collversion = '0.0' WHERE collname = 'ep_icu';
\c
\set VERBOSITY terse
SELECT count(*) FROM ep_kinds_vdb WHERE ci > 'ya';
\set VERBOSITY default
DROP TABLE ep_change, ep_heap, ep_vdb, ep_instant, ep_day, ep_day_heap, ep_kinds, ep_kinds_vdb;
DROP FUNCTION ep_same(text, text), ep_pairs(text[]), ep_plan(text), ep_kind(text, text);
DROP COLLATION ep_blind, ep_icu;
DROP TYPE ep_enum;
DROP DOMAIN ep_local;
