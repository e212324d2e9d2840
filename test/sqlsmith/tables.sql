-- What sqlsmith finds: many types, rows on flash, in SCM and in both, many small stripes and chunks, partitions, every
-- kind of index, foreign keys, generated columns, a materialized view.  Run twice, in schema public (the access method
-- under test) and in schema twin (heap), which sqlsmith's role may not enter.
--
-- A statement ends with two semicolons.  '-- moves: TABLE' stands for a migration of it.
CREATE TYPE mood AS ENUM ('bad', 'so so', 'good', 'best');;
CREATE DOMAIN small AS int4 CHECK (VALUE > -1000000);;
CREATE TYPE pair AS (a int4, b text);;
CREATE DOMAIN odd_positive AS int4 CHECK (VALUE > 0);;
CREATE DOMAIN odd_filled AS text CHECK (VALUE <> '');;
CREATE DOMAIN odd_posix AS text COLLATE "POSIX";;
CREATE DOMAIN odd_c AS text COLLATE "C";;

-- all of it in stripes; chunks of 256 rows
CREATE TABLE numbers (id int PRIMARY KEY, s int2, i int4, b int8, n numeric, f4 float4, f8 float8, ok bool, o oid, m money, d small);;
INSERT INTO numbers SELECT g, g % 3000, (g * 7919) % 1000, g::int8 * 1000000007, CASE WHEN g % 97 = 0 THEN 'NaN' ELSE g::numeric / 7 END,
	CASE g % 53 WHEN 0 THEN 'NaN' WHEN 1 THEN '-0' WHEN 2 THEN '-Infinity' ELSE g * 0.37 END, g * 0.11, g % 3 = 0, g, g::int8::money, g / 100
	FROM generate_series(1, 1500) g;;
-- moves: numbers
-- all of it in SCM
CREATE TABLE words (id int PRIMARY KEY, t text, v varchar(30), c char(12), n name, ch "char", raw bytea, j jsonb, js json, x xml, ts tsvector);;
CREATE INDEX ON words USING hash (v);;
CREATE INDEX ON words USING gin (j);;
CREATE INDEX ON words USING gin (ts);;
INSERT INTO words SELECT g, CASE WHEN g % 90 = 7 THEN repeat(md5(g::text), 600) ELSE md5(g::text) END, 'v' || g % 200, 'c' || g % 70, 'n' || g,
	chr(33 + g % 90), decode(md5(g::text), 'hex'), jsonb_build_object('a', g, 'b', g % 3, 'w', 'w' || g % 40), json_build_object('a', g),
	xmlparse(content '<a>' || g || '</a>'), to_tsvector('simple', 'w' || g % 40 || ' all') FROM generate_series(1, 500) g;;
-- both: on flash, changed there, and new ones
CREATE TABLE moments (id int PRIMARY KEY, d date, t time, tz timetz, ts timestamp, tstz timestamptz, i interval, r tstzrange, ir int4range,
	mr int4multirange);;
CREATE INDEX ON moments USING brin (ts);;
CREATE INDEX ON moments USING gist (ir);;
CREATE INDEX ON moments (d DESC NULLS LAST, id) INCLUDE (i);;
INSERT INTO moments SELECT g, '2000-01-01'::date + g, '00:00'::time + g * interval '1 min', '00:00+02'::timetz + g * interval '1 min',
	'2000-01-01'::timestamp + g * interval '67 min', '2000-01-01 00:00+00'::timestamptz + g * interval '67 min', g * interval '1 hour',
	tstzrange('2000-01-01 00:00+00'::timestamptz, '2000-01-01 00:00+00'::timestamptz + g * interval '1 hour'), int4range(g, g + 5),
	int4multirange(int4range(g, g + 2), int4range(g + 4, g + 9)) FROM generate_series(1, 800) g;;
-- moves: moments
UPDATE moments SET i = i + interval '1 day', d = NULL WHERE id % 5 = 0;;
DELETE FROM moments WHERE id % 11 = 0;;
INSERT INTO moments (id, d, ts) SELECT g, 'infinity', '2001-01-01' FROM generate_series(1001, 1200) g;;
-- times about where clocks are changed, each chunk with some that never were; domains, and collations of their own
CREATE TABLE clocks (id int PRIMARY KEY, ny timestamp, be timestamp, lh timestamp, p timestamptz, pos odd_positive, px odd_posix, c odd_c, n name);;
INSERT INTO clocks SELECT g, '2024-03-09'::timestamp + (1540 + g % 90) * interval '1 min', '2024-03-30'::timestamp + (1560 + g % 80) * interval '1 min',
	'2024-10-05'::timestamp + (1560 + g % 40) * interval '1 min', '2024-03-10 05:00+00'::timestamptz + g * interval '1 min', g, 'k' || g % 30,
	'k' || g % 30, 'k' || g % 30 FROM generate_series(1, 700) g;;
-- moves: clocks
INSERT INTO clocks (id, ny, c) SELECT g, '2024-03-09'::timestamp + (1600 + g % 30) * interval '1 min', 'k' || g FROM generate_series(701, 800) g;;
-- the less usual types; a generated column; columns that came and went
CREATE TABLE things (id int PRIMARY KEY, gone text, u uuid, a inet, c cidr, mac macaddr, vb varbit, p point, bx box, ia int4[], ta text[], md mood,
	pr pair, lsn pg_lsn, twice int GENERATED ALWAYS AS (id * 2) STORED);;
