# A unique check meets a row of a transaction in progress in a stripe. Between its look at the row and its question for the
# inserter, that one takes the row back (deletes it, or gives it another key) and commits: nobody was ever to see the key, so it
# is free. On heap, which judges a row under a lock, the check waits for the inserter and comes to the same.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my $node = new_node('main', conf => "vdb.migrate_enabled = off\nautovacuum = off\n");
my $holder = start_session($node);

sub insert_beside
{
	my ($label, $constraint, $take_back, $insert, $expected) = @_;
	$node->safe_psql('postgres', "DROP TABLE IF EXISTS t; CREATE TABLE t (k int, v text, $constraint); INSERT INTO t VALUES (9, 'there')");
	my $first = start_session($node);
	my $second = start_session($node);
	session_query($second, "SET application_name = 'second'");
	# a btree's page is locked while its insertion asks
	session_query($first, 'SET enable_indexscan = off; SET enable_bitmapscan = off; BEGIN');
	session_query($first, "SET vdb.debug_migrate = 'all'") if has_vdb();
	session_query($first, "INSERT INTO t VALUES (1, 'first')");
	session_query($first, "SET vdb.debug_migrate = 'off'") if has_vdb();
	if (has_vdb())
	{
		is($node->safe_psql('postgres', "SELECT count(*) FROM vdb.stripes('t') WHERE in_doubt"), '1', "$label: the row is in an in-doubt stripe");
		session_query($holder, 'SELECT pg_advisory_lock(30308)');
		session_query($second, "SET vdb.stop_point = 'table-fetch-looked'");
	}
	print { $second->{to} } "$insert;\n";
	my $waits = has_vdb() ? "wait_event_type = 'Extension'" : "wait_event = 'transactionid'";
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'second' AND $waits")
	  or die 'the second session does not wait';
	is(session_query($first, "$take_back; COMMIT"), '', "$label: the first takes its row back");
	session_query($holder, 'SELECT pg_advisory_unlock(30308)') if has_vdb();
	is(session_query($second, 'SELECT 1'), "$expected\n1", "$label: the key is free");
	is($node->safe_psql('postgres', 'SELECT v FROM t WHERE k = 1'), 'second', "$label: the row is there");
	verify_ok($node, 't', "$label: verified");
	end_session($_) for $first, $second;
	return;
}

my %constraints = (unique => 'UNIQUE (k)', exclusion => 'EXCLUDE USING hash (k WITH =)');
my %take_backs = (deleted => 'DELETE FROM t WHERE k = 1', 'other key' => 'UPDATE t SET k = 2 WHERE k = 1');
my $insert = "INSERT INTO t VALUES (1, 'second')";
for my $c (sort keys %constraints)
{
	for my $t (sort keys %take_backs)
	{
		my @what = ($constraints{$c}, $take_backs{$t});
		insert_beside("$c, $t", @what, "$insert RETURNING v", 'second') unless "$c, $t" eq 'unique, other key';
		insert_beside("$c, $t, DO NOTHING", @what, "$insert ON CONFLICT DO NOTHING RETURNING v", 'second');
	}
}
insert_beside('unique, DO UPDATE', $constraints{unique}, $take_backs{deleted},
	"$insert ON CONFLICT (k) DO UPDATE SET v = 'wrong' RETURNING v", 'second');

# the key of a row that its inserter keeps is taken
$node->safe_psql('postgres', "DROP TABLE t; CREATE TABLE t (k int UNIQUE, v text)");
$node->safe_psql('postgres', (has_vdb() ? "SET vdb.debug_migrate = 'all'; " : '') . "BEGIN; INSERT INTO t VALUES (1, 'first'); COMMIT");
is($node->safe_psql('postgres', "SELECT count(*) FROM vdb.stripes('t') WHERE in_doubt"), '1', 'in an in-doubt stripe') if has_vdb();
like(error_of($node, $insert), qr/23505/, 'kept: duplicate key');
is($node->safe_psql('postgres', "$insert ON CONFLICT DO NOTHING RETURNING v"), '', 'kept: DO NOTHING');

$node->stop;
done_testing();
