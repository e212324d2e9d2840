# A client that doesn't read its socket stops its own backend only. While a big result of a vdb table, or a message about one, waits
# to go out, other sessions insert, read, delete and lock rows of the same blocks, VACUUM and migrate the table.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use IO::Socket::UNIX;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdbTest;

plan skip_all => 'vdb only' unless has_vdb();

my $node = new_node('deaf', conf => "vdb.migrate_enabled = off\nautovacuum = off\nfsync = off\n");

sub q1 { return $node->safe_psql('postgres', $_[0]); }

# Connects by the protocol, sends a query and reads nothing of its result; returns the socket and the backend's process id.
sub deaf_client
{
	my ($user, @queries) = @_;
	my $socket = IO::Socket::UNIX->new(Peer => $node->host . '/.s.PGSQL.' . $node->port) or die "connect: $!";
	my $start = pack('N', 196608) . "user\0$user\0database\0postgres\0application_name\0deaf\0\0";
	print {$socket} pack('N', length($start) + 4) . $start;
	$socket->flush;
	my ($got, $pid) = ('', undef);
	until ($got =~ /Z\0\0\0\x05I\z/s)
	{
		sysread($socket, my $part, 8192) or die 'the server closes the connection';
		$got .= $part;
	}
	$pid = unpack('N', $1) if $got =~ /K\0\0\0\x0c(.{4})/s;
	my $sql = join('; ', @queries) . "\0";
	print {$socket} 'Q' . pack('N', length($sql) + 4) . $sql;
	$socket->flush;
	$node->poll_query_until('postgres', "SELECT wait_event = 'ClientWrite' FROM pg_stat_activity WHERE pid = $pid")
		or die 'it does not wait for its client';
	return ($socket, $pid);
}

# What a statement of another session gives, or 'hangs': who waits for a lightweight lock hears no statement_timeout.
sub soon
{
	my ($sql) = @_;
	my ($out, $err, $late) = ('', '', 0);
	$node->psql('postgres', $sql, stdout => \$out, stderr => \$err, timeout => patience(60), timed_out => \$late);
	return $late ? 'hangs' : $err ne '' ? $err : $out;
}

# Everything that others do with the table, in all of its logical blocks: so each lock of the table is taken.
sub others_go_on
{
	my ($name, $pid) = @_;
	for my $case (['INSERT', "INSERT INTO t SELECT g, 'new' FROM generate_series(1000001, 1001000) g", ''],
		['SELECT', 'SELECT count(*) >= 20000, sum(length(v)) > 0 FROM t', 't|t'],
		['SELECT by the index', 'SET enable_seqscan = off; SET vdb.enable_custom_scan = off; SELECT count(*) FROM t WHERE id BETWEEN 300 AND 305', '6'],
		['DELETE', 'DELETE FROM t WHERE id % 200 = 7 AND id <= 20000', ''],
		['UPDATE', "UPDATE t SET v = v || 'u' WHERE id % 200 = 9 AND id <= 20000", ''],
		['FOR UPDATE', 'SELECT count(*) FROM (SELECT FROM t WHERE id % 200 = 10 AND id <= 20000 FOR UPDATE) x', '100'],
		['VACUUM', 'VACUUM t', ''],
		['migration', "SELECT vdb.migrate('t') IS NOT NULL", 't'],
		['ANALYZE', 'ANALYZE t', ''])
	{
		my ($what, $sql, $want) = @$case;
		my $got = soon($sql);
		is($got, $want, "$name: $what");
		return if $got eq 'hangs';
	}
	is(q1("SELECT wait_event FROM pg_stat_activity WHERE pid = $pid"), 'ClientWrite', "$name: and the client still reads nothing");
	return;
}

sub set_up
{
	q1("DROP TABLE IF EXISTS t; CREATE TABLE t (id int, v text) USING vdb; CREATE INDEX ON t (id);
		INSERT INTO t SELECT g, repeat(chr(97 + g % 20), 100) FROM generate_series(1, 10000) g");
	q1("SELECT vdb.migrate('t')");
	q1("INSERT INTO t SELECT g, repeat(chr(97 + g % 20), 100) FROM generate_series(10001, 20000) g");
	is(q1("SELECT striped_rows, pool_rows FROM vdb.tables WHERE relation = 't'::regclass"), '10000|10000', 'rows in a stripe and in the pool');
	return;
}

my $me = q1('SELECT current_user');
my %ways = (
	'a scan of the stripe' => ["SET vdb.enable_custom_scan = on", "SELECT * FROM t a, generate_series(1, 100) b"],
	'a scan of the pool' => ["SELECT v || v FROM t, generate_series(1, 20) WHERE id > 10000"],
	'a scan without the custom one' => ["SET vdb.enable_custom_scan = off", "SELECT * FROM t"],
	'fetches by the index' => ["SET vdb.enable_custom_scan = off", "SET enable_seqscan = off", "SET enable_bitmapscan = off",
		"SELECT * FROM t WHERE id > 0 ORDER BY id"],
	'COPY' => ['COPY t TO STDOUT'],
	'RETURNING of an update' => ['BEGIN', "UPDATE t SET v = v || 'x' WHERE id % 200 > 100 AND id <= 20000 RETURNING *, repeat(v, 10)"],
	'a notice for each row' => ["SELECT count(shout(v)) FROM t"],
);
q1("CREATE FUNCTION shout(v text) RETURNS int LANGUAGE plpgsql AS \$\$ BEGIN RAISE NOTICE '%', repeat(v, 50); RETURN 1; END \$\$");
for my $name (sort keys %ways)
{
	set_up();
	my ($socket, $pid) = deaf_client($me, @{ $ways{$name} });
	others_go_on($name, $pid);
	q1("SELECT pg_terminate_backend($pid)");
	close($socket);
	$node->poll_query_until('postgres', "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid)") or fail("$name: its backend ends");
	verify_ok($node, 't', "$name: the table verifies");
}
like(slurp_file($node->logfile), qr/^(?!.*(?:PANIC|TRAP))/s, 'nothing went wrong');
$node->stop;
done_testing();
