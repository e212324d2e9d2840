# SERIALIZABLE: write skew when zone maps keep a reader from the row that a writer is moving into the reader's range. The
# writer is stopped within its statement, after it has asked for conflicts about the old version and before the new one is
# there; the new version's place, in a segment that the writer owned already, lies before the old one. The reader takes its
# lock, passes by that place, and passes over the old version's chunk. One of the two has to fail, as on heap; also
# where nothing is pruned, and for the other ways in which new versions get into a table.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my $node = new_node('main', conf => "vdb.chunk_rows = 256\n");
my $holder = start_session($node);

# Waits until exactly the backend of this name is in such a state.
sub wait_until
{
	my ($name, $condition) = @_;
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = '$name' AND $condition")
	  or die "$name never was: $condition";
	return;
}

# Sends a statement without waiting for its end; what it prints comes with the next answer.
sub send_query
{
	my ($s, $sql) = @_;
	print { $s->{to} } "$sql;\n";
	return;
}

sub session
{
	my ($name) = @_;
	my $s = start_session($node);
	session_query($s, "SET application_name = '$name'; SET enable_bitmapscan = off; SET max_parallel_workers_per_gather = 0");
	return $s;
}

# write: the writer's statement, stopped at point; read: the reader's; set: its settings; blocks: is the old version's block locked?
sub skew
{
	my ($label, %c) = @_;
	$node->safe_psql('postgres', 'DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, z int)');
	my $writer = session('writer');
	my $reader = session('reader');
	session_query($writer, 'SET enable_seqscan = off');
	session_query($writer, 'SET vdb.enable_custom_scan = off') if has_vdb();
	session_query($reader, $c{set}) if has_vdb() && $c{set};

	# the writer's segment comes first, then the rows in stripes; the writer goes on in its segment
	session_query($writer, 'BEGIN; INSERT INTO t VALUES (0, 0)');
	$node->safe_psql('postgres', 'INSERT INTO t SELECT g, g FROM generate_series(1, 3000) g');
	migrate($node, 't');
	session_query($writer, 'COMMIT');
	if (has_vdb())
	{
		is($node->safe_psql('postgres', "SELECT striped_rows FROM vdb.tables WHERE relation = 't'::regclass"), '3000', "$label: rows are in stripes");
		my $plan = session_query($reader, "EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) $c{read}");
		like($plan, $c{plan}, "$label: the reader's plan");
	}
	session_query($_, 'BEGIN ISOLATION LEVEL SERIALIZABLE') for $writer, $reader;
	is(session_query($writer, 'SELECT count(*) FROM t WHERE id = -1'), '0', "$label: the writer reads");

	session_query($holder, 'SELECT pg_advisory_lock(30308)');
	if (has_vdb())
	{
		session_query($writer, "SET vdb.stop_point = '$c{point}'");
		send_query($writer, $c{write});
		wait_until('writer', "wait_event_type = 'Extension'");
	}
	else
	{
		session_query($writer, $c{write});
	}
	my $out = '';
	if (has_vdb() && $c{blocks})
	{
		# it has passed by the new version's place, and comes to the old version's block
		send_query($reader, $c{read});
		wait_until('reader', "wait_event = 'vdb_blocks'");
	}
	else
	{
		$out = session_query($reader, $c{read});
	}
	session_query($holder, 'SELECT pg_advisory_unlock(30308)');
	$out .= session_query($reader, 'INSERT INTO t VALUES (-1, 0)');
	$out .= session_query($writer, 'COMMIT') . session_query($reader, 'COMMIT');
	like($out, qr/could not serialize access/, "$label: one of the two fails");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM t WHERE z > 100000 OR id = -1'), '1', "$label: and the other does not");
	end_session($_) for $writer, $reader;
	return;
}

my %writes = (
	'UPDATE' => 'UPDATE t SET z = 100001 WHERE id = 1500',
	'MERGE' => 'MERGE INTO t USING (VALUES (1500)) s (id) ON t.id = s.id WHEN MATCHED THEN UPDATE SET z = 100001',
	'ON CONFLICT' => 'INSERT INTO t VALUES (1500, 0) ON CONFLICT (id) DO UPDATE SET z = 100001');
my $scan = 'SELECT id FROM t WHERE z > 100000';
my $aggregate = 'SELECT count(*) FROM t WHERE z > 100000';
my $pruned = qr/Chunks Read: 0\n/;

for my $name (sort keys %writes)
{
	# ON CONFLICT locks the row first
	my $point = 'table-xmax-computed' . ($name eq 'ON CONFLICT' ? ':2' : '');
	skew("$name, pruned", write => $writes{$name}, point => $point, blocks => 1, read => $scan, plan => $pruned);
}
my %update = (write => $writes{UPDATE}, point => 'table-xmax-computed', blocks => 1);
skew('UPDATE, pruned, aggregated', %update, read => $aggregate, plan => $pruned,
	set => 'SET vdb.debug_aggregate = on');
skew('UPDATE, not pruned', %update, read => $scan, plan => qr/VdbScan/, set => 'SET vdb.enable_pruning = off');
skew('UPDATE, sequential scan', %update, read => $scan, plan => qr/Seq Scan/, set => 'SET vdb.enable_custom_scan = off');

skew('INSERT', write => 'INSERT INTO t VALUES (5000, 100001)', point => 'table-insert-reserved', read => $scan, plan => $pruned);
skew('ON CONFLICT, new', write => 'INSERT INTO t VALUES (5000, 100001) ON CONFLICT (id) DO UPDATE SET z = 7',
	point => 'table-insert-reserved', read => $scan, plan => $pruned);
append_to_file($node->basedir . '/rows', "5000\t100001\n");
skew('COPY', write => "COPY t FROM '" . $node->basedir . "/rows'", point => 'table-batch-reserved', read => $scan, plan => $pruned);

$node->stop;
done_testing();
