-- NOT NULL, CHECK, unique, primary key and exclusion, deferred and not, over rows that move.
CREATE TABLE c (id int PRIMARY KEY, u int UNIQUE DEFERRABLE INITIALLY DEFERRED, n text NOT NULL, v int CHECK (v > 0),
	CONSTRAINT both_small CHECK (id + v < 5000), during int4range, EXCLUDE USING gist (during WITH &&) DEFERRABLE);
INSERT INTO c SELECT g, g, 'n' || g, g, int4range(g * 10, g * 10 + 9) FROM generate_series(1, 400) g;
-- ! 23502
INSERT INTO c VALUES (500, 500, NULL, 1);
-- ! 23514
INSERT INTO c VALUES (500, 500, 'x', 0);
-- ! 23514
UPDATE c SET v = 4990 WHERE id = 10;
-- ! 23502
UPDATE c SET n = NULL WHERE id = 10;
-- ! 23505
INSERT INTO c VALUES (10, 500, 'x', 1);
-- ! 23505
UPDATE c SET id = 11 WHERE id = 10;
-- ! 23P01
INSERT INTO c VALUES (500, 500, 'x', 1, int4range(105, 106));
-- deferred unique: wrong in the middle, right at the end
BEGIN;
UPDATE c SET u = 401 - u;
UPDATE c SET u = 1 WHERE u = 2;
SELECT count(*) FROM c WHERE u = 1;
UPDATE c SET u = 2 WHERE id = 400;
COMMIT;
SELECT id, u FROM c WHERE u IN (1, 2) ORDER BY id;
-- wrong at the end
BEGIN;
UPDATE c SET u = 7 WHERE id = 8;
SET CONSTRAINTS c_during_excl DEFERRED;
-- ! 23505
COMMIT;
SELECT id, u FROM c WHERE u = 7;
-- found by SET CONSTRAINTS
BEGIN;
UPDATE c SET u = 7 WHERE id = 8;
-- ! 23505
SET CONSTRAINTS ALL IMMEDIATE;
ROLLBACK;
-- deleted again in time, in a savepoint that is rolled back, and not
BEGIN;
INSERT INTO c VALUES (600, 9, 'nine', 1);
SAVEPOINT s;
DELETE FROM c WHERE id = 600;
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
ROLLBACK TO s;
SAVEPOINT t;
-- ! 23505
SET CONSTRAINTS ALL IMMEDIATE;
ROLLBACK TO t;
DELETE FROM c WHERE u = 9 AND id <> 600;
COMMIT;
SELECT id, u FROM c WHERE u = 9;
-- exclusion: immediate within a statement, deferred to the end
-- ! 23P01
UPDATE c SET during = int4range(lower(during) + 5, upper(during) + 5) WHERE id BETWEEN 100 AND 105;
BEGIN;
SET CONSTRAINTS ALL DEFERRED;
UPDATE c SET during = int4range(lower(during) + 10, upper(during) + 10) WHERE id BETWEEN 100 AND 105;
DELETE FROM c WHERE id = 106;
COMMIT;
SELECT id, during FROM c WHERE id BETWEEN 98 AND 108 ORDER BY id;
SELECT id FROM c WHERE during && int4range(1005, 1035) ORDER BY id;
BEGIN;
SET CONSTRAINTS ALL DEFERRED;
INSERT INTO c VALUES (700, 700, 'x', 1, int4range(20, 21));
-- ! 23P01
COMMIT;
-- a key that was deleted, in this transaction and before, is free
DELETE FROM c WHERE id BETWEEN 200 AND 210;
INSERT INTO c SELECT g, g + 10000, 'again', 1 FROM generate_series(200, 205) g;
BEGIN;
DELETE FROM c WHERE id = 300;
INSERT INTO c VALUES (300, 20300, 'in place', 3);
DELETE FROM c WHERE id = 300;
INSERT INTO c VALUES (300, 20300, 'in place again', 4);
COMMIT;
BEGIN;
DELETE FROM c WHERE id = 301;
INSERT INTO c VALUES (301, 20301, 'lost', 3);
ROLLBACK;
-- ! 23505
INSERT INTO c VALUES (301, 20301, 'dup', 3);
SELECT id, u, n FROM c WHERE id BETWEEN 299 AND 302 OR id BETWEEN 200 AND 206 ORDER BY id;
-- primary key over several columns, included columns, NULLS NOT DISTINCT, deferred primary key
CREATE TABLE d (a int, b text, c int, PRIMARY KEY (a, b) INCLUDE (c) DEFERRABLE, UNIQUE NULLS NOT DISTINCT (c, b));
INSERT INTO d SELECT g, 'b' || g % 10, g FROM generate_series(1, 300) g;
UPDATE d SET a = a + 1;
-- ! 23505
INSERT INTO d VALUES (2, 'b1', 1000);
-- ! 23502
INSERT INTO d VALUES (NULL, 'b1', 1000);
INSERT INTO d VALUES (1000, 'b', NULL);
-- ! 23505
INSERT INTO d VALUES (1001, 'b', NULL);
BEGIN;
SET CONSTRAINTS ALL DEFERRED;
INSERT INTO d VALUES (2, 'b1', 1000);
UPDATE d SET a = 5000 WHERE a = 2 AND c = 1;
COMMIT;
SELECT * FROM d WHERE a IN (2, 5000) OR c IS NULL ORDER BY a;
-- constraints changed over stored rows
-- ! 23514
ALTER TABLE d ADD CONSTRAINT small CHECK (a < 400);
ALTER TABLE d ADD CONSTRAINT small CHECK (a < 400) NOT VALID;
-- ! 23514
UPDATE d SET c = c WHERE a = 5000;
DELETE FROM d WHERE a >= 400;
ALTER TABLE d VALIDATE CONSTRAINT small;
ALTER TABLE d ALTER c SET NOT NULL;
-- ! 23502
UPDATE d SET c = NULL WHERE a = 5;
ALTER TABLE d ADD COLUMN e int NOT NULL DEFAULT 5 CHECK (e < 10);
-- ! 23514
UPDATE d SET e = 10 WHERE a = 7;
-- ! 23502
ALTER TABLE d ADD COLUMN f int NOT NULL;
CREATE DOMAIN even AS int CHECK (VALUE % 2 = 0);
CREATE TABLE e (a even, b text, c even[] NOT NULL);
INSERT INTO e SELECT g * 2, 'b', ARRAY[g * 2, 0] FROM generate_series(1, 20) g;
-- ! 23514
INSERT INTO e VALUES (1, 'b', '{}');
-- ! 23514
UPDATE e SET c = c || 3 WHERE a = 4;
ALTER TABLE e DROP COLUMN c;
-- ! 23514
ALTER DOMAIN even ADD CHECK (VALUE < 20);
ALTER DOMAIN even ADD CHECK (VALUE < 100);
-- ! 23514
UPDATE e SET a = 100;
