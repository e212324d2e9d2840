# Changes of vdb tables are not decoded. A subscriber gets the rows that are there when it begins, and the changes of heap
# tables beside; whoever makes a slot is told, be it by SQL or by a walsender's command, and once in each session that decodes.
# A vdb table of the subscriber takes changes as any other. A dump of a database with publications is restored without error.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

plan skip_all => 'heap is decoded' unless has_vdb();

my $pub = new_node('pub', init => { allows_streaming => 'logical' }, conf => "autovacuum = off\nvdb.migrate_enabled = off\n");
my $sub = new_node('sub', init => { allows_streaming => 'logical' }, conf => "autovacuum = off\n");
my $warning = qr/WARNING:  logical decoding leaves out changes of vdb tables/;

sub said
{
	my ($node, $sql) = @_;
	my ($out, $err);
	is($node->psql('postgres', $sql, stdout => \$out, stderr => \$err), 0, "$sql: no error");
	return $err;
}

sub warnings_since { my ($at) = @_; my @all = slurp_file($pub->logfile, $at) =~ /($warning)/g; return scalar @all; }

# ---- slots by SQL ----

is(said($pub, "SELECT pg_create_logical_replication_slot('none', 'pgoutput')"), '', 'a database without vdb tables: no warning');
$pub->safe_psql('postgres', "SELECT pg_drop_replication_slot('none')");
$pub->safe_psql('postgres', 'CREATE TABLE v (a int PRIMARY KEY); CREATE TABLE h (a int PRIMARY KEY) USING heap; CREATE UNLOGGED TABLE u (a int);');
like(said($pub, "SELECT pg_create_logical_replication_slot('one', 'pgoutput')"), qr/$warning.*DETAIL:  This database has table public\.v\.\nHINT:.*SET ACCESS METHOD heap/s,
	'a slot by SQL');
like(said($pub, "SELECT pg_copy_logical_replication_slot('one', 'two')"), $warning, 'a copied slot');
is(said($pub, "SELECT pg_create_physical_replication_slot('three')"), '', 'a physical slot is no matter');
my $get = "SELECT count(*) FROM pg_logical_slot_peek_binary_changes('one', NULL, NULL, 'proto_version', '1', 'publication_names', 'p')";
$pub->safe_psql('postgres', 'SET client_min_messages = error; CREATE PUBLICATION p FOR TABLE v, h');
$pub->safe_psql('postgres', 'INSERT INTO h VALUES (1)');
is(said($pub, $get), '', 'no vdb table changed: no warning');
$pub->safe_psql('postgres', 'INSERT INTO v SELECT generate_series(1, 1000)');
like(said($pub, $get), qr/\A[^\n]*$warning\nDETAIL:  Replication slot "one" has come[^\n]*\nHINT:[^\n]*\z/, 'decoding by SQL: told once');
like(said($pub, $get), $warning, '... and once more in the next call');
$pub->safe_psql('postgres', "SELECT pg_drop_replication_slot(s) FROM unnest('{one,two,three}'::text[]) s");

# another database's changes are no matter
$pub->safe_psql('postgres', 'CREATE DATABASE other');
$pub->safe_psql('other', "CREATE TABLE h (a int) USING heap; SELECT pg_create_logical_replication_slot('other', 'pgoutput')");
$pub->safe_psql('postgres', 'INSERT INTO v VALUES (1001)');
my ($out, $err);
$pub->psql('other', "SELECT count(*) FROM pg_logical_slot_peek_binary_changes('other', NULL, NULL, 'proto_version', '1', 'publication_names', 'p')", stdout => \$out, stderr => \$err);
is($err, '', 'changes of another database: no warning');
$pub->safe_psql('other', "SELECT pg_drop_replication_slot('other')");

# ---- a subscription ----

my $at = -s $pub->logfile;
$sub->safe_psql('postgres', 'CREATE TABLE v (a int PRIMARY KEY); CREATE TABLE h (a int PRIMARY KEY)');
my $connstr = $pub->connstr . ' dbname=postgres';
$sub->safe_psql('postgres', "CREATE SUBSCRIPTION s CONNECTION '$connstr' PUBLICATION p");
$sub->wait_for_subscription_sync($pub, 's') if $sub->can('wait_for_subscription_sync');
$sub->poll_query_until('postgres', "SELECT count(*) = 2 FROM pg_subscription_rel WHERE srsubstate = 'r'");
is($sub->safe_psql('postgres', 'SELECT count(*) FROM v'), '1001', 'the rows that were there are copied');
$pub->safe_psql('postgres', 'INSERT INTO v SELECT generate_series(2001, 2010)');
$pub->safe_psql('postgres', 'INSERT INTO v VALUES (2011); INSERT INTO h VALUES (2); UPDATE h SET a = 3 WHERE a = 1');
$pub->wait_for_catchup('s');
is($sub->safe_psql('postgres', "SELECT string_agg(a::text, ' ' ORDER BY a) FROM h"), '2 3', 'changes of a heap table come, to a vdb table');
is($sub->safe_psql('postgres', 'SELECT count(*) FROM v'), '1001', 'those of a vdb table do not');
is(warnings_since($at), 1, '... and the server\'s log says so, once');
like(slurp_file($pub->logfile, $at), qr/$warning\n[^\n]*DETAIL:  Replication slot "s"/, '... with the slot');
verify_ok($sub, 'h');
$sub->safe_psql('postgres', 'DROP SUBSCRIPTION s');

# ---- a dump is restored without error ----

my $file = $pub->basedir . '/dump.sql';
$pub->safe_psql('postgres', 'SET client_min_messages = error; CREATE PUBLICATION q FOR ALL TABLES; CREATE PUBLICATION r FOR TABLES IN SCHEMA public');
command_ok([ 'pg_dump', '-f', $file, $pub->connstr('postgres') ], 'pg_dump');
$pub->safe_psql('postgres', 'CREATE DATABASE again');
command_ok([ 'psql', '-Xq', '-1', '-v', 'ON_ERROR_STOP=1', '-f', $file, $pub->connstr('again') ], 'restored');
is($pub->safe_psql('again', 'SELECT count(*) FROM pg_publication'), '3', 'with its publications');
$_->stop for $sub, $pub;

done_testing();
