"""Random tables, data and predicates for the test of query partitions (see run).

A Type makes a value of a number n, by an SQL expression: the same one fills the column and makes the
constants of predicates, so that these hit. A predicate is a tree of tuples:
    ('leaf', text)   ('and', a, b)   ('or', a, b)   ('not', a)
In a leaf's text {0.c3} is a column, of whatever the table is called in the query, and «expression|type» a
constant, which a prepared statement makes a parameter.
"""

import re

import odd_queries


class Type:
    """near: numbers about which something happens to values, drawn more often."""

    def __init__(self, name, expr, ordered=True, family=None, equality=True, needs=None, near=None):
        self.name, self.expr, self.ordered, self.equality = name, expr, ordered, equality
        self.family, self.near = family or name, near
        self.needs = needs

    def value(self, n):
        return self.expr.replace('#', '(%s)' % n)

    def constant(self, n):
        return '«(%s)::%s|%s»' % (self.value(n), self.plain(), self.plain())

    def plain(self):
        """The type's name without a collation."""
        return self.name.split(' COLLATE')[0]


TYPES = [
    Type('int2', '(# % 30000)::int2', family='int'),
    Type('int4', '#::int4', family='int'),
    Type('int8', '#::int8 * 1000000007', family='int'),
    Type('int8', '#::int8', family='int'),
    Type('numeric', "CASE abs(#) % 97 WHEN 0 THEN 'NaN'::numeric ELSE #::numeric / 7 END", family='num'),
    Type('numeric(12,2)', '#::numeric / 3', family='num'),
    Type('float4', "CASE abs(#) % 53 WHEN 0 THEN 'NaN'::float4 WHEN 1 THEN '-0'::float4 WHEN 2 THEN '-Infinity'::float4 "
         "WHEN 3 THEN 0::float4 ELSE (# * 0.37)::float4 END", family='float'),
    Type('float8', "CASE abs(#) % 51 WHEN 0 THEN 'NaN'::float8 WHEN 1 THEN '-0'::float8 WHEN 2 THEN 'Infinity'::float8 "
         "ELSE (# * 0.37)::float8 END", family='float'),
    Type('text', "'k' || lpad(abs(#)::text, 7, '0')", family='text'),
    Type('text', "CASE WHEN # % 41 = 0 THEN '' ELSE md5(#::text) END", family='text'),
    Type('text', "repeat('x', 300) || (# % 500)", family='text'),
    Type('text', "repeat(md5(#::text), 40)", family='text'),
    Type('text', "CASE WHEN # % 100 = 7 THEN repeat(md5(#::text), 600) ELSE md5(#::text) END", family='text'),
    Type('text COLLATE "POSIX"', "'P' || # % 1000", family='text'),
    Type('text COLLATE "und-x-icu"', "chr(97 + abs(#) % 26) || chr(65 + abs(#) / 26 % 26) || # % 100", family='text', needs='und-x-icu'),
    Type('text COLLATE nd', "CASE # % 2 WHEN 0 THEN 'ab' ELSE 'AB' END || abs(#) / 2 % 500", family='ndtext', needs='nd'),
    Type('varchar(30)', "'v' || #", family='text'),
    Type('char(12)', "'c' || # % 700", family='bpchar'),
    Type('name', "('n' || # % 700)::name", family='name'),
    Type('"char"', "chr(33 + abs(#) % 90)::\"char\"", family='char'),
    Type('date', "CASE abs(#) % 61 WHEN 0 THEN 'infinity'::date WHEN 1 THEN '-infinity'::date ELSE '2000-01-01'::date + # END", family='date'),
    Type('timestamp', "'2000-01-01'::timestamp + # * interval '67 min'", family='date'),
    Type('timestamptz', "'2000-01-01 00:00+00'::timestamptz + # * interval '67 min'", family='date'),
    Type('time', "'00:00'::time + # * interval '1 min'"),
    Type('timetz', "'00:00+00'::timetz + # * interval '1 min'"),
    Type('interval', "# * interval '1 hour' + abs(#) % 3 * interval '1 day'"),
    Type('bool', '# % 2 = 0', family='bool'),
    Type('uuid', 'md5(#::text)::uuid'),
    Type('bytea', "decode(md5(#::text), 'hex')"),
    Type('bytea', "int4send(#::int4)"),
    Type('inet', "'10.0.0.0'::inet + #::int8"),
    Type('cidr', "('10.' || abs(#) % 200 || '.0.0/16')::cidr"),
    Type('macaddr', "('08:00:2b:01:' || lpad(to_hex(abs(#) % 256), 2, '0') || ':' || lpad(to_hex(abs(#) / 256 % 256), 2, '0'))::macaddr"),
    Type('varbit', '(#::int4)::bit(16)::varbit'),
    Type('oid', 'abs(#)::oid'),
    Type('jsonb', "jsonb_build_object('a', #, 'b', # % 3)"),
    Type('jsonb', 'to_jsonb(#)'),
    Type('int4[]', 'ARRAY[# / 100, # % 7, NULL]'),
    Type('text[]', "ARRAY['a' || # % 50, NULL, 'b']"),
    Type('int4range', "int4range((#)::int4, (# + 5)::int4)"),
    Type('mood', '(enum_range(NULL::mood))[abs(#) % 4 + 1]'),
    Type('dint', '(#)::int4::dint', family='int'),
    Type('dtext', "('d' || # % 900)::dtext", family='text'),
    Type('pair', "ROW((#)::int4, 'p' || # % 10)::pair"),
    Type('pg_lsn', "'0/1000000'::pg_lsn + #::numeric"),
    Type('money', '(#)::int8::money'),
    Type('tsvector', "to_tsvector('simple', 'w' || # % 40)"),
    Type('odd_positive', '(abs(#) + 1)::int4::odd_positive', family='int'),
    Type('odd_posix', "('k' || abs(#) % 700)::odd_posix", family='text'),
    Type('point', 'point(#, # % 10)', ordered=False, equality=False),
    Type('json', "json_build_object('a', #)", ordered=False, equality=False),
]

