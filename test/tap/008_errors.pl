# Bad input of every kind gives a clear error with its SQLSTATE, and everything else keeps working: damaged
# and truncated files, a pool of another version or without its magic, no disk space, no permission, unknown options.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my $node = new_node('errors');
$node->safe_psql('postgres', q{
	CREATE ROLE somebody LOGIN;
	GRANT CREATE ON SCHEMA public TO somebody;
	CREATE TABLE good (id int PRIMARY KEY, v text);
	INSERT INTO good SELECT g, 'good' || g FROM generate_series(1, 1000) g;
	CREATE TABLE bad (id int, v text, n int);
	INSERT INTO bad SELECT g, md5(g::text), g % 10 FROM generate_series(1, 20000) g;
	CREATE TABLE heaped (a int) USING heap;
	INSERT INTO heaped VALUES (1);
});
migrate($node, $_) for qw(good bad);
my $good = digest($node, 'good');

sub others_work
{
	my ($label) = @_;
	is(digest($node, 'good'), $good, "$label: another table reads");
	is($node->safe_psql('postgres', "BEGIN; INSERT INTO good VALUES (-1, 'x'); UPDATE good SET v = 'y' WHERE id = 5; SELECT count(*) FROM good; ROLLBACK"), '1001', "$label: and writes");
	is($node->safe_psql('postgres', 'SELECT a FROM heaped'), '1', "$label: heap too");
}

# options and permissions
like(error_of($node, 'CREATE TABLE x (a int) WITH (nonsense = 1)'), qr/ERROR:\s+22023:.*nonsense/, 'unknown option');
like(error_of($node, 'CREATE TABLE x (a int) WITH (vdb.nonsense = 1)'), qr/ERROR:\s+22023:/, 'unknown option in the namespace');
like(error_of($node, 'ALTER TABLE good SET (nonsense = 1)'), qr/ERROR:\s+22023:.*nonsense/, 'unknown option of a table that is there');
like(error_of($node, 'SET vdb.nonsense = 1'), qr/ERROR:\s+42602:/, 'unknown setting') if has_vdb();
like(error_of($node, 'CREATE TABLE x (a int) USING nonsense'), qr/ERROR:\s+42704:/, 'unknown access method');
$node->safe_psql('postgres', "SET allow_in_place_tablespaces = on; CREATE TABLESPACE private LOCATION ''");
like(error_of($node, "SET ROLE somebody; CREATE TABLE x (a int) TABLESPACE private"), qr/ERROR:\s+42501:/, 'no permission on the tablespace');
like(error_of($node, "SET ROLE somebody; SELECT * FROM good"), qr/ERROR:\s+42501:/, 'no permission on the table');

if (has_vdb())
{
	like(error_of($node, "SELECT vdb.migrate('heaped')"), qr/ERROR:\s+42809:.*"heaped"/, 'vdb.migrate of a heap table');
	like(error_of($node, "SELECT vdb.migrate('good_pkey')"), qr/ERROR:\s+42809:/, 'vdb.migrate of an index');
	like(error_of($node, "SELECT vdb.migrate(12345678::oid::regclass)"), qr/ERROR:\s+(42P01|XX000):/, 'vdb.migrate of nothing');
	$node->safe_psql('postgres', 'GRANT USAGE ON SCHEMA vdb TO somebody');
	like(error_of($node, "SET ROLE somebody; SELECT vdb.migrate('good')"), qr/ERROR:\s+42501:/, 'vdb.migrate without ownership');
	for my $function (qw(stripes chunks verify))
	{
		like(error_of($node, "SELECT * FROM vdb.$function('heaped')"), qr/ERROR:\s+42809:/, "vdb.$function of a heap table");
	}
	like(error_of($node, 'SELECT * FROM vdb.scm'), qr/ERROR:\s+\w{5}:/, 'the pool cannot be queried');
	like(error_of($node, 'DROP TABLE vdb.scm'), qr/ERROR:\s+2BP01:/, 'the pool cannot be dropped alone');
	like(error_of($node, "ALTER SYSTEM SET vdb.scm_size = '1kB'"), qr/ERROR:\s+22023:/, 'too small a pool');
	like(error_of($node, "CREATE DATABASE other; \\c other\nSET vdb.scm_tablespace = 'nowhere'; CREATE EXTENSION vdb_am"), qr/ERROR:\s+42704:.*nowhere/s, 'unknown tablespace for the pool');
	like(error_of($node, "\\c other\nSET vdb.scm_tablespace = 'private'; CREATE EXTENSION vdb_am") || 'none', qr/none/, 'the pool in another tablespace');
	is($node->safe_psql('other', "CREATE TABLE o (a int) USING vdb; INSERT INTO o VALUES (1), (2); SELECT vdb.migrate('o')"), '2', 'which then works');
	others_work('after errors');
}

