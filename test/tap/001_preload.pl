# Without shared_preload_libraries there must be one clear error with the line to add, when the
# extension is created and when a table that is there is used; the server stays up.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

plan skip_all => 'only vdb has a library to preload' unless has_vdb();

sub check_error
{
	my ($err, $what) = @_;
	like($err, qr/ERROR/, "$what fails");
	like($err, qr/ERROR:\s+55000/, "$what: SQLSTATE");
	like($err, qr/shared_preload_libraries/, "$what: the error names the setting");
	like($err, qr/HINT:.*shared_preload_libraries.*vdb_am/s, "$what: the hint gives the line to add");
	like($err, qr/HINT:.*restart/is, "$what: the hint tells to restart");
	is(() = $err =~ /ERROR:/g, 1, "$what: one error");
}

my $node = PostgreSQL::Test::Cluster->new('preload');
$node->init;
$node->start;
check_error(error_of($node, 'CREATE EXTENSION vdb_am'), 'CREATE EXTENSION');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_extension WHERE extname = 'vdb_am'"), '0', 'nothing is left');

# a cluster that had it, and lost it
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'vdb_am'");
$node->restart;
prepare_db($node, 'postgres');
$node->safe_psql('postgres', "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'v' || g FROM generate_series(1, 100) g");
migrate($node, 't');
$node->safe_psql('postgres', "INSERT INTO t VALUES (101, 'in SCM')");
my $before = digest($node, 't');
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
check_error(error_of($node, 'CREATE TABLE t2 (a int) USING vdb'), 'CREATE TABLE');
check_error(error_of($node, 'SELECT * FROM t'), 'SELECT');
check_error(error_of($node, "INSERT INTO t VALUES (200, 'x')"), 'INSERT');
is($node->safe_psql('postgres', 'CREATE TABLE h (a int) USING heap; INSERT INTO h VALUES (1); SELECT a FROM h'), '1', 'heap tables work');
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'vdb_am'");
$node->restart;
is(digest($node, 't'), $before, 'with the setting back the rows are there');
$node->stop;
# the last message comes after the postmaster has let go of shared memory, where the check of our locks in servers with asserts must not look
like(slurp_file($node->logfile), qr/database system is shut down\s*\z/, 'the postmaster logs its last message');

done_testing();
