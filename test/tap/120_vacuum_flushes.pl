# VACUUM and the freeing of old overlays flush WAL a few times a range (65,536 row numbers), not once a logical block, and no
# reader waits for a flush: writers of the range wait at its gate.  A crash between any two steps loses and brings back nothing.
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
my $node = new_node('flushes', conf => "vdb.migrate_enabled = off\nautovacuum = off\nvdb.scm_size = '256MB'\nrestart_after_crash = on\n");

sub flushes { return $node->safe_psql('postgres', 'SELECT wal_flushes FROM vdb.pool'); }

# Runs a statement; returns how often it flushed WAL.
sub flushes_of
{
	my ($sql) = @_;
	my $before = flushes();
	$node->safe_psql('postgres', $sql);
	return flushes() - $before;
}

sub until_true
{
	my ($label, $sql) = @_;
	return ok($node->poll_query_until('postgres', $sql), $label);
}

# 1. How often WAL is flushed.  200,000 rows are 782 logical blocks in 4 ranges.
my $ranges = 4;
my $make = 'CREATE TABLE %s (id int, v int); CREATE INDEX ON %s (id); INSERT INTO %s SELECT g, 0 FROM generate_series(1, 200000) g';
$node->safe_psql('postgres', $make =~ s/%s/$_/gr) for qw(pooled striped);
migrate($node, 'striped');

# block deltas of which nothing is left are given back
my $lock = 'BEGIN; SELECT count(*) FROM (SELECT 1 FROM striped WHERE id % 256 < 4 FOR UPDATE) x; COMMIT';
$node->safe_psql('postgres', $lock);
my $n = flushes_of('VACUUM (FREEZE) striped');
cmp_ok($n, '<=', 2 * $ranges + 4, "locks of striped rows forgotten: $n flushes");
verify_ok($node, 'striped');

for my $table (qw(pooled striped))
{
	$node->safe_psql('postgres', "DELETE FROM $table WHERE id % 256 = 7");
	$n = flushes_of("VACUUM $table");
	cmp_ok($n, '<=', 2 * $ranges + 4, "a dead row in each block, $table: $n flushes");
	is($node->safe_psql('postgres', "SELECT count(*) FROM $table"), '199218', "rows are left, $table");
	verify_ok($node, $table);
}
$n = flushes_of('VACUUM (FREEZE) pooled');
cmp_ok($n, '<=', 2 * $ranges + 4, "all rows of the pool frozen: $n flushes");
is($node->safe_psql('postgres', "SELECT age(relfrozenxid) < 10 FROM pg_class WHERE relname = 'pooled'"), 't', 'and relfrozenxid goes on');

# delta records that say nothing any more are dropped, here beside the bits of removed rows
$node->safe_psql('postgres', $lock);
$n = flushes_of('VACUUM (FREEZE) striped');
cmp_ok($n, '<=', 12 * $ranges + 4, "locks of striped rows forgotten, removed rows not: $n flushes");

# block deltas of 2,048 bytes become small: each updated row has a delta record of its own
$node->safe_psql('postgres', 'UPDATE striped SET v = 1 WHERE id % 256 BETWEEN 10 AND 39');
$n = flushes_of('VACUUM striped');
cmp_ok($n, '<=', 12 * $ranges + 4, "large block deltas made small: $n flushes");
verify_ok($node, 'striped');
is($node->safe_psql('postgres', 'SELECT count(*), sum(v) FROM striped'), '199218|23460', 'rows');

# old overlays are freed
$node->safe_psql('postgres', 'DELETE FROM striped WHERE id % 256 BETWEEN 100 AND 199');
$n = flushes_of("SELECT vdb.migrate('striped')");
my $moves = $node->safe_psql('postgres', "SELECT count(*) FROM vdb.stripes('striped')");
cmp_ok($n, '<=', 30 * $moves, "stripes written anew, with the rows of the pool ($moves stripes now): $n flushes");
verify_ok($node, 'striped');
is($node->safe_psql('postgres', 'SELECT count(*) FROM striped'), 199218 - 78100, 'rows');

# 2. While VACUUM is about to flush, the gate of its range is closed: readers, inserters and writers of other ranges go on,
# writers of the range wait; a canceled VACUUM opens the gate.
$node->safe_psql('postgres', 'DELETE FROM pooled WHERE id % 256 = 8');
sub send_off { my ($s, $sql) = @_; print { $s->{to} } "$sql;\n"; return; }
sub pid_of { return session_query($_[0], 'SELECT pg_backend_pid()'); }
sub wait_asleep { return until_true($_[1], "SELECT wait_event = 'Extension' FROM pg_stat_activity WHERE pid = $_[0]"); }

