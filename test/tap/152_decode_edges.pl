# Logical decoding where it is not like replaying statements: insertions that are taken back, rows that somebody else was faster to
# change, rows whose transaction is streamed in pieces, tables and the pool gone before they are decoded. And what it costs:
# memory, and that a slot holds back neither migration nor the pool's space.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

plan skip_all => 'about vdb' unless has_vdb();

my $node = new_node('edges', init => { allows_streaming => 'logical' },
	conf => "autovacuum = off\nvdb.migrate_enabled = off\nlogical_decoding_work_mem = 64kB\nfull_page_writes = off\nmax_wal_size = 4GB\n");
my $random = q{CREATE FUNCTION r(n int, seed int) RETURNS text LANGUAGE sql AS $$ SELECT string_agg(md5((g * 1000 + seed)::text), '') FROM generate_series(1, n / 32) g $$};
$node->safe_psql('postgres', $random);

sub new_slot
{
	my ($plugin) = @_;
	$node->psql('postgres', "SELECT pg_drop_replication_slot('s')");
	$node->safe_psql('postgres', "SELECT pg_create_logical_replication_slot('s', '" . ($plugin // 'test_decoding') . "')");
	return;
}

sub changes
{
	my (%opt) = @_;
	return $node->safe_psql('postgres', "SELECT data FROM pg_logical_slot_get_changes('s', NULL, NULL, " .
		($opt{options} // "'include-xids', '0', 'skip-empty-xacts', '1'") . ')');
}

sub short { return $_[0] =~ s/'([^']{20})[^']{200,}'/"'$1..." . length($&) . "'"/ger; }

sub send_query { my ($session, $sql) = @_; print { $session->{to} } "$sql;\n"; return; }

sub wait_until
{
	my ($what) = @_;
	$node->poll_query_until('postgres', "SELECT count(*) > 0 FROM pg_stat_activity WHERE $what AND pid <> pg_backend_pid()") or die "not reached: $what";
	return;
}

# ---- insertions taken back ----

new_slot();
$node->safe_psql('postgres', 'CREATE TABLE t (a int PRIMARY KEY, w text); ALTER TABLE t ALTER w SET STORAGE EXTERNAL');
my $one = start_session($node);
my $two = start_session($node);
# the first stops between its row and the index entry, the second is through meanwhile
my $holder = start_session($node);
session_query($holder, 'SELECT pg_advisory_lock(30308)');
session_query($one, "SET vdb.stop_point = 'table-insert-stored'");
send_query($one, "INSERT INTO t VALUES (1, r(30000, 1)) ON CONFLICT (a) DO UPDATE SET w = 'updated'");
wait_until("wait_event_type = 'Extension' AND query LIKE 'INSERT%'");
session_query($two, "INSERT INTO t VALUES (1, r(40000, 2))");
session_query($holder, 'SELECT pg_advisory_unlock(30308)');
session_query($one, "RESET vdb.stop_point");
end_session($holder);
is($node->safe_psql('postgres', 'SELECT a, w FROM t'), '1|updated', 'the first came to a conflict after it had stored its row');
my $wide = $node->safe_psql('postgres', 'SELECT r(40000, 2)');
ok(changes() eq "BEGIN\ntable public.t: INSERT: a[integer]:1 w[text]:'$wide'\nCOMMIT\nBEGIN\ntable public.t: UPDATE: a[integer]:1 w[text]:'updated'\nCOMMIT",
	'what was taken back is not in the stream');

# ---- somebody was faster: pages of a wide row that is never stored, chunks of an old row that is not replaced ----

$node->safe_psql('postgres', 'TRUNCATE t; ALTER TABLE t REPLICA IDENTITY FULL');
$node->safe_psql('postgres', 'INSERT INTO t SELECT g, r(20000, g) FROM generate_series(1, 3) g');
changes();
session_query($one, "BEGIN; UPDATE t SET w = w || 'first' WHERE a <= 2");
session_query($two, 'BEGIN; INSERT INTO t VALUES (10, r(30000, 10))');
send_query($two, "UPDATE t SET w = w || 'second' WHERE a = 1; DELETE FROM t WHERE a = 2; INSERT INTO t VALUES (11, r(30000, 11)); COMMIT");
wait_until("wait_event_type = 'Lock'");
session_query($one, 'COMMIT');
session_query($two, 'SELECT 1');
my $stream = changes();
like($stream, qr/old-key: a\[integer\]:1 w\[text\]:'[0-9a-f]{20000}first' new-tuple: a\[integer\]:1 w\[text\]:'[0-9a-f]{20000}firstsecond'/, 'the second update has the first\'s row as its old one');
like($stream, qr/DELETE: a\[integer\]:2 w\[text\]:'[0-9a-f]{20000}first'/, '... and so has the delete');
is(scalar(() = $stream =~ /INSERT: a\[integer\]:1[01] w\[text\]:'[0-9a-f]{29984}'/g), 2, 'the wide rows beside are whole');

# ---- streamed in pieces ----

for my $session ($one, $two)
{
	session_query($session, 'BEGIN');
}
for my $i (1 .. 6)
{
	session_query($one, "INSERT INTO t VALUES (100 + $i, r(40000, $i)); UPDATE t SET w = r(30000, $i) WHERE a = 3; SAVEPOINT x; INSERT INTO t VALUES (200, r(50000, 1)); ROLLBACK TO x");
	session_query($two, "INSERT INTO t VALUES (300 + $i, r(40000, $i)); DELETE FROM t WHERE a = 300 + $i - 1");
	$node->safe_psql('postgres', "SELECT count(*) FROM pg_logical_slot_peek_changes('s', NULL, NULL, 'stream-changes', '1')");
}
my $streamed = $node->safe_psql('postgres', "SELECT data FROM pg_logical_slot_peek_changes('s', NULL, NULL, 'include-xids', '1', 'stream-changes', '1')");
like($streamed, qr/opening a streamed block.*opening a streamed block/s, 'two transactions are streamed while they run');
session_query($one, 'COMMIT');
session_query($two, 'ROLLBACK');
$stream = changes(options => "'include-xids', '0', 'skip-empty-xacts', '1', 'stream-changes', '1'");
# 18 looks whether a transaction has aborted before it streams it
is(scalar(() = $stream =~ /^streaming change/gm), $node->pg_version < 18 ? 23 : 12, 'twelve changes of the one that committed, and, up to 17, eleven of the one that was streamed before it aborted');
end_session($_) for $one, $two;

# ---- from WAL alone ----

$node->safe_psql('postgres', 'CREATE TABLE gone (a int PRIMARY KEY, b text) ; ALTER TABLE gone ALTER b SET STORAGE EXTERNAL');
changes();
$node->safe_psql('postgres', "INSERT INTO gone SELECT g, CASE WHEN g % 100 = 0 THEN r(20000, g) ELSE 'b' || g END FROM generate_series(1, 1000) g");
migrate($node, 'gone');
$node->safe_psql('postgres', 'UPDATE gone SET a = a + 5000 WHERE a % 10 = 0');
$node->safe_psql('postgres', 'DELETE FROM gone WHERE a < 100');
migrate($node, 'gone');
$node->safe_psql('postgres', 'VACUUM gone');
my $sum = "SELECT md5(string_agg(data, '' ORDER BY n)) FROM (SELECT data, row_number() OVER () AS n FROM pg_logical_slot_peek_changes('s', NULL, NULL, 'include-xids', '0', 'skip-empty-xacts', '1')) x";
my $before = $node->safe_psql('postgres', $sum);
is($node->safe_psql('postgres', "SELECT count(*) FILTER (WHERE data LIKE '%INSERT%'), count(*) FILTER (WHERE data LIKE '%UPDATE%old-key%'), count(*) FILTER (WHERE data LIKE '%DELETE%')
	FROM pg_logical_slot_peek_changes('s', NULL, NULL)"), '1000|100|90', 'a table with its rows in stripes');
$node->safe_psql('postgres', 'ALTER TABLE gone DROP COLUMN b, ADD COLUMN c text DEFAULT now(); ALTER TABLE gone ALTER a TYPE bigint, REPLICA IDENTITY FULL; ALTER TABLE gone SET ACCESS METHOD heap');
is($node->safe_psql('postgres', $sum), $before, '... is decoded as it was then, when columns, types and access method are others');
$node->safe_psql('postgres', 'SET client_min_messages = error; DROP TABLE gone, t; DROP EXTENSION vdb_am CASCADE');
$node->restart;
is($node->safe_psql('postgres', $sum), $before, '... and without table, pool and extension');
changes();
prepare_db($node, 'postgres');
is(changes(), '', 'the extension and its pool are made without an event');

# ---- a slot holds back only WAL and catalog ----

$node->safe_psql('postgres', 'CREATE TABLE held (a int PRIMARY KEY, b text)');
$node->safe_psql('postgres', 'INSERT INTO held SELECT g, md5(g::text) FROM generate_series(1, 30000) g');
my $used = "SELECT pool_rows, striped_rows FROM vdb.tables WHERE relation = 'held'::regclass";
$node->safe_psql('postgres', 'DELETE FROM held WHERE a % 2 = 0');
migrate($node, 'held');
is($node->safe_psql('postgres', $used), '0|15000', 'with a slot far behind, migration moves all rows and drops the dead');
$node->safe_psql('postgres', 'UPDATE held SET b = NULL; DELETE FROM held WHERE a < 20000');
migrate($node, 'held');
$node->safe_psql('postgres', 'VACUUM held');
migrate($node, 'held');
is($node->safe_psql('postgres', $used), '0|5000', '... and VACUUM, too');
is($node->safe_psql('postgres', "SELECT xmin IS NULL, catalog_xmin IS NOT NULL FROM pg_replication_slots WHERE slot_name = 's'"), 't|t', '... since the slot has no xmin but the catalog\'s');

# ---- memory ----

$node->safe_psql('postgres', "INSERT INTO held SELECT g, md5(g::text) FROM generate_series(100000, 500000) g");
my $session = start_session($node);
my $pid = session_query($session, 'SELECT pg_backend_pid()');
my $resident = sub { my ($kb) = slurp_file("/proc/$pid/status") =~ /RssAnon:\s+(\d+)/; return $kb; };
session_query($session, "SELECT count(*) FROM pg_logical_slot_peek_changes('s', NULL, 10)");
my $least = $resident->();
session_query($session, "SELECT count(*) FROM pg_logical_slot_get_changes('s', NULL, NULL, 'skip-empty-xacts', '1')");
# the function keeps its rows in a tuple store of work_mem
cmp_ok($resident->() - $least, '<', 30_000, 'kB more of memory at the end of 400,000 rows');
end_session($session);
cmp_ok($node->safe_psql('postgres', "SELECT spill_bytes FROM pg_stat_replication_slots WHERE slot_name = 's'"), '>', 20_000_000, '... which were spilled to disk while they were decoded');

$node->stop;
done_testing();
