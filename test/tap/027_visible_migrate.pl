# Bits of the visibility map that migration sets: without any VACUUM an index-only scan looks nothing up, here and on a
# standby; and no bit is set that a snapshot, a crash or a change in the middle of it forbids.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

plan skip_all => 'nothing migrates here' unless has_vdb();

my $forced = 'SET enable_seqscan = off; SET enable_bitmapscan = off; SET vdb.enable_custom_scan = off;';
my $node = new_node('primary',
	init => { allows_streaming => 1, extra => ['--data-checksums'] },
	conf => "autovacuum = off\nvdb.migrate_enabled = off\nrestart_after_crash = on\nfull_page_writes = off\n");

# Rows by an index-only scan and by a sequential one; both must be the first.
sub finds
{
	my ($n, $table, $wanted, $label) = @_;
	my $query = "SELECT count(id) || ' ' || coalesce(sum(id), 0) FROM $table WHERE id > 0";
	is($n->safe_psql('postgres', "$forced $query"), $wanted, $label);
	is($n->safe_psql('postgres', "SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off; $query"),
		$wanted, "$label: sequentially");
	return;
}

# Rows that were looked up in the table.
sub fetches
{
	my ($n, $table, $where) = @_;
	my $plan = $n->safe_psql('postgres', "$forced EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF) SELECT id FROM $table WHERE " . ($where // 'id > 0'));
	return $plan =~ /Index Only Scan.*Heap Fetches: (\d+)/s ? $1 : $plan;
}

sub fresh
{
	my ($table, $persistence) = @_;
	$node->safe_psql('postgres', "CREATE " . ($persistence // '') . " TABLE $table (id int PRIMARY KEY, v text);
		COPY (SELECT g, 'row ' || g FROM generate_series(1, 2000) g) TO '" . $node->basedir . "/rows';
		COPY $table FROM '" . $node->basedir . "/rows'");
	return;
}

fresh('t');
migrate($node, 't');
is(fetches($node, 't'), '0', 'COPY, migrated: nothing to look up');
finds($node, 't', '2000 2001000', 'and all rows');
flush_wal($node);
$node->stop('immediate');
$node->start;
is(fetches($node, 't'), '0', 'nor after a crash');
verify_ok($node, 't');

fresh('u', 'UNLOGGED');
migrate($node, 'u');
is(fetches($node, 'u'), '0', 'unlogged: nothing to look up');
$node->stop('immediate');
$node->start;
$node->safe_psql('postgres', 'BEGIN; INSERT INTO u SELECT generate_series(1, 2000); ROLLBACK');
finds($node, 'u', '0 0', 'unlogged: none after a crash');

# rows that a snapshot does not see
$node->safe_psql('postgres', 'CREATE TABLE old (id int PRIMARY KEY, v text)');
my $looking = start_session($node);
my $count = "SELECT count(id) FROM old WHERE id > 0";
session_query($looking, "$forced BEGIN ISOLATION LEVEL REPEATABLE READ; $count");
$node->safe_psql('postgres', "INSERT INTO old SELECT g, 'new' FROM generate_series(1, 2000) g");
migrate($node, 'old');
cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM vdb.stripes('old')"), '>', 0, 'rows move while a snapshot does not see them');
is(session_query($looking, $count), '0', 'nor does it see them then');
cmp_ok(fetches($node, 'old'), '>', 0, 'they are looked up');
session_query($looking, 'COMMIT');
finds($node, 'old', '2000 2001000', 'others see them');
$node->safe_psql('postgres', "INSERT INTO old SELECT g, 'newer' FROM generate_series(2001, 6000) g");
migrate($node, 'old');
is(fetches($node, 'old'), '0', 'merged when everybody sees them: nothing to look up');
verify_ok($node, 'old');

# a crash, and a delete, between the switch and the bit
for my $point (qw(migrate-after-switch migrate-before-visible))
{
	(my $table = $point) =~ tr/-/_/;
	fresh($table);
	like(error_of($node, "SET vdb.stop_action = 'crash';\nSET vdb.stop_point = '$point';\nCALL test_migrate('$table')"),
		qr/server closed the connection/, "$point: reached");
	select(undef, undef, undef, 0.5);	# for the postmaster to notice
	$node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or fail('the server restarts');
	is(fetches($node, $table), '2000', "$point: a crash leaves rows to look up");
	finds($node, $table, '2000 2001000', "$point: all are there");
	verify_ok($node, $table);
}
fresh('d');
my $holder = start_session($node);
session_query($holder, 'SELECT pg_advisory_lock(30308)');
my $mover = start_session($node);
session_query($mover, "SET vdb.stop_action = 'wait'; SET vdb.stop_point = 'migrate-before-visible'");
print { $mover->{to} } "CALL test_migrate('d');\n";
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'Extension' AND query ~ 'test_migrate' AND pid <> pg_backend_pid()")
  or fail('migration stops');
$node->safe_psql('postgres', 'DELETE FROM d WHERE id = 1000');
end_session($holder);
session_query($mover, 'SELECT 1');
end_session($mover);
cmp_ok(fetches($node, 'd', 'id BETWEEN 990 AND 1010'), '>', 0, 'deleted meanwhile: looked up');
is(fetches($node, 'd', 'id < 500'), '0', 'other blocks are not');
finds($node, 'd', '1999 2000000', 'and not found');
verify_ok($node, 'd');

# a standby that gives no feedback: migration freezes nothing, so queries there go on; VACUUM does
$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->append_conf('postgresql.conf', "hot_standby_feedback = off\nmax_standby_streaming_delay = -1\nwal_receiver_status_interval = 1\nwal_retrieve_retry_interval = 100\n");
$standby->start;
is(fetches($standby, 't'), '0', 'standby: nothing to look up in what it began with');
my $there = start_session($standby);
my $t = 'SELECT count(id) FROM t WHERE id > 0';
my $old = "$forced BEGIN ISOLATION LEVEL REPEATABLE READ; $t";
is(session_query($there, $old), '2000', 'standby: a snapshot');
$node->safe_psql('postgres', "INSERT INTO t SELECT g, 'new' FROM generate_series(2001, 3000) g");
migrate($node, 't');
cmp_ok(fetches($node, 't'), '>', 0, 'a silent standby: no marks by migration');
$node->wait_for_catchup($standby, 'replay');
is(session_query($there, $t), '2000', 'standby: replay has not waited, new rows are not seen');
session_query($there, 'COMMIT');
$node->safe_psql('postgres', 'VACUUM t');
is(fetches($node, 't'), '0', 'VACUUM marks');
# one that tells: what it may still need is not frozen, all else is
$standby->append_conf('postgresql.conf', "hot_standby_feedback = on\n");
$standby->reload;
$node->poll_query_until('postgres', 'SELECT backend_xmin IS NOT NULL FROM pg_stat_replication') or fail('feedback comes');
$node->wait_for_catchup($standby, 'replay');
is(session_query($there, $old), '3000', 'standby: a snapshot that the primary knows of');
$node->safe_psql('postgres', "CREATE TABLE other (LIKE t INCLUDING ALL) USING vdb; INSERT INTO other SELECT * FROM t");
$node->wait_for_catchup($standby, 'replay');
migrate($node, 'other');
cmp_ok(fetches($node, 'other'), '>', 0, 'feedback: not frozen while somebody there does not see it');
$node->wait_for_catchup($standby, 'replay');
session_query($there, 'COMMIT');
$node->safe_psql('postgres', "INSERT INTO t SELECT g, 'new' FROM generate_series(3001, 3500) g");
my $then = $node->safe_psql('postgres', 'SELECT txid_current()');
$node->wait_for_catchup($standby, 'replay');
$node->poll_query_until('postgres', "SELECT backend_xmin::text::bigint >= $then FROM pg_stat_replication") or fail('feedback goes on');
migrate($node, 't');
is(fetches($node, 't'), '0', 'feedback: frozen and marked when all see it');
# one that is away, unknown: a query there that does not see the rows holds up the stripe that is frozen, and its bits
$standby->append_conf('postgresql.conf', "hot_standby_feedback = off\nprimary_conninfo = ''\n");
$node->wait_for_catchup($standby, 'replay');
is(session_query($there, $old), '3500', 'standby: a snapshot');
$standby->reload;
$node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM pg_stat_replication') or fail('the standby goes away');
$node->safe_psql('postgres', "INSERT INTO t SELECT g, 'new' FROM generate_series(3501, 4000) g");
migrate($node, 't');
is(fetches($node, 't'), '0', 'nobody there: marked');
flush_wal($node);
$standby->append_conf('postgresql.conf', "primary_conninfo = '" . $node->connstr . "'\n");
$standby->reload;
$standby->poll_query_until('postgres', "SELECT pg_last_wal_receive_lsn() >= '" . $node->lsn('flush') . "'::pg_lsn") or fail('the standby comes back');
# replay waits; should it not, the old snapshot would find them now
select(undef, undef, undef, 1);
is(session_query($there, $t), '3500', 'standby: rows of a frozen stripe are not seen');
is(session_query($there, 'SELECT pg_last_wal_replay_lsn() < pg_last_wal_receive_lsn()'), 't', 'standby: replay waits for it');
session_query($there, 'COMMIT');
end_session($there);
$node->wait_for_catchup($standby, 'replay');
finds($standby, 't', '4000 8002000', 'standby: then all are seen');
is(fetches($standby, 't'), '0', 'standby: without looking');
$node->safe_psql('postgres', 'DELETE FROM t WHERE id = 3000');
$node->wait_for_catchup($standby, 'replay');
finds($standby, 't', '3999 7999000', 'standby: a delete');
cmp_ok(fetches($standby, 't'), '>', 0, 'standby: is looked up');
verify_ok($standby, $_, "standby: $_ verifies") for qw(t d old);
$standby->stop;
end_session($looking);

done_testing();
