# pg_upgrade brings vdb tables over as they are: rows in the pool, in stripes, deleted and locked ones, unlogged tables,
# in databases where tables sort before the extension's. What a crash of the old cluster undid must not come back, even
# if nothing was stored since; and crashes that the new cluster has had by itself must not undo anything.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my $am = am();
my $bin = $ENV{PGBIN};
my $conf = "autovacuum = off\nwal_writer_delay = 10s\nbgwriter_delay = 10s\nvdb.migrate_enabled = off\n";
my @tables = qw(a.striped a.pool public.mixed public.p public.u zz.mv public.wide);

# What the upgrade must keep, in every database.
sub fill
{
	my ($node, $db) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	prepare_db($node, $db);
	$node->safe_psql($db, qq{
		CREATE SCHEMA a;
		CREATE SCHEMA zz;
		CREATE TABLE a.striped (id int PRIMARY KEY, v text, n numeric);
		INSERT INTO a.striped SELECT g, 'v' || g, g / 7.0 FROM generate_series(1, 20000) g;
		CREATE TABLE a.pool (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text CHECK (v <> ''));
		INSERT INTO a.pool (v) SELECT 'pool ' || g FROM generate_series(1, 500) g;
		CREATE TABLE mixed (id int PRIMARY KEY, dropped int, v text);
		INSERT INTO mixed SELECT g, g, 'v' || g FROM generate_series(1, 3000) g;
		ALTER TABLE mixed DROP COLUMN dropped;
		CREATE INDEX ON mixed (v);
		CREATE TABLE p (id int, d date) PARTITION BY RANGE (id);
		CREATE TABLE a.p1 PARTITION OF p FOR VALUES FROM (0) TO (100);
		CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200) USING heap;
		INSERT INTO p SELECT g, date '2001-01-01' + g FROM generate_series(0, 199) g;
		CREATE UNLOGGED TABLE u (id int PRIMARY KEY, v text);
		INSERT INTO u SELECT g, 'u' || g FROM generate_series(1, 1000) g;
		CREATE MATERIALIZED VIEW zz.mv AS SELECT v, id FROM a.striped WHERE id < 100;
		CREATE TABLE wide (id int, v text);
		INSERT INTO wide SELECT g, repeat(md5(g::text), 2000) FROM generate_series(1, 20) g;
	});
	migrate($node, $_, $db) for qw(a.striped public.mixed public.u public.wide);
	my $s = start_session($node, $db);
	session_query($s, 'BEGIN; SELECT count(*) FROM (SELECT FROM mixed WHERE id BETWEEN 2 AND 5 FOR SHARE) x');
	$node->safe_psql($db, q{
		BEGIN; SELECT FROM mixed WHERE id BETWEEN 2 AND 5 FOR SHARE; COMMIT;
		UPDATE mixed SET v = 'new ' || id WHERE id % 10 = 0;
		DELETE FROM mixed WHERE id % 10 = 1;
		INSERT INTO mixed VALUES (5000, 'late');
		DELETE FROM a.striped WHERE id > 19900;
		DELETE FROM u WHERE id % 3 = 0;
		INSERT INTO wide VALUES (21, repeat('x', 100000));
	});
	end_session($s);
	$node->safe_psql($db, 'BEGIN; INSERT INTO a.pool (v) VALUES (\'undone\'); DELETE FROM mixed; ROLLBACK');
	$node->safe_psql($db, 'VACUUM a.striped');
	return;
}

sub sums
{
	my ($node) = @_;
	return join("\n", map { my $db = $_; map { "$db $_ " . digest($node, $_, $db) } @tables } qw(app bpp));
}

# Lose the WAL of rows that the pool has kept; returns the transaction's id.
sub lose
{
	my ($node) = @_;
	$node->safe_psql('app', 'INSERT INTO a.pool (v) VALUES (\'first\'); CHECKPOINT');
	my $s = start_session($node, 'app');
	session_query($s, "INSERT INTO a.pool (v) VALUES ('room')");
	kill 'STOP', $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type IN ('walwriter', 'background writer')") =~ /(\d+)/g;
	my $xid = session_query($s, "SET synchronous_commit = off; BEGIN; INSERT INTO a.pool (v) VALUES ('lost'); SELECT pg_current_xact_id()::text; COMMIT");
	kill_all($node);
	end_session($s);
	return $xid;
}

my $old = new_node('old', conf => $conf);
fill($old, $_) for qw(app bpp);
$old->safe_psql('postgres', 'CREATE TABLE burnt (xid bigint) USING heap');
$old->safe_psql('postgres', "DO \$\$ BEGIN FOR i IN 1..300 LOOP INSERT INTO burnt VALUES (i); COMMIT; END LOOP; END \$\$");
$old->safe_psql('app', "DELETE FROM a.pool WHERE id = 1");
my $lost = lose($old);
$old->start;
# nothing is stored between the crash and the upgrade
my $want = sums($old);
unlike($old->safe_psql('app', 'SELECT string_agg(v, \' \') FROM a.pool'), qr/lost/, 'what was lost is not seen');
my $old_lsn = $old->safe_psql('postgres', 'SELECT pg_current_wal_lsn()');
$old->stop;

