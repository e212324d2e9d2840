"""Judges a history of transactions: dependency graph, cycles, and what each isolation level forbids.

A history is a list of Txn and the final state.  Objects are of two kinds:
  lists    every append adds a value that no other append adds; a read gives the whole list
  groups   a set of elements, each of them changed ('toggled') at most once: a row that enters the range of a
           predicate, or leaves it; a read gives the elements that it found toggled

Ops: ('a', key, value)          append
     ('x', key, value)          append that a savepoint took back
     ('r', key, [values])       read of a list
     ('t', group, element)      toggle
     ('u', group, element)      toggle that a savepoint took back
     ('s', group, {elements})   predicate read

The final list is the version order of its key: a version is a prefix.  From it follow the dependencies
(Adya; found from data as Elle does):
  ww   the next version of an object        rt   ended before the other began, by the client's clock
  wr   reads the other's version            rw   reads a version that the other overwrites
A transaction whose fate is unknown ('info') is committed if the final state has something of it.

Levels of a Txn: 'rc', 'rr', 'ser'; 'stmt', one statement of a READ COMMITTED transaction that wrote
nothing before: it has a snapshot of its own, and is judged as a transaction that only read; 'standby', a
transaction with one snapshot on a standby server: it may be late, so rt edges do not concern it.

Forbidden (names of anomalies as Adya's):
  everywhere  G0 (ww cycle), G1a (aborted read), G1b (intermediate read), G1c (ww and wr cycle); an
              acknowledged write that is missing; a value that nobody wrote, or twice; not to see oneself
  snapshots   a cycle without two adjacent rw edges, rw edges taken from rr, ser and stmt only.  With one rw
              edge it is G-single (with a write of both to one object: lost update).  Why: in ww, wr and rt
              edges the first commits before the second begins (or, at READ COMMITTED, commits), and an rw
              edge begins before the other commits; so commit times would grow around the cycle.
              Every read of an object gives the same.
  standby     G-single. Cycles with more rw edges are allowed: two commits may be seen on a standby in the order
              of WAL, and on the primary in the other.
  ser         any cycle among serializable transactions: G2
rt edges take part in all of these: a snapshot sees whatever was acknowledged before it was asked for.

judge_stream() is for what logical decoding makes of a history: every committed transaction that wrote something is in
the stream once, with all it wrote and nothing else; and it comes after those whose end it has waited for, and after
those that it has read from.
"""

from collections import deque

SNAPSHOT = ('rr', 'ser', 'stmt')
INFINITY = float('inf')


class Txn:
    """One transaction; start and end are the client's times, status 'ok', 'fail' or 'info'."""

    def __init__(self, name, level, start, ops=None, end=INFINITY, status='ok'):
        self.name, self.level, self.start, self.end = name, level, start, end
        self.ops = [] if ops is None else ops
        self.status = status

    def __repr__(self):
        return '%s (%s, %s): %s' % (self.name, self.level, self.status,
                                    ' '.join('%s %s %s' % (op[0], op[1], brief(op[2])) for op in self.ops))


def brief(value):
    if isinstance(value, (set, frozenset)):
        value = sorted(value)
    if isinstance(value, list) and len(value) > 8:
        return '[%d values .. %s]' % (len(value), ' '.join(map(str, value[-6:])))
    return str(value).replace(', ', ' ')


class Edge:
    __slots__ = ('to', 'kind', 'key', 'value')

    def __init__(self, to, kind, key=None, value=None):
        self.to, self.kind, self.key, self.value = to, kind, key, value


# -- graphs: nodes are numbers, edges a list of lists of Edge ---------------------------------------------------


def components(count, edges_of):
    """Strongly connected components of more than one node (Tarjan, without recursion)."""
    index, low = [None] * count, [0] * count
    on_stack = [False] * count
    stack, found, counter = [], [], 0
    for root in range(count):
        if index[root] is not None:
            continue
        work = [(root, iter(edges_of(root)))]
        index[root] = low[root] = counter
        counter += 1
        stack.append(root)
        on_stack[root] = True
        while work:
            node, rest = work[-1]
            for to in rest:
                if index[to] is None:
                    index[to] = low[to] = counter
                    counter += 1
                    stack.append(to)
                    on_stack[to] = True
                    work.append((to, iter(edges_of(to))))
                    break
                if on_stack[to]:
                    low[node] = min(low[node], index[to])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    members = []
                    while True:
                        member = stack.pop()
                        on_stack[member] = False
                        members.append(member)
                        if member == node:
                            break
                    if len(members) > 1:
                        found.append(members)
    return found


