"""Shows that the judge of histories can fail: histories with one known fault each, and simulated ones.

by_hand()    small histories: the one anomaly that each has must be found, and nothing in the good ones
simulated()  a store with snapshot isolation in memory: nothing is found but write skew; then one thing in its
             history is falsified, and that is found
streams()    the same store's commits as a stream: nothing is found; then one thing in it is falsified, and that is found
"""

import random

import history
from history import Txn

T = Txn


def timed(*txns):
    """Transactions that all overlap: no rt edges."""
    for t in txns:
        t.start, t.end = 0, 100
    return list(txns)


def skew(level):
    return timed(T('a', level, 0, [('r', 1, []), ('a', 2, 1)]), T('b', level, 0, [('r', 2, []), ('a', 1, 2)]))


def phantom(level):
    return timed(T('a', level, 0, [('s', 'g', set()), ('t', 'h', 1)]), T('b', level, 0, [('s', 'h', set()), ('t', 'g', 2)]))


# name, transactions, final lists, final groups, kinds of problems, whether a skew
CASES = [
    ('nothing', [], {}, {}, [], False),
    ('one after the other', [T('a', 'ser', 0, [('a', 1, 1)], 1), T('b', 'ser', 2, [('r', 1, [1]), ('a', 1, 2)], 3),
                             T('c', 'ser', 4, [('r', 1, [1, 2])], 5)], {1: [1, 2]}, {}, [], False),
    ('stale read', [T('a', 'rr', 0, [('a', 1, 1)], 1), T('b', 'rr', 2, [('r', 1, [])], 3)],
     {1: [1]}, {}, ['G-single'], False),
    ('stale statement', [T('a', 'rc', 0, [('a', 1, 1)], 1), T('b', 'stmt', 2, [('r', 1, [])], 3)],
     {1: [1]}, {}, ['G-single'], False),
    ('stale read at rc is no cycle by itself', timed(T('a', 'rc', 0, [('a', 1, 1)]), T('b', 'rc', 0, [('r', 1, [])])),
     {1: [1]}, {}, [], False),
    ('G0', timed(T('a', 'rc', 0, [('a', 1, 1), ('a', 2, 2)]), T('b', 'rc', 0, [('a', 1, 3), ('a', 2, 4)])),
     {1: [1, 3], 2: [4, 2]}, {}, ['G0'], False),
    ('G1a', timed(T('a', 'rc', 0, [('a', 1, 1)], status='fail'), T('b', 'rc', 0, [('r', 1, [1])])),
     {1: []}, {}, ['G1a', 'incompatible order'], False),
    ('G1a, final', timed(T('a', 'rc', 0, [('a', 1, 1)], status='fail')), {1: [1]}, {}, ['G1a'], False),
    ('G1a, savepoint', timed(T('a', 'rc', 0, [('x', 1, 1), ('a', 1, 2)]), T('b', 'rc', 0, [('r', 1, [1])])),
     {1: [2]}, {}, ['G1a', 'incompatible order'], False),
    ('G1b', timed(T('a', 'rc', 0, [('a', 1, 1), ('a', 1, 2)]), T('b', 'rc', 0, [('r', 1, [1])])),
     {1: [1, 2]}, {}, ['G1b'], False),
    ('G1c', timed(T('a', 'rc', 0, [('a', 1, 1), ('r', 2, [2])]), T('b', 'rc', 0, [('a', 2, 2), ('r', 1, [1])])),
     {1: [1], 2: [2]}, {}, ['G1c'], False),
    ('lost update', timed(T('a', 'rr', 0, [('r', 1, []), ('a', 1, 1)]), T('b', 'rr', 0, [('r', 1, []), ('a', 1, 2)])),
     {1: [1, 2]}, {}, ['lost update'], False),
    ('lost update at rc is allowed',
     timed(T('a', 'rc', 0, [('r', 1, []), ('a', 1, 1)]), T('b', 'rc', 0, [('r', 1, []), ('a', 1, 2)])),
     {1: [1, 2]}, {}, [], False),
    ('overwritten list', timed(T('a', 'rr', 0, [('r', 1, []), ('a', 1, 1)]), T('b', 'rr', 0, [('r', 1, []), ('a', 1, 2)])),
     {1: [2]}, {}, ['lost write'], False),
    ('G-single', timed(T('a', 'rr', 0, [('a', 1, 1), ('a', 2, 2)]), T('b', 'rr', 0, [('r', 1, [1]), ('r', 2, [])])),
     {1: [1], 2: [2]}, {}, ['G-single'], False),
    ('G-single of one statement at rc',
     timed(T('a', 'rc', 0, [('a', 1, 1), ('a', 2, 2)]), T('b', 'stmt', 0, [('r', 1, [1]), ('r', 2, [])])),
     {1: [1], 2: [2]}, {}, ['G-single'], False),
    ('long fork', timed(T('a', 'rr', 0, [('a', 1, 1)]), T('b', 'rr', 0, [('a', 2, 2)]),
                        T('c', 'rr', 0, [('r', 1, [1]), ('r', 2, [])]), T('d', 'rr', 0, [('r', 1, []), ('r', 2, [2])])),
     {1: [1], 2: [2]}, {}, ['G-nonadjacent'], False),
    ('late standby', [T('a', 'rc', 0, [('a', 1, 1)], 1), T('b', 'standby', 2, [('r', 1, [])], 3)], {1: [1]}, {}, [], False),
    ('half a transaction on a standby',
     timed(T('a', 'rc', 0, [('a', 1, 1), ('a', 2, 2)]), T('b', 'standby', 0, [('r', 1, [1]), ('r', 2, [])])),
     {1: [1], 2: [2]}, {}, ['G-single'], False),
    ('later, not earlier, on a standby',
     [T('a', 'rc', 0, [('a', 1, 1)], 1), T('b', 'rc', 2, [('a', 2, 2)], 3), T('c', 'standby', 0, [('r', 1, []), ('r', 2, [2])], 9)],
     {1: [1], 2: [2]}, {}, ['G-single'], False),
    ('long fork with a standby', timed(T('a', 'rr', 0, [('a', 1, 1)]), T('b', 'rr', 0, [('a', 2, 2)]),
                                       T('c', 'rr', 0, [('r', 1, [1]), ('r', 2, [])]), T('d', 'standby', 0, [('r', 1, []), ('r', 2, [2])])),
     {1: [1], 2: [2]}, {}, [], False),
    ('write skew at ser', skew('ser'), {1: [2], 2: [1]}, {}, ['G2'], False),
    ('write skew at rr', skew('rr'), {1: [2], 2: [1]}, {}, [], True),
    ('phantom at ser', phantom('ser'), {}, {'g': {2}, 'h': {1}}, ['G2'], False),
    ('phantom at rr', phantom('rr'), {}, {'g': {2}, 'h': {1}}, [], True),
    ('read-only anomaly', [T('c', 'ser', 0, [('r', 1, []), ('r', 2, []), ('a', 2, 2)], 9),
                           T('b', 'ser', 1, [('a', 1, 1)], 2), T('a', 'ser', 3, [('r', 1, [1]), ('r', 2, [])], 4)],
     {1: [1], 2: [2]}, {}, ['G2'], False),
    ('half a group', timed(T('a', 'rr', 0, [('t', 'g', 1), ('t', 'g', 2)]), T('b', 'rr', 0, [('s', 'g', {1})])),
     {}, {'g': {1, 2}}, ['G-single'], False),
    ('own append not seen', timed(T('a', 'rc', 0, [('a', 1, 1), ('r', 1, [])])), {1: [1]}, {},
     ['own write not seen'], False),
    ('own insert not seen', timed(T('a', 'rc', 0, [('t', 'g', 1), ('s', 'g', set())])), {}, {'g': {1}},
     ['own write not seen'], False),
    ('snapshot moved', timed(T('b', 'rr', 0, [('r', 1, []), ('r', 1, [1])]), T('a', 'rr', 0, [('a', 1, 1)])),
     {1: [1]}, {}, ['G-single', 'snapshot moved'], False),
    ('snapshot may move at rc', timed(T('b', 'rc', 0, [('r', 1, []), ('r', 1, [1])]), T('a', 'rc', 0, [('a', 1, 1)])),
     {1: [1]}, {}, [], False),
    ('lost', [T('a', 'rc', 0, [('a', 1, 1)], 1)], {1: []}, {}, ['lost write'], False),
    ('half of it lost', [T('a', 'rc', 0, [('a', 1, 1), ('a', 2, 2)], status='info')], {1: [1]}, {}, ['lost write'], False),
    ('unknown, happened', [T('a', 'rc', 0, [('a', 1, 1)], status='info')], {1: [1]}, {}, [], False),
    ('unknown, did not', [T('a', 'rc', 0, [('a', 1, 1)], status='info')], {1: []}, {}, [], False),
    ('twice', timed(T('a', 'rc', 0, [('a', 1, 1)])), {1: [1, 1]}, {}, ['double write'], False),
    ('two delete one row', timed(T('a', 'rc', 0, [('t', 'g', 1)]), T('b', 'rc', 0, [('t', 'g', 1)])), {}, {'g': {1}},
     ['double write'], False),
    ('deleted at the second try', timed(T('a', 'rc', 0, [('t', 'g', 1)], status='fail'), T('b', 'rc', 0, [('t', 'g', 1)])),
     {}, {'g': {1}}, [], False),
    ('nobody', [], {1: [7]}, {}, ['garbage'], False),
    ('order', timed(T('a', 'rc', 0, [('a', 1, 1)]), T('b', 'rc', 0, [('a', 1, 2)]), T('c', 'rc', 0, [('r', 1, [2])])),
     {1: [1, 2]}, {}, ['incompatible order'], False),
]


