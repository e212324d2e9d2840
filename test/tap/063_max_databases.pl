# As many databases can use vdb_am as vdb.max_databases says. The next one is told the setting; it gets a place when another
# database, or the extension in another, is dropped, and when the setting is raised.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

plan skip_all => 'only vdb has the limit' unless has_vdb();

my $full = qr/53400.*too many databases use vdb_am.*DETAIL:  At most 3 can, by the setting vdb\.max_databases\..*HINT:  Raise vdb\.max_databases and restart the server/s;
my $node = new_node('limit', conf => "vdb.max_databases = 3\n");
for my $db (qw(d1 d2 d3 d4))
{
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	next if $db eq 'd3' || $db eq 'd4';
	prepare_db($node, $db);
	$node->safe_psql($db, 'CREATE TABLE t (a int); INSERT INTO t VALUES (1)');
}
like(error_of($node, 'CREATE EXTENSION vdb_am', db => 'd3'), $full, 'the fourth is refused, and told the setting');
is($node->safe_psql('d1', 'SELECT count(*) FROM t'), '1', 'the others go on');

$node->safe_psql('postgres', 'DROP DATABASE d1');
is(error_of($node, 'CREATE EXTENSION vdb_am; CREATE TABLE t (a int) USING vdb; INSERT INTO t VALUES (1)', db => 'd3'), '',
	'a dropped database leaves its place');
like(error_of($node, 'CREATE EXTENSION vdb_am', db => 'd4'), $full, 'full again');
$node->safe_psql('d2', 'SET client_min_messages = warning; DROP EXTENSION vdb_am CASCADE');
is(error_of($node, 'CREATE EXTENSION vdb_am; CREATE TABLE t (a int) USING vdb; INSERT INTO t VALUES (1)', db => 'd4'), '',
	'so does a dropped extension');
is($node->safe_psql($_, 'SELECT count(*) FROM t'), '1', "$_ reads") for qw(d3 d4);
like(error_of($node, 'CREATE EXTENSION vdb_am', db => 'd2'), $full, 'and must wait to come back');

$node->append_conf('postgresql.conf', "vdb.max_databases = 100\n");
$node->restart;
is(error_of($node, 'CREATE EXTENSION vdb_am; CREATE TABLE t (a int) USING vdb; INSERT INTO t VALUES (1)', db => 'd2'), '',
	'raised: there is room');
is($node->safe_psql($_, 'SELECT count(*) FROM t'), '1', "$_ reads") for qw(d2 d3 d4);
is($node->safe_psql('postgres', 'SELECT count(*) FROM vdb.pool'), '1', 'and the first one is there, too');
$node->stop;

done_testing();