my ($holder, $vacuum, $writer, $other) = map { start_session($node) } 1 .. 4;
session_query($holder, 'SELECT pg_advisory_lock(30308)');
session_query($vacuum, "SET vdb.stop_point = 'vacuum-range-gathered'");
my ($vacuum_pid, $writer_pid) = (pid_of($vacuum), pid_of($writer));
send_off($vacuum, 'VACUUM pooled');
wait_asleep($vacuum_pid, 'VACUUM has closed the gate of the first range');
is(session_query($other, 'SET enable_seqscan = off; SELECT v FROM pooled WHERE id = 1000'), '0', 'readers of the range go on');
is(session_query($other, 'SELECT count(*) FROM pooled WHERE id % 256 = 8'), '0', 'and do not see what is about to be removed');
is(session_query($other, 'INSERT INTO pooled VALUES (0, 5) RETURNING v'), '5', 'inserters go on');
is(session_query($other, 'UPDATE pooled SET v = 6 WHERE id = 199999 RETURNING v'), '6', 'writers of another range go on');
send_off($writer, 'UPDATE pooled SET v = 7 WHERE id = 1000');
wait_asleep($writer_pid, 'a writer of the range waits');
is($node->safe_psql('postgres', "SELECT pg_cancel_backend($writer_pid)"), 't', 'it is canceled');
like(session_query($writer, 'SELECT 1'), qr/canceling statement.*\n1$/s, 'and ends at once');
send_off($writer, 'UPDATE pooled SET v = 7 WHERE id = 1000 RETURNING v');
wait_asleep($writer_pid, 'another one waits');
$node->safe_psql('postgres', "SELECT pg_cancel_backend($vacuum_pid)");
like(session_query($writer, 'SELECT 1'), qr/^7\n1$/, 'the end of a canceled VACUUM opens the gate');
like(session_query($vacuum, 'SELECT 1'), qr/canceling statement/, 'VACUUM was canceled');
send_off($writer, 'UPDATE pooled SET v = 8 WHERE id = 2000 RETURNING v');
send_off($vacuum, 'VACUUM pooled');
wait_asleep($vacuum_pid, 'VACUUM is there again');
send_off($writer, 'UPDATE pooled SET v = 9 WHERE id = 3000 RETURNING v');
wait_asleep($writer_pid, 'and a writer waits');
session_query($holder, 'SELECT pg_advisory_unlock(30308)');
like(session_query($writer, 'SELECT 1'), qr/^8\n9\n1$/, 'it goes on when the range is stored');
is(session_query($vacuum, 'SELECT 1'), '1', 'VACUUM is through');
verify_ok($node, 'pooled');
end_session($_) for $holder, $vacuum, $writer, $other;

# 3. A crash at each step: the rows are the same, and the next VACUUM removes what is left and cleans the indexes
for my $point (qw(vacuum-range-walked vacuum-range-gathered batch-logged batch-flushed batch-applied-one:2 batch-applied-one:500
	vacuum-range-stored overlay-edit-prepared overlay-deltas-freed))
{
	for my $table (qw(pooled striped))
	{
		next if $point =~ /overlay-/ && $table eq 'pooled';
		$node->safe_psql('postgres', "DELETE FROM $table WHERE id % 256 = 50 + (SELECT count(*) FROM $table) % 7;
			UPDATE $table SET v = v + 1 WHERE id % 256 BETWEEN 10 AND 39");
		my $digest = digest($node, $table);
		my $do = $point eq 'overlay-deltas-freed' ? "SELECT vdb.migrate('$table')" : "VACUUM $table";
		$node->psql('postgres', "SET vdb.stop_point = '$point'; SET vdb.stop_action = 'crash'; $do", on_error_die => 0, on_error_stop => 0);
		$node->poll_query_until('postgres', 'SELECT true') or die 'the server does not come back';
		is(digest($node, $table), $digest, "rows after a crash at $point, $table");
		verify_ok($node, $table, "$table verifies");
		$node->safe_psql('postgres', "VACUUM $table");
		is(digest($node, $table), $digest, 'rows after the next VACUUM');
		is($node->safe_psql('postgres', "SET enable_seqscan = off; SET enable_bitmapscan = off; SELECT count(*) FROM $table WHERE id > 0"),
			$node->safe_psql('postgres', "SELECT count(*) FROM $table WHERE id + 0 > 0"), 'and by index only');
		verify_ok($node, $table, "$table verifies again");
	}
}
like(slurp_file($node->logfile), qr/terminated by signal 9/, 'the server did crash');
$node->stop;

done_testing();
