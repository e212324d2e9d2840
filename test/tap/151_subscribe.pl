# A subscription to vdb tables: what publications have, the initial copy, random changes by several sessions while rows move, SIGKILL of
# publisher and subscriber, of an apply worker, a walsender and migration workers, the stream sent in progress and prepared. After each
# round every table of the subscriber, on heap and on vdb, must be equal to the publisher's: the decoded stream, replayed, gives the same
# table. VDB_SUBSCRIBE_ROUNDS and VDB_SUBSCRIBE_MINUTES say how long.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my $rounds = $ENV{VDB_SUBSCRIBE_ROUNDS} || 5;
my $end = time() + 60 * ($ENV{VDB_SUBSCRIBE_MINUTES} || 0);
my $seed = $ENV{VDB_SUBSCRIBE_SEED} || int(rand(1 << 30));
srand($seed);
note("seed $seed");
my $conf = "autovacuum = off\nmax_prepared_transactions = 20\nmax_logical_replication_workers = 12\nmax_sync_workers_per_subscription = 4\n" .
	"max_worker_processes = 24\nlogical_decoding_work_mem = 64kB\nwal_receiver_status_interval = 1\nrestart_after_crash = on\n";
my $pub = new_node('pub', init => { allows_streaming => 'logical' }, conf => $conf);
my $sub = new_node('sub', init => { allows_streaming => 'logical' }, conf => $conf);
# heap, or the method under test: three pairs
my %pair = (vv => [ am(), am() ], vh => [ am(), 'heap' ], hv => [ 'heap', am() ]);

# ---- tables ----

