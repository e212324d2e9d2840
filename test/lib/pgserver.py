"""Throwaway PostgreSQL servers for the tests written in Python.

become_postgres() gives up root, since the server refuses to run as root: everything after it, the
test's own files included, belongs to the user named by VDB_TEST_OSUSER (default postgres).

Server is one cluster in a directory of its own, reachable by a Unix socket only.  With access
method vdb the library is preloaded and the extension is created in template1.

Environment: VDB_TEST_AM (vdb or heap), PG_CONFIG, VDB_TEST_CONF (extra configuration, lines or
semicolon-separated), PMEM_IS_PMEM_FORCE (handed to the server), VDB_TEST_KEEP (keep directories).
"""

import atexit
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import patience
import pgwire


def access_method():
    return os.environ.get('VDB_TEST_AM', 'vdb')


def pg_config(what):
    tool = os.environ.get('PG_CONFIG', 'pg_config')
    return subprocess.check_output([tool, '--' + what], text=True).strip()


def pgxs_dir():
    """The folder of the installed src/test tree (pg_regress, isolationtester, perl modules)."""
    return os.path.dirname(os.path.dirname(os.path.dirname(pg_config('pgxs'))))


def become_postgres():
    """Drop root for good; harmless for any other user."""
    if os.geteuid() != 0:
        return
    entry = pwd.getpwnam(os.environ.get('VDB_TEST_OSUSER', 'postgres'))
    os.initgroups(entry.pw_name, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    os.environ['HOME'] = '/tmp'
    os.environ['USER'] = entry.pw_name
    os.chdir('/tmp')


def work_dir(prefix):
    """A new directory, removed at exit unless VDB_TEST_KEEP is set or keep() was called."""
    path = tempfile.mkdtemp(prefix=prefix + '.', dir=os.environ.get('VDB_TEST_TMP', '/tmp'))
    owner = os.getpid()

    def remove():
        if os.getpid() == owner and not os.environ.get('VDB_TEST_KEEP') and path not in _kept:
            shutil.rmtree(path, ignore_errors=True)
    atexit.register(remove)
    return path


_kept = set()


def keep(path):
    """Do not remove this work directory at exit."""
    _kept.add(path)


def children(pid):
    """Process ids of the direct children of pid."""
    found = []
    for name in os.listdir('/proc'):
        if name.isdigit():
            try:
                with open('/proc/%s/stat' % name) as f:
                    stat = f.read()
                if int(stat[stat.rindex(')') + 2:].split()[1]) == pid:
                    found.append(int(name))
            except (OSError, ValueError):
                pass
    return found


class Server:
    def __init__(self, base, name='node', am=None, conf='', preload=None, initdb_args=(), backup_of=None):
        """A new cluster, or with backup_of a backup of another, taken now."""
        self.am = am or access_method()
        self.bin = pg_config('bindir')
        self.data = os.path.join(base, name)
        self.log = os.path.join(base, name + '.log')
        self.sock = tempfile.mkdtemp(prefix='vdbsock.', dir='/tmp')
        self.port = 5432
        atexit.register(self.cleanup, os.getpid())
        if backup_of:
            subprocess.check_call([os.path.join(self.bin, 'pg_basebackup'), '-D', self.data, '-N', '-c', 'fast',
                                   '-h', backup_of.sock, '-p', str(backup_of.port), '-U', 'postgres'])
        else:
            once = [os.path.join(os.path.dirname(os.path.abspath(__file__)), 'initdb_once')] if os.environ.get('VDB_TEMPLATES') else []
            subprocess.check_call([*once, os.path.join(self.bin, 'initdb'), '-D', self.data, '-U', 'postgres',
                                   '-A', 'trust', '--encoding=UTF8', '--locale=C', '-N', *initdb_args],
                                  stdout=subprocess.DEVNULL)
        lines = ["listen_addresses = ''", "unix_socket_directories = '%s'" % self.sock,
                 'port = %d' % self.port, 'fsync = off', 'max_connections = 60',
                 "log_line_prefix = '%m [%p] %q%a '", 'log_min_messages = log',
                 'restart_after_crash = on', 'max_prepared_transactions = 10',
                 'shared_buffers = 128MB', 'max_wal_size = 4GB',
                 # a server that is killed for good should leave nothing in shared memory
                 'dynamic_shared_memory_type = mmap']
        if preload is None:
            preload = self.am == 'vdb'
        if preload:
            lines.append("shared_preload_libraries = 'vdb_am'")
        lines += conf.splitlines()
        lines += os.environ.get('VDB_TEST_CONF', '').replace(';', '\n').splitlines()
        with open(os.path.join(self.data, 'postgresql.conf'), 'a') as f:
            f.write('\n'.join(lines) + '\n')

    def append_conf(self, text):
        with open(os.path.join(self.data, 'postgresql.conf'), 'a') as f:
            f.write(text + '\n')

    def clear_pid_file(self):
        """Take away the lock files of a postmaster that is dead but not yet reaped by init."""
        pid = self.postmaster_pid()
        if pid and _zombie(pid):
            for path in (os.path.join(self.data, 'postmaster.pid'),
                         '%s/.s.PGSQL.%d.lock' % (self.sock, self.port)):
                if os.path.exists(path):
                    os.unlink(path)

    def start(self, timeout=120):
        self.clear_pid_file()
        env = dict(os.environ)
        for name in list(env):
            if name.startswith('PG') and name not in ('PG_CONFIG',):
                del env[name]
        code = self.pg_ctl('-l', self.log, 'start', timeout=timeout, env=env)
        if code != 0:
            raise RuntimeError('the server did not start; its log ends:\n' + self.log_tail(30))

    def pg_ctl(self, *args, timeout, env=None):
        """Its exit status; None when it did not end within that many seconds of this machine."""
        p = subprocess.Popen([os.path.join(self.bin, 'pg_ctl'), '-D', self.data, '-w', '-t', '86400', *args], env=env,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if not patience.Patience(timeout).wait_for(lambda: p.poll() is not None):
            p.kill()
            p.wait()
            return None
        return p.returncode

    def create_extension(self):
        """The extension in template1 and postgres, so that every new database has it."""
        if self.am != 'vdb':
            return
        for db in ('template1', 'postgres'):
            s = self.connect(db)
            s.query('CREATE EXTENSION IF NOT EXISTS vdb_am')
            s.close()

    def stop(self, mode='fast'):
        self.pg_ctl('-m', mode, 'stop', timeout=60)

    def postmaster_pid(self):
        try:
            with open(os.path.join(self.data, 'postmaster.pid')) as f:
                return int(f.readline())
        except (OSError, ValueError):
            return 0

    def running(self):
        pid = self.postmaster_pid()
        if not pid:
            return False
        try:
            with open('/proc/%d/stat' % pid) as f:
                return f.read().rsplit(')', 1)[1].split()[0] != 'Z'
        except OSError:
            return False

    def kill_all(self):
        """kill -9 of the postmaster and all its children, as a power cut would look to them."""
        pid = self.postmaster_pid()
        if not pid:
            return
        try:
            os.kill(pid, signal.SIGSTOP)
        except ProcessLookupError:
            return
        victims = children(pid)
        for victim in victims + [pid]:
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:
                pass
        patience.Patience(30).wait_for(
            lambda: not any(os.path.exists('/proc/%d' % p) and not _zombie(p) for p in victims + [pid]), 0.02)

    def connect(self, dbname='postgres', options='', name='test', user='postgres'):
        return pgwire.Session(self.sock, self.port, dbname, user, options, name)

    def wait_ready(self, dbname='postgres', seconds=60):
        limit = patience.Patience(seconds)
        while True:
            try:
                s = self.connect(dbname)
                s.close()
                return
            except pgwire.ConnectionLost:
                if limit.over():
                    raise RuntimeError('the server does not come back; its log ends:\n'
                                       + self.log_tail(30))
                time.sleep(0.1)

    def log_tail(self, count):
        try:
            with open(self.log, errors='replace') as f:
                return ''.join(f.readlines()[-count:])
        except OSError:
            return '(no log)'

    def crash_reports(self):
        """Log lines that tell of a crash: (line, statement that ran or '')."""
        found = []
        try:
            with open(self.log, errors='replace') as f:
                lines = f.read().splitlines()
        except OSError:
            return found
        for i, line in enumerate(lines):
            if re.search(r'was terminated by signal|PANIC:|TRAP:', line):
                what = ''
                for later in lines[i + 1:i + 3]:
                    m = re.search(r'Failed process was running: (.*)', later)
                    if m:
                        what = m.group(1)
                found.append((line, what))
        return found

    def environment(self, dbname='postgres'):
        """Environment in which client programs find this server."""
        env = dict(os.environ)
        env.update(PGHOST=self.sock, PGPORT=str(self.port), PGUSER='postgres', PGDATABASE=dbname,
                   PATH=self.bin + ':' + env.get('PATH', ''))
        return env

    def cleanup(self, owner):
        if os.getpid() != owner:
            return
        if self.running():
            self.stop('immediate')
        shutil.rmtree(self.sock, ignore_errors=True)


def _zombie(pid):
    try:
        with open('/proc/%d/stat' % pid) as f:
            return f.read().rsplit(')', 1)[1].split()[0] == 'Z'
    except OSError:
        return True


def install_helpers(server, dbname='postgres'):
    """Create test_migrate() and the other SQL helpers in a database."""
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, 'helpers.sql')) as f:
        sql = f.read()
    s = server.connect(dbname)
    s.query(sql)
    s.close()


def fail(message):
    print(message, file=sys.stderr)
    sys.exit(1)
