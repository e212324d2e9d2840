"""The same work on vdb tables and on heap twins, for the crash tests.

A workload is a list of steps.  Each does the same to the vdb tables (schema vt) and to their twins (schema ht)
and counts itself in a heap table, in one transaction.  So after a crash, whatever it was, the counter says which
steps happened, and tables and twins must be equal.
"""

import os

HERE = os.path.dirname(os.path.abspath(__file__))

TABLES = ('a', 'b', 'gone')

# Hands out and commits ids that were lost.
BURN = 'DO $$ BEGIN FOR i IN 1..30 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$'

# Hands out multixact ids that were lost, each with an update that is committed.
BURN_MULTIXACTS = ("DO $$ BEGIN FOR i IN 1..20 LOOP PERFORM 1 FROM burnt FOR KEY SHARE; "
                   "BEGIN UPDATE burnt SET v = i; EXCEPTION WHEN division_by_zero THEN NULL; END; "
                   "COMMIT; END LOOP; END $$")

TWIN = {
    'a': '(id int PRIMARY KEY, grp int, v text)',
    'b': '(id int PRIMARY KEY, v text, w text)',
    'gone': '(id int PRIMARY KEY, v text)',
}


class Failure(Exception):
    pass


def both(text):
    """A statement on the vdb table and on its twin: {t} is the table's schema."""
    return ('SET LOCAL default_table_access_method = vdb; ' + text.format(t='vt') +
            '; SET LOCAL default_table_access_method = heap; ' + text.format(t='ht'))


