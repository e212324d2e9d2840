-- A project's own pgTAP tests, on its vdb tables.
-- wanted: ^ok 11 -
-- unwanted: ^not ok|# Looks like
CREATE EXTENSION pgtap;
CALL twice($$CREATE TABLE t (id int PRIMARY KEY, name text NOT NULL UNIQUE, n int CHECK (n >= 0))$$);
CALL twice($$CREATE TABLE part (t int REFERENCES t, note text); CREATE INDEX part_t ON part (t)$$);
CALL twice($$INSERT INTO t SELECT i, 'n' || i, i FROM generate_series(1, 1000) i$$);
CALL moved('t');
CALL twice($$INSERT INTO t SELECT i, 'n' || i, i FROM generate_series(1001, 1100) i$$);
CALL in_both_places('t');
BEGIN;
SELECT plan(11);
SELECT has_table('v', 't', 'a table');
SELECT col_is_pk('v', 't', 'id', 'its key');
SELECT has_index('v', 'part', 'part_t', 't', 'an index');
SELECT fk_ok('v', 'part', 't', 'v', 't', 'id', 'a foreign key');
SELECT results_eq('SELECT * FROM v.t ORDER BY id', 'SELECT * FROM h.t ORDER BY id', 'rows in order');
SELECT set_eq('SELECT name FROM v.t WHERE n % 7 = 3', 'SELECT name FROM h.t WHERE n % 7 = 3', 'a set');
SELECT throws_ok('INSERT INTO v.t VALUES (5, ''x'', 1)', '23505', NULL, 'key twice, on flash');
SELECT throws_ok('INSERT INTO v.t VALUES (1050, ''x'', 1)', '23505', NULL, 'key twice, in SCM');
SELECT throws_ok('UPDATE v.t SET n = -1 WHERE id = 9', '23514', NULL, 'check constraint');
SELECT lives_ok('INSERT INTO v.part SELECT id, name FROM v.t', 'parts');
SELECT bag_eq('SELECT p.note FROM v.part p JOIN v.t ON t.id = p.t', 'SELECT name FROM h.t', 'joined');
SELECT * FROM finish();
ROLLBACK;
