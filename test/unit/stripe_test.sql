-- Stripes: build from a heap table, read back, compare; damage. Run by stripe_run.
\set VERBOSITY default
\pset pager off
SET timezone = 'UTC';
SET datestyle = 'ISO';
CREATE TYPE st_mood AS ENUM ('bad', 'good');
CREATE TYPE st_pair AS (a int, b text);
CREATE DOMAIN st_small AS int CHECK (VALUE < 1000000000);
CREATE FUNCTION st_make(name text, rows int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format($f$
    CREATE TABLE %I AS SELECT
      i AS c_int4, i::bigint * 1000000007 AS c_int8, (i %% 30000)::int2 AS c_int2, i %% 3 = 0 AS c_bool,
      chr(65 + i %% 26)::"char" AS c_char, i::float4 / 7 AS c_float4,
      CASE i %% 5 WHEN 0 THEN 'NaN' WHEN 1 THEN '-0' ELSE sqrt(i) END::float8 AS c_float8,
      (i::numeric * 1.23456789)::numeric(20, 6) AS c_numeric, 'row ' || i AS c_text,
      CASE WHEN i %% 2 = 0 THEN repeat('x', i %% 300) END AS c_textnull, ('v' || i %% 10)::varchar(10) AS c_varchar,
      ('b' || i %% 100)::char(8) AS c_bpchar, ('n' || i %% 7)::name AS c_name, decode(md5(i::text), 'hex') AS c_bytea,
      md5(i::text)::uuid AS c_uuid, date '2000-01-01' + i %% 9000 AS c_date,
      timestamptz '2020-01-01 00:00+00' + i * interval '1 second' AS c_tstz,
      time '00:00' + i * interval '1 second' AS c_time, timetz '00:00+02' + i * interval '1 second' AS c_timetz,
      i * interval '1 hour' AS c_interval, ('10.0.' || i %% 250 || '.1')::inet AS c_inet,
      ('08:00:2b:01:02:' || to_hex(16 + i %% 200))::macaddr AS c_macaddr, point(i, -i) AS c_point,
      box(point(i, i), point(0, 0)) AS c_box, (i::text)::oid AS c_oid, ('(' || i || ',1)')::tid AS c_tid,
      ARRAY[i, i + 1, NULL] AS c_array, ARRAY['a' || i, 'b'] AS c_textarray, jsonb_build_object('k', i, 'l', ARRAY[1, i]) AS c_jsonb,
      int4range(i, i + 10) AS c_range, (CASE WHEN i %% 2 = 0 THEN 'bad' ELSE 'good' END)::st_mood AS c_enum,
      ROW(i, 'x' || i)::st_pair AS c_row, i::st_small AS c_domain, (i %% 64)::bit(6) AS c_bit,
      to_tsvector('simple', 'word' || i %% 50) AS c_tsvector, ('1 2 ' || i)::oidvector AS c_oidvector,
      NULL::int AS c_nullint, NULL::text AS c_nulltext, 42 AS c_const, (random() * 1e9)::int8 AS c_random,
      i / 100 AS c_runs, i::text::money AS c_money, ('<a>' || i || '</a>')::xml AS c_xml,
      CASE WHEN i %% 2000 < 1000 THEN i END AS c_halfnull
    FROM generate_series(0, %s) i$f$, name, rows - 1);
END $$;

-- All types, dense, several chunks.
SELECT st_make('s_all', 20000);
CREATE TABLE d_all (LIKE s_all) USING st;
SELECT first_page, nrows, nchunks FROM st_build('s_all', 'd_all', 1, 3, 'dense');
SELECT st_check('s_all', 'd_all', 1, 3, 'dense', 1, true);
SELECT st_verify('d_all', 1, 3, 1, (SELECT pg_relation_size('d_all')::int / 8192 - 1));
-- Zone maps.
SELECT attname, st_zone('d_all', 1, 3, 1, attnum, 2) FROM pg_attribute WHERE attrelid = 'd_all'::regclass AND attnum > 0
  AND attname <> 'c_random' ORDER BY attnum;
-- A wrong address.
SELECT st_check('s_all', 'd_all', 2, 3, 'dense', 1, true);
SELECT st_check('s_all', 'd_all', 1, 4, 'dense', 1, true);
SELECT st_check('s_all', 'd_all', 1, 3, 'dense', 2, true);
SELECT st_check('s_all', 'd_all', 1, 3, 'dense', 999999, true);

-- Holes, own xmins, frozen; small chunks; each encoding; no and much zstd; no cache.
SELECT st_make('s_some', 3000);
CREATE TABLE d_some (LIKE s_some) USING st;
CREATE FUNCTION st_round(mode text, id int, points bool = true) RETURNS text LANGUAGE plpgsql AS $$
DECLARE b record; n bigint; v text;
BEGIN
  b := st_build('s_some', 'd_some', id, id % 7, mode);
  n := st_check('s_some', 'd_some', id, id % 7, mode, b.first_page, points);
  v := st_verify('d_some', id, id % 7, b.first_page, b.npages);
  RETURN format('%s rows, %s chunks, %s compared%s', b.nrows, b.nchunks, n, v);
END $$;
SELECT mode, st_round(mode, 10 + n::int) FROM unnest(ARRAY['dense', 'holes', 'xmins', 'frozen']) WITH ORDINALITY m(mode, n);
SET st.chunk_rows = 256;
SELECT st_round('holes', 20);
SET st.chunk_rows = 1;
SELECT st_round('xmins', 21);
SET st.chunk_rows = 2049;
SELECT st_round('xmins', 22);
RESET st.chunk_rows;
SELECT e, st_round('dense', 30 + e) FROM generate_series(0, 6) e, set_config('st.codec_force', e::text, false);
RESET st.codec_force;
SELECT z, st_round('dense', 50 + z) FROM unnest(ARRAY[0, -3]) z, set_config('st.zstd_level', z::text, false);
RESET st.zstd_level;
SET st.cache_mb = 0;
SELECT st_round('holes', 60);
RESET st.cache_mb;

-- A full range; xmins in many blocks.
CREATE TABLE s_full AS SELECT i AS a, i % 10 AS b, 'text ' || i % 1000 AS c FROM generate_series(1, 70000) i;
CREATE TABLE d_full (LIKE s_full) USING st;
SELECT first_page, nrows, nchunks FROM st_build('s_full', 'd_full', 1, 16777214, 'xmins');
SELECT st_check('s_full', 'd_full', 1, 16777214, 'xmins', 1, true);
SELECT st_info('d_full', 1, 16777214, 1, a, 0) FROM generate_series(1, 3) a;

-- No rows; no columns; columns dropped and added.
CREATE TABLE s_none (a int, b text);
CREATE TABLE d_none (a int, b text) USING st;
SELECT * FROM st_build('s_none', 'd_none', 1, 0, 'holes');
SELECT st_check('s_none', 'd_none', 1, 0, 'holes', 1, true);
CREATE TABLE s_bare AS SELECT FROM generate_series(1, 3000);
CREATE TABLE d_bare () USING st;
SELECT first_page, npages, nrows, nchunks FROM st_build('s_bare', 'd_bare', 1, 0, 'dense');
SELECT st_check('s_bare', 'd_bare', 1, 0, 'dense', 1, true);
CREATE TABLE s_alter AS SELECT i AS a, 'x' || i AS b, point(i, i) AS c, i AS d FROM generate_series(1, 3000) i;
CREATE TABLE d_alter (LIKE s_alter) USING st;
ALTER TABLE s_alter DROP b; ALTER TABLE d_alter DROP b;
SELECT first_page, nrows FROM st_build('s_alter', 'd_alter', 1, 0, 'dense');
ALTER TABLE s_alter DROP c; ALTER TABLE d_alter DROP c;
ALTER TABLE s_alter ADD e int DEFAULT 5, ADD f text DEFAULT 'missing', ADD g int;
ALTER TABLE d_alter ADD e int DEFAULT 5, ADD f text DEFAULT 'missing', ADD g int;
SELECT st_check('s_alter', 'd_alter', 1, 0, 'dense', 1, true);

-- Large values: toasted, compressed, external; a chunk is cut by bytes; one value of 150 MB.
CREATE TABLE s_big AS SELECT i AS a, CASE WHEN i % 3 > 0 THEN repeat(md5(i::text), i * 400) END AS b FROM generate_series(1, 200) i;
ALTER TABLE s_big ALTER b SET STORAGE external;
INSERT INTO s_big SELECT i, (SELECT string_agg(md5((j * i)::text), '') FROM generate_series(1, 100000) j) FROM generate_series(201, 206) i;
CREATE TABLE d_big (LIKE s_big) USING st;
SELECT first_page, nrows, nchunks FROM st_build('s_big', 'd_big', 1, 0, 'dense');
SELECT st_check('s_big', 'd_big', 1, 0, 'dense', 1, true);
CREATE TABLE s_huge AS SELECT 1 AS a, repeat('0123456789abcde', 10000000) AS b UNION ALL SELECT 2, 'small' UNION ALL SELECT 3, NULL;
CREATE TABLE d_huge (LIKE s_huge) USING st;
SELECT nrows, nchunks FROM st_build('s_huge', 'd_huge', 1, 0, 'dense');
SELECT st_check('s_huge', 'd_huge', 1, 0, 'dense', 1, true);

-- Unlogged and temporary tables, truncation.
CREATE UNLOGGED TABLE d_unlogged (LIKE s_some) USING st;
SELECT first_page, nrows FROM st_build('s_some', 'd_unlogged', 1, 0, 'dense');
SELECT st_check('s_some', 'd_unlogged', 1, 0, 'dense', 1, true);
SELECT pg_relation_size('d_unlogged', 'init');
CREATE TEMP TABLE d_temp (LIKE s_all) USING st;
SELECT first_page, nrows FROM st_build('s_all', 'd_temp', 1, 0, 'dense');
SELECT st_check('s_all', 'd_temp', 1, 0, 'dense', 1, true);
TRUNCATE d_alter;
SELECT st_pages_check('d_alter');
SELECT pg_relation_size('d_alter');

-- Runs of pages.
CREATE TABLE d_run () USING st;
SELECT b, p, st_run('d_run', b, p) FROM unnest(ARRAY[1, 8167, 8168, 8169, 100000, 1000000]) b, unnest(ARRAY[7, 8168, 9000, 1000000]) p WHERE b < 1000 * p;
CREATE TEMP TABLE d_runtemp () USING st;
SELECT st_run('d_runtemp', 100000, 1000);

-- References.
SELECT st_references('d_all', 1, 3, 1);
SELECT st_leak('d_all', 1, 3, 1);
BEGIN;
SAVEPOINT a;
SELECT st_leak('d_all', 1, 3, 1);
ROLLBACK TO a;
SELECT st_read_value('d_all', 1, 3, 1, 9, 777);
COMMIT;

-- Damage: a value's vector, the index, the zones, the page, the end; the rest stays readable.
CREATE TABLE s_dmg AS SELECT i AS a, (i * 7919) % 100003 AS b, md5(i::text) AS c FROM generate_series(1, 10000) i;
CREATE TABLE d_dmg (LIKE s_dmg) USING st;
SELECT first_page, nrows, nchunks FROM st_build('s_dmg', 'd_dmg', 1, 0, 'dense');
SELECT pg_relation_size('d_dmg')::int / 8192 - 1 AS pages \gset
CREATE FUNCTION st_try(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE v text;
BEGIN
  EXECUTE command INTO v;
  RETURN v;
EXCEPTION WHEN data_corrupted THEN RETURN 'damaged';
  WHEN internal_error THEN RETURN 'differs';
END $$;
SELECT st_verify('d_dmg', 1, 0, 1, :pages);
SELECT st_flip('d_dmg', 20, 5000, 4);
SELECT st_verify('d_dmg', 1, 0, 1, :pages);
-- Column c: which vectors are lost; columns a and b: none.
SELECT min(p), max(p), v FROM generate_series(0, 9999, 16) p,
  LATERAL (SELECT CASE WHEN t = 'damaged' THEN t ELSE 'good' END AS v FROM st_try(format($$SELECT st_read_value('d_dmg', 1, 0, 1, 3, %s)$$, p)) t) t
  GROUP BY v, p / 2048 ORDER BY 1;
SELECT count(*) FROM generate_series(0, 9999, 16) p, LATERAL (VALUES (1), (2)) a(a), st_read_value('d_dmg', 1, 0, 1, a, p);
SELECT st_check('s_dmg', 'd_dmg', 1, 0, 'dense', 1, true);
SELECT st_flip('d_dmg', 20, 5000, 4);
SELECT st_check('s_dmg', 'd_dmg', 1, 0, 'dense', 1, true);
-- A page of zeros, a page with other bounds, pages missing.
SELECT st_flip('d_dmg', 20, 12, 1), st_verify('d_dmg', 1, 0, 1, :pages), st_flip('d_dmg', 20, 12, 1);
SELECT st_flip('d_dmg', :pages, 0, 0);
SELECT st_verify('d_dmg', 1, 0, 1, :pages);
SELECT st_verify('d_dmg', 1, 0, 1, :pages + 1);
-- The header, field by field; the zones; every third byte of the index and the zones.
CREATE TABLE d_dmg2 (LIKE s_dmg) USING st;
SELECT first_page, nrows, nchunks FROM st_build('s_dmg', 'd_dmg2', 1, 0, 'holes');
SELECT pg_relation_size('d_dmg2')::int / 8192 - 1 AS pages \gset
SELECT st_verify('d_dmg2', 1, 0, 1, :pages);
SELECT byte, st_flip('d_dmg2', 1, 24 + byte, 1), st_verify('d_dmg2', 1, 0, 1, :pages), st_flip('d_dmg2', 1, 24 + byte, 1)
  FROM unnest(ARRAY[0, 4, 8, 12, 16, 24, 28, 32, 34, 36, 38, 40, 44, 48, 56, 72, 80, 84, 88, 100, 124, 130, 160, 250]) byte;
SELECT count(*), count(*) FILTER (WHERE v = '') AS unnoticed FROM (
  SELECT st_flip('d_dmg2', 1, 24 + byte, 128), st_verify('d_dmg2', 1, 0, 1, :pages) v, st_flip('d_dmg2', 1, 24 + byte, 128)
  FROM generate_series(0, 3000, 3) byte OFFSET 0) x;
SELECT st_verify('d_dmg2', 1, 0, 1, :pages);
-- Forged: the checksum fits, the numbers don't. Nothing may crash; what can't be noticed is what no other number knows.
CREATE TABLE d_forged (LIKE s_dmg) USING st;
SET st.chunk_rows = 3000;
SELECT first_page, nrows, nchunks FROM st_build('s_dmg', 'd_forged', 1, 0, 'holes');
RESET st.chunk_rows;
SELECT pg_relation_size('d_forged')::int / 8192 - 1 AS pages \gset
SELECT count(*), count(*) FILTER (WHERE v <> '') > 1000 AS noticed FROM (
  SELECT st_forge('d_forged', 1, byte, mask), st_verify('d_forged', 1, 0, 1, :pages) v,
    st_try(format($$SELECT st_read_value('d_forged', 1, 0, 1, %s, %s)$$, 1 + byte % 3, byte * 7 % 10000)),
    st_try(format($$SELECT st_check('s_dmg', 'd_forged', 1, 0, 'holes', 1, %s)$$, (byte % 50 = 0)::text)),
    st_forge('d_forged', 1, byte, mask)
  FROM generate_series(12, 1200) byte, unnest(ARRAY[1, 128]) mask OFFSET 0) x;
SELECT st_verify('d_forged', 1, 0, 1, :pages);
-- The metapage.
SELECT byte, st_flip('d_dmg2', 0, 24 + byte, 1), st_verify('d_dmg2', 1, byte * 0, 1, :pages), st_flip('d_dmg2', 0, 24 + byte, 1)
  FROM unnest(ARRAY[0, 4, 8, 16, 60]) byte;
SELECT st_flip('d_dmg', 0, 30, 1);
SELECT st_pages_check('d_dmg');
