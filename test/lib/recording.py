"""The record of stores that VDB_SCM_RECORD makes, and the pools that a crash may leave of it.

The scheme is told in test/crash/README.md.
"""

import struct

STORE, ZERO, FENCE, REQUEST = 1, 2, 3, 4
EVENT = struct.Struct('=IIIHHQQ')     # scm_persist.h
BLOCK = 8192
SEGMENT = 8 * BLOCK
SECTOR = 512
TOTAL_SEGMENTS_AT = 24 + 44     # scm_format.h
RESERVED_AT = BLOCK + 24 + 480 * 8
RESERVED_BYTES = 480 * 8


class Window:
    """Events between two moments at which WAL got flushed further: begin <= event < end."""

    def __init__(self, begin, end, step, flushed, at_stake):
        self.begin, self.end = begin, end
        self.step = step  # acknowledged
        self.flushed = flushed
        self.at_stake = at_stake  # stores made while there was WAL that a crash could lose


class Recording:
    """The events, and at which of them each step was acknowledged."""

    def __init__(self, path, begin, acks):
        """begin: length of the record at the first base; acks: its length, step, WAL flushed, when a step was over."""
        self.events = []  # (kind, pid, place in the file, bytes)
        self.ends = []  # length of the record after each event
        self.flushed, self.inserted = [], []
        with open(path, 'rb') as f:
            data = f.read()
        at = flushed = inserted = 0
        while at + EVENT.size <= len(data):
            kind, pid, block, offset, size, now_flushed, now_inserted = EVENT.unpack_from(data, at)
            at += EVENT.size
            content = b''
            if kind == STORE:
                content = data[at:at + size]
                at += size
            elif kind == ZERO:
                content = bytes(size)
            if at <= begin:
                continue  # the base has it
            self.events.append((kind, pid, block * BLOCK + offset, content))
            self.ends.append(at)
            flushed, inserted = max(flushed, now_flushed), max(inserted, now_inserted)
            self.flushed.append(flushed)
            self.inserted.append(inserted)
        self.acknowledge(acks)

    def acknowledge(self, acks):
        """The client knows better how far WAL was flushed."""
        self.steps = []
        told = 0
        for i, end in enumerate(self.ends):
            while told < len(acks) and acks[told][0] < end:
                told += 1
            self.steps.append(acks[told - 1][1] if told else 0)
            if told:
                self.flushed[i] = max(self.flushed[i], acks[told - 1][2])
            if i:
                self.flushed[i] = max(self.flushed[i], self.flushed[i - 1])
            self.inserted[i] = max(self.inserted[i], self.flushed[i])

    def at_event(self, count):
        """What is known after the first 'count' (at least one) events: step acknowledged, WAL flushed, WAL inserted."""
        return self.steps[count - 1], self.flushed[count - 1], self.inserted[count - 1]

    def windows(self):
        """Those in which something is at stake."""
        found = []
        begin = 0
        for i in range(1, len(self.events) + 1):
            if i < len(self.events) and self.flushed[i] == self.flushed[begin] and self.steps[i] == self.steps[begin]:
                continue
            stake = sum(1 for j in range(begin, i)
                        if self.events[j][0] in (STORE, ZERO) and self.inserted[j] > self.flushed[begin])
            if stake:
                found.append(Window(begin, i, self.steps[begin], self.flushed[begin], stake))
            begin = i
        return found


def apply_bytes(pool, place, content):
    if place + len(content) > len(pool):
        pool.extend(bytes((place + len(content) + SEGMENT - 1) // SEGMENT * SEGMENT - len(pool)))
    pool[place:place + len(content)] = content


def pieces(place, content, unit):
    """Cut at multiples of 'unit' in the file: (place, bytes)."""
    at = 0
    while at < len(content):
        size = min(unit - (place + at) % unit, len(content) - at)
        yield place + at, content[at:at + size]
        at += size


def image_prefix(rec, base, begin, count, pool, rng):
    """All stores, in their order."""
    for kind, _, place, content in rec.events[base:count]:
        if kind in (STORE, ZERO):
            apply_bytes(pool, place, content)


def image_words(rec, base, begin, count, pool, rng):
    """Persistent memory: what a process had fenced is there; of its later stores any aligned words."""
    fenced = {}
    for i, (kind, pid, _, _) in enumerate(rec.events[base:count], base):
        if kind == FENCE:
            fenced[pid] = i
    share = rng.choice([0.1, 0.5, 0.9, rng.random()])
    for i, (kind, pid, place, content) in enumerate(rec.events[base:count], base):
        if kind not in (STORE, ZERO):
            continue
        if i < fenced.get(pid, -1):
            apply_bytes(pool, place, content)
            continue
        for at, word in pieces(place, content, 8):
            if rng.random() < share:
                apply_bytes(pool, at, word)


def image_sectors(rec, base, begin, count, pool, rng):
    """
    Emulation: each sector as it was at a moment of its own.  Most moments lie between 'begin' and 'count', where
    redo may have nothing to repair with; a few pages were never written at all.
    """
    moments = {}
    newest, oldest = rng.choice([(0.5, 0.5), (0.9, 0.05), (0.1, 0.8), (0.2, 0.2)])

    def moment():
        x = rng.random()
        if x < newest:
            return count
        if x < newest + oldest:
            return begin
        return base if rng.random() < 0.2 else rng.randint(begin, count)

    for i, (kind, _, place, content) in enumerate(rec.events[base:count], base):
        if kind not in (STORE, ZERO):
            continue
        for at, part in pieces(place, content, SECTOR):
            sector = at // SECTOR
            if sector not in moments:
                moments[sector] = moment()
            if i < moments[sector]:
                apply_bytes(pool, at, part)


MAKERS = {'prefix': image_prefix, 'words': image_words, 'sectors': image_sectors}


def asked_for_sync(rec, begin, end):
    """Did anybody request a sync of the pool's file (there is but one) in these events?"""
    return any(event[0] == REQUEST for event in rec.events[begin:end])


def make_pool(rec, mode, base, begin, count, pool, rng):
    """What the crash after 'count' events left; pool: what the base, taken after 'base' events, has."""
    MAKERS[mode](rec, base, begin, count, pool, rng)
    total = struct.unpack_from('=I', pool, TOTAL_SEGMENTS_AT)[0]
    if len(pool) < total * SEGMENT:
        pool.extend(bytes(total * SEGMENT - len(pool)))
    if rng.random() < 0.5:
        # marks of reservation are volatile and not recorded
        for at in range(RESERVED_AT, RESERVED_AT + RESERVED_BYTES):
            if rng.random() < 0.1:
                pool[at] = rng.choice([0, 1, 2])
