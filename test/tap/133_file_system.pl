# CREATE EXTENSION warns where a store through a mapping can fail although space was allocated.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

plan skip_all => 'needs a pool' unless has_vdb();
plan skip_all => 'no C compiler' if system('cc --version >/dev/null 2>&1') != 0;

my $node = new_node('main');
slow_disk_start($node);
my $err = '';
$node->psql('postgres', 'DROP EXTENSION vdb_am; CREATE EXTENSION vdb_am', stderr => \$err);
is($err, '', 'no warning on a plain file system');
slow_disk($node, 'filesystem * 0 EIO');
$node->psql('postgres', 'DROP EXTENSION vdb_am; CREATE EXTENSION vdb_am', stderr => \$err);
like($err, qr/WARNING:  the pool "[^"]+" is on file system btrfs, which can make the server restart/, 'a warning on btrfs');
like($err, qr/HINT:  .*vdb\.scm_tablespace.*chattr \+C/, 'with the two ways out');
is($node->safe_psql('postgres', 'CREATE TABLE t AS SELECT 1 AS a; SELECT count(*) FROM t'), '1', 'and it goes on');
$node->stop;

done_testing();
