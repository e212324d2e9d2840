-- Partitions attached, detached (concurrently, too) and moved between; default partitions; rows that move.
CREATE TABLE p (id int, k text, v int, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
CREATE TABLE pa PARTITION OF p FOR VALUES IN ('a');
CREATE TABLE pb PARTITION OF p FOR VALUES IN ('b', NULL) USING heap;
CREATE TABLE pd PARTITION OF p DEFAULT;
CREATE INDEX ON p (v);
INSERT INTO p SELECT g, chr(97 + g % 4), g FROM generate_series(1, 400) g;
SELECT tableoid::regclass, count(*), sum(v) FROM p GROUP BY 1 ORDER BY 1;
-- ! 23514
CREATE TABLE pc PARTITION OF p FOR VALUES IN ('c');
CREATE TABLE pc (v int, id int NOT NULL, gone text, k text NOT NULL);
ALTER TABLE pc DROP COLUMN gone;
BEGIN;
WITH moved AS (DELETE FROM pd WHERE k = 'c' RETURNING *) INSERT INTO pc (id, k, v) SELECT * FROM moved;
ALTER TABLE p ATTACH PARTITION pc FOR VALUES IN ('c');
COMMIT;
SELECT tableoid::regclass, count(*), sum(v) FROM p GROUP BY 1 ORDER BY 1;
SELECT * FROM p WHERE k = 'c' AND v < 20 ORDER BY id;
-- rows that move, all ways, and back
UPDATE p SET k = CASE k WHEN 'a' THEN 'b' WHEN 'b' THEN 'c' WHEN 'c' THEN 'z' ELSE 'a' END WHERE id <= 40;
SELECT tableoid::regclass, count(*), sum(v) FROM p GROUP BY 1 ORDER BY 1;
BEGIN;
UPDATE p SET k = 'y' WHERE id = 50;
SAVEPOINT s;
UPDATE p SET k = 'a' WHERE id = 50;
UPDATE p SET k = 'c', v = -1 WHERE id = 50;
ROLLBACK TO s;
UPDATE p SET v = v + 1 WHERE id = 50 RETURNING tableoid::regclass, *;
COMMIT;
SELECT tableoid::regclass, * FROM p WHERE id = 50;
-- ! 23514
UPDATE pa SET k = 'b' WHERE id = 60;
-- ! 23514
INSERT INTO pa VALUES (1, 'q', 1);
-- ! 23502
INSERT INTO p VALUES (1, NULL, 1);
-- ! 23505
UPDATE p SET id = 60, k = 'a' WHERE id = 61;
WITH u AS (UPDATE p SET k = 'w' WHERE id BETWEEN 70 AND 75 RETURNING id, k) SELECT * FROM u ORDER BY id;
-- a detached partition lives on, and is attached again
ALTER TABLE p DETACH PARTITION pa;
INSERT INTO pa VALUES (10000, 'elsewhere', 1);
UPDATE pa SET v = v + 1;
SELECT count(*), sum(v) FROM p;
-- ! 23514
ALTER TABLE p ATTACH PARTITION pa FOR VALUES IN ('a');
DELETE FROM pa WHERE id = 10000;
ALTER TABLE pa ADD CHECK (k = 'a');
ALTER TABLE p ATTACH PARTITION pa FOR VALUES IN ('a');
SELECT count(*), sum(v) FROM p;
ALTER TABLE p DETACH PARTITION pd;
ALTER TABLE p DETACH PARTITION pa CONCURRENTLY;
SELECT count(*), sum(v) FROM p;
SELECT count(*), sum(v) FROM pa;
INSERT INTO pa VALUES (10001, 'a', 1);
-- ! 23514
INSERT INTO p VALUES (10001, 'a', 1);
ALTER TABLE p ATTACH PARTITION pa FOR VALUES IN ('a');
ALTER TABLE p ATTACH PARTITION pd DEFAULT;
SELECT tableoid::regclass, count(*), sum(v) FROM p GROUP BY 1 ORDER BY 1;
-- ! 55000
ALTER TABLE p DETACH PARTITION pa CONCURRENTLY;
-- concurrently, while another session holds a snapshot of the whole
CREATE TABLE r (id int, v int) PARTITION BY RANGE (id);
CREATE TABLE r1 PARTITION OF r FOR VALUES FROM (0) TO (100);
CREATE TABLE r2 PARTITION OF r FOR VALUES FROM (100) TO (200);
INSERT INTO r SELECT g, g FROM generate_series(0, 199) g;
-- @ s2
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*), sum(v) FROM r;
-- @ s1
SET statement_timeout = '500ms';
-- ! 57014
ALTER TABLE r DETACH PARTITION r1 CONCURRENTLY;
RESET statement_timeout;
SELECT count(*), sum(v) FROM r;
-- ! 23514
INSERT INTO r VALUES (5, 5);
-- @ s2
SELECT count(*), sum(v) FROM r;
COMMIT;
SELECT count(*), sum(v) FROM r;
-- @ s1
ALTER TABLE r DETACH PARTITION r1 FINALIZE;
SELECT count(*), sum(v) FROM r1;
SELECT count(*), sum(v) FROM r;
-- multi-level, hash, rows that move across levels
CREATE TABLE m (a int, b int, c text) PARTITION BY RANGE (a);
CREATE TABLE m1 PARTITION OF m FOR VALUES FROM (0) TO (100) PARTITION BY HASH (b);
CREATE TABLE m1a PARTITION OF m1 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE m1b PARTITION OF m1 FOR VALUES WITH (MODULUS 2, REMAINDER 1) USING heap;
CREATE TABLE m2 PARTITION OF m FOR VALUES FROM (100) TO (200);
INSERT INTO m SELECT g, g, 'm' || g FROM generate_series(0, 199) g;
UPDATE m SET a = 199 - a WHERE b % 10 = 0;
UPDATE m SET b = b + 1 WHERE a < 50;
SELECT tableoid::regclass, count(*), sum(a), sum(b) FROM m GROUP BY 1 ORDER BY 1;
SELECT * FROM m WHERE a BETWEEN 95 AND 105 ORDER BY a, b;
TRUNCATE m1a;
SELECT count(*) FROM m;
BEGIN;
TRUNCATE m;
INSERT INTO m VALUES (1, 1, 'x');
SELECT * FROM m;
ROLLBACK;
SELECT count(*) FROM m;
DROP TABLE m1;
SELECT count(*), min(a) FROM m;
