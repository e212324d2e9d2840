# A pool of the smallest size takes twenty times its size from concurrent sessions, in small transactions and in
# one huge one, while others read: nothing fails and nothing is lost.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my $node = new_node('full', conf => "vdb.scm_size = '16MB'\nmax_wal_size = '2GB'\n");
$node->append_conf('postgresql.conf', "fsync = off\n");
$node->restart;
$node->safe_psql('postgres', 'CREATE TABLE t (id bigint PRIMARY KEY, client int, v text, w text)');
$node->safe_psql('postgres', 'CREATE TABLE huge (id bigint, v text)');

# 4 clients x 55 transactions x 1000 rows of some 800 bytes: 180 MB
my $script = $node->basedir . '/fill.sql';
append_to_file($script, q{\set base random(1, 1000000000)
INSERT INTO t SELECT nextval('ids'), :client_id, md5(g::text || :base), (SELECT string_agg(md5(h::text || g || :base), '') FROM generate_series(1, 23) h)
	FROM generate_series(1, 1000) g;
});
$node->safe_psql('postgres', 'CREATE SEQUENCE ids');
my $load = IPC::Run::start([ 'pgbench', '-n', '-c', '4', '-j', '2', '-t', '55', '-f', $script, $node->connstr('postgres') ], '>', \my $load_out, '2>', \my $load_err);
my ($last, $steps) = (0, 0);
while ($load->pumpable)
{
	$load->pump_nb;
	my $count = $node->safe_psql('postgres', 'SELECT count(*) FROM t');
	if ($count < $last || $count % 1000 != 0) { fail("a reader saw $count rows after $last"); last; }
	$last = $count;
	$steps++;
	select(undef, undef, undef, 0.2);
}
ok($load->finish, 'all transactions went through') or diag $load_err;
like($load_out, qr{actually processed: 220/220}, 'each of them');
is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT id), min(id), max(id) FROM t'), '220000|220000|1|220000', 'no row lost or doubled');
is($node->safe_psql('postgres', 'SELECT sum(length(w)) FROM t'), 220000 * 23 * 32, 'every value is whole');
same_by_index($node, 't', 'id');

# one transaction larger than the pool, rolled back, then committed
my $big = "INSERT INTO huge SELECT g, repeat(md5(g::text), 20) FROM generate_series(1, 120000) g";
is(error_of($node, "BEGIN; $big; ROLLBACK"), '', 'a huge transaction is rolled back');
is($node->safe_psql('postgres', 'SELECT count(*) FROM huge'), '0', 'and leaves no row');
is(error_of($node, $big), '', 'a huge transaction commits');
is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT id), sum(length(v)) FROM huge'), '120000|120000|76800000', 'with all its rows');
is(error_of($node, "COPY (SELECT * FROM huge) TO '" . $node->basedir . "/huge.copy'; TRUNCATE huge; COPY huge FROM '" . $node->basedir . "/huge.copy'"), '', 'COPY larger than the pool');
is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT id), sum(length(v)) FROM huge'), '120000|120000|76800000', 'with all its rows');

# one value larger than the pool, and many changes of rows on flash
is(error_of($node, "CREATE TABLE one (v text); INSERT INTO one SELECT string_agg(md5(g::text), '') FROM generate_series(1, 800000) g"), '', 'a value larger than the pool');
is($node->safe_psql('postgres', 'SELECT length(v) FROM one'), 800000 * 32, 'is whole');
is(error_of($node, "UPDATE huge SET id = id + 1000000"), '', 'an UPDATE of more than the pool holds');
is($node->safe_psql('postgres', 'SELECT count(*), min(id), max(id) FROM huge'), '120000|1000001|1120000', 'with all its rows');
is(error_of($node, 'DELETE FROM t WHERE id % 2 = 0'), '', 'a DELETE of half the rows');
is($node->safe_psql('postgres', 'SELECT count(*) FROM t'), '110000', 'leaves the other half');
my $digest = digest($node, 't');
$node->stop('immediate');
$node->start;
is(digest($node, 't'), $digest, 'the same after a crash');
same_by_index($node, 't', 'id');
verify_ok($node, $_) for qw(t huge one);
$node->stop;

done_testing();
