-- What the scripts beside this one share.  Each runs in a database of its own that has schema h, whose tables are heap,
-- and schema v, whose tables have the access method under test (:am; heap when VDB_TEST_AM=heap).
--
--   CALL twice(statement)        runs it in h and in v; {s} in it becomes the schema's name
--   CALL same(query)             its rows must be the same in h and in v, and some
--   CALL moved(table)            moves v.table's rows of ended transactions to flash, and there must be some
--   CALL in_both_places(table)   v.table must have rows in SCM and on flash
--   CALL gives(query, wanted)    its one value, as text, with schema v in front
--   CALL by(query, pattern)      the plan in v must match
--   CALL indexed(query, pattern) its plan in v, sequential scans off, must match, and find the rows that a sequential scan
--                                finds, and some; without bitmaps, unless the pattern asks for one
--   CALL refused(statement, sqlstate)   must fail so in h and in v
--   CALL sound(table)            vdb.verify must not complain about v.table
CREATE SCHEMA h;
CREATE SCHEMA v;
CREATE TABLE public.setting USING heap AS SELECT :'am'::text AS am;

CREATE PROCEDURE enter(twin text) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('search_path', twin || ', public', true),
		set_config('default_table_access_method', CASE twin WHEN 'h' THEN 'heap' ELSE (SELECT am FROM public.setting) END, true);
END $$;

CREATE PROCEDURE twice(statement text) LANGUAGE plpgsql AS $$
DECLARE
	twin text;
BEGIN
	FOREACH twin IN ARRAY '{h,v}'::text[] LOOP
		CALL public.enter(twin);
		EXECUTE replace(statement, '{s}', twin);
	END LOOP;
END $$;

CREATE PROCEDURE gives(query text, wanted text) LANGUAGE plpgsql AS $$
DECLARE
	got text;
BEGIN
	CALL public.enter('v');
	EXECUTE query INTO got;
	IF got IS DISTINCT FROM wanted THEN
		RAISE EXCEPTION 'got %, wanted %: %', got, wanted, query;
	END IF;
END $$;

CREATE PROCEDURE same(query text) LANGUAGE plpgsql AS $$
DECLARE
	heap_rows text[];
	rows text[];
	collect text := 'SELECT array_agg(q::text ORDER BY q::text COLLATE "C") FROM (' || query || ') q';
BEGIN
	CALL public.enter('h');
	EXECUTE replace(collect, '{s}', 'h') INTO heap_rows;
	CALL public.enter('v');
	EXECUTE replace(collect, '{s}', 'v') INTO rows;
	IF heap_rows IS NULL THEN
		RAISE EXCEPTION 'nothing to compare: %', query;
	END IF;
	IF rows IS DISTINCT FROM heap_rows THEN
		RAISE EXCEPTION 'not the same: %', query
			USING DETAIL = left(format('heap: %s  here: %s', heap_rows, rows), 2000);
	END IF;
END $$;

