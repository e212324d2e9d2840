# A pool too small for the tables of its database: who waits for room is told why, and goes on when vdb.scm_size
# is raised, without a restart.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

plan skip_all => 'needs a pool' unless has_vdb();
my $node = new_node('small', conf => "vdb.scm_size = '8MB'\nfsync = off\n");

# each table keeps a map in the pool, wherever its rows are
my $fill = q{DO $$ BEGIN FOR i IN 1..1500 LOOP
	EXECUTE format('CREATE TABLE many_%s AS SELECT g AS id FROM generate_series(1, 3) g', i);
	COMMIT;
END LOOP; END $$};
my ($out, $err) = ('', '');
my $session = IPC::Run::start([ 'psql', '-X', '-d', $node->connstr('postgres'), '-c', $fill ], '>', \$out, '2>', \$err);
my $begin = time;
while ($err !~ /scm_size/ && time - $begin < $PostgreSQL::Test::Utils::timeout_default && $session->pumpable)
{
	$session->pump_nb;
	select(undef, undef, undef, 0.2);
}
like($err, qr/WARNING: .*the pool is full.*HINT: .*Raise vdb\.scm_size/s, 'the waiting session is told why');
is($node->safe_psql('postgres', 'SELECT size_bytes = limit_bytes FROM vdb.pool'), 't', 'the pool has its largest size');
my $before = $node->safe_psql('postgres', q{SELECT count(*) FROM pg_class WHERE relname ~ '^many_'});
cmp_ok($before, '<', 1500, 'the session waits');
$node->append_conf('postgresql.conf', "vdb.scm_size = '256MB'\n");
$node->reload;
ok($session->finish, 'and goes on when the size is raised') or diag $err;
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_class WHERE relname ~ '^many_'}), '1500', 'to its end');
is($node->safe_psql('postgres', q{DO $$ DECLARE n bigint; BEGIN FOR i IN 1..1500 LOOP
	EXECUTE format('SELECT sum(id) FROM many_%s', i) INTO n; IF n <> 6 THEN RAISE 'many_% has %', i, n; END IF; END LOOP; END $$; SELECT 'whole'}),
	'whole', 'with all its rows');
$node->stop;

done_testing();
