# A transaction that updates more rows than the pool has room for waits, since its delta records can't leave the pool before
# it ends; the message names who has the oldest snapshot.  Canceled, it leaves nothing behind.
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
	CREATE PROCEDURE churn(rounds int) LANGUAGE plpgsql AS $$ BEGIN FOR i IN 1..rounds LOOP UPDATE hot SET n = n + 1; END LOOP; END $$});

# Updates in one transaction until a warning comes whose detail is like the pattern; then cancels it.
sub held
{
	my ($label, $pattern) = @_;
	my ($out, $err) = ('', '');
	my $session = IPC::Run::start([ 'psql', '-X', '-d', $node->connstr('postgres'), '-c', 'CALL churn(600)' ], '>', \$out, '2>', \$err);
	my $begin = time;
	while ($err !~ /HINT/ && time - $begin < $PostgreSQL::Test::Utils::timeout_default && $session->pumpable)
	{
		$session->pump_nb;
		select(undef, undef, undef, 0.2);
	}
	like($err, qr/WARNING: .*the pool is full.*DETAIL: .*Row versions removed by the last \d+ transactions are kept for $pattern\.\n.*HINT: .*end the transaction/s, "$label: named");
	$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query ~ '^CALL'");
	$session->finish;
	return;
}

my $reader = start_session($node);
session_query($reader, 'BEGIN ISOLATION LEVEL REPEATABLE READ');
is(session_query($reader, 'SELECT sum(n) FROM hot'), '0', 'a report begins');
my $pid = session_query($reader, 'SELECT pg_backend_pid()');
# the others are ended by then, so that the report is the last one to keep anything
$node->safe_psql('postgres', 'CALL churn(1)') foreach 1 .. 3;
held('session', "a snapshot of process $pid");
is(session_query($reader, 'SELECT sum(n) FROM hot'), '0', 'the report still sees the same');
session_query($reader, 'COMMIT');
$node->safe_psql('postgres', 'VACUUM hot');
is($node->safe_psql('postgres', 'SELECT sum(n), count(*) FROM hot'), '3000|1000', 'nothing is lost');

$node->safe_psql('postgres', "BEGIN; INSERT INTO other VALUES (1); PREPARE TRANSACTION 'forgotten'");
my $xid = $node->safe_psql('postgres', 'SELECT transaction FROM pg_prepared_xacts');
$node->safe_psql('postgres', 'CALL churn(1)') foreach 1 .. 3;
held('prepared transaction', "prepared transaction $xid");
$node->safe_psql('postgres', "COMMIT PREPARED 'forgotten'");
$node->safe_psql('postgres', 'VACUUM hot');
is($node->safe_psql('postgres', 'CALL churn(10); SELECT sum(n), count(*) FROM hot'), '16000|1000', 'afterwards updates go on');
verify_ok($node, 'hot');
end_session($reader);
$node->stop;

done_testing();
