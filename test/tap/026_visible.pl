# The visibility map: what a crash leaves of it, what a standby makes of it. A bit that is set although a row of its
# block was deleted, or never came to be, makes index-only scans find too much.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my $forced = 'SET enable_seqscan = off; SET enable_bitmapscan = off; SET vdb.enable_custom_scan = off;';
my $query = 'SELECT count(id) || \' \' || coalesce(sum(id), 0) FROM t WHERE id > 0';
my $node = new_node('primary',
	init => { allows_streaming => 1, extra => ['--data-checksums'] },
	conf => "autovacuum = off\nvdb.migrate_enabled = off\nrestart_after_crash = on\nfull_page_writes = off\ncheckpoint_timeout = 1h\nmax_wal_size = 4GB\n");

sub look
{
	my ($n, $table) = @_;
	return $n->safe_psql('postgres', "$forced SELECT count(id) || ' ' || coalesce(sum(id), 0) FROM " . ($table // 't') . ' WHERE id > 0');
}

# Rows that were looked up in the table.
sub fetches
{
	my ($n) = @_;
	my $plan = $n->safe_psql('postgres', "$forced EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF) SELECT id FROM t WHERE id > 0");
	return $plan =~ /Index Only Scan.*Heap Fetches: (\d+)/s ? $1 : $plan;
}

sub crash
{
	my ($n) = @_;
	$n->stop('immediate');
	$n->start;
	return;
}

$node->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY, v text);
	INSERT INTO t SELECT g, 'row ' || g FROM generate_series(1, 2000) g;
	CREATE UNLOGGED TABLE u (id int PRIMARY KEY);
	INSERT INTO u SELECT generate_series(1, 1000);
});
migrate($node, 't');
migrate($node, 'u');
$node->safe_psql('postgres', 'VACUUM t; VACUUM u');
flush_wal($node);
is(fetches($node), '0', 'nothing to look up after VACUUM');
crash($node);
is(fetches($node), '0', 'bits survive a crash');
is(look($node), '2000 2001000', 'and the rows');
verify_ok($node, 't', 'verified after the crash');

# an unlogged table is empty then, and so is its map
is(look($node, 'u'), '0 0', 'unlogged table is empty');
$node->safe_psql('postgres', 'BEGIN; INSERT INTO u SELECT generate_series(1, 1000); ROLLBACK');
is(look($node, 'u'), '0 0', 'and stays so after an aborted insertion');

# a delete that is committed, with the page of the map written before and after
$node->safe_psql('postgres', 'CHECKPOINT; DELETE FROM t WHERE id = 100');
crash($node);
is(look($node), '1999 2000900', 'a delete survives a crash');
cmp_ok(fetches($node), '>', 0, 'its block is looked up');
verify_ok($node, 't', 'verified after the delete');
$node->safe_psql('postgres', 'DELETE FROM t WHERE id = 900; CHECKPOINT');
crash($node);
is(look($node), '1998 2000000', 'a delete before a checkpoint');

# crashes at the places where bit and row change
for my $point (has_vdb() ? qw(table-visible-cleared table-xmax-stored vacuum-before-indexes vacuum-indexes-cleaned vacuum-before-visible) : ())
{
	$node->safe_psql('postgres', 'VACUUM t; CHECKPOINT');
	is(fetches($node), '0', "$point: nothing to look up before");
	my $before = look($node);
	like(error_of($node, "SET vdb.stop_action = 'crash';\nSET vdb.stop_point = '$point';\nDELETE FROM t WHERE id % 500 = 7;\nVACUUM t"),
		qr/server closed the connection/, "$point: reached");
	select(undef, undef, undef, 0.5);	# for the postmaster to notice
	$node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or fail('the server restarts');
	my $seq = $node->safe_psql('postgres', 'SET enable_indexonlyscan = off; SET enable_indexscan = off; SET enable_bitmapscan = off; ' . $query);
	is(look($node), $seq, "$point: index-only and sequential scan agree");
	is($seq, $before, "$point: nothing was deleted") if $point =~ /^table/;
	verify_ok($node, 't', "$point: verified");
	$node->safe_psql('postgres', 'VACUUM t');
	is(look($node), $seq, "$point: the same when the next VACUUM has set bits");
	verify_ok($node, 't', "$point: verified once more");
	$node->safe_psql('postgres', "DELETE FROM t WHERE id % 500 = 7; INSERT INTO t SELECT g * 500 + 7, 'again' FROM generate_series(0, 3) g");
	migrate($node, 't');
}

# That the indexes are clean must not outlive a crash that loses their cleaning. A checkpoint in between keeps redo
# from telling again how many rows were dead.
if (has_vdb())
{
	my $set = sub {
		$node->safe_psql('postgres', "ALTER SYSTEM SET vdb.stop_action = '$_[0]'");
		$node->safe_psql('postgres', "ALTER SYSTEM SET vdb.stop_point = '$_[1]'");
		# whom it lets go may crash the server before the answer is here
		$node->psql('postgres', 'SELECT pg_reload_conf()');
	};
	$node->safe_psql('postgres', 'VACUUM t; CHECKPOINT; DELETE FROM t WHERE id % 400 = 3');
	my $holder = start_session($node);
	session_query($holder, 'SELECT pg_advisory_lock(30308)');
	my $vacuum = start_session($node);
	session_query($vacuum, "SELECT 1");
	$set->('wait', 'vacuum-before-indexes');
	# a session takes settings over between two statements, once the signal has reached it
	for (1 .. 600)
	{
		last if session_query($vacuum, 'SHOW vdb.stop_point') =~ /vacuum-before-indexes/;
		select(undef, undef, undef, 0.1);
	}
	print { $vacuum->{to} } "VACUUM t;\n";
	$node->poll_query_until('postgres', "SELECT wait_event = 'Extension' FROM pg_stat_activity WHERE query = 'VACUUM t;'")
	  or fail('VACUUM stops');
	$node->safe_psql('postgres', 'CHECKPOINT');
	$set->('crash', 'vacuum-indexes-cleaned');
	select(undef, undef, undef, 1);	# for the signal
	end_session($_) for $vacuum, $holder;
	$node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or fail('the server restarts');
	$node->safe_psql('postgres', "ALTER SYSTEM RESET $_") for qw(vdb.stop_action vdb.stop_point);
	$node->safe_psql('postgres', 'SELECT pg_reload_conf()');
	$node->safe_psql('postgres', 'VACUUM t');
	is(look($node), $node->safe_psql('postgres', 'SET enable_indexonlyscan = off; SET enable_indexscan = off; SET enable_bitmapscan = off; ' . $query),
		'a crash behind the cleaning of the indexes, and a checkpoint before: right after the next VACUUM');
	verify_ok($node, 't', 'and verified');
}

