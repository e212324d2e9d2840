-- Where collations conflict, a statement has a plan, answers if no row gets to the comparison, and complains as heap does if one does.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/test/lib/regress.sql'
\i :setup
SET max_parallel_workers_per_gather = 0;
SET enable_sort = off;
SET vdb.debug_aggregate = on;
CREATE DOMAIN co_posix AS text COLLATE "POSIX";
CREATE TABLE co_other (p text COLLATE "POSIX", c text COLLATE "C");
INSERT INTO co_other VALUES ('text 3', 'text 3');
CREATE TABLE co_heap (id int, t text, c text COLLATE "C", p co_posix, v varchar(20) COLLATE "C", b char(10) COLLATE "C", n name, i int);
CREATE TABLE co_empty_heap (LIKE co_heap);
CREATE TABLE co_empty (LIKE co_heap) USING vdb;
INSERT INTO co_heap SELECT g, 'text ' || g % 20, 'text ' || g % 20, 'text ' || g % 20, 'text ' || g % 20, 'text ' || g % 20, 'text ' || g % 20, g % 10 FROM generate_series(1, 2000) g;
CREATE TABLE co_pool (LIKE co_heap) USING vdb;
INSERT INTO co_pool SELECT * FROM co_heap;
CREATE TABLE co_striped (LIKE co_heap) USING vdb;
INSERT INTO co_striped SELECT * FROM co_heap;
CALL test_migrate('co_striped');
-- The answers of the heap tables, empty and filled, and what is not so on ours; @ is the table
CREATE FUNCTION co_same(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	pair text[];
	result text := '';
	ours text;
	theirs text;
BEGIN
	FOREACH pair SLICE 1 IN ARRAY ARRAY[['co_empty_heap', 'co_empty'], ['co_heap', 'co_pool'], ['co_heap', 'co_striped']] LOOP
		ours := test_answer(replace(query, '@', pair[2]));
		theirs := test_answer(replace(query, '@', pair[1]));
		IF ours IS DISTINCT FROM theirs THEN RETURN format('%s: %s heap: %s', pair[2], ours, theirs); END IF;
		ours := test_answer('EXPLAIN ' || replace(query, '@', pair[2]));
		IF ours LIKE '_____ %' AND test_answer('EXPLAIN ' || replace(query, '@', pair[1])) <> ours THEN RETURN 'EXPLAIN: ' || ours; END IF;
		result := result || CASE WHEN pair[2] = 'co_striped' THEN '' ELSE coalesce(theirs, 'null') || ' | ' END;
	END LOOP;
	RETURN rtrim(result, ' |');
END $$;
SELECT query, co_same(query)
FROM unnest(ARRAY['SELECT count(*) FROM @ WHERE c = ''text 3''::co_posix', 'SELECT count(*) FROM @ WHERE c <> ''text 3''::co_posix', 'SELECT count(*) FROM @ WHERE c < ''text 3''::co_posix', 'SELECT count(*) FROM @ WHERE ''text 3''::co_posix = c',
	'SELECT count(*) FROM @ WHERE c = (SELECT p FROM co_other)', 'SELECT count(*) FROM @ WHERE t = (SELECT p FROM co_other)', 'SELECT count(*) FROM @ WHERE i < 0 AND c = (SELECT p FROM co_other)', 'SELECT count(*) FROM @ WHERE c IN (''a''::co_posix, ''text 3''::co_posix)',
	'SELECT count(*) FROM @ WHERE v = ''text 3''::co_posix', 'SELECT count(*) FROM @ WHERE b = ''text 3''::co_posix', 'SELECT count(*) FROM @ WHERE n = ''text 3''::co_posix', 'SELECT count(*) FROM @ WHERE c = p', 'SELECT count(*) FROM @ WHERE i < 0 AND c = p',
	'SELECT count(*) FROM @ WHERE c = ''text 3''::co_posix COLLATE "C"', 'SELECT count(*) FROM @ WHERE c COLLATE "POSIX" = ''text 3''::co_posix', 'SELECT count(*) FROM @ WHERE c = ''text 3''::co_posix OR i = 3', 'SELECT count(*) FROM @ WHERE i >= 0 OR c = ''text 3''::co_posix',
	'SELECT count(*) FROM (SELECT v, count(*) FROM (SELECT c || p AS v FROM @) s GROUP BY v) s', 'SELECT count(*) FROM (SELECT v, count(*) FROM (SELECT c || p AS v, i FROM @) s WHERE i < 0 GROUP BY v) s', 'SELECT count(*) FROM (SELECT c || p, count(*) FROM @ WHERE i < 0 GROUP BY c || p) s', 'SELECT count(*) FROM (SELECT DISTINCT c || p FROM @) s', 'SELECT max(c || p) FROM @', 'SELECT min(c || p) FROM @ WHERE i < 0',
	'SELECT count(DISTINCT c || p) FROM @', 'SELECT string_agg(c || p, '','') FROM @ WHERE i < 0', 'SELECT count(*) FILTER (WHERE c = p) FROM @', 'SELECT sum((c = p)::int) FROM @ WHERE i < 0', 'SELECT count(*) FROM (SELECT c = p, count(*) FROM @ GROUP BY 1) s',
	'SELECT count(*) FROM @ a JOIN co_other o ON a.c = o.p', 'SELECT count(*) FROM @ WHERE EXISTS (SELECT FROM co_other o WHERE o.p = c)', 'SELECT count(*) FROM @ WHERE CASE WHEN i < 0 THEN c = p ELSE true END', 'SELECT count(*) FROM @ WHERE (c, p) = (p, c)', 'SELECT count(*) FROM @ WHERE c LIKE ''text 3''::co_posix',
	'SELECT count(*) FROM @ WHERE c = lower(''TEXT 3''::co_posix)']) WITH ORDINALITY q (query, place) ORDER BY place;
EXPLAIN (COSTS OFF) SELECT v, count(*) FROM (SELECT c || p AS v FROM co_striped) s GROUP BY v;
PREPARE co_p(text) AS SELECT count(*) FROM co_striped WHERE c = $1::co_posix;
EXECUTE co_p('text 3');
-- one that doesn't tell strings apart by their bytes is none of the loops'
CREATE COLLATION co_blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
SELECT query, co_same(query) FROM unnest(ARRAY['SELECT count(*) FROM @ WHERE t = ''TEXT 3'' COLLATE co_blind', 'SELECT count(*) FROM @ WHERE t COLLATE co_blind <> ''TEXT 3''', 'SELECT count(*) FROM (SELECT t COLLATE co_blind, count(*) FROM @ GROUP BY 1) s']) query;
DROP TABLE co_other, co_heap, co_empty_heap, co_empty, co_pool, co_striped;
DROP FUNCTION co_same(text);
DROP DOMAIN co_posix;
DROP COLLATION co_blind;
