# What migration leaves for later: stripes written while their transactions ran, stripes that lost rows, pages
# that nothing refers to, pools nobody has opened yet, a pool without room for metadata; with crashes in between.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use VdbTest;

plan skip_all => 'vdb only' unless has_vdb();

my $node = new_node('migrate', init => { allows_streaming => 1 },
	conf => "vdb.scm_size = '16MB'\nvdb.migrate_enabled = off\nautovacuum = off\nfsync = off\nrestart_after_crash = on\nmax_worker_processes = 16\n");
my $rows = "SELECT g, repeat(md5(g::text), 20) FROM generate_series";
my $in_doubt = "SELECT count(*) FROM vdb.stripes('t') WHERE in_doubt";

sub q1 { return $node->safe_psql('postgres', $_[0]); }
sub stripes { return q1("SELECT count(*), coalesce(sum(rows), 0), coalesce(sum(deleted_rows + delta_rows), 0) FROM vdb.stripes('$_[0]')"); }
sub healthy
{
	my ($label) = @_;
	is(q1("SELECT * FROM vdb.verify('t')"), '', "$label: table verifies");
	is(q1("SELECT * FROM vdb.verify_pool() WHERE severity = 'error'"), '', "$label: pool verifies");
}

# --- stripes of transactions in progress
q1('CREATE TABLE t (id int PRIMARY KEY, v text)');
my $writer = start_session($node);
session_query($writer, "BEGIN; INSERT INTO t $rows(1, 60000) g");
cmp_ok(q1($in_doubt), '>', 0, 'a transaction larger than the pool writes in-doubt stripes');
my $before = q1($in_doubt);
q1('VACUUM t');
is(q1($in_doubt), $before, 'they stay so as long as it runs');
is(q1('SELECT count(*) FROM t'), 0, 'and nobody sees their rows');
session_query($writer, 'COMMIT');
q1('VACUUM t');
is(q1($in_doubt), 0, 'VACUUM resolves them after the commit');
is(q1("SELECT count(*) FROM vdb.stripes('t') WHERE NOT frozen"), 0, 'and freezes them');
cmp_ok(q1("SELECT age(relfrozenxid) FROM pg_class WHERE relname = 't'"), '<', 5, 'relfrozenxid advances');
is(q1('SELECT count(*), sum(id) FROM t'), '60000|1800030000', 'all rows are there');

session_query($writer, "BEGIN; INSERT INTO t $rows(60001, 90000) g; SAVEPOINT a; INSERT INTO t $rows(100001, 140000) g; ROLLBACK TO a; COMMIT");
cmp_ok(q1($in_doubt), '>', 0, 'in-doubt: a part aborted');
q1('VACUUM t');
is(q1($in_doubt), 0, 'VACUUM rewrites where some rows were aborted');
is(q1("SELECT count(*), max(id) FROM t"), '90000|90000', 'the others are there');
is(q1("SELECT sum(rows) + (SELECT coalesce(sum(rows), 0) FROM vdb.segments('t')) FROM vdb.stripes('t')"), '90000', 'and only they')
  or diag stripes('t');
session_query($writer, "BEGIN; INSERT INTO t $rows(200001, 240000) g; ROLLBACK");
cmp_ok(q1($in_doubt), '>', 0, 'in-doubt: all aborted');
$node->append_conf('postgresql.conf', "vdb.migrate_enabled = on\nvdb.migrate_after = 500\nvdb.migrate_min_rows = 0\n");
$node->reload;
$node->poll_query_until('postgres', "SELECT NOT EXISTS (SELECT FROM vdb.stripes('t') WHERE in_doubt)") or fail('the worker resolves');
$node->poll_query_until('postgres', "SELECT NOT EXISTS (SELECT FROM vdb.segments('t'))") or fail('the worker migrates');
is(q1("SELECT sum(rows) FROM vdb.stripes('t')"), '90000', 'the worker lets stripes without rows go');
$node->append_conf('postgresql.conf', "vdb.migrate_enabled = off\n");
$node->reload;
healthy('resolved');
end_session($writer);

# --- crashes
my $digest = digest($node, 't');
sub crash_at
{
	my ($point, $prepare, $sql) = @_;
	q1($prepare) if $prepare;
	$digest = digest($node, 't');
	like(error_of($node, "SET vdb.stop_action = 'crash';\nSET vdb.stop_point = '$point';\n$sql"), qr/server closed the connection/, "$point is reached");
	select(undef, undef, undef, 0.5);	# for the postmaster to notice
	$node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or fail('the server restarts');
	is(digest($node, 't'), $digest, "crash at $point: rows are the same");
	healthy("crash at $point");
}
my $in_progress = "INSERT INTO t $rows(100001, 130000) g";
crash_at('migrate-before-resolve', $in_progress, 'VACUUM t');
crash_at('migrate-after-switch', 'DELETE FROM t WHERE id % 4 = 0', 'VACUUM t');
crash_at('migrate-after-free', 'DELETE FROM t WHERE id % 4 = 1', 'VACUUM t');
q1('VACUUM t');
q1('SELECT txid_current()') for 1 .. 2;
crash_at('migrate-pages-taken', 'DELETE FROM t WHERE id % 8 = 2', 'VACUUM t');
crash_at('migrate-pages-marked', '', 'VACUUM t');
crash_at('make-room', '', "INSERT INTO t $rows(300001, 340000) g");
crash_at('migrate-before-cut', 'DELETE FROM t', 'VACUUM t');
q1('VACUUM t'), q1('SELECT txid_current()') for 1 .. 4;
is(q1("SELECT pg_relation_size('t')"), 8192, 'no page is lost for ever');
is(stripes('t'), '0|0|0', 'nor a stripe');
is(q1('SELECT * FROM vdb.verify_pool()'), '', 'nor a block of the pool');

