# CREATE DATABASE from a template with vdb tables gives a copy of its own; dropping one leaves the other.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my $node = new_node('template');
$node->safe_psql('postgres', 'CREATE DATABASE source');
prepare_db($node, 'source');
$node->safe_psql('source', q{
	CREATE TABLE t (id int PRIMARY KEY, v text);
	CREATE TABLE scm (id int PRIMARY KEY, v text);
	INSERT INTO t SELECT g, 'v' || g FROM generate_series(1, 2000) g;
	INSERT INTO scm SELECT g, 'v' || g FROM generate_series(1, 300) g;
});
migrate($node, 't', 'source');
$node->safe_psql('source', "UPDATE t SET v = 'changed' WHERE id % 50 = 0");
my %want = map { $_ => digest($node, $_, 'source') } qw(t scm);

sub check_db
{
	my ($db, $label) = @_;
	for my $table (qw(t scm))
	{
		is(digest($node, $table, $db), $want{$table}, "$label: $table");
		same_by_index($node, $table, 'id', "$label: index of $table", $db);
		verify_ok($node, $table, "$label: $table verifies", $db);
	}
}

$node->safe_psql('postgres', 'CREATE DATABASE copy1 TEMPLATE source');
check_db('copy1', 'copy');
$node->safe_psql('postgres', 'CREATE DATABASE copy2 TEMPLATE source STRATEGY file_copy');
check_db('copy2', 'copy by files');
my $err = error_of($node, 'CREATE DATABASE copy3 TEMPLATE source STRATEGY wal_log');
if ($err) { like($err, qr/0A000|HINT/, 'copy by WAL is refused clearly'); }
else { check_db('copy3', 'copy by WAL'); }

# each goes its own way
$node->safe_psql('copy1', "DELETE FROM t WHERE id > 100; INSERT INTO scm SELECT g, 'more' FROM generate_series(1000, 1500) g");
migrate($node, $_, 'copy1') for qw(t scm);
check_db('source', 'source after changes in a copy');
check_db('copy2', 'other copy after changes in a copy');
$node->safe_psql('source', "INSERT INTO scm VALUES (9999, 'source only')");
is($node->safe_psql('copy2', 'SELECT count(*) FROM scm WHERE id = 9999'), '0', 'a copy does not see the source change');
$node->safe_psql('source', 'DELETE FROM scm WHERE id = 9999');
$node->stop('immediate');
$node->start;
check_db($_, "$_ after a crash") for qw(source copy2);
is($node->safe_psql('copy1', 'SELECT count(*) FROM t'), '100', 'copy1 after a crash');
# also a copy of a copy right before a crash
$node->safe_psql('postgres', 'CREATE DATABASE copy4 TEMPLATE copy2');
$node->stop('immediate');
$node->start;
check_db('copy4', 'a copy made right before a crash');
# moving and dropping databases
$node->safe_psql('postgres', "SET allow_in_place_tablespaces = on; CREATE TABLESPACE ts LOCATION ''");
$node->safe_psql('postgres', 'ALTER DATABASE copy4 SET TABLESPACE ts');
check_db('copy4', 'a database moved to another tablespace');
$node->safe_psql('copy4', "INSERT INTO scm VALUES (9999, 'x')");
$node->safe_psql('postgres', 'DROP DATABASE copy1');
$node->safe_psql('postgres', 'DROP DATABASE copy4');
$node->safe_psql('postgres', 'ALTER DATABASE copy2 RENAME TO renamed');
check_db('renamed', 'a renamed database');
$node->safe_psql('source', 'DROP TABLE t, scm');
check_db('renamed', 'after the source dropped its tables');
$node->stop;

done_testing();
