-- How many rows the planner gets, without ANALYZE and long after it.
CREATE FUNCTION estimated(query text) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
	RETURN plan->0->'Plan'->>'Plan Rows';
END $$;
CREATE FUNCTION within(query text, low numeric, high numeric) RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN e BETWEEN low AND high THEN 'within' ELSE e::text END FROM estimated(query) e $$;

-- a small table that was not analyzed is taken to grow, as heap takes it
CREATE TABLE new_heap (id int, v text) USING heap WITH (autovacuum_enabled = off);
CREATE TABLE new_vdb (id int, v text) USING vdb WITH (autovacuum_enabled = off);
SELECT estimated('SELECT * FROM new_heap') = estimated('SELECT * FROM new_vdb') AS empty_alike;
INSERT INTO new_heap VALUES (1, 'one'), (2, 'two');
INSERT INTO new_vdb VALUES (1, 'one'), (2, 'two');
SELECT estimated('SELECT * FROM new_heap') = estimated('SELECT * FROM new_vdb') AS in_scm_alike;
DO $$ BEGIN PERFORM vdb.migrate('new_vdb'); END $$;
SELECT estimated('SELECT * FROM new_heap') = estimated('SELECT * FROM new_vdb') AS on_flash_alike;

-- pages are what its rows take, and what a scan takes to begin (as 20 pages: left out here)
CREATE FUNCTION pages(relation regclass) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN
	SET LOCAL seq_page_cost = 1;
	SET LOCAL cpu_tuple_cost = 0;
	SET LOCAL vdb.enable_custom_scan = off;
	SET LOCAL max_parallel_workers_per_gather = 0;
	EXECUTE 'EXPLAIN (FORMAT json) SELECT FROM ' || relation INTO plan;
	RETURN (plan->0->'Plan'->>'Total Cost')::numeric -
		(SELECT CASE WHEN am.amname = 'vdb' AND (plan->0->'Plan'->>'Total Cost')::numeric > 0 THEN 20 ELSE 0 END
			FROM pg_class c JOIN pg_am am ON am.oid = c.relam WHERE c.oid = relation);
END $$;
CREATE FUNCTION pages_within(relation regclass, low numeric, high numeric) RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN p BETWEEN low AND high THEN 'within' ELSE p::text END FROM pages(relation) p $$;
SELECT pages('new_heap') AS new_heap, pages('new_vdb') AS new_vdb;
ANALYZE new_heap, new_vdb;
SELECT estimated('SELECT * FROM new_vdb') AS rows, pages('new_heap') AS heap, pages_within('new_vdb', 1, 2) AS on_flash;
CREATE TABLE small_heap (id int, v text) USING heap WITH (autovacuum_enabled = off);
CREATE TABLE small_vdb (id int, v text) USING vdb WITH (autovacuum_enabled = off);
ANALYZE small_heap, small_vdb;
SELECT pages('small_heap') AS heap, pages('small_vdb') AS vdb;
INSERT INTO small_heap VALUES (1, 'one'), (2, 'two');
INSERT INTO small_vdb VALUES (1, 'one'), (2, 'two');
ANALYZE small_heap, small_vdb;
SELECT estimated('SELECT * FROM small_vdb') AS rows, pages('small_heap') AS heap, pages('small_vdb') AS vdb;
INSERT INTO small_heap SELECT g, 'more' FROM generate_series(3, 3000) g;
INSERT INTO small_vdb SELECT g, 'more' FROM generate_series(3, 3000) g;
ANALYZE small_heap, small_vdb;
SELECT estimated('SELECT * FROM small_vdb') AS rows, pages_within('small_vdb', pages('small_heap'), pages('small_heap') * 1.5);
-- never analyzed, and past ten pages: what is there
CREATE TABLE large_vdb (id int, v text) USING vdb WITH (autovacuum_enabled = off);
INSERT INTO large_vdb SELECT g, repeat('long ', 10) FROM generate_series(1, 10000) g;
SELECT estimated('SELECT * FROM large_vdb') AS rows,
	pages_within('large_vdb', 10000 / (8192 / (24 + 4 + 4 + 54)), 10000 / (8192 / (24 + 4 + 4 + 54)) * 1.5);
DO $$ BEGIN PERFORM vdb.migrate('large_vdb'); END $$;
SELECT estimated('SELECT * FROM large_vdb') AS rows,
	pages('large_vdb') = (SELECT sum(pages) FROM vdb.stripes('large_vdb')) AS stripes_alone;
-- pages that were given back and not cut off are not read
INSERT INTO large_vdb SELECT g, md5(g::text) || md5((-g)::text) FROM generate_series(1, 20000) g;
DO $$ BEGIN PERFORM vdb.migrate('large_vdb'); END $$;
DELETE FROM large_vdb WHERE id > 100;
DO $$ BEGIN PERFORM vdb.migrate('large_vdb'); END $$;
VACUUM (ANALYZE, TRUNCATE off) large_vdb;
SELECT estimated('SELECT * FROM large_vdb') AS rows,
	pages('large_vdb') = (SELECT sum(pages) FROM vdb.stripes('large_vdb')) AS stripes_alone;
DROP TABLE small_heap, small_vdb, large_vdb;

-- row numbers of versions that are gone don't count: never analyzed, and analyzed when it was new
CREATE TABLE churned (id int, v int) USING vdb WITH (autovacuum_enabled = off);
CREATE TABLE analyzed (id int, v int) USING vdb WITH (autovacuum_enabled = off);
INSERT INTO churned SELECT g, 0 FROM generate_series(1, 4000) g;
INSERT INTO analyzed SELECT g, 0 FROM generate_series(1, 4000) g;
ANALYZE analyzed;
SELECT within('SELECT * FROM churned', 2000, 8000), within('SELECT * FROM analyzed', 3900, 4100);
DO $$ BEGIN FOR i IN 1..6 LOOP
	UPDATE churned SET v = v + 1;
	UPDATE analyzed SET v = v + 1;
	COMMIT;
	PERFORM vdb.migrate('churned'), vdb.migrate('analyzed');
	COMMIT;
END LOOP; END $$;
SELECT within('SELECT * FROM churned', 2000, 10000), within('SELECT * FROM analyzed', 3900, 10000);
SELECT pages_within('churned', 1, 20), pages_within('analyzed', 1, 20);
-- a few rows, updated often in SCM
CREATE TABLE counters (id int, v int) USING vdb WITH (autovacuum_enabled = off);
INSERT INTO counters SELECT g, 0 FROM generate_series(1, 10) g;
ANALYZE counters;
DO $$ BEGIN FOR i IN 1..30 LOOP
	UPDATE counters SET v = v + 1;
	COMMIT;
END LOOP; END $$;
SELECT within('SELECT * FROM counters', 10, 310), pages_within('counters', 1, 3);
VACUUM ANALYZE counters;
SELECT estimated('SELECT * FROM counters') AS rows, pages_within('counters', 1, 3);
DROP FUNCTION within, estimated, pages, pages_within;
DROP TABLE new_heap, new_vdb, churned, analyzed, counters;
