-- How many rows the planner is told of, without ANALYZE and long after it.
CREATE FUNCTION estimated(query text) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
	RETURN plan->0->'Plan'->>'Plan Rows';
END $$;
CREATE FUNCTION within(query text, low numeric, high numeric) RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN e BETWEEN low AND high THEN 'within' ELSE e::text END FROM estimated(query) e $$;

-- a small table that nobody has analysed is taken to grow, as heap takes it
CREATE TABLE new_heap (id int, v text) USING heap WITH (autovacuum_enabled = off);
CREATE TABLE new_vdb (id int, v text) USING vdb WITH (autovacuum_enabled = off);
SELECT estimated('SELECT * FROM new_heap') = estimated('SELECT * FROM new_vdb') AS empty_alike;
INSERT INTO new_heap VALUES (1, 'one'), (2, 'two');
INSERT INTO new_vdb VALUES (1, 'one'), (2, 'two');
SELECT estimated('SELECT * FROM new_heap') = estimated('SELECT * FROM new_vdb') AS in_scm_alike;
DO $$ BEGIN PERFORM vdb.migrate('new_vdb'); END $$;
SELECT estimated('SELECT * FROM new_heap') = estimated('SELECT * FROM new_vdb') AS on_flash_alike;

-- row numbers of versions that are gone don't count: never analysed, and analysed when it was new
CREATE TABLE churned (id int, v int) USING vdb WITH (autovacuum_enabled = off);
CREATE TABLE analysed (id int, v int) USING vdb WITH (autovacuum_enabled = off);
INSERT INTO churned SELECT g, 0 FROM generate_series(1, 4000) g;
INSERT INTO analysed SELECT g, 0 FROM generate_series(1, 4000) g;
ANALYZE analysed;
SELECT within('SELECT * FROM churned', 2000, 8000), within('SELECT * FROM analysed', 3900, 4100);
DO $$ BEGIN FOR i IN 1..6 LOOP
	UPDATE churned SET v = v + 1;
	UPDATE analysed SET v = v + 1;
	COMMIT;
	PERFORM vdb.migrate('churned'), vdb.migrate('analysed');
	COMMIT;
END LOOP; END $$;
SELECT within('SELECT * FROM churned', 2000, 10000), within('SELECT * FROM analysed', 3900, 10000);
DROP FUNCTION within, estimated;
DROP TABLE new_heap, new_vdb, churned, analysed;
