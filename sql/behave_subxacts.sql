-- Savepoints, exception blocks and command counters: which versions a transaction sees of its own work.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/test/lib/regress.sql'
\i :setup
SET default_table_access_method = :am;
CREATE TABLE sx (id int PRIMARY KEY, v text);
INSERT INTO sx SELECT g, 'start' FROM generate_series(1, 10) g;
CALL test_migrate('sx');
PREPARE sx_look AS SELECT string_agg(id || ':' || v, ' ' ORDER BY id) FROM sx WHERE id <= 4 OR id > 10;
BEGIN;
UPDATE sx SET v = 'a' WHERE id = 1;
SAVEPOINT one;
UPDATE sx SET v = 'b' WHERE id = 1;
DELETE FROM sx WHERE id = 2;
SAVEPOINT two;
INSERT INTO sx VALUES (2, 'again'), (11, 'new');
UPDATE sx SET v = v || '+' WHERE id IN (1, 2, 11);
EXECUTE sx_look;
ROLLBACK TO two;
EXECUTE sx_look;
INSERT INTO sx VALUES (12, 'after two');
RELEASE two;
EXECUTE sx_look;
ROLLBACK TO one;
EXECUTE sx_look;
DELETE FROM sx WHERE id = 3;
COMMIT;
EXECUTE sx_look;
CALL test_migrate('sx');
EXECUTE sx_look;
-- a lock taken in a savepoint that is rolled back, then the row changed
BEGIN;
SELECT * FROM sx WHERE id = 4 FOR SHARE;
SAVEPOINT s;
SELECT * FROM sx WHERE id = 4 FOR UPDATE;
UPDATE sx SET v = 'locked' WHERE id = 4;
ROLLBACK TO s;
UPDATE sx SET v = 'outer' WHERE id = 4;
SAVEPOINT t;
DELETE FROM sx WHERE id = 4;
ROLLBACK TO t;
SELECT * FROM sx WHERE id = 4;
COMMIT;
SELECT * FROM sx WHERE id = 4;
-- exception blocks
DO $$
BEGIN
	FOR i IN 1..20 LOOP
		BEGIN
			INSERT INTO sx VALUES (i, 'loop ' || i);
			UPDATE sx SET v = v || '*' WHERE id = i;
			IF i % 5 = 0 THEN RAISE EXCEPTION 'no'; END IF;
		EXCEPTION WHEN unique_violation THEN
			UPDATE sx SET v = 'met' WHERE id = i;
		WHEN raise_exception THEN
			NULL;
		END;
	END LOOP;
END $$;
SELECT * FROM sx ORDER BY id;
CALL test_migrate('sx');
SELECT count(*), count(*) FILTER (WHERE v = 'met') FROM sx;
-- more savepoints than a backend's cache of subtransactions holds
DO $$
BEGIN
	FOR i IN 100..300 LOOP
		BEGIN
			INSERT INTO sx VALUES (i, 'deep');
			IF i % 3 = 0 THEN RAISE EXCEPTION 'no'; END IF;
		EXCEPTION WHEN raise_exception THEN NULL;
		END;
	END LOOP;
END $$;
SELECT count(*), sum(id) FROM sx WHERE id >= 100;
CALL test_migrate('sx');
SELECT count(*), sum(id) FROM sx WHERE id >= 100;
-- a function sees its own command's work according to its volatility
CREATE FUNCTION sx_count_v() RETURNS bigint VOLATILE LANGUAGE sql AS 'SELECT count(*) FROM sx';
CREATE FUNCTION sx_count_s() RETURNS bigint STABLE LANGUAGE sql AS 'SELECT count(*) FROM sx';
INSERT INTO sx SELECT 1000 + g, 'v ' || sx_count_v() || ' s ' || sx_count_s() FROM generate_series(1, 3) g RETURNING v = 'x' AS same;
SELECT count(DISTINCT v) FROM sx WHERE id > 1000;
-- a transaction that fails leaves nothing, also of what it did before
BEGIN;
DELETE FROM sx;
INSERT INTO sx VALUES (1, 'x');
SELECT 1 / 0;
SELECT 1;
COMMIT;
SELECT count(*) FROM sx;
BEGIN ISOLATION LEVEL SERIALIZABLE;
UPDATE sx SET v = 'ser' WHERE id = 1;
SELECT v FROM sx WHERE id = 1;
COMMIT;
BEGIN READ ONLY;
UPDATE sx SET v = 'ro' WHERE id = 1;
ROLLBACK;
-- procedures that commit in the middle
CREATE PROCEDURE sx_proc() LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 2000..2009 LOOP
		INSERT INTO sx VALUES (i, 'proc');
		IF i % 2 = 0 THEN COMMIT; ELSE ROLLBACK; END IF;
	END LOOP;
END $$;
CALL sx_proc();
SELECT count(*), sum(id) FROM sx WHERE id >= 2000;
CALL test_migrate('sx');
SELECT count(*), sum(id) FROM sx WHERE id >= 2000;
SELECT test_verify('sx');
DROP TABLE sx;
DROP FUNCTION sx_count_v, sx_count_s;
DROP PROCEDURE sx_proc;
