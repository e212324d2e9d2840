"""Run the commands of one document and compare what they print with what the document shows.

    run_document.py DOCUMENT [FIRST [LAST]]     (lines; all without them)

The server that PGHOST and PGPORT name runs already, from the folder PGDATA.  test/docs/README.md has
the convention.  Prints 'ok FILE:LINE' or the difference and 'not ok FILE:LINE' for each block.
With DOCS_FILL=1 it writes the outputs found into the document instead of comparing them.
"""
import os
import re
import subprocess
import sys
import tempfile

RUN = {'sql', 'sh', 'conf'}
SHOWN = {'text'}
NOT_RUN = {'c', 'make', 'diff', 'json', ''}
PSQL = ['psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1']
TIME_LIMIT = 300


class Block:
    """A fenced block, or a hidden command in a comment."""

    def __init__(self, line, info, text, hidden):
        words = info.split(None, 1)
        self.line = line
        self.kind = words[0] if words else ''
        self.mark = words[1].strip() if len(words) > 1 else ''
        self.text = text
        self.hidden = hidden


def read_blocks(path):
    """Yield the blocks of a document in order."""
    lines = open(path, encoding='utf-8').read().split('\n')
    i = 0
    while i < len(lines):
        fence = re.match(r'^( *)```(.*)$', lines[i])
        comment = re.match(r'^<!-- run (\w+)(.*)$', lines[i])
        if fence:
            end = next((j for j in range(i + 1, len(lines)) if lines[j].strip() == '```'), None)
            if end is None:
                raise SystemExit('%s:%d: the block has no end' % (path, i + 1))
            indent = len(fence.group(1))
            body = [l[indent:] if l[:indent].strip() == '' else l for l in lines[i + 1:end]]
            yield Block(i + 1, fence.group(2).strip(), '\n'.join(body) + '\n', False)
            i = end
        elif comment:
            end = next((j for j in range(i + 1, len(lines)) if lines[j].strip() == '-->'), None)
            if end is None:
                raise SystemExit('%s:%d: the comment has no end' % (path, i + 1))
            yield Block(i + 1, comment.group(1) + comment.group(2), '\n'.join(lines[i + 1:end]) + '\n', True)
            i = end
        i += 1


def execute(argv, text):
    """Run a program with a text as its input; return its exit status and all that it printed."""
    # a file, not a pipe: a server that a command starts in the background would keep a pipe open
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT)
        try:
            child.communicate(text.encode(), timeout=TIME_LIMIT)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            return 124, 'no end within %d s' % TIME_LIMIT
        out.seek(0)
        return child.returncode, out.read().decode('utf-8', 'replace')


def configure(block):
    """Append settings to postgresql.conf; reload, or restart where the block is marked so."""
    with open(os.path.join(os.environ['PGDATA'], 'postgresql.conf'), 'a', encoding='utf-8') as conf:
        conf.write(block.text)
    if block.mark == 'restart':
        return execute(['bash', '-e'], 'pg_ctl -D "$PGDATA" -w -m fast -l "$DOCS_FOLDER.log" restart >/dev/null\n')
    return execute(PSQL + ['-c', 'SELECT pg_reload_conf()', '-o', '/dev/null'], '')


def run_block(block):
    """Run a block; return its exit status and what it printed."""
    if block.kind == 'sql':
        return execute(PSQL, block.text)
    if block.kind == 'sh':
        return execute(['bash', '-e', '-u', '-o', 'pipefail', '-c', block.text], '')
    return configure(block)


def squeeze(line, numbers_vary):
    """Make lines comparable: blanks at the end don't count, with numbers_vary neither do numbers and widths."""
    line = line.rstrip()
    if numbers_vary:
        line = re.sub(r'\d[\d,]*(\.\d+)?', '0', line)
        line = re.sub(r'-{2,}', '--', line)
        line = re.sub(r'\s+', ' ', line).strip()
    return line


def matches(shown, found, numbers_vary):
    """Is the output what the document shows?  A line '...' stands for any lines, '...' within one for anything."""
    def trim(text):
        lines = [squeeze(l, numbers_vary) for l in text.split('\n')]
        return '\n'.join(l for l in lines if l)
    pattern = re.escape(trim(shown)).replace('\\.\\.\\.\\\n', '(?:.*\n)*?').replace('\n\\.\\.\\.', '(?:\n.*)*?')
    pattern = pattern.replace('\\.\\.\\.', '.*')
    return re.fullmatch(pattern, trim(found)) is not None


def wanted_status(block, status):
    """Has the command ended as the document says?"""
    return (status != 0) if block.mark.startswith('fails') else status == 0


class Document:
    """One document on its way through the server."""

    def __init__(self, path, first=1, last=1 << 30):
        self.path = path
        self.first, self.last = first, last
        self.output = None
        self.failed = False
        self.fill = os.environ.get('DOCS_FILL') == '1'
        self.found = []

    def verdict(self, block, complaint):
        where = '%s:%d' % (os.path.basename(self.path), block.line)
        if complaint:
            self.failed = True
            print(complaint.rstrip())
        print('%s %s' % ('not ok' if complaint else 'ok', where), flush=True)

    def compare(self, block):
        """A block that shows an output."""
        if block.mark.startswith('example'):
            return
        if self.output is None:
            self.verdict(block, 'no command stands before this output')
        elif self.fill:
            self.found.append((block, self.output))
        elif matches(block.text, self.output, block.mark.startswith('numbers vary')):
            self.verdict(block, None)
        else:
            self.verdict(block, 'shown:\n%s\nfound:\n%s' % (block.text, self.output))

    def run(self, block):
        """A block that is a command."""
        if block.mark.startswith('not run:') and len(block.mark) > len('not run: '):
            self.output = None
            return
        status, self.output = run_block(block)
        if wanted_status(block, status):
            self.verdict(block, None)
        else:
            self.verdict(block, '%s\nended with status %d:\n%s' % (block.text, status, self.output))
            self.output = None

    def write_found(self):
        """Put the outputs found into the document."""
        lines = open(self.path, encoding='utf-8').read().split('\n')
        for block, output in reversed(self.found):
            if matches(block.text, output, block.mark.startswith('numbers vary')):
                continue
            indent = ' ' * (len(lines[block.line - 1]) - len(lines[block.line - 1].lstrip()))
            body = [(indent + l).rstrip() for l in output.rstrip('\n').split('\n')]
            lines[block.line:block.line + block.text.count('\n')] = body
        with open(self.path, 'w', encoding='utf-8') as f:
            f.write('\n'.join(lines))

    def go(self):
        for block in read_blocks(self.path):
            if not self.first <= block.line <= self.last:
                continue
            if block.kind in RUN:
                self.run(block)
            elif block.kind in SHOWN and not block.hidden:
                self.compare(block)
            elif block.kind not in NOT_RUN or block.hidden:
                self.verdict(block, 'a block of unknown kind "%s"' % block.kind)
        if self.fill:
            self.write_found()


if __name__ == '__main__':
    document = Document(sys.argv[1], *[int(n) for n in sys.argv[2:4]])
    document.go()
    sys.exit(1 if document.failed else 0)
