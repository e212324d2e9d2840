-- Rules, updatable views, security barriers and row-level security: nobody sees rows that he may not see.
-- Notices in any order: rows come in any order.
CREATE ROLE host_alice;
GRANT CREATE, USAGE ON SCHEMA public TO host_alice;
CREATE TABLE doc (id int PRIMARY KEY, owner text, secret int, body text);
INSERT INTO doc SELECT g, (ARRAY['host_alice', 'bob', 'carol'])[1 + g % 3], g * 7, 'body ' || g FROM generate_series(1, 300) g;
GRANT ALL ON doc TO host_alice;
CREATE FUNCTION leak(x anyelement) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$
BEGIN
	RAISE NOTICE 'met %', x;
	RETURN true;
END $$;
CREATE FUNCTION leak_lt(a int, b int) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$
BEGIN
	RAISE NOTICE 'compared % and %', a, b;
	RETURN a < b;
END $$;
CREATE OPERATOR <<< (LEFTARG = int, RIGHTARG = int, FUNCTION = leak_lt, RESTRICT = scalarltsel);
-- a barrier view
CREATE VIEW mine WITH (security_barrier) AS SELECT * FROM doc WHERE owner = 'host_alice' AND id < 20;
GRANT ALL ON mine TO host_alice;
SELECT * FROM mine WHERE leak(secret) ORDER BY id;
SELECT * FROM mine WHERE secret <<< 50 ORDER BY id;
SELECT id FROM mine WHERE leak(body) AND secret > 60 AND id > 5 ORDER BY id;
-- errors tell values, too
SELECT count(*) FROM mine WHERE 100 / (secret - 14) IS NOT NULL;
SELECT count(*) FROM mine WHERE body::text = 'body 3' AND leak(id);
UPDATE mine SET secret = 0 WHERE leak(id) AND secret > 60;
DELETE FROM mine WHERE leak(id) AND id > 15;
SELECT * FROM mine ORDER BY id;
CREATE VIEW barrier2 WITH (security_barrier) AS SELECT * FROM mine WHERE id % 2 = 1;
SELECT * FROM barrier2 b JOIN doc d USING (id) WHERE leak(b.id) ORDER BY id;
-- row-level security
ALTER TABLE doc ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON doc TO host_alice USING (owner = current_user AND id < 60) WITH CHECK (owner = current_user AND secret < 3000);
SET ROLE host_alice;
SELECT count(*), min(id), max(id) FROM doc;
SELECT id FROM doc WHERE leak(id) AND id > 40 ORDER BY id;
SELECT id FROM doc WHERE secret <<< 100 AND secret BETWEEN 50 AND 200 ORDER BY id;
SELECT id FROM doc WHERE id = 61;
SELECT id FROM doc WHERE id IN (60, 57, 21) ORDER BY id;
SELECT id FROM doc WHERE body = 'body 4';
UPDATE doc SET body = 'mine' WHERE id BETWEEN 20 AND 30 RETURNING id, body;
DELETE FROM doc WHERE leak(id) AND secret > 380 RETURNING id;
-- ! 42501
INSERT INTO doc VALUES (1000, 'bob', 1, 'x');
-- ! 42501
UPDATE doc SET secret = 5000 WHERE id = 21;
-- ! 42501
UPDATE doc SET owner = 'bob' WHERE id = 21;
INSERT INTO doc VALUES (-1, 'host_alice', 1, 'new') RETURNING *;
-- ! 23505
INSERT INTO doc VALUES (61, 'host_alice', 1, 'a row that is there but hidden');
-- ! 42501
INSERT INTO doc VALUES (61, 'host_alice', 1, 'x') ON CONFLICT (id) DO UPDATE SET body = 'seen';
INSERT INTO doc VALUES (61, 'host_alice', 1, 'x') ON CONFLICT DO NOTHING;
INSERT INTO doc VALUES (21, 'host_alice', 1, 'x') ON CONFLICT (id) DO UPDATE SET body = doc.body || '+' RETURNING *;
MERGE INTO doc USING (VALUES (21), (22), (24)) s (id) ON doc.id = s.id WHEN MATCHED THEN UPDATE SET body = 'merged' WHEN NOT MATCHED THEN DO NOTHING;
SELECT id, body FROM doc WHERE leak(body) ORDER BY id;
SELECT id FROM doc ORDER BY id FOR UPDATE LIMIT 3;
SET row_security = off;
-- ! 42501
SELECT count(*) FROM doc;
RESET row_security;
PREPARE q (int) AS SELECT id FROM doc WHERE secret > $1 AND leak(id) ORDER BY id;
EXECUTE q (300);
EXECUTE q (1);
RESET ROLE;
SELECT id FROM doc WHERE secret > 2050 ORDER BY id;
SELECT count(*) FROM doc;
ALTER TABLE doc FORCE ROW LEVEL SECURITY;
CREATE POLICY narrow ON doc AS RESTRICTIVE USING (id <> 27);
SET ROLE host_alice;
SELECT id FROM doc WHERE leak(id) AND id BETWEEN 20 AND 40 ORDER BY id;
-- ! 42501
COPY doc TO '/dev/null';
COPY (SELECT id, owner FROM doc WHERE id < 10 ORDER BY id) TO STDOUT;
-- column privileges
RESET ROLE;
ALTER TABLE doc DISABLE ROW LEVEL SECURITY;
REVOKE ALL ON doc FROM host_alice;
GRANT SELECT (id, body), UPDATE (body) ON doc TO host_alice;
SET ROLE host_alice;
SELECT id, body FROM doc WHERE id IN (61, 62) ORDER BY id;
-- ! 42501
SELECT * FROM doc WHERE id = 61;
-- ! 42501
SELECT id FROM doc WHERE secret = 7;
-- ! 42501
UPDATE doc SET secret = 1 WHERE id = 61;
UPDATE doc SET body = 'granted' WHERE id = 61 RETURNING id, body;
-- ! 42501
DELETE FROM doc WHERE id = 61;
RESET ROLE;
-- updatable views with check option
CREATE VIEW low AS SELECT id, secret, body FROM doc WHERE secret < 700 WITH CHECK OPTION;
UPDATE low SET body = 'low' WHERE id BETWEEN 95 AND 105 RETURNING id;
-- ! 44000
UPDATE low SET secret = 701 WHERE id = 62;
-- ! 44000
INSERT INTO low VALUES (2000, 700, 'x');
INSERT INTO low VALUES (2000, 699, 'x') RETURNING *;
-- rules
CREATE TABLE audit (id int, what text);
CREATE RULE r_upd AS ON UPDATE TO doc WHERE NEW.secret <> OLD.secret DO ALSO INSERT INTO audit VALUES (OLD.id, OLD.secret || '->' || NEW.secret);
CREATE RULE r_del AS ON DELETE TO doc WHERE OLD.id < 200 DO INSTEAD UPDATE doc SET body = 'deleted' WHERE id = OLD.id;
CREATE RULE r_ins AS ON INSERT TO doc WHERE NEW.id > 5000 DO INSTEAD NOTHING;
UPDATE doc SET secret = secret + 1 WHERE id BETWEEN 150 AND 153;
SELECT * FROM audit ORDER BY id;
DELETE FROM doc WHERE id BETWEEN 198 AND 202;
SELECT id, body FROM doc WHERE id BETWEEN 197 AND 203 ORDER BY id;
INSERT INTO doc SELECT g, 'x', g, 'rule' FROM generate_series(4999, 5003) g;
SELECT id FROM doc WHERE id > 4000 ORDER BY id;
CREATE VIEW ruled AS SELECT id, body FROM doc;
CREATE RULE v_upd AS ON UPDATE TO ruled DO INSTEAD UPDATE doc SET body = NEW.body || ' by rule' WHERE id = OLD.id RETURNING doc.id, doc.body;
UPDATE ruled SET body = 'b' WHERE id IN (210, 211) RETURNING *;
-- materialized views
CREATE MATERIALIZED VIEW mv AS SELECT owner, count(*) AS n, sum(secret) AS s FROM doc GROUP BY owner;
CREATE UNIQUE INDEX ON mv (owner);
SELECT * FROM mv ORDER BY owner;
UPDATE doc SET owner = 'dave' WHERE id % 4 = 0 AND id < 4000;
REFRESH MATERIALIZED VIEW CONCURRENTLY mv;
SELECT * FROM mv ORDER BY owner;
DELETE FROM doc WHERE owner = 'bob' AND id > 200;
REFRESH MATERIALIZED VIEW mv;
SELECT * FROM mv ORDER BY owner;
REFRESH MATERIALIZED VIEW mv WITH NO DATA;
-- ! 55000
SELECT * FROM mv;
REFRESH MATERIALIZED VIEW mv;
DROP POLICY own ON doc;
DROP POLICY narrow ON doc;
REVOKE ALL ON doc, mine FROM host_alice;
REVOKE ALL ON SCHEMA public FROM host_alice;
DROP ROLE host_alice;
