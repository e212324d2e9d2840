# shellcheck shell=bash
# Throwaway clusters for the tests, the demo and the benchmarks. Sourced, not run.
#
#   . test/lib/server.sh
#   work_open                     a work folder $VDB_WORK, removed at exit (kept with VDB_KEEP=1)
#   server_create [NAME]          initdb and start; the cluster is the current one from then on
#   server_conf 'name = value'... settings for the next start (server_create starts with them too)
#   server_start, server_stop [MODE], server_restart
#   server_kill9                  SIGKILL to the postmaster and every child, and wait until all are gone
#   server_wait_up [SECONDS]      (of a quiet machine, see patience.sh) wait until a server that restarts by itself takes connections again
#   backend_kill9 PID             SIGKILL to one backend; the postmaster then restarts the others
#   sql 'SELECT ...' [PSQL ARGS]  one value or row per line, '|' between columns; fails on errors
#   psql_as ...                   psql on the current cluster
#
# Knobs (environment):
#   VDB_TEST_AM   vdb (default) | heap     heap: no extension, to check a script against plain PostgreSQL
#   VDB_POOL      emulated (default) | pmem  pmem: pool on tmpfs, libpmem told to take it for persistent memory
#   VDB_FSYNC     on (default) | off
#   VDB_TMP       parent of the work folder (default /tmp; keep it short: it holds a socket)
#   VDB_KEEP      1: leave the work folder behind and say where it is
#   PG_CONFIG     which server
#   VDB_TEMPLATES a folder: initdb runs once for each set of options, see initdb_once
#
# A server never listens on TCP; its socket lies in the work folder. Started by root, servers run as
# the OS user in VDB_OSUSER (default postgres), since PostgreSQL refuses to run as root.

. "$(dirname "${BASH_SOURCE[0]}")/patience.sh"

: "${VDB_TEST_AM:=vdb}" "${VDB_POOL:=emulated}" "${VDB_FSYNC:=on}" "${VDB_TMP:=/tmp}" "${VDB_KEEP:=0}"
if [ -z "${PG_CONFIG:-}" ]; then
	PG_CONFIG=/usr/lib/postgresql/15/bin/pg_config
	[ -x "$PG_CONFIG" ] || PG_CONFIG=pg_config
fi
PGBIN=$("$PG_CONFIG" --bindir)
case $PATH in "$PGBIN":*) ;; *) PATH=$PGBIN:$PATH ;; esac
VDB_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export VDB_TEST_AM VDB_POOL VDB_FSYNC PG_CONFIG PGBIN VDB_TOP
export PGUSER=postgres PGDATABASE=postgres PGCONNECT_TIMEOUT=300 PSQLRC=/dev/null
unset PGSERVICE PGOPTIONS PGPASSFILE

VDB_WORK=''
VDB_CLUSTERS=()				# data folders of this script's clusters
VDB_SHM_DIRS=()				# pools on tmpfs

if [ "$(id -u)" = 0 ]; then
	: "${VDB_OSUSER:=postgres}"
else
	VDB_OSUSER=$(id -un)
fi

die() { echo "error: $*" >&2; exit 1; }

# Runs a command as the OS user that owns the servers, with this environment.
as_server() {
	if [ "$(id -un)" = "$VDB_OSUSER" ]; then
		(cd "$VDB_WORK" && "$@")
	else
		(cd "$VDB_WORK" && HOME=$VDB_WORK exec setpriv --reuid="$VDB_OSUSER" --regid="$VDB_OSUSER" --init-groups "$@")
	fi
}

work_open() {
	[ -z "$VDB_WORK" ] || return 0
	VDB_WORK=$(mktemp -d "$VDB_TMP/vdb.XXXXXX") || die "no work folder under $VDB_TMP"
	chmod 755 "$VDB_WORK"
	[ "$(id -un)" = "$VDB_OSUSER" ] || chown "$VDB_OSUSER" "$VDB_WORK"
	trap work_close EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
}

work_close() {
	local status=$? d
	trap - EXIT
	for d in ${VDB_CLUSTERS[@]+"${VDB_CLUSTERS[@]}"}; do
		PGDATA=$d
		[ ! -e "$d/postmaster.pid" ] || server_stop immediate >/dev/null 2>&1 || server_kill9
	done
	if [ "$VDB_KEEP" = 1 ]; then
		echo "kept: $VDB_WORK ${VDB_SHM_DIRS[*]-}" >&2
	else
		rm -rf "$VDB_WORK" ${VDB_SHM_DIRS[@]+"${VDB_SHM_DIRS[@]}"}
	fi
	exit $status
}

server_conf() { printf '%s\n' "$@" | as_server tee -a "$PGDATA/postgresql.conf" >/dev/null; }