def workload(full):
    """
    Steps: (kind, SQL).  'tx' goes with its twin and the counter, 'alone' can't be in a transaction; 'async' is a
    transaction whose commit record is not flushed, and statements that follow it.
    """
    steps = []

    def tx(*texts):
        steps.append(('tx', '; '.join(both(t) for t in texts)))

    def migrate(table):
        steps.append(('alone', "SELECT vdb.migrate('vt.%s')" % table))

    def unflushed(n, *then):
        steps.append(('async', ('; '.join([both("UPDATE {t}.a SET v = 'async' WHERE id %% 9 = %d" % n),
                                           both('DELETE FROM {t}.a WHERE id %% 23 = %d' % n)]),) + then))

    def locked_first(n):
        # a lock that is over: the flags of the update must not be read with its xmax
        tx('SELECT count(*) FROM (SELECT 1 FROM {t}.a WHERE id %% 3 <> %d FOR UPDATE) x' % n)
        tx("UPDATE {t}.a SET v = v || 'l' WHERE id %% 6 <> %d AND id %% 3 <> %d" % (n, n),
           'DELETE FROM {t}.a WHERE id %% 31 = %d' % n)

    rows = "SELECT g, g %% 7, repeat('v' || g, 3 + g %% 20) FROM generate_series(%d, %d) g"
    tx('INSERT INTO {t}.a ' + rows % (1, 300))
    tx("INSERT INTO {t}.a VALUES (1001, 1, 'one')")
    tx("INSERT INTO {t}.b SELECT g, 'b' || g, CASE WHEN g % 10 = 0 THEN (SELECT string_agg(md5(h::text || g), '') "
       "FROM generate_series(1, 600) h) ELSE 'w' END FROM generate_series(1, 60) g")
    tx("INSERT INTO {t}.gone SELECT g, 'gone' || g FROM generate_series(1, 400) g")
    steps.append(('alone', "INSERT INTO vt.unlogged SELECT g, 'u' FROM generate_series(1, 300) g"))
    tx("UPDATE {t}.a SET v = v || '+' WHERE id % 5 = 0", 'DELETE FROM {t}.a WHERE id % 17 = 0')
    tx('SELECT count(*) FROM (SELECT 1 FROM {t}.a WHERE id < 20 FOR KEY SHARE) x; SAVEPOINT s; '
       "UPDATE {t}.a SET v = 'multi' WHERE id < 10; RELEASE s")
    tx("SAVEPOINT s; UPDATE {t}.a SET v = 'never'; DELETE FROM {t}.b; ROLLBACK TO s; RELEASE s; "
       "INSERT INTO {t}.a VALUES (1002, 2, 'after')")
    steps.append(('rollback', both("INSERT INTO {t}.a SELECT g, 0, 'never' FROM generate_series(5000, 5400) g")))
    locked_first(1)
    unflushed(1, 'SELECT count(*) FROM vt.a', 'VACUUM vt.a')
    unflushed(2, "SELECT vdb.migrate('vt.a')")
    unflushed(3, 'SELECT count(*) FROM vt.a', 'VACUUM vt.a')
    locked_first(2)
    tx("UPDATE {t}.a SET v = v || '-' WHERE id % 3 = 0", 'DELETE FROM {t}.a WHERE id % 19 = 0')
    tx('SELECT count(*) FROM (SELECT 1 FROM {t}.a WHERE id % 4 = 1 FOR SHARE) x; SAVEPOINT s; '
       "UPDATE {t}.a SET grp = grp + 1 WHERE id % 8 = 1; RELEASE s")
    migrate('b')
    tx("UPDATE {t}.b SET w = repeat(v, 4000) WHERE id % 7 = 0", 'DELETE FROM {t}.b WHERE id % 6 = 0')
    steps.append(('prepared', both("INSERT INTO {t}.b SELECT g, 'p', 'prepared' FROM generate_series(100, 130) g")
                  + '; ' + both("UPDATE {t}.a SET v = 'p' WHERE id % 50 = 1")))
    steps.append(('alone', 'VACUUM vt.a'))
    migrate('a')
    # small stripes that later merge
    for i in range(3):
        tx('INSERT INTO {t}.a ' + rows % (2000 + i * 100, 2060 + i * 100))
        migrate('a')
    tx('DELETE FROM {t}.a WHERE id % 3 <> 0')
    steps.append(('alone', 'VACUUM vt.a'))
    migrate('a')
    steps.append(('alone', 'VACUUM (FREEZE) vt.b'))
    tx('DROP TABLE {t}.gone')
    steps.append(('copy', '\n'.join('%d\t%d\tcopied' % (g, g % 7) for g in range(30000, 30900))))
    tx('CREATE TABLE {t}.now (id int, v text); INSERT INTO {t}.now SELECT g, \'x\' FROM generate_series(1, 600) g; '
       'TRUNCATE {t}.now; INSERT INTO {t}.now VALUES (1, \'y\')')
    # more than the pool's first megabyte
    tx("INSERT INTO {t}.b SELECT g, 'grow', repeat(md5(g::text), 25) FROM generate_series(1000, %d) g"
       % (11000 if full else 3000))
    tx("UPDATE {t}.b SET v = 'grown' WHERE id BETWEEN 1000 AND 1500")
    migrate('b')
    tx('DELETE FROM {t}.b WHERE id > 1200')
    steps.append(('alone', 'VACUUM vt.b'))
    tx('TRUNCATE {t}.b', "INSERT INTO {t}.b SELECT g, 'again', 'w' FROM generate_series(1, 500) g")
    steps.append(('alone', 'VACUUM FULL vt.a'))
    tx("INSERT INTO {t}.a SELECT g, 0, 'last' FROM generate_series(9000, 9050) g")
    return steps


