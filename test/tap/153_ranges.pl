# Ranges without rows give back their map nodes: a small table that is updated for ever takes no more of the pool than a fresh
# copy, on a standby too, and after a crash between the removal of the rows and that.  Stale index entries find nothing.  Near the
# end of its row numbers a table's VACUUM warns, and VACUUM FULL is the cure.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

plan skip_all => 'needs a pool' unless has_vdb();
my $conf = "vdb.migrate_enabled = off\nautovacuum = off\nrestart_after_crash = on\n";
my $node = new_node('ranges', init => { allows_streaming => 1 }, conf => $conf);

# Blocks that the pool's allocation map says are in use, and how many of them are nodes of ranges.  The views count in units of
# 64 kB.  The pool has one group of blocks.
my $file = $node->safe_psql('postgres', "SELECT pg_relation_filepath('vdb.scm')");
sub blocks
{
	my ($of) = @_;
	my ($used, $nodes) = (0, 0);
	open(my $pool, '<:raw', $of->data_dir . "/$file") or die "$file: $!";
	sysseek($pool, 8192 + 24, 0);
	sysread($pool, my $bytes, 3840);
	my @states = unpack('C*', $bytes);
	for my $block (8 .. $#states)
	{
		next if $states[$block] == 0;
		$used++;
		sysseek($pool, $block * 8192 + 24, 0);
		sysread($pool, my $magic, 4);
		$nodes++ if $states[$block] == 1 && $magic eq 'NARV';
	}
	return ($used, $nodes);
}

# uses up a range and more of row numbers, and leaves 1,000 rows that are new
sub use_up
{
	$node->safe_psql('postgres', q{
		INSERT INTO t SELECT g, 0 FROM generate_series(100001, 166000) g;
		DELETE FROM t WHERE id > 100000;
		UPDATE t SET n = n + 1});
	return;
}

$node->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY, n int);
	INSERT INTO t SELECT g, 0 FROM generate_series(1, 1000) g});
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;

my (@used, @nodes);
for my $turn (0 .. 4)
{
	use_up();
	migrate($node, 't');
	($used[$turn], $nodes[$turn]) = blocks($node);
}
cmp_ok($nodes[-1], '<=', 2, "nodes of ranges after each of five: @nodes");
cmp_ok($used[-1], '<=', $used[1], "blocks in use: @used");
is($node->safe_psql('postgres', 'SET enable_seqscan = off; SELECT count(*), sum(n) FROM t WHERE id > 0'), '1000|5000',
	'index entries of removed rows find nothing');
$node->safe_psql('postgres', 'VACUUM t');
cmp_ok($node->safe_psql('postgres', q{SELECT min((ctid::text::point)[0]) FROM t}), '>=', 5 * 256, 'the first five ranges are gone');
verify_ok($node, 't');

my $digest = digest($node, 't');
$node->wait_for_catchup($standby);
is(digest($standby, 't'), $digest, 'the standby has the same rows');
is($standby->safe_psql('postgres', "SELECT count(*) FROM vdb.verify('t')"), '0', 'and nothing to complain of');
is((blocks($standby))[0], (blocks($node))[0], 'and its pool has as many blocks in use');

# A crash after the last row of a range is removed: the next migration gives its node back
use_up();
my (undef, undef, $err) = $node->psql('postgres',
	q{SET vdb.stop_point = 'migrate-after-switch:2'; SET vdb.stop_action = 'crash'; SELECT vdb.migrate('t')});
like($err, qr/closed the connection|terminat/, 'the server has crashed');
$node->poll_query_until('postgres', 'SELECT true');
migrate($node, 't');
migrate($node, 't');
$node->safe_psql('postgres', 'VACUUM t');
my ($used, $nodes) = blocks($node);
cmp_ok($nodes, '<=', 2, 'the range has given back its node after a crash');
cmp_ok($used, '<=', $used[1], 'and nothing else is left of it');
is($node->safe_psql('postgres', 'SELECT count(*), sum(n) FROM t'), '1000|6000', 'and the rows are there');
verify_ok($node, 't');

# The end of the row numbers: no test can use up 2^40 of them, so the directory's entry is told that they were
$node->safe_psql('postgres', 'CREATE TABLE u (id int PRIMARY KEY); INSERT INTO u VALUES (0)');
my $relnode = $node->safe_psql('postgres', "SELECT pg_relation_filenode('u')");
# changes the number of logical blocks handed out; the server maps the same pages
sub set_limit
{
	my ($limit) = @_;
	open(my $pool, '+<:raw', $node->data_dir . "/$file") or die "$file: $!";
	for (my $block = 1; sysseek($pool, $block * 8192, 0) && sysread($pool, my $bytes, 8192) == 8192; $block++)
	{
		next unless substr($bytes, 24, 4) eq 'RIDV';
		for my $i (0 .. 54)
		{
			my $at = 24 + 16 + 144 * $i;
			next unless unpack('V', substr($bytes, $at + 12, 4)) == $relnode && unpack('V', substr($bytes, $at, 4)) & 1;
			sysseek($pool, $block * 8192 + $at + 24, 0);
			syswrite($pool, pack('V', $limit), 4);
			close($pool);
			return;
		}
	}
	die "no entry of $relnode";
}

# a new session each: a segment that was handed back goes on
my $id = 0;
for my $limit (300 * 256, 5000 * 256, 2_000_000 * 256, 0xF0000000, 0xFFFFFFF0 - 256 * 8)
{
	migrate($node, 'u');
	set_limit($limit);
	$id++;
	$node->safe_psql('postgres', "INSERT INTO u VALUES ($id)");
	(undef, undef, $err) = $node->psql('postgres', 'VACUUM u');
	my $few = $limit > 0xF0000000 - 1;
	$few ? like($err, qr/WARNING:  table "u" has few row numbers left/, "VACUUM warns at $limit") : is($err, '', "all is well at $limit");
}
like($err, qr/DETAIL:  0\.00% of its row numbers are left/, 'it says how many are left');
(undef, undef, $err) = $node->psql('postgres', 'INSERT INTO u SELECT g FROM generate_series(100, 600000) g');
like($err, qr/ERROR:  table has used up its row numbers/, 'the end is an error');
is($node->safe_psql('postgres', 'SELECT count(*), sum(id) FROM u'), '6|15', 'the rows can be read');
verify_ok($node, 'u');
$node->safe_psql('postgres', 'VACUUM FULL u; INSERT INTO u SELECT g FROM generate_series(100, 199) g');
(undef, undef, $err) = $node->psql('postgres', 'VACUUM u');
is($err, '', 'VACUUM FULL gives new row numbers');
is($node->safe_psql('postgres', 'SELECT count(*) FROM u'), '106', 'and the table goes on');

$standby->stop;
$node->stop;
done_testing();
