# A statement that finds the pool full doesn't give up after a minute while another process is at rows of another table: they
# may give room, however slowly they move.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

plan skip_all => 'vdb only' unless has_vdb();

my $node = new_node('busy', conf => "vdb.scm_size = '8MB'\nvdb.migrate_enabled = off\nfsync = off\nautovacuum = off\n");
$node->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY, v text);
	CREATE TABLE other (id int, v text);
	INSERT INTO other SELECT g, repeat('row', 20) FROM generate_series(1, 3000) g;
});

my %said = (mover => '', inserter => '');
my %run;
sub begin
{
	my ($name, @sql) = @_;
	$run{$name} = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), map { ('-c', $_) } @sql ], '>&', \$said{$name});
	return;
}
# Whether a session says so before it ends, or before the limit.
sub says
{
	my ($name, $what) = @_;
	my $end = time() + $PostgreSQL::Test::Utils::timeout_default;
	while ($said{$name} !~ $what && $run{$name}->pumpable && time() < $end)
	{
		$run{$name}->pump_nb;
		sleep 1;
	}
	return $said{$name} =~ $what;
}

my $keeper = start_session($node);
session_query($keeper, 'SELECT pg_advisory_lock(30308)');
begin('mover', "SET vdb.stop_point = 'migrate-before-stripe'", "SELECT 'moved ' || vdb.migrate('other')");
ok($node->poll_query_until('postgres', "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'object' AND mode = 'ExclusiveLock' AND objid = 'other'::regclass"),
	'a process is moving rows');
# rows of a table whose columns have changed can't move
begin('inserter', "BEGIN; ALTER TABLE t ADD COLUMN c int; INSERT INTO t SELECT g, repeat('wide', 25) FROM generate_series(1, 200000) g");
ok(says('inserter', qr/nothing in it could be moved/), 'the pool is full');
# it has waited for ten seconds; a minute passes
sleep 65;
$run{inserter}->pump_nb;
unlike($said{inserter}, qr/ERROR/, 'a statement waits for more than a minute');
session_query($keeper, 'SELECT pg_advisory_unlock(30308)');
ok(says('mover', qr/moved 3000/), 'the move ends');
session_query($keeper, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'");
end_session($keeper);
$run{$_}->finish for keys %run;
is($node->safe_psql('postgres', 'SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM other)'), '0|3000', 'all rows are there');
verify_ok($node, $_) for 't', 'other';
$node->stop;

done_testing();
