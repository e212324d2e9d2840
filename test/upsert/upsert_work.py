"""What the sessions of the upsert test do: one class a kind of constraint.

Each has tables, op(client) that runs one statement or a few, and check(session) that knows what must hold in
the end. An op notes what it did with client.note(what, amount) or client.saw(..), which counts only if the
transaction commits; it names the errors besides 40001 (not at READ COMMITTED) and deadlocks (not in single
statements) that it may meet by client.may(..).
"""

KEYS = 12


class Wrong(Exception):
    pass


def expect(what, got, want):
    if got != want:
        raise Wrong('%s: %s, expected %s' % (what, got, want))


class Work:
    """A kind of work: name, DDL, tables that move."""

    ddl = ''
    tables = ()
    full = False                # the pool counts as full
    single = False              # only statements that are their own transaction and change one row

    def __init__(self, am):
        self.am = am

    def no_duplicates(self, s, table, columns, where='true'):
        """By a scan of the table, whatever the indexes say."""
        s.query('SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off')
        rows = s.rows('SELECT %s, count(*) FROM %s WHERE %s GROUP BY %s HAVING count(*) > 1' % (columns, table, where, columns))
        s.query('RESET ALL')
        if rows:
            raise Wrong('%s has keys (%s) more than once: %s' % (table, columns, rows[:5]))

    def access_paths(self, s):
        """Indexes and scans see the same rows; nothing is damaged."""
        for table in self.tables:
            counts = []
            for off in ('seqscan', 'indexscan'):
                s.query('SET enable_%s = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off' % off)
                counts.append(s.rows('SELECT count(*), sum(hashtextextended(x::text, 0)) FROM %s x WHERE k >= -1000000' % table))
                s.query('RESET ALL')
            if counts[0] != counts[1]:
                raise Wrong('%s: by index %s, by scan %s' % (table, counts[0], counts[1]))
            if self.am == 'vdb':
                complaints = s.rows("SELECT * FROM vdb.verify('%s') WHERE severity = 'error'" % table)
                if complaints:
                    raise Wrong('vdb.verify of %s: %s' % (table, complaints[:5]))


class Counters(Work):
    """One hot table of counters; keys from 100 on are deleted, too. win: DO NOTHING has one winner a key."""

    name = 'counters'
    tables = ('cnt', 'win')
    ddl = ('CREATE TABLE cnt (k int PRIMARY KEY, n bigint NOT NULL, note text); '
           'CREATE TABLE win (k int PRIMARY KEY, who int)')

    def op(self, c):
        rng = c.rng
        roll = rng.random()
        key = rng.randrange(KEYS)
        note = "repeat('n', %d)" % rng.choice([0, 3, 300])
        if roll < 0.35:
            rows = c.query('INSERT INTO cnt VALUES (%d, 1, %s) ON CONFLICT (k) DO UPDATE SET n = cnt.n + 1, note = excluded.note '
                           'RETURNING n' % (key, note)).rows
            expect('rows of an upsert', len(rows), 1)
            c.note('cnt', 1)
            c.saw('cnt', key, int(rows[0][0]))
        elif roll < 0.5:
            rows = c.query('UPDATE cnt SET n = n + 1 WHERE k = %d RETURNING n' % key).rows
            for row in rows:
                c.note('cnt', 1)
                c.saw('cnt', key, int(row[0]))
        elif roll < 0.6:
            # the WHERE of DO UPDATE decides on the newest version, which stays locked
            tag = c.query('INSERT INTO cnt VALUES (%d, 1, %s) ON CONFLICT (k) DO UPDATE SET n = cnt.n + excluded.n WHERE cnt.n %% 3 <> 0'
                          % (key, note)).tags[-1]
            c.note('cnt', int(tag.split()[-1]))
        elif roll < 0.7 and not self.single:
            keys = rng.sample(range(KEYS), 3)
            rows = c.query('INSERT INTO cnt VALUES %s ON CONFLICT (k) DO UPDATE SET n = cnt.n + 1 RETURNING k, n' % ', '.join(
                '(%d, 1, NULL)' % k for k in keys)).rows
            expect('rows of an upsert of three', sorted(int(r[0]) for r in rows), sorted(keys))
            c.note('cnt', 3)
            for k, n in rows:
                c.saw('cnt', int(k), int(n))
        elif roll < 0.85:
            key += 100
            if rng.random() < 0.6:
                c.query('INSERT INTO cnt VALUES (%d, 1, %s) ON CONFLICT ON CONSTRAINT cnt_pkey DO UPDATE SET n = cnt.n + 1' % (key, note))
                c.note('cnt', 1)
            else:
                for row in c.query('DELETE FROM cnt WHERE k = %d RETURNING n' % key).rows:
                    c.note('cnt', -int(row[0]))
        else:
            key = c.shared('win') // 6
            tag = c.query('INSERT INTO win VALUES (%d, %d) ON CONFLICT DO NOTHING' % (key, c.number)).tags[-1]
            if tag == 'INSERT 0 1':
                c.saw('win', key, c.number)

    def check(self, s, done):
        expect('the sum of the counters', int(s.value('SELECT coalesce(sum(n), 0) FROM cnt')), done.total['cnt'])
        for key, values in done.by_key('cnt').items():
            if len(values) != len(set(values)):
                raise Wrong('counter %d gave a value twice: %s' % (key, sorted(v for v in values if values.count(v) > 1)[:5]))
        won = done.by_key('win')
        rows = {int(k): int(who) for k, who in s.rows('SELECT k, who FROM win')}
        expect('keys of win', sorted(rows), sorted(won))
        for key, who in won.items():
            expect('winners of key %d' % key, who, [rows[key]])
        self.no_duplicates(s, 'cnt', 'k')
        self.no_duplicates(s, 'win', 'k')


