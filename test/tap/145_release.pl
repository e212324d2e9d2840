# Disk space that the pool does not need is returned after a time and a checkpoint, and allocated again before it is used: after a
# load, on a disk that is full by then, and after a crash at each step.
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

my $node = new_node('release', conf => "vdb.migrate_after = '100ms'\nautovacuum = off\nvdb.scm_size = '256MB'\n"
	. "vdb.scm_min_size = '1MB'\nvdb.scm_release_after = '300ms'\ncheckpoint_timeout = '1h'\nrestart_after_crash = on\nmax_wal_size = '8GB'\n");
slow_disk_start($node);
my $file = $node->safe_psql('postgres', 'SELECT path FROM vdb.pool');
my ($pool) = $file =~ m{([^/]+)$};
my $mb = 1048576;

# What the file takes on disk, in bytes; a column of vdb.pool
sub on_disk { return (stat($node->data_dir . "/$file"))[12] * 512; }
sub column { return $node->safe_psql('postgres', "SELECT $_[0] FROM vdb.pool"); }

sub until_true
{
	my ($label, $check) = @_;
	my $begin = time;
	sleep 0.1 while !$check->() && time - $begin < $PostgreSQL::Test::Utils::timeout_default;
	return ok($check->(), $label);
}

my $rows = 0;
my $load = "INSERT INTO t SELECT g, repeat(md5(g::text), 60) FROM generate_series(1, 20000) g";
sub digest_ok
{
	is($node->safe_psql('postgres', 'SELECT count(*), count(*) FILTER (WHERE v <> repeat(md5(id::text), 60)) FROM t'), "$rows|0", $_[0]);
	is($node->safe_psql('postgres', "SELECT count(*) FROM vdb.verify_pool() WHERE severity = 'error'"), '0', "$_[0]: the pool verifies");
	return;
}
sub configure
{
	my (@lines) = @_;
	$node->append_conf('postgresql.conf', "$_\n") for @lines;
	$node->reload;
	return;
}
sub migrate_all { return $node->safe_psql('postgres', "SELECT vdb.migrate('t') >= 0"); }

# 1. A load makes the pool large; its space is returned
$node->safe_psql('postgres', 'CREATE TABLE t (id int, v text)');
$node->safe_psql('postgres', $load);
$rows += 20000;
my $size = column('size_bytes');
cmp_ok($size, '>', 40 * $mb, 'a load makes the pool large');
cmp_ok(on_disk(), '>=', $size, 'and all of it takes space on disk');
migrate_all();
until_true('what is not used is released', sub { column('size_bytes - released_bytes') < 8 * $mb });
cmp_ok(on_disk(), '>=', $size, 'the space is not returned before a checkpoint');
$node->safe_psql('postgres', 'CHECKPOINT');
until_true('it is returned after a checkpoint', sub { on_disk() < 10 * $mb });
is(column('size_bytes'), $size, 'the file has the same length');
digest_ok('with holes in the pool');

# 2. It is allocated again before it is used, instead of extending the file
configure('vdb.scm_release_after = -1');
$node->safe_psql('postgres', $load);
$rows += 20000;
cmp_ok(column('released_bytes'), '<', $size - 40 * $mb, 'a second load takes what was released');
is(column('size_bytes'), $size, 'and does not extend the file');
cmp_ok(on_disk(), '>=', $size - column('released_bytes'), 'what it can use takes space on disk');
digest_ok('after the second load');

# 3. The disk is full meanwhile
configure("vdb.scm_release_after = '300ms'");
migrate_all();
sub release_all
{
	my ($label) = @_;
	until_true("$label: released", sub { $node->safe_psql('postgres', 'CHECKPOINT'); column('size_bytes - released_bytes') < 8 * $mb && on_disk() < 10 * $mb });
	return;
}
release_all('before the disk is full');
configure('vdb.scm_release_after = -1');
slow_disk($node, "allocate /$pool 0 ENOSPC");
my ($out, $err) = ('', '');
my $code = $node->psql('postgres', $load, stdout => \$out, stderr => \$err, on_error_die => 0);
$rows += 20000;
is($code, 0, 'a load goes through') or diag $err;
cmp_ok(column('size_bytes - released_bytes'), '<', 8 * $mb, 'in what the pool has');
cmp_ok(on_disk(), '<', 10 * $mb, 'and no hole is stored into');
like(slurp_file($node->logfile), qr/WARNING: .*could not extend the pool/, 'with a warning');
slow_disk($node);
digest_ok('after the full disk');
unlike(slurp_file($node->logfile), qr/terminated by signal/, 'no process died');

# 4. A crash at each step
my $crashes = 0;
my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
sub crashes { return scalar(() = slurp_file($node->logfile) =~ /was terminated by signal 9/g); }
# The answer of a server that may be restarting
sub value
{
	my $out = '-';
	$node->psql('postgres', $_[0], stdout => \$out, on_error_die => 0);
	return $out;
}
sub until_crashed
{
	my ($label) = @_;
	until_true("$label: a process dies", sub { crashes() > $crashes });
	$node->append_conf('postgresql.conf', "vdb.stop_point = ''\nvdb.stop_action = 'wait'\nvdb.scm_release_after = -1\n");
	# until the postmaster knows, each new worker dies like the first
	until_true("$label: the server is up again",
		sub { kill('HUP', $postmaster); $node->psql('postgres', 'SELECT 1') == 0 && value('SHOW vdb.stop_point') eq ''
			&& value("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'vdb migration worker'") eq '0' });
	$crashes = crashes();
	return;
}
for my $point ('release-blocks-logged', 'release-logged', 'release-punched')
{
	configure("vdb.stop_action = 'wait'", 'vdb.scm_release_after = -1');
	$node->safe_psql('postgres', $load);
	$rows += 20000;
	migrate_all();
	configure("vdb.stop_action = 'crash'", "vdb.stop_point = '$point'", "vdb.scm_release_after = '300ms'");
	# what lets the worker get to the last point
	until_true("$point: released", sub { $node->psql('postgres', 'CHECKPOINT'); crashes() > $crashes || sleep(0.3) && 0 });
	until_crashed($point);
	digest_ok($point);
	configure("vdb.scm_release_after = '300ms'");
	release_all($point);
}
for my $point ('back-allocated', 'back-logged')
{
	configure('vdb.migrate_enabled = off', 'vdb.scm_release_after = -1');
	$node->psql('postgres', "SET vdb.stop_action = 'crash'; SET vdb.stop_point = '$point'; $load", on_error_die => 0);
	until_crashed($point);
	digest_ok($point);
	$node->safe_psql('postgres', $load);
	$rows += 20000;
	digest_ok("$point, and a load");
	is(on_disk() >= column('size_bytes - released_bytes') ? 1 : 0, 1, "$point: what is not released takes space on disk");
	migrate_all();
	configure('vdb.migrate_enabled = on', "vdb.scm_release_after = '300ms'");
	release_all($point);
}
$node->stop;

done_testing();
