# A multixact that only locks is stored in the pool without a flush of WAL, so a crash may lose the multixact and leave
# its id in a row. That id must then count for nothing: no server run may ask for its members, nor take it for the
# multixact that gets the id next. What outlives the crash must still be flushed: locks of prepared transactions, and
# updates of others.
#
# The WAL tail is lost as in 011_epoch.pl.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

plan skip_all => 'only vdb stores multixacts without a flush' unless has_vdb();

my $node = new_node('multixacts', conf => q{
autovacuum = off
wal_writer_delay = 10s
wal_buffers = 16MB
bgwriter_delay = 10s
checkpoint_timeout = 1h
restart_after_crash = off
vdb.migrate_enabled = off
});

sub pid_of { return $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = '$_[0]'"); }
sub flushed { return session_query($_[0], 'SELECT pg_current_wal_flush_lsn()'); }
sub key_share { return "PERFORM FROM $_[0] WHERE id = $_[1] FOR KEY SHARE"; }
sub in_do { return "DO \$\$ BEGIN " . join(' ', map { "$_;" } @_) . " END \$\$"; }

$node->safe_psql('postgres', q{
	CREATE TABLE scm (id int PRIMARY KEY, v text);
	CREATE TABLE flash (id int PRIMARY KEY, v text);
	CREATE TABLE other (id int PRIMARY KEY) USING heap;
	INSERT INTO scm SELECT g, 'kept' FROM generate_series(1, 200) g;
	INSERT INTO flash SELECT g, 'kept' FROM generate_series(1, 200) g;
	INSERT INTO other SELECT generate_series(1, 50);
});
migrate($node, 'flash');

# Two sessions with transaction ids, in this run's epoch, with room in the block delta.
sub two_sessions
{
	my @s = map { start_session($node) } 1 .. 2;
	session_query($s[1], "BEGIN; UPDATE flash SET v = v WHERE id = 199; UPDATE scm SET v = v WHERE id = 199; COMMIT");
	session_query($_, 'BEGIN; ' . in_do('PERFORM pg_current_xact_id()')) for @s;
	return @s;
}

sub stop_writers
{
	$node->safe_psql('postgres', 'CHECKPOINT');
	kill 'STOP', pid_of('walwriter'), pid_of('background writer');
	return;
}

# Nothing is locked, nothing hangs, and what comes next works.
sub all_free
{
	my ($label) = @_;
	for my $table (qw(scm flash))
	{
		is(error_of($node, "SET statement_timeout = '60s'; SELECT count(*) FROM (SELECT FROM $table FOR UPDATE NOWAIT) x"), '', "$label: nothing in $table is locked");
		is(error_of($node, "UPDATE $table SET v = 'changed' WHERE id IN (1, 2)"), '', "$label: $table can be changed");
		is(error_of($node, "VACUUM FREEZE $table"), '', "$label: $table can be frozen");
		is($node->safe_psql('postgres', "SELECT count(*) FROM $table WHERE id <= 200"), '200', "$label: $table has its rows");
		verify_ok($node, $table, "$label: $table verifies");
	}
	return;
}

# Multixacts of others, that get the ids that were lost; they are held by the sessions returned.
sub hand_out_again
{
	my ($n) = @_;
	my @s = map { start_session($node) } 1 .. 2;
	session_query($_, 'BEGIN') for @s;
	# each pair of members is another one, as the sessions use savepoints
	for my $i (1 .. $n)
	{
		session_query($_, "SAVEPOINT a; " . in_do("PERFORM FROM other WHERE id = $i FOR SHARE")) for @s;
	}
	return @s;
}

# ---- lost ----

# both before and after the lost ids have been handed out again
for my $again (0, 1)
{
	my $label = $again ? 'lost, ids in use again' : 'lost';
	my @s = two_sessions();
	stop_writers();
	my $before = flushed($s[0]);
	for my $table (qw(scm flash))
	{
		session_query($_, in_do(key_share($table, 1), key_share($table, 2))) for @s;
		# our own update beside another's lock: the new version keeps that lock
		session_query($s[0], in_do(key_share($table, 3)));
		session_query($s[1], in_do("UPDATE $table SET v = 'lost' WHERE id = 3"));
	}
	is(flushed($s[0]), $before, "$label: locks and updates beside locks flush nothing");
	like(error_of($node, "SELECT FROM $_ WHERE id = 1 FOR UPDATE NOWAIT"), qr/55P03/, "$label: but they hold: $_") for qw(scm flash);
	kill_all($node);
	end_session($_) for @s;
	$node->start;
	my @others = $again ? hand_out_again(20) : ();
	all_free($label);
	is($node->safe_psql('postgres', "SELECT count(*) FROM $_ WHERE v = 'lost'"), '0', "$label: what was never committed in $_ is not there") for qw(scm flash);
	end_session($_) for @others;
}

# ---- what must not be lost ----

sub still_locked
{
	my ($label) = @_;
	kill_all($node);
	$node->start;
	is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_prepared_xacts'), '1', "$label: it is still prepared");
	for my $table (qw(scm flash))
	{
		like(error_of($node, "SELECT FROM $table WHERE id = 5 FOR UPDATE NOWAIT"), qr/55P03/, "$label: its lock in $table outlives the crash");
		is(error_of($node, "SELECT FROM $table WHERE id = 5 FOR KEY SHARE NOWAIT"), '', "$label: ... and is no stronger");
	}
	$node->safe_psql('postgres', "COMMIT PREPARED 'p'");
	all_free($label);
	return;
}

{
	my @s = two_sessions();
	session_query($s[0], in_do(map { key_share($_, 5) } qw(scm flash)) . "; PREPARE TRANSACTION 'p'");
	stop_writers();
	my $before = flushed($s[1]);
	session_query($s[1], in_do(key_share('scm', 5)));
	my $middle = flushed($s[1]);
	isnt($middle, $before, 'a lock beside a prepared one is flushed');
	session_query($s[1], in_do(key_share('flash', 5)));
	isnt(flushed($s[1]), $middle, '... so in a stripe');
	end_session($s[0]);
	still_locked('prepared before');
	end_session($s[1]);
}

# The transaction is prepared just when another one has found it not to be, and has not stored anything yet.
{
	my @s = two_sessions();
	session_query($s[0], in_do(map { key_share($_, 5) } qw(scm flash)));
	session_query($s[1], in_do(key_share('flash', 5)));
	my $gate = start_session($node);
	session_query($gate, 'SELECT pg_advisory_lock(30308)');
	session_query($s[1], "SET vdb.stop_action = 'wait'; SET vdb.stop_point = 'table-xmax-computed'");
	my $pid = session_query($s[0], 'SELECT pg_backend_pid()');
	print { $s[1]->{to} } in_do(key_share('scm', 5)) . ";\n";
	ok($node->poll_query_until('postgres', "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'Extension' AND query LIKE '%scm%'"), 'a locker is about to store');
	print { $s[0]->{to} } "PREPARE TRANSACTION 'p';\n";
	ok($node->poll_query_until('postgres', "SELECT wait_event = 'vdb_blocks' FROM pg_stat_activity WHERE pid = $pid"), 'who prepares waits for it');
	is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_prepared_xacts'), '0', '... and is not prepared yet');
	session_query($gate, 'SELECT pg_advisory_unlock(30308)');
	session_query($s[0], '');
	session_query($s[1], '');
	end_session($s[0]);
	kill 'STOP', pid_of('walwriter'), pid_of('background writer');
	still_locked('prepared meanwhile');
	end_session($_) for $s[1], $gate;
}

# Another's update commits, perhaps before the multixact's record.
{
	my @s = two_sessions();
	session_query($s[0], in_do("UPDATE scm SET v = 'theirs' WHERE id = 7"));
	stop_writers();
	my $before = flushed($s[1]);
	session_query($s[1], in_do(key_share('scm', 7)));
	isnt(flushed($s[1]), $before, "a lock beside another's update is flushed");
	session_query($s[0], 'COMMIT');
	kill_all($node);
	end_session($_) for @s;
	$node->start;
	is($node->safe_psql('postgres', 'SELECT v FROM scm WHERE id = 7'), 'theirs', '... and the update outlives a crash');
	all_free('update');
}

$node->stop;
done_testing();