class Singles(Counters):
    """The same without reason for any error at all."""

    name = 'single counters'
    single = True


class InDoubt(Counters):
    """The same in a pool that counts as full, beside rows that nobody looks at: segments fill up, and rows of
    transactions in progress move."""

    name = 'in-doubt counters'
    full = True

    def op(self, c):
        super().op(c)
        if c.in_transaction and c.rng.random() < 0.1:
            first = 1000000 * c.shared('fill')
            c.query("INSERT INTO %s SELECT g, 0 FROM generate_series(%d, %d) g" % (
                c.rng.choice(['cnt (k, n)', 'cnt (k, n)', 'win (k, who)']), first, first + c.rng.choice([100, 1500])))
            if c.rng.random() < 0.5:
                c.pause(0.25)       # as long as the worker sleeps

    def check(self, s, done):
        s.query('DELETE FROM cnt WHERE k >= 1000000; DELETE FROM win WHERE k >= 1000000')
        super().check(s, done)


class TwoKeys(Work):
    """Two unique indexes: a conflict with the one that ON CONFLICT does not name is an error."""

    name = 'two keys'
    tables = ('two',)
    ddl = 'CREATE TABLE two (k int UNIQUE, b int UNIQUE, n bigint NOT NULL DEFAULT 1)'

    def op(self, c):
        rng = c.rng
        k, b = rng.randrange(KEYS), rng.randrange(KEYS)
        roll = rng.random()
        if roll < 0.3:
            c.may('23505')
            rows = c.query('INSERT INTO two VALUES (%d, %d) ON CONFLICT (k) DO UPDATE SET n = two.n + 1 RETURNING n' % (k, b)).rows
            expect('rows of an upsert', len(rows), 1)
            c.note('two', 1)
        elif roll < 0.5:
            c.may('23505')
            c.query('INSERT INTO two VALUES (%d, %d) ON CONFLICT (b) DO UPDATE SET n = two.n + 1, k = two.k' % (k, b))
            c.note('two', 1)
        elif roll < 0.75:
            c.note('two', int(c.query('INSERT INTO two VALUES (%d, %d) ON CONFLICT DO NOTHING' % (k, b)).tags[-1].split()[-1]))
        elif roll < 0.85:
            c.may('23505')
            c.query('UPDATE two SET b = %d WHERE k = %d' % (b, k))
        else:
            for row in c.query('DELETE FROM two WHERE k = %d RETURNING n' % k).rows:
                c.note('two', -int(row[0]))

    def check(self, s, done):
        expect('the sum of n', int(s.value('SELECT coalesce(sum(n), 0) FROM two')), done.total['two'])
        self.no_duplicates(s, 'two', 'k')
        self.no_duplicates(s, 'two', 'b')


