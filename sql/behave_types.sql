-- Every built-in base type, arrays, composites, ranges, enums and domains keep their values, in SCM and on flash.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/test/lib/regress.sql'
\i :setup
SET default_table_access_method = :am;
CREATE TYPE ty_mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE ty_comp AS (a int, b text, c numeric[]);
CREATE DOMAIN ty_even AS int CHECK (VALUE % 2 = 0);
CREATE DOMAIN ty_label AS text NOT NULL DEFAULT 'none';
CREATE TYPE ty_frange AS RANGE (subtype = float8);
CREATE TABLE ty (
	id int PRIMARY KEY,
	c_bool bool, c_char "char", c_name name, c_int2 int2, c_int4 int4, c_int8 int8, c_oid oid, c_xid xid, c_xid8 xid8,
	c_float4 float4, c_float8 float8, c_numeric numeric, c_numeric_s numeric(20,4), c_money money,
	c_text text, c_varchar varchar(30), c_bpchar char(12), c_bytea bytea,
	c_date date, c_time time, c_timetz timetz, c_ts timestamp, c_tstz timestamptz, c_interval interval,
	c_uuid uuid, c_json json, c_jsonb jsonb, c_jsonpath jsonpath,
	c_bit bit(9), c_varbit varbit(30), c_inet inet, c_cidr cidr, c_mac macaddr, c_mac8 macaddr8,
	c_point point, c_lseg lseg, c_line line, c_box box, c_path path, c_polygon polygon, c_circle circle,
	c_tsvector tsvector, c_tsquery tsquery, c_lsn pg_lsn, c_snap pg_snapshot, c_tid tid,
	c_regclass regclass, c_regproc regproc, c_regtype regtype,
	c_i4r int4range, c_i8r int8range, c_nr numrange, c_dr daterange, c_tsr tsrange, c_tstzr tstzrange,
	c_i4mr int4multirange, c_dmr datemultirange,
	c_int_a int[], c_text_a text[], c_num_aa numeric[][], c_mood_a ty_mood[], c_comp_a ty_comp[],
	c_mood ty_mood, c_comp ty_comp, c_even ty_even, c_label ty_label, c_frange ty_frange, c_int2v int2vector, c_oidv oidvector
);
SET timezone = 'UTC';
SET lc_monetary = 'C';
INSERT INTO ty SELECT g,
	g % 3 = 0, chr(65 + g % 26)::"char", 'name' || g, g % 32768, g * -7, g::int8 * 10000000019, g, g::text::xid, g::text::xid8,
	g / 7.0, g::float8 / 3, g::numeric / 7, g * 1.2345, (g * 100)::money,
	'text ' || g, 'vc' || g % 13, 'bp' || g % 5, decode(md5(g::text), 'hex'),
	date '2000-01-01' + g, time '00:00' + g * interval '1 sec', (time '00:00' + g * interval '1 min')::text::timetz,
	timestamp '2000-01-01' + g * interval '1 hour', timestamptz '2000-01-01 00:00+00' + g * interval '1 day 1 us', g * interval '1 day 1 hour',
	md5(g::text)::uuid, json_build_object('k', g, 'n', NULL), jsonb_build_object('k', g, 'a', ARRAY[g, g + 1]), '$.a[*] ? (@ > 3)',
	(g % 512)::bit(9), (g % 256)::bit(8)::varbit(30), '10.1.0.0'::inet + g, '10.2.0.0/16', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05',
	point(g, -g), lseg(point(0, 0), point(g, 1)), '{1,2,3}', box(point(0, 0), point(g, g)), path '((0,0),(1,1),(2,0))',
	polygon '((0,0),(1,1),(2,0))', circle(point(g, 0), 2),
	to_tsvector('simple', 'cat dog ' || g), to_tsquery('simple', 'cat & dog'), '0/0'::pg_lsn + g, '10:20:10,14,15', '(1,2)',
	'pg_class', 'now', 'int4',
	int4range(g, g + 5), int8range(g, NULL), numrange(g, g + 0.5, '[]'), daterange('2001-01-01', date '2001-01-02' + g),
	tsrange('2001-01-01', NULL), tstzrange(NULL, '2001-01-01 00:00+00'),
	int4multirange(int4range(1, 3), int4range(g + 10, g + 20)), '{}',
	ARRAY[g, NULL, g + 2], ARRAY['a' || g, 'b, "quoted"', NULL], ARRAY[[g, 1.5], [2.25, NULL]], ARRAY['sad', 'happy']::ty_mood[], ARRAY[ROW(g, 'x', NULL)]::ty_comp[],
	(ARRAY['sad', 'ok', 'happy'])[1 + g % 3]::ty_mood, ROW(g, 'comp', ARRAY[g, 1.5])::ty_comp, g / 2 * 2, 'label ' || g % 4, ty_frange(g, g + 0.5), '1 2 3', '4 5'
