# Growth of the pool keeps nobody waiting who does not need the space: while one session grows the file on a file system that
# takes its time, others insert and read; the worker grows it ahead of the need; with a full disk rows move to stripes instead.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);
use VdbTest;

plan skip_all => 'needs a pool' unless has_vdb();
plan skip_all => 'no C compiler' if system('cc --version >/dev/null 2>&1') != 0;

my $node = new_node('slow', conf => "vdb.migrate_enabled = off\nautovacuum = off\nvdb.scm_size = '256MB'\n");
slow_disk_start($node);
my ($pool) = $node->safe_psql('postgres', 'SELECT path FROM vdb.pool') =~ m{([^/]+)$};
my $log = $node->basedir . '/slow_disk.log';

sub size { return $node->safe_psql('postgres', 'SELECT size_bytes FROM vdb.pool'); }
sub delayed { return -e $log ? scalar(() = slurp_file($log) =~ /^allocate .*\/\Q$pool\E$/mg) : 0; }

sub until_true
{
	my ($label, $check) = @_;
	my $begin = time;
	sleep 0.1 while !$check->() && time - $begin < $PostgreSQL::Test::Utils::timeout_default;
	return ok($check->(), $label);
}

# 1. One session grows the pool; each call of the file system takes five seconds
my $wait = 5;
$node->safe_psql('postgres', q{
	CREATE TABLE t (id int, v text); CREATE TABLE m (id int); INSERT INTO m SELECT generate_series(1, 1000); CREATE TABLE u (id int, v text); CREATE TABLE w (id int, v text);
	INSERT INTO u SELECT g, 'u' || g FROM generate_series(1, 100) g});
# a pool of some size, full
$node->safe_psql('postgres', 'INSERT INTO w SELECT g, repeat(md5(g::text), 59) FROM generate_series(1, 14000) g');
my $other = start_session($node);
session_query($other, 'INSERT INTO u VALUES (0, \'first\')');
slow_disk($node, "allocate /$pool " . $wait * 1000, "sync /$pool " . $wait * 1000);
my $load = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'INSERT INTO t SELECT g, repeat(md5(g::text), 20) FROM generate_series(1, 10000) g' ]);
until_true('a session grows the pool', sub { delayed() > 0 });
my $begin = time;
is(session_query($other, "SELECT vdb.migrate('m') > 0"), 't', 'rows move meanwhile');
cmp_ok(time - $begin, '<', $wait - 1, 'without waiting for the growth');
my ($statements, $longest) = (0, 0);
my $until = time + $wait;
while (time < $until)
{
	my $begin = time;
	session_query($other, "INSERT INTO u VALUES (1, 'more')");
	session_query($other, 'SELECT count(*) FROM u');
	my $took = time - $begin;
	$longest = $took if $took > $longest;
	$statements++;
	sleep 0.1;				# so that u keeps to the segment that it has
}
cmp_ok($statements, '>', 5, "others inserted and read meanwhile ($statements times)");
cmp_ok($longest, '<', $wait - 1, "and did not wait for the growth (at most $longest s)");
ok($load->finish, 'the session that grew the pool goes on');
slow_disk($node);
is($node->safe_psql('postgres', 'SELECT count(*) FROM t'), '10000', 'with all its rows');
end_session($other);

# 2. A full disk while the pool should grow: a warning, and statements go on by migration; then it grows again
my $before = size();
slow_disk($node, "allocate /$pool 50 ENOSPC");
my ($out, $err) = ('', '');
my $code = $node->psql('postgres', 'INSERT INTO t SELECT g, repeat(md5(g::text), 20) FROM generate_series(1, 60000) g', stdout => \$out, stderr => \$err, on_error_die => 0);
is($code, 0, 'a load goes through though the disk is full') or diag $err;
like($err, qr/WARNING: .*could not extend the pool/, 'with a warning');
is(size(), $before, 'in a pool that is as large as before');
is($node->safe_psql('postgres', 'SELECT count(*), sum(length(v)) FROM t'), '70000|44800000', 'no row is lost');
slow_disk($node);
sleep 1.2;
$node->safe_psql('postgres', 'INSERT INTO t SELECT g, repeat(md5(g::text), 20) FROM generate_series(1, 40000) g');
cmp_ok(size(), '>', $before, 'and it grows when the disk has room again');

# 3. The worker grows the pool before it is full: who inserts slowly never waits
$node->append_conf('postgresql.conf', "vdb.migrate_enabled = on\nvdb.migrate_after = 1h\nvdb.scm_size = '1GB'\nvdb.migrate_high_water = 100\nvdb.migrate_backlog_segments = 100000\n");
$node->reload;
$node->safe_psql('postgres', 'TRUNCATE t');
my ($total, $used) = split /\|/, $node->safe_psql('postgres', 'SELECT size_bytes, used_bytes FROM vdb.pool');
unlink $log;
slow_disk($node, "allocate /$pool 1000");
my $rows = 0;
my $start = time;
# rows of a transaction in progress stay in the pool
my $loader = start_session($node);
session_query($loader, 'BEGIN');
while (delayed() == 0 && $rows < 60000 && time - $start < $PostgreSQL::Test::Utils::timeout_default)
{
	session_query($loader, 'INSERT INTO w SELECT g, repeat(md5(g::text), 59) FROM generate_series(1, 1000) g');
	$rows += 1000;
	# the worker has to start first
	sleep(patience(1)) if $node->safe_psql('postgres', 'SELECT used_bytes FROM vdb.pool') > $total - $total / 16 - 10 * 1048576;
}
until_true('the pool is extended', sub { size() > $total });
my ($size, $now) = split /\|/, $node->safe_psql('postgres', 'SELECT size_bytes, used_bytes FROM vdb.pool');
cmp_ok($now, '<', $total - $total / 16 - 65536, "though it was not full: $now of $total bytes");
session_query($loader, 'ROLLBACK');
end_session($loader);
$node->stop;

done_testing();
