"""A consumer of a logical slot that replays what it reads: what the tables must hold at that place of the stream.

The slot has test_decoding.  A consumer may die at any moment, and a slot goes back to an earlier place when the
server crashes.  So changes are peeked at, replayed when their transaction's COMMIT has come, and then the slot is
advanced; what comes once more is known by the position of its COMMIT.
"""

import hashlib
import re
import time

import patience
import pgwire

CHANGE = re.compile(r'table public\.(\w+): (INSERT|UPDATE|DELETE|TRUNCATE): (.*)', re.S)
VALUE = re.compile(r"(\w+)\[(?:[^\[\]]|\[\])*\]:(?:'([^']*(?:''[^']*)*)'|(\S+))")
UNCHANGED = 'unchanged-toast-datum'


class Failure(Exception):
    pass


def position(lsn):
    high, low = lsn.split('/')
    return int(high, 16) << 32 | int(low, 16)


def brief(value):
    """Long values are compared by their sum."""
    return value if value is None or len(value) <= 200 else 'md5 ' + hashlib.md5(value.encode()).hexdigest()


def parse_row(text):
    row = {}
    for name, quoted, bare in VALUE.findall(text):
        if bare:
            row[name] = {'null': None, 'true': 't', 'false': 'f'}.get(bare, bare)
        else:
            row[name] = brief(quoted.replace("''", "'"))
    return row


class Stream:
    """tables: name -> column of the key.  committed(changes) is called for each transaction, in the order of the stream,
    with its net changes: (table, key, row before or None, row after or None)."""

    def __init__(self, slot, tables, committed=None):
        self.slot, self.tables, self.committed = slot, tables, committed
        self.rows = {name: {} for name in tables}
        self.last = 0           # position of the last COMMIT that was replayed
        self.count = self.again = 0

    def create(self, s):
        s.query("SELECT pg_create_logical_replication_slot('%s', 'test_decoding')" % self.slot)

    def drop(self, s):
        self.when_free(lambda: s.query("SELECT pg_drop_replication_slot('%s')" % self.slot))

    def when_free(self, action):
        """What the action returns; a session that has ended holds the slot a little longer."""
        limit = patience.Patience(60)
        while True:
            try:
                return action()
            except pgwire.ServerError as e:
                if e.sqlstate != '55006' or limit.over():
                    raise
            time.sleep(0.05)

    def follow(self, s, most=1000):
        """Replay what has come, some 'most' changes at a time; whether there was anything."""
        end = s.value('SELECT pg_current_wal_flush_lsn()')
        rows = s.rows("SELECT lsn, data FROM pg_logical_slot_peek_changes('%s', NULL, %d, 'include-xids', '0', "
                      "'skip-empty-xacts', '1')" % (self.slot, most))
        pending = []
        for lsn, data in rows:
            if data == 'BEGIN':
                pending = []
            elif data != 'COMMIT':
                pending.append(data)
            elif position(lsn) > self.last:
                self.replay(pending)
                self.last, end = position(lsn), lsn
            else:
                self.again += 1
                end = lsn
        s.query("SELECT pg_replication_slot_advance('%s', '%s')" % (self.slot, end))
        return bool(rows)

    def catch_up(self, s):
        while self.when_free(lambda: self.follow(s)):
            pass

    # -- replaying ---------------------------------------------------------------------------------------------

    def replay(self, pending):
        before = {}
        for data in pending:
            match = CHANGE.match(data)
            if not match:
                raise Failure('the stream has a line that is no change: %.200s' % data)
            if match.group(1) in self.tables:
                self.change(*match.groups(), before)
        self.count += 1
        if self.committed:
            self.committed([(table, key, row, self.rows[table].get(key)) for (table, key), row in before.items()
                            if row != self.rows[table].get(key)])

    def change(self, table, what, text, before):
        rows, name = self.rows[table], self.tables[table]
        if what == 'TRUNCATE':
            for key in list(rows):
                before.setdefault((table, key), rows.pop(key))
            return
        old, new = '', text
        if text.startswith('old-key: '):
            old, new = text[len('old-key: '):].split(' new-tuple: ', 1)
        row, gone = parse_row(new), parse_row(old)
        key = row.get(name)
        if key is None:
            raise Failure('a change of %s without its key: %.200s' % (table, text))
        if what != 'INSERT':
            where = gone.get(name, key)
            if where not in rows:
                raise Failure('%s of a row of %s that is not there: %.200s' % (what, table, text))
            was = rows.pop(where)
            before.setdefault((table, where), was)
            row = {column: was[column] if value == UNCHANGED else value for column, value in row.items()}
        if what != 'DELETE':
            if key in rows:
                raise Failure('%s makes a second row of %s: %.200s' % (what, table, text))
            before.setdefault((table, key), None)
            rows[key] = row

    def differences(self, s):
        """What the tables hold and the replayed stream does not, and the other way round; some of it."""
        found = []
        for table, name in self.tables.items():
            result = s.query('SELECT * FROM ' + table)
            there = {}
            for values in result.rows:
                row = dict(zip(result.columns, map(brief, values)))
                there[row[name]] = row
            mine = self.rows[table]
            for key in sorted(set(there) | set(mine)):
                if there.get(key) != mine.get(key):
                    found.append('%s %s: the table has %s, the stream %s' % (table, key, there.get(key), mine.get(key)))
        return found[:10]
