CREATE EXTENSION hypopg;
CALL twice($$CREATE TABLE t (id int, a int, b text)$$);
CALL twice($$INSERT INTO t SELECT i, i * 7919 % 30011, md5(i::text) FROM generate_series(1, 30000) i$$);
CALL moved('t');
CALL twice($$INSERT INTO t SELECT i, i, md5(i::text) FROM generate_series(30001, 30500) i$$);
CALL in_both_places('t');
ANALYZE v.t;
SELECT * FROM hypopg_create_index('CREATE INDEX ON v.t (a)');
CALL by($$SELECT id FROM t WHERE a = 77$$, 'Index Scan (using|on) "?<[0-9]+>btree_v_t_a');
-- EXPLAIN ANALYZE and execution know of no such index
CALL same($$SELECT id, b FROM t WHERE a = 77$$);
CALL gives('SELECT hypopg_relation_size(indexrelid) > 8192 FROM hypopg_list_indexes', 'true');
SELECT hypopg_reset();
CALL by($$SELECT id FROM t WHERE a = 77$$, '(Seq|VdbScan)');
