# Rows, indexes and sequences survive a clean restart and a crash, rows in SCM and on flash; unlogged
# tables are kept by the one and emptied by the other; what had not committed is not there.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my $node = new_node('restart', conf => "checkpoint_timeout = 1h\n");
$node->safe_psql('postgres', q{
	CREATE SEQUENCE s;
	CREATE TABLE t (id int PRIMARY KEY, g int, v text);
	CREATE INDEX ON t (g);
	CREATE TABLE flash (id int PRIMARY KEY, v text, w text);
	CREATE UNLOGGED TABLE u (id int PRIMARY KEY, v text);
	CREATE UNLOGGED TABLE u_flash (id int PRIMARY KEY, v text);
	INSERT INTO t SELECT nextval('s'), g % 7, 'v' || g FROM generate_series(1, 2000) g;
	INSERT INTO flash SELECT g, 'v' || g, repeat('w', g % 3000) FROM generate_series(1, 2000) g;
	INSERT INTO u SELECT g, 'u' || g FROM generate_series(1, 500) g;
	INSERT INTO u_flash SELECT g, 'u' || g FROM generate_series(1, 500) g;
});
migrate($node, $_) for qw(flash u_flash);
$node->safe_psql('postgres', q{
	UPDATE flash SET v = 'changed' WHERE id % 100 = 0;
	DELETE FROM flash WHERE id % 150 = 0;
	UPDATE u_flash SET v = 'changed' WHERE id % 10 = 0;
});

sub all_digests { return join(' / ', map { digest($node, $_) } @_); }
my @kept = qw(t flash);
my @unlogged = qw(u u_flash);
my $kept = all_digests(@kept);
my $unlogged = all_digests(@unlogged);

sub check_all
{
	my ($label) = @_;
	is(all_digests(@kept), $kept, "$label: rows");
	same_by_index($node, $_, 'id', "$label: index of $_") for @kept;
	verify_ok($node, $_, "$label: $_ verifies") for @kept;
}

check_all('before');
$node->restart;
check_all('clean restart');
is(all_digests(@unlogged), $unlogged, 'clean restart: unlogged rows are kept');
is($node->safe_psql('postgres', "SELECT nextval('s') > 2000"), 't', 'clean restart: sequence');

for my $round (1 .. 3)
{
	$node->safe_psql('postgres', "INSERT INTO t SELECT nextval('s'), $round, 'round $round' FROM generate_series(1, 300); "
		  . "UPDATE flash SET w = 'round $round' WHERE id BETWEEN $round * 10 AND $round * 10 + 200; "
		  . "DELETE FROM t WHERE id % 11 = $round");
	migrate($node, 't') if $round == 2;
	$node->safe_psql('postgres', 'CHECKPOINT') if $round == 3;
	$kept = all_digests(@kept);
	my $open = start_session($node);
	session_query($open, "BEGIN; INSERT INTO t SELECT g, 0, 'never' FROM generate_series(100000, 100500) g; "
		  . "UPDATE flash SET v = 'never'; DELETE FROM t WHERE id < 100; SAVEPOINT a; UPDATE t SET v = 'never' WHERE id > 500");
	# let the WAL of the open transaction reach the disk
	$node->safe_psql('postgres', 'SELECT pg_switch_wal()') if $round > 1;
	$node->stop('immediate');
	end_session($open);
	$node->start;
	check_all("crash $round");
	is(all_digests(@unlogged), '0| / 0|', "crash $round: unlogged tables are empty");
	is($node->safe_psql('postgres', "INSERT INTO u SELECT g, 'again' FROM generate_series(1, 50) g; SELECT count(*) FROM u"),
		'50', "crash $round: and take rows");
	is($node->safe_psql('postgres', "SELECT nextval('s') > (SELECT max(id) FROM t)"), 't', "crash $round: sequence");
}

# the same ids handed out again after the crash must not bring back what was lost
$node->safe_psql('postgres', "DO \$\$ BEGIN FOR i IN 1..50 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END \$\$");
check_all('after more transactions');
is($node->safe_psql('postgres', "SELECT count(*) FROM t WHERE v = 'never'") + $node->safe_psql('postgres', "SELECT count(*) FROM flash WHERE v = 'never'"),
	0, 'nothing uncommitted came back');
migrate($node, $_) for @kept;
check_all('after migration');
$node->restart;
check_all('clean restart after crashes');
$node->stop;

done_testing();
