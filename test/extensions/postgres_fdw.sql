-- vdb as the remote side, and joined with a table of this side.
CREATE EXTENSION postgres_fdw;
SELECT format('CREATE SERVER loop FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host %L, port %L, dbname %L, use_remote_estimate %L)',
	split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_database(), 'true') \gexec
CREATE USER MAPPING FOR CURRENT_USER SERVER loop;
CALL twice($$CREATE TABLE t (id int PRIMARY KEY, name text, n numeric)$$);
CALL twice($$CREATE TABLE other (id int, note text); INSERT INTO other SELECT i, 'note ' || i FROM generate_series(1, 4000, 3) i$$);
CALL twice($$CREATE FOREIGN TABLE f (id int, name text, n numeric) SERVER loop OPTIONS (schema_name '{s}', table_name 't', batch_size '50')$$);
CALL twice($$CREATE FOREIGN TABLE f_other (id int, note text) SERVER loop OPTIONS (schema_name '{s}', table_name 'other')$$);
-- what RETURNING says goes here
CALL twice($$CREATE TABLE said (what text, id int, name text, n numeric)$$);
CALL twice($$INSERT INTO f SELECT i, 'name ' || i, i / 4.0 FROM generate_series(1, 2000) i$$);
CALL moved('t');
CALL twice($$WITH r AS (INSERT INTO f SELECT i, 'late ' || i, NULL FROM generate_series(2001, 2500) i RETURNING *) INSERT INTO said SELECT 'insert', * FROM r$$);
CALL in_both_places('t');
CALL same($$SELECT * FROM f$$);
CALL same($$SELECT * FROM t$$);
CALL same($$SELECT count(*), sum(n), max(name) FROM f WHERE id BETWEEN 100 AND 2300$$);
CALL by($$SELECT f.id, o.note FROM f JOIN f_other o USING (id)$$, 'Remote SQL: SELECT .* INNER JOIN');
CALL same($$SELECT f.id, o.note FROM f JOIN f_other o USING (id)$$);
CALL same($$SELECT f.id, o.note FROM f JOIN other o USING (id) WHERE f.n IS NULL OR f.n < 50$$);
-- pushed down whole, and row by row (by ctid)
CALL by($$UPDATE f SET n = n + 1 WHERE id % 10 = 0$$, 'Foreign Update on');
CALL twice($$WITH r AS (UPDATE f SET n = n + 1 WHERE id % 10 = 0 RETURNING *) INSERT INTO said SELECT 'update', * FROM r$$);
CALL by($$UPDATE f SET name = o.note FROM other o WHERE o.id = f.id AND random() >= 0$$, 'WHERE ctid = \$1');
CALL twice($$WITH r AS (UPDATE f SET name = o.note FROM other o WHERE o.id = f.id AND o.id % 2 = 0 AND random() >= 0 RETURNING f.*) INSERT INTO said SELECT 'update by ctid', * FROM r$$);
CALL twice($$WITH r AS (DELETE FROM f WHERE id % 13 = 2 RETURNING *) INSERT INTO said SELECT 'delete', * FROM r$$);
CALL twice($$WITH r AS (DELETE FROM f WHERE id % 13 = 4 AND random() >= 0 RETURNING *) INSERT INTO said SELECT 'delete by ctid', * FROM r$$);
CALL twice($$INSERT INTO f VALUES (1, 'again', 0) ON CONFLICT DO NOTHING$$);
CALL refused($$INSERT INTO f VALUES (1, 'again', 0)$$, '23505');
CALL same($$SELECT * FROM said$$);
CALL same($$SELECT what, count(*) FROM said GROUP BY what$$);
CALL gives('SELECT count(DISTINCT what) FROM said', '5');
CALL same($$SELECT * FROM t$$);
CALL moved('t');
CALL same($$SELECT * FROM f ORDER BY name LIMIT 50$$);
ANALYZE v.f;
CALL same($$SELECT * FROM f$$);
CREATE SCHEMA imported;
IMPORT FOREIGN SCHEMA v LIMIT TO (t) FROM SERVER loop INTO imported;
CALL gives('SELECT count(*) = (SELECT count(*) FROM h.t) FROM imported.t', 'true');
CALL sound('t');
