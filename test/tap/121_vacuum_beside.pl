# VACUUM and migration hold the migration lock of a range, not of the table, and VACUUM hands it over: an inserter that
# finds the pool full goes on beside them, whatever they wait for.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

plan skip_all => 'needs a pool' unless has_vdb();
my $limit = patience(60);
my $node = new_node('beside', conf => "vdb.migrate_enabled = off\nautovacuum = off\nvdb.scm_size = '8MB'\nstatement_timeout = '${limit}s'\n");

sub send_off { my ($s, $sql) = @_; print { $s->{to} } "$sql;\n"; return; }
sub pid_of { return session_query($_[0], 'SELECT pg_backend_pid()'); }
sub query { return $node->safe_psql('postgres', $_[0]); }

sub wait_until
{
	my ($label, $pid, $condition) = @_;
	return ok($node->poll_query_until('postgres', "SELECT $condition FROM pg_stat_activity WHERE pid = $pid"), $label);
}

# Inserts rows of several times the pool's size; they must move, and no other process may move them.
sub insert_much
{
	my ($label, $rows) = @_;
	my $before = query('SELECT backend_migrations FROM vdb.pool');
	is(error_of($node, "INSERT INTO t SELECT g, 'more' FROM generate_series(1, $rows) g"), '', $label);
	cmp_ok(query('SELECT backend_migrations FROM vdb.pool'), '>', $before, 'the inserter has moved rows');
	return;
}

my ($holder, $vacuum, $mover) = map { start_session($node) } 1 .. 3;
session_query($_, 'SET statement_timeout = 0') for $holder, $vacuum, $mover;
my ($vacuum_pid, $mover_pid) = (pid_of($vacuum), pid_of($mover));

# 1. VACUUM of the first range stands still in the middle
query("CREATE TABLE t (id int, v text); INSERT INTO t SELECT g, 'old' FROM generate_series(1, 70000) g");
migrate($node, 't');
query('DELETE FROM t WHERE id <= 1000');
session_query($holder, 'SELECT pg_advisory_lock(30308)');
session_query($vacuum, "SET vdb.stop_point = 'vacuum-range-gathered'");
send_off($vacuum, 'VACUUM t');
wait_until('VACUUM is at the first range', $vacuum_pid, "wait_event = 'Extension'");
insert_much('an INSERT of several times the pool goes on beside VACUUM', 500000);
wait_until('VACUUM is where it was', $vacuum_pid, "wait_event = 'Extension'");
session_query($holder, 'SELECT pg_advisory_unlock(30308)');
is(session_query($vacuum, 'SELECT 1'), '1', 'VACUUM is through');
is(query('SELECT count(*), count(DISTINCT v) FROM t'), '569000|2', 'all rows are there');
verify_ok($node, 't');

# 2. another process stands still just before the switch of its range
query("INSERT INTO t SELECT g, 'moving' FROM generate_series(1, 20000) g");
session_query($holder, 'SELECT pg_advisory_lock(30308)');
session_query($mover, "SET vdb.stop_point = 'migrate-before-switch'");
send_off($mover, "SELECT vdb.migrate('t')");
wait_until('a stripe is about to be switched to', $mover_pid, "wait_event = 'Extension'");
insert_much('an INSERT of several times the pool goes on beside a move', 500000);
wait_until('the move is where it was', $mover_pid, "wait_event = 'Extension'");
session_query($holder, 'SELECT pg_advisory_unlock(30308)');
like(session_query($mover, 'SELECT 1'), qr/^\d+\n1$/, 'it goes on');
is(query('SELECT count(*), count(DISTINCT v) FROM t'), '1089000|3', 'all rows are there');
migrate($node, 't');
is(query('SELECT count(*), count(DISTINCT v) FROM t'), '1089000|3', 'and when the rest has moved');
verify_ok($node, 't');

# 3. VACUUM walks the only range that has rows to move, and hands it over in the middle
query("DROP TABLE t; CREATE TABLE t (id int, v text); INSERT INTO t SELECT g, repeat('x', 120) FROM generate_series(1, 25000) g");
query('DELETE FROM t WHERE id % 100 = 0');
session_query($holder, 'SELECT pg_advisory_lock(30308)');
query("ALTER SYSTEM SET vdb.stop_point = 'vacuum-block:5'");
query('SELECT pg_reload_conf()');
ok($node->poll_query_until('postgres', "SELECT current_setting('vdb.stop_point') = 'vacuum-block:5'"), 'set');
session_query($vacuum, 'RESET vdb.stop_point');
session_query($mover, 'SET vdb.stop_point = nowhere');
send_off($vacuum, 'VACUUM t');
wait_until('VACUUM is at the fifth block', $vacuum_pid, "wait_event = 'Extension'");
send_off($mover, "INSERT INTO t SELECT g, repeat('y', 120) FROM generate_series(1, 32000) g");
wait_until('the inserter waits for the range', $mover_pid, "wait_event_type = 'Lock'");
query("ALTER SYSTEM SET vdb.stop_point = 'vacuum-block:20'");
query('SELECT pg_reload_conf()');
is(session_query($mover, 'SELECT 1'), '1', 'it gets it, and is through');
wait_until('before VACUUM is', $vacuum_pid, "state = 'active'");
session_query($holder, 'SELECT pg_advisory_unlock(30308)');
is(session_query($vacuum, 'SELECT 1'), '1', 'VACUUM is through');
is(query('SELECT count(*) FROM t'), 24750 + 32000, 'all rows are there');
verify_ok($node, 't');
query("ALTER SYSTEM RESET vdb.stop_point");
query('SELECT pg_reload_conf()');
query('VACUUM (FREEZE) t');
is(query("SELECT age(relfrozenxid) < 20, (SELECT count(*) FROM t) FROM pg_class WHERE relname = 't'"), 't|56750', 'the next VACUUM freezes all');
verify_ok($node, 't');
end_session($_) for $holder, $vacuum, $mover;
$node->stop;

done_testing();
