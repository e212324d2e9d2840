-- Cursors forward and backward, held over commit, and changes where one stands.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/test/lib/regress.sql'
\i :setup
SET default_table_access_method = :am;
CREATE TABLE cur (id int PRIMARY KEY, v text);
INSERT INTO cur SELECT g, 'v' || g FROM generate_series(1, 100) g;
CALL test_migrate('cur');
INSERT INTO cur SELECT g, 'v' || g FROM generate_series(101, 200) g;
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT id FROM cur;
FETCH 3 FROM c;
MOVE FORWARD 95 IN c;
FETCH 4 FROM c;
FETCH BACKWARD 4 FROM c;
FETCH LAST FROM c;
FETCH RELATIVE -2 FROM c;
FETCH FIRST FROM c;
FETCH ABSOLUTE 150 FROM c;
FETCH BACKWARD 2 FROM c;
MOVE BACKWARD ALL IN c;
FETCH BACKWARD 1 FROM c;
FETCH NEXT FROM c;
COMMIT;
-- a cursor does not see what comes after it, even of its own transaction
BEGIN;
DECLARE c CURSOR FOR SELECT count(*), sum(id) FROM cur;
DECLARE d CURSOR FOR SELECT id, v FROM cur WHERE id IN (1, 2, 150) ORDER BY id;
FETCH 1 FROM d;
UPDATE cur SET v = 'changed' WHERE id IN (1, 2, 150);
DELETE FROM cur WHERE id > 195;
INSERT INTO cur VALUES (1000, 'new');
FETCH ALL FROM d;
FETCH ALL FROM c;
SELECT count(*), sum(id) FROM cur;
ROLLBACK;
-- WHERE CURRENT OF
BEGIN;
DECLARE c CURSOR FOR SELECT * FROM cur WHERE id IN (5, 6, 105, 106) ORDER BY id FOR UPDATE;
FETCH 1 FROM c;
UPDATE cur SET v = 'here' WHERE CURRENT OF c RETURNING *;
FETCH 1 FROM c;
DELETE FROM cur WHERE CURRENT OF c RETURNING *;
DELETE FROM cur WHERE CURRENT OF c RETURNING *;
FETCH 1 FROM c;
UPDATE cur SET v = 'here too' WHERE CURRENT OF c RETURNING *;
FETCH 1 FROM c;
DELETE FROM cur WHERE CURRENT OF c RETURNING *;
COMMIT;
SELECT * FROM cur WHERE id IN (5, 6, 105, 106) ORDER BY id;
BEGIN;
DECLARE c CURSOR FOR SELECT * FROM cur;
FETCH 2 FROM c;
UPDATE cur SET v = 'second' WHERE CURRENT OF c RETURNING *;
MOVE 100 IN c;
DELETE FROM cur WHERE CURRENT OF c RETURNING v LIKE 'v%';
ROLLBACK;
-- held over commit, with a migration in between
BEGIN;
DECLARE h CURSOR WITH HOLD FOR SELECT id, v FROM cur ORDER BY id;
FETCH 2 FROM h;
COMMIT;
DELETE FROM cur WHERE id < 50;
CALL test_migrate('cur');
FETCH 3 FROM h;
MOVE 170 IN h;
FETCH 2 FROM h;
CLOSE h;
-- a migration while a cursor stands in the middle
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT id FROM cur;
MOVE 40 IN c;
CALL test_migrate('cur');
MOVE ALL IN c;
MOVE BACKWARD ALL IN c;
COMMIT;
-- in a loop of PL/pgSQL, changing what it reads
DO $$
DECLARE
	r record;
	n int := 0;
BEGIN
	FOR r IN SELECT * FROM cur WHERE id BETWEEN 60 AND 160 LOOP
		UPDATE cur SET v = v || '*' WHERE id = r.id;
		INSERT INTO cur VALUES (r.id + 10000, 'from loop');
		n := n + 1;
	END LOOP;
	RAISE NOTICE 'rows met: %', n;
END $$;
SELECT count(*), count(*) FILTER (WHERE v LIKE '%*'), count(*) FILTER (WHERE v LIKE '%**') FROM cur;
-- INSERT ... SELECT from the table itself and UPDATE do not meet their own rows
INSERT INTO cur SELECT id + 100000, v FROM cur;
SELECT count(*) FROM cur;
UPDATE cur SET id = id + 1000000;
SELECT count(*), min(id), max(id) FROM cur;
DROP TABLE cur;
