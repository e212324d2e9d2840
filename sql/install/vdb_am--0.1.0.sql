/* vdb_am--0.1.0.sql: what CREATE EXTENSION vdb_am makes */

\echo Use "CREATE EXTENSION vdb_am" to load this file. \quit

CREATE SCHEMA vdb;
COMMENT ON SCHEMA vdb IS 'vdb_am: views, functions and the pool of vdb tables';
GRANT USAGE ON SCHEMA vdb TO PUBLIC;

-- the access methods
CREATE FUNCTION vdb.tableam_handler(internal) RETURNS table_am_handler
	AS 'MODULE_PATHNAME', 'vdb_tableam_handler' LANGUAGE C STRICT;
COMMENT ON FUNCTION vdb.tableam_handler(internal) IS 'handler of the access method vdb';
CREATE ACCESS METHOD vdb TYPE TABLE HANDLER vdb.tableam_handler;
COMMENT ON ACCESS METHOD vdb IS
	'rows land in a pool of storage-class memory and move to compressed columns on flash';

CREATE FUNCTION vdb.poolam_handler(internal) RETURNS table_am_handler
	AS 'MODULE_PATHNAME', 'vdb_poolam_handler' LANGUAGE C STRICT;
COMMENT ON FUNCTION vdb.poolam_handler(internal) IS 'handler of the access method vdb_pool';
CREATE ACCESS METHOD vdb_pool TYPE TABLE HANDLER vdb.poolam_handler;
COMMENT ON ACCESS METHOD vdb_pool IS 'the pool of vdb tables (for vdb.scm alone)';

-- the pool: one relation a database, in the tablespace that vdb.scm_tablespace names
CREATE FUNCTION vdb.check_preload() RETURNS text
	AS 'MODULE_PATHNAME', 'vdb_check_preload' LANGUAGE C STRICT;
SELECT pg_catalog.set_config('default_tablespace', vdb.check_preload(), true);
-- (unlogged, so that no publication has it, not even one for all tables; what is logged of it does not depend on that)
CREATE UNLOGGED TABLE vdb.scm () USING vdb_pool;
SELECT pg_catalog.set_config('default_tablespace', '', true);
COMMENT ON TABLE vdb.scm IS
	'the pool of this database''s vdb tables: storage-class memory, or a file that emulates it';
REVOKE ALL ON vdb.scm FROM PUBLIC;
DROP FUNCTION vdb.check_preload();

-- moving rows
CREATE FUNCTION vdb.migrate(relation regclass) RETURNS bigint
	AS 'MODULE_PATHNAME', 'vdb_migrate_sql' LANGUAGE C STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION vdb.migrate(regclass) IS
	'move all rows of ended transactions from the pool to stripes now; returns how many rows moved';

-- looking at it: the pool
CREATE FUNCTION vdb.pool_statistics(
	OUT path text, OUT persistent boolean, OUT kind text, OUT size_bytes bigint, OUT limit_bytes bigint,
	OUT used_bytes bigint, OUT row_bytes bigint, OUT free_bytes bigint, OUT high_water_bytes bigint,
	OUT released_bytes bigint, OUT epoch bigint, OUT pool_full bigint, OUT backend_migrations bigint, OUT changes bigint, OUT wal_flushes bigint,
	OUT sync_requests bigint, OUT rows_appended bigint, OUT bytes_appended bigint, OUT rows_migrated bigint,
	OUT stripes_written bigint, OUT stripe_bytes_written bigint, OUT visibility_checks bigint) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'vdb_monitor_pool' LANGUAGE C STRICT PARALLEL RESTRICTED ROWS 1;
COMMENT ON FUNCTION vdb.pool_statistics() IS 'the row of the view vdb.pool';

CREATE VIEW vdb.pool AS SELECT * FROM vdb.pool_statistics();
COMMENT ON VIEW vdb.pool IS
	'the pool of this database: where it is, how full, what happened since the server started';
COMMENT ON COLUMN vdb.pool.path IS
	'file of the pool, relative to the data directory; further files of 1 GB have a suffix';
COMMENT ON COLUMN vdb.pool.persistent IS
	'whether the mapping is persistent memory, so that stores are durable without fsync';
COMMENT ON COLUMN vdb.pool.kind IS
	'the same in words: persistent memory, or an ordinary file that emulates it';
COMMENT ON COLUMN vdb.pool.size_bytes IS
	'present size of the pool''s file; it grows in steps, and released_bytes of it may take no disk space';
COMMENT ON COLUMN vdb.pool.limit_bytes IS
	'size up to which the pool may grow: vdb.scm_size';
