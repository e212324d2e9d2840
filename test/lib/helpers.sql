-- What the behavior tests need besides SQL itself.  The same text works with and without vdb_am.

-- Move every row of an ended transaction, of a table and its partitions, to flash.  Does nothing for tables of
-- other access methods, so that a test prints the same for heap.  A procedure, since CALL prints
-- no row.
CREATE OR REPLACE PROCEDURE test_migrate(target regclass)
LANGUAGE plpgsql AS $$
DECLARE
	member regclass;
BEGIN
	FOR member IN
		SELECT c.oid
		FROM pg_catalog.pg_class c
			JOIN pg_catalog.pg_am a ON a.oid = c.relam
		WHERE a.amname = 'vdb'
			AND c.relkind IN ('r', 'm')
			AND (c.oid = target OR c.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree(target)))
		ORDER BY c.oid
	LOOP
		EXECUTE 'SELECT vdb.migrate($1)' USING member;
	END LOOP;
END
$$;

-- How many complaints vdb.verify has about a table; 0 for tables of other access methods.
CREATE OR REPLACE FUNCTION test_verify(target regclass) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
	complaints bigint := 0;
BEGIN
	IF EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_am a ON a.oid = c.relam
			WHERE c.oid = target AND a.amname = 'vdb')
		AND EXISTS (SELECT FROM pg_catalog.pg_proc p
			JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
			WHERE n.nspname = 'vdb' AND p.proname = 'verify')
	THEN
		-- a warning is no damage
		EXECUTE $q$SELECT count(*) FROM vdb.verify($1) v WHERE coalesce(to_jsonb(v)->>'severity', 'error') = 'error'$q$
			INTO complaints USING target;
	END IF;
	RETURN complaints;
END
$$;

-- Wait until no other process has been connected to this database for a second: the snapshot of a worker that is still at
-- work would keep VACUUM from seeing the latest deletes as over.
CREATE OR REPLACE PROCEDURE test_alone()
LANGUAGE plpgsql AS $$
DECLARE
	quiet int := 0;
BEGIN
	WHILE quiet < 20 LOOP
		PERFORM pg_sleep(0.05), pg_stat_clear_snapshot();
		IF EXISTS (SELECT FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()) THEN
			quiet := 0;
		ELSE
			quiet := quiet + 1;
		END IF;
	END LOOP;
END
$$;
