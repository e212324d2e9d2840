# The planner is told of about as many rows as there are: of a million rows in the pool, while sessions that load own segments
# that they haven't reached yet, after a restart and a crash, on flash, and on a standby. VDB_ESTIMATE_ROWS=10000000 takes more.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

plan skip_all => 'vdb only' unless has_vdb();

my $rows = $ENV{VDB_ESTIMATE_ROWS} // 1000000;
my $pool_mb = int($rows / 1000000 * 150) + 150;
my $node = new_node('estimates', init => { allows_streaming => 1 },
	conf => "vdb.migrate_enabled = off\nautovacuum = off\nfsync = off\nvdb.scm_size = '${pool_mb}MB'\nmax_wal_size = '8GB'\nmax_connections = 80\n");

sub estimate
{
	my ($table, $on) = @_;
	my $plan = ($on // $node)->safe_psql('postgres', "SET max_parallel_workers_per_gather = 0; EXPLAIN SELECT * FROM $table");
	return $plan =~ /rows=(\d+)/ ? $1 : -1;
}

# What the planner is told in a new session, which knows nothing yet, and what is noted in pg_class.
sub about
{
	my ($table, $actual, $label, $on) = @_;
	my $estimate = estimate($table, $on);
	ok($estimate >= $actual / 2 && $estimate <= $actual * 2, "$label: $actual rows, estimated as $estimate");
	return;
}

sub noted
{
	my ($table, $actual, $label) = @_;
	my $noted = $node->safe_psql('postgres', "SELECT reltuples::bigint FROM pg_class WHERE oid = '$table'::regclass");
	ok($noted >= $actual / 2 && $noted <= $actual * 2, "$label: $actual rows, noted as $noted");
	return;
}

sub q1 { return $node->safe_psql('postgres', $_[0]); }

# One transaction, looked at from outside and inside
q1('CREATE TABLE big (id int, v text)');
my $loader = start_session($node);
session_query($loader, "BEGIN; INSERT INTO big SELECT g, 'v' || g FROM generate_series(1, $rows / 2) g");
about('big', $rows / 2, 'others see what is being loaded');
session_query($loader, "INSERT INTO big SELECT g, 'v' || g FROM generate_series($rows / 2 + 1, $rows) g");
my $inside = session_query($loader, 'EXPLAIN SELECT * FROM big');
ok($inside =~ /rows=(\d+)/ && $1 >= $rows / 2 && $1 <= $rows * 2, "the loader sees it: $rows rows, estimated as $1");
session_query($loader, 'COMMIT');
end_session($loader);
about('big', $rows, 'loaded');
is(q1("SELECT striped_rows FROM vdb.tables WHERE relation = 'big'::regclass"), '0', 'all rows are in the pool');
q1('ANALYZE big');
about('big', $rows, 'analyzed');
noted('big', $rows, 'analyzed');

# Sessions that load at the same time: each owns segments that it claimed ahead
q1('CREATE TABLE many (id int, v text)');
my @sessions = map { start_session($node) } 1 .. 12;
session_query($_, "BEGIN; INSERT INTO many SELECT g, repeat('m', 40) FROM generate_series(1, 10000) g") for @sessions;
about('many', 120000, 'twelve sessions that load');
session_query($_, 'COMMIT') for @sessions[0 .. 5];
session_query($_, 'ROLLBACK') for @sessions[6 .. 11];
end_session($_) for @sessions;
about('many', 60000, 'half of them took it back');
is(q1('SELECT count(*) FROM many'), '60000', 'rows of those that committed');

# Few rows, many sessions, each with a segment of its own
q1('CREATE TABLE few (id int, v text)');
@sessions = map { start_session($node) } 1 .. 40;
session_query($_, "BEGIN; INSERT INTO few SELECT g, repeat('m', 40) FROM generate_series(1, 5) g") for @sessions;
session_query($_, 'COMMIT') for @sessions;
end_session($_) for @sessions;
about('few', 200, 'five rows in each of forty segments');

# Deleted in the pool
q1('DELETE FROM big WHERE id % 4 <> 0');
about('big', $rows / 4, 'deleted');
q1('ANALYZE big');
noted('big', $rows / 4, 'deleted');

# A restart, a crash: what was claimed ahead stays empty for ever
q1("INSERT INTO few SELECT g, repeat('m', 40) FROM generate_series(1, 3000) g");
$node->restart;
about('few', 3200, 'after a restart');
about('big', $rows / 4, 'after a restart');
q1("INSERT INTO few SELECT g, repeat('m', 40) FROM generate_series(1, 3000) g");
$loader = start_session($node);
session_query($loader, "BEGIN; INSERT INTO few SELECT g, repeat('m', 40) FROM generate_series(1, 50000) g");
$node->stop('immediate');
$node->start;
about('few', 6200, 'after a crash');
about('big', $rows / 4, 'after a crash');

# A standby, which has the counters and no hint bits
$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->start;
about('few', 6200, 'on a standby', $standby);
about('big', $rows / 4, 'on a standby', $standby);
$standby->stop;

# Migration comes between the look at the map and that at the segments, whose bytes are still there: no row counts twice
q1("CREATE TABLE moving (id int, t text) USING vdb WITH (autovacuum_enabled = off); INSERT INTO moving SELECT g, repeat('m', 60) FROM generate_series(1, 60000) g");
if (has_vdb())
{
	my $planner = start_session($node);
	my $holder = start_session($node);
	session_query($planner, "SET application_name = 'planner'; SET vdb.stop_point = 'table-count-listed'");
	session_query($holder, 'SELECT pg_advisory_lock(30308)');
	print { $planner->{to} } "EXPLAIN SELECT * FROM moving;\n";
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'planner' AND wait_event_type = 'Extension'")
	  or die 'the planner did not stop';
	migrate($node, 'moving');
	session_query($holder, 'SELECT pg_advisory_unlock(30308)');
	my ($told) = session_query($planner, 'SELECT 1') =~ /rows=(\d+)/;
	cmp_ok($told, '>', 30000, "moved while it is counted: $told of 60000 rows");
	cmp_ok($told, '<', 90000, "moved while it is counted: not twice");
	end_session($_) for $planner, $holder;
}

# Migrated, deleted there, vacuumed
migrate($node, 'big');
about('big', $rows / 4, 'migrated');
q1('ANALYZE big');
noted('big', $rows / 4, 'migrated');
q1('DELETE FROM big WHERE id % 20 <> 0');
about('big', $rows / 20, 'deleted on flash');
q1('VACUUM big');
about('big', $rows / 20, 'vacuumed');
noted('big', $rows / 20, 'vacuumed');
q1("INSERT INTO big SELECT g, 'again' FROM generate_series(1, $rows / 2) g");
about('big', $rows * 11 / 20, 'on both');

done_testing();
