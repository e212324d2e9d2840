# A pool that fills with versions which an old snapshot may still see: the message names who has that snapshot.  The
# statement goes on when it is gone, unless its own snapshot is as old (a transaction in progress is older than both).
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

plan skip_all => 'needs a pool' unless has_vdb();
my $node = new_node('old', conf => "vdb.scm_size = '8MB'\nfsync = off\nautovacuum = off\nmax_prepared_transactions = 2\n");
$node->safe_psql('postgres', q{
	CREATE TABLE hot (id int, n bigint) WITH (fillfactor = 50);
	INSERT INTO hot SELECT g, 0 FROM generate_series(1, 1000) g;
	CREATE TABLE other (id int);
	CREATE PROCEDURE churn(rounds int) LANGUAGE plpgsql AS $$ BEGIN FOR i IN 1..rounds LOOP UPDATE hot SET n = n + 1; COMMIT; END LOOP; END $$});

# Updates until a warning comes whose detail is like the pattern; then lets go, and waits for the end.
sub held
{
	my ($label, $pattern, $release) = @_;
	my ($out, $err) = ('', '');
	my $session = IPC::Run::start([ 'psql', '-X', '-d', $node->connstr('postgres'), '-c', 'CALL churn(260)' ], '>', \$out, '2>', \$err);
	my $begin = time;
	while ($err !~ /HINT/ && time - $begin < $PostgreSQL::Test::Utils::timeout_default && $session->pumpable)
	{
		$session->pump_nb;
		select(undef, undef, undef, 0.2);
	}
	like($err, qr/WARNING: .*the pool is full.*DETAIL: .*Row versions removed by the last \d+ transactions are kept for $pattern\.\n.*HINT: .*end the transaction/s, "$label: named");
	$release->($session);
	$node->safe_psql('postgres', 'VACUUM hot');
	return;
}

my $reader = start_session($node);
session_query($reader, 'BEGIN ISOLATION LEVEL REPEATABLE READ');
is(session_query($reader, 'SELECT sum(n) FROM hot'), '0', 'a report begins');
my $pid = session_query($reader, 'SELECT pg_backend_pid()');
held('session', "a snapshot of process $pid", sub
{
	my ($session) = @_;
	is(session_query($reader, 'SELECT sum(n) FROM hot'), '0', 'the report still sees the same');
	session_query($reader, 'COMMIT');
	ok($session->finish, 'once it has ended, the statement goes on');
});
is($node->safe_psql('postgres', 'SELECT sum(n), count(*) FROM hot'), '260000|1000', 'nothing is lost');

$node->safe_psql('postgres', "BEGIN; INSERT INTO other VALUES (1); PREPARE TRANSACTION 'forgotten'");
my $xid = $node->safe_psql('postgres', 'SELECT transaction FROM pg_prepared_xacts');
held('prepared transaction', "prepared transaction $xid", sub
{
	my ($session) = @_;
	$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query ~ '^CALL'");
	$session->finish;
	$node->safe_psql('postgres', "COMMIT PREPARED 'forgotten'");
});
is($node->safe_psql('postgres', 'CALL churn(10); SELECT sum(n) % 1000, sum(n) > 270000, count(*) FROM hot'), '0|t|1000', 'afterwards updates go on');
end_session($reader);
$node->stop;

done_testing();
