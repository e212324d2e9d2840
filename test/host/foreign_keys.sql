-- Foreign keys with every action, from and to tables of both kinds, and among tables that move.
CREATE TABLE p (id int PRIMARY KEY, alt int UNIQUE, v text);
CREATE TABLE ph (id int PRIMARY KEY, alt int UNIQUE, v text) USING heap;
INSERT INTO p SELECT g, g * 10, 'p' || g FROM generate_series(0, 299) g;
INSERT INTO ph SELECT * FROM p;
CREATE TABLE c (id int PRIMARY KEY,
	cas int REFERENCES p ON DELETE CASCADE ON UPDATE CASCADE,
	nul int REFERENCES p ON DELETE SET NULL ON UPDATE SET NULL,
	def int DEFAULT 0 REFERENCES p ON DELETE SET DEFAULT ON UPDATE SET DEFAULT,
	res int REFERENCES p ON DELETE RESTRICT ON UPDATE RESTRICT,
	noa int REFERENCES p (alt) ON DELETE NO ACTION,
	dfr int REFERENCES p DEFERRABLE INITIALLY DEFERRED,
	toh int REFERENCES ph ON DELETE CASCADE ON UPDATE CASCADE,
	v text);
CREATE TABLE ch (id int PRIMARY KEY,
	cas int REFERENCES p ON DELETE CASCADE ON UPDATE CASCADE,
	nul int REFERENCES p ON DELETE SET NULL,
	def int DEFAULT 0 REFERENCES p ON DELETE SET DEFAULT,
	res int REFERENCES p ON DELETE RESTRICT,
	dfr int REFERENCES p DEFERRABLE INITIALLY DEFERRED) USING heap;
