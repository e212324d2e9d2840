# Transaction ids and multixact ids go round: rows stay visible, rows nobody locks any more can be locked and changed,
# relfrozenxid and datfrozenxid follow, by autovacuum alone. Ids are burnt by pg_resetwal, thrice more than half of all
# transaction ids in sum, with the zeroed files that the server would have made on its way.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

my $node = new_node('wraparound', conf => q{
autovacuum = off
autovacuum_naptime = 1s
autovacuum_vacuum_cost_delay = 0
log_autovacuum_min_duration = 0
});
my @tables = qw(scm flash mixed locks held unlogged);
my $jump = 1_400_000_000;

sub single { return $node->safe_psql('postgres', $_[0]); }

# Row locks of two sessions together on the rows that $where names: multixacts, all of whose members end.
sub lock_by_two
{
	my ($table, $where, $then) = @_;
	my @s = (start_session($node), start_session($node));
	session_query($_, 'BEGIN') for @s;
	session_query($_, "SELECT count(*) FROM (SELECT FROM $table WHERE $where FOR KEY SHARE) x") for @s;
	session_query($s[1], $then) if $then;
	session_query($_, 'COMMIT') for @s;
	end_session($_) for @s;
	return;
}

sub zero_file
{
	my ($path, $bytes) = @_;
	return if -e $path;
	open(my $f, '>:raw', $path) or die "$path: $!";
	print $f "\0" x $bytes;
	close $f;
	return;
}

# The server starts again with its next ids this much further.
sub jump_ids
{
	my ($xids, $multis) = @_;
	$node->stop;
	my ($control) = run_command([ 'pg_controldata', $node->data_dir ]);
	my ($xid) = $control =~ /NextXID:\s+\d+:(\d+)/;
	my ($multi) = $control =~ /NextMultiXactId:\s+(\d+)/;
	my ($oldest_multi) = $control =~ /oldestMultiXid:\s+(\d+)/;
	my @args;
	if ($xids)
	{
		# first id of a file, so that nothing of the file is needed but that it is there
		$xid = ($xid + $xids) % 2**32 & ~0xFFFFF;
		zero_file(sprintf('%s/pg_xact/%04X', $node->data_dir, $xid >> 20), 32 * 8192);
		push @args, '-x', $xid;
	}
	if ($multis)
	{
		$multi = ($multi + $multis) % 2**32 & ~0xFFFF;
		zero_file(sprintf('%s/pg_multixact/offsets/%04X', $node->data_dir, $multi >> 16), 32 * 8192);
		push @args, '-m', "$multi,$oldest_multi";
	}
	command_ok([ 'pg_resetwal', '-f', @args, '-D', $node->data_dir ], "pg_resetwal @args");
	$node->start;
	return;
}

sub ages_below
{
	my ($xids, $multis, $label) = @_;
	ok($node->poll_query_until('postgres', "SELECT bool_and(age(datfrozenxid) < $xids AND mxid_age(datminmxid) < $multis) FROM pg_database"),
		"$label: autovacuum brought datfrozenxid and datminmxid of all databases on")
	  or diag(single('SELECT datname, age(datfrozenxid), mxid_age(datminmxid) FROM pg_database'),
		single("SELECT relname, age(relfrozenxid), mxid_age(relminmxid) FROM pg_class WHERE relfrozenxid <> '0' ORDER BY 2 DESC LIMIT 10"));
	return;
}

my %want;
sub remember { $want{$_} = digest($node, $_) for @_; return; }

# All rows are there, all ways; the tables are sound; every row can be locked at once, as nobody holds any.
sub check_all
{
	my ($label, @without) = @_;
	for my $table (@tables)
	{
		next if grep { $_ eq $table } @without;
		is(digest($node, $table), $want{$table}, "$label: rows of $table");
		same_by_index($node, $table, 'id', "$label: $table by index");
		is(error_of($node, "SET statement_timeout = '@{[patience(20)]}s'; BEGIN; SELECT count(*) FROM (SELECT FROM $table FOR UPDATE NOWAIT) x; ROLLBACK"), '',
			"$label: no row of $table is locked");
		verify_ok($node, $table, "$label: $table verifies");
	}
	return;
}

sub change_all
{
	my ($n) = @_;
	single("UPDATE $_ SET v = 'changed $n' WHERE id % 100 = $n; DELETE FROM $_ WHERE id % 100 = 50 + $n; INSERT INTO $_ VALUES (10000 + $n, 'new')")
	  for qw(scm flash mixed);
	remember(@tables);
	return;
}

