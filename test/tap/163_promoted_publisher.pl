# A publisher of vdb and heap tables with a standby that is promoted, after a SIGKILL of the publisher. Slots are not taken over (before 17 no server can do it):
# so writing stops, the subscriber and the standby get all there is, the standby is promoted, gets a slot of its own, and the subscription goes on
# with that one, without a new copy. Before and after, rows move on either side. The slot's stream of what the old publisher wrote must be that of
# the promoted one's tables, on heap and on vdb.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my $conf = "autovacuum = off\nvdb.migrate_enabled = off\nlogical_decoding_work_mem = 64kB\nwal_receiver_status_interval = 1\n";
my $pub = new_node('pub', init => { allows_streaming => 'logical' }, conf => $conf);
my $sub = new_node('sub', init => { allows_streaming => 'logical' }, conf => $conf);
my @tables = qw(v h f);
for my $node ($pub, $sub)
{
	# on the subscriber the other way round
	my @methods = $node == $pub ? (am(), 'heap', am()) : ('heap', am(), am());
	$node->safe_psql('postgres', "CREATE TABLE $tables[$_] (a int NOT NULL, b text, w text) USING $methods[$_]; ALTER TABLE $tables[$_] ALTER w SET STORAGE EXTERNAL") for 0 .. 2;
	$node->safe_psql('postgres', 'ALTER TABLE v ADD PRIMARY KEY (a); ALTER TABLE h ADD PRIMARY KEY (a); ALTER TABLE f REPLICA IDENTITY FULL');
}
$pub->safe_psql('postgres', q{CREATE FUNCTION r(n int, seed int) RETURNS text LANGUAGE sql AS $$ SELECT string_agg(md5((g * 1000 + seed)::text), '') FROM generate_series(1, n / 32) g $$});

sub work
{
	my ($node, $from) = @_;
	for my $t (@tables)
	{
		$node->safe_psql('postgres', "INSERT INTO $t SELECT g, 'b' || g, CASE g % 40 WHEN 0 THEN r(20000, g) WHEN 1 THEN r(3000, g) END FROM generate_series($from, $from + 400) g");
		migrate($node, $t) if has_vdb();
		$node->safe_psql('postgres', "UPDATE $t SET b = 'updated' WHERE a % 40 < 5; UPDATE $t SET w = NULL WHERE a % 80 = 0; DELETE FROM $t WHERE a % 7 = 0");
		$node->safe_psql('postgres', "BEGIN; DELETE FROM $t; ROLLBACK");
		$node->safe_psql('postgres', "BEGIN; UPDATE $t SET a = -a WHERE a % 11 = 0; SAVEPOINT x; DELETE FROM $t WHERE a > 0; ROLLBACK TO x; INSERT INTO $t VALUES ($from + 500, 'end', r(30000, $from)); COMMIT");
		migrate($node, $t) if has_vdb() && $from > 1000;
	}
	return;
}

sub all_equal
{
	my ($node, $label) = @_;
	is(join(' ', map { digest($sub, $_) } @tables), join(' ', map { digest($node, $_) } @tables), "$label: all tables are equal");
	return;
}

work($pub, 1);
$pub->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($pub, 'base', has_streaming => 1);
$standby->start;
$pub->safe_psql('postgres', 'CREATE PUBLICATION p FOR TABLE ' . join(', ', @tables));
$sub->safe_psql('postgres', "CREATE SUBSCRIPTION s CONNECTION '" . $pub->connstr . " dbname=postgres' PUBLICATION p");
$sub->wait_for_subscription_sync($pub, 's');
work($pub, 1001);
$pub->wait_for_catchup('s');
all_equal($pub, 'before');
if ($pub->pg_version < 16)
{
	like(error_of($standby, "SELECT pg_create_logical_replication_slot('no', 'pgoutput')"), qr/0A000/, 'a standby of 15 takes no logical slot');
}
else
{
	# ---- the standby decodes, too: from 16 on ----

	my $changes = "SELECT data FROM pg_logical_slot_get_changes('there', NULL, NULL, 'include-xids', '0', 'skip-empty-xacts', '1')";
	$pub->safe_psql('postgres', "SELECT pg_create_logical_replication_slot('there', 'test_decoding')");
	$standby->create_logical_slot_on_standby($pub, 'there', 'postgres');
	$pub->wait_for_catchup($standby, 'replay', $pub->lsn('flush'));
	$_->safe_psql('postgres', $changes) for $pub, $standby;
	work($pub, 5001);
	$pub->wait_for_catchup($standby, 'replay', $pub->lsn('flush'));
	my ($here, $there) = map { $_->safe_psql('postgres', $changes) } $pub, $standby;
	cmp_ok(scalar(() = $there =~ /^table public\.v: /mg), '>', 400, 'a slot of the standby has changes of a vdb table');
	ok($there eq $here, '... those of a slot of the publisher');
	$_->safe_psql('postgres', "SELECT pg_drop_replication_slot('there')") for $pub, $standby;
}

# ---- the publisher dies when both have all ----

$pub->wait_for_catchup($standby, 'replay', $pub->lsn('flush'));
$sub->safe_psql('postgres', 'ALTER SUBSCRIPTION s DISABLE');
kill_all($pub);
$standby->promote;
is($standby->safe_psql('postgres', 'SELECT count(*) FROM pg_replication_slots'), '0', 'the promoted standby has no slot');
$standby->safe_psql('postgres', "SELECT pg_create_logical_replication_slot('s2', 'pgoutput')");
work($standby, 2001);
$sub->safe_psql('postgres', "ALTER SUBSCRIPTION s SET (slot_name = NONE)");
$sub->safe_psql('postgres', "ALTER SUBSCRIPTION s CONNECTION '" . $standby->connstr . " dbname=postgres'");
$sub->safe_psql('postgres', "ALTER SUBSCRIPTION s SET (slot_name = 's2')");
$sub->safe_psql('postgres', 'ALTER SUBSCRIPTION s ENABLE');
$standby->wait_for_catchup('s');
all_equal($standby, 'from the promoted standby');

# ---- and that one crashes ----

work($standby, 3001);
kill_all($standby);
$standby->start;
work($standby, 4001);
$standby->wait_for_catchup('s');
all_equal($standby, 'after it has crashed');
if (has_vdb())
{
	cmp_ok($_->safe_psql('postgres', "SELECT sum(striped_rows) FROM vdb.tables"), '>', 1000, 'rows are in stripes') for $standby;
	verify_ok($standby, $_) for qw(v f);
	verify_ok($sub, $_) for qw(h f);
}
$sub->safe_psql('postgres', 'DROP SUBSCRIPTION s');
$_->stop for $sub, $standby;
done_testing();