class Partial(Work):
    """A unique index on the active rows alone; rows are retired, and kept."""

    name = 'partial'
    tables = ('part',)
    ddl = ('CREATE TABLE part (k int, active bool NOT NULL, n bigint NOT NULL); CREATE UNIQUE INDEX part_active ON part (k) WHERE active; '
           'CREATE INDEX ON part (k)')

    def op(self, c):
        rng = c.rng
        key = rng.randrange(KEYS)
        roll = rng.random()
        if roll < 0.5:
            c.query('INSERT INTO part VALUES (%d, true, 1) ON CONFLICT (k) WHERE active DO UPDATE SET n = part.n + 1' % key)
            c.note('part', 1)
        elif roll < 0.6:
            tag = c.query('INSERT INTO part VALUES (%d, true, 1) ON CONFLICT DO NOTHING' % key).tags[-1]
            c.note('part', int(tag.split()[-1]))
        elif roll < 0.8:
            c.query('UPDATE part SET active = false WHERE k = %d AND active' % key)
        elif roll < 0.85:
            # an expression of the index that no longer holds in the new version, by the upsert itself
            c.query('INSERT INTO part VALUES (%d, true, 1) ON CONFLICT (k) WHERE active DO UPDATE SET active = false, n = part.n + 1' % key)
            c.note('part', 1)
        elif roll < 0.95:
            tag = c.query('UPDATE part SET n = n + 1 WHERE k = %d AND active' % key).tags[-1]
            c.note('part', int(tag.split()[-1]))
        else:
            for row in c.query('DELETE FROM part WHERE k = %d AND NOT active RETURNING n' % key).rows:
                c.note('part', -int(row[0]))

    def check(self, s, done):
        expect('the sum of n', int(s.value('SELECT coalesce(sum(n), 0) FROM part')), done.total['part'])
        self.no_duplicates(s, 'part', 'k', 'active')


class Deferred(Work):
    """Places are exchanged: a unique constraint that is checked at the end of the transaction."""

    name = 'deferred'
    tables = ('def',)
    ddl = ('CREATE TABLE def (k int PRIMARY KEY, place int NOT NULL UNIQUE DEFERRABLE INITIALLY DEFERRED, n bigint NOT NULL); '
           'INSERT INTO def SELECT g, g, 0 FROM generate_series(0, %d) g' % (KEYS * 3 - 1))

    def op(self, c):
        rng = c.rng
        a, b = sorted(rng.sample(range(KEYS * 3), 2))
        roll = rng.random()
        if not c.in_transaction:
            # a constraint is deferred until the end of the statement, if that is all
            c.query('UPDATE def SET place = place, n = n + 1 WHERE k = %d' % a)
            c.note('def', 1)
            return
        if roll < 0.7:
            rows = dict(c.query('SELECT k, place FROM def WHERE k IN (%d, %d) ORDER BY k FOR UPDATE' % (a, b)).rows)
            expect('locked rows', len(rows), 2)
            for k, other in ((a, b), (b, a)):
                tag = c.query('UPDATE def SET place = %s, n = n + 1 WHERE k = %d' % (rows[str(other)], k)).tags[-1]
                expect('update of a locked row', tag, 'UPDATE 1')
            c.note('def', 2)
        elif roll < 0.85:
            # without a lock, what was read may be old: then two rows have one place
            c.may('23505')
            c.query('UPDATE def SET n = n + 1, place = (SELECT place FROM def d WHERE d.k = %d + %d - def.k) WHERE k IN (%d, %d)' % (a, b, a, b))
            c.note('def', 2)
        else:
            # a row beside the one whose place it has, for a moment
            c.may('23505')
            c.query('INSERT INTO def SELECT %d, place, 0 FROM def WHERE k = %d' % (1000 + c.shared('def'), a))
            c.query('DELETE FROM def WHERE k >= 1000')

    def check(self, s, done):
        expect('the sum of n', int(s.value('SELECT sum(n) FROM def')), done.total['def'])
        expect('places', [int(r[0]) for r in s.rows('SELECT place FROM def ORDER BY place')], list(range(KEYS * 3)))
        self.no_duplicates(s, 'def', 'place')
        self.no_duplicates(s, 'def', 'k')