FROM generate_series(1, 300) g;
-- NULL everywhere, and the odd values of each kind
INSERT INTO ty (id) VALUES (1000);
INSERT INTO ty (id, c_bool, c_int2, c_int4, c_int8, c_float4, c_float8, c_numeric, c_text, c_bytea, c_date, c_ts, c_tstz, c_interval, c_i4r, c_int_a, c_jsonb, c_oid)
	VALUES (1001, true, 32767, 2147483647, 9223372036854775807, 'Infinity', 'NaN', 'NaN', '', '', 'infinity', 'infinity', '-infinity', '178000000 years', 'empty', '{}', 'null', 4294967295),
		(1002, false, -32768, -2147483648, -9223372036854775808, '-0', '-Infinity', 'Infinity', E'tab\tnewline\nüñïcödé €', '\x00ff00', '-infinity', '4713-01-01 00:00:00 BC', '294276-12-31 23:59:59.999999+00', '-178000000 years', '(,)', '[0:2]={1,2,3}', '{}', 0),
		(1003, NULL, 0, 0, 0, '1e-45', '5e-324', '-0.00000000000000000000000000000000000001', repeat('x', 5000), decode(repeat('ab', 4000), 'hex'), '4713-01-01 BC', '2000-02-29', '2000-02-29 00:00+00', '1 mon -1 day', '[1,1]', '{{1,2},{3,4}}', '[1, "two", {"three": null}]', 1),
		(1004, true, 1, 1, 1, '3.4028235e38', '1.7976931348623157e308', 1e400, ' leading and trailing ', '\x', '5874897-12-31', '0001-01-01', '0001-01-01 00:00+00', '00:00:00.000001', '[-2147483648,2147483647)', '{NULL}', '"str"', 2);
-- what is stored is what comes back: compare with a heap copy, column by column
CREATE TABLE ty_heap USING heap AS SELECT * FROM ty;
CREATE FUNCTION ty_differences() RETURNS TABLE (col name, rows_that_differ bigint) LANGUAGE plpgsql AS $$
BEGIN
	FOR col IN SELECT attname FROM pg_attribute WHERE attrelid = 'ty'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum LOOP
		EXECUTE format('SELECT count(*) FROM ty FULL JOIN ty_heap h USING (id) WHERE ty.%1$I::text IS DISTINCT FROM h.%1$I::text', col) INTO rows_that_differ;
		IF rows_that_differ > 0 THEN RETURN NEXT; END IF;
	END LOOP;