# --- space stays bounded when rows are replaced again and again
q1("CREATE TABLE u (id int PRIMARY KEY, v text) WITH (vacuum_truncate = off); INSERT INTO u SELECT g, md5(g::text) FROM generate_series(1, 20000) g");
q1("SELECT vdb.migrate('u')");
my $size = q1("SELECT pg_relation_size('u')");
for my $round (1 .. 8)
{
	q1("UPDATE u SET v = md5(v)");
	q1("SELECT vdb.migrate('u')");
	q1('VACUUM u');
}
cmp_ok(q1("SELECT pg_relation_size('u')"), '<', 5 * $size, 'pages are used again') or diag "was $size";
is(q1("SELECT count(*) FROM u"), 20000, 'all rows are there');

# --- a standby
$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->append_conf('postgresql.conf', "hot_standby_feedback = off\nmax_standby_streaming_delay = 2s\n");
$standby->start;
my $reader = start_session($standby);
session_query($reader, 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM u LIMIT 1; DECLARE c CURSOR FOR SELECT id, v FROM u; FETCH 1 FROM c');
q1("INSERT INTO t $rows(1, 40000) g");
for my $round (1 .. 4)
{
	q1("UPDATE u SET v = md5(v)");
	q1("SELECT vdb.migrate('u')");
	q1('VACUUM u; VACUUM t');
}
$node->wait_for_catchup($standby, 'replay');
is(digest($standby, $_), digest($node, $_), "standby: $_ is the same") for qw(t u);
$standby->poll_query_until('postgres', "SELECT confl_snapshot > 0 FROM pg_stat_database_conflicts WHERE datname = 'postgres'")
  or fail('a query on the standby that may need old pages is ended');
eval { $reader->{run}->kill_kill; };
$standby->promote;
is($standby->safe_psql('postgres', "SELECT * FROM vdb.verify('$_')"), '', "promoted: $_ verifies") for qw(t u);
$standby->safe_psql('postgres', "UPDATE u SET v = md5(v); SELECT vdb.migrate('u')");
$standby->safe_psql('postgres', 'VACUUM u');
is($standby->safe_psql('postgres', "SELECT * FROM vdb.verify('u')"), '', 'and after changes');
$standby->stop;

# --- databases that nobody opens
q1('CREATE DATABASE other');
prepare_db($node, 'other');
$node->safe_psql('other', "CREATE TABLE o AS SELECT g AS id FROM generate_series(1, 5000) g");
q1('ALTER DATABASE other ALLOW_CONNECTIONS false');
$node->stop;
$node->append_conf('postgresql.conf', "vdb.migrate_enabled = on\nvdb.migrate_after = 200\nvdb.migrate_min_rows = 0\n");
$node->start;
sleep patience(8);
q1('ALTER DATABASE other ALLOW_CONNECTIONS true');
is($node->safe_psql('other', "SELECT pool_rows, striped_rows FROM vdb.tables WHERE relation = 'o'::regclass"), '0|5000',
	'rows of an earlier run are migrated in a database that nobody has connected to');
my $start = time;
for my $i (1 .. 4)
{
	$node->safe_psql('other', "INSERT INTO o SELECT g FROM generate_series(1, 3000) g");
	select(undef, undef, undef, 0.3 * $i);
	is(error_of($node, "CREATE DATABASE copy$i TEMPLATE other"), '', 'CREATE DATABASE from a template with a worker');
}
cmp_ok(time - $start, '<', patience(40), 'without waiting for long');
is($node->safe_psql('copy4', 'SELECT count(*) FROM o'), 17000, 'the copy is whole');
for my $i (1 .. 4)
{
	$node->safe_psql("copy$i", "INSERT INTO o SELECT g FROM generate_series(1, 3000) g");
	select(undef, undef, undef, 0.3 * $i);
	is(error_of($node, "DROP DATABASE copy$i"), '', 'DROP DATABASE with a worker');
}

# --- nothing but metadata
$node->append_conf('postgresql.conf', "vdb.scm_size = '8MB'\n");
$node->restart;
q1('CREATE DATABASE meta');
prepare_db($node, 'meta');
my $columns = join(', ', map { "c$_ int" } 1 .. 1500);
my $full = $node->safe_psql('meta', "CREATE TABLE f (id int, $columns)");
my $error = error_of($node, q{
	DO $$ BEGIN
		FOR i IN 1..120 LOOP
			EXECUTE format('CREATE TABLE f%s (LIKE f)', i);
			EXECUTE format('INSERT INTO f%s (id, c1500) VALUES (1, 1)', i);
			EXECUTE format('SELECT vdb.migrate(%L)', 'f' || i);
			COMMIT;
		END LOOP;
	END $$}, db => 'meta');
like($error, qr/53400.*full of metadata.*DETAIL.*bytes.*HINT.*vdb\.scm_size/s, 'a pool full of metadata is an error in the end');
$node->append_conf('postgresql.conf', "vdb.scm_size = '64MB'\n");
$node->reload;
is(error_of($node, 'INSERT INTO f (id) VALUES (1)', db => 'meta'), '', 'which more room cures');
$node->stop;

done_testing();
