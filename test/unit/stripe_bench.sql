-- Column fetches a second at random positions; run by 'stripe_run bench'.
CREATE TABLE s_bench AS SELECT i AS a, i::bigint * 17 AS b, md5(i::text) AS c, 'name ' || i % 100 AS d, (random() * 1e6)::int AS e,
  random() AS f, i % 7 AS g, now() + i * interval '1s' AS h FROM generate_series(1, 65536) i;
CREATE TABLE d_bench (LIKE s_bench) USING st;
SELECT 'build', b.* FROM clock_timestamp() t, LATERAL st_build('s_bench', 'd_bench', 1, 0, 'dense') b;
\timing on
SELECT nrows FROM st_build('s_bench', 'd_bench', 2, 1, 'dense');
\timing off
SELECT 'warm', st_bench('d_bench', 1, 0, 1, 1000000, false) FROM generate_series(1, 2);
SET st.cache_mb = 0;
SELECT 'no cache of vectors', st_bench('d_bench', 1, 0, 1, 100000, false);
RESET st.cache_mb;
SELECT 'index read anew every 16 rows', st_bench('d_bench', 1, 0, 1, 100000, true);