# initdb only; arguments after the name are settings.
server_init() {
	local name=${1:-main}
	shift || true
	work_open
	export PGDATA=$VDB_WORK/$name PGHOST=$VDB_WORK PGPORT=$((5440 + ${#VDB_CLUSTERS[@]}))
	SERVER_LOG=$VDB_WORK/$name.log
	local initdb=("$PGBIN/initdb")
	[ -z "${VDB_TEMPLATES:-}" ] || ! as_server test -x "$VDB_TOP/test/lib/initdb_once" || initdb=("$VDB_TOP/test/lib/initdb_once" "${initdb[@]}")
	as_server "${initdb[@]}" -D "$PGDATA" -U postgres -A trust --no-locale -E UTF8 --data-checksums -N \
		>"$VDB_WORK/$name.initdb" 2>&1 || { cat "$VDB_WORK/$name.initdb" >&2; die "initdb failed"; }
	VDB_CLUSTERS+=("$PGDATA")
	server_conf "listen_addresses = ''" "unix_socket_directories = '$VDB_WORK'" "port = $PGPORT" \
		"fsync = $VDB_FSYNC" "max_connections = 100" "log_line_prefix = '%m [%p] %q%a '" \
		"timezone = 'UTC'" "max_prepared_transactions = 10"
	[ "$VDB_TEST_AM" = heap ] || server_conf "shared_preload_libraries = 'vdb_am'"
	[ $# -eq 0 ] || server_conf "$@"
}

# The postmaster is a child of this shell, not of pg_ctl: a killed one is then reaped at once. (Its
# zombie would count as running for the next start, and not every container's init reaps in time.)
server_start() {
	local pid env=()
	[ "$VDB_POOL" != pmem ] || env=(PMEM_IS_PMEM_FORCE=1)
	as_server env ${env[@]+"${env[@]}"} setsid "$PGBIN/postgres" -D "$PGDATA" >>"$SERVER_LOG" 2>&1 </dev/null &
	pid=$!
	disown "$pid"
	patient 120 started_or_dead "$pid"
	if ! kill -0 "$pid" 2>/dev/null || ! "$PGBIN/pg_isready" -q -t 60; then
		tail -n 20 "$SERVER_LOG" >&2
		die "the server did not start"
	fi
}

started_or_dead() { "$PGBIN/pg_isready" -q || ! kill -0 "$1" 2>/dev/null; }

server_stop() { as_server "$PGBIN/pg_ctl" -D "$PGDATA" -w -t $((120 * $(slowness))) -m "${1:-fast}" stop >/dev/null; }

server_restart() { server_stop "${1:-fast}"; server_start; }

# With VDB_POOL=pmem: a tablespace on tmpfs, in which CREATE EXTENSION puts every database's pool.
pool_on_tmpfs() {
	local d
	d=$(mktemp -d /dev/shm/vdb.XXXXXX) || die "no folder in /dev/shm"
	VDB_SHM_DIRS+=("$d")
	[ "$(id -un)" = "$VDB_OSUSER" ] || chown "$VDB_OSUSER" "$d"
	sql "CREATE TABLESPACE vdb_scm LOCATION '$d'" >/dev/null
	[ "$VDB_TEST_AM" = heap ] && return
	sql "ALTER SYSTEM SET vdb.scm_tablespace = 'vdb_scm'" >/dev/null
	sql "SELECT pg_reload_conf()" >/dev/null
}

server_create() {
	server_init "$@"
	server_start
	[ "$VDB_POOL" != pmem ] || pool_on_tmpfs
}

# A folder that holds test/, sql/ and expected/ and that the servers' OS user can read: the repository,
# or a copy of these if it lies where that user may not look.
readable_top() {
	work_open
	if as_server test -r "$VDB_TOP/test/run_all"; then
		echo "$VDB_TOP"
	else
		mkdir -p "$VDB_WORK/top"
		cp -R "$VDB_TOP"/{test,sql,expected,src,Makefile} "$VDB_WORK/top/"
		chmod -R a+rX "$VDB_WORK/top"
		echo "$VDB_WORK/top"
	fi
}

psql_as() { "$PGBIN/psql" -X "$@"; }

sql() {
	local q=$1
	shift
	"$PGBIN/psql" -X -q -A -t -v ON_ERROR_STOP=1 "$@" -c "$q"
}

# The extension in the current database; nothing to do on heap.
extension_create() { [ "$VDB_TEST_AM" = heap ] || sql 'CREATE EXTENSION vdb_am' "$@" >/dev/null; }

# The processes whose parent is $1, from /proc: ps need not be installed.
children_of() {
	local f line
	for f in /proc/[0-9]*/stat; do
		read -r line 2>/dev/null <"$f" || continue
		line=${line##*) }				# state, then parent
		set -- "$1" $line
		[ "$3" != "$1" ] || { f=${f#/proc/}; echo "${f%/stat}"; }
	done
}

is_zombie() { [ "$(cut -d' ' -f3 "/proc/$1/stat" 2>/dev/null)" = Z ]; }

server_kill9() {
	local pid pids p
	pid=$(head -n 1 "$PGDATA/postmaster.pid" 2>/dev/null) || return 0
	kill -STOP "$pid" 2>/dev/null || true	# no new child while we list them
	pids="$pid $(children_of "$pid" | tr '\n' ' ')"
	# shellcheck disable=SC2086
	kill -9 $pids 2>/dev/null || true
	for p in $pids; do
		patient 30 gone "$p" "$pid" || die "process $p does not go away"
	done
}

# A dead child of a dead postmaster may be a zombie for a while; the postmaster itself is this shell's.
gone() { ! kill -0 "$1" 2>/dev/null || { [ "$1" != "$2" ] && is_zombie "$1"; }; }

backend_kill9() { kill -9 "$1"; }

server_wait_up() {
	patient "${1:-60}" answers || { tail -n 20 "$SERVER_LOG" >&2; return 1; }
}

answers() { "$PGBIN/psql" -X -q -A -t -c 'SELECT 1' >/dev/null 2>&1; }
