# What wal_level = logical adds to WAL, record by record: nothing at replica, little at logical. Two clusters differ in their wal_level
# alone and run the same statements. At replica every record of ours has the bytes that its format says without events, and no more: its
# main data is head, block locks and what its description names. Each record at logical is the one at replica and, if it is decoded,
# an event, whose bytes are those that src/decode/README.md promises for the statement. All in all WAL at logical has a tenth more at most.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;
use DecodeTest;

plan skip_all => 'about vdb' unless has_vdb();
plan skip_all => 'pg_walinspect is not installed' unless has_plugin('pg_walinspect');

my %node;
for my $level (qw(replica logical))
{
	# no full pages: which pages need one depends on checkpoints
	$node{$level} = new_node($level, init => { allows_streaming => 1 },
		conf => "wal_level = $level\nautovacuum = off\nvdb.migrate_enabled = off\nfull_page_writes = off\nmax_wal_size = 4GB\nmax_prepared_transactions = 10\n");
	$node{$level}->safe_psql('postgres', random_text() . 'CREATE EXTENSION pg_walinspect');
	is($node{$level}->safe_psql('postgres', 'SHOW wal_level'), $level, "a cluster at $level");
}

# Runs statements in one session; what they write after some others: bytes, and its records, each a hash.
sub written
{
	my ($node, $setup, $sql) = @_;
	my $here = 'SELECT pg_current_wal_insert_lsn()';
	my ($from) = $node->safe_psql('postgres', "SET client_min_messages = error; $setup; $here") =~ /(\S+)\z/;
	$node->safe_psql('postgres', $sql);
	my ($to) = split(/\n/, $node->safe_psql('postgres', "$here; SELECT pg_logical_emit_message(true, 'flush', '')"));
	my @names = qw(manager type length main description);
	my @records = map { my %r; @r{@names} = split(/\|/, $_, scalar(@names)); \%r } split(/\n/, $node->safe_psql('postgres',
		"SELECT resource_manager, record_type, record_length, main_data_length, description FROM pg_get_wal_records_info('$from', '$to')"));
	return ($node->safe_psql('postgres', "SELECT '$to'::pg_lsn - '$from'::pg_lsn"), @records);
}

# The main data of a change's record without an event, from its description (scm_format.h). Nothing for another record.
sub plain_bytes
{
	my ($r) = @_;
	return unless $r->{description} =~ /^version \d+; blocks \d+; block locks (\d+)/;
	return 4 + 2 * $1 + ($r->{description} =~ /latestRemovedXid/ ? 4 : 0) + ($r->{description} =~ /extends/ ? 4 : 0);
}

# Bytes that a record has before its main data: 2 if it is short, else 5, none without any.
sub data_head { my ($main) = @_; return $main == 0 ? 0 : $main < 256 ? 2 : 5; }

