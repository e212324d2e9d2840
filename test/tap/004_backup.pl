# pg_basebackup of a cluster with data checksums under load gives a cluster that starts, holds what was
# committed, and passes pg_checksums; recovery to a point in time shows the rows of that point.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my $node = new_node('source', init => { allows_streaming => 1, has_archiving => 1, extra => ['--data-checksums'] });
$node->safe_psql('postgres', q{
	CREATE TABLE t (id bigserial PRIMARY KEY, v text, n int);
	CREATE TABLE pairs_a (id int PRIMARY KEY, n int);
	CREATE TABLE pairs_b (id int PRIMARY KEY, n int);
	INSERT INTO t (v, n) SELECT md5(g::text), g FROM generate_series(1, 5000) g;
	INSERT INTO pairs_a SELECT g, 0 FROM generate_series(1, 20) g;
	INSERT INTO pairs_b SELECT g, 0 FROM generate_series(1, 20) g;
});
migrate($node, 't');

my $script = $node->basedir . '/load.sql';
append_to_file($script, q{\set i random(1, 20)
\set j random(1, 20)
BEGIN;
UPDATE pairs_a SET n = n - 1 WHERE id = :i;
UPDATE pairs_b SET n = n + 1 WHERE id = :j;
INSERT INTO t (v, n) VALUES (md5(random()::text), 1);
END;
});
my $load = IPC::Run::start([ 'pgbench', '-n', '-c', '2', '-T', '8', '-f', $script, $node->connstr('postgres') ], '>', \my $load_out, '2>', \my $load_err);
sleep 1;
$node->backup('under_load');
migrate($node, 't');
$node->backup('under_load2');
ok($load->finish, 'the load ran through') or diag $load_err;
is($node->safe_psql('postgres', 'SELECT (SELECT sum(n) FROM pairs_a) + (SELECT sum(n) FROM pairs_b)'), '0', 'totals of the source');

for my $name ('under_load', 'under_load2')
{
	my $copy = PostgreSQL::Test::Cluster->new("copy_$name");
	$copy->init_from_backup($node, $name, has_restoring => 1, standby => 0);
	$copy->append_conf('postgresql.conf', "recovery_target = 'immediate'\nrecovery_target_action = 'promote'\narchive_mode = off\n");
	$copy->start;
	$copy->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
	is($copy->safe_psql('postgres', 'SELECT (SELECT sum(n) FROM pairs_a) + (SELECT sum(n) FROM pairs_b)'), '0', "$name: totals");
	is($copy->safe_psql('postgres', 'SELECT count(*) - 5000 + (SELECT sum(n) FROM pairs_a) FROM t'), '0', "$name: as many rows as transfers");
	same_by_index($copy, 't', 'id', "$name: index");
	verify_ok($copy, 't', "$name: verifies");
	$copy->safe_psql('postgres', "INSERT INTO t (v, n) SELECT 'new', 2 FROM generate_series(1, 100)");
	migrate($copy, 't');
	is($copy->safe_psql('postgres', 'SELECT count(*) FROM t WHERE n = 2'), '101', "$name: takes rows");
	$copy->stop;
	command_ok([ 'pg_checksums', '--check', '-D', $copy->data_dir ], "$name: pg_checksums of the copy");
}

# to a point in time
$node->safe_psql('postgres', "UPDATE t SET v = 'before the point' WHERE id < 200; DELETE FROM t WHERE id % 17 = 0");
migrate($node, 't');
$node->safe_psql('postgres', "INSERT INTO t (v, n) VALUES ('scm before the point', 3)");
my $at_point = digest($node, 't');
$node->safe_psql('postgres', "SELECT pg_create_restore_point('the_point')");
$node->safe_psql('postgres', "DELETE FROM t WHERE id > 1000; INSERT INTO t (v, n) VALUES ('after the point', 4)");
migrate($node, 't');
$node->safe_psql('postgres', 'VACUUM t; SELECT pg_switch_wal()');
my $back = PostgreSQL::Test::Cluster->new('point');
$back->init_from_backup($node, 'under_load', has_restoring => 1, standby => 0);
$back->append_conf('postgresql.conf', "recovery_target_name = 'the_point'\nrecovery_target_action = 'promote'\narchive_mode = off\n");
$back->start;
$back->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
is(digest($back, 't'), $at_point, 'recovered to the point');
$back->safe_psql('postgres', "DO \$\$ BEGIN FOR i IN 1..50 LOOP INSERT INTO t (v, n) VALUES ('new time line', 5); COMMIT; END LOOP; END \$\$");
is($back->safe_psql('postgres', "SELECT count(*) FROM t WHERE v = 'after the point'"), '0', 'nothing after the point came back');
verify_ok($back, 't', 'recovered: verifies');
$back->stop;
$node->stop;
command_ok([ 'pg_checksums', '--check', '-D', $node->data_dir ], 'pg_checksums of the source');

done_testing();
