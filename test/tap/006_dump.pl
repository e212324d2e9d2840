# pg_dump and pg_restore bring a database back, in every format, with the access methods of its tables.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my $node = new_node('dump');
my $am = am();
$node->safe_psql('postgres', 'CREATE DATABASE source');
prepare_db($node, 'source');
$node->safe_psql('source', qq{
	CREATE TYPE mood AS ENUM ('sad', 'happy');
	CREATE TABLE t (id int PRIMARY KEY, v text, j jsonb, a int[], m mood, big bytea) USING $am;
	CREATE INDEX ON t USING gin (j);
	INSERT INTO t SELECT g, 'v' || g, jsonb_build_object('k', g), ARRAY[g, NULL], 'happy', decode(repeat(md5(g::text), g), 'hex') FROM generate_series(1, 1000) g;
	CREATE TABLE child (id int PRIMARY KEY, tid int REFERENCES t) USING heap;
	INSERT INTO child SELECT g, g FROM generate_series(1, 100) g;
	CREATE TABLE p (id int, d date) PARTITION BY RANGE (id);
	CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100) USING $am;
	CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200) USING heap;
	INSERT INTO p SELECT g, date '2001-01-01' + g FROM generate_series(0, 199) g;
	CREATE UNLOGGED TABLE u (a int) USING $am;
	INSERT INTO u VALUES (1);
	CREATE MATERIALIZED VIEW mv USING $am AS SELECT count(*) AS n FROM t;
	CREATE TABLE dropped (a int, b int, c int) USING $am;
	INSERT INTO dropped VALUES (1, 2, 3);
	ALTER TABLE dropped DROP COLUMN b;
});
migrate($node, $_, 'source') for qw(t p dropped);
$node->safe_psql('source', "UPDATE t SET v = 'changed' WHERE id % 10 = 0; DELETE FROM t WHERE id > 990; INSERT INTO t (id) VALUES (5000); REFRESH MATERIALIZED VIEW mv");
my @tables = qw(t child p u mv dropped);
my $ams = "SELECT string_agg(relname || ' ' || amname, ', ' ORDER BY relname) FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE relkind IN ('r', 'm') AND relnamespace = 'public'::regnamespace";
my $want = join(' / ', map { digest($node, $_, 'source') } @tables);
my $want_am = $node->safe_psql('source', $ams);
like($want_am, qr/\bt $am\b/, 'the source uses the access method');

my $dir = $node->basedir;
my %how = (
	plain => sub {
		command_ok([ 'pg_dump', '-f', "$dir/plain.sql", $node->connstr('source') ], 'pg_dump, plain');
		command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/plain.sql", $node->connstr('plain') ], 'restore, plain');
	},
	custom => sub {
		command_ok([ 'pg_dump', '-Fc', '-f', "$dir/custom.dump", $node->connstr('source') ], 'pg_dump, custom');
		command_ok([ 'pg_restore', '-e', '-d', $node->connstr('custom'), "$dir/custom.dump" ], 'restore, custom');
	},
	dirs => sub {
		command_ok([ 'pg_dump', '-Fd', '-j2', '-f', "$dir/dirs.dump", $node->connstr('source') ], 'pg_dump, folder, parallel');
		command_ok([ 'pg_restore', '-e', '-j2', '-d', $node->connstr('dirs'), "$dir/dirs.dump" ], 'restore, folder, parallel');
	},
	inserts => sub {
		command_ok([ 'pg_dump', '--inserts', '--rows-per-insert=50', '-f', "$dir/inserts.sql", $node->connstr('source') ], 'pg_dump, inserts');
		command_ok([ 'psql', '-Xq', '-1', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/inserts.sql", $node->connstr('inserts') ], 'restore, inserts, one transaction');
	});
for my $db (sort keys %how)
{
	$node->safe_psql('postgres', "CREATE DATABASE $db TEMPLATE template0");
	$how{$db}->();
	is(join(' / ', map { digest($node, $_, $db) } @tables), $want, "$db: the rows");
	is($node->safe_psql($db, $ams), $want_am, "$db: the access methods");
	migrate($node, 't', $db);
	is(digest($node, 't', $db), digest($node, 't', 'source'), "$db: the rows after migration");
}
command_ok([ 'pg_dumpall', '-f', "$dir/all.sql", '-d', $node->connstr('postgres') ], 'pg_dumpall');
$node->stop;

done_testing();
