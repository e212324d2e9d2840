# One transaction deletes, or locks, far more rows on flash than the pool would have room for at a stub each (24 bytes,
# in units of 8 kB for 256 rows): it must not wait, take but a few bytes a row, and be seen, undone and replayed as any other.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

plan skip_all => 'needs a pool' unless has_vdb();
my $n = 250000;
my $primary = new_node('mass', init => { allows_streaming => 1 }, conf => "vdb.scm_size = '8MB'\nfsync = off\nautovacuum = off\nwal_keep_size = '512MB'\n");
$primary->safe_psql('postgres', "CREATE TABLE big (id int, v text); INSERT INTO big SELECT g, 'v' || g % 10 FROM generate_series(1, $n) g");
migrate($primary, 'big');
$primary->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('mass_standby');
$standby->init_from_backup($primary, 'b', has_streaming => 1);
$standby->start;

sub q1 { return $primary->safe_psql('postgres', $_[0]); }
sub used { return q1('SELECT used_bytes FROM vdb.pool'); }
sub same
{
	flush_wal($primary);	# what was committed without waiting for its flush, too: the wait is for WAL that was written
	$primary->wait_for_catchup($standby, 'replay');
	is(digest($standby, 'big'), digest($primary, 'big'), "the standby agrees: $_[0]");
}

is(q1("SELECT pool_rows FROM vdb.tables WHERE relation = 'big'::regclass"), '0', 'all rows are on flash');
my $before = used();
my $all = digest($primary, 'big');

# everything deleted by one statement
my $s = start_session($primary);
session_query($s, "SET statement_timeout = '@{[patience(100)]}s'; BEGIN");
is(session_query($s, 'DELETE FROM big; SELECT count(*) FROM big'), '0', 'deletes everything');
cmp_ok(used() - $before, '<', 2 * $n, 'in less than two bytes a row');
is(digest($primary, 'big'), $all, 'others see every row');
same('nothing has happened');
is(q1("SELECT sum(delta_rows) FROM vdb.stripes('big')"), $n, 'each row has its delta record');
verify_ok($primary, 'big', 'verifies in between');
is(session_query($s, 'ROLLBACK; SELECT count(*) FROM big'), $n, 'every row is back');

# everything locked
session_query($s, 'BEGIN');
is(session_query($s, 'SELECT count(*) FROM (SELECT FROM big FOR UPDATE) locked'), $n, 'locks everything');
cmp_ok(used() - $before, '<', 4 * $n, 'in a few bytes a row');
like(error_of($primary, "SELECT * FROM big WHERE id = $_ FOR SHARE NOWAIT"), qr/could not obtain lock/, "row $_ is locked") for (1, 40, 256, 257, $n);
is(session_query($s, 'COMMIT'), '', 'unlocks');
is(error_of($primary, 'SELECT * FROM big WHERE id IN (1, 40, 256, 257) FOR SHARE NOWAIT'), '', 'no row is locked');

# half in one subtransaction that fails, a third in one that doesn't, single rows by others before and between
q1('UPDATE big SET v = v || 1 WHERE id % 1000 = 1');
is(session_query($s, q{
	BEGIN;
	DELETE FROM big WHERE id % 3 = 0;
	SAVEPOINT s;
	DELETE FROM big WHERE id % 3 = 1;
	ROLLBACK TO s;
}), '', 'subtransactions');
q1('UPDATE big SET v = v || 2 WHERE id % 1000 = 2 AND id % 3 <> 0');
is(session_query($s, q{DELETE FROM big WHERE id % 3 = 1 AND id % 7 = 0; COMMIT}), '', 'and another statement');
is(q1('SELECT count(*), sum(id::bigint) FROM big'),
	q1("SELECT count(*), sum(g::bigint) FROM generate_series(1, $n) g WHERE NOT (g % 3 = 0 OR (g % 3 = 1 AND g % 7 = 0))"),
	'the rows that are left');
is(q1('SELECT count(*) FILTER (WHERE right(v, 1) = \'1\' AND length(v) = 3) = count(*) FROM big WHERE id % 1000 = 1'), 't', 'changed by others');
same('after the subtransactions');
my $digest = digest($primary, 'big');
end_session($s);
$primary->stop('immediate');
$primary->start;
is(digest($primary, 'big'), $digest, 'the same after a crash');
verify_ok($primary, 'big');
q1('VACUUM (FREEZE) big');
is(digest($primary, 'big'), $digest, 'the same after VACUUM');
verify_ok($primary, 'big');

# crashes that lose the end of a transaction's WAL; its id and its units are used again
for my $round (1 .. 3)
{
	$s = start_session($primary);
	session_query($s, "BEGIN; DELETE FROM big WHERE id % 4 <> $round; SELECT count(*) FROM (SELECT FROM big FOR UPDATE) locked");
	$primary->stop('immediate');
	end_session($s);
	$primary->start;
	is(digest($primary, 'big'), $digest, "crash $round: nothing was deleted");
	q1("SET synchronous_commit = off; DELETE FROM big WHERE id % 100 = $round");
	$digest = digest($primary, 'big');
	same("crash $round");
	verify_ok($primary, 'big');
}
q1('DELETE FROM big WHERE id % 2 = 0');
same('deletes after the crashes');
migrate($primary, 'big');
same('and migration');
verify_ok($primary, 'big');
$standby->stop;
$primary->stop;

done_testing();
