# Logical decoding beside heap: the same statements on a heap table and on a vdb table, with its rows in the pool, moved to stripes
# before each statement that finds them settled, and moved around every statement, in progress or not. test_decoding must print the
# same each time, old keys, whole old rows and unchanged values out of line included.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;
use DecodeTest;

plan skip_all => 'test_decoding is not installed' unless has_plugin('test_decoding');

my $node = new_node('decode', init => { allows_streaming => 'logical' },
	conf => "autovacuum = off\nvdb.migrate_enabled = off\nlogical_decoding_work_mem = 64kB\nmax_prepared_transactions = 10\n");
$node->safe_psql('postgres', "SELECT pg_create_logical_replication_slot('s', 'test_decoding', false, true)");
my $options = "'include-xids', '0', 'skip-empty-xacts', '1'";

# Runs a script with an access method and a setting for moving; returns the stream, and how many rows moved.
sub run_one
{
	my ($am, $moves, $script, $more) = @_;
	$node->safe_psql('postgres', "SELECT count(*) FROM pg_logical_slot_get_changes('s', NULL, NULL)");
	my $moved = run_script($node, $am, $moves, $script);
	my $stream = $node->safe_psql('postgres',
		"SELECT data FROM pg_logical_slot_get_changes('s', NULL, NULL, $options" . ($more // '') . ')');
	return ($stream, $moved);
}

# The order of the rows that one statement changes is heap's free space's: opt{sorted} sorts the changes of each transaction.
sub same_stream
{
	my ($label, $script, %opt) = @_;
	my ($heap) = run_one('heap', 'off', $script, $opt{options});
	like($heap, $opt{has}, "$label: heap's stream has what it is about") if $opt{has};
	return unless has_vdb();
	$heap = sorted_changes($heap) if $opt{sorted};
	for my $moves ('off', 'resolved', 'all')
	{
		my ($vdb, $moved) = run_one('vdb', $moves, $script, $opt{options});
		$vdb = sorted_changes($vdb) if $opt{sorted};
		ok($vdb eq $heap, "$label, moves $moves: as heap") or diag(first_difference($vdb, $heap));
		cmp_ok($moved, '>', 0, "$label, moves $moves: rows moved") if $moves ne 'off';
	}
	return;
}

# ---- the four kinds of identity, in every kind of table ----

my $rows = q{
INSERT INTO t SELECT g, 'k' || g, g * 10, 'v' || g FROM generate_series(1, 12) g;
SELECT count(*) FROM t;
UPDATE t SET v = 'new' WHERE a = 1;
UPDATE t SET a = 102 WHERE a = 2;
UPDATE t SET k = 'k103' WHERE a = 3;
UPDATE t SET n = 7, v = NULL WHERE a = 4;
DELETE FROM t WHERE a = 5;
UPDATE t SET v = v WHERE a = 6;
BEGIN; UPDATE t SET v = 'x' WHERE a = 7; UPDATE t SET v = 'y' WHERE a = 7; UPDATE t SET a = 107 WHERE a = 7; DELETE FROM t WHERE a = 107; COMMIT;
BEGIN; INSERT INTO t VALUES (50, 'k50', 500, 'v'); DELETE FROM t WHERE a = 50; COMMIT;
BEGIN; SELECT a FROM t WHERE a = 8 FOR UPDATE; UPDATE t SET v = 'locked' WHERE a = 8; COMMIT;
DELETE FROM t;
};
my $columns = 'a int NOT NULL, k text NOT NULL, n int, v text';
for my $case (
	[ 'default', "CREATE TABLE t ($columns, PRIMARY KEY (a));" ],
	[ 'default, two columns', "CREATE TABLE t ($columns, PRIMARY KEY (k, a));" ],
	[ 'default without a key', "CREATE TABLE t ($columns); CREATE UNIQUE INDEX ON t (a);" ],
	[ 'index', "CREATE TABLE t ($columns, PRIMARY KEY (a)); CREATE UNIQUE INDEX i ON t (k); ALTER TABLE t REPLICA IDENTITY USING INDEX i;" ],
	[ 'full', "CREATE TABLE t ($columns, PRIMARY KEY (a)); ALTER TABLE t REPLICA IDENTITY FULL;" ],
	[ 'full without a key', "CREATE TABLE t ($columns); ALTER TABLE t REPLICA IDENTITY FULL;" ],
	[ 'nothing', "CREATE TABLE t ($columns, PRIMARY KEY (a)); ALTER TABLE t REPLICA IDENTITY NOTHING;" ],
	[ 'columns dropped and added', "CREATE TABLE t (x text DEFAULT 'dropped', a int, y int, k text NOT NULL, n int, PRIMARY KEY (a)); INSERT INTO t VALUES ('x', 1000, 2, 'k', 4);
		ALTER TABLE t DROP COLUMN x, DROP COLUMN y; ALTER TABLE t ADD COLUMN v text DEFAULT 'added'; UPDATE t SET n = 5; ALTER TABLE t REPLICA IDENTITY FULL; DELETE FROM t;" ])
{
	same_stream("identity $case->[0]", "$case->[1]\n$rows", has => qr/DELETE/);
}

# ---- values out of line ----

my $random = q{
CREATE FUNCTION r(n int, seed int) RETURNS text LANGUAGE sql AS $$ SELECT string_agg(md5((g * 1000 + seed)::text), '') FROM generate_series(1, n / 32) g $$;
};
same_stream('toast', $random . q{
CREATE TABLE t (id int PRIMARY KEY, a text, b text, n int);
ALTER TABLE t ALTER a SET STORAGE EXTERNAL;
INSERT INTO t VALUES (1, r(3000, 1), r(3000, 2), 0), (2, repeat('a', 4000), repeat('b', 40000), 0), (3, 'short', r(50000, 3), 0), (4, r(1600, 4), r(1600, 5), 0);
INSERT INTO t VALUES (5, r(40, 1), r(1000, 1), 0), (6, NULL, repeat('compressible', 100000), 0);
UPDATE t SET n = 1;
UPDATE t SET a = 'other' WHERE id = 1;
UPDATE t SET n = 2, b = b || 'more' WHERE id IN (1, 3);
UPDATE t SET a = r(3000, 9);
UPDATE t SET a = r(3000, 9);
UPDATE t SET id = id + 10;
BEGIN; UPDATE t SET n = 3; SAVEPOINT x; UPDATE t SET a = repeat('z', 9000); ROLLBACK TO x; UPDATE t SET n = 4; COMMIT;
ALTER TABLE t REPLICA IDENTITY FULL;
UPDATE t SET n = 5;
DELETE FROM t;
}, has => qr/unchanged-toast-datum/, sorted => 1);

same_stream('storage main, plain and other targets', $random . q{
CREATE TABLE t (id int PRIMARY KEY, m text, p text, e text, n int);
ALTER TABLE t ALTER m SET STORAGE MAIN, ALTER p SET STORAGE PLAIN;
INSERT INTO t VALUES (1, r(5000, 1), 'plain', 'e', 0), (2, r(9000, 2), 'plain', r(3000, 3), 0), (3, repeat('m', 9000), 'plain', r(9000, 4), 0), (4, r(1000, 5), r(900, 6), r(800, 7), 0);
UPDATE t SET n = 1;
ALTER TABLE t SET (toast_tuple_target = 256);
INSERT INTO t VALUES (5, r(300, 5), r(100, 6), r(300, 7), 0);
UPDATE t SET n = 2 WHERE id = 5;
DELETE FROM t;
}, has => qr/unchanged-toast-datum/, sorted => 1);

same_stream('many small columns', $random . q{
CREATE TABLE t (id int PRIMARY KEY, n int);
SELECT 'ALTER TABLE t ' || string_agg('ADD COLUMN c' || g || ' text', ', ') FROM generate_series(1, 120) g \gexec
SELECT 'INSERT INTO t SELECT 1, 0, ' || string_agg(format('left(r(64, %s), %s)', g, 20 + g % 40), ', ') FROM generate_series(1, 120) g \gexec
UPDATE t SET n = 1;
UPDATE t SET c7 = 'seven', c100 = NULL;
DELETE FROM t;
}, has => qr/unchanged-toast-datum/, sorted => 1);

same_stream('a key out of line', $random . q{
CREATE TABLE t (k text PRIMARY KEY, v text, n int);
INSERT INTO t VALUES (r(2400, 1), r(2000, 2), 0), (repeat('key', 9000), 'v', 0), ('short', r(3000, 3), 0);
UPDATE t SET n = 1;
UPDATE t SET k = 'k' || left(k, 100) WHERE n = 1 AND k <> 'short';
DELETE FROM t;
}, has => qr/old-key/);

same_stream('arrays, composites, domains', q{
CREATE TYPE c AS (x int, y text);
CREATE DOMAIN d AS text CHECK (value <> '');
CREATE TABLE t (id int PRIMARY KEY, a int[], c c, d d, j jsonb, b bytea, bits bit varying, nm numeric, f float8, ts timestamptz, en boolean);
INSERT INTO t VALUES (1, '{1,2,3}', '(1,two)', 'd', '{"a": [1, 2]}', '\x00ff', B'101', 1.500, 1e10, '2020-02-02 02:02:02+02', true);
INSERT INTO t (id, a, j) SELECT 2, array_agg(g), jsonb_agg(md5(g::text)) FROM generate_series(1, 3000) g;
UPDATE t SET f = 2;
UPDATE t SET a[2] = 7, c.y = 'new';
DELETE FROM t;
});

# ---- rows wider than a block, and old rows of that size ----

my $wide = $random . q{
CREATE TABLE t (id int PRIMARY KEY, a text, b text, n int);
ALTER TABLE t ALTER a SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL;
INSERT INTO t SELECT g, r(20000, g), r(g * 9000, g), 0 FROM generate_series(1, 12) g;
INSERT INTO t VALUES (20, repeat('0123456789', 300000), NULL, 0);
UPDATE t SET n = 1;
UPDATE t SET a = 'short' WHERE id < 4;
BEGIN;
INSERT INTO t VALUES (30, r(30000, 1), r(30000, 2), 0);
SAVEPOINT x; INSERT INTO t SELECT g, r(40000, g), 'gone', 0 FROM generate_series(31, 35) g; UPDATE t SET b = r(50000, 7); ROLLBACK TO x;
SAVEPOINT y; INSERT INTO t SELECT g, r(40000, g), 'kept', 0 FROM generate_series(31, 35) g; RELEASE y;
UPDATE t SET n = 2 WHERE id >= 30; DELETE FROM t WHERE id = 31;
COMMIT;
INSERT INTO t VALUES (30, r(50000, 8), 'conflict', 0) ON CONFLICT (id) DO UPDATE SET n = 9, b = excluded.a;
INSERT INTO t VALUES (40, r(50000, 8), 'no conflict', 0) ON CONFLICT (id) DO UPDATE SET n = 9;
BEGIN; INSERT INTO t VALUES (50, r(50000, 8), 'aborted', 0); ROLLBACK;
ALTER TABLE t REPLICA IDENTITY FULL;
UPDATE t SET n = 3;
UPDATE t SET b = NULL WHERE id = 5;
DELETE FROM t WHERE id % 2 = 0;
DELETE FROM t;
};
same_stream('wide rows', $wide, has => qr/unchanged-toast-datum/);

# ---- many rows ----

$node->safe_psql('postgres', "COPY (SELECT g, md5(g::text), CASE WHEN g % 900 = 0 THEN repeat(md5(g::text), 1000) END FROM generate_series(1, 3000) g) TO '" . $node->basedir . "/rows'");
my $copy = "COPY t FROM '" . $node->basedir . "/rows'";
same_stream('COPY', "CREATE TABLE t (a int PRIMARY KEY, b text, c text);\nALTER TABLE t ALTER c SET STORAGE EXTERNAL;\n$copy;\nUPDATE t SET a = -a WHERE a % 100 = 0;\nDELETE FROM t WHERE a < 300;\n");
same_stream('COPY (FREEZE)', "BEGIN;\nCREATE TABLE t (a int PRIMARY KEY, b text, c text);\n$copy (FREEZE);\nCOMMIT;\nUPDATE t SET b = 'u' WHERE a % 1000 = 0;\n");
same_stream('COPY after TRUNCATE, one transaction', "CREATE TABLE t (a int, b text, c text);\nINSERT INTO t VALUES (0);\nBEGIN;\nTRUNCATE t;\n$copy (FREEZE);\nDELETE FROM t WHERE a > 5;\nCOMMIT;\n");
same_stream('CREATE TABLE AS, materialized views', q{
CREATE TABLE t AS SELECT g AS a, 'x' || g AS b FROM generate_series(1, 1000) g;
CREATE MATERIALIZED VIEW m AS SELECT * FROM t WHERE a < 10;
UPDATE t SET a = -a WHERE a < 5;
REFRESH MATERIALIZED VIEW m;
});

# ---- transactions ----

same_stream('subtransactions', q{
CREATE TABLE t (a int PRIMARY KEY, b text);
INSERT INTO t SELECT g, 'b' FROM generate_series(1, 20) g;
BEGIN;
UPDATE t SET b = 'top' WHERE a = 1;
SAVEPOINT one; INSERT INTO t VALUES (101, 'one'); UPDATE t SET b = 'one' WHERE a = 2;
SAVEPOINT two; DELETE FROM t WHERE a = 3; SAVEPOINT three; UPDATE t SET a = 104 WHERE a = 4; ROLLBACK TO two;
DELETE FROM t WHERE a = 5; RELEASE one;
SAVEPOINT four; DELETE FROM t; ROLLBACK TO four;
INSERT INTO t VALUES (102, 'top');
COMMIT;
BEGIN; DELETE FROM t; ROLLBACK;
DO $$ BEGIN FOR i IN 201..220 LOOP BEGIN INSERT INTO t VALUES (i, 'block'); IF i % 3 = 0 THEN RAISE division_by_zero; END IF; EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$;
});

same_stream('two-phase', q{
CREATE TABLE t (a int PRIMARY KEY, b text);
INSERT INTO t SELECT g, 'b' FROM generate_series(1, 20) g;
BEGIN; UPDATE t SET b = 'p' WHERE a < 4; DELETE FROM t WHERE a = 5; SAVEPOINT s; DELETE FROM t WHERE a = 6; ROLLBACK TO s; PREPARE TRANSACTION 'one';
BEGIN; INSERT INTO t VALUES (100, repeat('w', 20000)); PREPARE TRANSACTION 'two';
COMMIT PREPARED 'one';
ROLLBACK PREPARED 'two';
BEGIN; ALTER TABLE t ADD COLUMN c int; INSERT INTO t VALUES (101, 'x', 1); PREPARE TRANSACTION 'three'; COMMIT PREPARED 'three';
}, has => qr/PREPARE TRANSACTION 'one'/);

same_stream('origins', q{
CREATE TABLE t (a int PRIMARY KEY, b text);
ALTER TABLE t ALTER b SET STORAGE EXTERNAL;
SELECT pg_replication_origin_create('o') WHERE NOT EXISTS (SELECT FROM pg_replication_origin WHERE roname = 'o');
INSERT INTO t VALUES (1, 'local');
SELECT pg_replication_origin_session_setup('o');
BEGIN; INSERT INTO t VALUES (2, 'remote'), (3, repeat('remote', 10000)); UPDATE t SET b = 'r' WHERE a = 1; DELETE FROM t WHERE a = 1; COMMIT;
INSERT INTO t VALUES (4, 'remote') ON CONFLICT DO NOTHING;
SELECT pg_replication_origin_session_reset();
INSERT INTO t VALUES (5, 'local');
}, options => ", 'only-local', '1'", has => qr/\A(?!.*remote).*'local'/s);

# ---- tables that change ----

same_stream('catalog changes in between', q{
CREATE TABLE t (a int PRIMARY KEY, b text);
INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, 'three');
BEGIN;
INSERT INTO t VALUES (4, 'four');
ALTER TABLE t ADD COLUMN c int DEFAULT 7;
UPDATE t SET c = 8 WHERE a = 1;
ALTER TABLE t RENAME COLUMN b TO bb;
INSERT INTO t VALUES (5, 'five', 5);
SAVEPOINT s; ALTER TABLE t DROP COLUMN c; INSERT INTO t VALUES (6, 'six'); ROLLBACK TO s;
ALTER TABLE t RENAME TO u;
DELETE FROM u WHERE a = 2;
ALTER TABLE u REPLICA IDENTITY FULL;
DELETE FROM u WHERE a = 3;
COMMIT;
UPDATE u SET bb = 'end';
ALTER TABLE u DROP COLUMN bb;
UPDATE u SET c = 1;
DELETE FROM u;
DROP TABLE u;
});

same_stream('rewritten', q{
CREATE TABLE t (a int PRIMARY KEY, b text, c int DEFAULT 1);
INSERT INTO t SELECT g, repeat('b', g * 100) FROM generate_series(1, 100) g;
ALTER TABLE t ALTER c TYPE bigint;
UPDATE t SET c = 2 WHERE a = 1;
BEGIN; INSERT INTO t VALUES (1001, 'before'); ALTER TABLE t ADD COLUMN d float8 DEFAULT random(); UPDATE t SET d = 0; DELETE FROM t WHERE a < 10; COMMIT;
CLUSTER t USING t_pkey;
UPDATE t SET c = 3 WHERE a = 11;
VACUUM FULL t;
DELETE FROM t WHERE a = 12;
BEGIN; TRUNCATE t; INSERT INTO t VALUES (1, 'after', 1, 1); TRUNCATE t; INSERT INTO t VALUES (2, 'after', 1, 1); COMMIT;
BEGIN; SAVEPOINT s; TRUNCATE t; INSERT INTO t VALUES (3, 'gone', 1, 1); ROLLBACK TO s; UPDATE t SET b = 'kept'; COMMIT;
ALTER TABLE t SET UNLOGGED;
INSERT INTO t VALUES (4, 'unlogged', 1, 1);
ALTER TABLE t SET LOGGED;
INSERT INTO t VALUES (5, 'logged', 1, 1);
}, has => qr/TRUNCATE/, sorted => 1);

# as each of two access methods; heap's twin is rewritten at the same places
same_stream('SET ACCESS METHOD', q{
CREATE TABLE t (a int PRIMARY KEY, b text) USING heap;
INSERT INTO t SELECT g, repeat(md5(g::text), g * 10) FROM generate_series(1, 60) g;
BEGIN; UPDATE t SET b = 'heap' WHERE a = 1; ALTER TABLE t SET ACCESS METHOD :am; UPDATE t SET b = 'am' WHERE a = 2; INSERT INTO t VALUES (100, 'x'); COMMIT;
UPDATE t SET a = a + 200 WHERE a < 4;
BEGIN; DELETE FROM t WHERE a = 50; SAVEPOINT s; ALTER TABLE t SET ACCESS METHOD heap; DELETE FROM t WHERE a = 51; ROLLBACK TO s; DELETE FROM t WHERE a = 52; COMMIT;
ALTER TABLE t SET ACCESS METHOD heap;
DELETE FROM t WHERE a = 53;
ALTER TABLE t SET ACCESS METHOD :am;
DELETE FROM t;
}, sorted => 1);

same_stream('partitions, half of them heap', q{
CREATE TABLE t (a int, b text, PRIMARY KEY (a)) PARTITION BY RANGE (a);
CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (100);
CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (100) TO (200) USING heap;
CREATE TABLE t3 (b text, x int, a int NOT NULL);
ALTER TABLE t3 DROP COLUMN x;
ALTER TABLE t ATTACH PARTITION t3 FOR VALUES FROM (200) TO (300);
INSERT INTO t SELECT g, repeat(md5(g::text), 100) FROM generate_series(0, 290, 10) g;
UPDATE t SET a = a + 103 WHERE a < 50;
UPDATE t SET b = left(b, 10) WHERE a % 20 = 0 AND a < 200;
UPDATE t SET a = a + 5 WHERE a > 100;
DELETE FROM t WHERE a > 150;
ALTER TABLE t DETACH PARTITION t1;
INSERT INTO t1 VALUES (1, 'detached');
TRUNCATE t;
});

same_stream('upsert, MERGE, triggers, generated columns, rules', q{
CREATE TABLE t (a int PRIMARY KEY, b text, n int DEFAULT 0, g int GENERATED ALWAYS AS (n * 2) STORED);
CREATE TABLE log (x serial, what text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log (what) VALUES (TG_OP); IF TG_OP = 'UPDATE' THEN NEW.n := NEW.n + 1; END IF; RETURN coalesce(NEW, OLD); END $$;
CREATE TRIGGER note BEFORE INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION note();
INSERT INTO t SELECT g, 'b' FROM generate_series(1, 10) g;
INSERT INTO t SELECT g, 'c' FROM generate_series(5, 15) g ON CONFLICT (a) DO UPDATE SET b = excluded.b;
INSERT INTO t VALUES (1, 'd') ON CONFLICT DO NOTHING;
MERGE INTO t USING (SELECT g FROM generate_series(12, 20) g) s ON t.a = s.g WHEN MATCHED AND a = 13 THEN DELETE WHEN MATCHED THEN UPDATE SET b = 'm' WHEN NOT MATCHED THEN INSERT (a, b) VALUES (g, 'new');
CREATE TABLE child (a int REFERENCES t ON UPDATE CASCADE ON DELETE CASCADE);
INSERT INTO child SELECT g FROM generate_series(1, 5) g;
UPDATE t SET a = 101 WHERE a = 1;
DELETE FROM t WHERE a = 2;
WITH x AS (DELETE FROM t WHERE a > 15 RETURNING *) INSERT INTO log (what) SELECT b FROM x;
});

# ---- what is no change of a row ----

if (has_vdb())
{
	my $drain = "SELECT data FROM pg_logical_slot_get_changes('s', NULL, NULL, $options)";
	# stripes, their rows, those of them that are removed, those with a record in the pool, and how old the oldest transaction id may be
	my $state = "SELECT count(*), coalesce(sum(rows), 0), coalesce(sum(deleted_rows), 0), coalesce(sum(delta_rows), 0), (SELECT age(relfrozenxid) FROM pg_class WHERE oid = 's.t'::regclass) FROM vdb.stripes('s.t')";
	run_one('vdb', 'off', q{
CREATE TABLE t (a int PRIMARY KEY, b text);
INSERT INTO t SELECT g, md5(g::text) FROM generate_series(1, 5000) g;
INSERT INTO t VALUES (0, repeat('wide', 30000));
DELETE FROM t WHERE a % 5 = 0 AND a > 0;
});
	# a change, then what must emit nothing, and the state that shows that it was done
	for my $step (
		[ 'SELECT 1', "CALL test_migrate('s.t')", 'migration', '1|4001|0|0|' ],
		[ 'SELECT 1', 'SELECT a FROM s.t WHERE a < 100 FOR UPDATE; BEGIN; SELECT FROM s.t WHERE a = 101 FOR KEY SHARE; SAVEPOINT x; SELECT FROM s.t WHERE a = 101 FOR SHARE; COMMIT', 'locks', '1|4001|0|82|' ],
		[ 'DELETE FROM s.t WHERE a % 50 = 1', 'VACUUM s.t', 'folding by VACUUM', '1|4001|100|0|' ],
		[ 'INSERT INTO s.t SELECT g, md5(g::text) FROM generate_series(6001, 7000) g', "CALL test_migrate('s.t')", 'a second stripe', '2|5001|100|0|' ],
		[ 'DELETE FROM s.t WHERE a % 2 = 1', "VACUUM s.t; CALL test_migrate('s.t'); CALL test_migrate('s.t')", 'merging and compaction', '1|2501|0|0|' ],
		[ 'INSERT INTO s.t VALUES (7999, NULL)', 'VACUUM (FREEZE) s.t', 'freezing', '1|2501|0|0|' ],
		[ 'INSERT INTO s.t VALUES (8000, NULL)', 'ANALYZE s.t; CREATE INDEX ON s.t (b); REINDEX TABLE s.t; CLUSTER s.t USING t_pkey', 'CLUSTER and indexes', '0|0|0|0|' ],
		[ 'DELETE FROM s.t WHERE a = 4', "CALL test_migrate('s.t'); VACUUM FULL s.t; CHECKPOINT", 'VACUUM FULL', '0|0|0|0|' ])
	{
		my ($change, $quiet, $what, $after) = @$step;
		$node->safe_psql('postgres', "$change; SELECT pg_current_xact_id();\n" . "SELECT pg_current_xact_id();\n" x 20 . $drain);
		# statements one by one, since VACUUM is no part of a transaction
		$node->safe_psql('postgres', $quiet =~ s/; /;\n/gr);
		is($node->safe_psql('postgres', $drain), '', "$what: nothing is emitted");
		my ($found, $age) = $node->safe_psql('postgres', $state) =~ /^(.*\|)(\d+)$/;
		is($found, $after, '... and it was done');
		cmp_ok($age, '<', 20, '... and it was done') if $what eq 'freezing';
	}
	verify_ok($node, 's.t');
}

$node->stop;
done_testing();
