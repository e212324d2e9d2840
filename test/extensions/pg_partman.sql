-- Partitions made, filled from the default partition, and dropped by pg_partman; each has the parent's access method.
CREATE SCHEMA partman;
CREATE EXTENSION pg_partman SCHEMA partman;
CALL twice($$CREATE TABLE t (id bigint NOT NULL, at timestamptz NOT NULL, what text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at)$$);
SELECT am FROM setting \gset
SET default_table_access_method = heap;
SELECT partman.create_parent('h.t', 'at', 'native', 'daily', p_premake := 3, p_start_partition := (now() - interval '5 days')::date::text);
SET default_table_access_method = :am;
SELECT partman.create_parent('v.t', 'at', 'native', 'daily', p_premake := 3, p_start_partition := (now() - interval '5 days')::date::text);
CALL twice($$INSERT INTO t SELECT i, date_trunc('day', now()) - interval '5 days' + i * interval '2 minutes', 'w' || i FROM generate_series(1, 3000) i$$);
CALL moved('t');
CALL twice($$INSERT INTO t SELECT i, date_trunc('day', now()) - interval '5 days' + i * interval '2 minutes', 'w' || i FROM generate_series(3001, 4000) i$$);
-- these have no partition yet
CALL twice($$INSERT INTO t SELECT i, date_trunc('day', now()) + interval '20 days' + i * interval '1 minute', 'later' FROM generate_series(4001, 4100) i$$);
CALL in_both_places('t');
CALL indexed($$SELECT * FROM t WHERE id BETWEEN 2900 AND 3100$$, 'Index Scan using t_p[0-9_]+_pkey');
CALL indexed($$SELECT * FROM t WHERE id BETWEEN 2900 AND 3100$$, 'Bitmap Index Scan on t_p[0-9_]+_pkey');
CALL same($$SELECT count(*) FROM t_default$$);
SET default_table_access_method = heap;
CALL partman.partition_data_proc('h.t');
SET default_table_access_method = :am;
CALL partman.partition_data_proc('v.t');
CALL gives('SELECT count(*) FROM t_default', '0');
CALL same($$SELECT * FROM t$$);
CALL indexed($$SELECT * FROM t WHERE id BETWEEN 2900 AND 4050$$, 'Index Scan using t_p[0-9_]+_pkey');
UPDATE partman.part_config SET retention = '3 days', retention_keep_table = false, infinite_time_partitions = true;
SET default_table_access_method = heap;
SELECT partman.run_maintenance('h.t');
SET default_table_access_method = :am;
SELECT partman.run_maintenance('v.t');
CALL same($$SELECT * FROM t$$);
CALL same($$SELECT to_char(at, 'YYYYMMDD'), count(*), min(id) FROM t GROUP BY 1$$);
-- the old partitions are gone
CALL gives($$SELECT min(at) >= date_trunc('day', now()) - interval '3 days' FROM t$$, 'true');
CALL gives($$SELECT string_agg(DISTINCT a.amname, ' ') FROM pg_partition_tree('t') p JOIN pg_class c ON c.oid = p.relid JOIN pg_am a ON a.oid = c.relam WHERE p.isleaf$$, :'am');
CALL gives($$SELECT count(*) > 5 FROM pg_partition_tree('t') WHERE isleaf$$, 'true');
CALL moved('t');
CALL same($$SELECT * FROM t WHERE at > now()$$);
CALL sound('t');
