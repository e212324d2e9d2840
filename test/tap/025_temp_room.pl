# A full pool: a session that needs room moves the rows of its own temporary tables, which nobody else can, and a
# small table that has migrated takes two blocks of the pool.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

plan skip_all => 'needs a pool' unless has_vdb();
my $node = new_node('temp', conf => "vdb.scm_size = '8MB'\nfsync = off\n");

# 200 segments would be 12.5 MB
is(error_of($node, "SET statement_timeout = '@{[patience(60)]}s';" . q{
DO $$ BEGIN FOR i IN 1..200 LOOP
	EXECUTE format('CREATE TEMP TABLE small_%s (id int)', i);
	COMMIT;
	EXECUTE format('INSERT INTO small_%s SELECT generate_series(1, 3)', i);
	COMMIT;
END LOOP; END $$;
DO $$ DECLARE n bigint; BEGIN FOR i IN 1..200 LOOP
	EXECUTE format('SELECT sum(id) FROM small_%s', i) INTO n; IF n <> 6 THEN RAISE 'small_% has %', i, n; END IF; END LOOP; END $$}),
	'', 'more temporary tables than segments');

# 20 columns in 200 tables: their zone maps need no block of their own
my $per_table = $node->safe_psql('postgres', q{DO $$ BEGIN FOR i IN 1..200 LOOP
	EXECUTE format('CREATE TABLE wide_%s (%s)', i, (SELECT string_agg(format('c%s int DEFAULT 1', c), ', ') FROM generate_series(1, 20) c));
	EXECUTE format('INSERT INTO wide_%s DEFAULT VALUES', i);
	COMMIT;
	PERFORM vdb.migrate(format('wide_%s', i)::regclass);
	COMMIT;
END LOOP; END $$;
SELECT used_bytes / 200 FROM vdb.pool});
cmp_ok($per_table, '<', 22000, 'a small table on flash takes two blocks');
is($node->safe_psql('postgres', 'SELECT count(*) FROM vdb.verify_pool()'), '0', 'the pool is sound');
$node->stop;

done_testing();
