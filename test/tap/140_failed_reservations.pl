# What a statement reserved in the pool and did not use is there again for others when it fails: at once, not after the
# next start of the server.  Insertions fail before each of the changes that they make; the second one is the claim of a segment.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

plan skip_all => 'needs a pool' unless has_vdb();
my $node = new_node('reserved', conf => "vdb.migrate_enabled = off\nautovacuum = off\nfsync = off\n");

sub used { return $node->safe_psql('postgres', 'SELECT used_bytes / 65536 FROM vdb.pool'); }

my $point = 'change-before-wal';
for my $nested (0, 1)
{
	my $kind = $nested ? 'subtransactions' : 'statements';
	for my $n (1 .. 3)
	{
		my $table = "t_${nested}_$n";
		my $insert = "INSERT INTO $table SELECT generate_series(1, 10)";
		my $failing = "SET vdb.stop_action = 'error';";
		$failing .= $nested ? qq{ DO \$\$ BEGIN FOR i IN 1 .. 10 LOOP
			BEGIN SET vdb.stop_point = '$point:$n'; $insert; EXCEPTION WHEN internal_error THEN RAISE WARNING '%', SQLERRM; END;
			END LOOP; SET vdb.stop_point = ''; END \$\$;} : " SET vdb.stop_point = '$point:$n'; $insert;" x 10;
		$node->safe_psql('postgres', "CREATE TABLE $table (id int)");
		# the first failure may leave blocks that belong to the table from then on
		error_of($node, "SET vdb.stop_action = 'error'; SET vdb.stop_point = '$point:$n'; $insert");
		my $before = used();
		my ($out, $err);
		$node->psql('postgres', $failing, stdout => \$out, stderr => \$err, on_error_stop => 0);
		my $failures = () = $err =~ /stopped at/g;
		cmp_ok($failures, '>=', 9, "change $n: $failures $kind failed");
		my $more = used() - $before;
		cmp_ok($more, '<=', 1, "change $n: $kind that failed leave the free space as it was ($more segments more)");
	}
}
is($node->safe_psql('postgres', "SELECT count(*) FROM vdb.verify_pool() WHERE severity = 'error'"), '0', 'vdb.verify_pool finds nothing');
$node->stop;

done_testing();
