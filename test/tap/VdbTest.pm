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
  session_query end_session same_by_index flush_wal kill_all slowness patience
  slow_disk_start slow_disk);

# Limits stretch with the load of the machine, at the moment they are asked: see test/lib/patience.py.
sub slowness
{
	open(my $f, '<', $ENV{VDB_TEST_LOADAVG} // '/proc/loadavg') or return 1;
	my @load = split(' ', <$f>);
	close $f;
	my ($running) = $load[3] =~ /^(\d+)/;
	my $waiting = $load[0] > $running ? $load[0] : $running;
	my $machine = $ENV{VDB_TEST_SLOWNESS} || 1;
	our $processors //= qx(nproc) || 1;
	my $crowd = $waiting / $processors;
	return ($crowd > 1 ? $crowd : 1) * ($machine > 1 ? $machine : 1);
}

# So many seconds of a quiet machine, in seconds of this one.
sub patience { return int($_[0] * slowness()) + 1; }

# PostgreSQL::Test asks for its limit wherever it waits.
package VdbTest::Limit
{
	sub TIESCALAR { my ($class, $seconds) = @_; return bless \$seconds, $class; }
	sub FETCH { my ($self) = @_; return VdbTest::patience($$self); }
	sub STORE { my ($self, $seconds) = @_; $$self = $seconds; return; }
}
tie $PostgreSQL::Test::Utils::timeout_default, 'VdbTest::Limit', $PostgreSQL::Test::Utils::timeout_default;
# pg_ctl sees when a server dies; one that hangs is found by test/lib/watched
$ENV{PGCTLTIMEOUT} = 86400;

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
	my $conf = $opt{conf} // '';
	$conf =~ s/^\s*vdb\..*\n?//mg unless has_vdb();
	$node->append_conf('postgresql.conf', $conf) if $conf;
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
	my $begin = time();
	local $SIG{PIPE} = 'IGNORE';
	print { $s->{to} } "$sql\n;\n\\echo $mark\n";
	my $select = IO::Select->new($s->{from});
	while ($out !~ /^\Q$mark\E$/m)
	{
		die "no answer in time to: $sql" if time() - $begin > $PostgreSQL::Test::Utils::timeout_default;
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
	kill 'KILL', $s->{pid} unless IO::Select->new($s->{from})->can_read(patience(10));
	close $s->{from};
	waitpid($s->{pid}, 0);
	return;
}

# Restarts a server on a disk that can be made slow or full (test/lib/slow_disk.c); needs a C compiler.
sub slow_disk_start
{
	my ($node) = @_;
	my $dir = $node->basedir;
	system_or_bail('cc', '-shared', '-fPIC', '-O', '-o', "$dir/slow_disk.so", "$FindBin::RealBin/../lib/slow_disk.c", '-ldl');
	$node->stop;
	local %ENV = (%ENV, LD_PRELOAD => "$dir/slow_disk.so", SLOW_DISK => "$dir/slow_disk.conf", SLOW_DISK_LOG => "$dir/slow_disk.log");
	$node->start;
	return;
}

# Makes the disk so ('allocate * 1000', 'sync pg_wal 300', ...); without lines as it is.
sub slow_disk
{
	my ($node, @lines) = @_;
	my $conf = $node->basedir . '/slow_disk.conf';
	open(my $f, '>', "$conf.new") or die "$conf.new: $!";
	print $f map { "$_\n" } @lines;
	close $f;
	rename("$conf.new", $conf) or die "$conf: $!";
	return;
}

# State and parent of a process; nothing if it is gone.
sub stat_of
{
	my ($pid) = @_;
	open(my $f, '<', "/proc/$pid/stat") or return ('', 0);
	my $line = <$f> // '';
	return $line =~ /^\d+ \(.*\) (\S) (\d+) /s ? ($1, $2) : ('', 0);
}

# SIGKILL to the postmaster and all its children, none of which gets to write anything any more.
sub kill_all
{
	my ($node) = @_;
	my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
	kill 'STOP', $postmaster;
	my @victims = grep { (stat_of($_))[1] == $postmaster } map { m{(\d+)} } glob('/proc/[0-9]*');
	push @victims, $postmaster;
	kill 'KILL', @victims;
	for (1 .. 500)
	{
		last unless grep { (stat_of($_))[0] =~ /^[^Z]$/ } @victims;
		select(undef, undef, undef, 0.02);
	}
	unlink $node->data_dir . '/postmaster.pid';
	unlink glob($node->host . '/.s.PGSQL.' . $node->port . '*');
	$node->_update_pid(0);
	return;
}

1;
