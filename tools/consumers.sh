#!/bin/sh
# Programs of others, outside of the tree: installs the plain build into a temporary prefix and looks at what is there,
# then copies each project of tests/consumers elsewhere, builds and runs it: with pkg-config, shared and static, in C++,
# and with the amalgamation inside, under gcc and clang with our warnings.
#
#   tools/consumers.sh            all of them
#   KEEP=1 tools/consumers.sh     and leaves the folder, whose name it says
set -eu
cd "$(dirname "$0")/.."
root=$PWD

tools/need-apt.sh clang pkg-config g++ make binutils
tools/build.sh plain
PATH="$root/.venv/bin:$PATH"

work=$(mktemp -d "${TMPDIR:-/tmp}/looplite-consumers.XXXXXX")
cleanup() {
    if [ -n "${KEEP:-}" ]; then echo "consumers: left $work"; else rm -rf "$work"; fi
}
trap cleanup EXIT
# Nothing of this machine's own installation may be taken by mistake.
unset LD_LIBRARY_PATH PKG_CONFIG_PATH CPATH LIBRARY_PATH CFLAGS CPPFLAGS LDFLAGS

fail() {
    echo "consumers: $*" >&2
    exit 1
}

# $1: what it is; the rest: the command, whose output is shown if it fails.
quietly() {
    what=$1
    shift
    if "$@" >"$work/log" 2>&1; then
        echo "ok      $what"
    else
        cat "$work/log"
        fail "failed: $what"
    fi
}

# ---- installing ----

prefix=$(meson introspect --buildoptions build/plain |
    python -c 'import json, sys; print(next(o["value"] for o in json.load(sys.stdin) if o["name"] == "prefix"))')
[ "$prefix" = "$root/build/prefix" ] || fail "the plain build has the prefix $prefix"
rm -rf "$prefix"
quietly "install to a stage" meson install -C build/plain --no-rebuild --tags runtime,devel,man --destdir "$work/stage"
[ ! -e "$prefix" ] || fail "--destdir has written into the prefix"
quietly "install to a prefix" meson install -C build/plain --no-rebuild --tags runtime,devel,man
mv "$prefix" "$work/moved" && cp -a "$work/stage$prefix" "$prefix" # the stage is the same to the letter
diff -r "$work/moved" "$prefix" || fail "the stage differs from the prefix"
rm -rf "$work/moved" "$work/stage"

pc=$(find "$prefix" -name looplite.pc)
[ -n "$pc" ] || fail "no looplite.pc was installed"
PKG_CONFIG_PATH=$(dirname "$pc")
libdir=$(dirname "$PKG_CONFIG_PATH")
export PKG_CONFIG_PATH
quietly "what is installed" python tools/check_installed.py "$prefix" "$libdir"

# ---- the projects ----

copy() {
    mkdir -p "$work/$2"
    cp -R "$root/tests/consumers/$1/." "$work/$2"
}

copy installed shared
quietly "pkg-config, shared" sh -c "cd '$work/shared' && make && LD_LIBRARY_PATH='$libdir' make check && ldd counter >ldd.txt"
LD_LIBRARY_PATH=$libdir ldd "$work/shared/counter" | grep -q "liblooplite.so.0 => $libdir/" ||
    fail "the program is not linked with the shared library"
copy installed static
quietly "pkg-config, static" sh -c "cd '$work/static' && make STATIC=1 && make check STATIC=1"
! readelf --dynamic "$work/static/counter" | grep -q NEEDED || fail "the static program needs a shared library"

for static in false true; do
    copy cpp "cpp-$static"
    quietly "C++17, Meson, static=$static" sh -c "cd '$work/cpp-$static' && meson setup build -Dstatic=$static &&
        meson compile -C build -j ${JOBS:-2} && LD_LIBRARY_PATH='$libdir' meson test -C build --print-errorlogs"
done

warnings="-Wall -Wextra -Werror $(sed -n "/cc.get_supported_arguments(/,/^)/s/^ *'\(-W[^']*\)',/\1/p" meson.build | tr '\n' ' ')"
quietly "the amalgamation" python tools/amalgamate.py "$work/amalgamation"
copy amalgamation embedded
for compiler in gcc clang; do
    quietly "the amalgamation, $compiler" sh -c "cd '$work/embedded' && make clean &&
        make check CC=$compiler AMALGAMATION=../amalgamation CFLAGS='-std=c11 $warnings'"
done
! nm --defined-only --extern-only --format=posix "$work/embedded/looplite.o" | grep -v '^ll_' ||
    fail "looplite.o defines names of others"
archive=$(find /usr/lib /usr/local/lib -name libsqlite3.a 2>/dev/null | head -n 1)
if [ -n "$archive" ]; then
    quietly "the amalgamation, SQLite inside" sh -c "cd '$work/embedded' && rm -f notes &&
        make check AMALGAMATION=../amalgamation SQLITE_LIBS='$archive -lm -ldl'"
    ! ldd "$work/embedded/notes" | grep -q sqlite || fail "the program is linked with another SQLite"
fi
quietly "the amalgamation, without SQLite" sh -c "cd '$work/amalgamation' &&
    gcc -std=c11 $warnings -DLL_SQLITE_UNLINKED '-DLL_API=__attribute__((visibility(\"hidden\")))' -c looplite.c"
! nm --undefined-only "$work/amalgamation/looplite.o" | grep sqlite3_ || fail "looplite.o refers to SQLite"
! readelf --symbols --wide "$work/amalgamation/looplite.o" | grep 'GLOBAL DEFAULT.* ll_' ||
    fail "LL_API does not hide what it stands in front of"
for adapter in adapters/*.h; do
    package=$(echo "$adapter" | sed 's/.*_uv.h/libuv/; s/.*_glib.h/glib-2.0/; s/.*_event.h/libevent_core/')
    if flags=$(pkg-config --cflags "$package" 2>/dev/null); then
        # shellcheck disable=SC2086  # words on purpose
        quietly "the amalgamation, $adapter" gcc -std=c11 -D_GNU_SOURCE $warnings -fsyntax-only $flags -I"$work/amalgamation" \
            -include "$adapter" -x c /dev/null
    fi
done
echo "consumers: all passed"
