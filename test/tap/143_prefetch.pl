# A scan announces to the kernel what it is going to read of stripes: the columns that it needs of a chunk, before it comes to it,
# and the head of the next stripe. Nothing of chunks that zone maps skip, nothing that is in shared buffers, and nothing with
# effective_io_concurrency = 0. The calls are counted by a library that is preloaded.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

plan skip_all => 'needs stripes' unless has_vdb();
plan skip_all => 'no C compiler' if system('cc --version >/dev/null 2>&1') != 0;

my $node = new_node('prefetch', conf => "vdb.migrate_enabled = off\nautovacuum = off\nmax_parallel_workers_per_gather = 0\nshared_buffers = 128MB\n");
# a narrow column and a wide one that hardly compresses
$node->safe_psql('postgres', q{
	CREATE TABLE t (id int, narrow int, wide text);
	INSERT INTO t SELECT g, hashint4(g), md5(g::text) || md5((-g)::text) FROM generate_series(1, 200000) g});
migrate($node, 't');
my ($path, $pages) = split /\|/, $node->safe_psql('postgres', "SELECT pg_relation_filepath('t'), main_fork_bytes / 8192 FROM vdb.tables WHERE relation = 't'::regclass");
cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM vdb.stripes('t')"), '>', 2, 'there are stripes');
my $log = $node->basedir . '/slow_disk.log';

# Pages of the table that a query announces: those of one that the server begins with, then those of the same once more.
sub announced
{
	my ($query, $concurrency) = @_;
	slow_disk_start($node);
	slow_disk($node, "advise $path 0");
	my $session = start_session($node);
	session_query($session, "SET effective_io_concurrency = $concurrency");
	like(session_query($session, "EXPLAIN (COSTS OFF) $query"), qr/VdbScan/, 'the custom scan is chosen');
	my @counts;
	for (1 .. 2)
	{
		unlink $log;
		session_query($session, $query);
		push @counts, -e $log ? scalar(() = slurp_file($log) =~ /^advise .*\/\Q$path\E$/mg) : 0;
	}
	end_session($session);
	return @counts;
}

my $all = 'SELECT sum(id), sum(narrow), max(wide) FROM t';
my ($off) = announced($all, 0);
my ($on, $again) = announced($all, 10);
note("$pages pages; announced: $off without concurrency, $on with it, $again again");
cmp_ok($on - $off, '>', 0.8 * $pages, 'a scan announces nearly all pages');
cmp_ok($on, '<=', 1.1 * $pages, '... once');
is($again, 0, '... and none that is in shared buffers');
cmp_ok($off, '<', 0.1 * $pages, 'without concurrency only indexes of stripes are read ahead');
my ($narrow) = announced('SELECT sum(narrow) FROM t', 10);
cmp_ok($narrow, '<', 0.4 * $on, 'a scan of a narrow column announces that alone');
cmp_ok($narrow, '>', $off, '... but does announce it');
my ($pruned) = announced('SELECT sum(narrow), max(wide) FROM t WHERE id BETWEEN 100000 AND 104000', 10);
cmp_ok($pruned, '<', 0.3 * $on, 'chunks that zone maps skip are not announced');
cmp_ok($pruned, '>', 0, '... the others are');
$node->stop;
done_testing();
