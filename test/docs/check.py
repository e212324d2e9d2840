"""Compare the documents with the source and with the installed extension.

    check.py TOP CATALOG

TOP is the repository, CATALOG a file of lines 'kind|name|...' that test/suite/docs asks a server for.
Prints 'ok NAME', or what is missing and 'not ok NAME', for each check.
"""
import glob
import os
import re
import subprocess
import sys

TOP = sys.argv[1]
CATALOG = sys.argv[2]
DOCS = sorted(glob.glob(os.path.join(TOP, 'docs', '*.md')))
failed = False


def read(path):
    with open(os.path.join(TOP, path), encoding='utf-8') as f:
        return f.read()


def verdict(name, complaints):
    """Print the outcome of one check."""
    global failed
    for complaint in complaints:
        print('  ' + complaint)
    failed = failed or bool(complaints)
    print('%s %s' % ('not ok' if complaints else 'ok', name))


# ---- messages ----

def call_arguments(text, start):
    """The text of a call's arguments; start is just behind the opening parenthesis."""
    depth, i, quoted = 1, start, False
    while depth:
        c = text[i]
        if quoted:
            i += c == '\\'
            quoted = c != '"'
        elif c == '"':
            quoted = True
        else:
            depth += (c == '(') - (c == ')')
        i += 1
    return text[start:i - 1]


def c_string(expression):
    """The C string literals of an expression, joined; formats by macros (UINT64_FORMAT) count as %d."""
    parts = re.findall(r'"((?:[^"\\]|\\.)*)"|\b([A-Z0-9_]*FORMAT)\b', expression)
    text = ''.join(literal if not macro else '%d' for literal, macro in parts)
    return text.replace('\\"', '"').replace('\\n', '\n')


def first_argument(arguments):
    """Of a call's arguments the first."""
    depth, quoted, i = 0, False, 0
    while i < len(arguments):
        c = arguments[i]
        if quoted:
            i += c == '\\'
            quoted = c != '"'
        elif c == '"':
            quoted = True
        elif c in '()':
            depth += (c == '(') - (c == ')')
        elif c == ',' and depth == 0:
            return arguments[:i]
        i += 1
    return arguments


def sqlstates():
    """SQLSTATEs by the names that C uses, from the server's errcodes.h (path in VDB_ERRCODES_H)."""
    states = {}
    with open(os.environ['VDB_ERRCODES_H'], encoding='utf-8') as f:
        for name, letters in re.findall(r"#define (ERRCODE_\w+) MAKE_SQLSTATE\(([^)]*)\)", f.read()):
            states[name] = ''.join(re.findall(r"'(.)'", letters))
    return states


def messages():
    """Yield (place, format, SQLSTATEs) of each message for users that the source raises."""
    states = sqlstates()
    for path in sorted(glob.glob(os.path.join(TOP, 'src', '**', '*.[ch]'), recursive=True)):
        text = open(path, encoding='utf-8').read()
        for call in re.finditer(r'\bereport\s*\(', text):
            arguments = call_arguments(text, call.end())
            codes = [states[c] for c in re.findall(r'\bERRCODE_\w+', arguments) if c in states]
            place = '%s:%d' % (os.path.relpath(path, TOP), text.count('\n', 0, call.start()) + 1)
            for message in re.finditer(r'\berrmsg(?:_plural)?\s*\(', arguments):
                yield place, c_string(first_argument(call_arguments(arguments, message.end()))), codes
        for call in re.finditer(r'\belog\s*\(\s*(PANIC|FATAL|WARNING)\s*,', text):
            arguments = call_arguments(text, call.end())
            place = '%s:%d' % (os.path.relpath(path, TOP), text.count('\n', 0, call.start()) + 1)
            yield place, c_string(first_argument(arguments)), ['XX000']


def normal_words(text):
    return re.sub(r'\s+', ' ', text).strip()


def message_pattern(form):
    """A regular expression for a message as a document shows it, with anything for each conversion."""
    pieces = re.split(r'%[-+ #0]*\d*(?:\.\d+)?(?:hh|h|ll|l|z)?[a-zA-Z%]', normal_words(form))
    return '.+'.join(re.escape(p) for p in pieces)