class Twin:
    """The steps that one session does; acked is the last one it was told of."""

    def __init__(self):
        self.acked = 0

    def fresh(self, s):
        s.query('SET client_min_messages = error; DROP EXTENSION IF EXISTS vdb_am CASCADE; '
                'DROP SCHEMA IF EXISTS vt, ht CASCADE; DROP TABLE IF EXISTS progress, burnt; '
                'CREATE TABLE burnt (id int, v int) USING heap; INSERT INTO burnt VALUES (1, 0); '
                'CREATE TABLE progress (step int) USING heap; INSERT INTO progress VALUES (0); '
                'CREATE SCHEMA ht; ' +
                '; '.join('CREATE TABLE ht.%s %s USING heap' % (t, TWIN[t]) for t in TABLES))

    def begin(self, s):
        """Extension and tables: these steps are under the stop point too."""
        s.query('CREATE EXTENSION vdb_am')
        with open(os.path.join(HERE, 'helpers.sql')) as f:
            s.query(f.read())
        s.query('BEGIN; CREATE SCHEMA vt; ' +
                '; '.join('CREATE TABLE vt.%s %s USING vdb' % (t, TWIN[t]) for t in TABLES) +
                '; CREATE INDEX ON vt.a (grp); CREATE UNLOGGED TABLE vt.unlogged (id int, v text) USING vdb; '
                'UPDATE progress SET step = 1; COMMIT')
        self.acked = 1

    def do_step(self, s, number, kind, sql):
        done = 'UPDATE progress SET step = %d' % number
        if kind == 'tx':
            s.query('BEGIN; %s; %s; COMMIT' % (sql, done))
        elif kind == 'copy':
            s.query('BEGIN')
            for schema in ('vt', 'ht'):
                s.query('COPY %s.a FROM STDIN' % schema, copy_data=sql.encode() + b'\n')
            s.query(done + '; COMMIT')
        elif kind == 'prepared':
            s.query("BEGIN; %s; %s; PREPARE TRANSACTION 'p'" % (sql, done))
            s.query("COMMIT PREPARED 'p'")
        elif kind == 'async':
            s.query('BEGIN; SET LOCAL synchronous_commit = off; %s; %s; COMMIT' % (sql[0], done))
            for statement in sql[1:]:
                s.query(statement)
            s.query(done)   # flushes
        elif kind == 'rollback':
            s.query('BEGIN; %s; ROLLBACK' % sql)
            s.query(done)
        else:
            s.query(sql)
            s.query(done)
        self.acked = number

    # -- what must hold --------------------------------------------------

    def check(self, s, name, async_commit=False, burn=True):
        """Everything, by a new session that this closes."""
        for (gid,) in s.rows('SELECT gid FROM pg_prepared_xacts'):
            s.query("COMMIT PREPARED '%s'" % gid)
        step = int(s.value('SELECT step FROM progress'))
        if step > self.acked + 1 or (step < self.acked and not async_commit):
            raise Failure('%s: step %d of which %d were acknowledged' % (name, step, self.acked))
        if burn and step % 2 == 0:
            s.query(BURN)           # before anybody reads a row, and so may leave a hint
        if step >= 1:
            self.compare(s, name, 'after the crash')
            self.go_on(s)
            self.compare(s, name, 'later')
            for (table,) in s.rows("SELECT c.oid::regclass::text FROM pg_class c WHERE relnamespace = 'vt'::regnamespace "
                                   "AND relkind = 'r'"):
                s.query("SELECT vdb.migrate('%s')" % table)
                s.query('VACUUM ' + table)
            self.compare(s, name, 'after migration', leaks=True)
        s.close()

    @staticmethod
    def go_on(s, time=0):
        """Hand out the ids that were lost, and change rows."""
        s.query(BURN)
        s.query('BEGIN; ' + both("UPDATE {t}.a SET v = v || '!' WHERE id % 6 = 0") + '; ' +
                both("INSERT INTO {t}.a SELECT g + %d, 3, 'later' FROM generate_series(20000, 20100) g" % (time * 1000)) + '; ' +
                both('DELETE FROM {t}.b WHERE id %% 5 = %d' % time) + '; COMMIT')

    def compare(self, s, name, when, leaks=False):
        there = [r[0] for r in s.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'vt'")]
        twins = [r[0] for r in s.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'ht'")]
        if sorted(t for t in there if t != 'unlogged') != sorted(twins):
            raise Failure('%s: %s: tables %s, but twins %s' % (name, when, there, twins))
        for table in twins:
            for scan, off in (('sequential', 'index'), ('index', 'seq')):
                s.query('SET enable_%sscan = off; SET enable_bitmapscan = %s'
                        % (off, 'off' if off == 'index' else 'on'))
                diff = s.value('SELECT count(*) FROM ((SELECT * FROM vt.{0} WHERE id >= 0 EXCEPT ALL SELECT * FROM ht.{0}) '
                               'UNION ALL (SELECT * FROM ht.{0} EXCEPT ALL SELECT * FROM vt.{0} WHERE id >= 0)) x'
                               .format(table))
                s.query('RESET ALL')
                if diff != '0':
                    raise Failure('%s: %s: %s scan of %s differs from its twin in %s rows'
                                  % (name, when, scan, table, diff))
        for table in there:
            for row in s.rows("SELECT severity, location, message FROM vdb.verify('vt.%s')" % table):
                if row[0] == 'error':
                    raise Failure('%s: %s: verify of %s: %s' % (name, when, table, row))
        for row in s.rows('SELECT severity, location, message FROM vdb.verify_pool()'):
            if row[0] == 'error' or (leaks and row[1].startswith('pool block')):
                raise Failure('%s: %s: the pool: %s' % (name, when, row))