def by_hand():
    wrong = []
    for name, txns, lists, groups, kinds, skewed in CASES:
        for t in txns:
            if t.status == 'info':
                t.end = history.INFINITY
        out = history.judge(txns, lists, groups)
        if out.kinds() != sorted(kinds) or bool(out.skews) != skewed:
            wrong.append('%s: found %s, skew %s; expected %s, %s\n%s' % (
                name, out.kinds(), bool(out.skews), kinds, skewed, out.problems))
    return wrong


class Store:
    """Snapshot isolation in memory, first updater wins; one clock tick an operation."""

    def __init__(self, rng, level):
        self.rng, self.level = rng, level
        self.clock, self.value, self.next = 0, {k: [(0, [])] for k in range(6)}, 0
        self.locks, self.txns = {}, []
        self.stream = []        # what each transaction wrote, in the order of commits

    def at(self, key, time):
        return [v for t, v in self.value[key] if t <= time][-1]

    def run(self, count):
        active = []
        while len(self.txns) < count or active:
            self.clock += 1
            if len(active) < 4 and len(self.txns) < count:
                t = T('t%d' % len(self.txns), self.level, self.clock)
                t.mine, t.left = {}, self.rng.randint(1, 4)
                self.txns.append(t)
                active.append(t)
                continue
            t = self.rng.choice(active)
            if t.left == 0:
                self.commit(t)
                active.remove(t)
            elif not self.step(t):
                t.status = 'fail'
                self.release(t)
                active.remove(t)
        return self.txns, {k: v[-1][1] for k, v in self.value.items()}

    def step(self, t):
        t.left -= 1
        key = self.rng.randrange(len(self.value))
        seen = t.mine.get(key) or self.at(key, t.start)
        if self.rng.random() < 0.5:
            t.ops.append(('r', key, list(seen)))
            return True
        if self.locks.get(key, t) is not t or self.value[key][-1][0] > t.start:
            return False
        self.locks[key] = t
        self.next += 1
        t.mine[key] = seen + [self.next]
        t.ops.append(('a', key, self.next))
        return True

    def release(self, t):
        t.end = self.clock
        self.locks = {k: o for k, o in self.locks.items() if o is not t}

    def commit(self, t):
        for key, value in t.mine.items():
            self.value[key].append((self.clock, value))
        if t.mine:
            self.stream.append(history.written_by(t))
        self.clock += 1
        self.release(t)


