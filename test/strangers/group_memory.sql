-- Keys and transition values larger than work_mem.
CREATE TABLE t (id int, k text, v text);
INSERT INTO t SELECT i, repeat(chr(65 + i % 26) || i % 40, 20000), repeat('v' || i, 3000) FROM generate_series(1, 60) i;
-- move
INSERT INTO t SELECT i, repeat(chr(65 + i % 26) || i % 40, 20000), repeat('v' || i, 3000) FROM generate_series(61, 120) i;
CREATE TABLE s (id int, g int, k text);
INSERT INTO s SELECT i, i % 300, repeat(md5((i % 300)::text), 20) FROM generate_series(1, 1500) i;
-- move
INSERT INTO s SELECT i, i % 300, repeat(md5((i % 300)::text), 20) FROM generate_series(1501, 2000) i;
-- queries
SELECT md5(k), length(k), c FROM (SELECT k, count(*) c FROM t GROUP BY k) x;
SELECT id % 50, md5(max(k)), md5(min(v)), md5(max(k || v)) FROM t GROUP BY 1;
SELECT md5(string_agg(k, '' ORDER BY id)) FROM t;
SELECT k, count(*), sum(id) FROM s GROUP BY k;
SELECT g, max(k), min(upper(k)), count(*) FILTER (WHERE id % 2 = 0) FROM s GROUP BY g;
SELECT ARRAY[k, g::text], count(*) FROM s GROUP BY 1;