# damage to files: copies are kept and put back
sub file_of { return $node->data_dir . '/' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('$_[0]')"); }

sub slurp { my ($path) = @_; open(my $f, '<:raw', $path) or die "$path: $!"; local $/; return scalar <$f>; }
sub spew { my ($path, $bytes) = @_; open(my $f, '>:raw', $path) or die "$path: $!"; print $f $bytes; close $f or die $!; return; }

# Damage a file while the server is down, look, put it back.
sub with_damage
{
	my ($label, $path, $damage, $look) = @_;
	$node->stop;
	my $whole = slurp($path);
	spew($path, $damage->($whole));
	if ($node->start(fail_ok => 1))
	{
		$look->();
		$node->stop;
	}
	else
	{
		fail("$label: the server starts");
	}
	spew($path, $whole);
	$node->start;
	others_work("$label, put right");
	return;
}

my $read = 'SELECT count(*), sum(hashtextextended(x::text, 0)) FROM bad x';
if (has_vdb())
{
	my $file = file_of('bad');
	my $sum = $node->safe_psql('postgres', $read);
	cmp_ok(-s $file, '>', 16384, 'the table lies on flash');
	for my $where (0.3, 0.6, 0.95)
	{
		with_damage("corrupted block at $where", $file,
			sub { my ($b) = @_; my $at = int(length($b) / 8192 * $where) * 8192 + 1000; substr($b, $at, 64) ^= "\xff" x 64; return $b; },
			sub {
				my $err = error_of($node, $read);
				# padding may be hit: then the answer must be right
				if ($err) { like($err, qr/ERROR:\s+XX001:/, "corrupted block at $where: error"); unlike($err, qr/server closed/, 'and no crash'); }
				else { is($node->safe_psql('postgres', $read), $sum, "corrupted block at $where: not used"); }
				cmp_ok($node->safe_psql('postgres', "SELECT test_verify('bad')"), '>', 0, "corrupted block at $where: vdb.verify tells") if $err;
				others_work("corrupted block at $where");
			});
	}
	with_damage('truncated file', $file,
		sub { my ($b) = @_; return substr($b, 0, int(length($b) / 8192 / 2) * 8192); },
		sub {
			my $err = error_of($node, $read);
			like($err, qr/ERROR:\s+(XX00[12]|58\w{3}|5\w{4}):/, 'truncated file: error');
			unlike($err, qr/server closed/, 'truncated file: no crash');
			others_work('truncated file');
		});
	with_damage('emptied file', $file, sub { return ''; },
		sub { unlike(error_of($node, $read), qr/server closed|^$/, 'emptied file: error'); others_work('emptied file'); });
	# another table's stripes in its place: of the same columns, so that only the table's identity can tell
	$node->safe_psql('postgres', 'CREATE TABLE twin (LIKE bad); INSERT INTO twin SELECT id, v, n + 1 FROM bad');
	migrate($node, 'twin');
	my $other = slurp(file_of('twin'));
	with_damage("another table's stripes", $file, sub { return $other; },
		sub {
			my $err = error_of($node, $read);
			like($err, qr/ERROR:\s+XX00[12]:/, "another table's stripes: error");
			unlike($err, qr/server closed/, "another table's stripes: no crash");
			cmp_ok($node->safe_psql('postgres', "SELECT test_verify('bad')"), '>', 0, "another table's stripes: vdb.verify tells");
			others_work("another table's stripes");
		});
	is($node->safe_psql('postgres', $read), $sum, 'put right: the same rows');

	# the pool of a database of its own, so that the others must keep working
	$node->safe_psql('postgres', 'CREATE DATABASE broken');
	prepare_db($node, 'broken');
	$node->safe_psql('broken', "CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 100); CREATE TABLE h (a int) USING heap; INSERT INTO h VALUES (7)");
	my $pool = $node->data_dir . '/' . $node->safe_psql('broken', "SELECT pg_relation_filepath('vdb.scm')");
	my $other_pool = file_of('vdb.scm');
	my %damage = (
		'magic of the pool' => sub { my ($b) = @_; substr($b, 24, 8) = 'NOTAPOOL'; return $b; },
		'version of the pool' => sub { my ($b) = @_; substr($b, 32, 4) = pack('L', 9999); return $b; },
		'pool of another database' => sub { return slurp($other_pool); },
		'truncated pool' => sub { my ($b) = @_; return substr($b, 0, 8192 * 3); },
		'emptied pool' => sub { return ''; });
	for my $what (sort keys %damage)
	{
		with_damage($what, $pool, $damage{$what},
			sub {
				my $err = error_of($node, 'SELECT count(*) FROM t', db => 'broken');
				like($err, qr/ERROR:\s+\w{5}:/, "$what: error");
				like($err, qr/ERROR:\s+(XX00[12]|0A000|55000|22\w{3}|58\w{3}):/, "$what: SQLSTATE");
				unlike($err, qr/server closed/, "$what: no crash");
				is($node->safe_psql('broken', 'SELECT a FROM h'), '7', "$what: heap in that database works");
				others_work($what);
			});
		is($node->safe_psql('broken', 'SELECT count(*), sum(a) FROM t'), '100|5050', "$what, put right: the rows");
	}
}
else
{
	with_damage('nothing', file_of('bad'), sub { return $_[0]; }, sub { others_work('nothing'); });
}

# too little disk, played by a limit on file sizes: growth fails with an ordinary error
$node->append_conf('postgresql.conf', "vdb.scm_size = '1GB'\n") if has_vdb();
$node->append_conf('postgresql.conf', "max_wal_size = '2GB'\n");
$node->stop;
my $limit_kb = 40 * 1024;
my $pgdata = $node->data_dir;
system('bash', '-c', "ulimit -f $limit_kb && exec pg_ctl -D '$pgdata' -l '" . $node->logfile . "' -w start >/dev/null") == 0 or die 'pg_ctl';
$node->_update_pid(1);
my $err = error_of($node, "CREATE TABLE fill AS SELECT g AS id, md5(g::text) || md5((g + 1)::text) || md5((g + 2)::text) AS v FROM generate_series(1, 700000) g");
unlike($err, qr/server closed|PANIC/, 'no space: no crash');
like($err || 'ERROR:  53100:', qr/ERROR:\s+(53\w{3}|58\w{3}):|File too large/, 'no space: an ordinary error, or none');
others_work('no space');
$node->stop;
$node->start;
others_work('space again');
is(error_of($node, 'DROP TABLE IF EXISTS fill; CREATE TABLE fill AS SELECT g AS id FROM generate_series(1, 1000) g'), '', 'space again: tables grow');
$node->stop;

done_testing();