def shortest_cycle(members, edges_of):
    """A short cycle in a component: [(node, Edge to the next)]; edges_of gives (target, Edge)."""
    inside = set(members)
    best = None
    for start in members[:200]:
        came = {start: None}
        queue = deque([start])
        end = None
        while queue and end is None:
            node = queue.popleft()
            for to, edge in edges_of(node):
                if to == start:
                    end = (node, edge)
                    break
                if to in inside and to not in came:
                    came[to] = (node, edge)
                    queue.append(to)
        if end is None:
            continue
        path = [end]
        while came[path[-1][0]] is not None:
            path.append(came[path[-1][0]])
        path.reverse()
        if best is None or len(path) < len(best):
            best = path
        if len(best) == 2:
            break
    return best


class Judgement:
    """What is wrong (problems), and cycles that REPEATABLE READ allows (skews; looked for if nothing is wrong)."""

    def __init__(self):
        self.problems = []
        self.skews = []
        self.edge_counts = {}
        self.committed = 0

    def kinds(self):
        return sorted({kind for kind, _ in self.problems})


class Checker:
    def __init__(self, txns, final_lists, final_groups):
        self.txns = txns
        self.lists, self.groups = final_lists, final_groups
        self.out = Judgement()
        self.writer = {}            # (key, value) -> Txn that wrote it, or None: one of several unknown ones
        self.taken_back = {}
        self.last_of = {}           # (key, txn) -> place of its last value
        self.settle_fates()
        self.nodes = [t for t in txns if t.committed]
        for number, txn in enumerate(self.nodes):
            txn.number = number
        self.edges = [[] for _ in self.nodes]
        self.out.committed = sum(t.level != 'stmt' for t in self.nodes)

    def problem(self, kind, text, *txns):
        if len(self.out.problems) < 200:
            self.out.problems.append((kind, '%s\n%s' % (text, '\n'.join('      %r' % t for t in txns))))

    # -- who wrote what, and who committed --------------------------------------------------------------------

    def settle_fates(self):
        tried = {}
        for txn in self.txns:
            for op in txn.ops:
                if op[0] in 'at':
                    tried.setdefault((op[1], op[2]), []).append(txn)
                elif op[0] in 'xu':
                    self.taken_back[op[1], op[2]] = txn
        for written, by in tried.items():
            self.writer[written] = self.one_of(written, by)
        present = {(k, v) for store in (self.lists, self.groups) for k, vs in store.items() for v in vs}
        for txn in self.txns:
            mine = [(op[1], op[2]) for op in txn.ops if op[0] in 'at']
            there = [w for w in mine if w in present and self.writer[w] is txn]
            txn.committed = txn.status == 'ok' or (txn.status == 'info' and bool(there))
            if txn.status == 'fail' and there:
                self.problem('G1a', 'the final state has %s of an aborted transaction' % (there,), txn)
            elif txn.committed and any(w not in present for w in mine):
                self.problem('lost write', 'committed, but the final state lacks %s'
                             % [w for w in mine if w not in present], txn)
        for written in present:
            if written in self.taken_back and written not in self.writer:
                self.problem('G1a', 'the final state has %s, taken back by a savepoint' % (written,),
                             self.taken_back[written])
            elif written not in self.writer:
                self.problem('garbage', 'nobody wrote %s' % (written,))

    def one_of(self, written, by):
        """Who of those that tried to write something can have done it; None if that is not known."""
        if len(by) == 1:
            return by[0]
        done = [t for t in by if t.status == 'ok']
        if len(done) > 1:
            self.problem('double write', 'more than one transaction changed %s' % (written,), *done[:2])
        doubt = [t for t in by if t.status == 'info']
        return done[0] if done else doubt[0] if len(doubt) == 1 else None if doubt else by[0]

    def foreign(self, txn, key, value, what):
        """Judge a value that txn read: who wrote it, and did that commit?"""
        writer = self.writer.get((key, value))
        if (key, value) in self.writer and writer is None:
            return
        if writer is None:
            other = self.taken_back.get((key, value))
            self.problem('G1a' if other else 'garbage', '%s of %s has %s' % (what, key, value), txn,
                         *([other] if other else []))
        elif not writer.committed and writer is not txn:
            self.problem('G1a', '%s of %s has %s of an aborted transaction' % (what, key, value), txn, writer)

    # -- dependencies -----------------------------------------------------------------------------------------

    def add(self, a, b, kind, key, value):
        if a is not b and a.committed and b.committed:
            self.edges[a.number].append(Edge(b.number, kind, key, value))
            self.out.edge_counts[kind] = self.out.edge_counts.get(kind, 0) + 1

    def writes(self):
        for key, values in self.lists.items():
            if len(set(values)) < len(values):
                self.problem('double write', '%s has a value twice: %s' % (key, values))
            previous = None
            for place, value in enumerate(values):
                writer = self.writer.get((key, value))
                if writer is None:
                    continue
                self.last_of[key, writer] = place
                if previous is not None:
                    self.add(previous, writer, 'ww', key, value)
                previous = writer

    def read_list(self, txn, key, seen, own):
        """own: values that txn has appended itself, which nobody else sees yet."""
        final = self.lists.get(key, [])
        base = list(seen)
        while base and base[-1] in own:
            base.pop()
        if base != final[:len(base)]:
            for value in base:
                self.foreign(txn, key, value, 'a read')
            self.problem('incompatible order', '%s was read as %s, in the end it is %s' % (key, seen, final), txn)
            return
        if base:
            last = self.writer.get((key, base[-1]))
            if last is None:
                return
            if last is not txn and self.last_of.get((key, last)) != len(base) - 1:
                self.problem('G1b', '%s was read as of the middle of a transaction' % key, txn, last)
            self.add(last, txn, 'wr', key, base[-1])
        if len(base) == len(seen) and len(base) < len(final):
            following = self.writer.get((key, final[len(base)]))
            if following is not None:
                self.add(txn, following, 'rw', key, final[len(base)])

    def read_group(self, txn, group, seen, own):
        final = self.groups.get(group, set())
        for element in seen - final:
            if element not in own:
                self.foreign(txn, group, element, 'a read')
        for element in final:
            writer = self.writer.get((group, element))
            if writer is None:
                continue
            if element in seen:
                self.add(writer, txn, 'wr', group, element)
            else:
                self.add(txn, writer, 'rw', group, element)

    def walk(self, txn):
        """The reads of a transaction, and whether it sees its own work and one snapshot."""
        own, known = {}, {}
        for op in txn.ops:
            kind, key = op[0], op[1]
            mine = own.setdefault(key, [])
            if kind in 'at':
                mine.append(op[2])
                if key in known:
                    known[key] = known[key] + [op[2]] if kind == 'a' else known[key] | {op[2]}
            elif kind == 'r':
                if mine and op[2][-len(mine):] != mine:
                    self.problem('own write not seen', '%s: appended %s, read %s' % (key, mine, op[2]), txn)
                elif txn.level != 'rc' and known.get(key, op[2]) != op[2]:
                    self.problem('snapshot moved', '%s: expected %s, read %s' % (key, known[key], op[2]), txn)
                known[key] = op[2]
                self.read_list(txn, key, op[2], mine)
            elif kind == 's':
                if not set(mine) <= op[2]:
                    self.problem('own write not seen', '%s: changed %s, read %s' % (key, mine, sorted(op[2])), txn)
                elif txn.level != 'rc' and known.get(key, op[2]) != op[2]:
                    self.problem('snapshot moved', '%s: expected %s, read %s'
                                 % (key, sorted(known[key]), sorted(op[2])), txn)
                known[key] = op[2]
                self.read_group(txn, key, op[2], mine)

    def realtime(self):
        """Edges from each end to the beginnings after it, but for those that follow from others."""
        events = []
        for txn in self.nodes:
            if txn.level == 'standby':
                continue
            events.append((txn.start, 0, txn))
            if txn.end < INFINITY:
                events.append((txn.end, 1, txn))
        events.sort(key=lambda e: (e[0], e[1]))
        frontier, before = set(), {}
        for _, ending, txn in events:
            if not ending:
                before[txn.number] = set(frontier)
                for other in frontier:
                    self.edges[other].append(Edge(txn.number, 'rt'))
            else:
                frontier -= before.pop(txn.number)
                frontier.add(txn.number)

    # -- cycles -----------------------------------------------------------------------------------------------

    def tell(self, kind, cycle, into):
        lines = ['a cycle of %d' % len(cycle)]
        for node, edge in cycle:
            lines.append('      %r' % self.nodes[node])
            lines.append('        -- %s%s -->' % (edge.kind, '' if edge.key is None else ' %s %s' % (edge.key, edge.value)))
        into.append((kind, '\n'.join(lines)))

    def plain_cycles(self, name, allowed, wanted):
        """Cycles of the edges that allowed(node, Edge) lets through."""
        def targets(node):
            return [e.to for e in self.edges[node] if allowed(node, e)]

        def labeled(node):
            return [(e.to, e) for e in self.edges[node] if allowed(node, e)]
        for members in components(len(self.nodes), targets):
            cycle = shortest_cycle(members, labeled)
            self.tell(name, cycle, wanted)

    def snapshot_cycles(self):
        """Cycles without two adjacent rw edges: nodes are doubled, 2n + 1 was entered by rw."""
        def labeled(node):
            real, by_rw = node >> 1, node & 1
            out = []
            for e in self.edges[real]:
                if e.kind != 'rw':
                    out.append((e.to * 2, e))
                elif not by_rw and self.nodes[real].level in SNAPSHOT:
                    out.append((e.to * 2 + 1, e))
            return out
        for members in components(2 * len(self.nodes), lambda n: [to for to, _ in labeled(n)]):
            cycle = [(node >> 1, edge) for node, edge in shortest_cycle(members, labeled)]
            count = sum(edge.kind == 'rw' for _, edge in cycle)
            if count == 0:
                continue            # G0 or G1c, told already
            name = 'G-single' if count == 1 else 'G-nonadjacent'
            if count == 1 and len(cycle) == 2 and {e.kind for _, e in cycle} == {'ww', 'rw'}:
                name = 'lost update'
            self.tell(name, cycle, self.out.problems)

    def standby_cycles(self):
        """Does a read on a standby miss something on which it depends? There are no cycles without rw here."""
        earlier = [0] * len(self.nodes)         # by node: bits of those that reach it without rw edges
        missing = [0] * len(self.nodes)
        for edges in self.edges:
            for e in edges:
                missing[e.to] += e.kind != 'rw'
        ready = [n for n, count in enumerate(missing) if count == 0]
        while ready:
            node = ready.pop()
            for e in self.edges[node]:
                if e.kind != 'rw':
                    earlier[e.to] |= earlier[node] | 1 << node
                    missing[e.to] -= 1
                    if missing[e.to] == 0:
                        ready.append(e.to)
        for txn in self.nodes:
            for e in self.edges[txn.number] if txn.level == 'standby' else []:
                if e.kind == 'rw' and earlier[txn.number] >> e.to & 1:
                    self.problem('G-single', 'on a standby, %s of %s is missing, and something later is seen' % (
                        e.value, e.key), txn, self.nodes[e.to])

    def judge(self):
        self.writes()
        for txn in self.txns:
            self.walk(txn)
        self.realtime()
        problems = self.out.problems
        self.plain_cycles('G0', lambda n, e: e.kind in ('ww', 'rt'), problems)
        if not any(kind == 'G0' for kind, _ in problems):
            self.plain_cycles('G1c', lambda n, e: e.kind != 'rw', problems)
        self.snapshot_cycles()
        if not problems:
            self.standby_cycles()
        level = [t.level for t in self.nodes]
        self.plain_cycles('G2', lambda n, e: level[n] == 'ser' and level[e.to] == 'ser', problems)
        if not problems:
            self.plain_cycles('G2', lambda n, e: level[n] == 'rr' and level[e.to] == 'rr', self.out.skews)
        return self.out


