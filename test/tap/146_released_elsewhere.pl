# Disk space that the pool has returned, on other servers: a standby returns it too and gets it back with its primary; a base backup
# has the file at full length; pg_rewind restores what the holes of one side took from the other; a copy that was made with holes
# gets its space before anything is stored, or an error, and never SIGBUS; an idle pool neither releases nor grows.
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

my $mb = 1048576;
my $settings = "autovacuum = off\nwal_keep_size = '2GB'\nmax_wal_size = '8GB'\ncheckpoint_timeout = '1h'\n"
	. "vdb.migrate_enabled = off\nvdb.migrate_after = '1h'\nvdb.scm_size = '256MB'\nvdb.scm_min_size = '1MB'\nvdb.scm_release_after = '300ms'\n";
my $primary = new_node('primary', init => { allows_streaming => 1, extra => ['--data-checksums'] }, conf => $settings);
$primary->safe_psql('postgres', 'CREATE EXTENSION pg_walinspect');
my $file = $primary->safe_psql('postgres', 'SELECT path FROM vdb.pool');
my ($pool) = $file =~ m{([^/]+)$};

# What the pool's file takes on disk, in bytes; a column of vdb.pool
sub on_disk { return (stat($_[0]->data_dir . "/$file"))[12] * 512; }
sub column { return $_[0]->safe_psql('postgres', "SELECT $_[1] FROM vdb.pool"); }

sub until_true
{
	my ($label, $check) = @_;
	my $begin = time;
	sleep 0.1 while !$check->() && time - $begin < $PostgreSQL::Test::Utils::timeout_default;
	return ok($check->(), $label);
}

sub configure
{
	my ($node, @lines) = @_;
	$node->append_conf('postgresql.conf', "$_\n") for @lines;
	$node->reload;
	return;
}

my $rows = 0;
my $load = "INSERT INTO t SELECT g, repeat(md5(g::text), 60) FROM generate_series(1, 20000) g";
sub load { $_[0]->safe_psql('postgres', $load); $rows += 20000; return; }

sub rows_ok
{
	my ($node, $label) = @_;
	is($node->safe_psql('postgres', 'SELECT count(*), count(*) FILTER (WHERE v <> repeat(md5(id::text), 60)) FROM t'), "$rows|0", $label);
	is($node->safe_psql('postgres', "SELECT count(*) FROM vdb.verify_pool() WHERE severity = 'error'"), '0', "$label: the pool verifies");
	is($node->safe_psql('postgres', "SELECT count(*) FROM vdb.verify('t') WHERE severity = 'error'"), '0', "$label: the table verifies") unless $node->safe_psql('postgres', 'SELECT pg_is_in_recovery()') eq 't';
	return;
}