COMMENT ON COLUMN vdb.pool.used_bytes IS
	'bytes in use, in units of 64 KiB: rows, and metadata of tables and stripes';
COMMENT ON COLUMN vdb.pool.row_bytes IS
	'of used_bytes, those of row segments: what migration can free';
COMMENT ON COLUMN vdb.pool.free_bytes IS
	'limit_bytes (or size_bytes less released_bytes, if larger) less used_bytes';
COMMENT ON COLUMN vdb.pool.high_water_bytes IS
	'the most that used_bytes was since the server started';
COMMENT ON COLUMN vdb.pool.released_bytes IS
	'of size_bytes, those whose disk space is returned, or will be after the next checkpoint';
COMMENT ON COLUMN vdb.pool.epoch IS
	'number of the pool''s epoch: each start of the server after which the pool is changed begins one';
COMMENT ON COLUMN vdb.pool.pool_full IS
	'times that an inserting statement found the pool full, since the server started';
COMMENT ON COLUMN vdb.pool.backend_migrations IS
	'of these, the times that the statement moved rows to stripes itself instead of waiting';
COMMENT ON COLUMN vdb.pool.changes IS
	'changes of the pool, a WAL record each, since the server started';
COMMENT ON COLUMN vdb.pool.wal_flushes IS
	'of these, the structural ones, which flush WAL before they are applied';
COMMENT ON COLUMN vdb.pool.sync_requests IS
	'times that a file of the pool was queued for the checkpointer''s fsync';
COMMENT ON COLUMN vdb.pool.rows_appended IS
	'row versions that were stored in the pool, since the server started';
COMMENT ON COLUMN vdb.pool.bytes_appended IS
	'bytes of these row versions';
COMMENT ON COLUMN vdb.pool.rows_migrated IS
	'row versions that left the pool for stripes, since the server started';
COMMENT ON COLUMN vdb.pool.stripes_written IS
	'stripes that were put to use, since the server started';
COMMENT ON COLUMN vdb.pool.stripe_bytes_written IS
	'bytes of these stripes';
COMMENT ON COLUMN vdb.pool.visibility_checks IS
	'row versions whose visibility scans had to check, index scans apart; counted when a scan ends';
GRANT SELECT ON vdb.pool TO PUBLIC;

-- ... the tables
CREATE FUNCTION vdb.table_statistics(relation regclass,
	OUT pool_rows bigint, OUT pool_bytes bigint, OUT segments bigint, OUT striped_rows bigint,
	OUT main_fork_bytes bigint, OUT stripes bigint, OUT backlog_segments bigint,
	OUT oldest_unmigrated timestamptz, OUT last_migration timestamptz, OUT rows_migrated bigint,
	OUT dead_items bigint, OUT write_amplification float8) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'vdb_monitor_table' LANGUAGE C STRICT PARALLEL RESTRICTED ROWS 1;
COMMENT ON FUNCTION vdb.table_statistics(regclass) IS
	'the columns of the view vdb.tables for one table';

CREATE VIEW vdb.tables AS
	SELECT c.oid::regclass AS relation, f.*, c.relpersistence = 'p' AS logged
	FROM pg_catalog.pg_class c
		JOIN pg_catalog.pg_am a ON a.oid = c.relam AND a.amname = 'vdb'
		LEFT JOIN LATERAL vdb.table_statistics(c.oid) f ON true
	WHERE c.relpersistence <> 't' OR c.relnamespace = pg_catalog.pg_my_temp_schema();
COMMENT ON VIEW vdb.tables IS
	'vdb tables: rows and bytes in the pool and in stripes, and what waits to be migrated';
COMMENT ON COLUMN vdb.tables.relation IS
	'the table';
COMMENT ON COLUMN vdb.tables.pool_rows IS
	'row versions in the pool, dead ones included';
COMMENT ON COLUMN vdb.tables.pool_bytes IS
	'bytes of the pool that these take: 64 KiB for each segment';
COMMENT ON COLUMN vdb.tables.segments IS
	'row segments of 64 KiB in the pool';
COMMENT ON COLUMN vdb.tables.striped_rows IS
	'row versions in stripes; dead ones count until VACUUM or migration removes them';
COMMENT ON COLUMN vdb.tables.main_fork_bytes IS
	'size of the table''s main fork: stripes, wide rows and free pages';
COMMENT ON COLUMN vdb.tables.stripes IS
	'stripes in the main fork';
COMMENT ON COLUMN vdb.tables.backlog_segments IS
	'segments that no session appends to: what migration could move, but for open transactions';
