# The file vdb_am.ends tells where recoveries ended, and so which rows of vdb tables never happened. Nothing that can
# happen to it may keep the server from starting or touch heap tables. A full disk (here: a data directory in which no
# file can be made) is no obstacle after a crash; one damaged copy of two is none either; a file that is lost makes the
# server refuse the pools that it can't judge, and no others, with a hint; one that is of another version, or can't be
# read, is left alone.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

plan skip_all => 'only vdb has the file' unless has_vdb();

my $node = new_node('ends', conf => "autovacuum = off\nvdb.migrate_enabled = off\nrestart_after_crash = on\n");
my $file = $node->data_dir . '/vdb_am.ends';
my $copy = 16384;
my $unknown = qr/XX001.*cannot tell which rows of this database's vdb tables outlived earlier crashes.*HINT:.*vdb\.ignore_lost_recoveries/s;
my $reads = 'SELECT count(*) FROM v';

sub log_since { return slurp_file($node->logfile, $_[0]); }

sub bytes
{
	open(my $f, '<:raw', $file) or die "$file: $!";
	local $/;
	return scalar <$f>;
}

sub write_bytes
{
	my ($bytes) = @_;
	open(my $f, '>:raw', $file) or die "$file: $!";
	print $f $bytes;
	close $f or die $!;
	return;
}

# Stop, change the file, start.
sub restart_with
{
	my ($change) = @_;
	$node->stop;
	$change->();
	my $at = -s $node->logfile;
	$node->start;
	return $at;
}

sub flip
{
	my @at = @_;
	my $bytes = bytes();
	substr($bytes, $_, 1) = chr(ord(substr($bytes, $_, 1)) ^ 0x10) for @at;
	write_bytes($bytes);
	return;
}

sub vdb_works
{
	my ($label, $db) = @_;
	$db //= 'postgres';
	is($node->safe_psql($db, $reads), '100', "$label: vdb reads");
	is(error_of($node, 'BEGIN; INSERT INTO v VALUES (0); ROLLBACK', db => $db), '', "$label: vdb writes");
	return;
}

