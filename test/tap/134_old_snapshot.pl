# An old snapshot needs versions that were deleted since.  Their delta records go to flash when the pool fills up: so
# updates, deletes and insertions of other sessions neither fail nor wait, and each snapshot sees what it should, by every
# kind of scan, after a crash and on a standby too.  Once the snapshot has gone VACUUM gives everything back.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

plan skip_all => 'needs a pool' unless has_vdb();
my $node = new_node('old', init => { allows_streaming => 1 }, conf => "vdb.scm_size = '8MB'\nfsync = off\nautovacuum = off\n");
$node->safe_psql('postgres', q{
	CREATE TABLE hot (id int PRIMARY KEY, n bigint);
	INSERT INTO hot SELECT g, 0 FROM generate_series(1, 1000) g;
	CREATE TABLE wide (id int PRIMARY KEY, k int, n bigint, t text);
	CREATE INDEX ON wide (k);
	INSERT INTO wide SELECT g, g % 100, 0, 'text ' || g FROM generate_series(1, 60000) g;
	CREATE TABLE queue (id bigint PRIMARY KEY, n int);
	INSERT INTO queue SELECT g, g FROM generate_series(1, 1000) g;
	CREATE PROCEDURE churn(rounds int) LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1..rounds LOOP
			UPDATE hot SET n = n + 1;
			COMMIT;
			DELETE FROM queue;
			COMMIT;
			INSERT INTO queue SELECT g + i * 1000, g FROM generate_series(1, 1000) g;
			COMMIT;
			UPDATE wide SET n = n + 1 WHERE id % 60 = i % 60;
			COMMIT;
		END LOOP;
	END $$});
$node->safe_psql('postgres', "SELECT vdb.migrate('wide')");
$node->safe_psql('postgres', 'VACUUM wide');

$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->append_conf('postgresql.conf', "hot_standby_feedback = on\nmax_standby_streaming_delay = -1\n");
$standby->start;

# What a snapshot sees, by every kind of scan.
my $off = join '; ', map { "SET $_ = off" } qw(vdb.enable_custom_scan enable_seqscan enable_indexscan enable_indexonlyscan enable_bitmapscan);
my %ways = ('sequential' => 'enable_seqscan', 'custom' => 'vdb.enable_custom_scan', 'index' => 'enable_indexscan', 'bitmap' => 'enable_bitmapscan');
my %nodes = ('sequential' => 'Seq Scan on', 'custom' => 'Custom Scan', 'index' => 'Index Scan', 'bitmap' => 'Bitmap Heap Scan');
my @questions = ('SELECT count(*), sum(id), sum(n) FROM hot WHERE id > 0', 'SELECT count(*), max(id) - min(id), sum(n) FROM queue WHERE id > 0',
	'SELECT count(*), sum(id), sum(n), sum(length(t)) FROM wide WHERE k >= 0');

sub answers
{
	my ($session, $label) = @_;
	my @answers;
	session_query($session, $off);
	foreach my $way (sort keys %ways)
	{
		session_query($session, "SET $ways{$way} = on");
		session_query($session, 'SET enable_seqscan = on') if $way eq 'custom';
		like(session_query($session, "EXPLAIN (COSTS OFF) $questions[2]"), qr/$nodes{$way}/, "$label: plan of $way");
		push @answers, join ' ', map { session_query($session, $_) } @questions;
		session_query($session, $off);
	}
	session_query($session, 'SET enable_indexonlyscan = on');
	push @answers, join ' ', map { session_query($session, "SELECT count(*), sum(id) FROM $_ WHERE id > 0") } qw(hot queue wide);
	session_query($session, 'RESET ALL');
	return @answers;
}

sub all_are
{
	my ($session, $rows, $only, $label) = @_;
	my @answers = answers($session, $label);
	is(pop @answers, $only, "$label: index-only");
	is($answers[$_], $rows, "$label: " . (sort keys %ways)[$_]) foreach 0 .. $#answers;
	return;
}

my $text = $node->safe_psql('postgres', 'SELECT sum(length(t)) FROM wide');
my $far = start_session($standby);
session_query($far, 'BEGIN ISOLATION LEVEL REPEATABLE READ');
is(session_query($far, 'SELECT count(*) FROM hot'), '1000', 'a report begins on the standby');
my $reader = start_session($node);
session_query($reader, 'BEGIN ISOLATION LEVEL REPEATABLE READ');
session_query($reader, 'DECLARE c CURSOR FOR SELECT id, n FROM wide ORDER BY k, id');
is(session_query($reader, 'FETCH 1 FROM c'), '100|0', 'a report begins');
my @old = ("1000|500500|0 1000|999|500500 60000|1800030000|0|$text", '1000|500500 1000|500500 60000|1800030000');

my ($rc, $out, $err) = $node->psql('postgres', 'CALL churn(100)', timeout => patience(600));
is("$rc $err", '0 ', '100,000 updates, deletes and insertions each, 100,000 updates of striped rows: without a warning');
my $overlay = "SELECT sum(delta_rows) + sum(spilled_rows) > 200000, sum(spilled_rows) > 0 FROM unnest('{hot,queue,wide}'::regclass[]) r, vdb.stripes(r)";
is($node->safe_psql('postgres', $overlay), 't|t', 'there are delta records of all, some of them on flash');
cmp_ok($node->safe_psql('postgres', 'SELECT 100 * used_bytes / limit_bytes FROM vdb.pool'), '<', 75, 'the pool is not full');
all_are($reader, @old, 'old snapshot');
is(session_query($reader, 'MOVE 30000 FROM c'), '', 'the cursor goes on');
is(session_query($reader, 'FETCH 1 FROM c'), $node->safe_psql('postgres', 'SELECT id || \'|0\' FROM wide ORDER BY k, id OFFSET 30001 LIMIT 1'), 'the cursor');
my $new = start_session($node);
my @new = ("1000|500500|100000 1000|999|500500 60000|1800030000|100000|$text", '1000|500500 1000|100500500 60000|1800030000');
all_are($new, @new, 'new snapshot');
verify_ok($node, $_) foreach qw(hot queue wide);
end_session($new);
$node->wait_for_catchup($standby, 'replay');
all_are($far, @old, 'old snapshot of the standby');
end_session($far);
$new = start_session($standby);
all_are($new, @new, 'new snapshot of the standby');
end_session($new);
$standby->stop;

kill_all($node);
$node->start;
$new = start_session($node);
all_are($new, @new, 'after a crash');
end_session($new);
end_session($reader);
verify_ok($node, $_) foreach qw(hot queue wide);
$node->safe_psql('postgres', "VACUUM $_") foreach qw(hot queue wide);
is($node->safe_psql('postgres', "SELECT sum(delta_rows), sum(spilled_rows), sum(rows) < 100000 FROM unnest('{hot,queue,wide}'::regclass[]) r, vdb.stripes(r)"), '0|0|t', 'VACUUM has removed them');
verify_ok($node, $_) foreach qw(hot queue wide);
is($node->safe_psql('postgres', join ';', @questions), join("\n", split / /, $new[0]), 'and nothing else');
$node->stop;
done_testing();
