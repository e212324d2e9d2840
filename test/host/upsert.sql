-- ON CONFLICT in all its forms, on plain and partitioned tables.
CREATE TABLE u (id int PRIMARY KEY, k text, n int DEFAULT 1, seen int DEFAULT 0, gen int GENERATED ALWAYS AS (n * 2) STORED);
CREATE UNIQUE INDEX u_k ON u (lower(k)) WHERE n < 1000;
INSERT INTO u SELECT g, 'k' || g FROM generate_series(1, 300) g;
INSERT INTO u VALUES (5, 'k500') ON CONFLICT DO NOTHING;
INSERT INTO u VALUES (5, 'k500') ON CONFLICT (id) DO NOTHING RETURNING *;
-- ! 23505
INSERT INTO u VALUES (1000, 'K5') ON CONFLICT (id) DO NOTHING;
INSERT INTO u VALUES (1000, 'K5') ON CONFLICT (lower(k)) WHERE n < 1000 DO UPDATE SET seen = u.seen + 1 RETURNING *;
INSERT INTO u AS t VALUES (5, 'x', 7) ON CONFLICT (id) DO UPDATE SET n = t.n + excluded.n, k = t.k || excluded.k RETURNING *;
INSERT INTO u AS t VALUES (5, 'x', 7) ON CONFLICT (id) DO UPDATE SET n = t.n + excluded.n WHERE t.n > 100 RETURNING *;
INSERT INTO u SELECT g, 'new' || g, g FROM generate_series(290, 310) g ON CONFLICT ON CONSTRAINT u_pkey DO UPDATE SET seen = excluded.n RETURNING id, seen;
-- ! 21000
INSERT INTO u VALUES (400), (400) ON CONFLICT (id) DO UPDATE SET seen = 9;
INSERT INTO u VALUES (400), (400), (5) ON CONFLICT DO NOTHING RETURNING id;
-- the key itself
INSERT INTO u VALUES (5) ON CONFLICT (id) DO UPDATE SET id = 5000 RETURNING *;
-- ! 23505
INSERT INTO u VALUES (6) ON CONFLICT (id) DO UPDATE SET id = 7;
INSERT INTO u VALUES (5, 'five') ON CONFLICT (id) DO UPDATE SET k = 'never' RETURNING *;
-- a row of the same transaction, changed, deleted, rolled back
BEGIN;
INSERT INTO u VALUES (600, 'a');
INSERT INTO u VALUES (600, 'b') ON CONFLICT (id) DO UPDATE SET k = u.k || excluded.k;
SAVEPOINT s;
INSERT INTO u VALUES (600, 'c') ON CONFLICT (id) DO UPDATE SET k = u.k || excluded.k RETURNING k;
DELETE FROM u WHERE id = 600;
INSERT INTO u VALUES (600, 'd') ON CONFLICT (id) DO UPDATE SET k = u.k || excluded.k RETURNING k;
ROLLBACK TO s;
INSERT INTO u VALUES (600, 'e') ON CONFLICT (id) DO UPDATE SET k = u.k || excluded.k RETURNING k;
DELETE FROM u WHERE id = 7;
INSERT INTO u VALUES (7, 'seven') ON CONFLICT DO NOTHING RETURNING *;
COMMIT;
SELECT * FROM u WHERE id IN (7, 600) ORDER BY id;
-- with subqueries, multiple assignment, triggers
INSERT INTO u VALUES (8, 'x') ON CONFLICT (id) DO UPDATE SET (k, n) = (SELECT 'sub' || max(id), count(*) FROM u WHERE id < 100) RETURNING *;
CREATE FUNCTION u_trig() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE '% % % -> %', TG_WHEN, TG_OP, CASE WHEN TG_OP <> 'INSERT' THEN OLD.k END, NEW.k;
	IF TG_WHEN = 'BEFORE' AND NEW.seen = 77 THEN RETURN NULL; END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER b BEFORE INSERT OR UPDATE ON u FOR EACH ROW EXECUTE FUNCTION u_trig();