END $$;
SELECT * FROM ty_differences();
SELECT * FROM test_digest('ty');
CALL test_migrate('ty');
SELECT * FROM ty_differences();
SELECT * FROM test_digest('ty');
\x on
SELECT * FROM ty WHERE id IN (1, 299, 1002) ORDER BY id;
\x off
-- predicates of many types on rows on flash
SELECT count(*) FROM ty WHERE c_bool;
SELECT count(*) FROM ty WHERE c_bool IS NULL;
SELECT count(*) FROM ty WHERE c_int4 BETWEEN -700 AND -70;
SELECT count(*) FROM ty WHERE c_int4 = 2147483647 OR c_int4 = -2147483648;
SELECT count(*) FROM ty WHERE c_int8 > 2000000000000;
SELECT id FROM ty WHERE c_float8 = 'NaN' OR c_float8 = '-Infinity' ORDER BY id;
SELECT count(*) FROM ty WHERE c_float8 > 50;
SELECT count(*) FROM ty WHERE c_float4 = 0;
SELECT count(*) FROM ty WHERE c_numeric > 40;
SELECT count(*) FROM ty WHERE c_numeric = 'NaN';
SELECT count(*) FROM ty WHERE c_text > 'text 5';
SELECT count(*) FROM ty WHERE c_text = '';
SELECT count(*) FROM ty WHERE c_bpchar = 'bp3';
SELECT count(*) FROM ty WHERE c_date >= '2000-06-01';
SELECT count(*) FROM ty WHERE c_date = 'infinity' OR c_date = '-infinity';
SELECT count(*) FROM ty WHERE c_tstz < '2000-03-01 00:00+00';
SELECT count(*) FROM ty WHERE c_interval > '100 days';
SELECT count(*) FROM ty WHERE c_uuid > '80000000-0000-0000-0000-000000000000';
SELECT count(*) FROM ty WHERE c_jsonb @> '{"k": 7}';
SELECT count(*) FROM ty WHERE c_i4r @> 50;
SELECT count(*) FROM ty WHERE c_int_a @> ARRAY[50];
SELECT count(*) FROM ty WHERE c_mood = 'happy';
SELECT count(*) FROM ty WHERE c_mood < 'happy';
SELECT count(*) FROM ty WHERE (c_comp).a = 5;
SELECT count(*) FROM ty WHERE c_even BETWEEN 10 AND 20;
SELECT count(*) FROM ty WHERE c_inet << '10.1.0.0/26';
SELECT count(*) FROM ty WHERE c_point <@ box '((0,0),(50,-50))';
SELECT count(*) FROM ty WHERE c_tsvector @@ to_tsquery('simple', '77');
SELECT c_mood, c_label, count(*), sum(c_numeric_s), avg(c_int4) FROM ty WHERE id <= 300 GROUP BY 1, 2 ORDER BY 1, 2;
-- changing rows of every type on flash
UPDATE ty SET c_text = upper(c_text), c_jsonb = c_jsonb || '{"new": 1}', c_int_a = c_int_a || 9, c_even = NULL WHERE id <= 300;
UPDATE ty_heap SET c_text = upper(c_text), c_jsonb = c_jsonb || '{"new": 1}', c_int_a = c_int_a || 9, c_even = NULL WHERE id <= 300;
SELECT * FROM ty_differences();
CALL test_migrate('ty');
SELECT * FROM ty_differences();
UPDATE ty SET c_even = 3 WHERE id = 1;
-- a new label, and a domain that gets a stricter rule
ALTER TYPE ty_mood ADD VALUE 'great';
INSERT INTO ty (id, c_mood) VALUES (2000, 'great');
SELECT id, c_mood FROM ty WHERE c_mood > 'happy';
CALL test_migrate('ty');
SELECT id, c_mood FROM ty WHERE c_mood > 'happy';
UPDATE ty SET c_even = 4 WHERE id = 5;
ALTER DOMAIN ty_even ADD CONSTRAINT small CHECK (VALUE < 3);
UPDATE ty SET c_even = 2 WHERE id = 5;
ALTER DOMAIN ty_even ADD CONSTRAINT small CHECK (VALUE < 3);
-- a row as a value, and a table's row type as a column
CREATE TABLE ty_nest (id int, r ty_comp, t ty_comp[]);
INSERT INTO ty_nest SELECT g, ROW(g, repeat('n', g), ARRAY[g]), ARRAY[ROW(g, 'x', NULL)::ty_comp, NULL] FROM generate_series(1, 5) g;
CALL test_migrate('ty_nest');
SELECT ty_nest, (r).b, (t[1]).a FROM ty_nest ORDER BY id;
DROP TABLE ty, ty_heap, ty_nest;
DROP FUNCTION ty_differences;
DROP TYPE ty_mood, ty_comp, ty_even, ty_label, ty_frange;
