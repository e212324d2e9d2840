# What the high-water mark counts: rows, which can move, and not metadata, which can't. And the count itself:
# row_bytes of vdb.pool is that of the tables' segments, also after rollbacks, moves, restarts and a crash.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);
use VdbTest;

plan skip_all => 'vdb only' unless has_vdb();

my $node = new_node('metadata', conf => "vdb.scm_size = '8MB'\nvdb.migrate_enabled = off\nvdb.migrate_after = 1h\nautovacuum = off\nfsync = off\n");

sub q1 { return $node->safe_psql('postgres', $_[0]); }
sub exact
{
	my ($label) = @_;
	return is(q1('SELECT row_bytes - (SELECT sum(pool_bytes) FROM vdb.tables) FROM vdb.pool'), '0', "row_bytes is exact $label");
}
sub set
{
	my ($conf) = @_;
	$node->append_conf('postgresql.conf', "$conf\n");
	$node->reload;
	return;
}

# More than half of the pool is metadata: tables of 1,500 columns, a row in a stripe each.
my $columns = join(', ', map { "c$_ int" } 1 .. 1500);
q1("CREATE TABLE f (id int, $columns); CREATE TABLE small (id int)");
for my $i (1 .. 60)
{
	q1("CREATE TABLE f$i (LIKE f); INSERT INTO f$i (id, c1500) VALUES ($i, 1); SELECT vdb.migrate('f$i')");
	last if q1('SELECT used_bytes - row_bytes > 0.6 * limit_bytes FROM vdb.pool') eq 't';
}
is(q1('SELECT used_bytes - row_bytes > 0.6 * limit_bytes FROM vdb.pool'), 't', 'metadata takes more than half of the pool');
exact('beside metadata');

# Single rows stay in the segment that they share.
set('vdb.migrate_enabled = on');
for my $i (1 .. 12)
{
	q1("INSERT INTO small VALUES ($i)");
	sleep 0.3;
}
sleep 2;
is(q1("SELECT striped_rows, pool_rows, stripes FROM vdb.tables WHERE relation = 'small'::regclass"), '0|12|0',
	'twelve rows beside much metadata make no stripe');

# But rows that take their share of the rest do move.
q1('CREATE TABLE large (id int, v text)');
q1("INSERT INTO large SELECT g, repeat(md5(g::text), 60) FROM generate_series(1, 900) g");
ok($node->poll_query_until('postgres', "SELECT striped_rows > 0 FROM vdb.tables WHERE relation = 'large'::regclass"),
	'rows past the mark move');
is(q1('SELECT count(*), sum(length(v)) FROM large'), '900|' . 900 * 60 * 32, 'all rows are there');

# The count.
set('vdb.migrate_enabled = off');
q1("SELECT vdb.migrate('large')");
exact('after a move');
my $session = start_session($node);
session_query($session, "BEGIN; INSERT INTO large SELECT g, 'x' FROM generate_series(1, 3000) g");
exact('while a transaction is open');
session_query($session, 'ROLLBACK');
exact('after a rollback');
q1('VACUUM large');
exact('after VACUUM');
$node->restart;
exact('after a restart');
q1("INSERT INTO large SELECT g, 'x' FROM generate_series(1, 3000) g");
exact('in the next epoch');
$node->stop('immediate');
$node->start;
exact('after a crash');
end_session($session);
q1('BEGIN; CREATE TABLE gone AS SELECT g FROM generate_series(1, 5000) g; ROLLBACK');
q1('TRUNCATE large');
set('vdb.migrate_enabled = on');
ok($node->poll_query_until('postgres', 'SELECT row_bytes = (SELECT sum(pool_bytes) FROM vdb.tables) FROM vdb.pool'),
	'row_bytes is exact after TRUNCATE, and an aborted CREATE TABLE');
set('vdb.migrate_enabled = off');

# Two open transactions hold more than the mark: nothing can move, and no worker tries without end.
$node->restart;
set("vdb.migrate_high_water = 1");
my @open = map { start_session($node) } 1 .. 2;
my $watch = start_session($node);
session_query($_, 'BEGIN; INSERT INTO small VALUES (0)') for @open;
set('vdb.migrate_enabled = on');
sleep 3;
my %workers;
for (1 .. 120)
{
	my $pid = session_query($watch, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'vdb migration worker'");
	$workers{$pid}++ if $pid;
	sleep 0.1;
}
cmp_ok(scalar(keys %workers), '<=', 2, 'workers that tried in twelve seconds: ' . join(' ', %workers));
session_query($_, 'COMMIT') for @open;
end_session($_) for @open, $watch;
$node->stop;
done_testing();