def falsify(rng, txns, final):
    """Change one thing; None if nothing was found to change."""
    how = rng.choice(['drop', 'stale', 'abort'])
    done = [t for t in txns if t.status == 'ok']
    if how == 'drop':
        key = rng.choice(sorted(final))
        if not final[key]:
            return None
        del final[key][rng.randrange(len(final[key]))]
    elif how == 'abort':
        writers = [t for t in done if any(op[0] == 'a' for op in t.ops)]
        if not writers:
            return None
        rng.choice(writers).status = 'fail'
    else:
        # the read of a key that somebody else's ended append is in
        reads = [(t, i) for t in done for i, op in enumerate(t.ops)
                 if op[0] == 'r' and op[2] and not any(o[0] == 'a' and o[1] == op[1] for o in t.ops)]
        if not reads:
            return None
        t, i = rng.choice(reads)
        t.ops[i] = ('r', t.ops[i][1], t.ops[i][2][:-1])
    return how


def simulated(rounds=60):
    wrong, skews, found = [], 0, 0
    for seed in range(rounds):
        rng = random.Random(seed)
        txns, final = Store(rng, 'rr').run(80)
        out = history.judge(txns, final)
        if out.problems:
            wrong.append('simulated, seed %d: %s' % (seed, out.problems[:2]))
        skews += bool(out.skews)
        for t in txns:
            t.level = 'ser'
        if bool(out.skews) != ('G2' in history.judge(txns, final).kinds()):
            wrong.append('simulated, seed %d: skews at rr and at ser differ' % seed)
        for t in txns:
            t.level = 'rr'
        how = falsify(rng, txns, final)
        if how:
            found += 1
            if not history.judge(txns, final).problems:
                wrong.append('simulated, seed %d: falsified (%s), not found' % (seed, how))
    if skews < rounds / 4 or found < rounds / 2:
        wrong.append('simulated: %d with skew, %d falsified of %d' % (skews, found, rounds))
    return wrong