def check_messages():
    document = [normal_words(line) for line in read('docs/troubleshooting.md').split('\n')
                if line.startswith('### ')]
    internal = {normal_words(line) for line in read('test/docs/internal_messages').split('\n')
                if line.strip() and not line.startswith('#')}
    missing, wrong, used, met = [], [], set(), set()
    for place, form, codes in messages():
        if normal_words(form) in internal:
            used.add(normal_words(form))
            continue
        pattern = re.compile('### `' + message_pattern(form) + '`')
        found = [line for line in document if pattern.match(line)]
        met.update(found)
        if not found:
            missing.append('%s: "%s" is neither a heading of docs/troubleshooting.md nor in '
                           'test/docs/internal_messages' % (place, form))
        elif codes and not any(code in line for line in found for code in codes):
            wrong.append('%s: "%s" has SQLSTATE %s in the source' % (place, form, ' or '.join(codes)))
    verdict('every message is in docs/troubleshooting.md', missing)
    verdict('messages are documented with their SQLSTATE', wrong)
    verdict('every message in docs/troubleshooting.md exists',
            ['no message of the source is like: ' + line for line in document
             if line.startswith('### `') and line not in met])
    verdict('test/docs/internal_messages has only messages that exist',
            ['no longer in the source: ' + line for line in sorted(internal - used)])


# ---- settings, views, functions ----

def check_settings():
    source = read('src/base/vdb_guc.c')
    defined = set(re.findall(r'DefineCustom\w+Variable\(\s*"(vdb\.\w+)"', source))
    reference = read('docs/reference.md')
    rows = set(re.findall(r'^\| `(vdb\.\w+)` \|', reference, re.M))
    functions = {line.split('|')[1] for line in catalog('function')} | {
        line.split('|')[1].split('.')[0] + '.' + line.split('|')[1].split('.')[1] for line in catalog('column')}
    verdict('every setting has its row in docs/reference.md',
            ['no row: ' + name for name in sorted(defined - rows)])
    verdict('every setting in docs/reference.md exists',
            ['unknown: ' + name for name in sorted(rows - defined - functions - {'vdb.scm'})])
    wrong = []
    for line in catalog('setting'):
        name, value = line.split('|')[1:3]
        row = re.search(r'^\| `%s` \| `([^`]*)` \|' % re.escape(name), reference, re.M)
        shown = row.group(1) if row else 'no default'
        if shown != value:
            wrong.append('%s: the default is "%s", docs/reference.md shows "%s"' % (name, value, shown))
    verdict('defaults in docs/reference.md are right', wrong)
    wrong = []
    for line in catalog('range'):
        name, who, values = line.split('|')[1:4]
        row = re.search(r'^\| `%s` \| `[^`]*` \| ([^|]*) \| ([^|]*) \|' % re.escape(name), reference, re.M)
        if row and row.groups() != (who, values):
            wrong.append('%s: set by %s, %s; docs/reference.md shows %s, %s' % (name, who, values, *row.groups()))
    verdict('who sets a setting, its range and unit are right in docs/reference.md', wrong)
    shown = dict(re.findall(r'^\| `(vdb\.\w+)` \| `?([^|`]*?)`? \|', read('README.md'), re.M))
    verdict('defaults in README.md are right',
            ['%s: the default is "%s", README.md shows "%s"' % (*line.split('|')[1:3], shown[line.split('|')[1]])
             for line in catalog('setting') if shown.get(line.split('|')[1], line.split('|')[2]) != line.split('|')[2]])
    apart = set(re.findall(r'^\| `(vdb\.\w+)` \|', sections(reference).get('For emergencies and tests', ''), re.M))
    marked = {line.split('|')[1] for line in catalog('not_in_sample')}
    verdict('settings that no user sets are marked, and stand apart in docs/reference.md',
            ['on one side only: ' + name for name in sorted(apart ^ marked)])
    used = set()
    for path in DOCS:
        used |= set(re.findall(r'`(vdb\.\w+)`', open(path, encoding='utf-8').read()))
    known = defined | functions | {'vdb.scm'} | {f.split('(')[0] for f in functions}
    verdict('documents name only settings, views and functions that exist',
            ['unknown: ' + name for name in sorted(used - known)])


