-- Primary, unique, exclusion, check, not-null and foreign keys hold over rows in SCM and on flash.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/test/lib/regress.sql'
\i :setup
SET default_table_access_method = :am;
CREATE TABLE co_p (id int PRIMARY KEY, code text UNIQUE NOT NULL, v int CHECK (v > 0), w int DEFAULT 1);
INSERT INTO co_p SELECT g, 'c' || g, g FROM generate_series(1, 100) g;
CREATE TABLE co_c (id int PRIMARY KEY, pid int REFERENCES co_p ON DELETE CASCADE ON UPDATE CASCADE, pcode text REFERENCES co_p (code) ON DELETE SET NULL ON UPDATE CASCADE);
INSERT INTO co_c SELECT g, 1 + g % 100, 'c' || (1 + g % 50) FROM generate_series(1, 200) g;
-- twice: rows in SCM, then on flash
INSERT INTO co_p VALUES (5, 'new', 1);
INSERT INTO co_p VALUES (500, 'c5', 1);
INSERT INTO co_p VALUES (500, NULL, 1);
INSERT INTO co_p VALUES (500, 'x', 0);
INSERT INTO co_c VALUES (999, 7777, NULL);
UPDATE co_c SET pcode = 'none' WHERE id = 1;
CALL test_migrate('co_p');
CALL test_migrate('co_c');
INSERT INTO co_p VALUES (5, 'new', 1);
INSERT INTO co_p VALUES (500, 'c5', 1);
UPDATE co_p SET code = 'c7' WHERE id = 6;
UPDATE co_p SET v = -1 WHERE id = 6;
UPDATE co_p SET code = NULL WHERE id = 6;
INSERT INTO co_c VALUES (999, 7777, NULL);
UPDATE co_c SET pid = 4444 WHERE id = 1;
-- cascades into rows on flash
UPDATE co_p SET id = id + 1000 WHERE id <= 3;
SELECT id, pid, pcode FROM co_c WHERE pid > 1000 ORDER BY id;
DELETE FROM co_p WHERE id BETWEEN 10 AND 19;
SELECT count(*), count(pcode), sum(pid) FROM co_c;
UPDATE co_p SET code = 'renamed' WHERE id = 20;
SELECT id, pcode FROM co_c WHERE pcode = 'renamed' ORDER BY id;
CALL test_migrate('co_c');
SELECT count(*), count(pcode), sum(pid) FROM co_c;
-- no action, and deferral
CREATE TABLE co_d (id int PRIMARY KEY, pid int REFERENCES co_p DEFERRABLE INITIALLY DEFERRED, u int UNIQUE DEFERRABLE);
INSERT INTO co_d SELECT g, 20 + g, g FROM generate_series(1, 20) g;
CALL test_migrate('co_d');
DELETE FROM co_p WHERE id = 25;
BEGIN;
DELETE FROM co_p WHERE id = 25;
INSERT INTO co_p VALUES (25, 'back', 1);
COMMIT;
BEGIN;
INSERT INTO co_d VALUES (100, 9999, 100);
COMMIT;
UPDATE co_d SET u = u + 1;
SELECT min(u), max(u), count(DISTINCT u) FROM co_d;
BEGIN;
SET CONSTRAINTS ALL DEFERRED;
UPDATE co_d SET u = 5 WHERE id = 1;
UPDATE co_d SET u = 1 WHERE u = 5 AND id <> 1;
COMMIT;
UPDATE co_d SET u = 7 WHERE id = 1;
-- self reference
CREATE TABLE co_tree (id int PRIMARY KEY, up int REFERENCES co_tree ON DELETE CASCADE);
INSERT INTO co_tree SELECT g, NULLIF(g / 2, 0) FROM generate_series(1, 63) g;
CALL test_migrate('co_tree');
DELETE FROM co_tree WHERE id = 2;
SELECT count(*), sum(id) FROM co_tree;
-- exclusion
CREATE TABLE co_x (id int, during int4range, EXCLUDE USING gist (during WITH &&));
INSERT INTO co_x SELECT g, int4range(g * 10, g * 10 + 10) FROM generate_series(1, 20) g;
INSERT INTO co_x VALUES (100, int4range(25, 26));
CALL test_migrate('co_x');
INSERT INTO co_x VALUES (100, int4range(25, 26));
DELETE FROM co_x WHERE id = 2;
INSERT INTO co_x VALUES (100, int4range(25, 26));
UPDATE co_x SET during = int4range(29, 31) WHERE id = 100;
SELECT * FROM co_x WHERE during && int4range(0, 40) ORDER BY id;
-- constraints added later over rows on flash
CREATE TABLE co_l (a int, b int);
INSERT INTO co_l SELECT g, g % 10 FROM generate_series(1, 100) g;
CALL test_migrate('co_l');
ALTER TABLE co_l ADD CHECK (b < 9);
ALTER TABLE co_l ADD CHECK (b < 10);
CREATE UNIQUE INDEX ON co_l ((least(a, 2)));
ALTER TABLE co_l ADD PRIMARY KEY (a);
ALTER TABLE co_l ADD FOREIGN KEY (b) REFERENCES co_l (a);
INSERT INTO co_l VALUES (0, 0);
ALTER TABLE co_l ADD FOREIGN KEY (b) REFERENCES co_l (a) NOT VALID;
ALTER TABLE co_l VALIDATE CONSTRAINT co_l_b_fkey;
ALTER TABLE co_l ALTER b SET NOT NULL;
INSERT INTO co_l VALUES (101, NULL);
INSERT INTO co_l VALUES (101, 102);
-- unique with NULLs, NULLS NOT DISTINCT, expressions, partial
CREATE TABLE co_u (a int UNIQUE, b int, c text);
CREATE UNIQUE INDEX ON co_u (b) NULLS NOT DISTINCT;
CREATE UNIQUE INDEX ON co_u (lower(c)) WHERE a > 10;
INSERT INTO co_u VALUES (NULL, 1, 'A'), (NULL, 2, 'a'), (11, NULL, 'B');
CALL test_migrate('co_u');
INSERT INTO co_u VALUES (NULL, 3, 'a');
INSERT INTO co_u VALUES (12, NULL, 'C');
INSERT INTO co_u VALUES (12, 4, 'b');
INSERT INTO co_u VALUES (12, 4, 'b') ON CONFLICT DO NOTHING;
SELECT * FROM co_u ORDER BY b, a;
SELECT test_verify('co_p'), test_verify('co_c'), test_verify('co_d');
DROP TABLE co_c, co_d, co_p, co_tree, co_x, co_l, co_u;
