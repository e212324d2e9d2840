CREATE EXTENSION pg_stat_statements;
CALL twice($$CREATE TABLE t (id int PRIMARY KEY, n int)$$);
SELECT pg_stat_statements_reset();
INSERT INTO v.t SELECT i, i FROM generate_series(1, 1000) i;
CALL moved('t');
INSERT INTO v.t SELECT i, i FROM generate_series(1001, 1200) i;
CALL in_both_places('t');
SELECT count(*), sum(n) FROM v.t WHERE n > 10;
SELECT count(*), sum(n) FROM v.t WHERE n > 20;
UPDATE v.t SET n = n + 1 WHERE id <= 300;
DELETE FROM v.t WHERE id > 1100;
COPY v.t (id) FROM stdin;
5001
5002
\.
SELECT * FROM v.t;
CREATE TABLE v.copied USING heap AS SELECT * FROM v.t;
CREATE VIEW seen AS SELECT s.query, s.calls, s.rows, s.wal_bytes FROM pg_stat_statements s
	WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database());
-- calls and rows; both INSERTs are one statement, and both SELECTs of sums
CALL gives($$SELECT string_agg(calls || ' ' || rows, ', ' ORDER BY query COLLATE "C") FROM seen WHERE query ~ 'v\.t( |$)' AND query !~ '^CALL|v\.t \(id int'$$,
	'1 2, 1 1102, 1 100, 2 1200, 1 1102, 2 2, 1 300');
CALL gives($$SELECT count(*) FROM seen WHERE query ~ '^(INSERT|UPDATE|DELETE|COPY)' AND wal_bytes > 0$$, '4');
