"""Random statements for the model test.

Every statement must have one right outcome that does not depend on the physical order of rows: no
LIMIT without a total order, no key update that could collide halfway, no clock, no random().
"""

import random

import odd_queries

# type -> (expression of a value for an integer n, predicate templates with %(c)s and %(n)d)
TYPES = {
    'int': ('%d', ['%(c)s = %(n)d', '%(c)s < %(n)d', '%(c)s BETWEEN %(n)d AND %(n)d + 20',
                   '%(c)s IN (%(n)d, %(n)d + 1, %(n)d + 7)']),
    'smallint': ('(%d %% 30000)::smallint', ['%(c)s = %(n)d %% 30000', '%(c)s > %(n)d %% 300']),
    'bigint': ('%d::bigint * 1000000007', ['%(c)s > %(n)d::bigint * 1000000007', '%(c)s < 0']),
    'text': ("'text ' || %d", ["%(c)s = 'text ' || %(n)d", "%(c)s LIKE 'text 1%%'",
                               "%(c)s > 'text ' || %(n)d", "length(%(c)s) > 100"]),
    'varchar(40)': ("'vc' || (%d %% 17)", ["%(c)s = 'vc' || (%(n)d %% 17)", "%(c)s < 'vc5'"]),
    'char(9)': ("'c' || (%d %% 5)", ["%(c)s = 'c' || (%(n)d %% 5)"]),
    'numeric': ('%d::numeric / 7', ['%(c)s > %(n)d::numeric / 7', '%(c)s = round(%(c)s)']),
    'numeric(12,3)': ('%d * 1.125', ['%(c)s <= %(n)d * 1.125']),
    'float8': ('%d::float8 / 3', ['%(c)s > %(n)d::float8 / 3',
                                  "%(c)s <> 'NaN' AND %(c)s < %(n)d"]),
    'real': ('(%d %% 1000)::real / 8', ['%(c)s > (%(n)d %% 1000)::real / 8']),
    'bool': ('(%d %% 3 = 0)', ['%(c)s', 'NOT %(c)s', '%(c)s IS NOT TRUE']),
    'date': ("date '2001-01-01' + %d %% 5000", ["%(c)s = date '2001-01-01' + %(n)d %% 5000",
                                                "%(c)s >= date '2001-01-01' + %(n)d %% 5000"]),
    'timestamptz': ("timestamptz '2001-01-01 00:00+00' + %d * interval '1 minute'",
                    ["%(c)s < timestamptz '2001-01-01 00:00+00' + %(n)d * interval '1 minute'"]),
    'timestamp': ("timestamp '1999-12-31' + %d * interval '1 second'",
                  ["%(c)s > timestamp '1999-12-31' + %(n)d * interval '1 second'"]),
    # where clocks are changed; no index has it: a btree of times in a gap misleads the other type's comparisons, on heap too
    'timestamp(0)': ("timestamp '2024-03-09' + (1540 + %d %% 90) * interval '1 minute'",
                     ["%(c)s > timestamptz '2024-03-10 07:00+00' + %(n)d %% 60 * interval '1 minute'",
                      "%(c)s <= timestamptz '2024-03-10 07:00+00' + %(n)d %% 60 * interval '1 minute'",
                      "%(c)s >= date '2024-03-10'"]),
    'time': ("time '00:00' + %d * interval '1 second'", ["%(c)s > '12:00'"]),
    'interval': ("%d * interval '1 hour'", ["%(c)s > %(n)d * interval '1 hour'"]),
    'uuid': ("md5('u' || %d)::uuid", ["%(c)s = md5('u' || %(n)d)::uuid",
                                      "%(c)s > md5('u' || %(n)d)::uuid"]),
    'jsonb': ("jsonb_build_object('a', %d %% 10, 'b', 'x' || (%d %% 100))",
              ["%(c)s @> '{\"a\": 3}'", "%(c)s->>'b' = 'x' || (%(n)d %% 100)", "%(c)s ? 'zz'"]),
    'int[]': ('ARRAY[%d %% 10, %d %% 7, %d]', ['%(c)s @> ARRAY[%(n)d %% 10]',
                                              '%(c)s = ARRAY[%(n)d %% 10, %(n)d %% 7, %(n)d]']),
    'text[]': ("ARRAY['a' || (%d %% 4), NULL, 'b']", ["'a1' = ANY (%(c)s)"]),
    'bytea': ("decode(md5('b' || %d), 'hex')", ["%(c)s = decode(md5('b' || %(n)d), 'hex')",
                                                "length(%(c)s) < 5"]),
    'inet': ("inet '10.0.0.0' + %d", ["%(c)s = inet '10.0.0.0' + %(n)d",
                                     "%(c)s << inet '10.0.0.0/25'"]),
    'int4range': ('int4range(%d, %d + 10)', ['%(c)s @> %(n)d', '%(c)s && int4range(%(n)d, %(n)d + 5)']),
    'point': ('point(%d %% 100, %d %% 77)', ["%(c)s <@ box '((0,0),(50,50))'"]),
    'bit varying(20)': ('(%d %% 65536)::bit(16)::bit varying(20)', ["%(c)s > B'0000111100001111'"]),
    '"char"': ("chr(65 + %d %% 26)::\"char\"", ["%(c)s = 'K'"]),
    'name': ("('n' || %d)::name", ["%(c)s = ('n' || %(n)d)::name"]),
    'money': ('(%d %% 100000)::money', ['%(c)s > %(n)d::money']),
    'public.color': ("(ARRAY['red', 'green', 'blue'])[1 + %d %% 3]::public.color",
                      ["%(c)s = 'red'", "%(c)s < 'blue'"]),
    'public.pair': ("ROW(%d, 'p' || %d)::public.pair", ['(%(c)s).a = %(n)d',
                                                        "%(c)s > ROW(%(n)d, '')::public.pair"]),
    'public.evenint': ('(%d / 2 * 2)::public.evenint', ['%(c)s = %(n)d / 2 * 2']),
    'public.odd_positive': ('(1 + %d)::public.odd_positive', ['%(c)s = (1 + %(n)d)::public.odd_positive',
                                                               'id < -1000000 AND %(c)s = (-%(n)d)::public.odd_positive']),
    'public.odd_posix': ("('k' || %d %% 50)::public.odd_posix", ["%(c)s = 'k' || (%(n)d %% 50)"]),
    'macaddr': ("('08:00:2b:00:00:' || lpad(to_hex(%d %% 256), 2, '0'))::macaddr",
                ["%(c)s > '08:00:2b:00:00:80'"]),
}

