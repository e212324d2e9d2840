"""Queries of kinds that a random grammar seldom makes by itself, for the generators of tlp, model and sqlsmith.

GROUP BY, ORDER BY and DISTINCT of what is constant or fixed by WHERE; comparands that would fail, behind a clause that lets no
row through; domains with CHECKs; collations in conflict; comparisons with another type, about where clocks are changed.
Faults that the generators had missed are of these kinds. They are asked on heap and on the table under test (with planner methods off at random): the same rows, and no error that
heap does not raise with the same SQLSTATE.
"""

import os

ZONES = ['America/New_York', 'Europe/Berlin', 'Australia/Lord_Howe', 'America/Sao_Paulo', 'UTC']

# Midnights 26 hours before clocks go forward or back. Values have a minute a number: it happens at number 1560, and what a gap
# leaves out has the numbers up to 1620 (1590 in Lord Howe).
CHANGES = {'America/New_York': ['2024-03-09', '2024-03-09', '2024-11-02'], 'Europe/Berlin': ['2024-03-30', '2024-03-30', '2024-10-26'],
           'Australia/Lord_Howe': ['2024-10-05', '2024-10-05', '2024-04-06'], 'America/Sao_Paulo': ['2018-11-02 22:00', '2018-02-16 22:00'],
           'UTC': ['2024-03-09']}
NEAR = (1520, 1690)


def moments(kind, day, zone):
    """The value of that type for the number #."""
    if kind == 'timestamptz':
        return "'%s'::timestamp AT TIME ZONE '%s' + # * interval '1 min'" % (day, zone)
    return "'%s'::timestamp + # * interval '1 min'" % day


def span(rng):
    """Of the numbers of a column, first one and count: many end where those that the gap leaves out would come in again."""
    last = rng.randint(1600, 1670) if rng.random() < 0.7 else rng.randint(1500, 1800)
    count = rng.choice([5, 20, 60, 100, 300])
    return last - count + 1, count


PRELUDE = [
    "CREATE DOMAIN public.odd_positive AS int4 CHECK (VALUE > 0)",
    "CREATE DOMAIN public.odd_filled AS text CHECK (VALUE <> '')",
    "CREATE DOMAIN public.odd_posix AS text COLLATE \"POSIX\"",
    "CREATE DOMAIN public.odd_c AS text COLLATE \"C\"",
]

METHODS = ['hashagg', 'sort', 'seqscan', 'indexscan', 'indexonlyscan', 'bitmapscan', 'nestloop', 'hashjoin', 'mergejoin', 'material',
           'memoize', 'incremental_sort', 'gathermerge', 'parallel_append', 'parallel_hash', 'tidscan']

PARALLEL = ['parallel_setup_cost = 0', 'parallel_tuple_cost = 0', 'min_parallel_table_scan_size = 0', 'min_parallel_index_scan_size = 0']

# A run-time comparand is evaluated before the guard by an index scan's start and for parallel workers, on heap as well
IN_ORDER = ['enable_indexscan = off', 'enable_bitmapscan = off', 'enable_indexonlyscan = off', 'max_parallel_workers_per_gather = 0']

CROSS = {
    'int': ['int2', 'int4', 'int8', 'numeric', 'float4', 'float8'],
    'num': ['int2', 'int4', 'int8', 'numeric', 'float8'],
    'float': ['float4', 'float8', 'int2', 'int4', 'int8', 'numeric'],
    'date': ['date', 'timestamp', 'timestamptz'],
    'text': ['text', 'varchar', 'name', 'bpchar', 'char(12)', '"char"'],
    'bpchar': ['text', 'varchar', 'bpchar', 'name'],
    'name': ['text', 'varchar', 'name', 'bpchar'],
}

KINDS = os.environ.get('ODD_KINDS', '').split()        # methods of Odd, to look for one thing; default: all

SHOWN = ('int', 'date', 'text', 'bool')        # families whose equal values look the same


def settings(rng, vdb):
    """Planner methods off at random, often with aggregation in the scan forced."""
    out = ['enable_%s = off' % m for m in METHODS if rng.random() < rng.choice([0.1, 0.3])]
    if rng.random() < 0.3:
        out += PARALLEL
    if vdb and rng.random() < 0.5:
        out.append('vdb.debug_aggregate = on')
    return out


class Column:
    """make(n): an SQL expression of the type for a number; draw(): a number, best one that occurs."""

    def __init__(self, name, kind, family, make, draw):
        self.name, self.kind, self.family, self.make, self.draw = name, kind, family, make, draw

    def __str__(self):
        return 't.' + self.name

    def constant(self):
        return '(%s)::%s' % (self.make(self.draw()), self.kind)

    def shown(self):
        return str(self) if self.family in SHOWN else '1'


