# A change must be on disk before a checkpoint completes whose redo point follows it.  "Ask for one sync of the
# file per redo pointer" breaks that: spread checkpoint R2 begins; a write asks (redo pointer R2); R2's own sync
# phase takes the request with it; the next write sees the same redo pointer and does not ask; checkpoint R3 syncs
# nothing, and an OS crash then loses what is before R3's redo point.  Here the pool as it was last fsynced
# (synced_copy.c) takes the file's place after kill -9, alone and mixed sector by sector with what came later.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

plan skip_all => 'only vdb has a pool' unless has_vdb();
plan skip_all => 'no C compiler' if system('cc --version >/dev/null 2>&1') != 0;

# Bounded by WAL alone: a spread checkpoint ends when we write enough of it.
my $node = new_node('spread', init => { extra => ['--wal-segsize=1'] }, conf => q{
fsync = on
wal_level = replica
checkpoint_timeout = 1h
max_wal_size = 64MB
min_wal_size = 4MB
checkpoint_completion_target = 0.4
checkpoint_flush_after = 0
bgwriter_lru_maxpages = 0
autovacuum = off
vdb.migrate_enabled = off
});
my $dir = $node->basedir;
my $copy = "$dir/pool.synced";
system_or_bail('cc', '-shared', '-fPIC', '-O', '-o', "$dir/synced_copy.so", "$FindBin::RealBin/synced_copy.c", '-ldl');
my $pool = $node->safe_psql('postgres', "SELECT pg_relation_filepath('vdb.scm')");
my $pool_file = $node->data_dir . "/$pool";
$node->stop;
{
	local %ENV = (%ENV, LD_PRELOAD => "$dir/synced_copy.so", SYNCED_COPY_OF => "/$pool", SYNCED_COPY_TO => $copy);
	$node->start;
}

sub slurp_raw { my ($path) = @_; open(my $f, '<:raw', $path) or die "$path: $!"; local $/; return scalar <$f>; }
sub spew_raw { my ($path, $bytes) = @_; open(my $f, '>:raw', $path) or die "$path: $!"; print $f $bytes; close $f or die $!; return; }
sub checkpoints_done { return $node->safe_psql('postgres', "SELECT redo_lsn FROM pg_control_checkpoint()"); }

$node->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY, v text);
	CREATE TABLE heaped (id int, v text) USING heap;
	INSERT INTO heaped SELECT g, repeat('x', 1000) FROM generate_series(1, 4000) g;
	INSERT INTO t SELECT g, 'row ' || g FROM generate_series(1, 500) g;
});

# One backend writes all rows of a round: the request that it remembers is the point.
my $writer = start_session($node);
session_query($writer, "INSERT INTO t VALUES (1000, 'the writer begins')");
my $id = 1000;
my $log_at;

sub write_row { my ($label) = @_; $id++; session_query($writer, "INSERT INTO t VALUES ($id, '$label'); UPDATE t SET v = v || '+' WHERE id = $id % 500"); return; }

sub one_case
{
	my ($case) = @_;
	$node->safe_psql('postgres', 'CHECKPOINT; UPDATE heaped SET id = id + 1; CHECKPOINT');    # R1
	$node->safe_psql('postgres', 'UPDATE heaped SET id = id + 1');
	write_row("$case, before R2");
	my $done = checkpoints_done();
	$log_at = -s $node->logfile;
	my $psql = sprintf(q{psql -Xq -d "%s" -c "SELECT pg_backup_start('spread', false)"}, $node->connstr('postgres'));
	system_or_bail('sh', '-c', "$psql >/dev/null 2>&1 &");
	$node->wait_for_log(qr/checkpoint starting: force wait/, $log_at);
	write_row("$case, in the write phase of R2");
	is(checkpoints_done(), $done, "$case: R2 is still under way");
	for (1 .. 60)
	{
		$node->safe_psql('postgres', "SELECT pg_logical_emit_message(false, 'filler', repeat('x', 1000000))");
		last if checkpoints_done() ne $done;
	}
	$node->poll_query_until('postgres', "SELECT redo_lsn <> '$done' FROM pg_control_checkpoint()");
	isnt(checkpoints_done(), $done, "$case: R2 is complete");
	write_row("$case, after R2");
	my $sum = digest($node, 't');
	$node->safe_psql('postgres', 'CHECKPOINT');    # R3
	return $sum;
}

# Kill everything, put the pool as the medium may have it, start and compare.
sub os_crash
{
	my ($label, $want, $mix) = @_;
	$node->stop('immediate');
	end_session($writer);
	my ($synced, $now) = (slurp_raw($copy), slurp_raw($pool_file));
	my $image = $synced;
	if (defined $mix)
	{
		srand($mix);
		$image = $now;
		for (my $at = 0; $at < length($now); $at += 512)
		{
			next if substr($now, $at, 512) eq substr($synced, $at, 512) || rand() < 0.5;
			substr($image, $at, 512) = $at < length($synced) ? substr($synced, $at, 512) : "\0" x 512;
		}
	}
	spew_raw($pool_file, $image);
	{
		local %ENV = (%ENV, LD_PRELOAD => "$dir/synced_copy.so", SYNCED_COPY_OF => "/$pool", SYNCED_COPY_TO => $copy);
		$node->start;
	}
	is(digest($node, 't'), $want, "$label: rows");
	same_by_index($node, 't', 'id', "$label: index");
	verify_ok($node, 't', "$label: verifies");
	$writer = start_session($node);
	session_query($writer, "INSERT INTO t VALUES (" . ++$id . ", 'the writer begins again')");
	return;
}

my $want = one_case('last synced');
os_crash('last synced', $want);
$want = one_case('with more');
write_row('after R3');
session_query($writer, "SELECT vdb.migrate('t'); UPDATE t SET v = v || '-' WHERE id % 3 = 0; DELETE FROM t WHERE id % 7 = 0; "
	  . "INSERT INTO t SELECT g, repeat('w', 300) FROM generate_series(10000, 14000) g");
os_crash('with more', digest($node, 't'));
for my $seed (1 .. 3)
{
	one_case("mix $seed");
	session_query($writer, "SELECT vdb.migrate('t')") if $seed == 2;
	session_query($writer, "UPDATE t SET v = v || '$seed' WHERE id % 5 = 0; DELETE FROM t WHERE id % 70 = $seed; "
		  . "INSERT INTO t SELECT $seed * 100000 + g, repeat('m', 200) FROM generate_series(1, 2000) g");
	os_crash("mix $seed", digest($node, 't'), $seed);
}
end_session($writer);
$node->stop;

done_testing();
