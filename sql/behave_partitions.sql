-- Partitions of both access methods in one table; rows move between them and are found in all.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/test/lib/regress.sql'
\i :setup
SET default_table_access_method = :am;
CREATE TABLE pt (id int, ts date, v text, PRIMARY KEY (id, ts)) PARTITION BY RANGE (ts);
CREATE TABLE pt_1 PARTITION OF pt FOR VALUES FROM ('2001-01-01') TO ('2001-04-01');
CREATE TABLE pt_2 PARTITION OF pt FOR VALUES FROM ('2001-04-01') TO ('2001-07-01') USING heap;
CREATE TABLE pt_3 PARTITION OF pt FOR VALUES FROM ('2001-07-01') TO ('2001-10-01') PARTITION BY HASH (id);
CREATE TABLE pt_3a PARTITION OF pt_3 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE pt_3b PARTITION OF pt_3 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE pt_def PARTITION OF pt DEFAULT;
INSERT INTO pt SELECT g, date '2001-01-01' + g % 365, 'v' || g FROM generate_series(1, 2000) g;
PREPARE per_part AS SELECT tableoid::regclass AS part, count(*), sum(id), min(ts), max(ts) FROM pt GROUP BY tableoid ORDER BY tableoid::regclass::text;
EXECUTE per_part;
CALL test_migrate('pt');
EXECUTE per_part;
SELECT count(*), sum(id) FROM pt WHERE ts BETWEEN '2001-03-25' AND '2001-04-05';
SELECT count(*), sum(id) FROM pt WHERE ts = '2001-08-01' AND id > 500;
-- rows that move, both ways
UPDATE pt SET ts = ts + 90 WHERE id <= 400;
EXECUTE per_part;
UPDATE pt SET ts = '2001-02-02' WHERE id BETWEEN 401 AND 410 RETURNING tableoid::regclass, id;
WITH gone AS (DELETE FROM pt WHERE ts = '2001-02-02' AND id % 2 = 0 RETURNING id) SELECT array_agg(id ORDER BY id) FROM gone;
INSERT INTO pt VALUES (403, '2001-02-02', 'upsert') ON CONFLICT (id, ts) DO UPDATE SET v = pt.v || ' / ' || excluded.v RETURNING *;
CALL test_migrate('pt');
EXECUTE per_part;
INSERT INTO pt VALUES (405, '2001-02-02', 'upsert') ON CONFLICT (id, ts) DO UPDATE SET v = pt.v || ' / ' || excluded.v RETURNING *;
INSERT INTO pt VALUES (405, '2001-02-02', 'dup');
MERGE INTO pt USING (VALUES (405), (9999)) s (id) ON pt.id = s.id AND pt.ts = '2001-02-02'
	WHEN MATCHED THEN UPDATE SET ts = '2001-05-05' WHEN NOT MATCHED THEN INSERT VALUES (s.id, '2001-09-09', 'merged');
SELECT tableoid::regclass, * FROM pt WHERE id IN (405, 9999) AND v <> 'v405' OR v = 'merged' ORDER BY id, ts;
-- indexes over all partitions
CREATE INDEX pt_v ON pt (v);
SELECT * FROM test_all_scans('SELECT * FROM pt WHERE v LIKE ''v12%''');
SELECT * FROM test_all_scans('SELECT * FROM pt WHERE ts > ''2001-06-20'' AND ts < ''2001-07-10''');
-- detach, change, attach
ALTER TABLE pt DETACH PARTITION pt_1;
INSERT INTO pt_1 VALUES (5000, '2001-01-05', 'while detached');
CALL test_migrate('pt_1');
EXECUTE per_part;
ALTER TABLE pt ATTACH PARTITION pt_1 FOR VALUES FROM ('2001-01-01') TO ('2001-04-01');
ALTER TABLE pt DETACH PARTITION pt_2;
CREATE TABLE pt_2new (LIKE pt_2 INCLUDING ALL);
INSERT INTO pt_2new SELECT * FROM pt_2;
CALL test_migrate('pt_2new');
ALTER TABLE pt ATTACH PARTITION pt_2new FOR VALUES FROM ('2001-04-01') TO ('2001-07-01');
SELECT count(*), sum(id) FROM pt;
INSERT INTO pt_def VALUES (1, '2001-05-05', 'wrong partition');
-- foreign keys to and from a partitioned table
CREATE TABLE pt_ref (id int, ts date, FOREIGN KEY (id, ts) REFERENCES pt ON UPDATE CASCADE ON DELETE CASCADE);
INSERT INTO pt_ref SELECT id, ts FROM pt WHERE id BETWEEN 700 AND 720;
CALL test_migrate('pt_ref');
UPDATE pt SET id = id + 100000 WHERE id BETWEEN 700 AND 705;
DELETE FROM pt WHERE id BETWEEN 706 AND 710;
SELECT count(*), min(id), max(id) FROM pt_ref;
-- joins and aggregates by partition
SET enable_partitionwise_join = on;
SET enable_partitionwise_aggregate = on;
SELECT count(*) FROM pt a JOIN pt b USING (id, ts);
SELECT date_trunc('month', ts)::date AS month, count(*) FROM pt GROUP BY 1 ORDER BY 1;
DROP TABLE pt_1 CASCADE;
SELECT count(*) FROM pt;
TRUNCATE pt CASCADE;
SELECT count(*) FROM pt;
DROP TABLE pt_ref, pt, pt_2;
-- inheritance
CREATE TABLE inh (a int, b text);
CREATE TABLE inh_c (c int) INHERITS (inh);
CREATE TABLE inh_h (d int) INHERITS (inh) USING heap;
INSERT INTO inh VALUES (1, 'parent');
INSERT INTO inh_c VALUES (2, 'child', 20);
INSERT INTO inh_h VALUES (3, 'heap child', 30);
CALL test_migrate('inh');
CALL test_migrate('inh_c');
UPDATE inh SET a = a + 10;
SELECT tableoid::regclass, * FROM inh ORDER BY a;
ALTER TABLE inh ADD COLUMN e int DEFAULT 5;
SELECT * FROM inh_c;
DELETE FROM inh WHERE a > 11;
SELECT * FROM ONLY inh;
SELECT count(*) FROM inh;
DROP TABLE inh CASCADE;