CREATE FUNCTION plan_of(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
	plan text := '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (VERBOSE, COSTS OFF) ' || query LOOP
		plan := plan || line || E'\n';
	END LOOP;
	RETURN plan;
END $$;

CREATE PROCEDURE by(query text, pattern text) LANGUAGE plpgsql AS $$
DECLARE
	plan text;
BEGIN
	CALL public.enter('v');
	plan := public.plan_of(query);
	IF plan !~ pattern THEN
		RAISE EXCEPTION 'no % in the plan of %', pattern, query USING DETAIL = plan;
	END IF;
END $$;

CREATE PROCEDURE indexed(query text, pattern text) LANGUAGE plpgsql AS $$
DECLARE
	by_index text[];
	by_seq text[];
	plan text;
	collect text := 'SELECT array_agg(q::text ORDER BY q::text COLLATE "C") FROM (' || query || ') q';
	bitmap bool := pattern ~ 'Bitmap';
BEGIN
	CALL public.enter('v');
	PERFORM set_config('enable_seqscan', 'off', true), set_config('vdb.enable_custom_scan', 'off', true),
		set_config('enable_indexscan', (NOT bitmap)::text, true), set_config('enable_bitmapscan', bitmap::text, true);
	plan := public.plan_of(collect);
	IF plan !~ pattern OR plan ~ 'Seq Scan|Vdb' THEN
		RAISE EXCEPTION 'no % alone in the plan of %', pattern, query USING DETAIL = plan;
	END IF;
	EXECUTE collect INTO by_index;
	PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_indexscan', 'off', true),
		set_config('enable_bitmapscan', 'off', true);
	plan := public.plan_of(collect);
	IF plan ~ 'Index' THEN
		RAISE EXCEPTION 'an index in the plan of %', query USING DETAIL = plan;
	END IF;
	EXECUTE collect INTO by_seq;
	IF by_seq IS NULL THEN
		RAISE EXCEPTION 'nothing to compare: %', query;
	END IF;
	IF by_index IS DISTINCT FROM by_seq THEN
		RAISE EXCEPTION 'not the same by index and without: %', query
			USING DETAIL = left(format('by index: %s  without: %s', by_index, by_seq), 2000);
	END IF;
END $$;

CREATE PROCEDURE refused(statement text, wanted text) LANGUAGE plpgsql AS $$
DECLARE
	twin text;
	got text;
BEGIN
	FOREACH twin IN ARRAY '{h,v}'::text[] LOOP
		CALL public.enter(twin);
		got := 'success';
		BEGIN
			EXECUTE replace(statement, '{s}', twin);
		EXCEPTION WHEN OTHERS THEN
			got := SQLSTATE;
		END;
		IF got <> wanted THEN
			RAISE EXCEPTION 'got %, wanted % in %: %', got, wanted, twin, statement;
		END IF;
	END LOOP;
END $$;

CREATE PROCEDURE moved(name text) LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
BEGIN
	IF (SELECT am FROM public.setting) = 'heap' THEN RETURN; END IF;
	EXECUTE 'SELECT sum(vdb.migrate(t.relation)) FROM vdb.tables t
		WHERE t.relation = $1 OR t.relation IN (SELECT relid FROM pg_partition_tree($1))'
		INTO n USING format('v.%I', name)::regclass;
	IF n IS NULL OR n = 0 THEN
		RAISE EXCEPTION 'no row of % moved', name;
	END IF;
END $$;

CREATE PROCEDURE in_both_places(name text) LANGUAGE plpgsql AS $$
DECLARE
	t record;
BEGIN
	IF (SELECT am FROM public.setting) = 'heap' THEN RETURN; END IF;
	EXECUTE 'SELECT sum(pool_rows) AS scm, sum(striped_rows) AS flash FROM vdb.tables t
		WHERE t.relation = $1 OR t.relation IN (SELECT relid FROM pg_partition_tree($1))'
		INTO t USING format('v.%I', name)::regclass;
	IF NOT coalesce(t.scm > 0 AND t.flash > 0, false) THEN
		RAISE EXCEPTION 'rows of %: % in SCM, % on flash', name, t.scm, t.flash;
	END IF;
END $$;

CREATE PROCEDURE sound(name text) LANGUAGE plpgsql AS $$
DECLARE
	complaints text;
BEGIN
	IF (SELECT am FROM public.setting) = 'heap' THEN RETURN; END IF;
	EXECUTE $q$SELECT string_agg(v::text, '; ') FROM vdb.tables t, vdb.verify(t.relation) v
		WHERE (t.relation = $1 OR t.relation IN (SELECT relid FROM pg_partition_tree($1))) AND to_jsonb(v)->>'severity' = 'error'$q$
		INTO complaints USING format('v.%I', name)::regclass;
	IF complaints IS NOT NULL THEN
		RAISE EXCEPTION 'vdb.verify of %: %', name, complaints;
	END IF;
END $$;