INSERT INTO c SELECT g, g, g, g, CASE WHEN g >= 250 THEN g END, CASE WHEN g >= 240 THEN g * 10 END, g, g FROM generate_series(1, 290) g;
INSERT INTO ch SELECT id, cas, nul, def, res, dfr FROM c;
-- ! 23503
INSERT INTO c (id, cas) VALUES (1000, 1000);
-- ! 23503
INSERT INTO ch (id, cas) VALUES (1000, 1000);
-- ! 23503
UPDATE c SET toh = 1000 WHERE id = 5;
-- ! 23503
UPDATE c SET noa = 5 WHERE id = 5;
INSERT INTO c (id) VALUES (2000);
SELECT * FROM c WHERE id IN (5, 2000) ORDER BY id;
UPDATE c SET cas = NULL WHERE id = 9;
-- the deferred one keeps it from going
-- ! 23503
DELETE FROM p WHERE id = 9;
BEGIN;
DELETE FROM p WHERE id = 10;
SELECT * FROM c WHERE id = 10;
SELECT count(*) FROM ch WHERE id = 10;
SELECT count(*), count(nul), sum(def) FROM c;
COMMIT;
SELECT count(*) FROM p;
UPDATE c SET dfr = NULL, def = 1, nul = nullif(id - 1, 10) WHERE id < 200;
UPDATE ch SET dfr = NULL, def = 1, nul = nullif(id - 1, 10) WHERE id < 200;
DELETE FROM p WHERE id IN (20, 21, 30);
SELECT id, cas, nul, def FROM c WHERE id BETWEEN 19 AND 32 ORDER BY id;
SELECT id, cas, nul, def FROM ch WHERE id BETWEEN 19 AND 32 ORDER BY id;
DELETE FROM p WHERE id = 1;
SELECT def, count(*) FROM c GROUP BY def ORDER BY def LIMIT 4;
SELECT def, count(*) FROM ch GROUP BY def ORDER BY def LIMIT 4;
-- ! 23503
DELETE FROM p WHERE id = 0;
-- updates of keys
-- ! 23503
UPDATE p SET id = id + 5000 WHERE id IN (40, 41);
UPDATE ch SET nul = NULL, def = NULL, res = NULL WHERE id BETWEEN 30 AND 50;
UPDATE p SET id = id + 5000 WHERE id IN (40, 41);
SELECT id, cas, nul FROM c WHERE id BETWEEN 39 AND 43 ORDER BY id;
-- ! 23503
UPDATE p SET id = id + 5000 WHERE id IN (250);
-- ! 23503
UPDATE p SET alt = alt + 1 WHERE id IN (245);
UPDATE p SET alt = alt + 1 WHERE id IN (100);
UPDATE p SET v = v || '!' WHERE id > 230;
-- restrict and no action
UPDATE c SET dfr = NULL, cas = NULL WHERE id <> 290;
UPDATE ch SET dfr = NULL, res = NULL;
-- ! 23503
DELETE FROM p WHERE id = 260;
-- ! 23503
DELETE FROM p WHERE id = 241;
-- no action lets a referenced row come back within the statement
WITH gone AS (DELETE FROM c WHERE id BETWEEN 241 AND 245 RETURNING id) SELECT count(*) FROM gone;
DELETE FROM p WHERE id BETWEEN 241 AND 245;
-- deferred: wrong in the middle, right and wrong at the end
BEGIN;
INSERT INTO c (id, dfr) VALUES (3000, 9999);
INSERT INTO p VALUES (9999, 99990);
COMMIT;
BEGIN;
INSERT INTO c (id, dfr) VALUES (3001, 9998);
-- ! 23503
COMMIT;
BEGIN;
INSERT INTO ch (id, dfr) VALUES (3001, 9998);
SAVEPOINT s;
INSERT INTO p VALUES (9998, 99980);
ROLLBACK TO s;
-- ! 23503
SET CONSTRAINTS ALL IMMEDIATE;
ROLLBACK;
BEGIN;
DELETE FROM p WHERE id = 9999;
INSERT INTO p VALUES (9999, 99991, 'back');
COMMIT;
SELECT * FROM p WHERE id = 9999;
BEGIN;
INSERT INTO c (id, dfr) VALUES (3002, 77777);
UPDATE c SET dfr = 9999 WHERE id = 3002;
COMMIT;
BEGIN;
INSERT INTO c (id, dfr) VALUES (3003, 77777);
DELETE FROM c WHERE id = 3003;
COMMIT;
-- from vdb to heap
DELETE FROM ph WHERE id BETWEEN 50 AND 54;
UPDATE ph SET id = id + 5000 WHERE id = 60;
SELECT count(*), max(toh) FROM c;
-- a key over two columns, SET NULL of one of them, MATCH FULL
CREATE TABLE p2 (a int, b int, PRIMARY KEY (a, b));
INSERT INTO p2 SELECT g / 10, g % 10 FROM generate_series(0, 199) g;
CREATE TABLE c2 (id int PRIMARY KEY, a int, b int, FOREIGN KEY (a, b) REFERENCES p2 MATCH FULL ON DELETE SET NULL ON UPDATE CASCADE);
CREATE TABLE c3 (id int PRIMARY KEY, a int, b int, FOREIGN KEY (a, b) REFERENCES p2 ON DELETE SET NULL (b));
INSERT INTO c2 SELECT g, g / 10, g % 10 FROM generate_series(0, 199) g;
INSERT INTO c3 SELECT * FROM c2;
-- ! 23503
INSERT INTO c2 VALUES (1000, 1, NULL);
INSERT INTO c3 VALUES (1000, 1, NULL);
DELETE FROM p2 WHERE a = 3;
SELECT * FROM c2 WHERE id BETWEEN 28 AND 42 ORDER BY id;
SELECT * FROM c3 WHERE id BETWEEN 28 AND 42 ORDER BY id;
-- ! 23503
UPDATE p2 SET b = b + 10 WHERE a = 4;
DELETE FROM c3 WHERE a = 4;
UPDATE p2 SET b = b + 10 WHERE a = 4;
SELECT * FROM c2 WHERE a = 4 ORDER BY id;
-- a tree in itself: cascades of cascades, deferred cycles
CREATE TABLE t (id int PRIMARY KEY, up int REFERENCES t ON DELETE CASCADE ON UPDATE CASCADE, other int REFERENCES t ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED);
INSERT INTO t SELECT g, nullif(g / 2, 0), 256 - g FROM generate_series(1, 255) g;
DELETE FROM t WHERE id = 3;
SELECT count(*), count(other), sum(id) FROM t;
UPDATE t SET id = id + 1000 WHERE id = 2;
SELECT id FROM t WHERE up = 1002 ORDER BY id;
BEGIN;
INSERT INTO t VALUES (5000, NULL, 5001), (5001, 5000, 5000);
COMMIT;
DELETE FROM t WHERE id = 5000;
SELECT count(*) FROM t WHERE id >= 5000;
-- partitioned, both ways, kinds mixed
CREATE TABLE pp (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE pp1 PARTITION OF pp FOR VALUES FROM (0) TO (100);
CREATE TABLE pp2 PARTITION OF pp FOR VALUES FROM (100) TO (200) USING heap;
CREATE TABLE ppd PARTITION OF pp DEFAULT;
INSERT INTO pp SELECT g, 'v' || g FROM generate_series(0, 299) g;
CREATE TABLE pc (id int, ref int REFERENCES pp ON DELETE CASCADE ON UPDATE CASCADE) PARTITION BY LIST ((id % 2));
CREATE TABLE pc0 PARTITION OF pc FOR VALUES IN (0);
CREATE TABLE pc1 PARTITION OF pc FOR VALUES IN (1) USING heap;
INSERT INTO pc SELECT g, g FROM generate_series(0, 299) g;
DELETE FROM pp WHERE id % 50 = 1;
UPDATE pp SET id = id + 100 WHERE id = 250 OR id = 251;
-- a row of the key that moves to another partition
UPDATE pp SET id = 301 WHERE id = 1 OR id = 2;
SELECT tableoid::regclass, * FROM pc WHERE ref > 299 ORDER BY id;
SELECT count(*), sum(ref) FROM pc;
-- ! 23503
ALTER TABLE pp DETACH PARTITION pp1;
DELETE FROM pc WHERE ref < 100;
ALTER TABLE pp DETACH PARTITION pp1;
-- ! 23503
INSERT INTO pc VALUES (1, 5);
-- rows that two commands of a transaction change before the check
BEGIN;
UPDATE c SET dfr = 200 WHERE id = 200;
UPDATE c SET dfr = 201 WHERE id = 200;
DELETE FROM p WHERE id = 200;
COMMIT;
SELECT id, dfr, cas FROM c WHERE id BETWEEN 199 AND 202 ORDER BY id;
TRUNCATE c, ch;
-- ! 0A000
TRUNCATE p;
TRUNCATE p CASCADE;
