-- ALTER TABLE in all its forms over rows in SCM and on flash, and changes of access method both ways.
\getenv am VDB_TEST_AM
\if :{?am}
\else
\set am vdb
\endif
SET default_table_access_method = :am;
CREATE TABLE al (id int PRIMARY KEY, a int, b text, c numeric);
INSERT INTO al SELECT g, g * 2, 'b' || g, g / 3.0 FROM generate_series(1, 200) g;
CALL test_migrate('al');
INSERT INTO al SELECT g, g * 2, 'b' || g, g / 3.0 FROM generate_series(201, 300) g;
-- columns that older rows do not have
ALTER TABLE al ADD COLUMN d int;
ALTER TABLE al ADD COLUMN e text DEFAULT 'default e';
ALTER TABLE al ADD COLUMN f int NOT NULL DEFAULT 42;
ALTER TABLE al ADD COLUMN g timestamptz DEFAULT '2001-01-01 00:00+00';
SET timezone = 'UTC';
SELECT * FROM al WHERE id IN (1, 200, 201, 300) ORDER BY id;
SELECT count(d), count(e), sum(f), count(*) FILTER (WHERE e = 'default e') FROM al;
INSERT INTO al (id, d, e) VALUES (301, 1, NULL);
UPDATE al SET d = 7 WHERE id IN (1, 300);
CALL test_migrate('al');
SELECT * FROM al WHERE id IN (1, 200, 201, 300, 301) ORDER BY id;
SELECT count(*) FROM al WHERE f = 42 AND e IS NOT NULL;
ALTER TABLE al ALTER COLUMN f SET DEFAULT 43;
INSERT INTO al (id) VALUES (302);
SELECT id, f FROM al WHERE f <> 42 OR id = 5 ORDER BY id;
-- a default that has to be computed for each row rewrites
ALTER TABLE al ADD COLUMN s bigserial;
SELECT count(DISTINCT s), min(s), max(s) FROM al;
ALTER TABLE al ADD COLUMN h int GENERATED ALWAYS AS (a + 1) STORED;
SELECT sum(h) - sum(a) FROM al WHERE a IS NOT NULL;
-- dropping, before and after migration, and adding one of the same name
ALTER TABLE al DROP COLUMN c;
SELECT * FROM al WHERE id = 200;
ALTER TABLE al ADD COLUMN c text DEFAULT 'new c';
CALL test_migrate('al');
SELECT * FROM al WHERE id = 200;
ALTER TABLE al DROP COLUMN e;
UPDATE al SET b = b || '+' WHERE id = 200;
SELECT * FROM al WHERE id = 200;
VACUUM FULL al;
SELECT * FROM al WHERE id = 200;
CALL test_migrate('al');
SELECT * FROM al WHERE id = 200;
-- types
ALTER TABLE al ALTER COLUMN a TYPE bigint;
ALTER TABLE al DROP COLUMN h;
ALTER TABLE al ALTER COLUMN a TYPE bigint;
ALTER TABLE al ALTER COLUMN b TYPE varchar(50);
ALTER TABLE al ALTER COLUMN b TYPE varchar(3);
ALTER TABLE al ALTER COLUMN f TYPE text USING 'f' || f;
SELECT pg_typeof(a), pg_typeof(b), pg_typeof(f), * FROM al WHERE id IN (1, 302) ORDER BY id;
CALL test_migrate('al');
ALTER TABLE al ALTER COLUMN a TYPE text;
SELECT id, a FROM al WHERE a = '20';
-- not null, names, defaults, statistics, storage, options
ALTER TABLE al ALTER COLUMN d SET NOT NULL;
UPDATE al SET d = 0 WHERE d IS NULL;
ALTER TABLE al ALTER COLUMN d SET NOT NULL;
INSERT INTO al (id) VALUES (400);
ALTER TABLE al ALTER COLUMN d DROP NOT NULL;
ALTER TABLE al RENAME COLUMN d TO dd;
ALTER TABLE al RENAME TO al2;
SELECT sum(dd) FROM al2;
ALTER TABLE al2 RENAME TO al;
ALTER TABLE al ALTER COLUMN b SET STATISTICS 10, ALTER COLUMN b SET STORAGE EXTERNAL;
ALTER TABLE al SET (fillfactor = 70, autovacuum_enabled = off);
ALTER TABLE al RESET (fillfactor);
ALTER TABLE al REPLICA IDENTITY FULL;
CREATE SCHEMA al_s;
ALTER TABLE al SET SCHEMA al_s;
CALL test_migrate('al_s.al');
SELECT count(*) FROM al_s.al;
ALTER TABLE al_s.al SET SCHEMA public;
DROP SCHEMA al_s;
ALTER TABLE al SET WITHOUT CLUSTER;
CLUSTER al USING al_pkey;
SELECT * FROM test_digest('al');
-- several at once
ALTER TABLE al ADD COLUMN m1 int DEFAULT 1, DROP COLUMN g, ALTER COLUMN id TYPE bigint, ADD CHECK (id > 0), ADD UNIQUE (s);
CALL test_migrate('al');
SELECT * FROM al WHERE id = 7;
-- taken back
BEGIN;
ALTER TABLE al ADD COLUMN gone int DEFAULT 9;
UPDATE al SET gone = 10 WHERE id = 7;
ALTER TABLE al ALTER COLUMN m1 TYPE text;
DELETE FROM al WHERE id < 7;
SELECT * FROM al WHERE id <= 7;
ROLLBACK;
SELECT * FROM al WHERE id = 7;
SELECT count(*) FROM al WHERE id <= 7;
-- access methods both ways
CREATE VIEW al_digest AS SELECT * FROM test_digest('al');
SELECT * FROM al_digest;
ALTER TABLE al SET ACCESS METHOD heap;
SELECT * FROM al_digest;
UPDATE al SET m1 = 2 WHERE id % 2 = 0;
SELECT * FROM al_digest;
ALTER TABLE al SET ACCESS METHOD :am;
SELECT * FROM al_digest;
SELECT count(*) FROM al WHERE id = 77;
CALL test_migrate('al');
SELECT * FROM al_digest;
BEGIN;
ALTER TABLE al SET ACCESS METHOD heap;
DELETE FROM al;
ROLLBACK;
SELECT * FROM al_digest;
ALTER TABLE al SET ACCESS METHOD heap, ADD COLUMN n text DEFAULT 'n';
ALTER TABLE al SET ACCESS METHOD :am, ALTER COLUMN n TYPE varchar(5);
CALL test_migrate('al');
SELECT * FROM al_digest;
SELECT test_verify('al');
-- tablespaces
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE behave_space LOCATION '';
ALTER TABLE al SET TABLESPACE behave_space;
SELECT * FROM al_digest;
INSERT INTO al (id) VALUES (5000);
CALL test_migrate('al');
ALTER TABLE al SET TABLESPACE pg_default;
SELECT count(*) FROM al;
CREATE TABLE al_ts (a int) TABLESPACE behave_space;
INSERT INTO al_ts SELECT generate_series(1, 100);
CALL test_migrate('al_ts');
SELECT sum(a) FROM al_ts;
DROP TABLE al_ts;
DROP TABLESPACE behave_space;
DROP VIEW al_digest;
DROP TABLE al;
-- made, filled, changed and dropped in one transaction
BEGIN;
CREATE TABLE al_tx (a int PRIMARY KEY, b text);
INSERT INTO al_tx SELECT g, 'x' FROM generate_series(1, 100) g;
ALTER TABLE al_tx ADD COLUMN c int DEFAULT 3;
UPDATE al_tx SET c = 4 WHERE a <= 50;
ALTER TABLE al_tx ALTER COLUMN a TYPE bigint;
SELECT count(*), sum(c) FROM al_tx;
SAVEPOINT s;
TRUNCATE al_tx;
INSERT INTO al_tx VALUES (1);
ROLLBACK TO s;
SELECT count(*), sum(c) FROM al_tx;
DROP TABLE al_tx;
COMMIT;
BEGIN;
CREATE TABLE al_tx (a int);
INSERT INTO al_tx VALUES (1);
ROLLBACK;
SELECT to_regclass('al_tx');
