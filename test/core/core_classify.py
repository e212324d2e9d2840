"""Sorting the differences between two runs of a core test by reviewed rules.

An output is cut into segments, one per statement (regress: psql echoes the input) or step
(isolation).  Segments of the two runs are paired by what they echo, so that a difference in one
statement never spoils the comparison of the next.  Each differing pair is then offered to the rules
of classes.conf; see there for their kinds.
"""

import difflib
import fnmatch
import re
from collections import Counter


class Rule:
    def __init__(self, name, suite, tests, kind, statement, argument=''):
        self.name, self.suite, self.tests, self.kind = name, suite, tests, kind
        self.statement = re.compile(statement, re.I | re.S)
        self.argument = argument

    def covers(self, suite, test, statement):
        return (self.suite in ('*', suite)
                and any(fnmatch.fnmatchcase(test, t) for t in self.tests.split(','))
                and self.statement.search(statement) is not None)


class Verdict:
    def __init__(self):
        self.classes = {}
        self.unexplained = []
        self.lost = False

    def count(self, name):
        self.classes[name] = self.classes.get(name, 0) + 1


KINDS = {'subst', 'drop', 'multiset', 'scan', 'plan', 'accept'}


def read_rule(line):
    """The rule of a line, or ValueError with what is wrong with it.

    Parts are separated by ` | `; the last separator may end the line.  A statement's expression that
    matches the empty string would match every statement, so it must say so: `.*`, or a look-ahead.
    """
    parts = [p.strip() for p in re.split(r'\s\|(?:\s|$)', line.strip())]
    if len(parts) != 6:
        raise ValueError('a rule has 6 parts, not %d' % len(parts))
    kind, statement, argument = parts[3:]
    if kind not in KINDS:
        raise ValueError('no kind of rule: %s' % kind)
    if (kind in ('subst', 'drop', 'accept')) != (argument not in ('', 'even-ordered')):
        raise ValueError('%s takes %s argument' % (kind, 'an' if argument == '' else 'no'))
    if kind == 'subst' and len(argument.split(' => ')) != 2:
        raise ValueError('the argument of subst is `regex => replacement`')
    if kind == 'drop' and re.search(argument, ''):
        raise ValueError('the argument matches every line')
    if re.search(statement, '') and statement != '.*' and not statement.startswith('^(?!'):
        raise ValueError('the expression matches every statement')
    return Rule(*parts)


def read_rules(path):
    rules = []
    with open(path) as f:
        for number, line in enumerate(f, 1):
            if not line.strip() or line.startswith('#'):
                continue
            try:
                rules.append(read_rule(line))
            except ValueError as e:
                raise SystemExit('%s:%d: %s' % (path, number, e))
    return rules


def input_lines(path):
    """Lines psql echoes: those of the script without the data of COPY FROM STDIN."""
    lines, in_copy = [], False
    with open(path, errors='replace') as f:
        for line in f.read().split('\n'):
            if in_copy:
                if line == '\\.':
                    in_copy = False
                continue
            lines.append(line)
            if re.search(r'^\s*\\?copy\b.*\bfrom\s+stdin\b', line, re.I):
                in_copy = True
    return lines


def cut_regress(lines, script):
    """Segments (statement, output) of a psql -a output; the statement is the echoed input."""
    segments = []
    echoed, output = [], []
    at = 0
    for line in lines:
        hit = None
        if at < len(script) and line == script[at]:
            hit = at
        elif line.strip() and len(line) > 12:
            # allow for lines psql did not echo
            for look in range(at + 1, min(at + 60, len(script))):
                if script[look] == line:
                    hit = look
                    break
        if hit is None or (line == '' and output):
            output.append(line)
            if hit is not None:
                at = hit + 1
            continue
        if output and any(x for x in output):
            segments.append(('\n'.join(echoed), output))
            echoed, output = [], []
        echoed.append(line)
        at = hit + 1
    segments.append(('\n'.join(echoed), output))
    return segments


def cut_isolation(lines):
    """Segments (step, output) of isolationtester's output."""
    segments = []
    head, output, permutation = '', [], ''
    for line in lines:
        if line.startswith('starting permutation:'):
            segments.append((head, output))
            permutation = line
            head, output = line, []
        elif re.match(r'step \S+: ', line):
            segments.append((head, output))
            head, output = permutation + '\n' + line, []
        else:
            output.append(line)
    segments.append((head, output))
    return segments


def pair(left, right):
    """Pairs (statement, left output, right output); a statement only one side has gets None."""
    heads = [[s[0] for s in side] for side in (left, right)]
    if heads[0] == heads[1]:
        return [(l[0], l[1], r[1]) for l, r in zip(left, right)]
    pairs = []
    matcher = difflib.SequenceMatcher(None, heads[0], heads[1], autojunk=False)
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag == 'equal':
            pairs += [(left[i][0], left[i][1], right[j][1]) for i, j in
                      zip(range(i1, i2), range(j1, j2))]
        else:
            # segments that one side split elsewhere are compared as one
            lines = [[x for s in side for x in s[0].split('\n') + s[1]]
                     for side in (left[i1:i2], right[j1:j2])]
            heads_here = [s[0] for s in left[i1:i2]] or [s[0] for s in right[j1:j2]]
            pairs.append(('\n'.join(heads_here), lines[0], lines[1]))
    return pairs


