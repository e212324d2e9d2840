# What prepared transactions hold, a standby holds too: after its promotion rows they inserted are unseen and their keys
# taken, rows they changed, deleted or locked (in SCM, on flash, moved while prepared) stay locked, and the new primary
# commits and rolls them back; also when it crashes in between.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my $primary = new_node('primary', init => { allows_streaming => 1 });
$primary->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'b', has_streaming => 1);
$standby->start;
my @tables = qw(scm flash later);
my @names = qw(commit rollback after_crash rollback_after);

sub first { return 10 + 20 * $_[0]; }

# The rows that prepared transaction $n inserted, changed, deleted or locked.
sub rows_of { my $f = first($_[0]); return "(id BETWEEN $f AND $f + 9 OR id BETWEEN 1000 + $f AND 1000 + $f + 9)"; }

sub prepare
{
	my ($n) = @_;
	my $f = first($n);
	my @work = ('BEGIN');
	for my $t (@tables)
	{
		push @work, "UPDATE $t SET v = '$names[$n]' WHERE id BETWEEN $f AND $f + 4", "DELETE FROM $t WHERE id = $f + 5",
		  "SELECT FROM $t WHERE id = $f + 6 FOR UPDATE", "SELECT FROM $t WHERE id = 99 FOR KEY SHARE", 'SAVEPOINT s',
		  "UPDATE $t SET v = 'never' WHERE id = $f + 7", 'ROLLBACK TO s', 'SAVEPOINT s2', "DELETE FROM $t WHERE id = $f + 8",
		  'RELEASE s2', "INSERT INTO $t SELECT g, '$names[$n]' FROM generate_series(1000 + $f, 1000 + $f + 9) g";
	}
	$primary->safe_psql('postgres', join('; ', @work, "PREPARE TRANSACTION '$names[$n]'"));
	return;
}

# Nobody sees what these prepared transactions did, and nobody can touch it.
sub pending
{
	my ($node, $label, @which) = @_;
	my $in_recovery = $node->safe_psql('postgres', 'SELECT pg_is_in_recovery()') eq 't';
	for my $table (@tables)
	{
		for my $n (@which)
		{
			my $f = first($n);
			is($node->safe_psql('postgres', "SELECT count(*), count(*) FILTER (WHERE v = 'start') FROM $table WHERE " . rows_of($n)),
				'10|10', "$label: nothing of $names[$n] is seen in $table");
			next if $in_recovery;
			is($node->safe_psql('postgres', "BEGIN; SELECT id FROM $table WHERE id BETWEEN $f AND $f + 9 FOR UPDATE SKIP LOCKED; ROLLBACK"),
				$f + 7 . "\n" . ($f + 9), "$label: its rows are locked in $table, others are not");
			like(error_of($node, "SET lock_timeout = '100ms'; INSERT INTO $table VALUES (1000 + $f, 'dup')"), qr/55P03/, "$label: its keys are taken in $table");
		}
		like(error_of($node, "SET lock_timeout = '100ms'; DELETE FROM $table WHERE id = 99"), qr/55P03/, "$label: a lock is held in $table") unless $in_recovery;
	}
	return;
}

# What must be in a table once these have committed and the others not (or not yet).
sub resolved
{
	my ($node, $label, @committed) = @_;
	for my $table (@tables)
	{
		for my $n (0 .. 3)
		{
			is($node->safe_psql('postgres', "SELECT count(*), count(*) FILTER (WHERE v = '$names[$n]') FROM $table WHERE " . rows_of($n)),
				(grep { $_ == $n } @committed) ? '18|15' : '10|0', "$label: $names[$n] in $table");
		}
		same_by_index($node, $table, 'id', "$label: $table by index");
	}
	return;
}

for my $table (@tables)
{
	$primary->safe_psql('postgres', "CREATE TABLE $table (id int PRIMARY KEY, v text); INSERT INTO $table SELECT g, 'start' FROM generate_series(1, 100) g");
}
migrate($primary, 'flash');
prepare($_) for 0 .. 3;
# moved while prepared, and committed rows between
migrate($primary, 'later');
$primary->safe_psql('postgres', "UPDATE $_ SET v = 'others' WHERE id < 5") for @tables;
$primary->safe_psql('postgres', "VACUUM $_") for @tables;

$primary->wait_for_catchup($standby, 'replay');
pending($standby, 'on the standby', 0 .. 3);
$primary->stop('immediate');
$standby->promote;
pending($standby, 'promoted', 0 .. 3);
migrate($standby, $_) for @tables;
$standby->safe_psql('postgres', "VACUUM $_") for @tables;
pending($standby, 'migrated by the new primary', 0 .. 3);
$standby->safe_psql('postgres', "COMMIT PREPARED 'commit'");
$standby->safe_psql('postgres', "ROLLBACK PREPARED 'rollback'");
resolved($standby, 'two are over', 0);
pending($standby, 'two are over', 2, 3);
$standby->stop('immediate');
$standby->start;
resolved($standby, 'after a crash', 0);
pending($standby, 'after a crash', 2, 3);
$standby->safe_psql('postgres', "COMMIT PREPARED 'after_crash'");
$standby->safe_psql('postgres', "ROLLBACK PREPARED 'rollback_after'");
$standby->stop('immediate');
$standby->start;
resolved($standby, 'all are over', 0, 2);
is(error_of($standby, "SET lock_timeout = '100ms'; DELETE FROM $_ WHERE id = 99; UPDATE $_ SET v = v; INSERT INTO $_ VALUES (1030, 'free')"), '',
	"nobody holds anything in $_")
  for @tables;
migrate($standby, $_) for @tables;
$standby->safe_psql('postgres', "VACUUM (FREEZE) $_") for @tables;
is($standby->safe_psql('postgres', "SELECT count(*) FROM $_"), '116', "rows at the end: $_") for @tables;
verify_ok($standby, $_) for @tables;
$standby->stop;

done_testing();
