CREATE EXTENSION tablefunc;
CALL twice($$CREATE TABLE t (who text, attr text, val int)$$);
CALL twice($$INSERT INTO t SELECT 'p' || i, 'a' || a, i * a FROM generate_series(1, 300) i, generate_series(1, 4) a WHERE (i + a) % 5 <> 0$$);
CALL twice($$CREATE TABLE tree (id int PRIMARY KEY, parent int)$$);
CALL twice($$CREATE INDEX t_who ON t (who); CREATE INDEX tree_parent ON tree (parent)$$);
CALL twice($$INSERT INTO tree SELECT i, nullif(i / 3, 0) FROM generate_series(1, 400) i$$);
CALL moved('t');
CALL moved('tree');
CALL twice($$INSERT INTO t SELECT 'q' || i, 'a' || i % 4 + 1, i FROM generate_series(1, 50) i$$);
CALL twice($$INSERT INTO tree SELECT i, i / 3 FROM generate_series(401, 500) i; UPDATE tree SET parent = 2 WHERE id = 100$$);
CALL in_both_places('t');
CALL in_both_places('tree');
CALL same($$SELECT * FROM crosstab('SELECT who, attr, val FROM t ORDER BY 1, 2', 'SELECT DISTINCT attr FROM t ORDER BY 1') AS c (who text, a1 int, a2 int, a3 int, a4 int)$$);
CALL same($$SELECT * FROM connectby('tree', 'id', 'parent', '2', 0, '~') AS c (id int, parent int, level int, branch text)$$);
-- what the functions ask for, by index: rows of both places
CALL indexed($$SELECT who, attr, val FROM t WHERE who >= 'p98'$$, 'Index Scan using t_who');
CALL indexed($$SELECT id, parent FROM tree WHERE parent = 2$$, 'Index Scan using tree_parent');
CALL indexed($$SELECT id, parent FROM tree WHERE parent = 2$$, 'Bitmap Index Scan on tree_parent');
-- and what they make of it
CALL indexed($$SELECT * FROM crosstab('SELECT who, attr, val FROM t WHERE who >= ''p98'' ORDER BY 1, 2', 'VALUES (''a1''), (''a2''), (''a3''), (''a4'')') AS c (who text, a1 int, a2 int, a3 int, a4 int)$$, 'crosstab');
CALL indexed($$SELECT * FROM connectby('tree', 'id', 'parent', '2', 0, '~') AS c (id int, parent int, level int, branch text)$$, 'connectby');
CALL sound('t');
CALL sound('tree');
