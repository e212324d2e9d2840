# Single rows of stripes: their xmin is read only if it is asked for; a stripe costs a backend little memory; its index is
# taken from the shared cache, without reading a page; what is looked up often stays there while other pieces come and go.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

plan skip_all => 'vdb only' unless has_vdb();

my $node = new_node('lookups',
	conf => "vdb.migrate_enabled = off\nautovacuum = off\nfsync = off\nvdb.shared_cache = '32MB'\nvdb.stripe_cache = '16MB'\n");
my $forced = 'SET enable_seqscan = off; SET enable_bitmapscan = off; SET vdb.enable_custom_scan = off;';

sub q1 { return $node->safe_psql('postgres', $_[0]); }

# Bytes of the session's memory contexts of this name.
sub bytes_of
{
	my ($session, $name) = @_;
	return session_query($session,
		"SELECT coalesce(sum(total_bytes), 0) FROM pg_backend_memory_contexts WHERE name = '$name'");
}

# ---- twenty stripes whose rows have an xmin each, frozen later by VACUUM ----

my $old = start_session($node);
session_query($old, 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT txid_current()');
q1(q{
	DO $$
	BEGIN
		FOR t IN 1 .. 20 LOOP
			EXECUTE format('CREATE TABLE r%s (id int PRIMARY KEY, v int) USING vdb', t);
			FOR i IN 1 .. 2100 LOOP
				BEGIN	-- a subtransaction, with an id of its own
					EXECUTE format('INSERT INTO r%s VALUES ($1, $2)', t) USING i, i * t;
				EXCEPTION WHEN division_by_zero THEN NULL;
				END;
			END LOOP;
		END LOOP;
	END $$;
	CREATE TABLE noted AS SELECT id, xmin::text AS x, cmin::text AS c FROM r7 WHERE id IN (5, 2050);
});
migrate($node, "r$_") for 1 .. 20;
is(q1("SELECT count(*) FROM generate_series(1, 20) t, vdb.stripes(('r' || t)::regclass) s WHERE s.frozen"), '0',
	'with an old snapshot, no stripe is frozen');
session_query($old, $forced);
is(session_query($old, 'SELECT count(*) FROM r3 WHERE id IN (7, 2000)'), '0', 'the old snapshot does not see the rows');
session_query($old, 'COMMIT');
end_session($old);

my $lookups = join(' UNION ALL ', map { "(SELECT v FROM r$_ WHERE id = $_ * 100)" } 1 .. 20);

# The xmins of a stripe are older than any snapshot, whether or not VACUUM has said so.
for my $frozen (0, 1)
{
	my $label = $frozen ? 'frozen' : 'not frozen';
	if ($frozen)
	{
		q1("VACUUM r$_") for 1 .. 20;
	}
	is(q1("SELECT count(*) FROM generate_series(1, 20) t, vdb.stripes(('r' || t)::regclass) s WHERE s.frozen"),
		$frozen ? '20' : '0', "$label: the stripes say so");
	my $session = start_session($node);
	session_query($session, $forced);
	is(session_query($session, "SELECT sum(v) FROM ($lookups) l"), '287000', "$label: look-ups");
	is(session_query($session, "SELECT sum(v) FROM r5 WHERE id <= 10"), '275', "$label: a range");
	is(bytes_of($session, 'VDB stripe xmins'), '0', "$label: no xmin was decoded");
	my $bytes = bytes_of($session, 'VDB stripe cache');
	ok($bytes > 0 && $bytes < 20 * 16 * 1024, "$label: 20 stripes with their vectors take $bytes bytes");
	is(session_query($session, "SELECT count(*) FROM r7 JOIN noted n USING (id) WHERE r7.xmin::text = n.x AND r7.cmin::text = n.c"),
		'2', "$label: the rows' xmins and cmins are what they were");
	ok(bytes_of($session, 'VDB stripe xmins') > 0, "$label: now they were decoded");
	is(session_query($session, "SELECT count(*) FROM (SELECT r7 FROM r7 JOIN noted n USING (id) WHERE r7.xmin::text = n.x FOR UPDATE OF r7) s"),
		'2', "$label: locking shows them, too");
	end_session($session);
}

# ---- indexes of stripes are shared ----

q1('CREATE TABLE many (id int PRIMARY KEY, v int) USING vdb; INSERT INTO many SELECT g, g % 1000 FROM generate_series(1, 200000) g');
migrate($node, 'many');
q1('VACUUM ANALYZE many');
my $stripes = q1("SELECT count(*) FROM vdb.stripes('many')");
ok($stripes >= 4, "many rows are in $stripes stripes");
my $ids = join(', ', map { $_ * 9973 % 200000 + 1 } 1 .. 40);

sub pages_fetched
{
	return q1("SELECT heap_blks_read + heap_blks_hit FROM pg_statio_user_tables WHERE relname = 'many'");
}

sub look_at_many
{
	my $session = start_session($node);
	session_query($session, $forced);
	my $found = session_query($session, "SELECT count(v) FROM unnest('{$ids}'::int[]) i, LATERAL (SELECT v FROM many WHERE id = i OFFSET 0) l");
	session_query($session, 'SELECT pg_stat_force_next_flush()');
	end_session($session);
	return $found;
}

is(look_at_many(), '40', 'the first session finds the rows');
my $before = pages_fetched();
ok($before > 0, "it has read pages ($before in all)");
is(look_at_many(), '40', 'so does another');
my $fetched = pages_fetched() - $before;
cmp_ok($fetched, '<=', 2, "which has looked at $fetched pages: the metapage, and the visibility map for the planner");

# The same file again, with other stripes: nothing is found that was.
q1('BEGIN; CREATE TABLE again (id int PRIMARY KEY, v text) USING vdb;
	INSERT INTO again SELECT g, \'old \' || g FROM generate_series(1, 3000) g; SELECT vdb.migrate(\'again\');
	SELECT v FROM again WHERE id = 7; TRUNCATE again;
	INSERT INTO again SELECT g, \'new \' || g FROM generate_series(1, 3000) g; SELECT vdb.migrate(\'again\'); COMMIT');
is(q1("$forced SELECT v FROM again WHERE id = 7"), 'new 7', 'a stripe after truncation in place');

# ---- what is asked for again and again stays ----

$node->append_conf('postgresql.conf', "vdb.shared_cache = '16MB'\nvdb.stripe_cache = '1MB'\n");
$node->restart;
q1('CREATE TABLE wide (id int PRIMARY KEY, t text) USING vdb;
	INSERT INTO wide SELECT g, repeat(md5(g::text), 10) FROM generate_series(1, 240000) g');
migrate($node, 'wide');
q1('VACUUM ANALYZE wide');
q1(q{
	-- looks at two rows of different vectors, then at others; returns how often a piece of the two was missing
	CREATE FUNCTION hot(rounds int) RETURNS bigint LANGUAGE plpgsql AS $$
	DECLARE
		before bigint;
		missing bigint := 0;
		n int := 1;
	BEGIN
		FOR r IN 1 .. rounds LOOP
			SELECT misses INTO before FROM vdb.cache;
			PERFORM t FROM wide WHERE id = 1;
			PERFORM t FROM wide WHERE id = 5000;
			SELECT missing + misses - before INTO missing FROM vdb.cache;
			FOR i IN 1 .. 8 LOOP
				n := (n::bigint * 7919 % 229981)::int;
				PERFORM t FROM wide WHERE id = 10000 + n;
			END LOOP;
		END LOOP;
		RETURN missing;
	END $$;
});
q1("$forced SELECT hot(1)");		# reads them; a session keeps what it has read itself
my $evicted = q1('SELECT evictions FROM vdb.cache');
my $missing = q1("$forced SELECT hot(400)");
$evicted = q1('SELECT evictions FROM vdb.cache') - $evicted;
ok($evicted > 300, "$evicted pieces were evicted meanwhile");
is($missing, '0', 'the two rows were always there');

$node->stop;
done_testing();
