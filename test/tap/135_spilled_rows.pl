# Rows whose delta records are in a spill: what a check of one needs of flash is read without the lock of its block, so others
# write there meanwhile; keys of old versions can be locked, and the lock ends without a trace; the spills that a stripe has had
# while an old snapshot stays take little of flash in all.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);
use VdbTest;

plan skip_all => 'needs stripes' unless has_vdb();
plan skip_all => 'no C compiler' if system('cc --version >/dev/null 2>&1') != 0;

my $node = new_node('spilled', conf => "vdb.migrate_enabled = off\nautovacuum = off\nshared_buffers = 1MB\nvdb.shared_cache = 0\nvdb.scm_size = '16MB'\n");

# Rows with odd ids stay, those with even ones are updated, under an old snapshot: 31 blocks with spilled delta records, then
# others without.
$node->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY, n int);
	INSERT INTO t SELECT g, 0 FROM generate_series(1, 8000) g;
	CREATE TABLE child (t int REFERENCES t);
	CREATE PROCEDURE fill() LANGUAGE plpgsql AS $$ BEGIN
		FOR i IN 1..20 LOOP
			EXECUTE format('CREATE TABLE other_%s (v text) USING heap', i);
			EXECUTE format('INSERT INTO other_%s SELECT repeat(md5(g::text), 50) FROM generate_series(1, 96) g', i);
		END LOOP;
	END $$;
	CREATE PROCEDURE read_others() LANGUAGE plpgsql AS $$ BEGIN
		FOR i IN 1..60 LOOP EXECUTE format('SELECT count(*) FROM other_%s', i % 20 + 1); END LOOP;
	END $$;
	CALL fill()});
my $old = start_session($node);
session_query($old, 'BEGIN ISOLATION LEVEL REPEATABLE READ');
is(session_query($old, 'SELECT sum(n) FROM t'), '0', 'a report begins');
$node->safe_psql('postgres', 'UPDATE t SET n = 1 WHERE id % 2 = 0');
migrate($node, 't');
is($node->safe_psql('postgres', "SELECT count(*), sum(spilled_rows), sum(delta_rows) FROM vdb.stripes('t')"), '1|4000|0', 'the delta records are in a spill');
my $first = $node->safe_psql('postgres', 'SELECT min(ctid) FROM t WHERE id = 1');
is($first, '(0,1)', 'row 1 is the first');

# 1. The key of a version that was updated is locked: its multixact stands in the pool, and goes before the spill
is(session_query($old, 'SELECT n FROM t WHERE id = 2 FOR KEY SHARE'), '0', 'an old version is locked');
is($node->safe_psql('postgres', "SELECT sum(spilled_rows), sum(delta_rows) FROM vdb.stripes('t')"), '4000|2', 'and the newer one: that is in the pool');
is($node->safe_psql('postgres', 'SELECT count(*), sum(n) FROM t WHERE id = 2'), '1|1', 'others see the new version alone');
like(error_of($node, "SET lock_timeout = '100ms'; DELETE FROM t WHERE id = 2"), qr/lock timeout/, 'whose key is locked, too');
$node->safe_psql('postgres', "INSERT INTO child VALUES (2); UPDATE t SET n = n + 1 WHERE id = 2");
verify_ok($node, 't', 'locked: t verifies');
session_query($old, 'COMMIT');
# a snapshot as old as the update, for what follows
$node->safe_psql('postgres', 'DELETE FROM child; VACUUM t');
is($node->safe_psql('postgres', "SELECT sum(spilled_rows), sum(delta_rows) FROM vdb.stripes('t')"), '0|0', 'VACUUM drops the spill');
is($node->safe_psql('postgres', 'SELECT count(*), sum(n) FROM t'), '8000|4001', 'and no row');
verify_ok($node, 't', 'vacuumed: t verifies');

# 2. A disk that takes its time to read. Half of the rows of other blocks are updated and spilled; one of the others is locked by
# a prepared transaction, so that whoever locks it, too, need not look into the spill.
$node->safe_psql('postgres', 'TRUNCATE child, t; INSERT INTO t SELECT g, 0 FROM generate_series(1, 8000) g');
session_query($old, 'BEGIN ISOLATION LEVEL REPEATABLE READ');
is(session_query($old, 'SELECT sum(n) FROM t'), '0', 'another report begins');
$node->safe_psql('postgres', 'UPDATE t SET n = 1 WHERE id % 2 = 0');
migrate($node, 't');
is($node->safe_psql('postgres', "SELECT sum(spilled_rows) FROM vdb.stripes('t')"), '4000', 'there is a spill again');
$node->safe_psql('postgres', "BEGIN; SELECT FROM t WHERE id = 3 FOR SHARE; PREPARE TRANSACTION 'holder'");
session_query($old, 'COMMIT');
end_session($old);
slow_disk_start($node);
my $path = $node->safe_psql('postgres', "SELECT pg_relation_filepath('t')");
my $log = $node->basedir . '/slow_disk.log';
my $wait = 4;
my $writer = start_session($node);
session_query($writer, 'SET enable_seqscan = off');