def judge(txns, final_lists, final_groups=None):
    return Checker(txns, final_lists, final_groups or {}).judge()


# -- the stream of logical decoding -----------------------------------------------------------------------------


def written_by(txn):
    return frozenset(op[:3] for op in txn.ops if op[0] in 'at')


def match_stream(txns, stream, problems):
    """The place of each transaction in the stream, which is a list of sets of ops 'a' and 't'; None if it could be another's."""
    by_op, place = {}, {}
    for txn in txns:
        for op in written_by(txn):
            by_op.setdefault(op, []).append(txn)
    for at, ops in enumerate(stream):
        if not ops:
            continue
        of = [t for t in by_op.get(next(iter(ops)), []) if t.status != 'fail' and written_by(t) == ops and t not in place]
        of.sort(key=lambda t: t.status != 'ok')         # of those that changed the same rows one can have committed
        if of:
            place[of[0]] = at if of[0].status == 'ok' or len(of) == 1 else None
        else:
            some = sorted(ops, key=str)[:8]
            problems.append(('stream', 'the stream has a transaction that nobody committed: %s\n%s' % (
                some, '\n'.join('      %r' % t for op in some[:2] for t in by_op.get(op, [])))))
    problems += [('stream', 'the stream lacks a committed transaction\n      %r' % t) for t in txns
                 if t.status == 'ok' and t not in place and written_by(t)]
    return place


def judge_stream(txns, stream):
    """What is wrong with a stream: a list of (kind, text)."""
    problems = []
    place = {t: at for t, at in match_stream(txns, stream, problems).items() if at is not None}
    writer = {op[1:]: t for t in place for op in written_by(t)}
    latest = None               # of those that came before in the stream, the one that began last
    for txn in sorted(place, key=place.get):
        if latest is not None and txn.end < latest.start:
            problems.append(('stream order', 'comes after one that began when it had ended\n      %r\n      %r' % (txn, latest)))
        if latest is None or txn.start > latest.start:
            latest = txn
        seen = [(op[1], value) for op in txn.ops if op[0] in 'rs' for value in op[2]]
        for other in {writer[read] for read in seen if read in writer} - {txn}:
            if place[other] > place[txn]:
                problems.append(('stream order', 'comes before one that it has read\n      %r\n      %r' % (txn, other)))
    return problems
