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
-- the index it promised, made: rows on flash up to 30010, in SCM from 30001 on
CALL twice($$CREATE INDEX t_a ON t (a)$$);
CALL indexed($$SELECT id, a, b FROM t WHERE a BETWEEN 29950 AND 30100$$, 'Index Scan using t_a');
CALL indexed($$SELECT id, a, b FROM t WHERE a BETWEEN 29950 AND 30100$$, 'Bitmap Index Scan on t_a');
CALL same($$SELECT id, a, b FROM t WHERE a BETWEEN 29950 AND 30100$$);
CALL sound('t');
