# A streaming standby shows the same rows as its primary, in SCM and on flash and while they move, keeps a
# snapshot of its own, survives its own crash, and after promotion takes writes.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

# Autovacuum of a catalog would end the standby's older snapshot, on a machine so slow that it gets its turn. So would a
# worker whose transaction runs while the snapshot is taken: what is removed after it conflicts with the snapshot.
my $primary = new_node('primary', init => { allows_streaming => 1 }, conf => "autovacuum = off\nvdb.migrate_enabled = off\n");
$primary->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY, g int, v text);
	CREATE INDEX ON t (g);
	INSERT INTO t SELECT g, g % 10, 'before backup ' || g FROM generate_series(1, 3000) g;
});
migrate($primary, 't');
$primary->safe_psql('postgres', "INSERT INTO t SELECT g, 1, 'scm at backup' FROM generate_series(3001, 3500) g");
$primary->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'b', has_streaming => 1);
$standby->append_conf('postgresql.conf', "hot_standby_feedback = off\nmax_standby_streaming_delay = 60s\n");
$standby->start;

sub same
{
	my ($label) = @_;
	$primary->wait_for_catchup($standby, 'replay');
	is(digest($standby, 't'), digest($primary, 't'), $label);
	same_by_index($standby, 't', 'id', "$label: by index");
}

same('after backup');
$primary->safe_psql('postgres', "UPDATE t SET v = 'updated' WHERE id % 20 = 0; DELETE FROM t WHERE id % 33 = 0; "
	  . "INSERT INTO t SELECT g, 2, repeat('wide ', g) FROM generate_series(4000, 4100) g");
same('changes of rows on flash and in SCM');
my $looking = start_session($standby);
my $seen = session_query($looking, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*), sum(id) FROM t");
migrate($primary, 't');
same('migration');
is(session_query($looking, 'SELECT count(*), sum(id) FROM t'), $seen, 'an older snapshot on the standby sees the same over a migration');
$primary->safe_psql('postgres', "INSERT INTO t SELECT g, 3, 'later' FROM generate_series(5000, 5100) g");
$primary->wait_for_catchup($standby, 'replay');
is(session_query($looking, 'SELECT count(*), sum(id) FROM t'), $seen, 'and over later inserts');
session_query($looking, 'COMMIT');
end_session($looking);

$primary->safe_psql('postgres', "BEGIN; INSERT INTO t VALUES (9000, 1, 'aborted'); DELETE FROM t WHERE id < 50; ROLLBACK");
same('an aborted transaction');
$primary->safe_psql('postgres', 'VACUUM t; VACUUM (FREEZE) t');
same('vacuum');
$primary->safe_psql('postgres', "ALTER TABLE t ADD COLUMN c int DEFAULT 5; UPDATE t SET c = 6 WHERE id < 100");
same('a new column');
$primary->safe_psql('postgres', 'CREATE TABLE t2 AS SELECT * FROM t; DROP TABLE t2; CREATE TABLE t3 AS SELECT * FROM t; TRUNCATE t3');
$primary->safe_psql('postgres', "INSERT INTO t3 SELECT * FROM t WHERE id < 1000");
$primary->wait_for_catchup($standby, 'replay');
is(digest($standby, 't3'), digest($primary, 't3'), 'tables made, dropped, truncated');
like(error_of($standby, "INSERT INTO t VALUES (1)"), qr/25006/, 'the standby takes no writes');
like(error_of($standby, "CALL test_migrate('t')"), qr/25006|0A000|25\d\d\d|55000/, 'nor a migration') if has_vdb();

$standby->restart;
same('standby restarted');
$primary->safe_psql('postgres', "UPDATE t SET v = 'again' WHERE id % 7 = 0");
migrate($primary, 't');
$primary->wait_for_catchup($standby, 'replay');
$standby->stop('immediate');
$primary->safe_psql('postgres', "INSERT INTO t SELECT g, 4, 'while away' FROM generate_series(6000, 6500) g");
$standby->start;
same('standby after its own crash');

my $open = start_session($primary);
session_query($open, "BEGIN; INSERT INTO t SELECT g, 5, 'never' FROM generate_series(7000, 7300) g; UPDATE t SET v = 'never' WHERE id < 500");
$primary->safe_psql('postgres', "INSERT INTO t VALUES (8000, 0, 'last')");
$primary->wait_for_catchup($standby, 'replay');
my $last = digest($primary, 't');
$primary->stop('immediate');
end_session($open);
$standby->promote;
$standby->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
is(digest($standby, 't'), $last, 'promoted: the same rows');
$standby->safe_psql('postgres', "DO \$\$ BEGIN FOR i IN 1..100 LOOP INSERT INTO t VALUES (20000 + i, 0, 'new'); COMMIT; END LOOP; END \$\$");
is($standby->safe_psql('postgres', "SELECT count(*) FROM t WHERE v = 'never'"), '0', 'promoted: what was open is not there, its ids being used again');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM t WHERE id > 20000'), '100', 'promoted: takes rows');
migrate($standby, 't');
$standby->safe_psql('postgres', "UPDATE t SET v = 'promoted' WHERE id % 3 = 0");
same_by_index($standby, 't', 'id', 'promoted: index');
verify_ok($standby, 't', 'promoted: verifies');
my $now = digest($standby, 't');
$standby->stop('immediate');
$standby->start;
is(digest($standby, 't'), $now, 'promoted: survives a crash');
$standby->stop;

done_testing();