# index method -> types it can take by default
INDEXES = {
    'btree': ['int', 'bigint', 'smallint', 'text', 'numeric', 'float8', 'date', 'timestamptz', 'uuid',
              'bool', 'varchar(40)', 'int[]', 'public.color', 'public.pair', 'int4range', 'bytea',
              'jsonb', 'inet', 'char(9)', 'interval', 'numeric(12,3)'],
    'hash': ['int', 'text', 'uuid', 'numeric', 'date', 'public.color', 'bytea', 'timestamptz'],
    'gin': ['jsonb', 'int[]', 'text[]'],
    'gist': ['int4range', 'point', 'inet inet_ops'],
    'spgist': ['text', 'int4range', 'point', 'inet inet_ops'],
    'brin': ['int', 'bigint', 'date', 'timestamptz', 'text', 'numeric', 'float8', 'uuid'],
}

PRELUDE = [
    "DO $$ BEGIN IF to_regtype('public.color') IS NULL THEN "
    "CREATE TYPE public.color AS ENUM ('red', 'green', 'blue'); "
    "CREATE TYPE public.pair AS (a int, b text); "
    "CREATE DOMAIN public.evenint AS int CHECK (VALUE % 2 = 0); " + '; '.join(odd_queries.PRELUDE) + "; END IF; END $$",
]

# for queries of odd_queries: types, as far as these know them
FAMILIES = {'int': 'int', 'smallint': 'int', 'bigint': 'int', 'public.evenint': 'int', 'public.odd_positive': 'int', 'numeric': 'num',
            'numeric(12,3)': 'num', 'real': 'float', 'float8': 'float', 'text': 'text', 'varchar(40)': 'text', 'public.odd_posix': 'text',
            'char(9)': 'bpchar', 'name': 'name', 'date': 'date', 'timestamp': 'date', 'timestamptz': 'date', 'timestamp(0)': 'date',
            'bool': 'bool', 'uuid': 'other', 'bytea': 'other', 'interval': 'other', 'inet': 'other', 'public.color': 'other'}

