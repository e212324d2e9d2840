-- Views and functions that look at vdb tables, and the verifier on healthy ones.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS vdb_am;
RESET client_min_messages;
-- the pool
SELECT path <> '' AS has_path, persistent = (kind = 'persistent memory') AS kind_agrees,
	size_bytes > 0 AS has_size, used_bytes <= high_water_bytes AS under_high_water,
	used_bytes + free_bytes = greatest(size_bytes, limit_bytes) AS adds_up
FROM vdb.pool;
-- a table without rows, with rows in SCM, on flash, in both
CREATE TABLE mon (id int PRIMARY KEY, grp int, txt text, num numeric(10,2), day date, gone int, flag boolean) USING vdb;
CREATE VIEW mon_figures AS
	SELECT relation, pool_rows + striped_rows AS rows, striped_rows, rows_migrated, segments * 65536 = pool_bytes AS bytes_agree,
		oldest_unmigrated IS NOT NULL AS waiting, last_migration IS NOT NULL AS migrated, write_amplification < 1 AS small, logged
	FROM vdb.tables WHERE relation = 'mon'::regclass;
SELECT * FROM mon_figures;
SELECT * FROM vdb.stripes('mon');
SELECT * FROM vdb.chunks('mon');
SELECT * FROM vdb.segments('mon');
SELECT * FROM vdb.verify('mon');
BEGIN;
INSERT INTO mon SELECT g, g % 10, 'txt ' || g % 50, g / 4.0, date '2001-01-01' + g / 100, 0, CASE WHEN g % 3 > 0 THEN g % 2 = 0 END
FROM generate_series(1, 20000) g;
SELECT sum(rows) AS rows, min(row_numbers) >= 256 AS row_numbers, sum(removed) AS removed, bool_or(state = 'owned') AS owned FROM vdb.segments('mon');
COMMIT;
CREATE INDEX mon_txt ON mon (txt COLLATE "C" DESC NULLS FIRST, grp) INCLUDE (num);
CREATE INDEX mon_part ON mon (day) WHERE grp = 3;
CREATE INDEX mon_expr ON mon ((id % 100), lower(txt));
CREATE INDEX mon_hash ON mon USING hash (grp);
CREATE INDEX mon_spgist ON mon USING spgist (txt);
CREATE INDEX mon_brin ON mon USING brin (day);
ALTER TABLE mon DROP COLUMN gone;
SELECT rows, bytes_agree, logged FROM mon_figures;
SELECT * FROM vdb.verify('mon');
SELECT vdb.migrate('mon') > 0 OR (SELECT pool_rows = 0 FROM vdb.tables WHERE relation = 'mon'::regclass) AS moved;
SELECT * FROM mon_figures;
SELECT count(*) FROM vdb.segments('mon');
SELECT * FROM vdb.verify('mon');
SELECT sum(rows) AS rows, min(columns) AS columns, bool_and(pages > 0 AND bytes < row_bytes) AS small,
	sum(deleted_rows) AS deleted, sum(delta_rows) AS delta_rows, bool_or(frozen) IS NOT NULL AS frozen
