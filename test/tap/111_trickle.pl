# Rows that come one by one: they stay in the pool until they make a good stripe, whatever their age, and stripes
# come out full. What waits for ever can still be moved, frozen and rewritten, and gives way when the pool is full.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);
use VdbTest;

plan skip_all => 'vdb only' unless has_vdb();

my $node = new_node('trickle', conf => "vdb.scm_size = '64MB'\nvdb.migrate_after = 100\nautovacuum = off\nfsync = off\nmax_wal_size = 4GB\ncheckpoint_timeout = 1h\n");

sub q1 { return $node->safe_psql('postgres', $_[0]); }
sub where { return q1("SELECT pool_rows, striped_rows, stripes, segments FROM vdb.tables WHERE relation = '$_[0]'::regclass"); }
sub set
{
	my ($conf) = @_;
	$node->append_conf('postgresql.conf', "$conf\n");
	$node->reload;
	return;
}
# WAL bytes for each of so many rows, each in a transaction of its own
sub wal_of
{
	my ($table, $rows) = @_;
	my $before = q1('SELECT pg_current_wal_insert_lsn()');
	q1("DO \$\$ BEGIN FOR i IN 1..$rows LOOP INSERT INTO $table VALUES (i, md5(i::text)); COMMIT; END LOOP; END \$\$");
	sleep 3;
	return q1("SELECT round(pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '$before') / $rows)");
}

# --- a few rows stay, in one segment
q1('CREATE TABLE few (id int, v text)');
my $session = start_session($node);
for my $i (1 .. 101)
{
	session_query($session, "INSERT INTO few VALUES ($i, 'few')");
	sleep 0.03;
}
sleep 7;
is(where('few'), '101|0|0|1', 'a few rows stay in the pool, in one segment');
$node->restart;
q1("INSERT INTO few VALUES (102, 'few')");
sleep 7;
is(where('few'), '102|0|0|2', 'also after a restart, which closes the segment');
$session = start_session($node);

# --- ... but can be frozen, moved and rewritten
q1('VACUUM (FREEZE) few');
cmp_ok(q1("SELECT age(relfrozenxid) FROM pg_class WHERE relname = 'few'"), '<', 5, 'VACUUM freezes them where they are');
is(where('few'), '102|0|0|2', 'and leaves them there');
q1('VACUUM FULL few');
is(q1('SELECT count(*), sum(id) FROM few'), '102|5253', 'VACUUM FULL writes them anew');
q1('CREATE INDEX few_id ON few (id); CLUSTER few USING few_id');
is(q1('SELECT count(*), sum(id) FROM few'), '102|5253', 'and so does CLUSTER');
is(q1("SELECT vdb.migrate('few')"), '102', 'vdb.migrate() moves them');
is(where('few'), '0|102|1|0', 'to a stripe');

# --- a trickle of more than a range makes one full stripe of it, and little WAL
q1('CREATE TABLE heap_twin (id int, v text) USING heap; CREATE TABLE trickle (id int, v text)');
q1('CHECKPOINT');
my $heap = wal_of('heap_twin', 20000);
my $vdb = wal_of('trickle', 70000);
cmp_ok($vdb, '<=', 2 * $heap, "$vdb bytes of WAL a row, with its migration; heap $heap");
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM vdb.stripes('trickle') WHERE range = 0"),
	'one stripe for the first 65,536 row numbers') or diag q1("SELECT * FROM vdb.stripes('trickle')");
cmp_ok(q1("SELECT sum(rows) FROM vdb.stripes('trickle') WHERE range = 0"), '>', 45000, 'a full one');
cmp_ok(q1("SELECT count(*) FROM vdb.stripes('trickle')"), '<=', 2, 'and at most one besides');
is(q1('SELECT count(*), sum(id) FROM trickle'), '70000|2450035000', 'all rows are there');
verify_ok($node, 'trickle');

# --- a load: what is full moves, what is empty is given back, what may still grow stays
q1('CREATE TABLE load (id int, v text)');
q1("INSERT INTO load SELECT g, md5(g::text) FROM generate_series(1, 30000) g");
ok($node->poll_query_until('postgres', "SELECT striped_rows > 20000 FROM vdb.tables WHERE relation = 'load'::regclass"), 'full segments move');
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM vdb.segments('load')"), 'empty ones go') or diag where('load');
sleep 7;
cmp_ok(q1("SELECT pool_rows FROM vdb.tables WHERE relation = 'load'::regclass"), '>', 0, 'the last one waits for more');
is(q1('SELECT count(*), sum(id) FROM load'), '30000|450015000', 'all rows are there');

