# Index deletion goes on in pool and stripes, and reads no flash while a block is locked.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

plan skip_all => 'looks into vdb tables' unless has_vdb();
my $node = new_node('main', conf => "autovacuum = off\nvdb.migrate_enabled = off\n");
$node->safe_psql('postgres', q{
	CREATE TABLE t (id int, k int, v int);
	INSERT INTO t SELECT g, g % 3, 0 FROM generate_series(1, 1000) g;
	-- no scan uses it, so no entry is marked dead, and all deletions are bottom-up
	CREATE INDEX t_k ON t (k);
	CREATE PROCEDURE churn(rounds int, point text) LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1..rounds LOOP
			PERFORM set_config('vdb.stop_point', point, false);
			UPDATE t SET v = v + 1 WHERE id = 1 + (i * 37) % 1000;
			COMMIT;
		END LOOP;
		PERFORM set_config('vdb.stop_point', '', false);
	END $$});

# versions in the pool and in stripes
for my $where ('pool', 'stripes')
{
	$node->safe_psql('postgres', "CALL churn(3000, ''); SELECT vdb.migrate('t')") if $where eq 'stripes';
	like(error_of($node, "SET vdb.stop_action = 'error';\nCALL churn(6000, 'table-dead-copied')"), qr/stopped at "table-dead-copied"/, "$where: deletions look at blocks");
}

# the versions are in stripes now: nobody waits for the backend that is about to read them
$node->safe_psql('postgres', "SELECT vdb.migrate('t')");
my $size = $node->safe_psql('postgres', "SELECT pg_relation_size('t_k')");
my $holder = start_session($node);
session_query($holder, 'SELECT pg_advisory_lock(30308)');
my $deleter = start_session($node);
session_query($deleter, 'SELECT pg_backend_pid()');
print { $deleter->{to} } "CALL churn(6000, 'table-dead-copied');\n";
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'Extension' AND query ~ '^CALL churn'") or die;
my $rows = $node->safe_psql('postgres', 'SELECT count(*) FROM (SELECT FROM t FOR UPDATE SKIP LOCKED) x');
cmp_ok($rows, '>=', 999, 'all other rows can be locked meanwhile');
session_query($holder, 'SELECT pg_advisory_unlock(30308)');
session_query($deleter, "SET vdb.stop_point = ''");
$node->safe_psql('postgres', "CALL churn(6000, '')");
cmp_ok($node->safe_psql('postgres', "SELECT pg_relation_size('t_k')"), '<', 6 * $size, 'deletions keep the index small');
is($node->safe_psql('postgres', "SELECT count(*) FROM vdb.verify('t')"), '0', 'nothing is damaged');
end_session($_) for $holder, $deleter;
$node->stop;

done_testing();
