# PostgreSQL's own tests of contrib/test_decoding, with heap tables and with vdb tables: both print the same. The files are not ours:
# VDB_TEST_DECODING names a folder contrib/test_decoding of the server's source (apt-get source postgresql-15).
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;
use DecodeTest;

my $from = $ENV{VDB_TEST_DECODING} // '';
plan skip_all => 'VDB_TEST_DECODING names no folder contrib/test_decoding' unless -d "$from/sql";
my ($makefile) = slurp_file("$from/Makefile") =~ s/\\\n//gr;
my ($files) = $makefile =~ /^REGRESS = (.*)$/m;
my ($specs) = $makefile =~ /^ISOLATION = (.*)$/m;
my ($pgxs) = `pg_config --pgxs` =~ m{^(.*)/src/makefiles/};
my $isolationtester = "$pgxs/src/test/isolation/isolationtester";

my $node = new_node('contrib', init => { allows_streaming => 'logical' },
	conf => "logical_decoding_work_mem = 64kB\nautovacuum_naptime = 1d\nmax_replication_slots = 4\nvdb.migrate_enabled = off\n");

# messages.sql goes there
$node->safe_psql('template1', 'CREATE EXTENSION vdb_am') if has_vdb();

# Runs all files in one database, as pg_regress does; what each prints.
sub run_all
{
	my ($am) = @_;
	my %out;
	$node->safe_psql('postgres', 'DROP DATABASE IF EXISTS contrib_regression');
	$node->safe_psql('postgres', 'CREATE DATABASE contrib_regression');
	local $ENV{PGOPTIONS} = "-c default_table_access_method=$am -c intervalstyle=postgres_verbose";
	local $ENV{PGDATESTYLE} = 'Postgres, MDY';
	local $ENV{PGTZ} = 'PST8PDT';
	for my $file (split(' ', $files))
	{
		my $sql = slurp_file("$from/sql/$file.sql");
		note("$am: $file");
		IPC::Run::run([ 'psql', '-X', '-a', '-q', '-v', 'HIDE_TABLEAM=on', '-v', 'HIDE_TOAST_COMPRESSION=on', '-d', $node->connstr('contrib_regression') ], '<', \$sql, '>', \$out{$file}, '2>&1');
	}
	for my $spec (-x $isolationtester ? split(' ', $specs) : ())
	{
		note("$am: $spec");
		my $text = slurp_file("$from/specs/$spec.spec");
		local $ENV{PGAPPNAME} = "isolation/$spec";
		IPC::Run::run([ $isolationtester, $node->connstr('contrib_regression') ], '<', \$text, '>', \$out{"specs/$spec"}, '2>&1');
	}
	return %out;
}

my %heap = run_all('heap');
like($heap{ddl}, qr/unchanged-toast-datum/, 'heap prints changes');
my %vdb = run_all(am());
for my $file (sort keys %heap)
{
	ok($vdb{$file} eq $heap{$file}, "$file: as heap") or diag(first_difference($vdb{$file}, $heap{$file}));
}
$node->stop;
done_testing();
