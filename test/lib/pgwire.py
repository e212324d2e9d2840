"""A small client for PostgreSQL's wire protocol, for tests.

Purpose: drive several sessions from one process, in an order the test decides, with nothing but
Python's standard library.  Only what the tests need: trust authentication over a Unix socket, the
simple query protocol, COPY FROM STDIN with data given up front, results as text.

A session is either idle or has one statement under way: send() starts one, done() tells whether
its end has been read, result() waits for it.  query() is send() and result() in one.
"""

import select
import socket
import struct
import time

import patience


class ServerError(Exception):
    """An ERROR the server reported; the session stays usable."""

    def __init__(self, fields):
        self.sqlstate = fields.get('C', '?????')
        self.message = fields.get('M', '')
        self.detail = fields.get('D', '')
        self.hint = fields.get('H', '')
        super().__init__('%s: %s' % (self.sqlstate, self.message))


class ConnectionLost(Exception):
    """The server closed the connection or could not be reached."""


class Result:
    """Rows (tuples of str or None), column names and command tags of one query string."""

    def __init__(self):
        self.rows = []
        self.columns = []
        self.tags = []
        self.error = None


class Session:
    def __init__(self, host, port, dbname='postgres', user='postgres', options='', name='test'):
        self.buffer = b''
        self.pending = None
        self.copy_data = None
        self.ended = False
        self.pid = 0
        self.status = b'I'
        self.notices = []
        try:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(600)
            self.sock.connect('%s/.s.PGSQL.%d' % (host, port))
            params = {'user': user, 'database': dbname, 'application_name': name,
                      'client_encoding': 'UTF8'}
            if options:
                params['options'] = options
            body = b''.join(k.encode() + b'\0' + v.encode() + b'\0' for k, v in params.items())
            body = struct.pack('!i', 196608) + body + b'\0'
            self.sock.sendall(struct.pack('!i', len(body) + 4) + body)
        except OSError as e:
            raise ConnectionLost(str(e))
        self.pending = Result()
        res = self.result()
        del res

    # -- sending ---------------------------------------------------------

    def _message(self, kind, body):
        try:
            self.sock.sendall(kind + struct.pack('!i', len(body) + 4) + body)
        except OSError as e:
            raise ConnectionLost(str(e))

    def send(self, sql, copy_data=None):
        """Start a statement.  copy_data (bytes) answers a COPY FROM STDIN in it."""
        assert self.pending is None, 'a statement is under way'
        self.pending = Result()
        self.ended = False
        self.copy_data = copy_data
        self._message(b'Q', sql.encode() + b'\0')

    def close(self):
        try:
            self._message(b'X', b'')
        except ConnectionLost:
            pass
        self.sock.close()

    # -- receiving -------------------------------------------------------

    def _fill(self, timeout):
        """Read what is there, waiting up to timeout seconds; False if nothing came."""
        ready, _, _ = select.select([self.sock], [], [], timeout)
        if not ready:
            return False
        try:
            data = self.sock.recv(1 << 18)
        except OSError as e:
            raise ConnectionLost(str(e))
        if not data:
            raise ConnectionLost('server closed the connection')
        self.buffer += data
        return True

    def _parse(self):
        """Take all complete messages off the buffer."""
        pos = 0
        buf = self.buffer
        while len(buf) - pos >= 5:
            size = struct.unpack_from('!i', buf, pos + 1)[0]
            if len(buf) - pos < size + 1:
                break
            self._handle(buf[pos:pos + 1], buf[pos + 5:pos + 1 + size])
            pos += size + 1
        self.buffer = buf[pos:]

    @staticmethod
    def _fields(body):
        out = {}
        for part in body.split(b'\0'):
            if part:
                out[chr(part[0])] = part[1:].decode('utf8', 'replace')
        return out

    def _handle(self, kind, body):
        res = self.pending
        if kind == b'D':
            count = struct.unpack_from('!h', body)[0]
            pos = 2
            row = []
            for _ in range(count):
                size = struct.unpack_from('!i', body, pos)[0]
                pos += 4
                if size < 0:
                    row.append(None)
                else:
                    row.append(body[pos:pos + size].decode('utf8', 'replace'))
                    pos += size
            res.rows.append(tuple(row))
        elif kind == b'T':
            res.columns = []
            res.rows = []
            pos = 2
            for _ in range(struct.unpack_from('!h', body)[0]):
                end = body.index(b'\0', pos)
                res.columns.append(body[pos:end].decode())
                pos = end + 19
        elif kind == b'C':
            res.tags.append(body[:-1].decode())
        elif kind == b'E':
            fields = self._fields(body)
            if fields.get('S') in ('FATAL', 'PANIC'):
                raise ConnectionLost(fields.get('M', ''))
            res.error = ServerError(fields)
        elif kind == b'N':
            self.notices.append(self._fields(body).get('M', ''))
            del self.notices[:-10000]
        elif kind == b'A':
            channel, payload = body[4:].split(b'\0')[:2]
            self.notices.append('notification %s: %s' % (channel.decode(), payload.decode()))
        elif kind == b'G':
            if self.copy_data is None:
                self._message(b'f', b'no data given\0')
            else:
                for i in range(0, len(self.copy_data), 1 << 16):
                    self._message(b'd', self.copy_data[i:i + (1 << 16)])
                self._message(b'c', b'')
        elif kind == b'd':
            res.rows.append((body.decode('utf8', 'replace'),))
        elif kind == b'K':
            self.pid = struct.unpack_from('!i', body)[0]
        elif kind == b'R':
            if struct.unpack_from('!i', body)[0] != 0:
                raise ConnectionLost('only trust authentication is known here')
        elif kind == b'Z':
            self.status = body
            self.ended = True

    def done(self, timeout=0.0):
        """Whether the statement under way has ended; waits up to timeout seconds."""
        self._parse()
        end = time.monotonic() + timeout
        while not self.ended:
            left = end - time.monotonic()
            if not self._fill(max(left, 0)):
                return False
            self._parse()
        return True

    def result(self, timeout=600):
        """The result of the statement under way; raises ServerError, ConnectionLost, TimeoutError.

        timeout: in seconds of a quiet machine, see patience.py."""
        limit = patience.Patience(timeout)
        while not self.done(1.0):
            if limit.over():
                raise TimeoutError('no answer within %d s, even of a quiet machine' % timeout)
        res, self.pending = self.pending, None
        if res.error:
            raise res.error
        return res

    def query(self, sql, copy_data=None, timeout=600):
        self.send(sql, copy_data)
        return self.result(timeout)

    def rows(self, sql):
        return self.query(sql).rows

    def value(self, sql):
        return self.query(sql).rows[0][0]
