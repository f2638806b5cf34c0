#!/bin/sh
# Sets up and compiles one of the test builds in build/<name>; `meson test -C build/<name>` then runs it.
#
#   tools/build.sh plain    gcc, asserts; the extension too, for its warnings
#   tools/build.sh clang    clang, release without asserts: for its warnings, and what only a release build warns about
#   tools/build.sh asan     AddressSanitizer and UndefinedBehaviorSanitizer
#   tools/build.sh tsan     ThreadSanitizer
#   tools/build.sh ext      the Python package in build/ext/site, sanitized as asan is, its calls into CPython can be made to fail
#   tools/build.sh bench    what is measured: as released, with the programs of bench/c; no tests
set -eu
cd "$(dirname "$0")/.."

name=${1:-}
all="-Dtests=true -Dexamples=true"
compiler=gcc
case $name in
plain) options="-Dpython=enabled" ;;
clang) compiler=clang options="-Dpython=enabled --buildtype=release -Db_ndebug=true" ;;
asan) options="-Db_sanitize=address,undefined -Dc_args=-fno-sanitize-recover=all\ -fno-omit-frame-pointer" ;;
tsan) options="-Db_sanitize=thread -Dc_args=-fno-omit-frame-pointer" ;;
ext)
    all="" options="-Dpython=enabled -Dlibrary=false -Dcapi_faults=true -Db_sanitize=address,undefined -Db_lundef=false --optimization=1"
    options="$options -Dc_args=-fno-sanitize-recover=all\\ -fno-omit-frame-pointer -Dpython.platlibdir=$PWD/build/ext/site"
    ;;
bench) all="" options="-Dbench=true --buildtype=release -Db_ndebug=true -Dwerror=false" ;;
*)
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac

[ "$compiler" = gcc ] || tools/need-apt.sh "$compiler"
tools/need-apt.sh gcc libc6-dev pkg-config libsqlite3-dev libcmocka-dev libuv1-dev valgrind
tools/venv.sh tools
PATH="$PWD/.venv/bin:$PATH"
export PATH

dir=build/$name
wanted="$compiler $all $options $(cat .venv/identity)"
if [ "$(cat "$dir/options" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$dir"
    mkdir -p build
    echo "build: setting up $dir"
    eval "CC=$compiler meson setup $dir $all $options" >"$dir-setup.log" 2>&1 || {
        cat "$dir-setup.log"
        exit 1
    }
    echo "$wanted" >"$dir/options"
fi
meson compile -C "$dir" -j "${JOBS:-2}"
[ "$name" != ext ] || meson install -C "$dir" --quiet --no-rebuild --only-changed --tags runtime,python-runtime