class ForeignKeys(Work):
    """Children of parents that come, go and are renamed; what a cascade deletes is added up by a trigger."""

    name = 'foreign keys'
    tables = ('parent', 'child', 'loose')
    ddl = ('CREATE TABLE parent (k int PRIMARY KEY, n bigint NOT NULL DEFAULT 0); '
           'CREATE TABLE child (k int NOT NULL REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE, slot int, n bigint NOT NULL, PRIMARY KEY (k, slot)); '
           'CREATE TABLE loose (k int, p int REFERENCES parent ON DELETE SET NULL ON UPDATE CASCADE, n bigint NOT NULL); CREATE INDEX ON loose (p); '
           'CREATE INDEX ON loose (k); CREATE TABLE audit (n bigint); '
           'CREATE OR REPLACE FUNCTION audited() RETURNS trigger LANGUAGE plpgsql AS '
           '$$ BEGIN INSERT INTO audit VALUES (old.n); RETURN old; END $$; '
           'CREATE TRIGGER gone AFTER DELETE ON child FOR EACH ROW EXECUTE FUNCTION audited(); '
           'INSERT INTO parent SELECT g FROM generate_series(0, %d) g' % (KEYS - 1))

    def op(self, c):
        rng = c.rng
        k, slot = rng.randrange(KEYS), rng.randrange(3)
        roll = rng.random()
        if roll < 0.4:
            c.may('23503')
            c.query('INSERT INTO child VALUES (%d, %d, 1) ON CONFLICT (k, slot) DO UPDATE SET n = child.n + 1' % (k, slot))
            c.note('child', 1)
        elif roll < 0.55:
            c.may('23503')
            c.query('INSERT INTO loose VALUES (%d, %d, 1)' % (c.shared('loose'), k))
            c.note('loose', 1)
        elif roll < 0.65:
            c.query('DELETE FROM parent WHERE k = %d' % k)
        elif roll < 0.8:
            c.query('INSERT INTO parent VALUES (%d) ON CONFLICT DO NOTHING' % k)
        elif roll < 0.87:
            c.query('INSERT INTO parent VALUES (%d) ON CONFLICT (k) DO UPDATE SET n = parent.n + 1' % k)
        elif roll < 0.93:
            c.may('23505')
            c.query('UPDATE parent SET k = %d WHERE k = %d' % (rng.randrange(KEYS), k))
        else:
            c.query('UPDATE loose SET n = n + 1 WHERE k = (SELECT max(k) FROM loose WHERE p = %d)' % k)
            c.query('SELECT * FROM parent WHERE k = %d FOR %s' % (k, rng.choice(['KEY SHARE', 'SHARE', 'NO KEY UPDATE', 'UPDATE'])))

    def check(self, s, done):
        got = int(s.value('SELECT (SELECT coalesce(sum(n), 0) FROM child) + (SELECT coalesce(sum(n), 0) FROM audit)'))
        expect('children, those that cascades deleted included', got, done.total['child'])
        expect('rows of loose', int(s.value('SELECT count(*) FROM loose')), done.total['loose'])
        for table, column in (('child', 'k'), ('loose', 'p')):
            for off in ('enable_hashjoin', 'enable_nestloop'):
                s.query('SET %s = off' % off)
                orphans = s.rows('SELECT * FROM {0} c WHERE c.{1} IS NOT NULL AND NOT EXISTS (SELECT FROM parent p WHERE p.k = c.{1})'
                                 .format(table, column))
                s.query('RESET ALL')
                if orphans:
                    raise Wrong('rows of %s without a parent: %s' % (table, orphans[:5]))
        self.no_duplicates(s, 'parent', 'k')
        self.no_duplicates(s, 'child', 'k, slot')


KINDS = [Counters, Singles, InDoubt, TwoKeys, Partial, Deferred, ForeignKeys]
