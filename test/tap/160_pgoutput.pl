# What a subscription gets, message by message: pgoutput's of vdb tables must be heap's. Row filters, which turn updates into insertions
# and deletions and need the old row; column lists; whole schemas and all tables; partitions of both methods with and without
# publish_via_partition_root; TRUNCATE; values in binary; transactions streamed in pieces and prepared. Rows are in the pool, move to
# stripes before each statement, or move around every statement.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;
use DecodeTest;

my $node = new_node('pgoutput', init => { allows_streaming => 'logical' },
	conf => "autovacuum = off\nvdb.migrate_enabled = off\nlogical_decoding_work_mem = 64kB\nmax_prepared_transactions = 10\n");
$node->safe_psql('postgres', random_text() . "SELECT pg_create_logical_replication_slot('s', 'pgoutput', false, true)");

sub stream
{
	my ($publication, $options) = @_;
	my $hex = $node->safe_psql('postgres', "SELECT encode(data, 'hex') FROM pg_logical_slot_peek_binary_changes('s', NULL, NULL,
		'proto_version', '3', 'publication_names', '$publication'" . ($options // '') . ')');
	return sorted_changes(messages($hex));
}

# The streams that each of some publications has of a script, on heap and on vdb.
sub same_messages
{
	my ($label, $script, %opt) = @_;
	my @publications = sort keys %{ $opt{has} };
	my %heap;
	for my $run ([ 'heap', 'off' ], has_vdb() ? ([ 'vdb', 'off' ], [ 'vdb', 'resolved' ], [ 'vdb', 'all' ]) : ())
	{
		my ($am, $moves) = @$run;
		$node->safe_psql('postgres', "SELECT pg_drop_replication_slot('s')");
		$node->safe_psql('postgres', "SELECT pg_create_logical_replication_slot('s', 'pgoutput', false, true)");
		my $moved = run_script($node, $am, $moves, $script);
		cmp_ok($moved, '>', 0, "$label: rows move ($moves)") if $moves ne 'off';
		for my $publication (@publications)
		{
			for my $options (@{ $opt{options} // [''] })
			{
				my $name = "$label, publication $publication$options";
				my $stream = stream($publication, $options);
				if ($am eq 'heap')
				{
					$heap{$name} = $stream;
					ok($stream =~ $opt{has}{$publication}, "$name: heap's stream has what it is about") or diag(DecodeTest::shorten($stream));
					next;
				}
				ok($stream eq $heap{$name}, "$name, moves $moves: as heap") or diag(first_difference($stream, $heap{$name}));
			}
		}
		$node->safe_psql('postgres', "SET client_min_messages = error; DROP PUBLICATION IF EXISTS " . join(', ', @publications));
	}
	return;
}

# ---- row filters and column lists, by replica identity ----

my $columns = 'a int NOT NULL, k text NOT NULL, n int, v text, w text';
my $tables = join("\n", map { "CREATE TABLE $_ ($columns); ALTER TABLE $_ ALTER w SET STORAGE EXTERNAL;" } qw(t_default t_index t_full t_nothing)) . q{
ALTER TABLE t_default ADD PRIMARY KEY (a);
CREATE UNIQUE INDEX i ON t_index (k);
ALTER TABLE t_index REPLICA IDENTITY USING INDEX i;
ALTER TABLE t_full REPLICA IDENTITY FULL;
ALTER TABLE t_nothing REPLICA IDENTITY NOTHING;
};
my $changes = join("\n", map {
	my $t = $_;
	"INSERT INTO $t SELECT g, 'k' || g, g * 10, CASE WHEN g % 3 > 0 THEN 'v' || g END, CASE g % 3 WHEN 0 THEN r(3000, g) WHEN 1 THEN r(20000, g) END FROM generate_series(1, 12) g;\n" .
	($t eq 't_nothing' ? '' : "
UPDATE $t SET v = 'new' WHERE a = 1;
UPDATE $t SET a = a + 100 WHERE a IN (2, 11);
UPDATE $t SET a = 13 WHERE a = 12;
UPDATE $t SET k = 'x' || a WHERE a IN (3, 4);
UPDATE $t SET k = 'k4' WHERE a = 4;
UPDATE $t SET n = -n WHERE a < 7;
UPDATE $t SET n = 1, w = NULL WHERE a = 6;
UPDATE $t SET w = r(20000, 77) WHERE a = 8;
BEGIN; UPDATE $t SET a = 20 WHERE a = 9; UPDATE $t SET n = 3 WHERE a = 20; SAVEPOINT s; DELETE FROM $t; ROLLBACK TO s; UPDATE $t SET a = 0 WHERE a = 20; COMMIT;
DELETE FROM $t WHERE a < 6;
DELETE FROM $t;")
} qw(t_default t_index t_full t_nothing)) . "\n";
same_messages('row filters and column lists', "$tables
CREATE PUBLICATION p_filter FOR TABLE t_default WHERE (a > 5), t_index WHERE (k LIKE 'k%'), t_full WHERE (n > 0 AND length(w) > 5000);
CREATE PUBLICATION p_null FOR TABLE t_full WHERE (v IS NOT NULL AND a % 2 = 0) WITH (publish = 'update, delete');
CREATE PUBLICATION p_columns FOR TABLE t_default (a, v), t_index (n, k);
CREATE PUBLICATION p_both FOR TABLE t_default (w, a) WHERE (a BETWEEN 4 AND 50);
CREATE PUBLICATION p_insert FOR TABLE t_nothing (a, w) WHERE (v = 'v4'), t_full WHERE (length(w) > 5000) WITH (publish = 'insert');
$changes", has => { p_filter => qr/UPDATE s.t_full.*INSERT s.t_full/s, p_null => qr/DELETE s.t_full/, p_columns => qr/UPDATE s.t_index K\([bt]'\w+' n/, p_both => qr/UPDATE s.t_default N\([bt]'\w+' u/, p_insert => qr/INSERT s.t_nothing/ },
	options => [ '', ", 'binary', 'on'" ]);

# ---- all tables, schemas, TRUNCATE ----

same_messages('all tables and schemas', q{
CREATE PUBLICATION p_all FOR ALL TABLES;
CREATE PUBLICATION p_schema FOR TABLES IN SCHEMA s;
CREATE PUBLICATION p_truncate FOR ALL TABLES WITH (publish = 'truncate');
CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE TABLE t (a serial PRIMARY KEY, m mood);
CREATE TABLE u (a int REFERENCES t, b text);
CREATE UNLOGGED TABLE un (a int);
CREATE TEMP TABLE te (a int);
INSERT INTO t (m) SELECT 'glad' FROM generate_series(1, 20);
INSERT INTO u SELECT a, 'b' FROM t WHERE a < 5;
INSERT INTO un VALUES (1);
INSERT INTO te VALUES (1);
ALTER TABLE u REPLICA IDENTITY FULL;
UPDATE u SET b = NULL;
DELETE FROM u WHERE a = 1;
TRUNCATE u;
BEGIN; INSERT INTO u VALUES (3, 'gone'); TRUNCATE t RESTART IDENTITY CASCADE; INSERT INTO t (m) VALUES ('sad'); COMMIT;
TRUNCATE un;
}, has => { p_all => qr/TRUNCATE 3 s.t s.u/, p_schema => qr/TYPE s.mood/, p_truncate => qr/TRUNCATE 0 s.u/ });

# ---- partitions of both methods ----

same_messages('partitions', q{
CREATE TABLE t (a int, b text, n int, PRIMARY KEY (a)) PARTITION BY RANGE (a);
CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (100);
CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (100) TO (200) USING heap;
CREATE TABLE t3 (n int, b text, x int, a int NOT NULL);
ALTER TABLE t3 DROP COLUMN x;
ALTER TABLE t ATTACH PARTITION t3 FOR VALUES FROM (200) TO (300);
CREATE TABLE t4 PARTITION OF t FOR VALUES FROM (300) TO (400) PARTITION BY LIST (a);
CREATE TABLE t4_all PARTITION OF t4 DEFAULT;
CREATE PUBLICATION p_root FOR TABLE t WITH (publish_via_partition_root = true);
CREATE PUBLICATION p_root_some FOR TABLE t (b, a) WHERE (a % 20 = 0) WITH (publish_via_partition_root = true);
CREATE PUBLICATION p_middle FOR TABLE t4, t1 WITH (publish_via_partition_root = true);
CREATE PUBLICATION p_leaves FOR TABLE t, t3 WHERE (a > 250) WITH (publish_via_partition_root = false);
INSERT INTO t SELECT g, repeat(md5(g::text), 100), g FROM generate_series(0, 390, 10) g;
UPDATE t SET n = -n WHERE a % 3 = 0;
UPDATE t SET a = a + 105 WHERE a < 50;
UPDATE t SET a = a + 204 WHERE a BETWEEN 151 AND 170;
UPDATE t SET b = left(b, 10) WHERE a % 20 = 0;
UPDATE t SET a = a + 7 WHERE a > 100 AND a % 10 = 0;
DELETE FROM t WHERE a > 350 OR a BETWEEN 80 AND 110;
ALTER TABLE t DETACH PARTITION t1;
INSERT INTO t1 VALUES (1, 'detached', 1);
TRUNCATE t3;
TRUNCATE t;
}, has => { p_root => qr/INSERT s.t .*UPDATE s.t N/s, p_root_some => qr/INSERT s.t N\(t/, p_middle => qr/INSERT s.t1 .*INSERT s.t4 /s, p_leaves => qr/INSERT s.t4_all/ });

# ---- in pieces, prepared ----

same_messages('streamed and prepared', q{
CREATE TABLE t (a int PRIMARY KEY, b text);
CREATE PUBLICATION p FOR TABLE t;
CREATE PUBLICATION p_some FOR TABLE t (a) WHERE (a % 7 = 0);
BEGIN; INSERT INTO t SELECT g, repeat('b', 200) FROM generate_series(1, 1000) g; SAVEPOINT x; UPDATE t SET a = -a WHERE a <= 500; ROLLBACK TO x; DELETE FROM t WHERE a > 800; COMMIT;
BEGIN; UPDATE t SET a = a + 2000 WHERE a <= 700; SAVEPOINT x; INSERT INTO t SELECT g, 'sub' FROM generate_series(3000, 3400) g; SAVEPOINT y; INSERT INTO t SELECT g, 'sub' FROM generate_series(3500, 3900) g; RELEASE x; PREPARE TRANSACTION 'one';
BEGIN; INSERT INTO t SELECT g, 'two' FROM generate_series(5000, 6000) g; PREPARE TRANSACTION 'two';
BEGIN; INSERT INTO t SELECT g, 'rolled back' FROM generate_series(7000, 8000) g; ROLLBACK;
COMMIT PREPARED 'one';
ROLLBACK PREPARED 'two';
BEGIN; INSERT INTO t VALUES (9000, 'small'); PREPARE TRANSACTION 'small';
COMMIT PREPARED 'small';
INSERT INTO t SELECT g, 'upsert' FROM generate_series(3390, 4500) g ON CONFLICT (a) DO UPDATE SET b = excluded.b;
BEGIN; ALTER TABLE t ADD COLUMN c text DEFAULT 'c'; INSERT INTO t SELECT g, 'b', 'more' FROM generate_series(10000, 11000) g; ALTER TABLE t DROP COLUMN b; INSERT INTO t SELECT g, 'one column less' FROM generate_series(11001, 12000) g; UPDATE t SET a = -a WHERE a > 11500; COMMIT;
}, has => { p => qr/PREPARE \(.\) one/, p_some => qr/STREAM COMMIT|COMMIT/ }, options => [ ", 'two_phase', 'on'", ", 'two_phase', 'on', 'streaming', 'on'" ]);

# ---- origins: those of a transaction, and only what has none (16) ----

same_messages('origins', q{
SELECT pg_replication_origin_create('o') WHERE NOT EXISTS (SELECT FROM pg_replication_origin WHERE roname = 'o');
CREATE TABLE t (a int PRIMARY KEY, w text);
ALTER TABLE t ALTER w SET STORAGE EXTERNAL;
CREATE PUBLICATION p FOR TABLE t;
INSERT INTO t VALUES (1, 'local'), (2, r(20000, 1));
SELECT pg_replication_origin_session_setup('o');
BEGIN; INSERT INTO t VALUES (3, 'remote'), (4, r(30000, 2)); UPDATE t SET w = 'remote' WHERE a = 2; DELETE FROM t WHERE a = 1; COMMIT;
SELECT pg_replication_origin_session_reset();
UPDATE t SET a = -a;
}, has => { p => qr/UPDATE s.t/ }, options => [ '', $node->pg_version < 16 ? () : ", 'origin', 'none'" ]);

# ---- a table without identity ----

$node->safe_psql('postgres', 'SET client_min_messages = error; DROP SCHEMA s CASCADE; CREATE SCHEMA s; CREATE TABLE s.none (a int); INSERT INTO s.none VALUES (1); CREATE PUBLICATION p_none FOR TABLE s.none');
like(error_of($node, $_), qr/55000: cannot .* table "none" because it does not have a replica identity/, "refused in a publication: $_") for 'UPDATE s.none SET a = 2', 'DELETE FROM s.none';
$node->safe_psql('postgres', 'ALTER TABLE s.none REPLICA IDENTITY FULL; UPDATE s.none SET a = 2; DELETE FROM s.none; DROP PUBLICATION p_none');

# ---- the pool and its structures are no tables to publish ----

if (has_vdb())
{
	$node->safe_psql('postgres', 'CREATE PUBLICATION p_all FOR ALL TABLES; CREATE PUBLICATION p_vdb FOR TABLES IN SCHEMA vdb');
	is($node->safe_psql('postgres', "SELECT count(*) FROM pg_publication_tables WHERE pubname IN ('p_all', 'p_vdb') AND schemaname = 'vdb'"), '0', 'nothing of the extension is in a publication');
	like(error_of($node, 'CREATE PUBLICATION p_pool FOR TABLE vdb.scm'), qr/55000|22023|cannot add relation/, 'the pool cannot be added to one');
}
$node->stop;
done_testing();