FROM vdb.stripes('mon');
SELECT "column", sum(rows) AS rows, sum(nulls) AS nulls, sum(bytes) > 0 AS bytes, bool_and(encodings <> '') AS encoded
FROM vdb.chunks('mon') GROUP BY 1 ORDER BY 1;
SELECT min(min::int), max(max::int) FROM vdb.chunks('mon') WHERE "column" = 'id';
SELECT min(min::date), max(max::date) FROM vdb.chunks('mon') WHERE "column" = 'day';
-- changes over flash
UPDATE mon SET txt = 'new ' || id WHERE id % 1000 = 0;
DELETE FROM mon WHERE id % 500 = 1;
SELECT sum(deleted_rows + delta_rows) > 0 AS changed FROM vdb.stripes('mon');
SELECT * FROM vdb.verify('mon');
BEGIN;
INSERT INTO mon VALUES (30001, 3, repeat('wide', 30000), 1, '2002-01-01', true);
UPDATE mon SET grp = 3 WHERE id BETWEEN 100 AND 110;
SAVEPOINT a;
DELETE FROM mon WHERE id < 50;
ROLLBACK TO a;
SELECT * FROM vdb.verify('mon');
COMMIT;
ALTER TABLE mon ADD COLUMN later text DEFAULT 'x';
SELECT * FROM vdb.verify('mon');
VACUUM (FREEZE) mon;
SELECT * FROM vdb.verify('mon');
SELECT vdb.migrate('mon') >= 0;
SELECT * FROM vdb.verify('mon');
SELECT * FROM vdb.verify_pool();
-- other kinds
CREATE UNLOGGED TABLE mon_unlogged (a int, b point) USING vdb;
CREATE INDEX ON mon_unlogged USING gist (b);
INSERT INTO mon_unlogged SELECT g, point(g, -g) FROM generate_series(1, 500) g;
INSERT INTO mon_unlogged VALUES (0, NULL);
CREATE TEMP TABLE mon_temp (a int PRIMARY KEY) USING vdb;
INSERT INTO mon_temp SELECT generate_series(1, 300);
SELECT relation, pool_rows + striped_rows AS rows, logged FROM vdb.tables
WHERE relation IN ('mon_unlogged'::regclass, 'mon_temp'::regclass) ORDER BY relation::text;
SELECT * FROM vdb.verify('mon_unlogged');
SELECT * FROM vdb.verify('mon_temp');
CREATE MATERIALIZED VIEW mon_mat USING vdb AS SELECT id, txt FROM mon WHERE id <= 10;
SELECT * FROM vdb.verify('mon_mat');
-- a deferred unique constraint may be violated for a while
CREATE TABLE mon_defer (a int UNIQUE DEFERRABLE INITIALLY DEFERRED) USING vdb;
BEGIN;
INSERT INTO mon_defer VALUES (1), (1);
SELECT * FROM vdb.verify('mon_defer');
ROLLBACK;
-- a row that ON CONFLICT stored and took back, since another came first, has no xmin
CREATE TABLE mon_back (k int, v int) USING vdb;
CREATE FUNCTION mon_come_first() RETURNS void LANGUAGE plpgsql AS
	$$ BEGIN INSERT INTO mon_back VALUES (7, 0); END $$;
-- called for the index entry of (7, 1), when k has been looked for in vain
CREATE FUNCTION mon_first(v int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
	IF v = 1 AND set_config('test.calls', (current_setting('test.calls')::int + 1)::text, false) = '1' THEN
		PERFORM mon_come_first();
	END IF;
	RETURN v;
END $$;
CREATE INDEX ON mon_back (mon_first(v));
ALTER TABLE mon_back ADD UNIQUE (k);
SET test.calls = 0;
INSERT INTO mon_back VALUES (7, 1) ON CONFLICT (k) DO NOTHING;
RESET test.calls;
SELECT ctid, * FROM mon_back;
SELECT * FROM vdb.verify('mon_back');
-- who may
CREATE ROLE regress_mon_reader;
GRANT SELECT ON mon TO regress_mon_reader;
CREATE TABLE mon_secret (a int) USING vdb;
INSERT INTO mon_secret SELECT generate_series(1, 10);
SELECT vdb.migrate('mon_secret') >= 0;
SET ROLE regress_mon_reader;
SELECT count(*) FROM vdb.pool;
SELECT count(*) FROM vdb.tables WHERE relation::text = 'mon';
SELECT count(*) > 0 FROM vdb.stripes('mon');
SELECT count(*) > 0 FROM vdb.chunks('mon');
SELECT count(*) FROM vdb.stripes('mon_secret');
SELECT count(*) FROM vdb.chunks('mon_secret');
SELECT * FROM vdb.verify('mon');
SELECT * FROM vdb.verify_pool();
RESET ROLE;
GRANT SELECT ON mon_secret TO regress_mon_reader;
ALTER TABLE mon_secret ENABLE ROW LEVEL SECURITY;
SET ROLE regress_mon_reader;
SELECT "column", rows, min, max FROM vdb.chunks('mon_secret');
RESET ROLE;
SELECT "column", rows, min, max FROM vdb.chunks('mon_secret');
-- on what isn't a vdb table
CREATE TABLE mon_heap (a int) USING heap;
SELECT * FROM vdb.verify('mon_heap');
SELECT * FROM vdb.chunks('mon_figures');
SELECT * FROM vdb.stripes('pg_class');
SELECT * FROM vdb.segments(0);
DROP VIEW mon_figures;
DROP MATERIALIZED VIEW mon_mat;
DROP TABLE mon, mon_unlogged, mon_temp, mon_defer, mon_back, mon_secret, mon_heap;
DROP FUNCTION mon_first, mon_come_first;
DROP ROLE regress_mon_reader;