def normal(lines):
    """Lines without the blank ones and without the padding and rules of psql's table frames."""
    out = []
    for line in lines:
        line = re.sub(r'\s+', ' ', line).strip()
        if line and not re.fullmatch(r'[-+]+', line):
            out.append(line)
    return out


def last_statement(statement):
    """The statement that made the output: the last echoed command, comments left out.

    A semicolon inside of dollar quotes ends none.
    """
    text = re.sub(r'--[^\n]*', '', statement).strip()
    outside = re.sub(r'(\$\w*\$).*?\1', lambda m: 'x' * len(m.group(0)), text, flags=re.S)
    begin = 0
    for end in re.finditer(r';\s*\n', outside):
        if outside[end.end():].strip():
            begin = end.end()
    return text[begin:]


def is_plan(lines):
    """Whether an output is a plan, also one that a function of the test returned."""
    return any(re.search(r'QUERY PLAN|^ ?explain_\w+$|(^|\s|INFO: )->  ?[A-Z]\w+', line) for line in lines)


def top_rows(lines):
    """Rows that the topmost node of a plan gave, with EXPLAIN ANALYZE: those are the statement's."""
    for line in lines:
        hit = re.search(r'actual rows=(\w+)', line)
        if hit:
            return hit.group(1)
    return None


def with_plain_scans(lines):
    """A plan with vdb's scans of whole tables under the name of core's, and without what only they tell."""
    out = []
    for line in lines:
        if re.match(r'(Columns|Stripes|Chunks Read|Chunks Pruned|Rows from Pool|Rows from Stripes|Vectorized Filters):( |$)|\(\d+ rows?\)$', line):
            continue
        out.append(re.sub(r'Custom Scan \(VdbScan\) on', 'Seq Scan on', line))
    return out


def differing(left, right):
    """Lines that one output has more often than the other."""
    left, right = Counter(left), Counter(right)
    return (left - right) + (right - left)


def explain(suite, test, statement, left, right, rules):
    """Names of the rules that make the two outputs the same, or None."""
    used = []
    left, right = normal(left), normal(right)
    if left == right:
        return ['frame']
    mine = [r for r in rules if r.covers(suite, test, statement)]
    for rule in mine:
        if rule.kind == 'accept' and all(re.fullmatch(rule.argument, x) for x in differing(left, right)):
            return used + [rule.name]
        if (rule.kind == 'scan' and is_plan(left) and is_plan(right)
                and with_plain_scans(left) == with_plain_scans(right)):
            return used + [rule.name]
        if (rule.kind == 'plan' and is_plan(left) and is_plan(right)
                and top_rows(left) == top_rows(right)):
            return used + [rule.name]
        if rule.kind in ('subst', 'drop'):
            before = (left, right)
            if rule.kind == 'drop':
                left, right = ([x for x in side if not re.search(rule.argument, x)]
                               for side in before)
            else:
                pattern, replacement = rule.argument.split(' => ')
                left, right = ([re.sub(r'\s+', ' ', re.sub(pattern, replacement, x)).strip()
                                for x in side] for side in before)
            if (left, right) != before:
                used.append(rule.name)
            if left == right:
                return used
        if rule.kind == 'multiset' and Counter(left) == Counter(right):
            if not re.search(r'\border\s+by\b', statement, re.I) or rule.argument == 'even-ordered':
                return used + [rule.name]
    return None


def compare(suite, test, source, left_path, right_path, rules):
    verdict = Verdict()
    texts = []
    for path in (left_path, right_path):
        with open(path, errors='replace') as f:
            # the folder a run worked in is not the same in the other
            text = re.sub(r'/[^\s"\']*/vdbcore\.\w+', '/WORK', f.read())
            texts.append(text.split('\n'))
    if texts[0] == texts[1]:
        return verdict
    verdict.lost = any(re.search('connection to server was lost|server closed the connection', x)
                       for x in texts[1])
    if suite == 'regress':
        script = input_lines(source)
        cut = [cut_regress(t, script) for t in texts]
    else:
        cut = [cut_isolation(t) for t in texts]
    for head, left, right in pair(*cut):
        if left == right:
            continue
        statement = last_statement(head) if suite == 'regress' else head
        names = explain(suite, test, statement, left, right, rules)
        if names is not None:
            for name in dict.fromkeys(names):
                verdict.count(name)
        else:
            diff = list(difflib.unified_diff(left, right, 'heap', 'vdb', lineterm='', n=2))
            verdict.unexplained.append('### %s\n%s\n%s\n' % (test, head[-2000:], '\n'.join(diff)))
    return verdict
