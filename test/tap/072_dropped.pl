# What dropped tables have in the pool is freed soon, also where nothing else happens in the database and no time of the worker's own
# would bring it: each way of dropping wakes it.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

plan skip_all => 'vdb only' unless has_vdb();

# the worker comes by itself only after half of migrate_after: longer than anything waits here
my $node = new_node('dropped', conf => "vdb.scm_size = '64MB'\nvdb.migrate_after = '1h'\nvdb.migrate_high_water = 100\nautovacuum = off\nfsync = off\n");

sub q1 { return $node->safe_psql('postgres', $_[0]); }
sub used { return q1('SELECT used_bytes FROM vdb.pool'); }
my $rows = "SELECT g AS id, repeat(md5(g::text), 20) AS v FROM generate_series(1, 1500) g";

# No worker, and none that is asked for: the launcher has looked for some time.
sub idle
{
	my $seen = 0;
	for (1 .. 600)
	{
		$seen = q1("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'vdb migration worker'") == 0 ? $seen + 1 : 0;
		return if $seen == 15;
		select(undef, undef, undef, 0.2);
	}
	fail('the worker ends');
	return;
}

# Some tables' worth of space is given back.
sub frees
{
	my ($what, $before, $bytes) = @_;
	ok($node->poll_query_until('postgres', "SELECT used_bytes <= $before - $bytes FROM vdb.pool"), "$what: space is freed") or diag used();
	return;
}

sub drops
{
	my ($what, $make, $drop) = @_;
	q1($make);
	idle();
	my $before = used();
	q1($drop);
	frees($what, $before, 1000000);
	return;
}

q1('CREATE SCHEMA many');
q1("SELECT format('CREATE TABLE many.t%s AS SELECT 1 AS a', g) FROM generate_series(1, 100) g \\gexec");
idle();
my $before = used();
q1('DROP SCHEMA many CASCADE');
frees('a hundred tables', $before, 100 * 65536);

drops('DROP', "CREATE TABLE a AS $rows", 'DROP TABLE a');
drops('TRUNCATE', "CREATE TABLE b AS $rows", 'TRUNCATE b');
drops('REFRESH', "CREATE TABLE c AS $rows; CREATE MATERIALIZED VIEW m AS SELECT * FROM c; ALTER TABLE c RENAME TO d; TRUNCATE d", 'REFRESH MATERIALIZED VIEW m');
drops('VACUUM FULL', "CREATE TABLE e AS $rows; DELETE FROM e", 'VACUUM FULL e');
drops('SET ACCESS METHOD', "CREATE TABLE f AS $rows", 'ALTER TABLE f SET ACCESS METHOD heap');
drops('COMMIT PREPARED', "CREATE TABLE g AS $rows; BEGIN; DROP TABLE g; PREPARE TRANSACTION 'g'", "COMMIT PREPARED 'g'");
drops('ROLLBACK PREPARED', "BEGIN; CREATE TABLE h AS $rows; PREPARE TRANSACTION 'h'", "ROLLBACK PREPARED 'h'");

# made in vain
for my $case (['an abort', 'ROLLBACK'], ['an abort of a part', 'ROLLBACK TO a; COMMIT'], ['the end of a session', ''])
{
	my ($what, $end) = @$case;
	my $session = start_session($node);
	session_query($session, $end ? "BEGIN; CREATE TABLE z (a int); SAVEPOINT a; CREATE TABLE y AS $rows" : "CREATE TEMP TABLE x AS $rows");
	idle();
	$before = used();
	session_query($session, $end) if $end;
	end_session($session);
	frees($what, $before, 1000000);
	q1('DROP TABLE IF EXISTS z');
}
is(q1('SELECT count(*) FROM vdb.verify_pool()'), '0', 'the pool is sound');
$node->stop;
done_testing();
