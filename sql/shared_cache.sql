-- single rows of stripes through the cache that backends share: own copies, pinned pieces, long and missing values
CREATE TABLE sc (id int, n bigint, f float8, t text, nm name, num numeric, wide text, nothing text, u uuid, c "char") USING vdb;
CREATE TABLE sc_heap (LIKE sc) USING heap;
INSERT INTO sc_heap SELECT g, g * 1000003::bigint % 7919, sqrt(g), repeat(md5(g::text), 1 + g % 5), 'n' || g, g / 7.0,
	CASE WHEN g % 1000 = 0 THEN (SELECT string_agg(md5((g * 1000 + i)::text), '') FROM generate_series(1, 400) i) END,
	NULL, md5(g::text)::uuid, chr(65 + g % 26)::"char"
FROM generate_series(0, 19999) g;
INSERT INTO sc SELECT * FROM sc_heap ORDER BY id;
CREATE UNIQUE INDEX sc_id ON sc (id);
SELECT vdb.migrate('sc') > 0 AS moved;
ANALYZE sc;
ANALYZE sc_heap;
-- each row by its index, neighbors far from each other
CREATE FUNCTION sc_look(step int, until int) RETURNS TABLE (looked bigint, wrong bigint) LANGUAGE plpgsql AS $$
DECLARE
	s sc;
	h sc_heap;
BEGIN
	looked := 0;
	wrong := 0;
	FOR h IN SELECT * FROM sc_heap ORDER BY id * step::bigint % 20011 LIMIT until LOOP
		SELECT * INTO s FROM sc WHERE id = h.id;
		looked := looked + 1;
		IF s::text IS DISTINCT FROM h::text THEN
			wrong := wrong + 1;
		END IF;
	END LOOP;
	RETURN NEXT;
END $$;
SELECT size_bytes > 0 AS there, used_bytes <= size_bytes AS fits FROM vdb.cache;
-- nothing is cached: all is read from flash, and shared
SET vdb.stripe_cache = 1;
SELECT * FROM sc_look(7919, 4000);
CREATE TABLE sc_statistics AS SELECT * FROM vdb.cache;
SELECT entries > 0 AS shared FROM sc_statistics;
-- another backend finds it there, whether it asks here and there (pins), or in order (copies)
\c -
SET vdb.stripe_cache = 1;
SELECT * FROM sc_look(7919, 4000);
SELECT * FROM sc_look(1, 20000);
SELECT c.hits - f.hits > 1000 AS hits FROM vdb.cache c, sc_statistics f;
-- updates read the old row there, too
UPDATE sc SET n = n + 1 WHERE id IN (5000, 11000, 15000);
UPDATE sc_heap SET n = n + 1 WHERE id IN (5000, 11000, 15000);
SELECT * FROM sc_look(7919, 20000);
-- a temporary table's rows are its backend's alone
CREATE TEMP TABLE sct (id int PRIMARY KEY, t text) USING vdb;
INSERT INTO sct SELECT g, md5(g::text) FROM generate_series(1, 3000) g;
SELECT vdb.migrate('sct') AS moved;
SELECT t = md5('77') AS same FROM sct WHERE id = 77;
DROP FUNCTION sc_look;
DROP TABLE sc, sc_heap, sc_statistics, sct;
