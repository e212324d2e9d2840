# VACUUM as an administrator knows it: autovacuum comes by itself, vacuums and analyzes, and the statistics say so; progress
# and VERBOSE tell what is going on; an old snapshot keeps what it sees and nothing else; dead space comes back,
# in SCM, on flash and in indexes.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my $node = new_node('autovacuum', conf => q{
autovacuum_naptime = 1s
autovacuum_vacuum_threshold = 100
autovacuum_vacuum_scale_factor = 0
autovacuum_vacuum_insert_threshold = 2000
autovacuum_vacuum_insert_scale_factor = 0
autovacuum_analyze_threshold = 100
autovacuum_analyze_scale_factor = 0
log_autovacuum_min_duration = 0
} . (has_vdb() ? "vdb.migrate_enabled = off\n" : ''));

sub single { return $node->safe_psql('postgres', $_[0]); }

sub fill { my ($table, $rows, $options) = @_;
	return single("CREATE TABLE $table (id int PRIMARY KEY, g int, v text) " . ($options // '')
		  . "; CREATE INDEX ON $table (g); INSERT INTO $table SELECT g, g % 10, 'v' || g FROM generate_series(1, $rows) g"); }

# ---- by itself ----
fill($_, 1000) for qw(scm flash);
fill('few', 1000);
fill('inserts', 3000);
fill('off', 1000, 'WITH (autovacuum_enabled = off)');
migrate($node, $_) for qw(flash off);
single("DELETE FROM $_ WHERE id % 3 = 0; UPDATE $_ SET g = 77 WHERE id % 3 = 1") for qw(scm flash off);
ok($node->poll_query_until('postgres', "SELECT count(*) = 4 FROM pg_stat_user_tables WHERE schemaname = 'public' AND ((relname IN ('scm', 'flash') AND autovacuum_count > 0 AND "
	. "n_dead_tup < 100 AND autoanalyze_count > 0 AND last_autovacuum IS NOT NULL AND last_autoanalyze IS NOT NULL AND n_live_tup BETWEEN 600 AND 700) "
	. "OR (relname = 'few' AND autoanalyze_count > 0 AND n_live_tup = 1000) OR (relname = 'inserts' AND autovacuum_count > 0 AND n_ins_since_vacuum < 2000))"),
	'autovacuum vacuums after deletes, updates and inserts, and analyzes')
  or diag(single('SELECT relname, autovacuum_count, autoanalyze_count, n_live_tup, n_dead_tup, n_ins_since_vacuum FROM pg_stat_user_tables'));
is(single("SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_stat_user_tables WHERE schemaname = 'public' AND autovacuum_count = 0"), 'few off', 'others it leaves alone');
is(single("SELECT relname, n_dead_tup FROM pg_stat_user_tables WHERE relname = 'off'"), 'off|667', 'and their dead rows are counted');
is(single("SELECT count(*) FROM pg_stats WHERE tablename IN ('scm', 'flash') AND attname = 'g' AND '77' = ANY (most_common_vals::text::text[])"), '2',
	'statistics are of what is there now');
is(single("SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relname IN ('scm', 'flash') AND reltuples BETWEEN 600 AND 700"), 'flash scm', 'so are counts of rows');
like(slurp_file($node->logfile), qr/automatic vacuum of table "postgres\.public\.$_"/, "the log tells of it: $_") for qw(scm flash inserts);
unlike(slurp_file($node->logfile), qr/automatic vacuum of table "postgres\.public\.off"/, 'and not of others');
$node->append_conf('postgresql.conf', 'autovacuum = off');
$node->reload;
$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type LIKE 'autovacuum%'");

# ---- progress ----
# An index-only scan that stands in the index keeps its page pinned, and VACUUM out.
my $reader = start_session($node);
session_query($reader, 'SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_indexscan = on; SET enable_sort = off; '
	  . 'BEGIN; DECLARE c CURSOR FOR SELECT id FROM off WHERE id > 0 ORDER BY id');
like(session_query($reader, 'EXPLAIN SELECT id FROM off WHERE id > 0 ORDER BY id'), qr/Index Only Scan/, 'a scan that keeps its pin');
session_query($reader, 'FETCH 1 FROM c');
my $vacuum = start_session($node);
my $pid = session_query($vacuum, 'SELECT pg_backend_pid()');
print { $vacuum->{to} } "VACUUM (VERBOSE) off;\n";
ok($node->poll_query_until('postgres', "SELECT phase = 'vacuuming indexes' AND heap_blks_total > 0 AND heap_blks_scanned = heap_blks_total "
	. "AND relid = 'off'::regclass FROM pg_stat_progress_vacuum WHERE pid = $pid"), 'progress: indexes, after the whole table')
  or diag(single('SELECT * FROM pg_stat_progress_vacuum'));
session_query($reader, 'COMMIT');
end_session($reader);
my $said = session_query($vacuum, 'SELECT 1');
is(single("SELECT count(*) FROM pg_stat_progress_vacuum"), '0', 'progress ends');

SKIP:
{
	skip 'what only vdb tells', 6 unless has_vdb();
	like($said, qr/finished vacuuming "postgres\.public\.off"/, 'VERBOSE names the table');
	like($said, qr/Row versions: 667 removed, 667 live, 0 dead but not yet removable/, 'VERBOSE counts rows');
	like($said, qr/Index entries removed: [1-9]\d+\./, 'and index entries');
	like($said, qr/new relfrozenxid: \d+/, 'and tells ids');

	# stopped in the middle of the table
	my $holder = start_session($node);
	session_query($holder, 'SELECT pg_advisory_lock(30308)');
	session_query($vacuum, "SET vdb.stop_action = 'wait'; SET vdb.stop_point = 'vacuum-before-indexes'");
	print { $vacuum->{to} } "VACUUM off;\n";
	ok($node->poll_query_until('postgres', "SELECT phase = 'scanning heap' AND heap_blks_scanned = heap_blks_total AND heap_blks_vacuumed = heap_blks_total "
		. "FROM pg_stat_progress_vacuum WHERE pid = $pid"), 'progress: the table');
	session_query($holder, 'SELECT pg_advisory_unlock(30308)');
	end_session($holder);
	session_query($vacuum, 'RESET vdb.stop_point');
	is(single('SELECT count(*) FROM off'), '667', 'nothing was lost');
}
end_session($vacuum);

# ---- old snapshots ----
for my $place (qw(scm flash))
{
	fill("old_$place", 3000);
	migrate($node, "old_$place") if $place eq 'flash';
	my $old = start_session($node);
	my $look = "SELECT count(*), sum(hashtextextended(x::text, 0)) FROM old_$place x";
	my $seen = session_query($old, "BEGIN ISOLATION LEVEL REPEATABLE READ; $look");
	single("DELETE FROM old_$place WHERE id % 2 = 0; UPDATE old_$place SET v = 'new' WHERE id % 3 = 0");
	my $now = single($look);
	single("VACUUM old_$place");
	if (has_vdb())
	{
		my $moved = single("SELECT vdb.migrate('old_$place')");
		cmp_ok($moved, '>', $place eq 'scm' ? 3000 : 400, "rows move although an older snapshot is there, $place");
	}
	single("VACUUM old_$place; INSERT INTO old_$place SELECT g, 1, 'later' FROM generate_series(5000, 6000) g; VACUUM old_$place");
	is(session_query($old, $look), $seen, "an old snapshot sees what it saw, $place");
	is(session_query($old, "SET enable_seqscan = off; SELECT count(*) FROM old_$place WHERE g >= 0 AND id > 0"), '3000', "by index, too, $place");
	is(single("$look WHERE id < 5000"), $now, "others see what is there, $place");
	session_query($old, 'COMMIT');
	end_session($old);
	single("VACUUM old_$place");
	is(single("SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'old_$place'"), '0', "then the dead go, $place");
	is(single("$look WHERE id < 5000"), $now, "and only they, $place");
	verify_ok($node, "old_$place");
}

# ---- dead space ----
sub pool_used { return has_vdb() ? single('SELECT used_bytes FROM vdb.pool') : 0; }

sub sizes
{
	my ($table) = @_;
	return (pool_used(), single("SELECT pg_relation_size('$table')"), single("SELECT pg_relation_size('${table}_pkey')"));
}

for my $place (qw(scm flash))
{
	my $table = "space_$place";
	single("CREATE TABLE $table (id int PRIMARY KEY, v text)");
	my (@first, @last);
	for my $round (1 .. 12)
	{
		single("INSERT INTO $table SELECT g, md5(g::text) || md5('$round' || g) FROM generate_series(1, 5000) g");
		migrate($node, $table) if $place eq 'flash';
		single("UPDATE $table SET v = reverse(v) WHERE id % 5 = 0; DELETE FROM $table");
		single("VACUUM $table") for 1 .. 2;
		@last = sizes($table);
		@first = @last if $round == 4;
	}
	my @what = ('the pool', 'the file', 'the index');
	for my $i (0 .. 2)
	{
		cmp_ok($last[$i], '<=', $first[$i] * 1.25 + 16 * 8192, "$what[$i] does not grow with what was deleted, $place");
	}
	is(single("SELECT count(*) FROM $table"), '0', "nothing is left, $place");
	cmp_ok($last[1], '<=', 8 * 8192, "the file is cut, $place");
	if (has_vdb())
	{
		is(single("SELECT pool_rows, striped_rows, stripes, dead_items FROM vdb.tables WHERE relation = '$table'::regclass"), '0|0|0|0', "vdb.tables says so, $place");
	}
	verify_ok($node, $table);
}
is(single("SELECT count(*) FROM vdb.verify_pool() WHERE severity = 'error'"), '0', 'the pool is sound') if has_vdb();
$node->stop;

done_testing();