CREATE INDEX ON things USING gist (bx);;
CREATE INDEX ON things USING spgist (p);;
CREATE INDEX ON things USING gin (ia);;
CREATE INDEX ON things (lower(gone), (id % 10)) WHERE id % 2 = 0;;
INSERT INTO things SELECT g, 'gone', md5(g::text)::uuid, '10.0.0.0'::inet + g, ('10.' || g % 200 || '.0.0/16')::cidr,
	('08:00:2b:01:02:' || lpad(to_hex(g % 256), 2, '0'))::macaddr, g::bit(16)::varbit, point(g, g % 10), box(point(g, g), point(g + 3, g + 3)),
	ARRAY[g / 100, g % 7, NULL], ARRAY['a' || g % 50, NULL, 'b'], (enum_range(NULL::mood))[g % 4 + 1], ROW(g, 'p')::pair, '0/1000000'::pg_lsn + g
	FROM generate_series(1, 600) g;;
-- moves: things
ALTER TABLE things ADD COLUMN later int DEFAULT 7;;
ALTER TABLE things DROP COLUMN gone;;
ALTER TABLE things ADD COLUMN latest text;;
INSERT INTO things (id, latest) SELECT g, 'new' FROM generate_series(700, 900) g;;
-- many small stripes, mostly NULL
CREATE TABLE sparse (a int, b int8, c text, d numeric, e timestamptz, f float8);;
INSERT INTO sparse SELECT g, NULL, NULL, NULL, NULL, g FROM generate_series(1, 300) g;;
-- moves: sparse
INSERT INTO sparse SELECT NULL, g, NULL, NULL, '2022-02-02 00:00+00', NULL FROM generate_series(1, 300) g;;
-- moves: sparse
INSERT INTO sparse SELECT NULL, NULL, 'c' || g % 3, 5, NULL, 'NaN' FROM generate_series(1, 300) g;;
-- moves: sparse
INSERT INTO sparse DEFAULT VALUES;;
-- partitions: by range, in all three places, and by list below
CREATE TABLE parts (id int NOT NULL, k text NOT NULL, w numeric, at timestamptz) PARTITION BY RANGE (id);;
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (400);;
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (400) TO (800);;
CREATE TABLE parts_3 PARTITION OF parts FOR VALUES FROM (800) TO (1200) PARTITION BY LIST (k);;
CREATE TABLE parts_3_a PARTITION OF parts_3 FOR VALUES IN ('k0', 'k1');;
CREATE TABLE parts_3_b PARTITION OF parts_3 DEFAULT;;
CREATE TABLE parts_d PARTITION OF parts DEFAULT;;
CREATE UNIQUE INDEX ON parts (id, k);;
CREATE INDEX ON parts (w);;
INSERT INTO parts SELECT g, 'k' || g % 5, g / 3.0, '2020-01-01 00:00+00'::timestamptz + g * interval '1 day' FROM generate_series(1, 1000) g;;
-- moves: parts_1
-- moves: parts_3_a
DELETE FROM parts WHERE id % 7 = 0;;
-- moves: parts_1
INSERT INTO parts SELECT g, 'k' || g % 5, NULL, NULL FROM generate_series(5000, 5100) g;;
-- keys between tables
CREATE TABLE owner (id int PRIMARY KEY, name text UNIQUE NOT NULL);;
CREATE TABLE thing (id int PRIMARY KEY, owner int REFERENCES owner ON DELETE CASCADE, other int REFERENCES owner (id) DEFERRABLE INITIALLY DEFERRED,
	what text CHECK (length(what) < 100000), CONSTRAINT no_two EXCLUDE USING gist (int4range(id, id + 1) WITH &&));;
INSERT INTO owner SELECT g, 'o' || g FROM generate_series(1, 100) g;;
-- moves: owner
INSERT INTO thing SELECT g, g % 100 + 1, g / 5 + 1, 'w' || g FROM generate_series(1, 400) g;;
-- moves: thing
UPDATE thing SET what = what || '!' WHERE id > 350;;
CREATE TABLE nothing (id int PRIMARY KEY, t text);;
CREATE UNLOGGED TABLE scrap (id int, t text);;
INSERT INTO scrap SELECT g, 's' || g FROM generate_series(1, 300) g;;
-- moves: scrap
CREATE TABLE wide (id int, a text, b text, c jsonb);;
INSERT INTO wide SELECT g, repeat(md5(g::text), 700), repeat('x', g * 100), jsonb_build_object('k', repeat(md5(g::text), 100)) FROM generate_series(1, 60) g;;
-- moves: wide
INSERT INTO wide SELECT g, (SELECT string_agg(md5(h::text || g), '') FROM generate_series(1, 400) h), NULL, '{}' FROM generate_series(61, 70) g;;
CREATE TABLE base (id int, t text);;
CREATE TABLE heir (extra float8) INHERITS (base);;
INSERT INTO base SELECT g, 'b' FROM generate_series(1, 100) g;;
INSERT INTO heir SELECT g, 'h', g FROM generate_series(101, 300) g;;
-- moves: heir
CREATE MATERIALIZED VIEW by_k AS SELECT k, count(*) AS n, sum(w) AS w, max(at) AS last FROM parts GROUP BY k;;
-- moves: by_k
CREATE VIEW seen AS SELECT n.id, n.i, w.t, m.ts FROM numbers n LEFT JOIN words w ON w.id = n.id LEFT JOIN moments m ON m.id = n.i;;
CREATE INDEX ON numbers (i, s);;
CREATE INDEX ON numbers (n) WHERE ok;;
CREATE INDEX ON numbers USING brin (b);;
ANALYZE