# Move the rows, and wait until the pool's space is returned.
sub release_all
{
	my ($node, $label) = @_;
	$node->safe_psql('postgres', "SELECT vdb.migrate('t')");
	configure($node, 'vdb.migrate_enabled = on');
	until_true("$label: released", sub { $node->safe_psql('postgres', 'CHECKPOINT'); column($node, 'size_bytes - released_bytes') < 8 * $mb && on_disk($node) < 10 * $mb });
	configure($node, 'vdb.migrate_enabled = off');
	until_true("$label: no worker", sub { $node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'vdb migration worker'") eq '0' });
	return;
}

# Records of the pool since a position whose description fits: how many, or another aggregate
my $records = $primary->safe_psql('postgres', 'SHOW server_version_num') < 160000 ? 'pg_get_wal_records_info_till_end_of_wal(%s)' : q{pg_get_wal_records_info(%s, 'FFFFFFFF/FFFFFFFF')};
sub records
{
	my ($node, $since, $what, $aggregate) = @_;
	return $node->safe_psql('postgres', sprintf("SELECT %s FROM $records WHERE resource_manager = 'vdb_am' AND description ~ '%s'", $aggregate // 'count(*)', "'$since'", $what));
}
sub position { return $_[0]->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()'); }

# A standby's restartpoint, with a record behind it, after which it looks what it may return
sub follow
{
	my ($primary, $standby) = @_;
	$primary->safe_psql('postgres', 'CHECKPOINT');
	$primary->wait_for_catchup($standby);
	$standby->safe_psql('postgres', 'CHECKPOINT');
	sleep 1.1;
	$primary->safe_psql('postgres', 'INSERT INTO other VALUES (0)');
	$primary->wait_for_catchup($standby);
	return;
}

$primary->safe_psql('postgres', 'CREATE TABLE t (id int, v text); CREATE TABLE other (a int)');

# 1. A load and its end on a primary with a standby
$primary->backup('empty');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'empty', has_streaming => 1);
$standby->start;
load($primary);
my $size = column($primary, 'size_bytes');
cmp_ok($size, '>', 40 * $mb, 'a load makes the pool large');
$primary->wait_for_catchup($standby);
cmp_ok(on_disk($standby), '>', 40 * $mb, 'on the standby too');
my $since = position($primary);
release_all($primary, 'primary');
cmp_ok(records($primary, $since, 'releases'), '>', 0, 'what is released is in WAL');
cmp_ok(records($primary, $since, 'releases|blocks 32', 'sum(record_length)'), '<', $size / 400, 'and needs little of it');
$primary->wait_for_catchup($standby);
cmp_ok(on_disk($standby), '>', 40 * $mb, 'the standby keeps the space before its restartpoint');
until_true('it returns it afterwards', sub { follow($primary, $standby); on_disk($standby) < 10 * $mb });
is(-s $standby->data_dir . "/$file", $size, 'its file has the same length');
rows_ok($standby, 'standby with holes');
kill_all($standby);
$standby->start;
rows_ok($standby, 'standby after a crash');
# growth takes the segments into use again, on both
load($primary);
$primary->wait_for_catchup($standby);
is(column($primary, 'size_bytes'), $size, 'the next load extends nothing');
cmp_ok(records($primary, $since, 'allocates'), '>', 0, 'but takes what was released');
cmp_ok(on_disk($standby), '>=', $size - column($primary, 'released_bytes') - $mb, 'which has space on the standby as well');
rows_ok($_, $_->name . ' after the next load') for $primary, $standby;

# 2. A backup of a file with holes
release_all($primary, 'before the backup');
$primary->backup('holes');
is(-s $primary->backup_dir . "/holes/$file", $size, 'the backup has the whole length');
my $copy = PostgreSQL::Test::Cluster->new('copy');
$copy->init_from_backup($primary, 'holes', has_streaming => 1);
$copy->start;
$primary->wait_for_catchup($copy);
rows_ok($copy, 'backup');
until_true('a standby made of it returns the space', sub { follow($primary, $copy); on_disk($copy) < 10 * $mb });
$copy->stop;
command_ok([ 'pg_checksums', '--check', '-D', $copy->data_dir ], 'pg_checksums takes holes for new pages');

# 3. pg_rewind: the old primary released what the new one uses
load($primary);
$primary->wait_for_catchup($standby);
$standby->promote;
release_all($primary, 'after the failover');
rows_ok($primary, 'old primary');

sub rewind
{
	my ($old, $new, $label) = @_;
	my $conf = slurp_file($old->data_dir . '/postgresql.conf');
	$new->safe_psql('postgres', 'CHECKPOINT');
	$old->stop;
	command_ok([ 'pg_rewind', '--target-pgdata', $old->data_dir, '--source-server', $new->connstr('postgres'), '--no-sync' ], "$label: pg_rewind");
	open(my $f, '>', $old->data_dir . '/postgresql.conf') or die $!;
	print $f $conf;
	close $f;
	$old->enable_streaming($new);
	$old->set_standby_mode;
	$old->start;
	$new->wait_for_catchup($old);
	return;
}
rewind($primary, $standby, 'released on the old side');
cmp_ok(on_disk($primary), '>', 35 * $mb, 'what the holes took is back');
rows_ok($_, $_->name . ' after pg_rewind') for $standby, $primary;

# 4. pg_rewind: the new primary released what the old one uses, and takes it into use again
$primary->promote;
$standby->safe_psql('postgres', "INSERT INTO other VALUES (1)");
$standby->safe_psql('postgres', 'UPDATE t SET id = id WHERE id < 100');
release_all($primary, 'new side');
rewind($standby, $primary, 'released on the new side');
rows_ok($_, $_->name . ' after the second pg_rewind') for $primary, $standby;
load($primary);
$primary->wait_for_catchup($standby);
rows_ok($_, $_->name . ' after a load') for $primary, $standby;
# both promoted: each has space for what it may use
$standby->promote;
$standby->safe_psql('postgres', 'INSERT INTO other VALUES (2)');
cmp_ok(on_disk($standby), '>=', column($standby, 'size_bytes - released_bytes'), 'a promoted server has space for all that is not released');
$standby->stop;

# 5. A copy with holes, as cp makes them: nothing is stored in one
release_all($primary, 'before the copies');
load($primary);
$primary->safe_psql('postgres', 'CHECKPOINT');
my $use = column($primary, 'size_bytes - released_bytes');

# A server on a copy of the primary's files, with the disk as $lines say
sub sparse_copy
{
	my ($name, @lines) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	system_or_bail('cp', '-a', '--sparse=always', $primary->data_dir, $node->data_dir);
	$node->append_conf('postgresql.conf', 'port = ' . $node->port . "\nunix_socket_directories = '" . $node->host . "'\n");
	unlink $node->data_dir . '/standby.signal', $node->data_dir . '/postmaster.pid';
	system_or_bail('cc', '-shared', '-fPIC', '-O', '-o', $node->basedir . '/slow_disk.so', "$FindBin::RealBin/../lib/slow_disk.c", '-ldl');
	slow_disk($node, @lines);
	return $node;
}
sub start_on_slow_disk
{
	my ($node, %options) = @_;
	my $dir = $node->basedir;
	local %ENV = (%ENV, LD_PRELOAD => "$dir/slow_disk.so", SLOW_DISK => "$dir/slow_disk.conf");
	return $node->start(%options);
}

$primary->stop;
my $sparse = sparse_copy('sparse', "allocate /$pool 0 ENOSPC");
cmp_ok(on_disk($sparse), '<', $use, 'a copy has holes where the pool has none');
start_on_slow_disk($sparse);
rows_ok($sparse, 'a copy on a full disk can be read');
like(error_of($sparse, 'INSERT INTO other VALUES (3)'), qr/ERROR:  53100: could not allocate block \d+ of the pool.*HINT:  Free space/s, 'and tells that it cannot be written');
slow_disk($sparse);
is(error_of($sparse, 'INSERT INTO other VALUES (3)'), '', 'it can when the disk has room');
cmp_ok(on_disk($sparse), '>=', $use, 'and has space for all that it can use');
rows_ok($sparse, 'a copy with space');
unlike(slurp_file($sparse->logfile), qr/terminated by signal/, 'no process died');
$sparse->stop;

$primary->start;
load($primary);
kill_all($primary);
$sparse = sparse_copy('crashed', "allocate /$pool 0 ENOSPC");
is(start_on_slow_disk($sparse, fail_ok => 1), 0, 'recovery of such a copy stops');
like(slurp_file($sparse->logfile), qr/FATAL:  could not allocate block \d+ of the pool in recovery/, 'and says why');
unlike(slurp_file($sparse->logfile), qr/terminated by signal/, 'instead of a signal');
slow_disk($sparse);
start_on_slow_disk($sparse);
rows_ok($sparse, 'recovered copy');
$sparse->stop;

# 6. What was released is not taken back for nothing: the worker that grows the pool ahead of the need agrees with the one that releases
$primary->start;
release_all($primary, 'for the last time');
configure($primary, 'vdb.migrate_enabled = on');
$since = position($primary);
for my $round (1 .. 15)
{
	$primary->safe_psql('postgres', 'INSERT INTO other SELECT generate_series(1, 100)');
	sleep 0.3;
}
is(records($primary, $since, 'releases|allocates|extends'), '0', 'an idle pool keeps its size');
$primary->stop;

done_testing();
