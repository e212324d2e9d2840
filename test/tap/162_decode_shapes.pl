# Decoded rows of unusual shape and from unusual places, as heap's: tables in other tablespaces, keys and unchanged values beyond column 254,
# rows of many MB (VDB_DECODE_MB, up to some hundred) as new and old rows; batches of wide rows streamed in turns with others; insertions
# taken back in transactions that are streamed; decoding again after an error, and after a slot was advanced over wide rows.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;
use DecodeTest;

plan skip_all => 'test_decoding is not installed' unless has_plugin('test_decoding');

my $mb = $ENV{VDB_DECODE_MB} || 24;
my $node = new_node('shapes', init => { allows_streaming => 'logical' },
	conf => "autovacuum = off\nvdb.migrate_enabled = off\nlogical_decoding_work_mem = 64kB\nallow_in_place_tablespaces = on\nmax_wal_size = 4GB\n");
$node->safe_psql('postgres', random_text());
$node->safe_psql('postgres', "CREATE TABLESPACE elsewhere LOCATION ''");
$node->safe_psql('postgres', "SELECT pg_create_logical_replication_slot('$_', 'test_decoding')") for qw(s other);
$node->safe_psql('postgres', "SELECT pg_create_logical_replication_slot('p', 'pgoutput')");

sub get
{
	my ($slot, $options) = @_;
	return $node->safe_psql('postgres', "SELECT data FROM pg_logical_slot_get_changes('$slot', NULL, NULL, 'include-xids', '0', 'skip-empty-xacts', '1'" . ($options // '') . ')');
}

sub same_stream
{
	my ($label, $script, $has) = @_;
	my $heap;
	for my $run ([ 'heap', 'off' ], has_vdb() ? ([ 'vdb', 'off' ], [ 'vdb', 'resolved' ], [ 'vdb', 'all' ]) : ())
	{
		my ($am, $moves) = @$run;
		get('s');
		my $moved = run_script($node, $am, $moves, $script);
		my $stream = sorted_changes(get('s'));
		if ($am eq 'heap') { $heap = $stream; like($heap, $has, "$label: heap's stream has what it is about"); next; }
		ok($stream eq $heap, "$label, moves $moves: as heap") or diag(first_difference($stream, $heap));
		cmp_ok($moved, '>', 0, "$label, moves $moves: rows moved") if $moves ne 'off';
	}
	return;
}

# ---- other tablespaces ----

same_stream('another tablespace', q{
CREATE TABLE t (a int PRIMARY KEY, b text, c text) TABLESPACE elsewhere;
ALTER TABLE t ALTER b SET STORAGE EXTERNAL;
INSERT INTO t SELECT g, r(g * 3000, g), 'c' FROM generate_series(1, 8) g;
UPDATE t SET c = 'd';
UPDATE t SET a = a + 100 WHERE a < 4;
ALTER TABLE t SET TABLESPACE pg_default;
UPDATE t SET c = 'e' WHERE a > 5;
BEGIN; DELETE FROM t WHERE a = 5; ALTER TABLE t SET TABLESPACE elsewhere; DELETE FROM t WHERE a = 6; INSERT INTO t VALUES (9, r(20000, 9), 'f'); COMMIT;
ALTER TABLE t REPLICA IDENTITY FULL;
UPDATE t SET c = 'g';
DELETE FROM t;
}, qr/unchanged-toast-datum/);

# ---- many columns ----

same_stream('columns beyond 254', q{
SELECT 'CREATE TABLE t (' || string_agg('c' || g || ' int', ', ') || ', k int NOT NULL UNIQUE, k2 text NOT NULL, w text, v text, UNIQUE (k2, k))' FROM generate_series(1, 280) g \gexec
ALTER TABLE t ALTER w SET STORAGE EXTERNAL, ALTER v SET STORAGE EXTERNAL;
CREATE UNIQUE INDEX i ON t (k, k2);
ALTER TABLE t REPLICA IDENTITY USING INDEX i;
INSERT INTO t (c1, k, k2, w, v) SELECT g, g, 'k' || g, r(2500, g), r(12000, g) FROM generate_series(1, 6) g;
UPDATE t SET c280 = 1;
UPDATE t SET k = k + 100 WHERE k < 3;
UPDATE t SET w = 'w' WHERE k = 4;
DELETE FROM t;
}, qr/old-key: k\[integer\]:1 .*unchanged-toast-datum/);

# ---- rows of many MB ----

{
	my %got;
	my $part = int($mb / 4);
	for my $am ('heap', has_vdb() ? 'vdb' : ())
	{
		$node->safe_psql('postgres', "SELECT pg_replication_slot_advance('p', pg_current_wal_lsn())");
		run_script($node, $am, 'resolved', "
CREATE TABLE t (a int PRIMARY KEY, b text, c text, d text, e text);
ALTER TABLE t ALTER b SET STORAGE EXTERNAL, ALTER c SET STORAGE EXTERNAL, ALTER d SET STORAGE EXTERNAL, ALTER e SET STORAGE EXTERNAL;
CREATE PUBLICATION big FOR TABLE t;
INSERT INTO t SELECT 1, repeat('b', n), repeat('cc', n / 2), repeat('1234', n / 4), repeat('e', n) FROM (SELECT $part << 20) x (n);
UPDATE t SET a = 2, b = 'b';
ALTER TABLE t REPLICA IDENTITY FULL;
UPDATE t SET c = 'c';
DELETE FROM t;
");
		# without the relation's OID
		$got{$am} = $node->safe_psql('postgres', q{SELECT substr(data, 1, 1), length(data), md5(substr(data, 6)) FROM pg_logical_slot_peek_binary_changes('p', NULL, NULL, 'proto_version', '1', 'publication_names', 'big') WHERE substr(data, 1, 1) IN ('I', 'U', 'D')});
		$node->safe_psql('postgres', q{SELECT pg_replication_slot_advance('p', pg_current_wal_lsn()); DROP PUBLICATION big});
	}
	my ($longest) = sort { $b <=> $a } map { (split /\|/)[1] } split(/\n/, $got{heap});
	cmp_ok($longest, '>', $part << 22, "heap's longest message has more than $mb MB") or diag($got{heap});
	is(scalar(split(/\n/, $got{heap})), 4, 'four messages');
	is($got{vdb}, $got{heap}, 'rows of many MB, new and old: as heap') if has_vdb();
}

# ---- decoding again ----

$node->safe_psql('postgres', 'SET client_min_messages = error; DROP SCHEMA s CASCADE; CREATE TABLE t (a int PRIMARY KEY, w text); ALTER TABLE t ALTER w SET STORAGE EXTERNAL; CREATE PUBLICATION fails FOR TABLE t WHERE (1 / (a - 2) < 7)');
get($_) for qw(s other);
$node->safe_psql('postgres', "INSERT INTO t SELECT g, r(30000, g) FROM generate_series(1, 3) g");
my $session = start_session($node);
for my $time ('once', 'again')
{
	like(session_query($session, "SELECT count(*) FROM pg_logical_slot_peek_binary_changes('p', NULL, NULL, 'proto_version', '1', 'publication_names', 'fails')"),
		qr/division by zero/, "an error when pages have been read, $time");
	is(session_query($session, "SELECT count(*) FROM pg_logical_slot_peek_changes('s', NULL, NULL, 'skip-empty-xacts', '1') WHERE data ~ 'INSERT' AND length(data) > 29984"),
		'3', "... and the session decodes another slot, $time");
}
end_session($session);
is($node->safe_psql('postgres', q{SELECT count(*), sum((a.data = b.data)::int) FROM pg_logical_slot_peek_changes('s', NULL, NULL, 'skip-empty-xacts', '1') WITH ORDINALITY a
	JOIN pg_logical_slot_get_changes('other', NULL, NULL, 'skip-empty-xacts', '1') WITH ORDINALITY b USING (ordinality)}), '5|5', 'two slots in one query');

my $before = $node->safe_psql('postgres', 'SELECT pg_current_wal_lsn()');
$node->safe_psql('postgres', "INSERT INTO t VALUES (4, r(30000, 4))");
$node->safe_psql('postgres', "SELECT pg_replication_slot_advance('s', '$before')");
is(scalar(() = get('s') =~ /INSERT: a\[integer\]:\d+/g), 1, 'a slot advanced over wide rows goes on after them');

# ---- a batch of wide rows, streamed while others are streamed, too ----

{
	get('s');
	$node->safe_psql('postgres', q{DROP TABLE t; CREATE TABLE t (a int PRIMARY KEY, w text); ALTER TABLE t ALTER w SET STORAGE EXTERNAL; CREATE PUBLICATION wide FOR TABLE t});
	$node->safe_psql('postgres', "SELECT pg_replication_slot_advance('p', pg_current_wal_lsn())");
	my $file = $node->basedir . '/wide';
	$node->safe_psql('postgres', "COPY (SELECT g, r(20000 + 1000 * (g % 3), g) FROM generate_series(1, 12) g) TO '$file'");
	my ($one, $two) = map { start_session($node) } 1 .. 2;
	session_query($_, 'BEGIN') for $one, $two;
	for my $turn (1, 2)
	{
		session_query($one, "COPY t FROM '$file'");
		session_query($two, "INSERT INTO t SELECT g, 'two' FROM generate_series(10000 * $turn, 10000 * $turn + 1500) g");
		session_query($one, "UPDATE t SET a = a + 100 * $turn WHERE a < 100");
	}
	session_query($_, 'COMMIT') for $one, $two;
	end_session($_) for $one, $two;
	my $stream = get('s', ", 'stream-changes', '1'");
	is(scalar(() = $stream =~ /^streaming change/gm), 48 + 3002, 'two transactions streamed in turns, one by batches of wide rows: all changes');
	is($node->safe_psql('postgres', q{SELECT count(*), min(length(data)) > 20000 FROM pg_logical_slot_get_binary_changes('p', NULL, NULL, 'proto_version', '2', 'publication_names', 'wide', 'streaming', 'on')
		WHERE get_byte(data, 0) = ascii('I') AND length(data) > 200}), '24|t', '... with all their bytes');
}

# ---- taken back, and streamed ----

if (has_vdb())
{
	get('s');
	my ($one, $two, $holder) = map { start_session($node) } 1 .. 3;
	session_query($holder, 'SELECT pg_advisory_lock(30308)');
	session_query($one, "BEGIN; INSERT INTO t SELECT g, 'streamed' FROM generate_series(1000, 3000) g; SET vdb.stop_point = 'table-insert-stored'");
	print { $one->{to} } "INSERT INTO t VALUES (50, r(30000, 50)), (51, 'through') ON CONFLICT (a) DO UPDATE SET w = 'updated';\n";
	$node->poll_query_until('postgres', "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Extension' AND query LIKE 'INSERT%(50%'") or die 'the insertion does not stop';
	session_query($two, "INSERT INTO t VALUES (50, 'second')");
	session_query($holder, 'SELECT pg_advisory_unlock(30308)');
	session_query($one, "RESET vdb.stop_point; INSERT INTO t SELECT g, 'streamed' FROM generate_series(4000, 6000) g; SAVEPOINT x; INSERT INTO t VALUES (51, r(40000, 1)) ON CONFLICT (a) DO NOTHING; ROLLBACK TO x; COMMIT");
	my $stream = get('s', ", 'stream-changes', '1'");
	like($stream, qr/opening a streamed block/, 'the transaction is streamed');
	is($node->safe_psql('postgres', 'SELECT w FROM t WHERE a = 50'), 'updated', '... and an insertion of it was taken back');
	# in a stream test_decoding prints changes without their rows: 4002 insertions, the update, the row that was through
	is(scalar(() = $stream =~ /^streaming change/gm), 4004, '... which is not in the stream');
	end_session($_) for $one, $two, $holder;
}

$node->stop;
done_testing();
