# Wide rows: taking free pages for them flushes no WAL, so a statement that stores many costs a flush or two, also where pages
# became free by migration; a crash in the middle leaves nothing that verification complains of.  Values that compress are kept
# compressed in the pool wherever the row comes from, by the rules of heap.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

plan skip_all => 'needs a pool' unless has_vdb();
my $node = new_node('wide', conf => "vdb.migrate_enabled = off\nautovacuum = off\n");
$node->safe_psql('postgres', q{
	CREATE TABLE t (id int, v text);
	CREATE TABLE pieces AS SELECT g AS id, (SELECT string_agg(md5(h::text || g), '') FROM generate_series(1, 500) h) AS v
		FROM generate_series(1, 300) g;
	ALTER TABLE t ALTER v SET STORAGE EXTERNAL});

# of WAL, by changes of the pool
sub flushes { return $node->safe_psql('postgres', 'SELECT wal_flushes FROM vdb.pool'); }

my $insert = 'INSERT INTO t SELECT id, v FROM pieces';
# moves the rows; their pages are free when no snapshot can see them any more
sub free_pages
{
	migrate($node, 't');
	$node->safe_psql('postgres', 'SELECT pg_current_xact_id()') for 1 .. 3;
	return;
}

$node->safe_psql('postgres', $insert);
free_pages();
my ($before, $pages) = (flushes(), $node->safe_psql('postgres', "SELECT pg_relation_size('t') / 8192"));
$node->safe_psql('postgres', $insert);
my $flushes = flushes() - $before;
cmp_ok($flushes, '<', 20, "300 wide rows after a migration: $flushes flushes");
is($node->safe_psql('postgres', "SELECT pg_relation_size('t') / 8192"), $pages, 'their pages came from the list');
my $digest = digest($node, 't');
$node->stop('immediate');
$node->start;
is(digest($node, 't'), $digest, 'all rows are there after a crash');
verify_ok($node, 't');

# Compression: inserted, and rewritten from stripes
$node->safe_psql('postgres', q{
	CREATE TABLE c (id int, v text);
	CREATE INDEX ON c (id);
	INSERT INTO c SELECT g, repeat('x', 5000) FROM generate_series(1, 300) g});
my $size = 'SELECT round(avg(pg_column_size(v))) FROM c';
is($node->safe_psql('postgres', $size), '69', 'inserted values are compressed');
migrate($node, 'c');
$node->safe_psql('postgres', 'VACUUM FULL c');
is($node->safe_psql('postgres', $size), '69', 'and those that VACUUM FULL brings back from stripes');
migrate($node, 'c');
$node->safe_psql('postgres', 'CLUSTER c USING c_id_idx');
is($node->safe_psql('postgres', $size), '69', 'and those of CLUSTER');
$node->safe_psql('postgres', 'ALTER TABLE c ALTER v SET STORAGE EXTERNAL');
migrate($node, 'c');
$node->safe_psql('postgres', 'VACUUM FULL c');
is($node->safe_psql('postgres', $size), '5004', 'but not where the column says not to');
verify_ok($node, 'c');
$node->stop;

done_testing();
