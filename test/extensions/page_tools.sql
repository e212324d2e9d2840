-- COPY (FREEZE), and what reads pages by number: each has the right answer on a vdb table, or an error with a hint.
CREATE EXTENSION pg_visibility;
CREATE EXTENSION pageinspect;
CREATE EXTENSION pg_prewarm;
CREATE EXTENSION pg_freespacemap;
CREATE EXTENSION pg_buffercache;
CREATE EXTENSION pgstattuple;
CREATE EXTENSION pgrowlocks;
CREATE EXTENSION pg_surgery;
CREATE EXTENSION amcheck;
CREATE TABLE source (id int, a text) USING heap;
INSERT INTO source SELECT i, 'x' || i FROM generate_series(1, 3000) i;

-- A statement must fail so on v, with this in the message; on heap it need not.
CREATE PROCEDURE fails(statement text, pattern text) LANGUAGE plpgsql AS $$
DECLARE
	message text;
	hint text;
BEGIN
	IF (SELECT am FROM setting) = 'heap' THEN RETURN; END IF;
	CALL enter('v');
	BEGIN
		EXECUTE statement;
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
	END;
	IF message IS NULL OR message || ' / ' || hint !~ pattern THEN
		RAISE EXCEPTION 'got %, hint %: %', message, hint, statement;
	END IF;
END $$;

-- Frozen in the statement's own transaction; the marks are there at once, in all blocks but none 'all frozen'.
SET default_table_access_method = :am;
BEGIN;
CREATE TABLE v.f (id int PRIMARY KEY, a text);
\copy v.f FROM PROGRAM 'seq 1 3000 | while read i; do echo "$i x$i"; done' WITH (FREEZE, DELIMITER ' ')
SELECT CASE WHEN count(*) = 3000 AND min(id) = 1 AND max(id) = 3000 THEN 'own rows are seen' END FROM v.f;
-- wanted: own rows are seen
COMMIT;
\set vdb 'EXISTS (SELECT FROM public.setting WHERE am <> \'heap\')'
CALL gives('SELECT count(*) FROM f WHERE a = ''x'' || id', '3000');
CALL gives('SELECT NOT ' || :'vdb' || ' OR bool_and(all_visible) AND NOT bool_or(all_frozen) FROM pg_visibility_map(''v.f'')', 'true');
CALL gives('SELECT NOT ' || :'vdb' || ' OR (SELECT pool_rows = 0 AND striped_rows = 3000 FROM vdb.tables WHERE relation = ''v.f''::regclass)', 'true');
CALL sound('f');
-- truncated and loaded again; an aborted load leaves nothing
BEGIN;
TRUNCATE v.f;
\copy v.f FROM PROGRAM 'seq 1 3000 | while read i; do echo "$i x$i"; done' WITH (FREEZE, DELIMITER ' ')
ROLLBACK;
CALL gives('SELECT count(*) FROM f WHERE a = ''x'' || id', '3000');
BEGIN;
TRUNCATE v.f;
\copy v.f FROM PROGRAM 'seq 1 3000 | while read i; do echo "$i x$i"; done' WITH (FREEZE, DELIMITER ' ')
DELETE FROM v.f WHERE id % 2 = 0;
COMMIT;
CALL gives('SELECT count(*) FROM f WHERE a = ''x'' || id', '1500');
CALL sound('f');
VACUUM v.f;
CALL gives('SELECT count(*) FROM f', '1500');
CALL sound('f');

-- pg_visibility
CALL fails('SELECT pg_visibility(''f'')', 'function pg_visibility cannot be used on vdb table "f" / Use pg_visibility_map');
CALL fails('SELECT * FROM pg_class c, pg_visibility(c.oid) WHERE relname = ''f''', 'function pg_visibility cannot');
CALL fails('SELECT pg_visibility(''f'', 0)', 'function pg_visibility cannot');
CALL fails('SELECT pg_visibility(''f'', 1000)', 'function pg_visibility cannot');
CALL fails('SELECT pg_check_visible(''f'')', 'function pg_check_visible cannot');
CALL fails('SELECT pg_check_frozen(''f'')', 'function pg_check_frozen cannot');
CALL gives('SELECT count(*) > 0 FROM pg_visibility(''public.source'')', 'true');
CALL gives('SELECT count(*) FROM pg_check_visible(''public.source'')', '0');
CALL gives('SELECT NOT ' || :'vdb' || ' OR all_visible > 0 AND all_frozen = 0 FROM pg_visibility_map_summary(''v.f'')', 'true');

-- page by page: what the main fork has, and no more
CALL gives('SELECT pg_prewarm(''f'') = pg_relation_size(''f'') / 8192 AND pg_prewarm(''f'') > 1', 'true');
CALL gives('SELECT pg_prewarm(''f'', ''read'') = pg_relation_size(''f'') / 8192', 'true');
CALL gives('SELECT count(*) = pg_relation_size(''f'') / 8192 FROM pg_buffercache WHERE relfilenode = pg_relation_filenode(''f'') AND relforknumber = 0', 'true');
CALL gives('SELECT bool_and(length(get_raw_page(''f'', b::int)) = 8192) FROM generate_series(0, pg_relation_size(''f'') / 8192 - 1) b', 'true');
CALL fails('SELECT get_raw_page(''f'', (pg_relation_size(''f'') / 8192)::int)', 'out of range for relation "f"');
CALL gives('SELECT count(*) > 0 FROM pg_freespace(''f'')', 'true');

-- what asks for the access method by itself
CALL fails('SELECT pgstattuple(''f'')', 'only heap AM is supported');
CALL fails('SELECT pgstattuple_approx(''f'')', 'only heap AM is supported');
CALL fails('SELECT pgrowlocks(''f'')', 'only heap AM is supported');
CALL fails('SELECT verify_heapam(''f'')', 'only heap AM is supported');
CALL fails('SELECT heap_force_freeze(''f'', ARRAY[''(0,1)''::tid])', 'only heap AM is supported');
CALL fails('SELECT heap_force_kill(''f'', ARRAY[''(0,1)''::tid])', 'only heap AM is supported');
CALL gives('SELECT count(*) FROM f', '1500');
