# What the TAP tests share: clusters with the extension in place, and what a table holds in one line.
#
# VDB_TEST_AM=heap runs the same steps on heap, without the extension, to check the tests themselves;
# steps that only vdb has ask has_vdb().

package VdbTest;

use strict;
use warnings;
use Exporter 'import';
use FindBin;
use IO::Select;
use IPC::Open2;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(am has_vdb new_node prepare_db digest migrate verify_ok error_of start_session
  session_query end_session same_by_index flush_wal);

sub am { return $ENV{VDB_TEST_AM} // 'vdb'; }
sub has_vdb { return am() eq 'vdb'; }

# A started cluster; options: init (arguments of init), conf, backup_of (see prepare), no_start.
sub new_node
{
	my ($name, %opt) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(%{ $opt{init} // {} });
	$node->append_conf('postgresql.conf', "jit = off\nmax_prepared_transactions = 10\n");
	if (has_vdb())
	{
		$node->append_conf('postgresql.conf', "shared_preload_libraries = 'vdb_am'\n");
	}
	$node->append_conf('postgresql.conf', $opt{conf}) if $opt{conf} && (has_vdb() || $opt{conf} !~ /vdb\./);
	return $node if $opt{no_start};
	$node->start;
	prepare_db($node, 'postgres');
	return $node;
}

# Extension, helpers and default access method in one database.
sub prepare_db
{
	my ($node, $db) = @_;
	my $am = am();
	open(my $f, '<', "$FindBin::RealBin/../lib/helpers.sql") or die "helpers.sql: $!";
	my $helpers = do { local $/; <$f> };
	close $f;
	$node->safe_psql($db, "SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS vdb_am") if has_vdb();
	$node->safe_psql($db, $helpers);
	$node->safe_psql($db, "ALTER DATABASE $db SET default_table_access_method = '$am'");
	return;
}

# Rows of a table and a sum over all their bytes.
sub digest
{
	my ($node, $table, $db) = @_;
	return $node->safe_psql($db // 'postgres',
		"SELECT count(*), sum(hashtextextended(x::text, 0)) FROM $table x");
}

sub migrate
{
	my ($node, $table, $db) = @_;
	$node->safe_psql($db // 'postgres', "CALL test_migrate('$table')");
	return;
}

# vdb.verify has nothing to complain about.
sub verify_ok
{
	my ($node, $table, $label, $db) = @_;
	is($node->safe_psql($db // 'postgres', "SELECT test_verify('$table')"), '0', $label // "$table verifies");
	return;
}

# Writes WAL out as far as it goes. Migration and VACUUM leave the bits of the visibility map to the WAL writer.
sub flush_wal
{
	my ($node) = @_;
	$node->safe_psql('postgres', "SELECT pg_logical_emit_message(true, 'test', '')");
	return;
}

# An index scan and a sequential scan find the same rows.
sub same_by_index
{
	my ($node, $table, $key, $label, $db) = @_;
	my $query = "SELECT count(*), sum(hashtextextended(x::text, 0)) FROM $table x WHERE $key >= 0";
	my $seq = $node->safe_psql($db // 'postgres',
		"SET enable_indexscan = off; SET enable_bitmapscan = off; $query");
	my $index = $node->safe_psql($db // 'postgres',
		"SET enable_seqscan = off; SET enable_bitmapscan = off; $query");
	is($index, $seq, $label // "$table: index and sequential scan agree");
	return;
}

# What a statement prints as an error, with its SQLSTATE; empty if it succeeded.
sub error_of
{
	my ($node, $sql, %opt) = @_;
	my ($out, $err);
	my $code = $node->psql($opt{db} // 'postgres', "\\set VERBOSITY verbose\n$sql",
		stdout => \$out, stderr => \$err, extra_params => $opt{extra} // []);
	return $err =~ /ERROR|FATAL|PANIC|server closed/ ? $err : '';
}

# A psql that stays; session_query() waits for the end of what it sends and returns what it prints, errors too.
sub start_session
{
	my ($node, $db) = @_;
	my %s = (n => 0);
	my @cmd = ('psql', '-XAtq', '-d', $node->connstr($db // 'postgres'), '-f', '-');
	$s{pid} = open2($s{from}, $s{to}, 'sh', '-c', 'exec "$@" 2>&1', 'sh', @cmd);
	$s{to}->autoflush(1);
	return \%s;
}

sub session_query
{
	my ($s, $sql) = @_;
	my $mark = 'end-of-' . ++$s->{n};
	my $out = '';
	my $until = time() + $PostgreSQL::Test::Utils::timeout_default;
	local $SIG{PIPE} = 'IGNORE';
	print { $s->{to} } "$sql\n;\n\\echo $mark\n";
	my $select = IO::Select->new($s->{from});
	while ($out !~ /^\Q$mark\E$/m)
	{
		die "no answer in time to: $sql" if time() > $until;
		next unless $select->can_read(1);
		last unless sysread($s->{from}, $out, 65536, length($out));
	}
	$out =~ s/^\Q$mark\E\n//m;
	chomp $out;
	return $out;
}

# Ends a session, also one whose server has gone.
sub end_session
{
	my ($s) = @_;
	local $SIG{PIPE} = 'IGNORE';
	print { $s->{to} } "\\q\n";
	close $s->{to};
	kill 'KILL', $s->{pid} unless IO::Select->new($s->{from})->can_read(10);
	close $s->{from};
	waitpid($s->{pid}, 0);
	return;
}

1;
