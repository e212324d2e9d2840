# What the tests of logical decoding share: a script run on heap and on vdb, its stream, and how two streams differ.
package DecodeTest;

use strict;
use warnings;
use Exporter 'import';
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

our @EXPORT = qw(has_plugin random_text run_script first_difference sorted_changes messages);

sub has_plugin { my ($name) = @_; return -e `pg_config --pkglibdir` =~ s/\n//r . "/$name.so"; }

# A function r(length, seed): text that does not compress.
sub random_text
{
	return q{CREATE FUNCTION r(n int, seed int) RETURNS text LANGUAGE sql AS $$ SELECT string_agg(md5((g * 1000 + seed)::text), '') FROM generate_series(1, n / 32) g $$;} . "\n";
}

# Runs a script in a new schema s, with an access method (psql's variable am) and vdb.debug_migrate. Returns how many rows migrated.
sub run_script
{
	my ($node, $am, $moves, $script) = @_;
	my $file = $node->basedir . '/script.sql';
	my $set = "SET default_table_access_method = '$am';\n" . ($am eq 'vdb' ? "SET vdb.debug_migrate = '$moves';\n" : '');
	$node->safe_psql('postgres', 'SET client_min_messages = error; DROP SCHEMA IF EXISTS s CASCADE; CREATE SCHEMA s');
	my $moved = has_vdb() ? 'SELECT rows_migrated FROM vdb.pool' : 'SELECT 0';
	my $before = $node->safe_psql('postgres', $moved);
	open(my $f, '>', $file) or die "$file: $!";
	print $f "SET client_min_messages = warning;\nSET search_path = s, public;\n$set$script";
	close $f;
	my ($out, $err);
	$node->psql('postgres', '', extra_params => [ '-f', $file, '-v', "am=$am" ], stdout => \$out, stderr => \$err);
	is($err, '', "$am $moves: no error") if $err ne '';
	return $node->safe_psql('postgres', $moved) - $before;
}

# Long values are of no use in a failure's report.
sub shorten { return $_[0] =~ s/'([^']{60})[^']{200,}'/"'$1..." . length($&) . "'"/ger; }

sub first_difference
{
	my @got = split(/\n/, $_[0]);
	my @heap = split(/\n/, $_[1]);
	my $at = 0;
	$at++ while $at < @got && $at < @heap && $got[$at] eq $heap[$at];
	my $from = $at > 3 ? $at - 3 : 0;
	return "from line $from:\n" . join("\n", map { "vdb:  " . shorten($_ // '') } @got[ $from .. $at + 2 ]) . "\n" .
		join("\n", map { "heap: " . shorten($_ // '') } @heap[ $from .. $at + 2 ]);
}

# The order of the rows that one statement changes is heap's free space's: sorts the changes of each transaction.
sub sorted_changes
{
	my ($stream) = @_;
	my (@out, @changes);
	for (split(/\n/, $stream))
	{
		if (/^(table|INSERT|UPDATE|DELETE)/) { push @changes, $_; next; }
		push @out, sort(@changes), $_;
		@changes = ();
	}
	return join("\n", @out, sort(@changes));
}

# ---- pgoutput ----

my ($bytes, $at);    # a message, and how much of it was read

sub take { my ($n) = @_; my $part = substr($bytes, $at, $n); $at += $n; return $part; }
sub number { my ($n) = @_; return unpack($n == 1 ? 'C' : $n == 2 ? 'n' : 'N', take($n)); }
sub string { my $end = index($bytes, "\0", $at); my $s = substr($bytes, $at, $end - $at); $at = $end + 1; return $s; }

sub tuple
{
	my @values;
	for (1 .. number(2))
	{
		my $kind = take(1);
		if ($kind =~ /[tb]/) { my $value = take(number(4)); push @values, "$kind'" . ($kind eq 'b' ? unpack('H*', $value) : $value) . "'"; }
		else { push @values, $kind; }
	}
	return '(' . join(' ', @values) . ')';
}

# The messages of pgoutput, a line each, from lines of hex. Transactions are numbered; OIDs become names, LSNs and times nothing.
sub messages
{
	my ($hex) = @_;
	my (%name, %xid, @out);
	my $streaming = 0;
	my $xact = sub { my ($xid) = @_; $xid{$xid} //= 1 + keys %xid; return "x$xid{$xid}"; };
	for my $line (split(/\n/, $hex))
	{
		$bytes = pack('H*', $line);
		$at = 0;
		my $kind = take(1);
		my $in = $streaming && $kind =~ /[RYIUDTM]/ ? ' in ' . $xact->(number(4)) : '';
		my $text;
		if ($kind eq 'B') { $text = 'BEGIN'; }
		elsif ($kind eq 'C') { $text = 'COMMIT'; }
		elsif ($kind eq 'O') { take(8); $text = 'ORIGIN ' . string(); }
		elsif ($kind eq 'R')
		{
			my $oid = number(4);
			$name{$oid} = string() . '.' . string();
			$text = "RELATION $name{$oid} identity " . take(1);
			for (1 .. number(2))
			{
				my ($key, $column, $type, $mod) = (number(1), string(), number(4), number(4));
				$text .= " $column" . ($key ? ' key' : '') . ' ' . ($type < 16384 ? $type : 'user') . " $mod";
			}
		}
		elsif ($kind eq 'Y') { take(4); $text = 'TYPE ' . string() . '.' . string(); }
		elsif ($kind eq 'I') { my $oid = number(4); $text = "INSERT $name{$oid} " . take(1) . tuple(); }
		elsif ($kind =~ /[UD]/)
		{
			my $oid = number(4);
			$text = ($kind eq 'U' ? 'UPDATE ' : 'DELETE ') . $name{$oid};
			$text .= ' ' . take(1) . tuple() while $at < length($bytes);
		}
		elsif ($kind eq 'T')
		{
			my ($n, $flags) = (number(4), number(1));
			$text = "TRUNCATE $flags " . join(' ', map { $name{ number(4) } } 1 .. $n);
		}
		elsif ($kind eq 'M') { take(1 + 8); my $prefix = string(); $text = "MESSAGE $prefix " . take(number(4)); }
		elsif ($kind eq 'S') { $streaming = 1; my $x = $xact->(number(4)); $text = "STREAM $x first " . number(1); }
		elsif ($kind eq 'E') { $streaming = 0; $text = 'STREAM END'; }
		elsif ($kind eq 'c') { $text = 'STREAM COMMIT ' . $xact->(number(4)); }
		elsif ($kind eq 'A') { my $top = $xact->(number(4)); $text = "STREAM ABORT $top " . $xact->(number(4)); }
		elsif ($kind eq 'b') { take(8 + 8 + 8 + 4); $text = 'BEGIN PREPARE ' . string(); }
		elsif ($kind =~ /[PKp]/) { take(1 + 8 + 8 + 8 + 4); $text = "PREPARE ($kind) " . string(); }
		elsif ($kind eq 'r') { take(1 + 8 + 8 + 8 + 8 + 4); $text = 'ROLLBACK PREPARED ' . string(); }
		else { die "a message of kind $kind"; }
		die "$kind: $at of " . length($bytes) . ' bytes read' if $at != length($bytes) && $kind =~ /[RIUDTY]/;
		push @out, $text . $in;
	}
	return join("\n", @out);
}

1;