PREPARE = """
CREATE TYPE mood AS ENUM ('bad', 'so so', 'good', 'best');
CREATE DOMAIN dint AS int4; CREATE DOMAIN dtext AS text; CREATE TYPE pair AS (a int4, b text);
""" + ';\n'.join(odd_queries.PRELUDE)



def clock_types(zone):
    """Times about where that zone's clocks are changed."""
    return [Type(kind, odd_queries.moments(kind, day, zone), family='date', near=odd_queries.NEAR)
            for day in odd_queries.CHANGES[zone] for kind in ('timestamp', 'timestamp', 'timestamptz')]


CONSTANT = re.compile('«(.*?)\\|([^|»]*)»', re.S)


# Numbers behind the values of a column, of the row's number g: in SQL, and in Python to draw constants that occur.
# The first ones grow or fall along the table.
NUMBERS = [
    ('g', lambda g: g),
    ('g / 256', lambda g: g // 256),
    ('g / 100 * 3', lambda g: g // 100 * 3),
    ('-g', lambda g: -g),
    ('(g / 512) * 100 + g % 7', lambda g: g // 512 * 100 + g % 7),
    ('CASE WHEN g % 500 = 0 THEN -g ELSE g / 10 END', lambda g: -g if g % 500 == 0 else g // 10),
    ('g % 5', lambda g: g % 5),
    ('(g * 7919) % 1000', lambda g: g * 7919 % 1000),
    ('7', lambda g: 7),
    ('abs(hashint4(g)) % 5000', lambda g: g),
]


class Column:
    def __init__(self, name, kind, numbers):
        self.name, self.type = name, kind
        (base, self.draw), nulls = numbers
        self.number = 'CASE WHEN %s THEN NULL ELSE %s END' % (nulls, base) if nulls else base
        self.added = False

    def ref(self):
        return '{0.%s}' % self.name


class Table:
    """One of the tables of a round: its columns, and numbers (an SQL expression of g) behind their values."""

    def __init__(self, rng, name, types):
        self.name = name
        self.columns = []
        self.next_column = 1
        self.rng = rng
        self.rows = rng.choice([300, 1000, 2000, 4000])
        self.partitioned = rng.random() < 0.12
        for _ in range(rng.randint(3, 8)):
            self.columns.append(self.new_column(rng.choice(types)))

    def new_column(self, kind):
        column = Column('c%d' % self.next_column, kind, self.near_numbers() if kind.near else self.numbers())
        self.next_column += 1
        return column

    def near_numbers(self):
        """Where something happens to the values: chunks that begin and end there."""
        lo, count = odd_queries.span(self.rng)
        base = ('%d + g %% %d' % (lo, count), lambda g: lo + g % count)
        return self.rng.choice([('g', lambda g: g), base, base, base]), self.rng.choice([None, None, 'g % 10 = 3'])

    def numbers(self):
        """How the numbers of a column lie in the table: sorted, by chunk, few, scattered, mostly NULL."""
        rng = self.rng
        base = rng.choice(NUMBERS[:6] if rng.random() < 0.6 else NUMBERS)
        nulls = rng.choice([None, None, None, None, 'g % 10 = 3', 'g / 256 % 2 = 1', 'g % 50 <> 0', 'g > 1000', 'g < 600'])
        return base, nulls

    def values(self, shift=''):
        return ', '.join(c.type.value(c.number.replace('g', '(g%s)' % shift) if shift else c.number) for c in self.columns)

    def create(self):
        out = []
        columns = 'id int%s, %s' % (self.rng.choice(['', ' PRIMARY KEY', ' PRIMARY KEY']),
                                    ', '.join('%s %s' % (c.name, c.type.name) for c in self.columns))
        if self.partitioned:
            out.append('CREATE TABLE %s (%s) PARTITION BY RANGE (id)' % (self.name, columns))
            cuts = ['MINVALUE', str(self.rows // 3), str(self.rows), 'MAXVALUE']
            for i in range(3):
                out.append('CREATE TABLE {0}p{1} PARTITION OF {0} FOR VALUES FROM ({2}) TO ({3})'.format(
                    self.name, i, cuts[i], cuts[i + 1]))
        else:
            out.append('CREATE TABLE %s (%s)' % (self.name, columns))
        for c in self.columns:
            # a btree of times in a gap gives wrong answers to the other type's comparisons, heap's too
            if c.type.ordered and self.rng.random() < 0.25 and 'repeat' not in c.type.expr and not c.type.near:
                out.append('CREATE INDEX ON %s (%s)' % (self.name, c.name))
        return out

    def insert(self, lo, hi):
        return 'INSERT INTO %s (id, %s) SELECT g, %s FROM generate_series(%d, %d) g' % (
            self.name, ', '.join(c.name for c in self.columns), self.values(), lo, hi)

    def update(self):
        rng, c = self.rng, self.rng.choice(self.columns)
        if rng.random() < 0.3:
            value = 'NULL'
        else:
            value = c.type.value(rng.choice(['id + 3', 'id % 11', '%d' % rng.randint(-20, 9000), '-id', 'id / 256']))
        return 'UPDATE %s SET %s = %s WHERE %s' % (self.name, c.name, value, self.some())

    def delete(self):
        return 'DELETE FROM %s WHERE %s' % (self.name, self.some())

    def some(self):
        rng = self.rng
        k = rng.choice([2, 3, 7, 50, 500])
        return rng.choice(['id %% %d = %d' % (k, rng.randrange(k)),
                           'id BETWEEN %d AND %d' % (lambda a: (a, a + rng.choice([1, 40, 300])))(rng.randint(1, self.rows)),
                           'id / 256 = %d' % rng.randint(0, 10)])

    def add_column(self, types):
        c = self.new_column(self.rng.choice(types))
        c.added = True
        default = ''
        if self.rng.random() < 0.7:
            default = ' DEFAULT ' + c.type.value(str(c.draw(self.rng.randint(0, self.rows))))
        self.columns.append(c)
        return 'ALTER TABLE %s ADD COLUMN %s %s%s' % (self.name, c.name, c.type.name, default)

    def drop_column(self):
        c = self.columns.pop(self.rng.randrange(len(self.columns)))
        return 'ALTER TABLE %s DROP COLUMN %s CASCADE' % (self.name, c.name)

    def __format__(self, spec):
        return self.name


class Predicates:
    """Random predicates over one table, or two of a join (then other is the second)."""

    def __init__(self, rng, table, other=None, others=()):
        self.rng, self.table, self.other, self.others = rng, table, other, others

    def n(self, c=None):
        rng = self.rng
        if c is not None and c.type.near and rng.random() < 0.5:
            return rng.randint(*c.type.near)
        if c is not None and rng.random() < 0.7:
            return c.draw(rng.randint(0, self.table.rows))
        return rng.choice([rng.randint(0, 12), rng.randint(-5, 60), rng.randint(0, 1000), rng.randint(0, 8000),
                           rng.choice([255, 256, 257, 511, 512, 513, 999, 1000]), -rng.randint(0, 8000)])

    def column(self):
        """Those that were added later twice as often."""
        columns = self.table.columns
        return self.rng.choice(columns + [c for c in columns if c.added])

    def tree(self, depth=2):
        rng = self.rng
        roll = rng.random()
        if depth == 0 or roll < 0.45:
            return ('leaf', self.leaf())
        if roll < 0.7:
            return ('and', self.tree(depth - 1), self.tree(depth - 1))
        if roll < 0.88:
            return ('or', self.tree(depth - 1), self.tree(depth - 1))
        return ('not', self.tree(depth - 1))

    def leaf(self):
        rng, c = self.rng, self.column()
        roll = rng.random()
        if roll < 0.05:
            return '{0.id} %s «%d|int4»' % (rng.choice(['=', '<', '>=', '<>']), self.n())
        if roll < 0.12 or not c.type.equality:
            return c.ref() + rng.choice([' IS NULL', ' IS NOT NULL'])
        if not c.type.ordered:
            return '%s = %s' % (c.ref(), c.type.constant(self.n(c)))
        makers = [self.compare, self.compare, self.compare, self.compare, self.between, self.membership, self.distinct,
                  self.cross, self.expression, self.rowwise, self.subquery, self.special]
        return rng.choice(makers)(c)

    def op(self):
        return self.rng.choice(['=', '=', '<>', '<', '<=', '>', '>='])

    def compare(self, c):
        if self.rng.random() < 0.3:
            return '%s %s %s' % (c.type.constant(self.n(c)), self.op(), c.ref())
        if self.rng.random() < 0.05:
            return '%s %s «NULL::%s|%s»' % (c.ref(), self.op(), c.type.plain(), c.type.plain())
        return '%s %s %s' % (c.ref(), self.op(), c.type.constant(self.n(c)))

    def between(self, c):
        a = self.n(c)
        b = a + self.rng.choice([0, 1, 10, 300, -3])
        return '%s %sBETWEEN %s%s AND %s' % (c.ref(), self.rng.choice(['', '', 'NOT ']), self.rng.choice(['', 'SYMMETRIC ']),
                                             c.type.constant(a), c.type.constant(b))

    def membership(self, c):
        rng = self.rng
        count = rng.choice([1, 2, 3, 12])
        items = [c.type.constant(self.n(c)) for _ in range(count)]
        if rng.random() < 0.15:
            items.append('NULL')
        how = rng.random()
        if how < 0.6:
            return '%s %s (%s)' % (c.ref(), rng.choice(['IN', 'IN', 'NOT IN']), ', '.join(items))
        if c.type.plain().endswith('[]') or c.type.family == 'bool':
            return '%s = %s' % (c.ref(), items[0])
        array = 'ARRAY[%s]::%s[]' % (', '.join(items), c.type.plain())
        return '%s %s (%s)' % (c.ref(), rng.choice(['= ANY', '<> ALL', '< ANY', '>= ALL', '= ANY']), array)

    def distinct(self, c):
        return '%s IS %sDISTINCT FROM %s' % (c.ref(), self.rng.choice(['', 'NOT ']), c.type.constant(self.n(c)))

    def cross(self, c):
        """A comparison with another type of the family, or another column."""
        rng = self.rng
        family = {'int': ['int2', 'int4', 'int8', 'numeric', 'float8'], 'num': ['int4', 'numeric', 'float8'],
                  'float': ['float4', 'float8', 'int4', 'numeric'], 'date': ['date', 'timestamp', 'timestamptz'],
                  'text': ['text', 'varchar', 'name', 'char(12)'], 'bpchar': ['text', 'char(20)', 'varchar'],
                  'name': ['text', 'name'], 'ndtext': ['text']}.get(c.type.family)
        same = [o for o in self.table.columns if o is not c and o.type.family == c.type.family]
        if same and rng.random() < 0.5:
            return '%s %s %s' % (c.ref(), self.op(), rng.choice(same).ref())
        if not family:
            return self.compare(c)
        to = rng.choice(family)
        n = self.n(c) % 5000 if to == 'int2' else self.n(c)
        inner = str(n) if c.type.family in ('int', 'num', 'float') else c.type.value(n)
        if c.type.family in ('int', 'num', 'float') and to in ('float8', 'numeric') and rng.random() < 0.5:
            inner = '%d.5' % n
        return '%s %s «(%s)::%s|%s»' % (c.ref(), self.op(), inner, to, to)

    def expression(self, c):
        rng, ref = self.rng, c.ref()
        family = c.type.family
        const = c.type.constant(self.n(c))
        choices = ['coalesce(%s, %s) %s %s' % (ref, c.type.constant(self.n(c)), self.op(), const),
                   'CASE WHEN {0.id} %% 2 = 0 THEN %s ELSE NULL END %s %s' % (ref, self.op(), const),
                   'nullif(%s, %s) IS NULL' % (ref, const),
                   '(%s %s %s) IS %s' % (ref, self.op(), const, rng.choice(['TRUE', 'FALSE', 'UNKNOWN', 'NOT TRUE', 'NOT FALSE',
                                                                            'NOT UNKNOWN', 'NULL'])),
                   'greatest(%s, %s) = %s' % (ref, const, const),
                   '%s::text %s (%s)::text' % (ref, self.op(), const)]
        if family in ('int', 'num', 'float'):
            choices += ['%s + 1 > %s' % (ref, const), '%s * 2 %s «%d|int4»' % (ref, self.op(), self.n()),
                        'abs(%s) < «%d|int4»' % (ref, abs(self.n())), '-%s > %s' % (ref, const)]
        if family in ('text', 'bpchar', 'name', 'ndtext'):
            choices += ["%s LIKE '%s'" % (ref, rng.choice(['k00%', '%9', 'x%1', 'v1_', 'P%', 'a%', '', '%', 'n_', 'c6%'])),
                        "%s ~ '%s'" % (ref, rng.choice(['^k0*1', '5$', '^x+9', '.'])),
                        'length(%s) > «%d|int4»' % (ref, self.rng.choice([3, 8, 302])),
                        "starts_with(%s, 'k00')" % ref, 'upper(%s) > %s' % (ref, const)]
        if family == 'bool':
            choices += [ref, 'NOT ' + ref, ref + ' IS TRUE', ref + ' IS NOT FALSE', ref + ' IS UNKNOWN']
        return rng.choice(choices)

    def rowwise(self, c):
        d = self.rng.choice([o for o in self.table.columns if o.type.ordered])
        return '(%s, %s) %s (%s, %s)' % (c.ref(), d.ref(), self.rng.choice(['<', '>=', '=', '<>']),
                                         c.type.constant(self.n(c)), d.type.constant(self.n(d)))

    def subquery(self, c):
        """Comparands that are computed at run time, from a table or from the row outside."""
        rng = self.rng
        roll = rng.random()
        if roll < 0.35:
            return '%s %s (SELECT %s)' % (c.ref(), self.op(), c.type.constant(self.n(c)))
        if roll < 0.6:
            return '%s %s (SELECT s.%s FROM %s s WHERE s.id = «%d|int4» ORDER BY 1 LIMIT 1)' % (
                c.ref(), self.op(), c.name, self.table.name, abs(self.n()))
        if roll < 0.8:
            return '%s %s (SELECT s.%s FROM %s s WHERE s.id < «%d|int4»)' % (
                c.ref(), rng.choice(['IN', 'NOT IN']), c.name, self.table.name, abs(self.n()) % 300)
        return '{0.id} < «60|int4» AND EXISTS (SELECT FROM %s s WHERE s.%s %s %s AND s.id > «%d|int4»)' % (
            self.table.name, c.name, rng.choice(['=', '<', '>']), c.ref(), abs(self.n()))

    def special(self, c):
        rng = self.rng
        choices = ['{0.id} = ANY (ARRAY(SELECT generate_series(1, 500, 7)))', 'NULL::bool', '{0}.tableoid IS NOT NULL', '{0}.ctid IS NOT NULL',
                   '{0.id} %% «%d|int4» = 1' % rng.choice([2, 3, 100]), '%s = %s AND %s <> %s' % ((c.ref(), c.type.constant(self.n(c))) * 2)]
        if not self.table.partitioned:
            choices.append('{0}.ctid = ANY (ARRAY(SELECT s.ctid FROM %s s WHERE s.id %% «%d|int4» = 1))' % (self.table.name, rng.choice([3, 40])))
        if not c.type.plain().endswith('[]'):
            choices.append('%s = ANY (ARRAY[]::%s[])' % (c.ref(), c.type.plain()))
        return rng.choice(choices)


class Ref:
    """Formats {0.c1} and {0} in a leaf."""

    def __init__(self, alias):
        self._alias = alias

    def __getattr__(self, name):
        return '%s.%s' % (self._alias, name)

    def __format__(self, spec):
        return self._alias


def text_of(tree, alias='t'):
    """SQL of a predicate, constants still marked."""
    if tree[0] == 'leaf':
        return '(%s)' % tree[1].format(Ref(alias))
    if tree[0] == 'not':
        return '(NOT %s)' % text_of(tree[1], alias)
    return '(%s %s %s)' % (text_of(tree[1], alias), tree[0].upper(), text_of(tree[2], alias))


def plain(text):
    return CONSTANT.sub(lambda m: m.group(1), text)


def prepared(text, name):
    """PREPARE, EXECUTE of a query whose constants become parameters; None if it has none."""
    types, args = [], []

    def parameter(m):
        args.append(m.group(1))
        types.append(m.group(2))
        return '$%d' % len(args)
    body = CONSTANT.sub(parameter, text)
    if not args:
        return None
    return ('PREPARE %s (%s) AS %s' % (name, ', '.join(types), body), 'EXECUTE %s (%s)' % (name, ', '.join(args)),
            'DEALLOCATE ' + name)


def smaller(tree):
    """Predicates that are parts of this one, smallest changes last."""
    if tree[0] == 'leaf':
        return
    for part in tree[1:]:
        yield part
    for i, part in enumerate(tree[1:], 1):
        for less in smaller(part):
            yield tree[:i] + (less,) + tree[i + 1:]