# Rows that are left out of a rewritten stripe when VACUUM has cleaned the indexes and not yet set its bits: their
# entries are still there.
if (has_vdb())
{
	$node->safe_psql('postgres', q{
		CREATE TABLE m (id int PRIMARY KEY, v text);
		INSERT INTO m SELECT g, 'row ' || g FROM generate_series(1, 3000) g;
	});
	migrate($node, 'm');
	$node->safe_psql('postgres', 'VACUUM m; DELETE FROM m WHERE id < 10');
	my $stripe = $node->safe_psql('postgres', "SELECT max(stripe) FROM vdb.stripes('m')");
	my $holder = start_session($node);
	session_query($holder, 'SELECT pg_advisory_lock(30308)');
	my $vacuum = start_session($node);
	session_query($vacuum, "SET vdb.stop_action = 'wait'; SET vdb.stop_point = 'vacuum-before-visible'");
	print { $vacuum->{to} } "VACUUM m;\n";
	$node->poll_query_until('postgres', "SELECT wait_event = 'Extension' FROM pg_stat_activity WHERE query = 'VACUUM m;'")
	  or fail('VACUUM stops');
	$node->safe_psql('postgres', 'DELETE FROM m WHERE id % 2 = 0');
	migrate($node, 'm');
	isnt($node->safe_psql('postgres', "SELECT max(stripe) FROM vdb.stripes('m')"), $stripe, 'the stripe is rewritten meanwhile');
	end_session($holder);
	session_query($vacuum, 'SELECT 1');
	end_session($vacuum);
	is(look($node, 'm'), '1495 2249975', 'rows that migration left out are not found');
	verify_ok($node, 'm', 'verified after a migration in the middle of VACUUM');
	$node->safe_psql('postgres', 'VACUUM m');
	is(look($node, 'm'), '1495 2249975', 'nor after the next VACUUM');
	verify_ok($node, 'm', 'verified after the next VACUUM');
}

# a standby: the fork is made by redo, without an image of its page
$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->append_conf('postgresql.conf', "hot_standby_feedback = off\nmax_standby_streaming_delay = -1\n");
$standby->start;
$node->safe_psql('postgres', q{
	CREATE TABLE s (id int PRIMARY KEY, v text);
	INSERT INTO s SELECT g, 'row ' || g FROM generate_series(1, 1000) g;
});
migrate($node, 's');
$node->safe_psql('postgres', 'VACUUM s; VACUUM t');
flush_wal($node);
$node->wait_for_catchup($standby, 'replay');
is(look($standby, 's'), '1000 500500', 'standby: a new table');
is(fetches($standby), '0', 'standby: nothing to look up');

# An old snapshot there holds up what would show it newer rows, or hide deleted ones.
my $looking = start_session($standby);
my $q = "SELECT count(id) || ' ' || sum(id) FROM t WHERE id > 0";
my $seen = session_query($looking, "$forced BEGIN ISOLATION LEVEL REPEATABLE READ; $q");
is($seen, look($node), 'standby: same rows');
$node->safe_psql('postgres', "DELETE FROM t WHERE id = 50");
$node->wait_for_catchup($standby, 'replay');
is(session_query($looking, $q), $seen, 'standby: an old snapshot sees a deleted row');
isnt(look($standby), $seen, 'standby: a new one does not');
$node->safe_psql('postgres', "INSERT INTO t SELECT g, 'new' FROM generate_series(5001, 6000) g");
migrate($node, 't');
$node->safe_psql('postgres', 'VACUUM t');
is(session_query($looking, $q), $seen, 'standby: the old snapshot sees the same while a VACUUM waits to be replayed');
my $later = look($node);
flush_wal($node);
session_query($looking, 'COMMIT');
end_session($looking);
$node->wait_for_catchup($standby, 'replay');
is(look($standby), $later, 'standby: then it is replayed');
is(fetches($standby), '0', 'standby: with its bits');
verify_ok($standby, 't', 'standby: verifies');

$node->safe_psql('postgres', 'DELETE FROM t WHERE id = 60');
$node->wait_for_catchup($standby, 'replay');
$node->stop('immediate');
$standby->promote;
$standby->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
isnt(look($standby), $later, 'promoted: the last delete counts');
$standby->safe_psql('postgres', 'DELETE FROM t WHERE id = 1999; DELETE FROM s WHERE id = 500');
is(look($standby, 's'), '999 500000', 'promoted: deletes');
crash($standby);
is(look($standby, 's'), '999 500000', 'promoted: survives a crash');
verify_ok($standby, $_, "promoted: $_ verifies") for qw(t s);
$standby->stop;

done_testing();
