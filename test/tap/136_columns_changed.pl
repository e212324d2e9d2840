# A transaction that has changed a table's columns can't move its rows, and is told so: by vdb.migrate(), and where what it
# inserts doesn't fit into the pool.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my $node = new_node('columns', conf => "vdb.scm_size = '8MB'\nfsync = off\nautovacuum = off\n");
$node->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY, v text);
	CREATE TABLE other (id int, v text);
	INSERT INTO t SELECT g, 'kept' FROM generate_series(1, 1000) g;
});

SKIP:
{
	skip 'heap has no pool', 4 unless has_vdb();
	my $error = error_of($node, "BEGIN; ALTER TABLE t ADD COLUMN c int; "
		  . "INSERT INTO t SELECT g, repeat('wide', 25) FROM generate_series(2001, 202000) g");
	like($error, qr/WARNING:  53400: the pool is full.*changed the table's columns/s, 'a warning while it waits');
	like($error, qr/ERROR:  53400: the pool is full of rows that cannot move before this transaction ends.*columns of table "t".*HINT.*COMMIT/s,
		'an error in the end');
	# however long a look for room takes
	my $keeper = start_session($node);
	session_query($keeper, 'SELECT pg_advisory_lock(30308)');
	my $said = '';
	my $slow = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', "SET vdb.stop_point = 'make-room'", '-c',
			"BEGIN; ALTER TABLE t ADD COLUMN c int; INSERT INTO t SELECT g, repeat('wide', 25) FROM generate_series(2001, 202000) g" ],
		'>&', \$said);
	my $rounds = 0;
	while ($slow->pumpable && $rounds < 12)
	{
		$rounds++;
		sleep 17;
		session_query($keeper, 'SELECT pg_advisory_unlock(30308); SELECT pg_sleep(0.1); SELECT pg_advisory_lock(30308)');
		$slow->pump_nb;
	}
	$slow->kill_kill;
	like($said, qr/cannot move before this transaction ends/, 'the error comes though each look for room takes 17 seconds');
	session_query($keeper, 'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = \'client backend\'');
	end_session($keeper);
	# rows of another table move, and give room
	is($node->safe_psql('postgres', "BEGIN; ALTER TABLE t ADD COLUMN c int; INSERT INTO t VALUES (1001, 'new', 1); "
			  . "INSERT INTO other SELECT g, repeat('wide', 25) FROM generate_series(1, 200000) g; COMMIT; SELECT count(*) FROM other"),
		'200000', 'the transaction can fill another table');
}
is($node->safe_psql('postgres', "SELECT count(*), count(*) FILTER (WHERE v = 'kept') FROM t"), has_vdb() ? '1001|1000' : '1000|1000',
	'the rows are there');
$node->safe_psql('postgres', "INSERT INTO t SELECT g, repeat('wide', 25) FROM generate_series(2001, 202000) g");
is($node->safe_psql('postgres', 'SELECT count(*) FROM t'), has_vdb() ? '201001' : '201000', 'after COMMIT they fit');
verify_ok($node, 't', 'it verifies');

done_testing();
