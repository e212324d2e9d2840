# The pool may keep bytes whose WAL was lost: a row stored by transaction X, of which nothing else is left. The next
# server run hands out X again and commits it. The row must stay invisible, and a row that the lost X deleted,
# updated or locked must stay there, in SCM and on flash; also when the run in between stored nothing at all.
#
# The WAL tail is lost by stopping the WAL writer (SIGSTOP) before an asynchronous commit, then SIGKILL to all:
# what lies in the WAL buffers is gone, what lies in the mapped pool is not.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

plan skip_all => 'only vdb has epochs' unless has_vdb();

my $node = new_node('epoch', conf => q{
autovacuum = off
wal_writer_delay = 10s
wal_buffers = 16MB
bgwriter_delay = 10s
checkpoint_timeout = 1h
vdb.migrate_enabled = off
});
my $pool_file = $node->data_dir . '/' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('vdb.scm')");

sub pool_has
{
	my ($text) = @_;
	open(my $f, '<:raw', $pool_file) or die "$pool_file: $!";
	local $/;
	return index(scalar <$f>, $text) >= 0;
}

sub pid_of { return $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = '$_[0]'"); }

# Have some transaction with every id up to and including $xid, so that all of them are known as committed.
sub burn_to
{
	my ($xid) = @_;
	$node->safe_psql('postgres', "DO \$\$ BEGIN WHILE pg_snapshot_xmax(pg_current_snapshot())::text::bigint <= $xid LOOP "
		  . "INSERT INTO burnt VALUES (pg_current_xact_id()::text::bigint); COMMIT; END LOOP; END \$\$");
	is($node->safe_psql('postgres', "SELECT pg_xact_status('$xid'::xid8)"), 'committed', "$xid was handed out again and committed");
	return;
}

$node->safe_psql('postgres', q{
	CREATE TABLE burnt (xid bigint) USING heap;
	CREATE TABLE scm (id int PRIMARY KEY, v text);
	CREATE TABLE flash (id int PRIMARY KEY, v text);
	INSERT INTO scm SELECT g, 'kept' FROM generate_series(1, 200) g;
	INSERT INTO flash SELECT g, 'kept' FROM generate_series(1, 200) g;
});
migrate($node, 'flash');
$node->safe_psql('postgres', 'DELETE FROM flash WHERE id % 6 = 0');

my $next = 1000;

# Lose one transaction that inserts, deletes, updates and locks; returns its id.
sub lose
{
	my ($label, $mark) = @_;
	my $s = start_session($node);
	# in this run's epoch: room to append to, and overlay units with room, as structural changes flush WAL
	my $n = $next += 10;
	session_query($s, "INSERT INTO scm VALUES ($n, 'first'); INSERT INTO flash VALUES ($n, 'first'); "
		  . "BEGIN; SELECT FROM flash WHERE id = 1 FOR UPDATE; UPDATE flash SET v = v WHERE id BETWEEN 2 AND 6; UPDATE scm SET v = v WHERE id BETWEEN 2 AND 6; ROLLBACK");
	$node->safe_psql('postgres', 'CHECKPOINT');
	kill 'STOP', pid_of('walwriter'), pid_of('background writer');
	my $before = session_query($s, 'SELECT pg_current_wal_flush_lsn()');
	$n++;
	my $xid = session_query($s, "SET synchronous_commit = off; BEGIN; INSERT INTO scm VALUES ($n, 'lost-$mark'); INSERT INTO flash VALUES ($n, 'lost-$mark'); "
		  . "DELETE FROM scm WHERE id IN (7, 8); DELETE FROM flash WHERE id IN (7, 8); "
		  . "UPDATE scm SET v = 'lost-$mark' WHERE id = 9; UPDATE flash SET v = 'lost-$mark' WHERE id = 9; "
		  . "DO \$\$ BEGIN PERFORM FROM scm WHERE id = 11 FOR UPDATE; PERFORM FROM flash WHERE id = 11 FOR UPDATE; END \$\$; "
		  . "SELECT pg_current_xact_id()::text; COMMIT");
	is(session_query($s, "SELECT count(*) FROM (SELECT v FROM scm UNION ALL SELECT v FROM flash) x WHERE v = 'lost-$mark'"), '4', "$label: it was there");
	is(session_query($s, 'SELECT pg_current_wal_flush_lsn()'), $before, "$label: nothing flushed its WAL");
	kill_all($node);
	ok(pool_has("lost-$mark"), "$label: the pool has kept its bytes");
	end_session($s);
	return $xid;
}

sub check
{
	my ($label, $want) = @_;
	is(join(' / ', map { digest($node, $_) } qw(scm flash)), $want, "$label: rows");
	same_by_index($node, $_, 'id', "$label: index of $_") for qw(scm flash);
	verify_ok($node, $_, "$label: $_ verifies") for qw(scm flash);
	return;
}

# how: what happens between the loss and the ids' return
my %how = (
	'1 at once' => sub { $node->start; },
	'2 a clean restart in between' => sub { $node->start; $node->stop('fast'); $node->start; },
	'3 a run that stores nothing' => sub { my ($xid) = @_; $node->start; burn_to($xid + 5); $node->stop('fast'); $node->start; },
	'4 a run that stores nothing and crashes' => sub { my ($xid) = @_; $node->start; burn_to($xid + 5); $node->safe_psql('postgres', 'CHECKPOINT'); kill_all($node); $node->start; },
	'5 two runs that store nothing' => sub { my ($xid) = @_; $node->start; $node->stop('fast'); $node->start; burn_to($xid + 5); kill_all($node); $node->start; });

for my $label (sort keys %how)
{
	my $mark = substr($label, 0, 1);
	$node->safe_psql('postgres', "UPDATE scm SET v = v || '.' WHERE id < 30; CHECKPOINT");
	my $xid = lose($label, $mark);
	$how{$label}->($xid);
	my $want = join(' / ', map { digest($node, $_) } qw(scm flash));
	is($node->safe_psql('postgres', "SELECT count(*) FROM scm WHERE v = 'lost-$mark'"), '0', "$label: nothing lost is visible at first");
	burn_to($xid + 5);
	is($node->safe_psql('postgres', "SELECT count(*) FROM (SELECT v FROM scm UNION ALL SELECT v FROM flash) x WHERE v LIKE 'lost%'"), '0', "$label: nothing lost came back");
	is($node->safe_psql('postgres', "SELECT count(*) FILTER (WHERE id <= 200), count(DISTINCT id) FILTER (WHERE id <= 200) FROM scm"), '200|200', "$label: no row is hidden");
	check($label, $want);
	# now the same with this run's epoch begun, and with the ids judged by the ring
	$node->safe_psql('postgres', "INSERT INTO scm VALUES (" . ++$next . ", 'after')");
	$node->safe_psql('postgres', "DELETE FROM scm WHERE id = $next");
	check("$label, epoch begun", $want);
	is($node->safe_psql('postgres', "WITH a AS (SELECT * FROM scm FOR UPDATE NOWAIT), b AS (SELECT * FROM flash FOR UPDATE NOWAIT) SELECT (SELECT count(*) FROM a) > 100 AND (SELECT count(*) FROM b) > 100"),
		't', "$label: nothing is locked");
	$node->restart;
	check("$label, after a restart", $want);
}
migrate($node, $_) for qw(scm flash);
my $want = join(' / ', map { digest($node, $_) } qw(scm flash));
$node->safe_psql('postgres', 'VACUUM scm; VACUUM flash');
check('after migration and vacuum', $want);
is($node->safe_psql('postgres', "SELECT count(*) FROM (SELECT v FROM scm UNION ALL SELECT v FROM flash) x WHERE v LIKE 'lost%'"), '0', 'nothing lost at the end');
$node->stop;

done_testing();
