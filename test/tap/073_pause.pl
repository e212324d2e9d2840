# Between two stripes the worker holds nothing: DDL on the table that it moves goes ahead, whatever is left to move, and the rest then
# moves by the table's new shape, or not at all. And there it pauses as long as vdb.migrate_cost_delay says.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

plan skip_all => 'vdb only' unless has_vdb();

my $node = new_node('pause', conf => "vdb.scm_size = '256MB'\nvdb.migrate_after = 0\nvdb.migrate_min_rows = 0\nvdb.migrate_enabled = off\nautovacuum = off\nfsync = off\n");

sub q1 { return $node->safe_psql('postgres', $_[0]); }
sub configure { $node->append_conf('postgresql.conf', join('', map { "$_\n" } @_)); $node->reload; return; }

my $rows = 'SELECT g AS id, g::text AS v FROM generate_series(1, 200000) g';

# Stops the worker after the first stripe of the table.
sub stop_within
{
	my ($holder) = @_;
	session_query($holder, 'SELECT pg_advisory_lock(30308)');
	configure("vdb.stop_point = 'worker-paused'", 'vdb.migrate_enabled = on');
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'vdb migration worker' AND wait_event = 'Extension' AND state = 'idle'
		AND (SELECT count(*) FROM vdb.stripes('t')) = 1") or fail('the worker has made one stripe');
	return;
}

# Lets it go on.
sub go_on
{
	my ($holder) = @_;
	configure("vdb.stop_point = ''");
	session_query($holder, 'SELECT pg_advisory_unlock(30308)');
	return;
}

my $holder = start_session($node);
q1("CREATE TABLE t AS $rows");
stop_within($holder);
is(q1("SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE backend_type = 'vdb migration worker' AND locktype = 'relation'"), '0', 'it holds no lock');
is(q1("SELECT backend_xmin IS NULL AND backend_xid IS NULL FROM pg_stat_activity WHERE backend_type = 'vdb migration worker'"), 't', 'nor a snapshot');
is(error_of($node, "SET lock_timeout = '20s'; ALTER TABLE t ADD COLUMN w int DEFAULT 7; ALTER TABLE t ALTER v SET STORAGE EXTERNAL; UPDATE t SET w = 8 WHERE id % 2 = 0"), '', 'DDL goes ahead');
is(q1("SELECT striped_rows < 200000 FROM vdb.tables WHERE relation = 't'::regclass"), 't', 'with rows left to move');
go_on($holder);
$node->poll_query_until('postgres', "SELECT pool_rows = 0 FROM vdb.tables WHERE relation = 't'::regclass") or fail('then they move');
is(q1('SELECT count(*), count(DISTINCT id), sum(w), count(v) FROM t'), '200000|200000|1500000|200000', 'all rows are there');
verify_ok($node, 't');

# the table goes, or becomes another, while the worker pauses
for my $case (['DROP TABLE t', ''], ['TRUNCATE t; INSERT INTO t SELECT g FROM generate_series(1, 1000) g', '1000|500500'], ["ALTER TABLE t ALTER id TYPE bigint", '200000|20000100000'])
{
	my ($ddl, $expected) = @$case;
	configure('vdb.migrate_enabled = off');
	q1("DROP TABLE IF EXISTS t; CREATE TABLE t AS $rows");
	stop_within($holder);
	is(error_of($node, "SET lock_timeout = '20s'; $ddl"), '', $ddl);
	go_on($holder);
	q1('CREATE TABLE other AS SELECT g AS id FROM generate_series(1, 1000) g');
	$node->poll_query_until('postgres', "SELECT pool_rows = 0 FROM vdb.tables WHERE relation = 'other'::regclass") or fail('the worker goes on');
	q1('DROP TABLE other');
	next unless $expected;
	$node->poll_query_until('postgres', "SELECT pool_rows = 0 FROM vdb.tables WHERE relation = 't'::regclass") or fail('also with the table as it is now');
	is(q1('SELECT count(*), sum(id) FROM t'), $expected, 'all its rows are there');
	verify_ok($node, 't');
}
is(q1('SELECT count(*) FROM vdb.verify_pool()'), '0', 'the pool is sound');
end_session($holder);

# the pause: after each stripe, not after each round
configure('vdb.migrate_enabled = off');
q1("DROP TABLE t; CREATE TABLE t AS $rows");
my $pause = 5 * slowness();	# far longer than a stripe takes
$pause = 10 if $pause > 10;
configure("vdb.migrate_cost_delay = '${pause}s'", 'vdb.migrate_enabled = on');
$node->poll_query_until('postgres', "SELECT count(*) >= 2 FROM vdb.stripes('t')") or fail('two stripes are made');
configure('vdb.migrate_cost_delay = 0');
$node->poll_query_until('postgres', "SELECT pool_rows = 0 FROM vdb.tables WHERE relation = 't'::regclass") or fail('all is moved');
my ($stripes, $gap) = split /\|/, q1("SELECT count(*), (array_agg(gap ORDER BY written_at))[2] FROM (SELECT written_at, extract(epoch FROM written_at - lag(written_at) OVER (ORDER BY written_at)) AS gap FROM vdb.stripes('t')) s");
is($stripes, '4', 'the table has four stripes');
cmp_ok($gap, '>=', $pause, 'the worker paused between the first two');
like(slurp_file($node->logfile), qr/^(?!.*(?:PANIC|TRAP))/s, 'nothing went wrong');
$node->stop;
done_testing();
