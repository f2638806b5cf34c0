#!/bin/sh
# Builds other versions of SQLite than the system's, for tools/test_sqlite.sh and tools/test_hosts.sh. Each goes to
# .data/sqlite/<version>/: libsqlite3.so.0, libsqlite3.a (position-independent) and sqlite3.h. What is there stays.
#
#   tools/fetch_sqlite.sh               all of them; prints their folders, oldest first
#   tools/fetch_sqlite.sh oldest        only these (oldest, middle, late, newest)
#
# Sources, all by package name through the ordinary clients: Debian's source packages (bullseye has 3.34.1, the oldest
# that looplite admits; trixie 3.46.1; sid the newest that is packaged), and from the Python package registry sqlean.py,
# whose source archive holds the file sqlite3.c of 3.50.4. Debian's lists are kept in .data/sqlite/apt, apart from the system's.
# The options are SQLite's own defaults with the usual extensions, unlike Debian's (which switch URIs on and lookaside off).
set -eu
cd "$(dirname "$0")/.."

here=$PWD
cache=$here/.data/sqlite
python=${PYTHON:-python3}
cflags="-O1 -g -w -fPIC -DSQLITE_THREADSAFE=1 -DHAVE_USLEEP=1 -DSQLITE_ENABLE_FTS3 -DSQLITE_ENABLE_FTS4 \
-DSQLITE_ENABLE_FTS5 -DSQLITE_ENABLE_RTREE -DSQLITE_ENABLE_JSON1 -DSQLITE_ENABLE_DBSTAT_VTAB \
-DSQLITE_ENABLE_MATH_FUNCTIONS -DSQLITE_ENABLE_DESERIALIZE"

say() { printf 'sqlite: %s\n' "$*" >&2; }

# apt-get with lists of its own: the system's stay as they are.
apt() {
    apt-get -o Dir::State::lists="$cache/apt/lists" -o Dir::Etc::sourcelist="$cache/apt/sources.list" \
        -o Dir::Etc::sourceparts=/dev/null -o Dir::Cache="$cache/apt/cache" -o APT::Sandbox::User="$(id -un)" "$@"
}

apt_lists() {
    [ -e "$cache/apt/done" ] && return
    command -v apt-get >/dev/null || { say "Debian's source packages need apt-get"; return 1; }
    "$here/tools/need-apt.sh" debian-archive-keyring tcl gcc libc6-dev make || return 1
    mkdir -p "$cache/apt/lists/partial" "$cache/apt/cache/archives/partial"
    # The mirror that this system uses already.
    mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1)
    for suite in bullseye trixie sid; do
        echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
    done >"$cache/apt/sources.list"
    apt -qq update >&2 && touch "$cache/apt/done"
}

# The amalgamation of a Debian suite's source package, in ./sqlite3.c and ./sqlite3.h.
from_debian() {
    apt_lists && apt -qq source --download-only "sqlite3/$1" >&2 &&
        tar -xJf sqlite3_*.orig.tar.xz --strip-components=1 || return 1
    # Where to find Tcl matters for its own extension only, which is not built.
    { ./configure --disable-tcl && make sqlite3.c; } >build.log 2>&1 || { tail -n 20 build.log >&2; return 1; }
}

# The same out of the source archive of a Python package, which has put a few lines of its own below SQLite's.
from_python() {
    "$python" -m pip download --quiet --no-deps --no-binary :all: --dest . "$1" >&2 &&
        tar -xzf ./*.tar.gz --strip-components=1 &&
        sed '/^\/\*\** End of sqlite3.c/,$d' sqlite/sqlite3.c >sqlite3.c && cp sqlite/sqlite3.h .
}

compile() {
    version=$(sed -n 's/^#define SQLITE_VERSION  *"\(.*\)"$/\1/p' sqlite3.h)
    # shellcheck disable=SC2086  # words on purpose
    mkdir -p "$cache/$version" && cc $cflags -c -o sqlite3.o sqlite3.c &&
        ar rcs "$cache/$version/libsqlite3.a" sqlite3.o && cp sqlite3.h "$cache/$version/" &&
        cc -shared -Wl,-soname,libsqlite3.so.0 -o "$cache/$version/libsqlite3.so.0" sqlite3.o -lm -lpthread -ldl &&
        ln -sfn "$version" "$1"
}

# NAME WAY ARGUMENT: set -e does not hold in here, since the caller asks how it went.
fetch() {
    link=$cache/$1
    if [ ! -e "$link/libsqlite3.so.0" ]; then
        work=$cache/work-$1
        rm -rf "$work" && mkdir -p "$work" && say "building the $1 one" || return 1
        (cd "$work" && from_"$2" "$3" && compile "$link") || return 1
        rm -rf "$work"
    fi
    (cd "$link" && pwd -P)
}

status=0
for name in ${*:-oldest middle late newest}; do
    case $name in
    oldest) fetch oldest debian bullseye ;;
    middle) fetch middle debian trixie ;;
    late) fetch late python sqlean.py==3.50.4.5 ;;
    newest) fetch newest debian sid ;;
    *) sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac || { say "the $name one cannot be had here"; status=1; }
done
exit $status
