"""Scripts of SQL: statements, and marks between them."""


def statements(text):
    """
    (line, marks, SQL) of each statement: it ends with a semicolon at the end of a line, outside of $$.
    Marks are the comments that begin a line since the statement before, without their '-- '.
    """
    marks, lines, inside = [], [], False
    for number, line in enumerate(text.splitlines(), 1):
        if not lines and (not line.strip() or line.startswith('--')):
            if line.startswith('-- '):
                marks.append(line[3:].strip())
            continue
        lines.append(line)
        inside ^= line.count('$$') % 2 == 1
        if line.endswith(';') and not inside:
            yield number, marks, '\n'.join(lines)
            marks, lines = [], []
    assert not lines, 'the last statement does not end: ' + lines[0]