sub vdb_refuses
{
	my ($label, $pattern, $db) = @_;
	like(error_of($node, $reads, db => $db // 'postgres'), $pattern, "$label: vdb cannot be read");
	like(error_of($node, 'INSERT INTO v VALUES (0)', db => $db // 'postgres'), $pattern, "$label: vdb cannot be written");
	return;
}

sub heap_works
{
	my ($label) = @_;
	is($node->safe_psql('postgres', 'BEGIN; INSERT INTO h VALUES (0); SELECT count(*) FROM h; ROLLBACK'), '101', "$label: heap works");
	return;
}

sub accept_loss { is($node->safe_psql($_[0], "SET vdb.ignore_lost_recoveries = on; $reads"), '100', "$_[0]: accepted"); return; }

# Have the postmaster begin anew.
sub crash
{
	my $pid = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'");
	my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
	kill 'KILL', $pid;
	ok($node->poll_query_until('postgres', "SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'checkpointer' AND pid <> $pid"),
		'the server serves again by itself');
	is((slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/)[0], $postmaster, '... and its postmaster is the same');
	return;
}

$node->safe_psql('postgres', 'CREATE DATABASE other');
prepare_db($node, 'other');
$node->safe_psql($_, 'CREATE TABLE v (a int); INSERT INTO v SELECT generate_series(1, 100)') for qw(postgres other);
$node->safe_psql('postgres', 'CREATE TABLE h (a int) USING heap; INSERT INTO h SELECT generate_series(1, 100)');
is(-s $file, 2 * $copy, 'the file has its size from the first start on');

# ---- no file can be made ----

chmod 0500, $node->data_dir or die $!;
crash();
heap_works('full disk');
vdb_works('full disk');
vdb_works('full disk', 'other');
chmod 0700, $node->data_dir or die $!;
$node->restart;
vdb_works('full disk, later');

# ---- one copy is damaged ----

for my $which (0, 1)
{
	my $at = restart_with(sub { flip($which * $copy + 40) });
	like(log_since($at), qr/LOG:.*one of the two copies in file "vdb_am.ends" is damaged/, "copy $which: told");
	vdb_works("copy $which damaged");
	is(substr(bytes(), 0, $copy), substr(bytes(), $copy), "copy $which: mended");
}

# ---- lost ----

my %lost = (
	damaged => sub { flip(40, $copy + 40) },
	truncated => sub { write_bytes(substr(bytes(), 0, 100)) },
	empty => sub { write_bytes('') },
	missing => sub { unlink $file or die $! });
for my $how (sort keys %lost)
{
	my $at = restart_with($lost{$how});
	like(log_since($at), qr/LOG:.*file "vdb_am.ends" is damaged and begins anew/, "$how: told") if $how ne 'missing';
	heap_works($how);
	vdb_refuses($how, $unknown);
	is(-s $file, 2 * $copy, "$how: the file is there again");
	# who comes after that is not concerned
	$node->safe_psql('postgres', "CREATE DATABASE later_$how TEMPLATE template0");
	prepare_db($node, "later_$how");
	$node->safe_psql("later_$how", 'CREATE TABLE v (a int); INSERT INTO v SELECT generate_series(1, 100)');
	$node->restart;
	vdb_refuses("$how, restarted", $unknown);
	vdb_works("$how, made later", "later_$how");
	crash();
	vdb_refuses("$how, crashed", $unknown);
	vdb_works("$how, made later, crashed", "later_$how");
	$node->safe_psql('postgres', "DROP DATABASE later_$how") if $how ne 'missing';
	is(error_of($node, "SET SESSION AUTHORIZATION pg_monitor; SET vdb.ignore_lost_recoveries = on") =~ /42501/, 1, "$how: not for everybody");
	accept_loss('postgres');
	vdb_works("$how, accepted");
	vdb_refuses("$how, accepted elsewhere", $unknown, 'other');
	accept_loss('other');
	$node->restart;
	vdb_works("$how, accepted, restarted", $_) for qw(postgres other);
}

# ---- not ours to touch ----

my $kept = bytes();
restart_with(sub { my $b = $kept; substr($b, 7, 1) = substr($b, $copy + 7, 1) = chr(99); write_bytes($b) });
heap_works('other version');
vdb_refuses('other version', qr/0A000.*file "vdb_am.ends" has format version 99.*HINT:.*Install the release/s);
like(error_of($node, "SET vdb.ignore_lost_recoveries = on; $reads"), qr/0A000/, 'other version: nothing to accept');
crash();
is(ord(substr(bytes(), 7, 1)), 99, 'other version: left alone');
restart_with(sub { write_bytes($kept) });

$node->stop;
$kept = bytes();
unlink $file or die $!;
mkdir $file or die $!;
$node->start;
heap_works('unreadable');
vdb_refuses('unreadable', qr/could not be read: Is a directory.*HINT:.*Make the file in the data directory readable/s);
restart_with(sub { rmdir $file or die $!; write_bytes($kept) });
vdb_works('readable again', $_) for qw(postgres other);

# ---- cannot be written: the server goes on without, and tries again ----

unlink $file or die $!;
chmod 0500, $node->data_dir or die $!;
crash();
heap_works('no file, full disk');
vdb_refuses('no file, full disk', qr/could not write file "vdb_am.ends": Permission denied.*HINT:.*Free space/s);
chmod 0700, $node->data_dir or die $!;
ok($node->poll_query_until('postgres', "SELECT size = 32768 FROM pg_stat_file('vdb_am.ends', true)"), 'the file is written when there is room');
vdb_refuses('no file, room again', $unknown);
accept_loss($_) for qw(postgres other);
$node->restart;
vdb_works('at the end', $_) for qw(postgres other);
verify_ok($node, 'v');
$node->stop;

done_testing();
