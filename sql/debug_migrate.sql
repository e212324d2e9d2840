-- vdb.debug_migrate: rows move around every statement, those of transactions in progress too.
CREATE TABLE debug_migrate (id int PRIMARY KEY, note text) USING vdb;
CREATE VIEW debug_counts AS
	SELECT pool_rows, striped_rows, stripes FROM vdb.table_statistics('debug_migrate');
SET vdb.debug_migrate = 'all';
BEGIN;
INSERT INTO debug_migrate SELECT g, 'made' FROM generate_series(1, 1000) g;
SELECT * FROM debug_counts;
SELECT in_doubt, rows FROM vdb.stripes('debug_migrate');
SAVEPOINT s;
UPDATE debug_migrate SET note = 'changed' WHERE id <= 100;
SELECT pool_rows, striped_rows FROM debug_counts;
SELECT note, count(*) FROM debug_migrate GROUP BY 1 ORDER BY 1;
ROLLBACK TO s;
SELECT note, count(*) FROM debug_migrate GROUP BY 1 ORDER BY 1;
COMMIT;
-- the next statement resolves it
SELECT count(*) FROM debug_migrate;
SELECT in_doubt, rows FROM vdb.stripes('debug_migrate');
-- an aborted transaction's rows do not stay
BEGIN;
INSERT INTO debug_migrate SELECT g, 'lost' FROM generate_series(1001, 1100) g;
ROLLBACK;
SELECT count(*) FROM debug_migrate;
SELECT pool_rows, striped_rows FROM debug_counts;
-- a cursor does not lose its place
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM debug_migrate ORDER BY id;
FETCH 2 FROM c;
DELETE FROM debug_migrate WHERE id <= 10;
FETCH 2 FROM c;
COMMIT;
-- temporary tables too
CREATE TEMP TABLE debug_temp (id int) USING vdb;
INSERT INTO debug_temp SELECT generate_series(1, 300);
SELECT pool_rows, striped_rows FROM vdb.table_statistics('debug_temp');
SELECT count(*) FROM debug_temp;
-- 'resolved' leaves rows of this transaction where they are
SET vdb.debug_migrate = 'resolved';
BEGIN;
INSERT INTO debug_temp SELECT generate_series(301, 400);
SELECT pool_rows, striped_rows FROM vdb.table_statistics('debug_temp');
COMMIT;
SELECT pool_rows, striped_rows FROM vdb.table_statistics('debug_temp');
SELECT count(*), min(id), max(id) FROM debug_temp;
RESET vdb.debug_migrate;
SELECT * FROM vdb.verify('debug_migrate');
SELECT * FROM vdb.verify('debug_temp');
DROP VIEW debug_counts;
DROP TABLE debug_migrate, debug_temp;