for my $table (@tables)
{
	my $kind = $table eq 'unlogged' ? 'UNLOGGED TABLE' : 'TABLE';
	single("CREATE $kind $table (id int PRIMARY KEY, v text); INSERT INTO $table SELECT g, 'start' FROM generate_series(1, 1000) g");
	single("BEGIN; UPDATE $table SET v = 'aborted' WHERE id % 10 = 3; DELETE FROM $table WHERE id % 10 = 4; ROLLBACK");
}
migrate($node, $_) for qw(flash mixed locks unlogged);
single("INSERT INTO unlogged SELECT g, 'later' FROM generate_series(2001, 2300) g");
single("INSERT INTO mixed SELECT g, 'later' FROM generate_series(2001, 2300) g");
single('BEGIN; DELETE FROM flash WHERE id % 10 = 5; ROLLBACK; BEGIN; SELECT count(*) FROM (SELECT FROM mixed WHERE id % 10 = 6 FOR UPDATE) x; COMMIT');
single("UPDATE mixed SET v = 'updated' WHERE id % 20 = 7; DELETE FROM flash WHERE id % 20 = 8");
lock_by_two('scm', 'id % 10 = 1');
lock_by_two('flash', 'id % 10 = 1', "UPDATE flash SET v = 'over a lock' WHERE id % 20 = 1");
lock_by_two('mixed', 'id % 10 = 1', "UPDATE mixed SET v = 'over a lock' WHERE id % 20 = 1");
# multixacts whose members get old, but which are young as multixacts, since there are few others; not touched until
# their members' ids lie in the future
lock_by_two($_, 'id % 10 = 2', "SAVEPOINT s; UPDATE $_ SET v = 'never' WHERE id % 10 = 2; ROLLBACK TO s") for qw(locks held);
remember(@tables);

# a multixact goes for the sake of its members' ids; a lock that is still held keeps relfrozenxid back
for my $place (qw(scm flash))
{
	single("CREATE TABLE few_$place (id int PRIMARY KEY, v text); INSERT INTO few_$place SELECT g, 'v' FROM generate_series(1, 20) g");
	migrate($node, "few_$place") if $place eq 'flash';
	lock_by_two("few_$place", 'id % 2 = 1');
	is(single("SELECT count(*) FROM few_$place WHERE xmax <> '0'"), '10', "rows with multixacts, $place");
	my @s = (start_session($node), start_session($node));
	session_query($_, "BEGIN; SELECT FROM few_$place WHERE id = 20 FOR SHARE") for @s;
	single('SELECT pg_current_xact_id()') for 1 .. 3;
	single("SET vacuum_freeze_min_age = 0; VACUUM few_$place");
	is(single("SELECT string_agg(id::text, ' ') FROM few_$place WHERE xmax <> '0'"), '20', "VACUUM took off those of old transactions, $place");
	is(single("SELECT count(*) FROM pg_class WHERE relname = 'few_$place' AND age(relfrozenxid) >= (SELECT max(age(transactionid)) FROM pg_locks "
			. "WHERE locktype = 'transactionid')"), '1', "relfrozenxid is no younger than the members of the other, $place");
	session_query($_, 'COMMIT') for @s;
	end_session($_) for @s;
	single("DROP TABLE few_$place");
}

$node->append_conf('postgresql.conf', 'autovacuum = on');
jump_ids($jump, 0);
ages_below(210_000_000, 2**31, 'first jump');
check_all('first jump', qw(locks held));
change_all(1);
lock_by_two('scm', 'id % 10 = 9');
jump_ids($jump, 0);
ages_below(210_000_000, 2**31, 'second jump');
cmp_ok(single("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint % (2::bigint ^ 32)::bigint"), '>', 2**31, 'more than half of all ids are used');
check_all('second jump');
migrate($node, $_) for @tables;
change_all(2);
jump_ids($jump, 0);
ages_below(210_000_000, 2**31, 'third jump, past the end of the ids');
check_all('third jump');
change_all(3);

# multixacts alone, with more behind every jump
lock_by_two($_, 'id % 10 = 3') for @tables;
for my $n (1 .. 2)
{
	jump_ids(0, 1_400_000_000);
	lock_by_two($_, "id % 10 = 3 + $n") for @tables;
	ages_below(2**31, 410_000_000, "multixacts, jump $n");
	check_all("multixacts, jump $n");
}
change_all(4);
jump_ids(300_000_000, 500_000_000);
ages_below(210_000_000, 410_000_000, 'xids and multixacts together');
check_all('xids and multixacts together');
like(slurp_file($node->logfile), qr/to prevent wraparound\) of table "postgres\.public\.flash"|automatic aggressive vacuum to prevent wraparound of table "postgres\.public\.flash"|to prevent wraparound/,
	'it was done to prevent wraparound');
$node->stop;

done_testing();