def falsify_stream(rng, txns, stream):
    """Change one thing in a stream; what."""
    how = rng.choice(['lost', 'twice', 'half', 'mixed', 'aborted', 'late'])
    at = rng.randrange(len(stream) // 2)
    if how == 'lost':
        del stream[at]
    elif how == 'twice':
        stream.insert(at, stream[at])
    elif how == 'half':
        stream[at] = frozenset(list(stream[at])[1:]) or frozenset([('a', 1, -1)])
    elif how == 'mixed':
        stream[at] |= stream.pop()
    elif how == 'aborted':
        next(t for t in txns if t.status == 'ok' and history.written_by(t) == stream[at]).status = 'fail'
    else:
        stream.append(stream.pop(at))
    return how


def streams(rounds=60):
    wrong = []
    for seed in range(rounds):
        rng = random.Random(seed)
        store = Store(rng, 'rr')
        txns, _ = store.run(80)
        problems = history.judge_stream(txns, store.stream)
        if problems:
            wrong.append('stream, seed %d: %s' % (seed, problems[:2]))
        how = falsify_stream(rng, txns, store.stream)
        if not history.judge_stream(txns, store.stream):
            wrong.append('stream, seed %d: falsified (%s), not found' % (seed, how))
    return wrong


def run():
    wrong = by_hand() + simulated() + streams()
    for text in wrong:
        print('self-test: ' + text)
    print('history: self-test: %d histories by hand, 60 simulated, 60 streams, %d wrong' % (len(CASES), len(wrong)))
    return not wrong