def catalog(kind):
    with open(CATALOG, encoding='utf-8') as f:
        return [line for line in f.read().split('\n') if line.startswith(kind + '|')]


def sections(text):
    """A document's parts by their headings."""
    parts = re.split(r'^##+ (.*)$', text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def check_catalog():
    """Views' columns in their section of monitoring.md; functions and views in reference.md."""
    monitoring = sections(read('docs/monitoring.md'))
    missing = []
    for line in catalog('column') + catalog('result'):
        relation, column = line.split('|')[1].rsplit('.', 1)
        part = next((text for head, text in monitoring.items() if '`%s' % relation in head), None)
        if part is None:
            missing.append('docs/monitoring.md has no section on ' + relation)
        elif not re.search(r'^\| (`\w+`, )*`%s`(, `\w+`)* \|' % re.escape(column), part, re.M):
            missing.append('docs/monitoring.md, %s: no row for column %s' % (relation, column))
    verdict('every column is in docs/monitoring.md', sorted(set(missing)))
    reference = read('docs/reference.md')
    names = {line.split('|')[1] for line in catalog('function')} | {
        line.split('|')[1].rsplit('.', 1)[0] for line in catalog('column')}
    verdict('every view and function is in docs/reference.md',
            [name for name in sorted(names) if '`%s' % name not in reference])
    verdict('no object of the extension lacks a comment',
            [line.split('|', 1)[1] for line in catalog('comment')])


# ---- the documents themselves ----

def anchor(heading):
    """The anchor that GitHub gives to a heading."""
    words = re.sub(r'[^\w\- ]', '', heading.strip().lower())
    return words.replace(' ', '-')


def anchors(path):
    text = re.sub(r'^```.*?^```', '', open(path, encoding='utf-8').read(), flags=re.M | re.S)
    found = {}
    names = set()
    for heading in re.findall(r'^#+ (.*)$', text, re.M):
        name = anchor(heading)
        n = found.get(name, 0)
        found[name] = n + 1
        names.add(name if n == 0 else '%s-%d' % (name, n))
    return names


def check_links():
    broken = []
    more = [os.path.join(TOP, f) for f in ('README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'RELEASING.md')]
    for path in DOCS + more:
        text = re.sub(r'^```.*?^```', '', open(path, encoding='utf-8').read(), flags=re.M | re.S)
        for target in re.findall(r'\]\(([^)\s]+)\)', text):
            if re.match(r'https?:|mailto:', target):
                continue
            file, _, fragment = target.partition('#')
            there = os.path.normpath(os.path.join(os.path.dirname(path), file)) if file else path
            name = os.path.relpath(path, TOP)
            if not os.path.exists(there):
                broken.append('%s: no file %s' % (name, target))
            elif fragment and there.endswith('.md') and fragment not in anchors(there):
                broken.append('%s: no heading %s' % (name, target))
    verdict('links between documents resolve', broken)


def check_charts():
    charts = subprocess.run([sys.executable, os.path.join(TOP, 'test/bench/charts'), '--check'],
                            capture_output=True, text=True)
    verdict('tables and charts of docs/performance.md are those of test/bench/results.csv',
            [line.strip() for line in (charts.stdout + charts.stderr).split('\n') if line.strip()])


def check_form():
    wrong, pages = [], read('docs/README.md')
    for path in DOCS:
        name = os.path.relpath(path, TOP)
        fenced = False
        for number, line in enumerate(open(path, encoding='utf-8').read().split('\n'), 1):
            fenced ^= line.lstrip().startswith(('```', '<!-- run')) or line == '-->'
            if len(line) > 100 and not fenced and not line.startswith(('|', '#')):
                wrong.append('%s:%d: longer than 100 columns' % (name, number))
        if os.path.basename(path) not in pages and name != 'docs/README.md':
            wrong.append('docs/README.md does not lead to ' + name)
    verdict('documents keep to 100 columns and are listed', wrong)


check_messages()
check_settings()
check_catalog()
check_links()
check_charts()
check_form()
sys.exit(1 if failed else 0)
