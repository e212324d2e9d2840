-- Changes of vdb tables are not decoded: a statement that publishes such a table gives a warning, whichever it may be,
-- with the names. Nothing fails, so that dumps can be restored; heap tables, unlogged and temporary ones are no matter.
SET default_table_access_method = 'vdb';
SET client_min_messages = warning;		-- a server's wal_level is no matter here
CREATE SCHEMA pubs;
SET search_path = pubs, public;
CREATE TABLE v1 (a int PRIMARY KEY);
CREATE TABLE h1 (a int PRIMARY KEY) USING heap;
CREATE UNLOGGED TABLE u1 (a int);
CREATE TABLE "Odd name" (a int);
CREATE TABLE parent (a int) PARTITION BY LIST (a);
CREATE TABLE part1 PARTITION OF parent FOR VALUES IN (1);
CREATE TABLE part2 PARTITION OF parent FOR VALUES IN (2) USING heap;

-- publications
SET client_min_messages = error;
CREATE PUBLICATION quiet FOR TABLE h1;
RESET client_min_messages;
CREATE PUBLICATION p_v FOR TABLE v1;
CREATE PUBLICATION p_h FOR TABLE h1;
ALTER PUBLICATION p_h ADD TABLE "Odd name";
ALTER PUBLICATION p_h SET TABLE h1, v1;
ALTER PUBLICATION p_h DROP TABLE v1;
ALTER PUBLICATION p_h SET (publish = 'insert');
CREATE PUBLICATION p_part FOR TABLE parent WITH (publish_via_partition_root = true);
DROP PUBLICATION p_part, p_v;
CREATE PUBLICATION p_schema FOR TABLES IN SCHEMA pubs;
DROP PUBLICATION p_schema, p_h;
-- five names, and the rest is counted
CREATE TABLE n3 (a int);
CREATE TABLE n4 (a int);
CREATE TABLE n5 (a int);
CREATE TABLE n6 (a int);
CREATE TABLE n7 (a int);
CREATE PUBLICATION p_many FOR TABLE v1, h1, "Odd name", n3, n4, n5, n6, n7;
DROP PUBLICATION p_many;

-- tables of what is published already
CREATE PUBLICATION p_part FOR TABLE parent;
CREATE TABLE part3 PARTITION OF parent FOR VALUES IN (3);
CREATE TABLE part4 PARTITION OF parent FOR VALUES IN (4) USING heap;
ALTER TABLE part4 SET ACCESS METHOD vdb;
CREATE TABLE part5 (a int);
ALTER TABLE parent ATTACH PARTITION part5 FOR VALUES IN (5);
CREATE TABLE part6 (a int) PARTITION BY LIST (a);
CREATE TABLE part61 PARTITION OF part6 FOR VALUES IN (61);
ALTER TABLE parent ATTACH PARTITION part6 FOR VALUES IN (61);
DROP PUBLICATION p_part;

CREATE SCHEMA pubs2;
CREATE PUBLICATION p_schema FOR TABLES IN SCHEMA pubs2;
CREATE TABLE pubs2.made (a int);
CREATE TABLE pubs2.asked AS SELECT 1 AS a;
CREATE UNLOGGED TABLE pubs2.unlogged (a int);
ALTER TABLE pubs2.unlogged SET LOGGED;
ALTER TABLE v1 SET SCHEMA pubs2;
ALTER TABLE h1 SET SCHEMA pubs2;
ALTER TABLE pubs2.h1 ADD COLUMN b int;
CREATE TEMP TABLE t1 (a int);
CREATE MATERIALIZED VIEW pubs2.mv AS SELECT 1 AS a;
DROP PUBLICATION p_schema;

-- all tables
SET client_min_messages = error;
CREATE PUBLICATION p_all FOR ALL TABLES;
RESET client_min_messages;
CREATE TABLE late (a int);
CREATE TABLE late_heap (a int) USING heap;
ALTER TABLE late_heap SET ACCESS METHOD vdb;
ALTER TABLE late_heap SET ACCESS METHOD heap;
SELECT count(*) FROM pg_publication_tables WHERE pubname = 'p_all' AND tablename = 'late';
DROP PUBLICATION p_all, quiet;
SET client_min_messages = error;
DROP SCHEMA pubs, pubs2 CASCADE;
