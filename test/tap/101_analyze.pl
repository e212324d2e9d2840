# ANALYZE of a table in which each block that core samples stands for many logical blocks, or in which rows are wide:
# it reads few rows, and knows as much as on heap.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

plan skip_all => 'vdb only' unless has_vdb();

my $rows = 200000;
my $blocks = 400;
my $node = new_node('analyze', conf => "vdb.migrate_enabled = off\nautovacuum = off\nfsync = off\nmax_parallel_maintenance_workers = 0\n");

sub q1 { return $node->safe_psql('postgres', $_[0]); }
sub checks { return q1('SELECT visibility_checks FROM vdb.pool'); }

# Analyze, and return the rows that were read, by their visibility checks.
sub rows_read
{
	my ($table, $settings) = @_;
	my $before = checks();
	q1("$settings; ANALYZE $table");
	return checks() - $before;
}

sub near
{
	my ($got, $wanted, $share, $label) = @_;
	ok(abs($got - $wanted) <= abs($wanted) * $share, "$label: $wanted on heap, here $got");
	return;
}

sub statistic { return q1("SELECT $_[2] FROM pg_stats WHERE tablename = '$_[0]' AND attname = '$_[1]'"); }

# All estimates are near those of the heap twin.
sub knows
{
	my ($table, $heap, $label) = @_;
	for my $of (['pg_class WHERE oid', 'reltuples::bigint'], ['pg_stat_all_tables WHERE relid', 'n_live_tup'])
	{
		my @n = map { q1("SELECT $of->[1] FROM $of->[0] = '$_'::regclass") } $table, $heap;
		near(@n, 0.05, "$label, $of->[1]");
	}
	for my $column (['id', 0], ['k', 0.05], ['dev', 0], ['batch', 0.3])
	{
		my @n = map { statistic($_, $column->[0], "CASE WHEN n_distinct < 0 THEN -n_distinct * $rows ELSE n_distinct END") } $table, $heap;
		near(@n, $column->[1], "$label, distinct values of $column->[0]");
	}
	for my $column ('id', 'batch')
	{
		near((map { statistic($_, $column, 'correlation') } $table, $heap), 0.01, "$label, correlation of $column");
	}
	cmp_ok(abs(statistic($table, 'dev', 'correlation')), '<', 0.5, "$label, no correlation of dev");
	my @middle = map { statistic($_, 'id', '(histogram_bounds::text::int[])[(array_length(histogram_bounds::text::int[], 1) + 1) / 2]') } $table, $heap;
	near(@middle, 0.1, "$label, median of id");
	near((map { statistic($_, 'dev', 'most_common_freqs[1]') } $table, $heap), 0.25, "$label, most frequent dev");
	return;
}

# An old snapshot keeps stripes from being frozen, so that each row that is read is checked, and counted.
my $old = start_session($node);
session_query($old, 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');

my $settings = "SET default_statistics_target = 10; SET vdb.debug_analyze_blocks = $blocks";
my $columns = 'id int, k int, dev int, batch int, v text';
# dev: eight devices take turns; batch: rows that came together
my $data = "SELECT g, g * 7919 % 100, g % 8, g / 500, 'v' || g FROM generate_series";
q1("CREATE TABLE h ($columns) USING heap; INSERT INTO h $data(1, $rows) g");
# in another session, as what this one has counted may be added after what ANALYZE reports
q1('SET default_statistics_target = 10; ANALYZE h');
q1("CREATE TABLE t ($columns); INSERT INTO t $data(1, $rows / 2) g");
q1("INSERT INTO t $data($rows / 2 + 1, $rows) g");
for my $where ('in the pool', 'in stripes')
{
	migrate($node, 't') if $where eq 'in stripes';
	my $read = rows_read('t', $settings);
	cmp_ok($read, '<=', $blocks * 256, "$where, $read of $rows rows are read");
	cmp_ok($read, '>=', $blocks * 128 * 0.9, 'and not fewer than needed');
	knows('t', 'h', $where);
}

q1("CREATE TABLE m ($columns); INSERT INTO m $data(1, $rows / 2) g");
migrate($node, 'm');
q1("INSERT INTO m $data($rows / 2 + 1, $rows) g");
my $read = rows_read('m', $settings);
cmp_ok($read, '<=', $blocks * 256, "half in stripes, $read of $rows rows are read");
knows('m', 'h', 'half in stripes');

# --- what is left lies in a few shares, of which more is read; rows deleted count as dead
q1("DELETE FROM $_ WHERE id <= 160000") for 't', 'h';
rows_read($_, $settings) for 't', 'h';
near((map { q1("SELECT reltuples::bigint FROM pg_class WHERE oid = '$_'::regclass") } 't', 'h'), 0.1, 'after most were deleted, rows');
near((map { q1("SELECT n_dead_tup FROM pg_stat_all_tables WHERE relid = '$_'::regclass") } 't', 'h'), 0.1, 'dead rows');
near((map { statistic($_, 'id', '(histogram_bounds::text::int[])[1]') } 't', 'h'), 0.02, 'lowest id');

# --- wide rows: a heap has two of them in a page
my $wide = q{(id int, v text); ALTER TABLE %1$s ALTER v SET STORAGE PLAIN;
	INSERT INTO %1$s SELECT g, repeat('x', 3500) FROM generate_series(1, 20000) g};
q1('CREATE TABLE hw ' . sprintf($wide =~ s/\(id int, v text\)/(id int, v text) USING heap/r, 'hw'));
q1('CREATE TABLE w ' . sprintf($wide, 'w'));
$node->psql('postgres', 'SET default_statistics_target = 1; ANALYZE VERBOSE hw', stderr => \my $messages);
my ($heap_read) = $messages =~ /containing (\d+) live rows/;
for my $where ('in the pool', 'in stripes')
{
	migrate($node, 'w') if $where eq 'in stripes';
	$read = rows_read('w', 'SET default_statistics_target = 1');
	cmp_ok($read, '<=', 10 * $heap_read, "$where, $read wide rows are read, where heap reads $heap_read");
	cmp_ok($read, '>=', 2000, 'and enough for the sample');
	near((map { q1("SELECT reltuples::bigint FROM pg_class WHERE oid = '$_'::regclass") } 'w', 'hw'), 0.05, "$where, wide rows");
}

# --- where heap would read all rows, all are read
$read = rows_read('w', 'SET default_statistics_target = 100');
is($read, '20000', 'with a larger target heap reads all pages, and so all rows are read');
end_session($old);
$node->stop;
done_testing();
