# Bits that flip in the pool, or in the pages of a wide row, while the server is down. vdb.verify names what was hit, and
# nothing else; a damaged row stays out of stripes and of copies, all around it moves; a wrong zone map costs no rows; the worker
# reports once and goes on with other tables.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

plan skip_all => 'vdb only' unless has_vdb();

my $node = new_node('checksums', conf => "vdb.migrate_enabled = off\nautovacuum = off\nfsync = off\n");

sub q1 { return $node->safe_psql('postgres', $_[0]); }
sub path_of { return $node->data_dir . '/' . q1("SELECT pg_relation_filepath('$_[0]')"); }
sub findings { return q1("SELECT location || ': ' || message FROM vdb.verify('$_[0]')"); }
sub migrate_error { return error_of($node, "SELECT vdb.migrate('$_[0]')"); }

sub slurp { my ($path) = @_; open(my $f, '<:raw', $path) or die "$path: $!"; local $/; return scalar <$f>; }

sub flip
{
	my ($path, $at, $bit) = @_;
	open(my $f, '+<:raw', $path) or die "$path: $!";
	seek($f, $at, 0);
	read($f, my $byte, 1);
	seek($f, $at, 0);
	print $f chr(ord($byte) ^ ($bit // 0x10));
	close $f or die $!;
	return;
}

# Where the only copy of these bytes is.
sub place_of
{
	my ($path, $marker) = @_;
	my $bytes = slurp($path);
	my $at = index($bytes, $marker);
	die "no $marker in $path" if $at < 0;
	die "$marker twice in $path" if index($bytes, $marker, $at + 1) >= 0;
	return $at;
}

# The offset of the stripe meta with so many rows (map_format.h).
sub meta_of
{
	my ($path, $nrows) = @_;
	my $bytes = slurp($path);
	my @found = grep { unpack('L', substr($bytes, $_ + 24, 4)) == 0x56534D54 && unpack('L', substr($bytes, $_ + 24 + 24, 4)) == $nrows }
	  map { $_ * 8192 } 0 .. length($bytes) / 8192 - 1;
	die 'metas: ' . scalar(@found) unless @found == 1;
	return $found[0] + 24;
}

# (5,221) is row 220 of logical block 5
sub row_of { my ($tid) = @_; $tid =~ /\((\d+),(\d+)\)/ or die $tid; return ($1, $2 - 1); }

q1(q{
	CREATE TABLE rows (id int PRIMARY KEY, v text);
	INSERT INTO rows SELECT g, 'marker' || g || '<' || repeat('x', 60) FROM generate_series(1, 3000) g;
	CREATE TABLE other (id int, v text);
	INSERT INTO other SELECT g, 'other' || g FROM generate_series(1, 1000) g;
	CREATE TABLE wide (id int PRIMARY KEY, v text);
	ALTER TABLE wide ALTER v SET STORAGE EXTERNAL;
	INSERT INTO wide SELECT g, repeat('w', 10000) || 'wide' || g || '<' || repeat('w', 10000) FROM generate_series(1, 4) g;
	INSERT INTO wide SELECT 5, repeat('w', 23456);
	INSERT INTO wide SELECT 6, 'narrow';
	CREATE TABLE pages (id int, v text);
	ALTER TABLE pages ALTER v SET STORAGE EXTERNAL;
	INSERT INTO pages SELECT g, repeat('p', 70000) || 'pages' || g || '<' || repeat('p', 10000) FROM generate_series(1, 4) g;
	CREATE TABLE zoned (id int, v text);
	INSERT INTO zoned SELECT g, 'zoned' || g FROM generate_series(1, 30001) g;
	CREATE TABLE ranges (id int, v text);
	INSERT INTO ranges SELECT g, 'ranges' || g || '<' FROM generate_series(1, 70000) g;
	CREATE TABLE headless (id int, v text);
	INSERT INTO headless SELECT g, 'headless' || g FROM generate_series(1, 1003) g;
});
q1('CREATE TABLE columns (' . join(', ', map { "c$_ int" } 1 .. 40) . ')');
q1('INSERT INTO columns SELECT ' . join(', ', map { "g + $_" } 1 .. 40) . ' FROM generate_series(1, 30002) g');
migrate($node, $_) for qw(zoned columns headless);
verify_ok($node, $_) for qw(rows other wide pages zoned columns headless);
my ($row_lb, $row_index) = row_of(q1('SELECT ctid FROM rows WHERE id = 1500'));
my ($wide_lb, $wide_index) = row_of(q1('SELECT ctid FROM wide WHERE id = 3'));
my ($ref_lb, $ref_index) = row_of(q1('SELECT ctid FROM wide WHERE id = 5'));
my $segments = q1("SELECT count(*) FROM vdb.segments('rows')");
cmp_ok($segments, '>', 3, 'rows lie in some segments');

my $pool = path_of('vdb.scm');
my ($wide, $pages) = map { path_of($_) } qw(wide pages);
q1('CHECKPOINT');
$node->stop;
flip($pool, place_of($pool, 'marker1500<'));
flip($wide, place_of($wide, 'wide3<'));
flip($pages, place_of($pages, 'pages3<'));
flip($pool, place_of($pool, pack('LL', 3, 23464)) + 4);			# npages, data_bytes of a VdbWideRef
flip($pool, meta_of($pool, 30001) + 192 + 64 * 2 + 40 + 1, 0x40);	# chunk 1, first column: the maximum 16384 becomes 0
flip($pool, place_of($pool, 'ranges777<') - 37 + 1, 0x20);		# the length in the row's prefix: 8192 more
my $columns = meta_of($pool, 30002);
my $second = unpack('L', substr(slurp($pool), $columns + 192 + 4, 4)) * 8192;
flip($pool, $second + 24 + 64 * 10 + 40 + 1, 0x40);				# zone 137: chunk 3, column 18: 30020 becomes 13636
my $head = meta_of($pool, 1003);
flip($pool, $head + 28);										# nchunks
$node->start;

# verification: each, and nothing but it
like(findings('rows'), qr/^logical block $row_lb: row $row_index in pool block \d+ at offset \d+: wrong checksum, expected [0-9A-F]{8}, found [0-9A-F]{8}$/, 'a row is named');
my @wide = grep { !/^index/ } split /\n/, findings('wide');
is(scalar(@wide), 2, 'two wide rows') or diag(@wide);
like($wide[0], qr/^logical block $wide_lb, row $wide_index: wide row of relation "wide" fails its checksum: Expected \w+, found \w+ for \d+ bytes/, 'one by its pages');
like($wide[1], qr/^logical block $ref_lb: row $ref_index in pool block \d+ at offset \d+: wrong checksum/, 'one by what the segment has of it');
my ($meta_block, $zone_block, $head_block) = map { int($_ / 8192) } meta_of($pool, 30001), $second, $head;
like(findings('zoned'), qr/^logical block 0: zone maps of stripe \d+, in pool block $meta_block: wrong checksum, expected \w+, found \w+$/m, 'zone maps in the meta');
like(findings('columns'), qr/^logical block 0: zone maps of stripe \d+, in pool block $zone_block: wrong checksum/m, 'zone maps in a further block');
like(findings('headless'), qr/^logical block 0: metadata of stripe \d+, in pool block $head_block: wrong checksum/m, 'a meta');
verify_ok($node, 'other', 'other tables are sound');

# reading: the rest of the table, and rows of chunks whose zone maps are wrong
is(q1('SELECT count(*), count(*) FILTER (WHERE v ~ (\'^marker\' || id || \'<x+$\')) FROM rows'), '3000|2999', 'rows around it read');
is(q1('SET enable_seqscan = off; SELECT count(*), sum(length(v)) FROM wide WHERE id IN (1, 2, 4, 6)'), '4|60024', 'so do wide rows');
like(error_of($node, 'SELECT sum(length(v)) FROM wide WHERE id = 3'), qr/ERROR:\s+XX001:/, 'the wide row does not');
for my $case (['zoned', 'id', 16000], ['columns', 'c18', 30000], ['columns', 'c40', 30000])
{
	my ($table, $column, $value) = @$case;
	my ($out, $err);
	$node->psql('postgres', "SELECT count(*) FROM $table WHERE $column = $value", stdout => \$out, stderr => \$err);
	is($out, '1', "$table, $column: no row is lost");
	like($err, qr/WARNING:  zone maps of stripe \d+ of table "$table", in pool block \d+: wrong checksum/, "$table, $column: a warning");
}
my ($out, $err);
$node->psql('postgres', 'SELECT count(*) FROM columns WHERE c1 < 100', stdout => \$out, stderr => \$err);
is("$out$err", '98', 'other zone maps prune as ever');
like(error_of($node, 'SELECT count(*) FROM headless'), qr/ERROR:\s+XX001: metadata of stripe \d+ of table "headless"/, 'a stripe with a damaged meta is not read');

# migration: all but the segments of damaged rows
my $offset = $row_index + 1;
my $name = qr/row \($row_lb,$offset\) of table "rows" fails its checksum/;
like(migrate_error('rows'), qr/ERROR:\s+XX001: $name/, 'vdb.migrate names the row');
is(q1("SELECT count(*) FROM vdb.segments('rows')"), '1', 'its segment stays');
cmp_ok(q1("SELECT striped_rows FROM vdb.tables WHERE relation = 'rows'::regclass"), '>', 3000 * ($segments - 2) / $segments, 'the others move');
is(q1('SELECT count(*), sum(id) FROM rows'), '3000|4501500', 'all rows are there');
like(migrate_error('rows'), qr/XX001: $name/, 'the same again');
like(findings('rows'), qr/^logical block $row_lb: row $row_index in pool block [^\n]*$/, 'and it is still found');
like(migrate_error('wide'), qr/XX001: row \(\d+,\d+\) of table "wide" fails its checksum/, 'a wide row, too');
like(migrate_error('pages'), qr/XX001: row \(0,3\) of table "pages" fails its checksum/, 'also one whose pages are damaged');
is(q1("SELECT striped_rows FROM vdb.tables WHERE relation = 'pages'::regclass"), '0', 'it does not move');
q1("INSERT INTO headless VALUES (0, 'new')");
like(migrate_error('headless'), qr/XX001: metadata of stripe/, 'a damaged meta');
like(error_of($node, 'VACUUM FULL rows'), qr/XX001: $name/, 'nor does a copy of the table take it');
like(error_of($node, 'CLUSTER rows USING rows_pkey'), qr/XX001: $name/, 'in no order');

# damage that is an error for any read keeps one range of row numbers, not the next
like(migrate_error('ranges'), qr/XX001: row segment at block \d+ of the pool has a damaged row in slot/, 'a damaged length is an error');
cmp_ok(q1("SELECT striped_rows FROM vdb.tables WHERE relation = 'ranges'::regclass"), '>', 1000, 'other ranges move');

# the worker: one report for each table, and the others' rows move
$node->stop;
my $log = -s $node->logfile;
$node->append_conf('postgresql.conf', "vdb.migrate_enabled = on\nvdb.migrate_after = 100\nvdb.migrate_min_rows = 0\n");
$node->start;
q1("CREATE TABLE later (id int); INSERT INTO later SELECT generate_series(1, 1000)");
$node->poll_query_until('postgres', "SELECT striped_rows = 1000 FROM vdb.tables WHERE relation = 'later'::regclass") or fail('other tables move');
is(q1("SELECT striped_rows FROM vdb.tables WHERE relation = 'other'::regclass"), '1000', 'other tables move');
sleep 4;
q1("INSERT INTO later SELECT generate_series(1, 1000)");
$node->poll_query_until('postgres', "SELECT striped_rows = 2000 FROM vdb.tables WHERE relation = 'later'::regclass") or fail('and go on to');
my $reports = slurp_file($node->logfile, $log);
is(scalar(() = $reports =~ /WARNING:  $name/g), 1, 'the row is reported once');
is(scalar(() = $reports =~ /WARNING:  row \(\d+,\d+\) of table "wide"/g), 1, 'the wide row is');
is(scalar(() = $reports =~ /WARNING:  metadata of stripe \d+ of table "headless"/g), 1, 'the meta is');

# without the row the table is sound
is(q1('DELETE FROM rows WHERE id = 1500 RETURNING 1'), '1', 'the row can be deleted');
$node->poll_query_until('postgres', "SELECT pool_rows = 0 FROM vdb.tables WHERE relation = 'rows'::regclass") or fail('then the rest moves');
is(q1('SELECT count(*), sum(id) FROM rows'), '2999|4500000', 'the rest moves');
verify_ok($node, 'rows', 'and is sound');
is(error_of($node, 'VACUUM FULL zoned'), '', 'a copy makes new zone maps');
verify_ok($node, 'zoned', 'and they are right');
$node->stop;
done_testing();
