-- Row and statement triggers, transition tables and deferred constraint triggers see the right versions.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/test/lib/regress.sql'
\i :setup
SET default_table_access_method = :am;
CREATE TABLE tr (id int PRIMARY KEY, v int, note text);
CREATE TABLE tr_log (n serial, what text, old_row text, new_row text);
CREATE FUNCTION tr_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO tr_log (what, old_row, new_row) VALUES (TG_WHEN || ' ' || TG_OP,
		CASE WHEN TG_OP <> 'INSERT' THEN OLD::text END, CASE WHEN TG_OP <> 'DELETE' THEN NEW::text END);
	IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
	IF TG_WHEN = 'BEFORE' AND NEW.v < 0 THEN RETURN NULL; END IF;
	IF TG_WHEN = 'BEFORE' THEN NEW.note := coalesce(NEW.note, '') || '!'; END IF;
	RETURN NEW;
END $$;
CREATE FUNCTION tr_stmt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO tr_log (what, old_row, new_row) SELECT 'statement ' || TG_OP,
		(SELECT count(*) || ' rows, v ' || sum(v) FROM old_t), (SELECT count(*) || ' rows, v ' || sum(v) FROM new_t);
	RETURN NULL;
END $$;
CREATE TRIGGER b BEFORE INSERT OR UPDATE OR DELETE ON tr FOR EACH ROW EXECUTE FUNCTION tr_row();
CREATE TRIGGER a AFTER INSERT OR UPDATE OR DELETE ON tr FOR EACH ROW EXECUTE FUNCTION tr_row();
CREATE TRIGGER s AFTER UPDATE ON tr REFERENCING OLD TABLE AS old_t NEW TABLE AS new_t FOR EACH STATEMENT EXECUTE FUNCTION tr_stmt();
INSERT INTO tr VALUES (1, 10), (2, 20), (3, -1), (4, 40);
SELECT what, old_row, new_row FROM tr_log ORDER BY n;
TRUNCATE tr_log;
CALL test_migrate('tr');
UPDATE tr SET v = v + 1 WHERE id <= 2;
UPDATE tr SET v = -5 WHERE id = 4;
DELETE FROM tr WHERE id = 2;
INSERT INTO tr VALUES (1, 77, 'up') ON CONFLICT (id) DO UPDATE SET v = excluded.v RETURNING *;
SELECT what, old_row, new_row FROM tr_log ORDER BY n;
SELECT * FROM tr ORDER BY id;
TRUNCATE tr_log;
CALL test_migrate('tr');
CALL test_migrate('tr_log');
-- several versions of a row in a transaction: each trigger call gets its own
BEGIN;
UPDATE tr SET v = 100 WHERE id = 1;
UPDATE tr SET v = 101 WHERE id = 1;
DELETE FROM tr WHERE id = 1;
INSERT INTO tr VALUES (1, 102, 'anew');
COMMIT;
SELECT what, old_row, new_row FROM tr_log ORDER BY n;
TRUNCATE tr_log;
-- a BEFORE trigger that changes the very row
CREATE FUNCTION tr_self() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE tr SET note = 'by trigger' WHERE id = OLD.id AND pg_trigger_depth() = 1;
	IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER c BEFORE UPDATE OR DELETE ON tr FOR EACH ROW EXECUTE FUNCTION tr_self();
UPDATE tr SET v = 1 WHERE id = 1;
DELETE FROM tr WHERE id = 4;
DROP TRIGGER c ON tr;
SELECT * FROM tr ORDER BY id;
TRUNCATE tr_log;
-- deferred triggers fetch their rows at commit, after a migration too
CREATE FUNCTION tr_def() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE 'deferred %: % -> %', TG_OP, OLD, NEW;
	RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER d AFTER INSERT OR UPDATE OR DELETE ON tr DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION tr_def();
BEGIN;
INSERT INTO tr VALUES (10, 10);
UPDATE tr SET v = 11 WHERE id = 10;
DELETE FROM tr WHERE id = 4;
UPDATE tr SET v = 12 WHERE id = 10;
SELECT * FROM tr ORDER BY id;
COMMIT;
-- column triggers, WHEN, INSTEAD OF, TRUNCATE
CREATE TRIGGER w AFTER UPDATE OF v ON tr FOR EACH ROW WHEN (OLD.v IS DISTINCT FROM NEW.v AND NEW.v > 50) EXECUTE FUNCTION tr_def();
UPDATE tr SET v = 60 WHERE id = 10;
UPDATE tr SET note = 'n' WHERE id = 10;
CREATE FUNCTION tr_trunc() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'truncate with % rows', (SELECT count(*) FROM tr); RETURN NULL; END $$;
CREATE TRIGGER t BEFORE TRUNCATE ON tr FOR EACH STATEMENT EXECUTE FUNCTION tr_trunc();
TRUNCATE tr;
-- transition tables over partitions of two kinds
CREATE TABLE trp (id int, v int) PARTITION BY RANGE (id);
CREATE TABLE trp1 PARTITION OF trp FOR VALUES FROM (0) TO (10);
CREATE TABLE trp2 PARTITION OF trp FOR VALUES FROM (10) TO (20) USING heap;
CREATE TRIGGER s AFTER UPDATE ON trp REFERENCING OLD TABLE AS old_t NEW TABLE AS new_t FOR EACH STATEMENT EXECUTE FUNCTION tr_stmt();
INSERT INTO trp SELECT g, g FROM generate_series(0, 19) g;
CALL test_migrate('trp');
UPDATE trp SET v = v * 2 WHERE id BETWEEN 5 AND 14;
SELECT what, old_row, new_row FROM tr_log WHERE what LIKE 'statement%' ORDER BY n;
DROP TABLE tr, tr_log, trp;
DROP FUNCTION tr_row, tr_stmt, tr_self, tr_def, tr_trunc;
