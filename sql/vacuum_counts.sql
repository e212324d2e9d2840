-- A VACUUM that removes rows and then fails before it has cleaned the indexes must leave the
-- next one to know that there is something to clean.
CREATE TABLE vc (id int PRIMARY KEY, v text) USING vdb WITH (autovacuum_enabled = off);
INSERT INTO vc SELECT g, 'v' FROM generate_series(1, 1000) g;
DELETE FROM vc WHERE id % 2 = 0;
SET vdb.stop_action = 'error';
SET vdb.stop_point = 'vacuum-before-indexes';
\set VERBOSITY terse
VACUUM vc;
RESET vdb.stop_point;
SELECT dead_items > 0 AS something_to_clean FROM vdb.tables WHERE relation = 'vc'::regclass;
VACUUM vc;
SELECT dead_items > 0 AS something_to_clean FROM vdb.tables WHERE relation = 'vc'::regclass;
SELECT count(*) FROM vc;
DROP TABLE vc;