sub reads { return -e $log ? scalar(() = slurp_file($log) =~ /^read .*\/\Q$path\E$/mg) : 0; }

my @check = ('psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', "SELECT currtid2('t', '(0,1)')");

# Nothing of the table is in memory that the writer's session doesn't have itself.
sub cool_down
{
	is(session_query($writer, 'SELECT n FROM t WHERE id = 3 FOR SHARE'), '0', 'the writer has what it needs');
	$node->safe_psql('postgres', 'CALL read_others()') for 1 .. 3;
	unlink $log;
	return;
}

# One session checks row 1, and is at the read of this number for it; meanwhile the writer locks row 3 of the same block.
sub beside
{
	my ($number) = @_;
	my $label = "read $number";
	cool_down();
	slow_disk($node, "read /$path\$ " . $wait * 1000);
	my ($out, $err) = ('', '');
	my $reader = IPC::Run::start([ @check ], '>', \$out, '2>', \$err);
	my $begin = time;
	sleep 0.02 while reads() < $number && time - $begin < $PostgreSQL::Test::Utils::timeout_default;
	my $read = reads();
	is($read, $number, "$label: a session reads");
	$begin = time;
	is(session_query($writer, 'SELECT n FROM t WHERE id = 3 FOR SHARE'), '0', "$label: the writer locks its row");
	my $took = time - $begin;
	is(reads(), $read, "$label: while the other reads");
	cmp_ok($took, '<', $wait / 2, "$label: without waiting for it");
	$reader->finish;
	is("$out$err", "(0,1)\n", "$label: the other finds its row");
	slow_disk($node);
	return;
}

# the metapage, the stripe's index, the spill
cool_down();
slow_disk($node, "read /$path\$ 0");
IPC::Run::run([ @check ]);
my $number = reads();
cmp_ok($number, '>', 2, "$number reads are for a check");
beside($_) for 1 .. $number;
$node->safe_psql('postgres', "COMMIT PREPARED 'holder'");
verify_ok($node, 't', 'beside each other: t verifies');
end_session($writer);

# 3. An old snapshot stays; rows of a full stripe are updated bit by bit, and the pool is pressed. The spills that replace each other
# take flash until the snapshot ends: five times the last one at most.
$node->safe_psql('postgres', q{
	CREATE TABLE big (id int PRIMARY KEY, n int);
	INSERT INTO big SELECT g, 0 FROM generate_series(1, 65536) g});
migrate($node, 'big');
$node->safe_psql('postgres', 'VACUUM big');
$old = start_session($node);
session_query($old, 'BEGIN ISOLATION LEVEL REPEATABLE READ');
is(session_query($old, 'SELECT sum(n) FROM big'), '0', 'a long report begins');
my $pages = $node->safe_psql('postgres', "SELECT pages FROM vdb.stripes('big')");
$node->append_conf('postgresql.conf', "vdb.migrate_enabled = on\nvdb.migrate_high_water = 1\n");
$node->reload;
for my $i (0 .. 31)
{
	$node->safe_psql('postgres', "UPDATE big SET n = 1 WHERE id % 32 = $i");
}
my $spilled = 'SELECT max(spilled_rows) FROM vdb.stripes(\'big\') WHERE range = 0';
my $begin = time;
sleep 0.2 while $node->safe_psql('postgres', $spilled) < 50000 && time - $begin < $PostgreSQL::Test::Utils::timeout_default;
cmp_ok($node->safe_psql('postgres', $spilled), '>=', 50000, 'most delta records are on flash');
my $bytes = $node->safe_psql('postgres', "SELECT main_fork_bytes FROM vdb.tables WHERE relation = 'big'::regclass");
note("$bytes bytes of flash, of which the first stripe takes " . $pages * 8192);
cmp_ok($bytes, '<', 5 * 65536 * 40 + 2 * 8192 * $pages, 'the spills before the last one take little');
is(session_query($old, 'SELECT count(*), sum(n) FROM big'), '65536|0', 'the report sees the same');
is($node->safe_psql('postgres', 'SELECT count(*), sum(n) FROM big'), '65536|65536', 'others the new rows');
verify_ok($node, 'big');
end_session($old);
$node->stop;
done_testing();
