# A prepared transaction keeps its changes and its locks over a crash and a migration, and is then committed
# or rolled back by another session.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my $node = new_node('twophase');
$node->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY, v text);
	CREATE TABLE f (id int PRIMARY KEY, v text);
	INSERT INTO t SELECT g, 'start' FROM generate_series(1, 100) g;
	INSERT INTO f SELECT g, 'start' FROM generate_series(1, 100) g;
});
migrate($node, 'f');
$node->safe_psql('postgres', $_) for (
	q{BEGIN; UPDATE t SET v = 'one' WHERE id <= 10; UPDATE f SET v = 'one' WHERE id <= 10; INSERT INTO t VALUES (201, 'one');
	  INSERT INTO f VALUES (201, 'one'); DELETE FROM t WHERE id = 20; DELETE FROM f WHERE id = 20; PREPARE TRANSACTION 'one'},
	q{BEGIN; UPDATE t SET v = 'two' WHERE id BETWEEN 31 AND 40; UPDATE f SET v = 'two' WHERE id BETWEEN 31 AND 40; INSERT INTO f VALUES (202, 'two');
	  DELETE FROM t WHERE id = 50; PREPARE TRANSACTION 'two'},
	q{BEGIN; SELECT FROM t WHERE id = 60 FOR UPDATE; SELECT FROM f WHERE id = 60 FOR SHARE; SAVEPOINT a; UPDATE f SET v = 'sub' WHERE id = 61;
	  ROLLBACK TO a; UPDATE f SET v = 'three' WHERE id = 62; PREPARE TRANSACTION 'three'});

sub check_pending
{
	my ($label) = @_;
	is($node->safe_psql('postgres', "SELECT count(*) FROM pg_prepared_xacts"), '3', "$label: three are prepared");
	for my $table (qw(t f))
	{
		is($node->safe_psql('postgres', "SELECT count(*), count(*) FILTER (WHERE v = 'start') FROM $table"), '100|100', "$label: nobody sees them in $table");
		like(error_of($node, "SELECT * FROM $table WHERE id = 5 FOR UPDATE NOWAIT"), qr/55P03/, "$label: rows of $table stay locked");
		like(error_of($node, "SELECT * FROM $table WHERE id = 60 FOR UPDATE NOWAIT"), qr/55P03/, "$label: locked only, $table");
		like(error_of($node, "SET lock_timeout = '200ms'; DELETE FROM $table WHERE id = 35"), qr/55P03/, "$label: a writer waits, $table");
		like(error_of($node, "SET lock_timeout = '200ms'; INSERT INTO $table VALUES (201, 'dup')"), qr/55P03/, "$label: the key is taken, $table");
	}
	is($node->safe_psql('postgres', 'SELECT count(*) FROM f WHERE id = 61 OR id = 60'), '2', "$label: others are free");
}

check_pending('prepared');
migrate($node, $_) for qw(t f);
check_pending('after migration');
$node->stop('immediate');
$node->start;
check_pending('after a crash');
migrate($node, $_) for qw(t f);
$node->restart;
check_pending('after migration and a clean restart');
$node->safe_psql('postgres', "COMMIT PREPARED 'one'");
$node->safe_psql('postgres', "ROLLBACK PREPARED 'two'");
my $look = "SELECT count(*), count(*) FILTER (WHERE v = 'one'), count(*) FILTER (WHERE v <> 'one') FROM";
is($node->safe_psql('postgres', "$look $_"), '100|11|89', "one is committed, two is not: $_") for qw(t f);
$node->stop('immediate');
$node->start;
is($node->safe_psql('postgres', "$look $_"), '100|11|89', "still so after a crash: $_") for qw(t f);
$node->safe_psql('postgres', "COMMIT PREPARED 'three'");
is($node->safe_psql('postgres', 'SELECT id, v FROM f WHERE id IN (60, 61, 62) ORDER BY id'), "60|start\n61|start\n62|three", 'three is committed without its savepoint');
is(error_of($node, 'UPDATE t SET v = v WHERE id = 60; UPDATE f SET v = v WHERE id BETWEEN 60 AND 62'), '', 'its locks are gone');
migrate($node, $_) for qw(t f);
is($node->safe_psql('postgres', "$look $_"), { t => '100|11|89', f => '100|11|89' }->{$_}, "after migration: $_") for qw(t f);
same_by_index($node, $_, 'id') for qw(t f);
verify_ok($node, $_) for qw(t f);
$node->stop;

done_testing();