my @tables;
for my $pair (sort keys %pair)
{
	my ($from, $to) = @{ $pair{$pair} };
	my $columns = '(a int NOT NULL, b text NOT NULL, c text, n int DEFAULT 0, w text';
	my %end = (pk => ', PRIMARY KEY (a))', full => ')', idx => ')', root => ', PRIMARY KEY (a)) PARTITION BY RANGE (a)');
	for my $kind (sort keys %end)
	{
		my $t = "${pair}_$kind";
		push @tables, $t;
		for ([ $pub, $from ], [ $sub, $to ])
		{
			my ($node, $method) = @$_;
			my $using = $kind eq 'root' ? '' : "USING $method";
			$node->safe_psql('postgres', "CREATE TABLE $t $columns$end{$kind} $using");
			$node->safe_psql('postgres', "ALTER TABLE $t ALTER w SET STORAGE EXTERNAL");
			$node->safe_psql('postgres', "ALTER TABLE $t REPLICA IDENTITY FULL") if $kind eq 'full';
			$node->safe_psql('postgres', "CREATE UNIQUE INDEX ${t}_i ON $t (b); ALTER TABLE $t REPLICA IDENTITY USING INDEX ${t}_i") if $kind eq 'idx';
			next unless $kind eq 'root';
			# partitions of both methods, and others on the other side
			my @methods = $node == $pub ? ($from, 'heap', $from) : ($to, $to);
			my $step = int(1200 / @methods);
			$node->safe_psql('postgres', join('; ', map {
				"CREATE TABLE ${t}_$_ PARTITION OF $t FOR VALUES FROM (" . ($_ ? $_ * $step : 'MINVALUE') . ') TO (' . ($_ < $#methods ? ($_ + 1) * $step : 'MAXVALUE') . ") USING $methods[$_]"
			} 0 .. $#methods));
		}
	}
	# without any identity: rows are only inserted
	push @tables, "${pair}_none";
	$pub->safe_psql('postgres', "CREATE TABLE ${pair}_none (a int, b text, c text, n int, w text) USING $from");
	$sub->safe_psql('postgres', "CREATE TABLE ${pair}_none (a int, b text, c text, n int, w text) USING $to");
}
$pub->safe_psql('postgres', q{
CREATE FUNCTION r(n int) RETURNS text LANGUAGE sql AS $$ SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 1 + n / 32) g $$;
});
$pub->safe_psql('postgres', "INSERT INTO $_ SELECT g, 'b' || g, repeat(md5(g::text), 1 + g % 5), 0, CASE WHEN g % 50 = 0 THEN r(20000) WHEN g % 7 = 0 THEN r(3000) END FROM generate_series(1, 600) g") for @tables;
migrate($pub, $_) for @tables;

# ---- publications ----

my ($out, $err);
is($pub->psql('postgres', 'CREATE PUBLICATION everything FOR ALL TABLES', stdout => \$out, stderr => \$err), 0, 'a publication of all tables');
is($err, '', '... without a warning');
is($pub->safe_psql('postgres', "SELECT count(*) FROM pg_publication_tables WHERE schemaname = 'vdb'"), '0', '... has not the pool');
like(error_of($pub, 'CREATE PUBLICATION pool FOR TABLE vdb.scm'), qr/ERROR/, 'nor can another') if has_vdb();
$pub->safe_psql('postgres', 'DROP PUBLICATION everything; CREATE PUBLICATION p FOR TABLE ' . join(', ', @tables) . ' WITH (publish_via_partition_root = true)');

my $connstr = $pub->connstr . ' dbname=postgres';
# A server with asserts stops, with heap tables alone too, when a subtransaction all of whose changes were sent has its transaction
# spilled for a TOASTed row (ReorderBufferRestoreCleanup asks for a final_lsn that nothing has set): no streaming there.
my $streaming = $pub->safe_psql('postgres', 'SHOW debug_assertions') eq 'on' ? 'off' : 'on';
note("streaming = $streaming");
$sub->safe_psql('postgres', "CREATE SUBSCRIPTION s CONNECTION '$connstr' PUBLICATION p WITH (streaming = $streaming, two_phase = on)");

# ---- random changes ----

sub pick { return $_[ rand @_ ]; }

# One statement on a table. Keys are 1 to 1200; 'none' gets inserts.
sub statement
{
	my ($t) = @_;
	my $a = 1 + int(rand 1200);
	my $w = pick('NULL', "'short'", 'r(3000)', 'r(3000)', 'r(20000)', "repeat('y', 50000)");
	return "INSERT INTO $t SELECT g, 'b' || g, r(30), 0, $w FROM generate_series($a, $a + " . int(rand 20) . ') g' if $t =~ /none/;
	return pick(
		"INSERT INTO $t VALUES ($a, 'b$a', r(30), 0, $w) ON CONFLICT DO NOTHING",
		$t =~ /full/ ? "INSERT INTO $t VALUES ($a, 'b$a', r(30), 0, $w)" :
		$t =~ /idx/ ? "INSERT INTO $t VALUES ($a, 'b$a', r(30), 0, $w) ON CONFLICT (b) DO UPDATE SET w = excluded.w, n = $t.n + 1" :
			"INSERT INTO $t VALUES ($a, 'b$a', r(30), 0, $w) ON CONFLICT (a) DO UPDATE SET w = excluded.w, n = $t.n + 1",
		"INSERT INTO $t SELECT g, 'b' || g, r(30), 0, NULL FROM generate_series($a, $a + 30) g ON CONFLICT DO NOTHING",
		"UPDATE $t SET n = n + 1 WHERE a BETWEEN $a AND $a + " . int(rand 40),
		"UPDATE $t SET w = $w WHERE a = $a",
		"UPDATE $t SET c = r(100), n = n + 1 WHERE a % 100 = " . int(rand 100),
		$t =~ /full/ ? "UPDATE $t SET a = a + 1 WHERE a = $a" : "UPDATE $t SET c = NULL WHERE a = $a",
		"DELETE FROM $t WHERE a BETWEEN $a AND $a + " . int(rand 5));
}

# A session's script: transactions, with savepoints, some rolled back or prepared.
sub script
{
	my ($session, $n) = @_;
	my @lines = ("SET client_min_messages = fatal;", "SET lock_timeout = '10s';");
	for my $i (1 .. $n)
	{
		my @body = map { statement(pick(@tables)) . ';' } 1 .. 1 + int(rand 4);
		splice @body, rand @body, 0, 'SAVEPOINT x;', statement(pick(@tables)) . ';', pick('ROLLBACK TO x;', 'RELEASE x;') if rand() < 0.3;
		my $end = pick('COMMIT', 'COMMIT', 'COMMIT', 'COMMIT', 'ROLLBACK', "PREPARE TRANSACTION 'p${session}_$i'");
		push @lines, 'BEGIN;', @body, "$end;";
		push @lines, pick('COMMIT', 'COMMIT', 'ROLLBACK') . " PREPARED 'p${session}_$i';" if $end =~ /PREPARE/;
	}
	return join("\n", @lines) . "\n";
}

sub start_load
{
	my ($session, $n) = @_;
	my $file = $pub->basedir . "/load$session.sql";
	open(my $f, '>', $file) or die "$file: $!";
	print $f script($session, $n);
	close $f;
	return IPC::Run::start([ 'psql', '-Xq', '-d', $pub->connstr('postgres'), '-f', $file ], '>', '/dev/null', '2>', '/dev/null');
}

sub end_prepared
{
	$pub->safe_psql('postgres', "COMMIT PREPARED '$_'") for split(/\n/, $pub->safe_psql('postgres', 'SELECT gid FROM pg_prepared_xacts'));
	return;
}

sub all_equal
{
	my ($label) = @_;
	end_prepared();
	$pub->wait_for_catchup('s');
	my @differ = grep { digest($pub, $_) ne digest($sub, $_) } @tables;
	is("@differ", '', "$label: all tables are equal");
	return;
}

sub restart_killed { my ($node) = @_; kill_all($node); $node->start; return; }

# SIGKILL of one process of a server, which restarts all others.
sub kill_one
{
	my ($node, $which) = @_;
	my $pid = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE $which LIMIT 1") or return;
	kill 'KILL', $pid;
	$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid") or die "$which is still there";
	return;
}

# ---- the copy, with changes beside ----

my @load = map { start_load($_, 15) } 1 .. 2;
$sub->poll_query_until('postgres', 'SELECT count(*) = ' . scalar(@tables) . " FROM pg_subscription_rel WHERE srsubstate = 'r'") or die 'no initial copy';
$_->finish for @load;
all_equal('initial copy beside changes');

# ---- rounds ----

for (my $round = 1; $round <= $rounds || time() < $end; $round++)
{
	my $event = (qw(migration publisher subscriber apply worker rewrite walsender))[ $round % 7 ];
	@load = map { start_load("$round$_", 25) } 1 .. 3;
	migrate($pub, pick(@tables)) for 1 .. 3;
	restart_killed($pub) if $event eq 'publisher';
	restart_killed($sub) if $event eq 'subscriber';
	kill_one($sub, "backend_type = 'logical replication worker'") if $event eq 'apply';
	kill_one($pub, "backend_type = 'walsender'") if $event eq 'walsender';
	kill_one($_, "backend_type LIKE 'vdb%' AND datname IS NOT NULL") for grep { $event eq 'worker' && has_vdb() } $pub, $sub;
	if ($event eq 'rewrite')
	{
		my $t = pick('vv_pk', 'vh_pk');
		$pub->psql('postgres', "SET lock_timeout = '20s'; ALTER TABLE $t SET ACCESS METHOD heap; UPDATE $t SET n = -1 WHERE a < 50; ALTER TABLE $t SET ACCESS METHOD " . am());
		$pub->psql('postgres', "SET lock_timeout = '20s'; BEGIN; INSERT INTO vv_none VALUES (0); TRUNCATE vv_none; INSERT INTO vv_none VALUES (1, 'x'); COMMIT");
	}
	$_->finish for @load;
	migrate($pub, $_) for grep { rand() < 0.5 } @tables;
	migrate($sub, $_) for grep { rand() < 0.5 } @tables;
	$pub->safe_psql('postgres', 'VACUUM ' . pick(@tables));
	all_equal("round $round, $event");
}

# ---- restart from where the subscription was long ago: rows have moved, and been deleted, since ----

$sub->safe_psql('postgres', 'ALTER SUBSCRIPTION s DISABLE');
$pub->poll_query_until('postgres', "SELECT NOT active FROM pg_replication_slots WHERE slot_name = 's'");
$_->finish for map { start_load("last$_", 20) } 1 .. 2;
migrate($pub, $_) for @tables;
$pub->safe_psql('postgres', "UPDATE $_ SET n = n - 1; DELETE FROM $_ WHERE a % 10 = 0") for grep { !/none/ } @tables;
migrate($pub, $_) for @tables;
$pub->safe_psql('postgres', "VACUUM $_") for @tables;
$pub->safe_psql('postgres', 'CHECKPOINT');
$pub->restart;
$sub->safe_psql('postgres', 'ALTER SUBSCRIPTION s ENABLE');
all_equal('from an old point');
if (has_vdb())
{
	cmp_ok($pub->safe_psql('postgres', 'SELECT sum(striped_rows) FROM vdb.tables'), '>', 1000, 'rows of the publisher are in stripes');
	verify_ok($pub, 'vv_pk');
	verify_ok($sub, 'vv_pk');
	verify_ok($sub, 'hv_full');
}
diag("seed $seed") unless Test::More->builder->is_passing;
$sub->safe_psql('postgres', 'DROP SUBSCRIPTION s');

# ---- a dump with publications is restored without a word ----

my $file = $pub->basedir . '/dump.sql';
command_ok([ 'pg_dump', '-s', '-f', $file, $pub->connstr('postgres') ], 'pg_dump');
$pub->safe_psql('postgres', 'CREATE DATABASE again');
command_ok([ 'psql', '-Xq', '-1', '-v', 'ON_ERROR_STOP=1', '-f', $file, $pub->connstr('again') ], 'restored');
$_->stop for $sub, $pub;
done_testing();
