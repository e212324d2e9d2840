-- Moving a table to another tablespace: committed, rolled back, twice in a transaction, with other changes.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/test/lib/regress.sql'
\i :setup
SET default_table_access_method = :am;
SET allow_in_place_tablespaces = true;
CREATE TABLESPACE behave_ts LOCATION '';
CREATE TABLE moved (id int PRIMARY KEY, what text);
INSERT INTO moved SELECT g, 'row ' || g FROM generate_series(1, 3000) g;
CALL test_migrate('moved');
INSERT INTO moved SELECT g, 'row ' || g FROM generate_series(3001, 4000) g;
DELETE FROM moved WHERE id % 10 = 0;
SELECT * FROM test_digest('moved');

-- rolled back: everything is where it was
BEGIN;
ALTER TABLE moved SET TABLESPACE behave_ts;
SELECT * FROM test_digest('moved');
INSERT INTO moved VALUES (5000, 'never');
SET LOCAL client_min_messages = error;
CALL test_migrate('moved');
ROLLBACK;
SELECT * FROM test_digest('moved');
CALL test_migrate('moved');
SELECT * FROM test_digest('moved');

-- rolled back to a savepoint, then there and back and there again
BEGIN;
SAVEPOINT s;
ALTER TABLE moved SET TABLESPACE behave_ts;
UPDATE moved SET what = 'never' WHERE id < 100;
ROLLBACK TO s;
SELECT * FROM test_digest('moved');
ALTER TABLE moved SET TABLESPACE behave_ts;
ALTER TABLE moved SET TABLESPACE pg_default;
ALTER TABLE moved SET TABLESPACE behave_ts;
UPDATE moved SET what = 'kept' WHERE id = 1;
COMMIT;
SELECT count(*), min(what), max(id) FROM moved;
CHECKPOINT;
CALL test_migrate('moved');
SELECT count(*), min(what), max(id) FROM moved;
SELECT * FROM moved WHERE id IN (1, 10, 3999) ORDER BY id;

-- emptied in place after the move: the rows come back with a rollback
BEGIN;
ALTER TABLE moved SET TABLESPACE pg_default;
TRUNCATE moved;
INSERT INTO moved VALUES (1, 'never');
SELECT * FROM moved;
ROLLBACK;
SELECT count(*), min(what), max(id) FROM moved;
BEGIN;
ALTER TABLE moved SET TABLESPACE pg_default;
TRUNCATE moved;
INSERT INTO moved VALUES (1, 'new');
COMMIT;
CALL test_migrate('moved');
SELECT * FROM moved;

-- a move that fails later in its transaction, and a table that is dropped after its move
BEGIN;
ALTER TABLE moved SET TABLESPACE behave_ts;
SELECT 1 / 0;
COMMIT;
SELECT * FROM moved;
BEGIN;
ALTER TABLE moved SET TABLESPACE behave_ts;
DROP TABLE moved;
ROLLBACK;
SELECT * FROM moved;
BEGIN;
ALTER TABLE moved SET TABLESPACE behave_ts;
DROP TABLE moved;
COMMIT;
DROP TABLESPACE behave_ts;
