# A crash ends transactions that have made tables, in every way there is. Core's files of them stay on disk; what
# they have in the pool must not. Twice in a row, or the pool would fill up. Tables of committed transactions stay, and those of prepared ones
# until it is known what becomes of them.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

plan skip_all => 'vdb only' unless has_vdb();

# nothing is due: what gets out of the pool was collected
my $node = new_node('orphans', conf => "vdb.scm_size = '64MB'\nvdb.migrate_after = '1h'\nvdb.migrate_high_water = 100\nautovacuum = off\n");

sub q1 { return $node->safe_psql('postgres', $_[0]); }
sub used { return q1('SELECT used_bytes FROM vdb.pool'); }

my $rows = "SELECT g AS id, repeat(md5(g::text), 20) AS v FROM generate_series(1, 1500) g";

q1("SET allow_in_place_tablespaces = on; CREATE TABLESPACE elsewhere LOCATION ''");
q1("CREATE TABLE $_ AS $rows; CREATE INDEX ${_}_id ON $_ (id)") for qw(clustered rewritten emptied moved full_vacuumed kept);
q1("CREATE TABLE heaped USING heap AS $rows; CREATE MATERIALIZED VIEW view AS $rows");
my $copy = $node->basedir . '/rows.copy';
q1("COPY ($rows) TO '$copy'");
my %tables = map { $_ => digest($node, $_) } qw(clustered rewritten emptied moved full_vacuumed kept heaped view);

# each in a session of its own
my @open = (
	"CREATE TABLE ctas AS $rows",
	"CREATE TABLE copied (id int, v text); COPY copied FROM '$copy'",
	"CREATE UNLOGGED TABLE unlogged AS $rows",
	"CREATE TEMP TABLE temporary AS $rows",
	"SAVEPOINT a; CREATE TABLE inner_one AS $rows; RELEASE a; SAVEPOINT b; INSERT INTO inner_one $rows",
	"CREATE TABLE outer_one (id int, v text); SAVEPOINT c; INSERT INTO outer_one $rows; ROLLBACK TO c; INSERT INTO outer_one $rows",
	"CREATE TABLE moved_new AS $rows; ALTER TABLE moved_new SET TABLESPACE elsewhere",
	'CLUSTER clustered USING clustered_id',
	'ALTER TABLE rewritten ALTER id TYPE bigint',
	"TRUNCATE emptied; INSERT INTO emptied $rows",
	'REFRESH MATERIALIZED VIEW view',
	'ALTER TABLE heaped SET ACCESS METHOD vdb',
	'ALTER TABLE moved SET TABLESPACE elsewhere');

sub crash
{
	my ($prepared) = @_;
	my @sessions = map { start_session($node) } @open;
	for my $i (0 .. $#open)
	{
		my $said = session_query($sessions[$i], "BEGIN; $open[$i]");
		unlike($said, qr/ERROR/, "in progress: $open[$i]") or diag $said;
	}
	# this can't be done in a transaction block
	my $holder = start_session($node);
	session_query($holder, 'SELECT pg_advisory_lock(30308)');
	my $vacuum = start_session($node);
	my $pid = session_query($vacuum, 'SELECT pg_backend_pid()');
	print { $vacuum->{to} } "SET vdb.stop_point = 'table-insert-stored:1000';\nVACUUM FULL full_vacuumed;\n";
	$node->poll_query_until('postgres', "SELECT wait_event = 'Extension' FROM pg_stat_activity WHERE pid = $pid") or fail('VACUUM FULL');
	q1("BEGIN; CREATE TABLE $prepared AS $rows; PREPARE TRANSACTION '$prepared'");
	flush_wal($node);
	my $full = used();
	$node->stop('immediate');
	end_session($_) for @sessions, $holder, $vacuum;
	$node->start;
	return $full;
}

my $base = used();
for my $round (1 .. 2)
{
	my $full = crash("prepared$round");
	cmp_ok($full - $base, '>', 25 * 1024 * 1024, "round $round: they had much of the pool");
	# the prepared table keeps its own
	$node->poll_query_until('postgres', "SELECT used_bytes < $base + 2500000 * $round FROM vdb.pool") or fail("round $round: the pool is given back");
	cmp_ok(used(), '>', $base, "round $round: but not what the prepared transaction has");
	is(digest($node, $_), $tables{$_}, "round $round: $_ is as it was") for sort keys %tables;
	verify_ok($node, $_) for grep { $_ ne 'heaped' } sort keys %tables;
}
q1("COMMIT PREPARED 'prepared1'");
is(q1('SELECT count(*), count(DISTINCT id), sum(id) FROM prepared1'), '1500|1500|1125750', 'a prepared table survives, and commits');
q1("ROLLBACK PREPARED 'prepared2'");
$node->poll_query_until('postgres', "SELECT used_bytes < $base + 2500000 FROM vdb.pool") or fail('one that is rolled back is given back');

# a table that is made and committed is nobody's orphan, not even where its rows came before the crash
q1("CREATE TABLE late AS $rows");
$tables{late} = digest($node, 'late');
$node->stop('immediate');
$node->start;
is(digest($node, $_), $tables{$_}, "after the last crash: $_") for sort keys %tables;
is(q1('SELECT count(*) FROM prepared1'), '1500', 'after the last crash: prepared1');
cmp_ok(used(), '<', $base + 5000000, 'and nothing else has grown');

# no key of a move that a crash ended is left, and so the table can move again
q1('ALTER TABLE moved SET TABLESPACE elsewhere');
is(digest($node, 'moved'), $tables{moved}, 'the move can be made');
q1("SELECT vdb.migrate('moved')");
is(digest($node, 'moved'), $tables{moved}, 'and rows move to flash there');
is(q1('SELECT count(*) FROM vdb.verify_pool()'), '0', 'the pool is sound');
q1("DROP TABLE $_") for qw(clustered rewritten emptied moved full_vacuumed kept heaped prepared1 late);
q1('DROP MATERIALIZED VIEW view');
$node->poll_query_until('postgres', 'SELECT used_bytes < 1024 * 1024 FROM vdb.pool') or fail('without tables the pool is empty');
$node->stop;
done_testing();
