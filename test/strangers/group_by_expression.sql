-- Grouping by what has few values, of columns that have many: by month, by a field, by CASE, by casts.
SET timezone = 'America/New_York';
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TABLE t (id int, ts timestamp, tz timestamptz, d date, n numeric, f float8, m mood);
INSERT INTO t SELECT i, timestamp '2021-01-01' + i * interval '7 hours 13 minutes', timestamptz '2021-01-01' + i * interval '7 hours 13 minutes',
	date '2021-01-01' + i % 900, i / 7.0, i / 4.0, (ARRAY['sad', 'ok', 'happy'])[1 + i % 3]::mood FROM generate_series(-500, 1800) i;
-- move
INSERT INTO t SELECT i, timestamp '2021-01-01' + i * interval '7 hours 13 minutes', timestamptz '2021-01-01' + i * interval '7 hours 13 minutes',
	date '2021-01-01' + i % 900, i / 7.0, i / 4.0, (ARRAY['sad', 'ok', 'happy'])[1 + i % 3]::mood FROM generate_series(1801, 2500) i;
INSERT INTO t VALUES (0, 'infinity', '-infinity', 'infinity', 'NaN', 'Infinity', NULL), (0, NULL, NULL, NULL, NULL, NULL, NULL), (0, '0044-03-15 BC', '0044-03-15 BC', '0044-03-15 BC', 0, '-0', 'ok');
ANALYZE t;
-- queries
SELECT date_trunc('month', ts), count(*), avg(id) FROM t GROUP BY 1;
SELECT date_trunc('day', tz), count(*) FROM t GROUP BY 1;
SELECT date_trunc('year', d), count(*), max(id) FROM t GROUP BY 1;
SELECT date_trunc('week', tz, 'Asia/Tokyo'), count(*) FROM t GROUP BY 1;
SELECT extract(month FROM ts), extract(dow FROM d), count(*) FROM t WHERE isfinite(ts) AND isfinite(d) GROUP BY 1, 2;
SELECT date_part('hour', tz), count(*) FROM t WHERE isfinite(tz) GROUP BY 1;
SELECT extract(year FROM ts)::int, count(*) FROM t WHERE isfinite(ts) GROUP BY 1 ORDER BY 1;
SELECT extract(century FROM d), count(*) FROM t GROUP BY 1;
SELECT ts::date, count(*) FROM t GROUP BY 1;
SELECT tz::date, tz::timestamp::date = ts::date, count(*) FROM t GROUP BY 1, 2;
SELECT CASE WHEN id < 0 THEN 'before' WHEN id < 1000 THEN 'a' ELSE 'b' END, count(*) FROM t GROUP BY 1;
SELECT CASE WHEN id % 2 = 0 THEN m END, count(*) FROM t GROUP BY 1;
SELECT id::bool, m::text, count(*) FROM t GROUP BY 1, 2;
SELECT n::int % 5, count(*) FROM t WHERE n <> 'NaN' GROUP BY 1;
SELECT id % 7, id / 1000, count(*) FROM t GROUP BY 1, 2;
SELECT f IS NULL, f > 100, count(*), sum(id) FROM t GROUP BY 1, 2;
SELECT round(n, -2), count(*) FROM t GROUP BY 1;
SELECT to_char(ts, 'YYYY-MM'), count(*) FROM t GROUP BY 1 ORDER BY 1;
SELECT m, avg(id) FROM t GROUP BY m ORDER BY m;
SELECT n::smallint, count(*) FROM t GROUP BY 1;