# Compares what a statement writes at both levels. events: how many bytes its events have, and how many of each there are;
# most: by how much WAL may grow, if it may.
sub compare
{
	my ($label, %opt) = @_;
	my (%bytes, %ours);
	for my $level (qw(replica logical))
	{
		($bytes{$level}, my @all) = written($node{$level}, "DROP TABLE IF EXISTS w; $opt{setup}", $opt{sql});
		# at replica a page of a wide row is the server's own record
		$ours{$level} = [ grep { $_->{manager} eq 'vdb_am' || $_->{type} eq 'FPI' } @all ];
	}

	# at replica: the format's bytes, no more
	my @replica = @{ $ours{replica} };
	my @longer = grep { $_->{description} =~ /decoded/ || $_->{type} eq 'EVENT' || (defined plain_bytes($_) && plain_bytes($_) != $_->{main}) } @replica;
	cmp_ok(scalar(grep { defined plain_bytes($_) } @replica), '>', 0, "$label: there are records of changes");
	is(scalar(@longer), 0, "$label: at replica no record has an event") or diag(join("\n", map { "$_->{type} $_->{main}: $_->{description}" } @longer));
	is(scalar(grep { $_->{manager} eq 'vdb_am' && $_->{type} eq 'PAGE' && $_->{main} != 8 } @replica), 0, "... nor a page more than the server's record of it")
	  if grep { $_->{type} =~ /PAGE|FPI/ } @replica;

	# at logical: the same records, and events
	my @logical = @{ $ours{logical} };
	my @chunks = grep { $_->{type} eq 'EVENT' } @logical;
	@logical = grep { $_->{type} ne 'EVENT' } @logical;
	is(scalar(@logical), scalar(@replica), "$label: as many records at logical");
	my (%events, @differ);
	for my $i (0 .. $#logical)
	{
		my ($r, $l) = ($replica[$i] // last, $logical[$i]);
		my $more = $l->{main} - $r->{main};
		$more += data_head($l->{main}) - data_head($r->{main}) if $r->{type} eq 'FPI';
		$events{$more}++ if $more > 0;
		my $plain = $l->{description} =~ s/; decoded//r;
		# pages of stripes are the server's at both levels
		my $same = $r->{type} eq 'FPI' ? $l->{type} eq ($more > 0 ? 'PAGE' : 'FPI') : $l->{type} eq $r->{type} && $plain eq $r->{description} && ($more > 0) == ($l->{description} =~ /decoded/);
		# 5 bytes: a record may say which transaction its subtransaction belongs to (the server's)
		my $length = $l->{length} - $r->{length} - ($l->{main} - $r->{main}) - (data_head($l->{main}) - data_head($r->{main}));
		push @differ, "$i: $r->{type} $r->{length} $r->{main} $r->{description}\n   $l->{type} $l->{length} $l->{main} $l->{description}" unless $same && ($length == 0 || $length == 5 && $opt{subxacts});
	}
	is(scalar(@differ), 0, "$label: each record is replica's, and an event if it is decoded") or diag(join("\n", @differ[ 0 .. ($#differ < 4 ? $#differ : 4) ]));
	my $found = join(' ', map { "$events{$_} of $_" } sort { $a <=> $b } keys %events);
	ref $opt{events} ? like($found, $opt{events}, "$label: events, and their bytes") : is($found, $opt{events}, "$label: how many events of how many bytes");
	is(scalar(@chunks) > 0, !!$opt{chunks}, "$label: chunks of old rows") if $opt{chunks} || @chunks;
	cmp_ok($bytes{logical} / $bytes{replica}, '<=', $opt{most}, "$label: WAL at logical beside replica's ($bytes{replica}, $bytes{logical})") if $opt{most};
	return;
}

my $columns = 'a int PRIMARY KEY, b int, c text';
my $table = "CREATE TABLE w ($columns); ALTER TABLE w ALTER c SET STORAGE EXTERNAL; ";
my $filled = $table . "INSERT INTO w SELECT g, g, 'some text' FROM generate_series(1, 1000) g; ";
my $identity = sub { return "ALTER TABLE w REPLICA IDENTITY $_[0]; "; };
# a statement for each row
sub each_row { my ($sql) = @_; return "DO \$\$ BEGIN FOR i IN 1..1000 LOOP $sql; END LOOP; END \$\$"; }

compare('single insertions', setup => $filled, sql => each_row("INSERT INTO w VALUES (10000 + i, i, 'some text')"), events => '1000 of 5', most => 1.10);
compare('single updates of other columns', setup => $filled, sql => each_row('UPDATE w SET b = b + 1 WHERE a = i'), events => '1000 of 5', most => 1.10);
# the number of columns, one column of the key, its four bytes
compare('single updates of the key', setup => $filled, sql => each_row('UPDATE w SET a = -a WHERE a = i'), events => '1000 of 12', most => 1.10);
compare('single deletions', setup => $filled, sql => each_row('DELETE FROM w WHERE a = i'), events => '1000 of 12', most => 1.10);
compare('single deletions, no identity', setup => $filled . $identity->('NOTHING'), sql => each_row('DELETE FROM w WHERE a = i'), events => '1000 of 5', most => 1.10);
compare('a key of two columns', setup => $filled . "ALTER TABLE w ALTER b SET NOT NULL; CREATE UNIQUE INDEX ON w (b, a); " . $identity->('USING INDEX w_b_a_idx'), sql => each_row('DELETE FROM w WHERE a = i'), events => '1000 of 17');
# five bytes of header, the bitmap up to the data, 4 + 4 + 1 + 9 of data
compare('single deletions with the whole row', setup => $filled . $identity->('FULL'), sql => each_row('DELETE FROM w WHERE a = i'), events => '1000 of 29');
compare('insertions that conflict or not', setup => $filled, sql => each_row("INSERT INTO w VALUES (500 + i, i, 'x') ON CONFLICT (a) DO UPDATE SET b = -1"), events => '1500 of 5', most => 1.10);
compare('subtransactions', setup => $filled, sql => each_row("BEGIN INSERT INTO w VALUES (10000 + i, i, 'x'); EXCEPTION WHEN division_by_zero THEN NULL; END"), events => '1000 of 5', subxacts => 1, most => 1.10);
compare('one that is rolled back', setup => $filled, sql => "BEGIN; UPDATE w SET b = 0 WHERE a = 1; ROLLBACK", events => '1 of 5');
compare('prepared', setup => $filled, sql => "BEGIN; UPDATE w SET b = 0 WHERE a = 1; PREPARE TRANSACTION 'p'; COMMIT PREPARED 'p'", events => '1 of 5');

# rows of one statement, as many in a record as there is room for
compare('one insertion of many rows', setup => $filled, sql => "INSERT INTO w SELECT 20000 + g, g, 'some text' FROM generate_series(1, 1000) g", events => '1000 of 5', most => 1.10);
compare('one update of many rows', setup => $filled, sql => 'UPDATE w SET b = b + 1', events => '1000 of 5', most => 1.10);
compare('one deletion of many rows', setup => $filled, sql => 'DELETE FROM w', events => '1000 of 12', most => 1.10);
my $file = $node{replica}->basedir . '/rows';
$node{replica}->safe_psql('postgres', "COPY (SELECT g, g, 'some text' FROM generate_series(1, 1000) g) TO '$file'");
compare('COPY', setup => $table, sql => "COPY w FROM '$file'", events => qr/^\d{1,2} of 5$/, most => 1.10);

# wide rows: 14 bytes a page, its records being ours at logical; the row's own event
compare('wide rows', setup => $filled, sql => "INSERT INTO w SELECT 30000 + g, g, r(20000, g) FROM generate_series(1, 20) g", events => '20 of 5 60 of 14', most => 1.10);
my $wide = $table . 'INSERT INTO w SELECT g, g, r(20000, g) FROM generate_series(1, 20) g; ';
# one unchanged column: its number and how many there are
compare('updates of wide rows', setup => $wide, sql => 'UPDATE w SET b = b + 1', events => '20 of 7 60 of 14', most => 1.10);
compare('deletions of wide rows', setup => $wide, sql => 'DELETE FROM w', events => '20 of 12', most => 1.10);
compare('deletions of wide rows with the whole row', setup => $wide . $identity->('FULL'), sql => 'DELETE FROM w', events => '20 of 9', chunks => 1);

# what is not decoded costs nothing
compare('moving rows to stripes, VACUUM and locks', setup => $filled . 'DELETE FROM w WHERE a % 3 = 0; ', sql => "CALL test_migrate('w'); UPDATE w SET b = 0 WHERE a < 0; SELECT a FROM w WHERE a < 10 FOR UPDATE; VACUUM w", events => '', most => 1.10);
compare('rows of stripes', setup => $filled . "CALL test_migrate('w'); ", sql => 'UPDATE w SET b = 0 WHERE a <= 500; DELETE FROM w WHERE a > 500', events => '500 of 5 500 of 12', most => 1.10);
$_->stop for values %node;
done_testing();
