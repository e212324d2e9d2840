\set ECHO none
-- What regression tests need, whichever of them run: they begin with \i of this file, which may be read any number of times.
-- Sets :am, the access method: with VDB_TEST_AM=heap the behave_ files run without the extension, and must print the same.
\getenv am VDB_TEST_AM
\if :{?am}
\else
\set am vdb
\endif
SET client_min_messages = warning;
SELECT :'am' = 'vdb' AS want_vdb \gset
\if :want_vdb
CREATE EXTENSION IF NOT EXISTS vdb_am;
\endif
\set helpers :abs_srcdir '/test/lib/helpers.sql'
\i :helpers
-- What a table holds, in one line: rows, distinct rows, and a sum over all their bytes.
CREATE OR REPLACE FUNCTION test_digest(target regclass, OUT row_count bigint, OUT distinct_rows bigint, OUT digest numeric)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('SELECT count(*), count(DISTINCT x::text), sum(hashtextextended(x::text, 0)) FROM %s x', target)
		INTO row_count, distinct_rows, digest;
END
$$;
-- Run a query with one way of scanning forced and give its rows as text.
CREATE OR REPLACE FUNCTION test_scan(how text, query text) RETURNS SETOF text
LANGUAGE plpgsql AS $$
BEGIN
	-- costs of disabled scans would call for JIT, which only takes time here
	PERFORM set_config('jit', 'off', true);
	PERFORM set_config('enable_seqscan', (how = 'seq')::text, true);
	PERFORM set_config('enable_indexscan', (how IN ('index', 'indexonly'))::text, true);
	PERFORM set_config('enable_indexonlyscan', (how = 'indexonly')::text, true);
	PERFORM set_config('enable_bitmapscan', (how = 'bitmap')::text, true);
	PERFORM set_config('max_parallel_workers_per_gather', CASE how WHEN 'parallel' THEN '2' ELSE '0' END, true);
	IF how = 'parallel' THEN
		PERFORM set_config('enable_seqscan', 'on', true);
		PERFORM set_config('parallel_setup_cost', '0', true);
		PERFORM set_config('parallel_tuple_cost', '0', true);
		PERFORM set_config('min_parallel_table_scan_size', '0', true);
	END IF;
	RETURN QUERY EXECUTE format('SELECT x::text FROM (%s) x', query);
END
$$;
-- The same query by every way of scanning: one line a way, which should not differ.
CREATE OR REPLACE FUNCTION test_all_scans(query text, OUT how text, OUT row_count bigint, OUT digest numeric) RETURNS SETOF record
LANGUAGE plpgsql AS $$
BEGIN
	FOREACH how IN ARRAY ARRAY['seq', 'index', 'indexonly', 'bitmap', 'parallel'] LOOP
		SELECT count(*), sum(hashtextextended(t, 0)) INTO row_count, digest FROM test_scan(how, query) t;
		RETURN NEXT;
	END LOOP;
END
$$;
-- The first value that a query gives, or its error.
CREATE OR REPLACE FUNCTION test_answer(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	EXECUTE query INTO answer;
	RETURN answer;
EXCEPTION WHEN OTHERS THEN
	RETURN sqlstate || ' ' || sqlerrm;
END $$;
RESET client_min_messages;
\set ECHO all
