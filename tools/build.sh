#!/bin/sh
# Sets up and compiles one of the test builds in build/<name>; `meson test -C build/<name>` then runs it.
#
#   tools/build.sh plain    gcc, asserts; tools/consumers.sh installs this one
#   tools/build.sh clang    clang, without asserts: for its warnings, the extension's too, and what only such a build warns about
#   tools/build.sh asan     AddressSanitizer and UndefinedBehaviorSanitizer
#   tools/build.sh tsan     ThreadSanitizer
#   tools/build.sh ext      the Python package in build/ext/site, sanitized as asan is, for gcc's warnings too; its calls into CPython can be made to fail
#   tools/build.sh fuzz     clang's libFuzzer with the sanitizers: only the fuzz targets (tools/fuzz.sh runs them)
#   tools/build.sh bench    what is measured: as released, with the programs of bench/c and the examples; no tests
#   tools/build.sh packages nothing: only what all of them need of the system is installed
set -eu
cd "$(dirname "$0")/.."

name=${1:-}
all="-Dtests=true -Dexamples=true"
compiler=gcc
targets=
case $name in
plain) options="-Dpython=disabled --prefix=$PWD/build/prefix" ;;
# It is not run, and clang's warnings do not come from its optimizer.
clang) compiler=clang options="-Dpython=enabled --buildtype=plain -Db_ndebug=true" ;;
asan) options="-Db_sanitize=address,undefined -Dc_args=-fno-sanitize-recover=all\ -fno-omit-frame-pointer" ;;
tsan) options="-Db_sanitize=thread -Dc_args=-fno-omit-frame-pointer" ;;
ext)
    all="" options="-Dpython=enabled -Dlibrary=false -Dcapi_faults=true -Db_sanitize=address,undefined -Db_lundef=false --optimization=1"
    options="$options -Dc_args=-fno-sanitize-recover=all\\ -fno-omit-frame-pointer -Dpython.platlibdir=$PWD/build/ext/site"
    ;;
fuzz) all="-Dtests=true" compiler=clang targets=fuzz
    options="-Dfuzz=true -Dlibrary=false -Db_lundef=false -Db_sanitize=address,undefined --buildtype=debugoptimized -Dc_args=-fno-sanitize-recover=all\ -fno-omit-frame-pointer\ -fsanitize=fuzzer-no-link" ;;
bench) all="-Dexamples=true" options="-Dbench=true --buildtype=release -Db_ndebug=true -Dwerror=false" ;;
packages) compiler=clang options= ;;
*)
    sed -n '2,11s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac

# By one call, which takes apt less time than two.
tools/need-apt.sh "$compiler" gcc libc6-dev pkg-config libsqlite3-dev libcmocka-dev libuv1-dev \
    libglib2.0-dev libevent-dev libhttp-parser-dev valgrind
[ "$name" != packages ] || exit 0
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
# shellcheck disable=SC2086 # a list
meson compile -C "$dir" -j "${JOBS:-2}" $targets
[ "$name" != ext ] || meson install -C "$dir" --quiet --no-rebuild --only-changed --tags runtime,python-runtime