# --- small stripes are merged when their range gets no more rows
set('vdb.migrate_enabled = off');
q1('CREATE TABLE pieces (id int, v text)');
q1("INSERT INTO pieces SELECT g, 'piece' FROM generate_series(1, $_) g; SELECT vdb.migrate('pieces')") for 20000, 500;
is(q1("SELECT count(*), max(range) FROM vdb.stripes('pieces')"), '2|0', 'two stripes of a range');
q1("INSERT INTO pieces SELECT -1, 'gone' FROM generate_series(1, 60000) g");
q1('DELETE FROM pieces WHERE id < 0');
q1('VACUUM pieces');
is(q1("SELECT count(*) FROM vdb.stripes('pieces')"), '2', 'still, in a range that is complete now');
set('vdb.migrate_enabled = on');
q1("INSERT INTO few VALUES (0, 'wakes the worker')");
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 AND sum(rows) = 20500 FROM vdb.stripes('pieces')"), 'the worker merges them')
  or diag q1("SELECT * FROM vdb.stripes('pieces')");
is(q1('SELECT count(*), sum(id) FROM pieces'), '20500|' . (20000 * 20001 / 2 + 500 * 501 / 2), 'all rows are there');
verify_ok($node, 'pieces');
end_session($session);

# --- a row that can't move is no reason to rewrite a stripe as small: of a transaction in progress, or one that failed with
# an insertion that it had not confirmed
q1('CREATE TABLE failed (id int PRIMARY KEY, k int UNIQUE)');
q1('INSERT INTO failed SELECT g, g FROM generate_series(1, 300) g');
q1("SELECT vdb.migrate('failed')");
q1('UPDATE failed SET k = -k WHERE id = 5');
q1("SELECT vdb.migrate('failed')");
like(error_of($node, 'INSERT INTO failed VALUES (1000, 7) ON CONFLICT (id) DO NOTHING'), qr/duplicate key/, 'an insertion fails');
$session = start_session($node);
session_query($session, 'BEGIN; INSERT INTO failed VALUES (1001, 1001)');
q1("SELECT vdb.migrate('failed')");
my $written = q1('SELECT stripes_written FROM vdb.pool');
is(error_of($node, "SET statement_timeout = '60s'; SELECT vdb.migrate('failed')"), '', 'migration ends');
is(q1('SELECT stripes_written FROM vdb.pool'), $written, 'and writes nothing');
session_query($session, 'COMMIT');
end_session($session);
is(q1("SELECT vdb.migrate('failed')"), '1', 'what has committed moves');
is(q1("SELECT pool_rows FROM vdb.tables WHERE relation = 'failed'::regclass"), '0', 'and nothing stays');

# --- small leftovers in many tables give way when the pool is full
$node->append_conf('postgresql.conf', "vdb.scm_size = '8MB'\n");
$node->restart;
q1('CREATE DATABASE many');
prepare_db($node, 'many');
is(error_of($node, 'DO $$ BEGIN FOR i IN 1..150 LOOP EXECUTE format($q$CREATE TABLE m%s (id int)$q$, i);
	EXECUTE format($q$INSERT INTO m%s VALUES (1), (2), (3)$q$, i); COMMIT; END LOOP; END $$', db => 'many'), '', 'more tables than the pool has segments');
is(error_of($node, "CREATE TABLE big AS SELECT g AS id, md5(g::text) AS v FROM generate_series(1, 50000) g", db => 'many'), '', 'and a load beside them');
is($node->safe_psql('many', 'SELECT count(*) FROM big'), '50000', 'all of it');
my $sum = join(' + ', map { "(SELECT count(*) FROM m$_)" } 1 .. 150);
is($node->safe_psql('many', "SELECT $sum"), '450', 'and all of theirs');
cmp_ok($node->safe_psql('many', "SELECT count(*) FROM vdb.tables WHERE stripes > 0 AND relation <> 'big'::regclass"), '>', 20, 'some have moved');

# --- and before it is full, when nothing has been added to them for long (without the load, for which all of them might go)
is(error_of($node, 'DROP TABLE big; DO $$ BEGIN FOR i IN 1..150 LOOP EXECUTE format($q$INSERT INTO m%s VALUES (4), (5), (6)$q$, i);
	COMMIT; END LOOP; END $$', db => 'many'), '', 'more rows for all of them');
ok($node->poll_query_until('many', 'SELECT row_bytes * 2 < limit_bytes * 15 / 16 - (used_bytes - row_bytes) FROM vdb.pool'),
	'idle leftovers move until the pool is below its mark') or diag $node->safe_psql('many', 'SELECT * FROM vdb.pool');
cmp_ok($node->safe_psql('many', "SELECT count(*) FROM vdb.tables WHERE pool_rows > 0"), '>', 10, 'and no longer');
is($node->safe_psql('many', "SELECT $sum"), '900', 'all rows are there');
$node->stop;
done_testing();