sub upgrade
{
	my ($from, $to, @options) = @_;
	my $dir = $to->basedir . '/upgrade';
	mkdir $dir;
	chdir $dir or die $!;
	local $ENV{PGUSER} = $to->{_superuser} // getpwuid($<);
	delete local $ENV{PGDATABASE};
	return run_log([ "$bin/pg_upgrade", '-b', $bin, '-B', $bin, '-d', $from->data_dir, '-D', $to->data_dir,
		'-p', $from->port, '-P', $to->port, '-s', $from->host, '--no-sync', @options ]);
}

# A cluster for the upgrade. It was further on in WAL than the old cluster before the library was first loaded, so its
# vdb_am.ends knows nothing of earlier recoveries; then it has seen a crash, with ids that the old cluster has given too.
# None of that may be held against the pools that come.
sub new_cluster
{
	my ($name) = @_;
	my $node = new_node($name, conf => $conf, no_start => 1);
	$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "''") if has_vdb();
	$node->start;
	$node->safe_psql('postgres', 'SELECT pg_switch_wal() FROM txid_current()')
		while $node->safe_psql('postgres', "SELECT pg_current_wal_lsn() <= '$old_lsn'") eq 't';
	$node->stop;
	$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "'vdb_am'") if has_vdb();
	$node->start;
	$node->safe_psql('postgres', 'SELECT pg_switch_wal() FROM txid_current()') for 1 .. 2;
	$node->stop('immediate');
	$node->start;
	$node->stop;
	return $node;
}

my %modes = ('copy' => [], 'link' => ['--link']);
# the file system must be able to clone
$modes{clone} = ['--clone'] if system("cp --reflink=always '$0' " . $old->basedir . '/cloned 2>/dev/null') == 0;

SKIP: {
	skip 'heap needs no library', 2 unless has_vdb();
	my $node = PostgreSQL::Test::Cluster->new('bare');
	$node->init;
	ok(!upgrade($old, $node, '--check'), 'a new cluster without the library is found out by the check');
	my ($report) = grep { -e $_ } (glob($node->data_dir . '/pg_upgrade_output.d/*/loadable_libraries.txt'), $node->basedir . '/upgrade/loadable_libraries.txt');
	like($report ? slurp_file($report) : '', qr/vdb_am must be loaded via "shared_preload_libraries"/, '... with the reason');
}

# link comes last: the old cluster can't be started afterwards
for my $mode (sort { ($a eq 'link') <=> ($b eq 'link') || $a cmp $b } keys %modes)
{
	my $node = new_cluster("new_$mode");
	ok(upgrade($old, $node, @{ $modes{$mode} }), "$mode: pg_upgrade");
	$node->start;
	is(sums($node), $want, "$mode: the rows");
	for my $db (qw(app bpp))
	{
		verify_ok($node, $_, "$mode: $db $_ verifies", $db) for qw(a.striped a.pool public.mixed a.p1 public.u zz.mv public.wide);
		is($node->safe_psql($db, 'SELECT count(*) FROM vdb.verify_pool()'), '0', "$mode: $db: the pool verifies") if has_vdb();
		same_by_index($node, $_, 'id', "$mode: $db: index of $_", $db) for qw(a.striped a.pool mixed u);
	}
	is($node->safe_psql('app', "SELECT striped_rows > 19000, pool_rows > 0 FROM vdb.tables WHERE relation = 'a.striped'::regclass OR relation = 'a.pool'::regclass ORDER BY relation::text"),
		"f|t\nt|f", "$mode: they are where they were") if has_vdb();
	# hand out what was lost again, and go on
	$node->safe_psql('postgres', "DO \$\$ BEGIN WHILE pg_snapshot_xmax(pg_current_snapshot())::text::bigint <= $lost + 50 LOOP INSERT INTO burnt VALUES (1); COMMIT; END LOOP; END \$\$");
	is(sums($node), $want, "$mode: the rows, when lost ids have happened");
	for my $db (qw(app bpp))
	{
		$node->safe_psql($db, q{
			INSERT INTO a.striped SELECT g, 'again', 0 FROM generate_series(20001, 20100) g;
			UPDATE a.striped SET v = 'changed' WHERE id % 100 = 0;
			DELETE FROM a.pool WHERE id % 2 = 0;
			INSERT INTO a.pool (v) SELECT 'more' FROM generate_series(1, 100);
			UPDATE mixed SET v = 'newer' WHERE id % 7 = 0;
			DELETE FROM u WHERE id % 3 = 1;
			REFRESH MATERIALIZED VIEW zz.mv;
			CREATE TABLE made (a int);
			INSERT INTO made SELECT generate_series(1, 1000);
		});
		$node->safe_psql($db, 'VACUUM');
		migrate($node, $_, $db) for qw(a.striped a.pool mixed u);
	}
	my $now = sums($node);
	$node->restart;
	is(sums($node), $now, "$mode: the rows after a restart");
	kill_all($node);
	$node->start;
	(my $crashed = $now) =~ s/^(\w+ public\.u) .*$/$1 0|/mg;
	is(sums($node), $crashed, "$mode: the rows after a crash, but unlogged ones");
	verify_ok($node, $_, "$mode: $_ verifies at the end", 'app') for qw(a.striped a.pool public.mixed public.u made);
	$node->stop;
}

done_testing();
