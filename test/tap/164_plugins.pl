# Output plugins of others, where Debian's packages postgresql-15-wal2json and postgresql-15-decoderbufs are installed: what they print of vdb tables
# must be what they print of heap tables. One script of DML runs on both: columns of all kinds, every replica identity, wide values, subtransactions,
# partitions, a table that changes. Rows are in the pool, move to stripes before each statement, or move around every statement. A server that has
# the setting output_plugin_libraries refuses these plugins until it names them.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;
use DecodeTest;

my @plugins = grep { has_plugin($_) } qw(wal2json decoderbufs);
plan skip_all => 'neither wal2json nor decoderbufs is installed' unless @plugins;
note("plugins: @plugins");

my $node = new_node('plugins', init => { allows_streaming => 'logical' },
	conf => "autovacuum = off\nvdb.migrate_enabled = off\nlogical_decoding_work_mem = 64kB\nmax_prepared_transactions = 10\n");
$node->safe_psql('postgres', random_text());

# ---- the server must be told of them ----

if ($node->safe_psql('postgres', "SELECT count(*) FROM pg_settings WHERE name = 'output_plugin_libraries'"))
{
	like(error_of($node, "SELECT pg_create_logical_replication_slot('s', '$plugins[0]')"), qr/may not be used as an output plugin/, "$plugins[0] is refused where it is not named");
	$node->append_conf('postgresql.conf', "output_plugin_libraries = 'pgoutput, test_decoding, wal2json, decoderbufs'\n");
	$node->reload;
	$node->poll_query_until('postgres', "SELECT current_setting('output_plugin_libraries') ~ 'wal2json'") or die 'the setting is not read';
}

# ---- messages of decoderbufs (protocol buffers) ----

my ($bytes, $at);

sub varint
{
	my ($value, $shift) = (0, 0);
	while (1)
	{
		my $byte = ord(substr($bytes, $at++, 1));
		$value |= ($byte & 127) << $shift;
		$shift += 7;
		return $value if $byte < 128;
	}
}

# A message up to $end: 'number=value' for each field, by the fields' names and the messages among them.
my %message = (
	row => { 1 => 'xid', 2 => 'time', 3 => 'table', 4 => 'op', 5 => 'new datum', 6 => 'old datum', 7 => 'typeinfo type' },
	datum => { 1 => 'column', 2 => 'oid', map { $_ => "as$_" } 3 .. 11 },
	type => { 1 => 'modifier', 2 => 'optional' });

