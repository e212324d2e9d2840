-- wanted: Query Text: SELECT sum\(n\) FROM v\.t WHERE n > 100
-- wanted: Custom Scan \(VdbScan\) on (v\.)?t
-- wanted: Update on (v\.)?t
SET client_min_messages = log;
SET auto_explain.log_min_duration = 0;
SET auto_explain.log_analyze = on;
SET auto_explain.log_buffers = on;
SET auto_explain.log_verbose = on;
SET auto_explain.log_triggers = on;
SET auto_explain.log_wal = on;
SET auto_explain.log_nested_statements = on;
SET auto_explain.log_settings = on;
CALL twice($$CREATE TABLE t (id int PRIMARY KEY, n int)$$);
CALL twice($$INSERT INTO t SELECT i, i FROM generate_series(1, 3000) i$$);
CALL moved('t');
CALL twice($$INSERT INTO t SELECT i, i FROM generate_series(3001, 3500) i$$);
CALL in_both_places('t');
SELECT sum(n) FROM v.t WHERE n > 100;
SET auto_explain.log_format = json;
SELECT sum(n) FROM v.t WHERE n > 200;
SET auto_explain.log_format = text;
UPDATE v.t SET n = n + 1 WHERE id = 7;
DECLARE c CURSOR WITH HOLD FOR SELECT * FROM v.t WHERE n > 3000;
FETCH 5 FROM c;
CLOSE c;
CALL gives('SELECT sum(n) FROM t', '6126751');
