# A subscriber's table without a primary key: the apply worker looks for a row by a sequential scan under a dirty
# snapshot, which tells it whom to wait for. That must be about the row it has found, and not about another row of the same
# block: it waits for nobody who is at other rows, and does wait for who has inserted or deleted its own. In the pool, in
# stripes, in frozen stripes without an overlay, in both places.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my $publisher = PostgreSQL::Test::Cluster->new('publisher');
$publisher->init(allows_streaming => 'logical');
$publisher->start;
my $subscriber = new_node('subscriber', conf => "vdb.migrate_enabled = off\nautovacuum = off\n");
my @states = qw(pool flash frozen mixed);

# b says which row it is; rows from 1000 on the subscriber has yet to get
for my $t (@states)
{
	my $create = "CREATE TABLE $t (a int, b text)";
	my $insert = "INSERT INTO $t SELECT g, 'row ' || g FROM generate_series";
	$publisher->safe_psql('postgres', "$create; ALTER TABLE $t REPLICA IDENTITY FULL; $insert(1, 200) g; $insert(1000, 1003) g");
	$subscriber->safe_psql('postgres', $create);
	$subscriber->safe_psql('postgres', "$insert(1, " . ($t eq 'mixed' ? 100 : 200) . ') g');
	migrate($subscriber, $t) if $t ne 'pool';
	$subscriber->safe_psql('postgres', "VACUUM (FREEZE) $t") if $t eq 'frozen';
	$subscriber->safe_psql('postgres', "$insert(101, 200) g") if $t eq 'mixed';
}
if (has_vdb())
{
	is($subscriber->safe_psql('postgres', 'SELECT relation, pool_rows, striped_rows FROM vdb.tables ORDER BY relation::text'),
		"flash|0|200\nfrozen|0|200\nmixed|100|100\npool|200|0", 'rows are where they should be');
	is($subscriber->safe_psql('postgres', "SELECT bool_and(frozen) FROM vdb.stripes('frozen')"), 't', 'frozen');
}
$publisher->safe_psql('postgres', 'CREATE PUBLICATION p FOR TABLE ' . join(', ', @states));
$subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION s CONNECTION '" . $publisher->connstr . " dbname=postgres' PUBLICATION p WITH (copy_data = false)");
$publisher->wait_for_catchup('s');

# Does the subscriber come to what it should, or wait for a transaction?
sub outcome
{
	my ($done) = @_;
	my $waits = "SELECT FROM pg_stat_activity WHERE backend_type = 'logical replication worker' AND wait_event = 'transactionid'";
	my $query = "SELECT CASE WHEN ($done) THEN 'applied' WHEN EXISTS ($waits) THEN 'waits' END";
	$subscriber->poll_query_until('postgres', "SELECT ($query) IS NOT NULL") or return 'neither';
	return $subscriber->safe_psql('postgres', $query);
}

sub publish { $publisher->safe_psql('postgres', $_[0]); return; }
sub gone { return "SELECT NOT EXISTS (SELECT FROM $_[0] WHERE a = $_[1])"; }
sub is_new { return "SELECT b = 'new' FROM $_[0] WHERE a = $_[1]"; }

for my $t (@states)
{
	my $local = start_session($subscriber);

	# nobody else is there
	publish("DELETE FROM $t WHERE a = 5");
	is(outcome(gone($t, 5)), 'applied', "$t: delete");
	publish("UPDATE $t SET b = 'new' WHERE a = 6");
	is(outcome(is_new($t, 6)), 'applied', "$t: update");

	# somebody is at other rows of the block, before it and after
	session_query($local, "BEGIN; DELETE FROM $t WHERE a IN (1, 100, 200)");
	publish("DELETE FROM $t WHERE a = 10");
	is(outcome(gone($t, 10)), 'applied', "$t: other rows are being deleted");
	publish("UPDATE $t SET b = 'new' WHERE a = 11");
	is(outcome(is_new($t, 11)), 'applied', "$t: other rows are being deleted, update");
	session_query($local, 'ROLLBACK');
	session_query($local, "BEGIN; INSERT INTO $t SELECT g, 'other' FROM generate_series(500, 510) g");
	publish("DELETE FROM $t WHERE a = 12");
	is(outcome(gone($t, 12)), 'applied', "$t: other rows are being inserted");
	session_query($local, 'ROLLBACK');

	# somebody has deleted or updated the row itself, and takes that back, or doesn't
	session_query($local, "BEGIN; DELETE FROM $t WHERE a = 20");
	publish("UPDATE $t SET b = 'new' WHERE a = 20");
	is(outcome(is_new($t, 20)), 'waits', "$t: the row is being deleted");
	session_query($local, 'ROLLBACK');
	is(outcome(is_new($t, 20)), 'applied', "$t: it was not");
	session_query($local, "BEGIN; UPDATE $t SET b = 'local' WHERE a = 21");
	publish("DELETE FROM $t WHERE a = 21");
	is(outcome(gone($t, 21)), 'waits', "$t: the row is being updated");
	session_query($local, 'COMMIT');
	$publisher->wait_for_catchup('s');
	is($subscriber->safe_psql('postgres', "SELECT b FROM $t WHERE a = 21"), 'local', "$t: it was, and is another row now");

	# somebody has inserted it; what comes after it in the block is rolled back already, or somebody else's
	my $in_doubt = has_vdb() && $t ne 'pool';
	session_query($local, "SET vdb.debug_migrate = 'all'") if $in_doubt;
	session_query($local, "BEGIN; INSERT INTO $t VALUES (1000, 'row 1000'), (1001, 'row 1001')");
	session_query($local, "SAVEPOINT x; INSERT INTO $t SELECT g, 'never' FROM generate_series(600, 620) g; ROLLBACK TO x");
	session_query($local, "SET vdb.debug_migrate = 'off'") if $in_doubt;
	is($subscriber->safe_psql('postgres', "SELECT count(*) > 0 FROM vdb.stripes('$t') WHERE in_doubt"), 't', "$t: in an in-doubt stripe") if $in_doubt;
	publish("DELETE FROM $t WHERE a = 1000");
	is(outcome('SELECT false'), 'waits', "$t: the row is being inserted");
	session_query($local, 'COMMIT');
	$publisher->wait_for_catchup('s');
	is($subscriber->safe_psql('postgres', "SELECT string_agg(a::text, ' ') FROM $t WHERE a IN (1000, 1001)"), '1001', "$t: it was, and is deleted");

	# the inserter takes it back: nothing is to be deleted
	session_query($local, "BEGIN; INSERT INTO $t VALUES (1002, 'row 1002'), (1003, 'row 1003'); SAVEPOINT x; INSERT INTO $t VALUES (700, 'never'); ROLLBACK TO x");
	publish("DELETE FROM $t WHERE a = 1002");
	is(outcome('SELECT false'), 'waits', "$t: another is being inserted");
	session_query($local, "DELETE FROM $t WHERE a = 1002; COMMIT");
	$publisher->wait_for_catchup('s');
	is($subscriber->safe_psql('postgres', "SELECT count(*), count(*) FILTER (WHERE a IN (1002, 1003)) FROM $t"), '199|1', "$t: nothing else happened");
	verify_ok($subscriber, $t);
	end_session($local);
}
unlike(slurp_file($subscriber->logfile), qr/invisible tuple|terminated by signal|TRAP/, 'the worker had no trouble');

$subscriber->stop;
$publisher->stop;
done_testing();
