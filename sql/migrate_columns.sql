-- Rows don't move while an abort may bring columns back, or take columns away: a stripe has the columns of the moment.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/test/lib/regress.sql'
\i :setup
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS vdb_am;
RESET client_min_messages;
CREATE TABLE mc (a int PRIMARY KEY, b text, c int) USING vdb;
INSERT INTO mc SELECT g, 'row ' || g, g FROM generate_series(1, 1000) g;
CREATE FUNCTION mc_striped(name text = 'mc') RETURNS bigint LANGUAGE sql AS $$ SELECT striped_rows FROM vdb.tables WHERE relation = name::regclass $$;
-- a column that is dropped
BEGIN;
ALTER TABLE mc DROP COLUMN c;
SELECT vdb.migrate('mc'), mc_striped();
ROLLBACK;
SELECT count(*), count(c), sum(c) FROM mc;
-- in a subtransaction, with rows of the transaction
BEGIN;
INSERT INTO mc VALUES (1001, 'new', 1001);
SAVEPOINT s;
ALTER TABLE mc DROP COLUMN c;
SET vdb.debug_migrate = 'all';
INSERT INTO mc VALUES (1002, 'newer');
RESET vdb.debug_migrate;
SELECT vdb.migrate('mc'), mc_striped();
ROLLBACK TO s;
COMMIT;
SELECT count(*), count(c), sum(c) FROM mc;
-- rows in stripes that would be rewritten
SELECT vdb.migrate('mc'), mc_striped();
DELETE FROM mc WHERE a <= 500;
BEGIN;
ALTER TABLE mc DROP COLUMN c;
SELECT vdb.migrate('mc'), mc_striped();
ROLLBACK;
SELECT count(*), count(c), sum(c) FROM mc;
-- a column that is added, and then another one in its place
INSERT INTO mc SELECT g, 'row ' || g, g FROM generate_series(2001, 2100) g;
BEGIN;
ALTER TABLE mc ADD COLUMN d int DEFAULT 5;
SELECT vdb.migrate('mc'), mc_striped();
ROLLBACK;
ALTER TABLE mc ADD COLUMN d text DEFAULT 'five';
SELECT count(*), count(DISTINCT d), min(d) FROM mc;
-- after the commit they move
BEGIN;
ALTER TABLE mc DROP COLUMN b;
COMMIT;
SELECT vdb.migrate('mc') > 0 AS moved;
SELECT count(*), sum(c), min(d) FROM mc;
-- a table whose storage ends with the change moves at once
BEGIN;
SET LOCAL vdb.debug_migrate = 'all';
CREATE TABLE mc_new (a int, b text) USING vdb;
ALTER TABLE mc_new ADD COLUMN c int DEFAULT 1;
INSERT INTO mc_new SELECT g FROM generate_series(1, 100) g;
SELECT mc_striped('mc_new');
SAVEPOINT s;
INSERT INTO mc_new SELECT g FROM generate_series(1, 100) g;
SELECT mc_striped('mc_new');
ALTER TABLE mc_new DROP COLUMN c;
INSERT INTO mc_new SELECT g FROM generate_series(1, 100) g;
SELECT mc_striped('mc_new');
ROLLBACK TO s;
SELECT count(*), sum(c) FROM mc_new;
ALTER TABLE mc_new ALTER a TYPE bigint;
SELECT count(*), sum(c), mc_striped('mc_new') FROM mc_new;
COMMIT;
SELECT count(*), sum(a), sum(c) FROM mc_new;
-- what ended well before does not end alone: made and changed in subtransactions that are over
BEGIN;
SET LOCAL vdb.debug_migrate = 'all';
SAVEPOINT s; CREATE TABLE mc_late (a int) USING vdb; RELEASE s;
SAVEPOINT s; INSERT INTO mc_late SELECT generate_series(1, 100); RELEASE s;
SELECT mc_striped('mc_late');
SAVEPOINT s; ALTER TABLE mc_late ADD COLUMN b int DEFAULT 1; RELEASE s;
SAVEPOINT s; INSERT INTO mc_late SELECT generate_series(101, 200); RELEASE s;
SELECT mc_striped('mc_late');
-- one that is open does
SAVEPOINT s; ALTER TABLE mc_late DROP COLUMN b;
SAVEPOINT t; INSERT INTO mc_late SELECT generate_series(201, 300); RELEASE t;
SELECT mc_striped('mc_late');
ROLLBACK TO s;
COMMIT;
SELECT count(*), sum(b), mc_striped('mc_late') FROM mc_late;
DROP TABLE mc, mc_new, mc_late;
DROP FUNCTION mc_striped;
