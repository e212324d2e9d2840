# What the worker leaves in SCM: segments that sessions go on with, and a range that isn't full. What it moves by itself:
# a full range, as one stripe; and everything once it is old.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

plan skip_all => 'vdb only' unless has_vdb();

my $node = new_node('eligible', conf => "vdb.migrate_after = '1h'\nautovacuum = off\nfsync = off\nmax_connections = 120\n");

sub q1 { return $node->safe_psql('postgres', $_[0]); }
sub moved { return q1("SELECT striped_rows FROM vdb.tables WHERE relation = '$_[0]'::regclass"); }

# Each of 80 sessions leaves a segment that it, or another, will go on with: no backlog.
q1('CREATE TABLE many (id int)');
my @sessions = map { start_session($node) } 1 .. 80;
session_query($_, 'BEGIN; INSERT INTO many VALUES (1)') for @sessions;
session_query($_, 'COMMIT') for @sessions;
is(q1("SELECT count(*) FROM vdb.segments('many')"), '80', 'a segment for each of 80 sessions');
$node->append_conf('postgresql.conf', "vdb.migrate_backlog_segments = 64\n");
$node->reload;
for (1 .. 5)
{
	session_query($sessions[0], 'INSERT INTO many VALUES (2)');
	sleep 1;
}
is(moved('many'), '0', 'open segments are left to their sessions');
is(q1('SELECT count(*) FROM many'), '85', 'all rows are there');
end_session($_) for @sessions;

# Two full ranges and a piece: the piece stays.
$node->append_conf('postgresql.conf', "vdb.migrate_backlog_segments = 256\n");
$node->reload;
q1('CREATE TABLE ranges (id int)');
q1('INSERT INTO ranges SELECT generate_series(1, 150000)');
$node->poll_query_until('postgres', "SELECT striped_rows > 90000 FROM vdb.tables WHERE relation = 'ranges'::regclass")
  or fail('full ranges move');
sleep 2;
cmp_ok(q1("SELECT pool_rows FROM vdb.tables WHERE relation = 'ranges'::regclass"), '>', 5000, 'what may still grow stays');
is(q1("SELECT max(n) FROM (SELECT count(*) AS n FROM vdb.stripes('ranges') GROUP BY range) x"), '1', 'a stripe for each full range');
is(q1('SELECT count(*), sum(id) FROM ranges'), '150000|11250075000', 'all rows are there');

# Without a minimum age moves the rest, and closes what sessions left.
$node->append_conf('postgresql.conf', "vdb.migrate_after = 100\nvdb.migrate_min_rows = 0\n");
$node->reload;
$node->poll_query_until('postgres', "SELECT bool_and(pool_rows = 0) FROM vdb.tables") or fail('age moves all');
is(moved('many'), '85', 'of open segments, too');
is(moved('ranges'), '150000', 'and of ranges that are not full');
verify_ok($node, 'ranges', 'verifies');
$node->stop;
done_testing();
