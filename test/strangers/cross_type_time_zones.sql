-- A timestamp compared with a timestamptz and a date, in a zone with daylight saving time: in the gap of spring the order of
-- the one is not the order of the other: 02:30 is later than 03:00.
SET timezone = 'America/New_York';
CREATE TABLE t (id int, ts timestamp, tz timestamptz, d date);
INSERT INTO t SELECT i, '2024-03-10 02:30', '2024-03-10 07:20+00', '2024-03-10' FROM generate_series(1, 300) i;
INSERT INTO t SELECT 500 + i, '2024-03-10 03:00', '2024-03-10 07:00+00', '2024-03-10' FROM generate_series(1, 50) i;
-- move
INSERT INTO t SELECT 1000 + i, timestamp '2024-03-09 20:00' + i * interval '10 minutes', timestamptz '2024-03-09 20:00' + i * interval '10 minutes', date '2024-03-05' + i % 10 FROM generate_series(1, 100) i;
INSERT INTO t SELECT 2000 + i, timestamp '2024-11-02 20:00' + i * interval '10 minutes', timestamptz '2024-11-02 20:00' + i * interval '10 minutes', date '2024-11-01' + i % 5 FROM generate_series(1, 100) i;
PREPARE later(timestamptz) AS SELECT count(*), sum(id) FROM t WHERE ts > $1;
-- queries
SELECT count(*) FROM t WHERE ts > '2024-03-10 07:20+00'::timestamptz;
SELECT count(*) FROM t WHERE ts >= '2024-03-10 07:30+00'::timestamptz;
SELECT count(*) FROM t WHERE ts = '2024-03-10 07:30+00'::timestamptz;
SELECT count(*) FROM t WHERE ts < '2024-03-10 07:31+00'::timestamptz AND ts > '2024-03-10 06:59+00'::timestamptz;
SELECT count(*) FROM t WHERE '2024-03-10 07:20+00'::timestamptz < ts;
SELECT count(*) FROM t WHERE ts BETWEEN '2024-11-03 05:30+00'::timestamptz AND '2024-11-03 06:30+00'::timestamptz;
SELECT count(*) FROM t WHERE tz > '2024-03-10 02:30'::timestamp;
SELECT count(*) FROM t WHERE tz <= '2024-11-03 01:30'::timestamp AND tz > '2024-11-03'::date;
SELECT count(*) FROM t WHERE d < '2024-03-10 00:00+00'::timestamptz;
SELECT count(*) FROM t WHERE d >= '2024-03-10 04:59+00'::timestamptz;
SELECT count(*) FROM t WHERE tz = '2024-03-10'::date;
SELECT count(*) FROM t WHERE d = '2024-03-10 00:00'::timestamp;
SELECT count(*) FROM t WHERE ts > '2024-03-10'::date AND ts < '2024-03-11'::date;
SELECT count(*), sum(id) FROM t WHERE ts > (SELECT '2024-03-10 07:20+00'::timestamptz);
SELECT count(*) FROM t WHERE ts > ANY (ARRAY['2024-03-10 07:20+00'::timestamptz, '2024-11-03 06:00+00']);
EXECUTE later('2024-03-10 07:20+00');
SET timezone = 'UTC';
EXECUTE later('2024-03-10 02:20+00');
SELECT count(*) FROM t WHERE ts > '2024-03-10 02:20+00'::timestamptz;
SET timezone = 'Australia/Lord_Howe';
EXECUTE later('2024-03-10 02:20+00');
SELECT count(*) FROM t WHERE d < '2024-03-10 13:00+00'::timestamptz;
SET timezone = 'America/New_York';
