#!/usr/bin/env bash
# Makes a fresh Debian 12 able to build, install and run the extension, then builds and installs it.
#
#   test/setup.sh            packages, build, install
#   test/setup.sh packages   packages only
#   test/setup.sh needs      prints the packages it takes care of, each with the sign that it is there
#
# Asks apt only for what is missing, as root or through sudo; starts no server and makes no cluster.
# PG_CONFIG names another server; then its packages are taken to be there. VDB_EXTENSIONS names packages of
# extensions that are welcome ('pgtap partman': postgresql-15-pgtap, postgresql-15-partman), VDB_PROGRAMS of other
# programs: sqlsmith, and bacula, which is not installed (that would start its daemons) but unpacked to build/bacula.
# Without any of these it goes on, too.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(id -u)" = 0 ]; then root=(); else root=(sudo); fi

# Package, and a file or command that shows it is there: one that no other package brings. (perl-base has the command
# perl, python3-minimal has python3, postgresql-client-15 has pgxs.mk.) test/lint asks dpkg whether that holds.
needs=(
	'make:make' 'gcc:gcc' 'perl:prove' 'xz-utils:xz' 'libc6-dev:/usr/include/stdio.h'
	'libpmem-dev:/usr/include/libpmem.h' 'libzstd-dev:/usr/include/zstd.h'
	'libipc-run-perl:/usr/share/perl5/IPC/Run.pm' 'util-linux:setpriv' 'python3:pydoc3' 'binutils:nm'
)
if [ -z "${PG_CONFIG:-}" ]; then
	needs+=('postgresql-15:/usr/lib/postgresql/15/bin/postgres'
		'postgresql-client-15:/usr/lib/postgresql/15/bin/psql'
		'postgresql-server-dev-15:/usr/include/postgresql/15/server/postgres.h')
fi
if [ "${1:-}" = needs ]; then
	printf '%s\n' "${needs[@]}"
	exit
fi

missing=()
for n in "${needs[@]}"; do
	what=${n#*:}
	case $what in
		/*) [ -e "$what" ] || missing+=("${n%%:*}") ;;
		*) command -v "$what" >/dev/null || missing+=("${n%%:*}") ;;
	esac
done

welcome=()
if [ -z "${PG_CONFIG:-}" ]; then
	for e in ${VDB_EXTENSIONS:-}; do
		case $e in	# another package brings PostGIS's control file, and does not need the library; output plugins have none
			partman) sign=/usr/share/postgresql/15/extension/pg_partman.control ;;
			postgis-3 | wal2json | decoderbufs) sign=/usr/lib/postgresql/15/lib/$e.so ;;
			*) sign=/usr/share/postgresql/15/extension/$e.control ;;
		esac
		[ -e "$sign" ] || welcome+=("postgresql-15-$e")
	done
fi
case " ${VDB_PROGRAMS:-} " in *' sqlsmith '*) command -v sqlsmith >/dev/null || welcome+=(sqlsmith) ;; esac
if [ ${#welcome[@]} -gt 0 ]; then
	command -v apt-get >/dev/null || welcome=()
	[ "$(id -u)" = 0 ] || command -v sudo >/dev/null || welcome=()
fi

if [ ${#missing[@]} -gt 0 ] || [ ${#welcome[@]} -gt 0 ]; then
	command -v apt-get >/dev/null || { echo "missing: ${missing[*]} (and no apt-get here)" >&2; exit 1; }
	if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
		echo "missing: ${missing[*]}; install them, or run this as root" >&2
		exit 1
	fi
	echo "installing: ${missing[*]} ${welcome[*]}"
	apt_log=$(mktemp)
	export DEBIAN_FRONTEND=noninteractive
	# postgresql-common makes a cluster 'main' for a newly installed server unless told not to
	no_cluster=/etc/postgresql-common/createcluster.d/vdb_am.conf
	"${root[@]}" mkdir -p "${no_cluster%/*}"
	echo 'create_main_cluster = false' | "${root[@]}" tee "$no_cluster" >/dev/null
	updated=''
	install() {
		[ -n "$updated" ] || "${root[@]}" apt-get update -q || return
		updated=1
		"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
	}
	[ ${#missing[@]} -eq 0 ] || install "${missing[@]}" >"$apt_log" 2>&1 ||
		{ tail -n 20 "$apt_log" >&2; rm -f "$apt_log"; "${root[@]}" rm -f "$no_cluster"; exit 1; }
	[ ${#welcome[@]} -eq 0 ] || install "${welcome[@]}" >"$apt_log" 2>&1 || echo "goes on without: ${welcome[*]}"
	rm -f "$apt_log"
	"${root[@]}" rm -f "$no_cluster"
fi

# Bacula's daemons, its script that makes the catalog, and libraries that not every Debian has
unpack_bacula() {
	local d status=0
	local packages=(bacula-common bacula-common-pgsql bacula-director bacula-director-pgsql bacula-sd bacula-fd bacula-console
		libwrap0 liblzo2-2 libnsl2 libtirpc3 libreadline8 libcap2 libacl1)
	d=$(mktemp -d)
	chmod 755 "$d"
	{
		(cd "$d" && apt-get download "${packages[@]}") ||
			{ "${root[@]}" apt-get update -q && (cd "$d" && apt-get download "${packages[@]}"); } || status=1
		for f in "$d"/*.deb; do [ $status != 0 ] || dpkg-deb -x "$f" "$d/root" || status=1; done
		rm -rf "$d"/root/usr/share/{doc,man,locale}
		[ $status != 0 ] || { mkdir -p build && rm -rf build/bacula && mv "$d/root" build/bacula && chmod -R a+rX build/bacula; } || status=1
	} >"$d/log" 2>&1 || status=1
	[ $status = 0 ] || tail -n 3 "$d/log"
	rm -rf "$d"
	return $status
}
case " ${VDB_PROGRAMS:-} " in *' bacula '*)
	if [ ! -x build/bacula/usr/sbin/bacula-dir ]; then
		echo 'downloading: bacula'
		{ command -v apt-get && command -v dpkg-deb; } >/dev/null && unpack_bacula || echo 'goes on without: bacula'
	fi ;;
esac
[ "${1:-}" = packages ] && exit

# The server that Debian 12 has, even where another pg_config comes first
if [ -z "${PG_CONFIG:-}" ]; then
	PG_CONFIG=/usr/lib/postgresql/15/bin/pg_config
	[ -x "$PG_CONFIG" ] || PG_CONFIG=pg_config
fi

mkdir -p build
log=build/build.log
if ! make -j"$(nproc)" PG_CONFIG="$PG_CONFIG" all >"$log" 2>&1; then
	grep -E ': (fatal )?error|: warning|\*\*\*|undefined reference' "$log" | head -n 30 >&2 || true
	echo "the build failed: $log" >&2
	exit 1
fi

# Install what is new only: a second run needs no root at all
so=$("$PG_CONFIG" --pkglibdir)/vdb_am.so
share=$("$PG_CONFIG" --sharedir)/extension
current() {
	local f
	cmp -s vdb_am.so "$so" && cmp -s vdb_am.control "$share/vdb_am.control" || return 1
	for f in sql/install/*.sql; do cmp -s "$f" "$share/${f##*/}" || return 1; done
}
if ! current; then
	"${root[@]}" make PG_CONFIG="$PG_CONFIG" install >>"$log" 2>&1 ||
		{ tail -n 20 "$log" >&2; echo "the installation failed: $log" >&2; exit 1; }
fi
