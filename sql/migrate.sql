-- What becomes of stripes that have lost rows, and of their pages.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/test/lib/regress.sql'
\i :setup
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS vdb_am;
RESET client_min_messages;
-- A worker's transaction would keep VACUUM from seeing the latest deletes as over.
ALTER SYSTEM SET vdb.migrate_enabled = off;
SELECT pg_reload_conf();
CALL test_alone();
CREATE TABLE mig (id int PRIMARY KEY, txt text) USING vdb WITH (autovacuum_enabled = off);
CREATE VIEW mig_stripes AS
	SELECT count(*) AS stripes, sum(rows) AS rows, sum(deleted_rows) AS deleted, sum(delta_rows) AS delta_rows, bool_or(in_doubt) AS in_doubt,
		min(written_at) AS oldest
	FROM vdb.stripes('mig');
INSERT INTO mig SELECT g, md5(g::text) FROM generate_series(1, 20000) g;
SELECT vdb.migrate('mig') >= 0 AS moved;
SELECT pool_rows, striped_rows, stripes FROM vdb.tables WHERE relation = 'mig'::regclass;
SELECT stripes, rows, deleted, delta_rows FROM mig_stripes;
SELECT max(first_page + pages) AS pages_first, min(stripe) AS stripe_first FROM vdb.stripes('mig') \gset
-- a tenth of the rows: the stripe stays, its overlay grows
DELETE FROM mig WHERE id % 10 = 0;
SELECT stripes, rows, deleted, delta_rows FROM mig_stripes;
VACUUM (TRUNCATE off) mig;
SELECT min(stripe) = :stripe_first AS same_stripe, sum(rows) AS rows, sum(deleted_rows) AS deleted, sum(delta_rows) AS delta_rows FROM vdb.stripes('mig');
SELECT count(*), sum(id) FROM mig;
SELECT * FROM vdb.verify('mig');
-- a fifth: the stripe is rewritten, row numbers stay, the overlay goes
SELECT ctid AS tid FROM mig WHERE id = 19999 \gset
DELETE FROM mig WHERE id % 10 = 1;
VACUUM (TRUNCATE off) mig;
SELECT min(stripe) > :stripe_first AS new_stripe, sum(rows) AS rows, sum(deleted_rows) AS deleted, sum(delta_rows) AS delta_rows FROM vdb.stripes('mig');
SELECT id FROM mig WHERE ctid = :'tid';
SELECT count(*), sum(id) FROM mig;
SET enable_seqscan = off;
SELECT id FROM mig WHERE id IN (10, 11, 12);
RESET enable_seqscan;
SELECT * FROM vdb.verify('mig');
-- vdb.migrate rewrites too
DELETE FROM mig WHERE id % 10 = 2;
DELETE FROM mig WHERE id % 10 = 3;
SELECT vdb.migrate('mig') AS moved;
SELECT stripes, rows, deleted, delta_rows FROM mig_stripes;
-- the pages of the first stripe were free by then: a later stripe took them
DELETE FROM mig WHERE id % 10 IN (4, 5);
SELECT vdb.migrate('mig') AS moved;
SELECT stripes, rows, deleted, delta_rows FROM mig_stripes;
SELECT max(first_page) < :pages_first AS reused FROM vdb.stripes('mig');
SELECT count(*), sum(id) FROM mig;
SELECT * FROM vdb.verify('mig');
-- changes that come to nothing leave an overlay, which VACUUM folds
BEGIN;
UPDATE mig SET txt = '';
ROLLBACK;
SELECT sum(delta_rows) AS delta_rows FROM vdb.stripes('mig');
VACUUM (TRUNCATE off) mig;
SELECT sum(delta_rows) AS delta_rows FROM vdb.stripes('mig');
BEGIN;
SELECT count(*) FROM (SELECT FROM mig FOR SHARE) x;
COMMIT;
VACUUM (TRUNCATE off) mig;
SELECT sum(delta_rows) AS delta_rows FROM vdb.stripes('mig');
SELECT count(*), sum(id) FROM mig;
SELECT * FROM vdb.verify('mig');
-- no row left: no stripe, no page
DELETE FROM mig;
VACUUM mig;
SELECT * FROM vdb.stripes('mig');
SELECT pool_rows, striped_rows, stripes FROM vdb.tables WHERE relation = 'mig'::regclass;
SELECT pg_relation_size('mig') = current_setting('block_size')::int AS only_metapage;
SELECT count(*) FROM mig;
SELECT * FROM vdb.verify('mig');
-- wide rows: their pages are used again too
CREATE TABLE mig_wide (id int, txt text) USING vdb WITH (autovacuum_enabled = off);
ALTER TABLE mig_wide ALTER txt SET STORAGE EXTERNAL;
INSERT INTO mig_wide SELECT g, repeat(md5(g::text), 2000) FROM generate_series(1, 20) g;
SELECT vdb.migrate('mig_wide') >= 0 AS moved;
SELECT pg_relation_size('mig_wide') AS size_once \gset
-- not before all transactions of that time have ended
SELECT txid_current() > 0 AS one_more;
INSERT INTO mig_wide SELECT g, repeat(md5(g::text), 2000) FROM generate_series(21, 40) g;
SELECT pg_relation_size('mig_wide') <= :size_once AS reused;
SELECT vdb.migrate('mig_wide') >= 0 AS moved;
SELECT count(*), bool_and(txt = repeat(md5(id::text), 2000)) AS whole FROM mig_wide;
SELECT * FROM vdb.verify('mig_wide');
CREATE TABLE mig_old (id int, txt text) USING vdb WITH (autovacuum_enabled = off);
INSERT INTO mig_old SELECT g, md5(g::text) FROM generate_series(1, 6000) g;
SELECT vdb.migrate('mig_old') >= 0 AS moved;
-- CLUSTER and VACUUM FULL leave only what is needed
DELETE FROM mig_old WHERE id % 2 = 0;
VACUUM FULL mig_old;
SELECT vdb.migrate('mig_old') >= 0 AS moved;
SELECT count(*), bool_and(txt = md5(id::text)) AS whole FROM mig_old;
SELECT * FROM vdb.verify('mig_old');
-- a statement that failed between storing a row with ON CONFLICT and confirming it holds nothing back
CREATE TABLE mig_failed (id int PRIMARY KEY, divisor int) USING vdb WITH (autovacuum_enabled = off);
CREATE INDEX ON mig_failed ((10 / divisor));
INSERT INTO mig_failed SELECT g, g FROM generate_series(1, 100) g;
INSERT INTO mig_failed VALUES (101, 0) ON CONFLICT DO NOTHING;
SELECT vdb.migrate('mig_failed') AS moved;
SELECT pool_rows, striped_rows FROM vdb.tables WHERE relation = 'mig_failed'::regclass;
SELECT * FROM vdb.verify('mig_failed');
SELECT * FROM vdb.verify_pool();
DROP VIEW mig_stripes;
DROP TABLE mig, mig_wide, mig_old, mig_failed;
ALTER SYSTEM RESET vdb.migrate_enabled;
SELECT pg_reload_conf();
