/* vdb_am--0.1.0.sql: what CREATE EXTENSION vdb_am makes */

\echo Use "CREATE EXTENSION vdb_am" to load this file. \quit

CREATE SCHEMA vdb;
COMMENT ON SCHEMA vdb IS 'vdb_am: views, functions and the pool of vdb tables';
GRANT USAGE ON SCHEMA vdb TO PUBLIC;

-- the access methods
CREATE FUNCTION vdb.tableam_handler(internal) RETURNS table_am_handler
	AS 'MODULE_PATHNAME', 'vdb_tableam_handler' LANGUAGE C STRICT;
CREATE ACCESS METHOD vdb TYPE TABLE HANDLER vdb.tableam_handler;
COMMENT ON ACCESS METHOD vdb IS 'rows land in storage-class memory and move to compressed columns on flash';

CREATE FUNCTION vdb.poolam_handler(internal) RETURNS table_am_handler
	AS 'MODULE_PATHNAME', 'vdb_poolam_handler' LANGUAGE C STRICT;
CREATE ACCESS METHOD vdb_pool TYPE TABLE HANDLER vdb.poolam_handler;
COMMENT ON ACCESS METHOD vdb_pool IS 'the pool of vdb tables (for vdb.scm alone)';

-- the pool: one relation a database, in the tablespace that vdb.scm_tablespace names
CREATE FUNCTION vdb.check_preload() RETURNS text
	AS 'MODULE_PATHNAME', 'vdb_check_preload' LANGUAGE C STRICT;
SELECT pg_catalog.set_config('default_tablespace', vdb.check_preload(), true);
CREATE TABLE vdb.scm () USING vdb_pool;
SELECT pg_catalog.set_config('default_tablespace', '', true);
COMMENT ON TABLE vdb.scm IS 'the pool: storage-class memory (or a file that stands in for it) of this database''s vdb tables';
REVOKE ALL ON vdb.scm FROM PUBLIC;
DROP FUNCTION vdb.check_preload();

-- moving rows
CREATE FUNCTION vdb.migrate(relation regclass) RETURNS bigint
	AS 'MODULE_PATHNAME', 'vdb_migrate_sql' LANGUAGE C STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION vdb.migrate(regclass) IS 'move all settled rows of a vdb table to stripes now; returns how many rows moved';
