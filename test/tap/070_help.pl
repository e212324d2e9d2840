# An inserter that finds the pool full moves other tables' rows. One of these has a file that can't be opened, as on a
# full or broken file system: that must not fail the insert, the log tells of it once, the next table is moved instead, and
# rows of the same batch that have places already keep them. The worker, too, goes on to the next table. A cancel is no such error.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

plan skip_all => 'vdb only' unless has_vdb();

my $node = new_node('help', conf => "vdb.scm_size = '16MB'\nvdb.migrate_enabled = off\nautovacuum = off\nfsync = off\n");

sub q1 { return $node->safe_psql('postgres', $_[0]); }
sub flash { return q1("SELECT striped_rows FROM vdb.tables WHERE relation = '$_[0]'::regclass"); }

# Inserts into a table until nothing more can be had without moving rows.
sub fill_up
{
	my ($table) = @_;
	my $rows = 0;
	while (1)
	{
		my $err = error_of($node, "SET vdb.stop_point = 'make-room'; SET vdb.stop_action = 'error';
			INSERT INTO $table SELECT g, repeat(md5(g::text), 20) FROM generate_series(1, 500) g");
		if ($err)
		{
			like($err, qr/stopped at "make-room"/, 'the pool is full');
			return $rows;
		}
		$rows += 500;
	}
	return;
}

q1('CREATE TABLE small (id int, v text); INSERT INTO small VALUES (1, repeat(\'s\', 1000))');
q1($_) for map { "CREATE TABLE $_ (id int, v text)" } qw(broken good);
q1('INSERT INTO broken SELECT g, repeat(md5(g::text), 20) FROM generate_series(1, 3000) g');
my $good = fill_up('good');
q1('CREATE TABLE fresh (id int, v text)');
my $copy = $node->basedir . '/batch.copy';
q1("COPY (SELECT g, repeat(md5(g::text), 60) FROM generate_series(1, 1000) g) TO '$copy'");
q1('CHECKPOINT');

my $file = $node->data_dir . '/' . q1("SELECT pg_relation_filepath('broken')");
chmod(0, $file) == 1 or die "$file: $!";
like(error_of($node, "SELECT vdb.migrate('broken')"), qr/ERROR:\s+42501: could not open file/, 'rows of "broken" cannot move');

# the table 'small' comes first and makes room for the begin of the batch; then 'broken', with places of the batch outstanding; then 'good'
my $log = -s $node->logfile;
is(error_of($node, "COPY fresh FROM '$copy'"), '', 'a batch finds room');
is(flash('small'), '1', 'one table was moved');
cmp_ok(flash('good'), '>', 0, 'the next was');
is(q1('SELECT count(*), count(DISTINCT id), sum(id), min(length(v)) FROM fresh'), '1000|1000|500500|1920', 'all rows are there');
is(q1("SELECT vdb.migrate('fresh') >= 0"), 't', 'they can move');
is(q1('SELECT count(*), count(DISTINCT id), sum(id), min(length(v)) FROM fresh'), '1000|1000|500500|1920', 'and are all there');
$good += fill_up('good');
is(error_of($node, "INSERT INTO fresh SELECT g, repeat('x', 1000) FROM generate_series(1001, 1100) g"), '', 'a row alone finds room');
my $reports = slurp_file($node->logfile, $log);
is(scalar(() = $reports =~ /LOG:  could not move rows of table "broken" to make room in the pool/g), 1, 'the log tells of the table once');
like($reports, qr/DETAIL:  could not open file "[^"]*": Permission denied/, 'and why');

# canceled while it helps
$good += fill_up('good');
my $holder = start_session($node);
session_query($holder, 'SELECT pg_advisory_lock(30308)');
my $helper = start_session($node);
my $pid = session_query($helper, 'SELECT pg_backend_pid()');
session_query($helper, "SET vdb.stop_point = 'migrate-before-stripe'");
print { $helper->{to} } "INSERT INTO fresh SELECT g, repeat('y', 1000) FROM generate_series(1, 100) g;\n";
$node->poll_query_until('postgres', "SELECT wait_event = 'Extension' FROM pg_stat_activity WHERE pid = $pid") or fail('it helps');
q1("SELECT pg_cancel_backend($pid)");
like(session_query($helper, 'SELECT 1'), qr/canceling statement due to user request/, 'a helper can be canceled');
end_session($_) for $helper, $holder;
is(q1('SELECT count(*) FROM fresh'), '1100', 'and has stored nothing');

# the worker
$node->append_conf('postgresql.conf', "vdb.migrate_enabled = on\nvdb.migrate_after = 100\nvdb.migrate_min_rows = 0\n");
$node->reload;
$node->poll_query_until('postgres', "SELECT pool_rows = 0 FROM vdb.tables WHERE relation = 'good'::regclass") or fail('the worker goes on');
q1('INSERT INTO fresh SELECT g, NULL FROM generate_series(1, 10) g');
$node->poll_query_until('postgres', "SELECT pool_rows = 0 FROM vdb.tables WHERE relation = 'fresh'::regclass") or fail('and again');
is(scalar(() = slurp_file($node->logfile, $log) =~ /(?:LOG|WARNING|ERROR):  could not (?:move rows of table "broken"|open file)/g), 1, 'it says nothing new');
chmod(0600, $file) == 1 or die "$file: $!";
$node->poll_query_until('postgres', "SELECT pool_rows = 0 FROM vdb.tables WHERE relation = 'broken'::regclass") or fail('put right, it moves');
is(q1('SELECT count(*), count(DISTINCT id), sum(id) FROM broken'), '3000|3000|4501500', 'with all its rows');
is(q1('SELECT count(*) FROM good'), $good, 'the other one has all of its');
verify_ok($node, $_) for qw(broken good fresh);
is(q1('SELECT count(*) FROM vdb.verify_pool()'), '0', 'the pool is sound');
$node->stop;
done_testing();