SCANS = [
    [],
    ['SET enable_indexscan = off', 'SET enable_bitmapscan = off', 'SET enable_indexonlyscan = off'],
    ['SET enable_seqscan = off', 'SET enable_bitmapscan = off'],
    ['SET enable_seqscan = off', 'SET enable_indexscan = off', 'SET enable_indexonlyscan = off'],
    ['SET force_parallel_mode = on', 'SET parallel_setup_cost = 0', 'SET parallel_tuple_cost = 0',
     'SET min_parallel_table_scan_size = 0'],
    ['SET work_mem = 64', 'SET enable_hashjoin = off', 'SET enable_seqscan = off'],
]


def for_server(version):
    """Newer servers call a setting by another name."""
    if version >= 160000:
        for settings in SCANS:
            settings[:] = [s.replace('force_parallel_mode', 'debug_parallel_query') for s in settings]


class Table:
    def __init__(self, name, columns, leaves=None, keyed=True):
        self.name, self.columns, self.keyed = name, columns, keyed
        self.leaves = leaves or [name]
        self.partitioned = leaves is not None
        self.indexes = []
        self.serial = 0


class Generator:
    def __init__(self, rng):
        self.rng = rng
        self.tables = {}
        self.next_name = 0
        self.span = rng.choice([30, 100, 400, 2000])

    def fresh(self, prefix):
        self.next_name += 1
        return '%s%d' % (prefix, self.next_name)

    def leaf_names(self):
        return [leaf for t in self.tables.values() for leaf in t.leaves]

    def pick_table(self):
        return self.rng.choice(list(self.tables.values()))

    def forget_ddl(self, pair):
        """Nothing to do: definitions change only outside transaction blocks."""

    # -- values ----------------------------------------------------------

    def number(self):
        return self.rng.randint(0, self.span)

    def value(self, kind, n=None, wide=False):
        rng = self.rng
        if n is None:
            roll = rng.random()
            if roll < 0.12:
                return 'NULL'
            if wide and kind == 'text' and roll < 0.17:
                return self.wide('text')
            if wide and kind == 'bytea' and roll < 0.17:
                return "decode(%s, 'escape')" % self.wide('text')
            if kind == 'float8' and roll < 0.15:
                return rng.choice(["'NaN'", "'Infinity'", "'-0'", "'-Infinity'"])
            if kind == 'text' and roll < 0.2:
                return rng.choice(["''", "' '", "'Ünïcødé'", "'quote''d'", "E'new\\nline\\\\'"])
            n = self.number() - (self.span // 3 if rng.random() < 0.1 and kind in (
                'int', 'bigint', 'numeric', 'float8', 'numeric(12,3)') else 0)
        template = TYPES[kind][0]
        if n < 0:
            return template.replace('%d', '(%d)' % n).replace('%%', '%')
        return template.replace('%d', str(n)).replace('%%', '%')

    def wide(self, kind):
        """An expression of 10 kB to 2 MB, compressible or not."""
        rng = self.rng
        size = rng.choice([2000, 9000, 10000, 30000, 100000, 2000000 if rng.random() < 0.15 else 50000])
        if rng.random() < 0.5:
            return "repeat('wide%d', %d)" % (self.number(), size // 6)
        return ("(SELECT string_agg(md5('%d/' || g), '') FROM generate_series(1, %d) g)"
                % (self.number(), size // 32))

    def row(self, table, n=None, wide=False):
        n = self.number() if n is None else n
        return '(%s)' % ', '.join([str(n)] + [self.value(k, wide=wide) for _, k in table.columns[1:]])

    def predicate(self, table):
        name, kind = self.rng.choice(table.columns)
        if self.rng.random() < 0.08:
            return '%s IS %sNULL' % (name, self.rng.choice(['', 'NOT ']))
        template = self.rng.choice(TYPES[kind][1])
        return template % {'c': name, 'n': self.number()}

    def where(self, table):
        rng = self.rng
        roll = rng.random()
        n = self.number()
        if roll < 0.3:
            return 'id = %d' % n
        if roll < 0.5:
            return 'id BETWEEN %d AND %d' % (n, n + rng.choice([1, 5, 30]))
        if roll < 0.8:
            return self.predicate(table)
        if roll < 0.9:
            return '(%s) AND (%s)' % (self.predicate(table), self.predicate(table))
        if roll < 0.97:
            return '(%s) OR (%s)' % (self.predicate(table), self.predicate(table))
        return 'true'

    # -- tables ----------------------------------------------------------

    def some_columns(self, least, most):
        kinds = list(TYPES)
        return [('id', 'int')] + [(self.fresh('c'), self.rng.choice(kinds))
                                  for _ in range(self.rng.randint(least, most))]

    def create_tables(self):
        rng = self.rng
        out = list(PRELUDE)
        for number in range(rng.randint(1, 2)):
            table = Table('t%d' % number, self.some_columns(1, 12), keyed=rng.random() < 0.8)
            self.tables[table.name] = table
            kind = rng.choice(['', '', '', 'UNLOGGED '])
            out.append('CREATE %sTABLE %s (%s)' % (kind, table.name, self.column_list(table)))
        if rng.random() < 0.4:
            table = Table('p', self.some_columns(1, 6), ['p0', 'p1', 'p2'], keyed=rng.random() < 0.7)
            self.tables[table.name] = table
            out.append('CREATE TABLE p (%s) PARTITION BY HASH (id)' % self.column_list(table))
            for n in range(3):
                out.append('CREATE TABLE p%d PARTITION OF p FOR VALUES WITH (MODULUS 3, REMAINDER %d)%s'
                           % (n, n, ' USING heap' if n == 2 else ''))
        return out

    def column_list(self, table):
        return ', '.join('%s %s%s' % (n, k, ' PRIMARY KEY' if n == 'id' and table.keyed else '')
                         for n, k in table.columns)

    # -- statements ------------------------------------------------------

    def statement(self, lone):
        """(sql, ordered, copy data, what to do once it succeeded)."""
        rng = self.rng
        table = self.pick_table()
        ops = [(18, self.insert), (8, self.insert_select), (14, self.update), (8, self.delete),
               (8, self.upsert), (5, self.merge), (10, self.lock_rows), (12, self.select),
               (5, self.copy_in), (1, self.truncate), (3, self.current_of), (3, self.update_key)]
        if lone:
            ops += [(8, self.maintain), (8, self.alter), (6, self.index)]
        op = rng.choices([o for _, o in ops], [w for w, _ in ops])[0]
        return op(table)

    def insert(self, table):
        rows = self.rng.choice([1, 1, 1, 3, 20])
        sql = 'INSERT INTO %s VALUES %s' % (table.name, ', '.join(self.row(table, wide=rows == 1) for _ in range(rows)))
        if table.keyed and self.rng.random() < 0.6:
            sql += ' ON CONFLICT DO NOTHING'
        return sql + self.returning(), False, None, None

    def returning(self):
        return self.rng.choice(['', '', ' RETURNING *', ' RETURNING id'])

    def insert_select(self, table):
        n = self.number()
        count = self.rng.choice([10, 100, 100, 1000])
        table.serial += 1
        values = ', '.join(['g'] + [
            '(%s)' % TYPES[k][0].replace('%d', '(g %% %d)' % self.rng.choice([3, 50, 10000])).replace('%%', '%')
            if self.rng.random() < 0.8 else 'NULL' for _, k in table.columns[1:]])
        sql = ('INSERT INTO %s SELECT %s FROM generate_series(%d, %d) g'
               % (table.name, values, n, n + count))
        if table.keyed:
            sql += ' ON CONFLICT DO NOTHING'
        return sql, False, None, None

    def set_list(self, table, limit=3, wide=False):
        columns = table.columns[1:]
        picked = self.rng.sample(columns, min(len(columns), self.rng.randint(1, limit)))
        return ', '.join('%s = %s' % (n, self.value(k, wide=wide)) for n, k in picked)

    def update(self, table):
        if len(table.columns) < 2:
            return self.delete(table)
        # a wide value goes to one row, not to all
        where = self.where(table)
        changes = self.set_list(table, wide=where.startswith('id = '))
        return ('UPDATE %s SET %s WHERE %s%s' % (table.name, changes, where, self.returning()), False,
                None, None)

    def update_key(self, table):
        return ('UPDATE %s SET id = %d WHERE id = %d%s' % (table.name, self.number(), self.number(),
                                                          self.returning()), False, None, None)

    def delete(self, table):
        where = self.where(table)
        if where == 'true' and self.rng.random() < 0.8:
            where = 'id % 3 = 1'
        return 'DELETE FROM %s WHERE %s%s' % (table.name, where, self.returning()), False, None, None

    def upsert(self, table):
        if not table.keyed or len(table.columns) < 2:
            return self.insert(table)
        rows = {self.number() for _ in range(self.rng.choice([1, 1, 4, 15]))}
        sql = 'INSERT INTO %s AS x VALUES %s ON CONFLICT (id) DO UPDATE SET %s' % (
            table.name, ', '.join(self.row(table, n) for n in sorted(rows)), self.set_list(table))
        if self.rng.random() < 0.3:
            sql += ' WHERE x.id %% 2 = %d' % self.rng.randint(0, 1)
        return sql + self.returning(), False, None, None

    def merge(self, table):
        if len(table.columns) < 2:
            return self.insert(table)
        n = self.number()
        sql = ('MERGE INTO %s x USING generate_series(%d, %d) s(g) ON x.id = s.g '
               'WHEN MATCHED AND x.id %% 3 = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET %s '
               'WHEN NOT MATCHED AND s.g %% 2 = 0 THEN INSERT VALUES %s') % (
                   table.name, n, n + self.rng.choice([1, 5, 30]), self.set_list(table),
                   self.row(table).replace('(', '(s.g + 0 * ', 1))
        return sql, False, None, None

    def lock_rows(self, table):
        mode = self.rng.choice(['KEY SHARE', 'SHARE', 'NO KEY UPDATE', 'UPDATE'])
        how = self.rng.choice(['', '', ' NOWAIT', ' SKIP LOCKED'])
        return ('SELECT * FROM %s WHERE %s FOR %s%s' % (table.name, self.where(table), mode, how),
                False, None, None)

    def select(self, table):
        rng = self.rng
        where = self.where(table)
        name = rng.choice(table.columns)[0]
        forms = ['SELECT * FROM %s WHERE %s' % (table.name, where),
                 'SELECT count(*), count(%s) FROM %s WHERE %s' % (name, table.name, where),
                 'SELECT id, %s FROM %s WHERE %s ORDER BY id, %s::text' % (name, table.name, where, name),
                 'SELECT %s::text, count(*) FROM %s GROUP BY 1' % (name, table.name),
                 'SELECT id FROM %s x WHERE EXISTS (SELECT FROM %s y WHERE y.id = x.id + 1)'
                 % (table.name, table.name),
                 'SELECT id FROM %s WHERE id > %d ORDER BY id LIMIT 5' % (table.name, self.number()),
                 'SELECT id FROM %s WHERE %s IN (SELECT %s FROM %s WHERE %s)'
                 % ((table.name,) + (('(tableoid, ctid)', 'tableoid, ctid') if table.partitioned
                                     else ('ctid', 'ctid')) + (table.name, where)),
                 'SELECT count(*) FROM (SELECT * FROM %s TABLESAMPLE BERNOULLI (100)) x' % table.name]
        pick = rng.randrange(len(forms))
        return forms[pick], pick in (2, 5), None, None

    def odd(self, table):
        """A query that odd_queries makes, of a kind that select() does not."""
        columns = [odd_queries.Column(n, k, FAMILIES[k], lambda n, k=k: self.value(k, abs(n)), self.number) for n, k in table.columns if k in FAMILIES]
        columns = columns or [odd_queries.Column('id', 'int', 'int', str, self.number)]
        return odd_queries.Odd(self.rng, table.name, columns, False).query()

    def copy_in(self, table):
        rows = self.rng.choice([1, 30, 300])
        numbers = [self.number() + (i if self.rng.random() < 0.9 else 0) for i in range(rows)]
        if table.keyed:
            numbers = sorted(set(n + self.span for n in numbers))
        columns = [(n, k) for n, k in table.columns if k in ('int', 'text', 'bigint', 'float8', 'numeric')]
        lines = []
        for n in numbers:
            lines.append('\t'.join(
                str(n) if i == 0 else self.rng.choice([str(self.number()), '\\N', str(n)])
                for i, _ in enumerate(columns)))
        data = ('\n'.join(lines) + '\n').encode()
        return ('COPY %s (%s) FROM STDIN' % (table.name, ', '.join(n for n, _ in columns)), False,
                data, None)

    def truncate(self, table):
        return 'TRUNCATE %s' % table.name, False, None, None

    def current_of(self, table):
        """A row reached by a cursor, changed where the cursor stands, in one string of statements."""
        n = self.number()
        change = ('DELETE FROM %s WHERE CURRENT OF wc RETURNING id' % table.name
                  if self.rng.random() < 0.4 or len(table.columns) < 2 else
                  'UPDATE %s SET %s WHERE CURRENT OF wc RETURNING *' % (table.name,
                                                                       self.set_list(table)))
        if not table.keyed:
            return self.select(table)
        sql = ('DECLARE wc CURSOR FOR SELECT * FROM %s WHERE id >= %d ORDER BY id FOR UPDATE; '
               'FETCH 2 FROM wc; %s; CLOSE wc' % (table.name, n, change))
        return sql, True, None, None

    # -- maintenance and definitions, outside transactions only ----------

    def maintain(self, table):
        rng = self.rng
        forms = ['VACUUM %s', 'VACUUM %s', 'VACUUM (FREEZE) %s', 'ANALYZE %s', 'VACUUM FULL %s',
                 'VACUUM (INDEX_CLEANUP on) %s', 'REINDEX TABLE %s', 'CHECKPOINT']
        if table.keyed and not table.partitioned:
            forms.append('CLUSTER %s USING ' + table.name + '_pkey')
        form = rng.choice(forms)
        return (form % table.name if '%s' in form else form), False, None, None

    def index(self, table):
        rng = self.rng
        if table.indexes and rng.random() < 0.3:
            name = rng.choice(table.indexes)
            return ('DROP INDEX IF EXISTS %s' % name, False, None,
                    lambda: name in table.indexes and table.indexes.remove(name))
        method = rng.choice(list(INDEXES))
        fitting = [(n, k, op) for n, k in table.columns for op in INDEXES[method]
                   if op.split(' ')[0] == k or op == k]
        fitting = [f for f in fitting if f[1] not in ('text', 'bytea', 'jsonb', 'public.pair')
                   or method not in ('btree', 'spgist')]
        if not fitting:
            return self.maintain(table)
        column, kind, op = rng.choice(fitting)
        name = self.fresh(table.name + '_i')
        opclass = op[len(kind):] if op.startswith(kind) else ''
        how = ' CONCURRENTLY' if rng.random() < 0.3 and not table.partitioned else ''
        where = ' WHERE %s IS NOT NULL' % column if rng.random() < 0.15 and not table.partitioned else ''
        include = ' INCLUDE (id)' if method == 'btree' and rng.random() < 0.2 else ''
        sql = 'CREATE INDEX%s %s ON %s USING %s (%s%s)%s%s' % (how, name, table.name, method, column,
                                                             opclass, include, where)
        return sql, False, None, lambda: table.indexes.append(name)

    def alter(self, table):
        rng = self.rng
        roll = rng.random()
        if roll < 0.4 or len(table.columns) < 3:
            name, kind = self.fresh('c'), rng.choice(list(TYPES))
            sql = 'ALTER TABLE %s ADD COLUMN %s %s' % (table.name, name, kind)
            if rng.random() < 0.6:
                sql += ' DEFAULT %s' % self.value(kind, self.number())
            return sql, False, None, lambda: table.columns.append((name, kind))
        position = rng.randrange(1, len(table.columns))
        name, kind = table.columns[position]
        if roll < 0.6:
            return ('ALTER TABLE %s DROP COLUMN %s' % (table.name, name), False, None,
                    lambda: table.columns.remove((name, kind)))
        change = {'int': 'bigint', 'smallint': 'int', 'varchar(40)': 'text', 'real': 'float8',
                  'date': 'timestamp', 'char(9)': 'text'}.get(kind)
        if roll < 0.75 and change and not table.partitioned:
            def changed():
                table.columns[position] = (name, change)
            return ('ALTER TABLE %s ALTER COLUMN %s TYPE %s' % (table.name, name, change), False, None,
                    changed)
        if roll < 0.85:
            new = self.fresh('c')

            def renamed():
                table.columns[position] = (new, kind)
            return ('ALTER TABLE %s RENAME COLUMN %s TO %s' % (table.name, name, new), False, None,
                    renamed)
        if roll < 0.93:
            return ('ALTER TABLE %s ALTER COLUMN %s SET DEFAULT %s' % (
                table.name, name, self.value(kind, self.number())), False, None, None)
        return 'ALTER TABLE %s SET (fillfactor = %d)' % (table.leaves[0], rng.randint(50, 100)), \
            False, None, None

    # -- checks ----------------------------------------------------------

    def checks(self, table, everything):
        """(query, settings) pairs that together read the table in several ways."""
        rng = self.rng
        whole = ('SELECT count(*), count(DISTINCT id), sum(hashtextextended(x::text, 0)) FROM %s x'
                 % table.name)
        out = [(whole, [])]
        scans = SCANS if everything else [rng.choice(SCANS)]
        for settings in scans:
            where = self.where(table)
            out.append((whole + ' WHERE ' + where, settings))
            name, _ = rng.choice(table.columns)
            out.append(('SELECT id, md5(%s::text) FROM %s WHERE %s' % (name, table.name, where), settings))
            if table.keyed:
                out.append(('SELECT id FROM %s ORDER BY id' % table.name, settings))
        return out