class Query:
    def __init__(self, sql, settings=(), rows=True):
        self.sql, self.settings, self.rows = sql, list(settings), rows


class Odd:
    """Queries of one table, which needs a column id int4 that is above -1000000."""

    def __init__(self, rng, table, columns, vdb):
        self.rng, self.table, self.columns, self.vdb = rng, table, columns, vdb

    def column(self, *families):
        """One of these families, if there is one."""
        some = [c for c in self.columns if not families or c.family in families]
        return self.rng.choice(some or self.columns)

    def query(self):
        makers = [self.fixed, self.fixed, self.constant, self.outer, self.parameter, self.distinct, self.sorted, self.guarded,
                  self.guarded, self.domain, self.collation, self.collation, self.cross, self.cross]
        return self.rng.choice([m for m in makers if not KINDS or m.__name__ in KINDS])()

    def ask(self, sql, *values):
        return Query(sql.format(T=self.table, *values), settings(self.rng, self.vdb))

    def fixed(self):
        c, d = self.column(), self.column()
        more = self.rng.choice(['', ', ' + str(d), ', %s, 1 + 1' % d, ", 'x'::text"])
        return self.ask('SELECT {1}, count(*), min(t.id), sum(t.id) FROM {T} t WHERE {0} = {2} GROUP BY {0}{3}', c, c.shown(), c.constant(), more)

    def constant(self):
        keys = self.rng.choice(["'x'::text", '1 + 1', "'x'::text, 1 + 1", '(SELECT 7)', "now()", '{0}, \'x\'::text'])
        c = self.column()
        return self.ask('SELECT count(*), min(t.id), max(t.id) FROM {T} t %sGROUP BY %s %s' % (
            self.rng.choice(['', 'WHERE t.id > 100 ', 'WHERE {0} IS NOT NULL ']), keys, self.rng.choice(['', 'HAVING count(*) > 1'])), c)

    def outer(self):
        c = self.column()
        return self.ask('SELECT o.n, s.n, s.m FROM (VALUES (1, {1}), (2, {2})) o (n, v), '
                        'LATERAL (SELECT count(*) AS n, min(t.id) AS m FROM {T} t WHERE {0} = o.v GROUP BY {0}) s', c, c.constant(), c.constant())

    def parameter(self):
        c = self.column()
        return self.ask('PREPARE odd (%s) AS SELECT {1}, count(*), max(t.id) FROM {T} t WHERE {0} = $1 GROUP BY {0}; '
                        'SET plan_cache_mode = %s; EXECUTE odd ({2}); RESET plan_cache_mode; DEALLOCATE odd'
                        % (c.kind, self.rng.choice(['force_generic_plan', 'force_custom_plan'])), c, c.shown(), c.constant())

    def distinct(self):
        c = self.column()
        return self.ask(self.rng.choice([
            'SELECT DISTINCT {1} FROM {T} t WHERE {0} = {2}',
            'SELECT count(*) FROM (SELECT DISTINCT ON ({0}) t.id FROM {T} t WHERE {0} = {2} ORDER BY {0}, t.id) x',
            'SELECT count(DISTINCT {0}), count(*) FROM {T} t WHERE {0} = {2} GROUP BY {0}']), c, c.shown(), c.constant())

    def sorted(self):
        c = self.column()
        return self.ask('SELECT count(*), min(x.id), max(x.id) FROM (SELECT t.id FROM {T} t WHERE {0} = {1} ORDER BY {0}, t.id%s LIMIT 7) x'
                        % self.rng.choice(['', ' DESC']), c, c.constant())

    def guard(self):
        return self.rng.choice(['t.id < -1000000', 't.id < -1000000 AND t.id IS NOT NULL', 't.id IS NULL'])

    def guarded(self):
        """Nobody reaches the failing comparand."""
        c = self.column()
        fails = self.rng.choice([
            '(SELECT {1} FROM (SELECT 1 / count(*) AS n FROM {T} WHERE id < -1000000) x WHERE x.n > 0)',
            '(SELECT CASE WHEN 1 / count(*) > 0 THEN {1} END FROM {T} WHERE id < -1000000)',
            '(SELECT {1} FROM {T} ORDER BY id LIMIT 1 OFFSET (SELECT -1))'])
        sql = 'SELECT count(*)%s FROM {T} t WHERE %s AND {0} %s %s' % (
            self.rng.choice(['', ', min(t.id)']), self.guard(), self.rng.choice(['=', '<', '>=']), fails)
        return Query(sql.format(c, c.constant(), T=self.table), IN_ORDER)

    def domain(self):
        """The CHECK is evaluated when a row comes, not when it is planned."""
        rng = self.rng
        c = self.column('text')
        clause = rng.choice(['t.id = (-5)::public.odd_positive', 't.id > (5)::public.odd_positive'] +
                            ["{0} = ''::public.odd_filled", "{0} > 'c'::public.odd_filled"] * (c.family == 'text'))
        how = rng.choice(['SELECT count(*), sum(t.id) FROM {T} t WHERE %s AND ' % self.guard(), 'SELECT count(*), sum(t.id) FROM {T} t WHERE ',
                          'EXPLAIN (COSTS off) SELECT count(*) FROM {T} t WHERE ',
                          'PREPARE odd AS SELECT count(*) FROM {T} t WHERE '])
        sql = how + clause + ('; DEALLOCATE odd' if how.startswith('PREPARE') else '')
        return Query(sql.format(c, T=self.table), IN_ORDER, rows=how.startswith('SELECT'))

    def collation(self):
        """The parts of a comparison have collations of their own: no order, sometimes not even equality."""
        rng = self.rng
        texts = [c for c in self.columns if c.family in ('text', 'name', 'ndtext')]
        if not texts:
            return self.cross()
        c, d = rng.choice(texts), rng.choice(texts)
        op = rng.choice(['=', '=', '<', '>=', '<>'])
        other = rng.choice(["'c5'::public.odd_posix", "(SELECT 'c5'::public.odd_posix)", "'c5'::public.odd_c", "(SELECT 'k7'::public.odd_c)", str(d), '(SELECT %s FROM {T} t ORDER BY t.id LIMIT 1)' % d,
                            "'c5' COLLATE \"C\"", "ANY (ARRAY['a', 'c5']::public.odd_posix[])"])
        if 'ANY' in other:
            op = '='
        sql = rng.choice(['', '', 'EXPLAIN (COSTS off) ']) + 'SELECT count(*), min(t.id) FROM {T} t WHERE {0} %s %s%s' % (
            op, other, rng.choice(['', ' AND t.id < -1000000', ' GROUP BY {0}']))
        return Query(sql.format(c, T=self.table), IN_ORDER, rows=not sql.startswith('EXPLAIN'))

    def cross(self):
        rng = self.rng
        c = self.column(*(['date'] if rng.random() < 0.6 else ['int', 'num', 'float', 'text', 'bpchar', 'name']))
        if c.family not in CROSS:
            c = Column('id', 'int4', 'int', str, lambda: rng.randint(0, 2000))
        kinds = CROSS[c.family]
        kind = rng.choice([k for k in kinds if k != c.kind])
        n = c.draw()
        value = c.make(n % 30000 if kind == 'int2' else n)
        if c.family in ('int', 'num', 'float'):
            value = '%d%s' % (n % 30000 if kind == 'int2' else n, rng.choice(['', '.5'] if kind in ('numeric', 'float8') else ['']))
        elif c.family == 'date' and rng.random() < 0.4:
            value += " + interval '%d min'" % rng.choice([20, 30, 50, 60, -60, 90, 1439])
        value = '(%s)::%s' % (value, kind)
        clause = rng.choice(['{0} {op} {1}', '{0} {op} {1}', '{1} {op} {0}', '{0} BETWEEN {1} AND {1} + {step}', '{0} = ANY (ARRAY[{1}, NULL])'])
        step = {'date': '7', 'timestamp': "interval '2 h'", 'timestamptz': "interval '2 h'"}.get(kind)
        if c.family in ('int', 'num', 'float'):
            step = "'50'"
        if not step and 'step' in clause:
            clause = '{0} {op} {1}'
        clause = clause.format(c, value, op=rng.choice(['=', '<', '<=', '>', '>=', '<>']), step=step)
        return self.ask('SELECT count(*), sum(t.id), min(t.id), max(t.id) FROM {T} t WHERE ' + clause.replace('{', '{{').replace('}', '}}'))


def ask(session, query, failed, set_them):
    """(rows sorted, SQLSTATE or None, message) of one side; failed: the exception of an error."""
    names = [s.split()[0] for s in query.settings] if set_them else []
    if names:
        session.query('; '.join('SET ' + s for s in query.settings))
    try:
        rows = session.query(query.sql).rows if query.rows else session.query(query.sql) and []
        return sorted(rows, key=str), None, ''
    except failed as e:
        return [], e.sqlstate, str(e)
    finally:
        if session.status != b'E':
            session.query('; '.join('RESET ' + n for n in names + ['plan_cache_mode']) + '; DEALLOCATE ALL')


def differ(query, heap, other):
    """What is wrong with two answers of ask(); None: nothing."""
    if other[1] and other[1] != heap[1]:
        return 'an error that heap does not raise: %s (heap: %s)' % (other[2], heap[2] or 'none')
    if heap[1] is None and heap[0] != other[0]:
        return 'heap %s, not %s' % (heap[0][:8], other[0][:8])
    return None         # a row that heap met first may have been ruled out by what it is stored with