sub message_text
{
	my ($kind, $end) = @_;
	my @out;
	while ($at < $end)
	{
		my $key = varint();
		my ($field, $wire) = ($key >> 3, $key & 7);
		my ($name, $inner) = split(/ /, $message{$kind}{$field} // $field);
		my $value;
		if ($wire == 0) { $value = varint(); }
		elsif ($wire == 2)
		{
			my $len = varint();
			if ($inner) { $value = '(' . message_text($inner, $at + $len) . ')'; }
			else { $value = "'" . substr($bytes, $at, $len) . "'"; $at += $len; }
		}
		else { my $len = $wire == 1 ? 8 : 4; $value = unpack('H*', substr($bytes, $at, $len)); $at += $len; }
		# what differs between two runs: transactions, and types that the script makes
		next if $name eq 'xid' || $name eq 'time';
		$value = 'user' if $name eq 'oid' && $value >= 16384;
		push @out, "$name=$value";
	}
	die "a message of decoderbufs: $at, not $end" if $at != $end;
	return join(' ', @out);
}

# Messages from lines of hex. The operation is 0 for an insertion, 1 update, 2 deletion, 3 begin, 4 commit.
sub buffers
{
	my ($hex) = @_;
	my @out;
	for my $line (split(/\n/, $hex))
	{
		$bytes = pack('H*', $line);
		$at = 0;
		my $text = message_text('row', length($bytes)) =~ s/[^ -~]/sprintf('\\%03o', ord($&))/ger;
		push @out, ($text =~ /op=[012]/ ? 'table ' : '') . $text;
	}
	return join("\n", @out);
}

# ---- streams ----

# Ways of reading a slot: name, plugin, options.
my @ways = grep { my $way = $_; grep { $_ eq $way->[1] } @plugins }
	[ 'wal2json 1', 'wal2json', "'format-version', '1', 'write-in-chunks', '1', 'include-types', '1', 'include-not-null', '1', 'include-pk', '1', 'include-domain-data-type', '1'" ],
	[ 'wal2json 2', 'wal2json', "'format-version', '2', 'include-types', '1', 'include-not-null', '1', 'include-pk', '1', 'include-default', '1', 'include-column-positions', '1'" ],
	[ 'wal2json 2, some', 'wal2json', "'format-version', '2', 'filter-tables', 's.t_full, s.part_1', 'actions', 'update, delete, truncate'" ],
	[ 'decoderbufs', 'decoderbufs', '' ];

# The stream of a slot, a change a line that begins with 'table'. Changes are sorted in each transaction; those without changes are left out, since
# what moves rows has transactions, too.
sub stream
{
	my ($plugin, $options) = @_;
	my $arguments = "'$plugin', NULL, NULL" . ($options ? ", $options" : '');    # the slot has the plugin's name
	my $text;
	if ($plugin eq 'decoderbufs')
	{
		$text = buffers($node->safe_psql('postgres', "SELECT encode(data, 'hex') FROM pg_logical_slot_peek_binary_changes($arguments)"));
	}
	else
	{
		$text = $node->safe_psql('postgres', "SELECT data FROM pg_logical_slot_peek_changes($arguments)");
		$text =~ s/^,?(\{"(kind"|action":"[IUD]"))/table $1/mg;
	}
	$text =~ s/^(\{"change":\[\n\]\}|\{"action":"B"\}\n\{"action":"C"\}|op=3\nop=4)(\n|\z)//mg;
	return sorted_changes($text);
}

sub same_streams
{
	my ($label, $script, %has) = @_;
	my %heap;
	for my $run ([ 'heap', 'off' ], has_vdb() ? ([ 'vdb', 'off' ], [ 'vdb', 'resolved' ], [ 'vdb', 'all' ]) : ())
	{
		my ($am, $moves) = @$run;
		for my $plugin (@plugins)
		{
			$node->psql('postgres', "SELECT pg_drop_replication_slot('$plugin')") if %heap;
			$node->safe_psql('postgres', "SELECT pg_create_logical_replication_slot('$plugin', '$plugin')");
		}
		my $moved = run_script($node, $am, $moves, $script);
		cmp_ok($moved, '>', 0, "$label: rows move ($moves)") if $moves ne 'off';
		for my $way (@ways)
		{
			my ($name, $plugin, $options) = @$way;
			my $stream = stream($plugin, $options);
			if ($am eq 'heap')
			{
				$heap{$name} = $stream;
				ok($stream =~ $has{$name}, "$label, $name: heap's stream has what it is about") or diag(substr($stream, -2000));
				next;
			}
			ok($stream eq $heap{$name}, "$label, $name, moves $moves: as heap") or diag(first_difference($stream, $heap{$name}));
		}
	}
	$node->safe_psql('postgres', "SELECT pg_drop_replication_slot('$_')") for @plugins;
	return;
}

# ---- columns of all kinds ----

my %columns = (
	i2 => [ 'smallint', '(-g)' ], i4 => [ 'int', 'g' ], i8 => [ 'bigint', 'g * 10000000000' ], o => [ 'oid', 'g' ],
	nu => [ 'numeric', "CASE g % 3 WHEN 0 THEN 'NaN' ELSE g * 1.50 END" ], nu2 => [ 'numeric(20, 4)', 'g / 7.0' ], f4 => [ 'real', 'g / 3.0' ],
	f8 => [ 'float8', "CASE g % 4 WHEN 0 THEN '-Infinity' ELSE g / 3.0 END" ], b => [ 'boolean', 'g % 2 = 0' ], c => [ 'char(7)', "'c' || g" ], c1 => [ '"char"', "'x'" ],
	vc => [ 'varchar(20)', q{'"quoted" \\ ' || g} ], tx => [ 'text', "E'line\\n\\t' || g" ], by => [ 'bytea', "decode(md5(g::text), 'hex')" ],
	da => [ 'date', "date '2020-01-01' + g" ], ti => [ 'time', "time '10:00' + g * interval '1 second'" ], tz => [ 'timetz', "'10:00+02'" ],
	ts => [ 'timestamp', "timestamp '2020-01-01' + g * interval '1 hour'" ], tstz => [ 'timestamptz', "timestamptz '2020-01-01 00:00+00' + g * interval '1 hour'" ],
	iv => [ 'interval', "g * interval '1 day 2 hours'" ], uu => [ 'uuid', 'md5(g::text)::uuid' ], js => [ 'json', q{'{"a": [1, null]}'} ], jb => [ 'jsonb', q{jsonb_build_object('g', g, 'x', 'y')} ],
	po => [ 'point', 'point(g, -g)' ], bx => [ 'box', "'(1,2),(3,4)'" ], ip => [ 'inet', "'10.1.2.3/24'" ], ma => [ 'macaddr', "'08:00:2b:01:02:03'" ],
	ia => [ 'int[]', 'ARRAY[g, NULL, g]' ], ta => [ 'text[]', q{ARRAY['a,b', 'c"d']} ], ra => [ 'int4range', 'int4range(g, g + 5)' ], ve => [ 'tsvector', "to_tsvector('simple', 'word' || g)" ],
	mo => [ 'money', "g::money" ], bi => [ 'bit(5)', "B'10101'" ], vb => [ 'bit varying', "B'101'" ], na => [ 'name', "'name' || g" ], xi => [ 'xid8', "g::text::xid8" ],
	en => [ 's.mood', "CASE g % 2 WHEN 0 THEN 'sad' ELSE 'glad' END::s.mood" ], dm => [ 's.positive', 'g' ], co => [ 's.pair', "ROW(g, 'two')::s.pair" ], ed => [ 's.words', "ARRAY['w' || g]::s.words" ]);
my @names = sort keys %columns;
my $definition = join(', ', map { "$_ $columns{$_}[0]" } @names);
my $values = join(', ', map { $columns{$_}[1] } @names);
my $nulls = join(', ', map { "$_ = NULL" } @names);
my $types = q{
CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE DOMAIN positive AS int CHECK (value > 0);
CREATE TYPE pair AS (x int, y text);
CREATE DOMAIN words AS text[];
};
same_streams('types', "$types
CREATE TABLE t (k int PRIMARY KEY, $definition, gen int GENERATED ALWAYS AS (k * 2) STORED, d text DEFAULT 'default');
INSERT INTO t SELECT g, $values FROM generate_series(1, 12) g;
UPDATE t SET d = 'updated' WHERE k % 3 = 0;
UPDATE t SET k = k + 100 WHERE k % 4 = 0;
UPDATE t SET $nulls WHERE k = 5;
ALTER TABLE t REPLICA IDENTITY FULL;
UPDATE t SET i4 = -1 WHERE k < 4;
DELETE FROM t WHERE k % 2 = 0;
ALTER TABLE t DROP COLUMN nu, ADD COLUMN late text DEFAULT 'late';
UPDATE t SET d = NULL WHERE k = 1;
INSERT INTO t (k, late) VALUES (1000, 'new');
DELETE FROM t;
", 'wal2json 1' => qr/"kind":"update".*"oldkeys"/, 'wal2json 2' => qr/"action":"U".*"identity"/, 'wal2json 2, some' => qr/./s, decoderbufs => qr/op=1 .*old=\(column='k' oid=23 as3=1\) old=/);

# ---- replica identities, wide values ----

my $more = 'a int NOT NULL, k text NOT NULL, n int, v text, w text, x text';
my @kinds = qw(t_default t_index t_full t_nothing t_none);
my $tables = join("\n", map { "CREATE TABLE $_ ($more); ALTER TABLE $_ ALTER w SET STORAGE EXTERNAL;" } @kinds) . q{
ALTER TABLE t_default ADD PRIMARY KEY (a);
CREATE UNIQUE INDEX i ON t_index (k);
ALTER TABLE t_index REPLICA IDENTITY USING INDEX i;
ALTER TABLE t_full REPLICA IDENTITY FULL;
ALTER TABLE t_nothing ADD PRIMARY KEY (a), REPLICA IDENTITY NOTHING;
};
my $changes = join("\n", map {
	my $t = $_;
	"INSERT INTO $t SELECT g, 'k' || g, g * 10, CASE WHEN g % 3 > 0 THEN 'v' || g END, CASE g % 3 WHEN 0 THEN r(3000, g) WHEN 1 THEN r(20000, g) END, repeat('x', g * 1500) FROM generate_series(1, 12) g;
UPDATE $t SET v = 'new' WHERE a = 1;
UPDATE $t SET a = a + 100 WHERE a IN (2, 11);
UPDATE $t SET k = 'x' || a WHERE a IN (3, 4);
UPDATE $t SET n = 1, w = NULL WHERE a = 6;
UPDATE $t SET w = r(20000, 77), x = 'short' WHERE a = 8;
BEGIN; UPDATE $t SET a = 20 WHERE a = 9; SAVEPOINT s; DELETE FROM $t; INSERT INTO $t VALUES (30, 'k30', 1, 'v', r(40000, 1)); ROLLBACK TO s; UPDATE $t SET n = 0 WHERE a = 20; INSERT INTO $t VALUES (31, 'k31', 1, 'v', r(40000, 2)); COMMIT;
BEGIN; DELETE FROM $t; ROLLBACK;
INSERT INTO $t SELECT g, 'many' || g FROM generate_series(1000, 1500) g;
DELETE FROM $t WHERE a < 6;
DELETE FROM $t;"
} @kinds) . "\n";
same_streams('identities and wide values', "$tables$changes", 'wal2json 1' => qr/"table":"t_index".*"oldkeys"/, 'wal2json 2' => qr/"action":"D".*"table":"t_full"/,
	'wal2json 2, some' => qr/\A(?!.*t_full).*"action":"U".*t_default/s, decoderbufs => qr/op=1 .*as11=/);

# ---- partitions, upserts, TRUNCATE, two-phase, messages ----

same_streams('partitions and the rest', q{
CREATE TABLE part (a int, b text, n int, PRIMARY KEY (a)) PARTITION BY RANGE (a);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (100);
CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM (100) TO (200) USING heap;
CREATE TABLE part_3 (n int, x int, b text, a int NOT NULL);
ALTER TABLE part_3 DROP COLUMN x;
ALTER TABLE part ATTACH PARTITION part_3 FOR VALUES FROM (200) TO (300);
INSERT INTO part SELECT g, repeat(md5(g::text), 100), g FROM generate_series(0, 290, 10) g;
UPDATE part SET n = -n WHERE a % 3 = 0;
UPDATE part SET a = a + 105 WHERE a < 50;
INSERT INTO part SELECT g, 'upsert', 0 FROM generate_series(0, 290, 15) g ON CONFLICT (a) DO UPDATE SET b = excluded.b, n = part.n + 1;
SELECT 1 FROM pg_logical_emit_message(true, 'prefix', 'a message');
BEGIN; UPDATE part SET n = 2 WHERE a < 120; PREPARE TRANSACTION 'p'; COMMIT PREPARED 'p';
BEGIN; DELETE FROM part; PREPARE TRANSACTION 'p'; ROLLBACK PREPARED 'p';
CREATE TABLE t (a int PRIMARY KEY, b text);
INSERT INTO t SELECT g, 'b' || g FROM generate_series(1, 2000) g;
ALTER TABLE t ALTER a TYPE bigint;
UPDATE t SET b = 'rewritten' WHERE a % 500 = 0;
CLUSTER t USING t_pkey;
DELETE FROM t WHERE a % 700 = 0;
BEGIN; INSERT INTO t VALUES (0, 'gone'); TRUNCATE t, part_1; INSERT INTO t VALUES (0, 'stays'); COMMIT;
DELETE FROM part;
}, 'wal2json 1' => qr/"table":"part_3"/, 'wal2json 2' => qr/"action":"T"/, 'wal2json 2, some' => qr/\A(?!.*part_1).*"action":"T"/s, decoderbufs => qr/table='s.part_3'|part_3/);

$node->stop;
done_testing();