CREATE TRIGGER a AFTER INSERT OR UPDATE ON u FOR EACH ROW EXECUTE FUNCTION u_trig();
INSERT INTO u VALUES (9, 'nine'), (700, 'seven hundred') ON CONFLICT (id) DO UPDATE SET k = excluded.k RETURNING id, k;
INSERT INTO u VALUES (10, 'ten'), (701, 'more') ON CONFLICT (id) DO UPDATE SET seen = 77 RETURNING id, k;
INSERT INTO u VALUES (11, 'eleven'), (702, 'more') ON CONFLICT DO NOTHING RETURNING id, k;
DROP TRIGGER a ON u;
DROP TRIGGER b ON u;
-- exclusion constraints
CREATE TABLE x (r int4range, v int, EXCLUDE USING gist (r WITH &&));
INSERT INTO x SELECT int4range(g * 10, g * 10 + 5), g FROM generate_series(1, 50) g;
INSERT INTO x SELECT int4range(g, g + 1), -g FROM generate_series(100, 120) g ON CONFLICT DO NOTHING RETURNING v;
-- ! 42809
INSERT INTO x VALUES ('[101,102)', 0) ON CONFLICT ON CONSTRAINT x_r_excl DO UPDATE SET v = 0;
-- deferrable constraints can't arbitrate
CREATE TABLE df (id int PRIMARY KEY DEFERRABLE, v int UNIQUE);
INSERT INTO df SELECT g, g FROM generate_series(1, 50) g;
-- ! 55000
INSERT INTO df VALUES (1, 100) ON CONFLICT (id) DO NOTHING;
INSERT INTO df VALUES (100, 5) ON CONFLICT (v) DO UPDATE SET v = 500 RETURNING *;
-- partitioned: kinds mixed
CREATE TABLE pt (id int, part int, v text, PRIMARY KEY (id, part)) PARTITION BY LIST (part);
CREATE TABLE pt_a PARTITION OF pt FOR VALUES IN (1);
CREATE TABLE pt_b (v text, part int NOT NULL, id int NOT NULL) USING heap;
ALTER TABLE pt ATTACH PARTITION pt_b FOR VALUES IN (2);
CREATE TABLE pt_c (gone int, v text, id int NOT NULL, part int NOT NULL);
ALTER TABLE pt_c DROP COLUMN gone;
ALTER TABLE pt ATTACH PARTITION pt_c FOR VALUES IN (3) ;
CREATE TABLE pt_d PARTITION OF pt DEFAULT;
INSERT INTO pt SELECT g, g % 5, 'v' || g FROM generate_series(1, 200) g;
INSERT INTO pt SELECT g, g % 5, 'n' || g FROM generate_series(190, 210) g
	ON CONFLICT (id, part) DO UPDATE SET v = pt.v || '/' || excluded.v RETURNING tableoid::regclass, *;
INSERT INTO pt SELECT g, g % 5, 'never' FROM generate_series(1, 220) g ON CONFLICT DO NOTHING RETURNING id;
INSERT INTO pt VALUES (1, 1, 'x'), (2, 2, 'x'), (3, 3, 'x') ON CONFLICT (id, part) DO UPDATE SET v = 'moved' WHERE pt.id <> 2 RETURNING *;
-- ! 0A000
INSERT INTO pt VALUES (1, 1, 'x') ON CONFLICT (id, part) DO UPDATE SET part = 3;
-- loops of an application: counters
DO $$
BEGIN
	FOR i IN 1..300 LOOP
		INSERT INTO u (id, n) VALUES (2000 + i % 7, 1) ON CONFLICT (id) DO UPDATE SET n = u.n + excluded.n, seen = i;
	END LOOP;
END $$;
SELECT id, n, seen, gen FROM u WHERE id >= 2000 AND id < 3000 ORDER BY id;
