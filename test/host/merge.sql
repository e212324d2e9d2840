-- MERGE: all branches, from tables of both kinds, over partitions, with triggers, and its errors.
CREATE TABLE m (id int PRIMARY KEY, v int, t text);
CREATE TABLE src (id int, v int, op text);
CREATE TABLE srch (id int, v int, op text) USING heap;
INSERT INTO m SELECT g, g, 'm' || g FROM generate_series(1, 300) g;
INSERT INTO src SELECT g, g * 2, (ARRAY['upd', 'del', 'not'])[1 + g % 3] FROM generate_series(250, 350) g;
INSERT INTO srch SELECT * FROM src;
MERGE INTO m USING src s ON m.id = s.id
	WHEN MATCHED AND s.op = 'del' THEN DELETE
	WHEN MATCHED AND s.op = 'not' THEN DO NOTHING
	WHEN MATCHED THEN UPDATE SET v = m.v + s.v, t = t || '/' || s.op
	WHEN NOT MATCHED AND s.op = 'not' THEN DO NOTHING
	WHEN NOT MATCHED THEN INSERT (id, t) VALUES (s.id, s.op);
SELECT * FROM m WHERE id >= 245 ORDER BY id;
-- again: rows that were changed and moved
MERGE INTO m USING srch s ON m.id = s.id
	WHEN MATCHED AND m.v IS NULL THEN UPDATE SET v = s.v
	WHEN MATCHED AND m.v > 500 THEN DELETE
	WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.v, 'again');
SELECT count(*), sum(id), sum(v) FROM m;
SELECT * FROM m WHERE id >= 245 ORDER BY id;
-- default values, constant source, no row at all
ALTER TABLE m ALTER t SET DEFAULT 'default';
MERGE INTO m USING (VALUES (1000, 1), (1, 1)) s (id, v) ON m.id = s.id WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.id, s.v);
MERGE INTO m USING (SELECT 1 WHERE false) s ON true WHEN MATCHED THEN DELETE;
MERGE INTO m USING src s ON m.id = s.id AND false WHEN NOT MATCHED AND s.id = 250 THEN INSERT VALUES (s.id + 5000, 0);
SELECT * FROM m WHERE id >= 1000 OR id = 1 ORDER BY id;
-- errors
-- ! 21000
MERGE INTO m USING (VALUES (1), (1)) s (id) ON m.id = s.id WHEN MATCHED THEN UPDATE SET v = 0;
-- ! 21000
MERGE INTO m USING (VALUES (1), (1)) s (id) ON m.id = s.id WHEN MATCHED THEN DELETE;
-- ! 23505
MERGE INTO m USING (VALUES (20000), (20000)) s (id) ON m.id = s.id WHEN NOT MATCHED THEN INSERT VALUES (s.id);
-- ! 23505
MERGE INTO m USING (VALUES (5)) s (id) ON m.id = s.id WHEN MATCHED THEN UPDATE SET id = 6;
SELECT * FROM m WHERE id IN (1, 5, 6, 20000) ORDER BY id;
-- in a transaction, over its own rows, rolled back in part
BEGIN;
INSERT INTO m VALUES (3000, 1, 'own');
UPDATE m SET v = 7777 WHERE id = 10;
SAVEPOINT s;
MERGE INTO m USING (VALUES (3000), (10), (11), (3001)) s (id) ON m.id = s.id
	WHEN MATCHED AND m.v = 7777 THEN DELETE
	WHEN MATCHED THEN UPDATE SET v = coalesce(m.v, 0) + 1
	WHEN NOT MATCHED THEN INSERT VALUES (s.id, 0, 'own merge');
SELECT * FROM m WHERE id IN (10, 11, 3000, 3001) ORDER BY id;
ROLLBACK TO s;
MERGE INTO m USING (VALUES (3000), (10)) s (id) ON m.id = s.id WHEN MATCHED THEN UPDATE SET t = m.t || '!';
COMMIT;
SELECT * FROM m WHERE id IN (10, 11, 3000, 3001) ORDER BY id;
-- triggers of rows and statements
CREATE FUNCTION m_trig() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE '% % %: % -> %', TG_WHEN, TG_OP, TG_LEVEL, CASE WHEN TG_LEVEL = 'ROW' AND TG_OP <> 'INSERT' THEN OLD END,
		CASE WHEN TG_LEVEL = 'ROW' AND TG_OP <> 'DELETE' THEN NEW END;
	IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER br BEFORE INSERT OR UPDATE OR DELETE ON m FOR EACH ROW EXECUTE FUNCTION m_trig();
CREATE TRIGGER ar AFTER INSERT OR UPDATE OR DELETE ON m FOR EACH ROW EXECUTE FUNCTION m_trig();
CREATE TRIGGER bs BEFORE INSERT OR UPDATE OR DELETE ON m FOR EACH STATEMENT EXECUTE FUNCTION m_trig();
CREATE TRIGGER afs AFTER INSERT OR UPDATE OR DELETE ON m FOR EACH STATEMENT EXECUTE FUNCTION m_trig();
MERGE INTO m USING (SELECT * FROM (VALUES (12), (13), (4000)) v (id) ORDER BY id) s ON m.id = s.id
	WHEN MATCHED AND s.id = 12 THEN DELETE
	WHEN MATCHED THEN UPDATE SET v = -1
	WHEN NOT MATCHED THEN INSERT VALUES (s.id, 0, 'triggered');
-- a table into itself, whole
DROP TRIGGER br ON m;
DROP TRIGGER ar ON m;
MERGE INTO m USING m o ON m.id = o.id + 1 WHEN MATCHED THEN UPDATE SET v = o.v WHEN NOT MATCHED THEN INSERT VALUES (o.id + 10000, o.v, o.t);
SELECT count(*), sum(id), sum(v) FROM m;
-- partitions, with rows that move
CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200) USING heap;
CREATE TABLE p3 PARTITION OF p DEFAULT;
INSERT INTO p SELECT g, 'v' || g FROM generate_series(0, 249) g;
MERGE INTO p USING (SELECT g AS id FROM generate_series(90, 260, 10) g) s ON p.id = s.id
	WHEN MATCHED AND s.id % 20 = 0 THEN UPDATE SET id = p.id + 301
	WHEN MATCHED AND s.id = 150 THEN DELETE
	WHEN MATCHED THEN UPDATE SET id = p.id - 1000, v = 'back'
	WHEN NOT MATCHED THEN INSERT VALUES (s.id, 'new');
SELECT tableoid::regclass, * FROM p WHERE id < 0 OR id > 255 ORDER BY id;
SELECT tableoid::regclass, count(*), sum(id) FROM p GROUP BY 1 ORDER BY 1;