COMMENT ON COLUMN vdb.tables.oldest_unmigrated IS
	'time since which rows may be waiting for migration; null if no row is in the pool';
COMMENT ON COLUMN vdb.tables.last_migration IS
	'time of the last complete migration of the table; null if there was none';
COMMENT ON COLUMN vdb.tables.rows_migrated IS
	'row versions that moved from the pool to stripes, since the table was made';
COMMENT ON COLUMN vdb.tables.dead_items IS
	'row numbers whose row version was removed, and whose index entries VACUUM has yet to delete';
COMMENT ON COLUMN vdb.tables.write_amplification IS
	'bytes of stripes written per byte of rows migrated, since the table was made';
COMMENT ON COLUMN vdb.tables.logged IS
	'false for unlogged and temporary tables';
GRANT SELECT ON vdb.tables TO PUBLIC;

-- ... what backends share of stripes
CREATE FUNCTION vdb.cache_statistics(
	OUT size_bytes bigint, OUT used_bytes bigint, OUT entries bigint,
	OUT hits bigint, OUT misses bigint, OUT evictions bigint) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'vdb_monitor_cache' LANGUAGE C STRICT PARALLEL SAFE ROWS 1;
COMMENT ON FUNCTION vdb.cache_statistics() IS 'the row of the view vdb.cache';

CREATE VIEW vdb.cache AS SELECT * FROM vdb.cache_statistics();
COMMENT ON VIEW vdb.cache IS
	'the server''s shared cache of decoded pieces of stripes, since the server started';
COMMENT ON COLUMN vdb.cache.size_bytes IS
	'size of the shared cache: vdb.shared_cache';
COMMENT ON COLUMN vdb.cache.used_bytes IS
	'bytes of it in use';
COMMENT ON COLUMN vdb.cache.entries IS
	'pieces of stripes in it';
COMMENT ON COLUMN vdb.cache.hits IS
	'times that a piece was looked for and found, since the server started';
COMMENT ON COLUMN vdb.cache.misses IS
	'times that a piece was looked for and not found, since the server started';
COMMENT ON COLUMN vdb.cache.evictions IS
	'pieces that were dropped to make room for others, since the server started';
GRANT SELECT ON vdb.cache TO PUBLIC;

-- ... one table's parts
CREATE FUNCTION vdb.stripes(relation regclass,
	OUT stripe bigint, OUT range bigint, OUT first_page bigint, OUT pages bigint, OUT rows bigint,
	OUT chunks integer, OUT columns integer, OUT logical_blocks integer, OUT frozen boolean,
	OUT in_doubt boolean, OUT min_xmin xid, OUT max_xmin xid, OUT bytes bigint, OUT row_bytes bigint,
	OUT written_at timestamptz, OUT deleted_rows bigint, OUT delta_rows bigint,
	OUT spilled_rows bigint) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'vdb_monitor_stripes' LANGUAGE C STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION vdb.stripes(regclass) IS
	'the stripes of a vdb table: row numbers, pages, rows, deleted and changed rows';

CREATE FUNCTION vdb.chunks(relation regclass,
	OUT stripe bigint, OUT chunk integer, OUT "column" name, OUT rows bigint, OUT nulls bigint,
	OUT bytes bigint, OUT encodings text, OUT min text, OUT max text) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'vdb_monitor_chunks' LANGUAGE C STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION vdb.chunks(regclass) IS
	'each chunk and column of a vdb table''s stripes: encoding, bytes, nulls, minimum and maximum';

CREATE FUNCTION vdb.segments(relation regclass,
	OUT pool_block bigint, OUT first_logical_block bigint, OUT row_numbers integer, OUT rows integer,
	OUT removed integer, OUT epoch bigint, OUT state text) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'vdb_monitor_segments' LANGUAGE C STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION vdb.segments(regclass) IS
	'the row segments of a vdb table in the pool: their blocks, rows, and whether a session appends to them';

-- ... and whether all is well: no row, no fault
CREATE FUNCTION vdb.verify(relation regclass,
	OUT severity text, OUT location text, OUT message text) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'vdb_monitor_verify' LANGUAGE C STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION vdb.verify(regclass) IS
	'read everything of a vdb table and its indexes; a row for each fault';

CREATE FUNCTION vdb.verify_pool(
	OUT severity text, OUT location text, OUT message text) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'vdb_monitor_verify_pool' LANGUAGE C STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION vdb.verify_pool() IS
	'compare the pool''s allocation map with what tables refer to; a row for each fault';
REVOKE EXECUTE ON FUNCTION vdb.verify_pool() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION vdb.verify_pool() TO pg_monitor;
