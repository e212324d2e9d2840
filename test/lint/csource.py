"""The sources as text, in the server's style: a function begins with its name and ends with `}`, both in the first column."""

import glob
import os
import re


def blank(match):
    """Spaces for what is taken out; lines stay where they are."""
    return re.sub(r'[^\n]', ' ', match.group(0))


TOKENS = re.compile(r'(?P<comment>/\*.*?\*/|//[^\n]*)|(?P<string>"(?:\\.|[^"\\\n])*")|(?P<char>\'(?:\\.|[^\'\\\n])+\')', re.S)


def without_comments(text):
    return TOKENS.sub(lambda m: blank(m) if m.group('comment') else m.group(0), text)


def comments(text):
    """(line, text) of each comment."""
    for m in TOKENS.finditer(text):
        if m.group('comment'):
            yield text.count('\n', 0, m.start()) + 1, m.group(0)


def clean(text):
    """Without comments, strings and preprocessor lines."""
    text = TOKENS.sub(lambda m: '"' + ' ' * (len(m.group(0)) - 2) + '"' if m.group('string') else blank(m), text)
    return re.sub(r'^[ \t]*#(?:[^\n]*\\\n)*[^\n]*', blank, text, flags=re.M)


FUNCTION = re.compile(r'^((?:[\w*][^\n;{}]*\n)?)([a-zA-Z_]\w*)\(([^;{}]*?)\)\s*\n\{(.*?)^\}', re.M | re.S)


class Function:
    def __init__(self, path, name, static, line, body, lines):
        self.path, self.name, self.static, self.line, self.body, self.lines = path, name, static, line, body, lines
        self.effect = 0         # under_lock: locks that it leaves taken (1) or released (-1)
        self.calls = []         # under_lock: (line, callee, arguments, held)


def functions(path):
    """The functions that a file defines; line and lines are those of the body, braces included."""
    text = clean(read(path))
    for m in FUNCTION.finditer(text):
        begin = text[:m.start(4)].count('\n') + 1
        yield Function(path, m.group(2), 'static' in m.group(1), begin, m.group(4), m.group(4).count('\n') + 1)


def read(path):
    with open(path, encoding='utf-8') as f:
        return f.read()


def files(top, *patterns):
    """Paths below top that match, relative to it, sorted."""
    return sorted(os.path.relpath(p, top) for pattern in patterns for p in glob.glob(os.path.join(top, pattern)))
