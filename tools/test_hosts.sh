#!/bin/sh
# Runs Python tests in interpreters whose SQLite hides: linked statically into the module _sqlite3 or into the program
# itself, with its functions out of sight, as the standalone builds of CPython have it that uv installs. looplite has to
# find that very copy (python/_core/sqlite_table.c); docs/design/packages.md has the table of hosts and results.
#
#   tools/test_hosts.sh          builds the hosts in build/hosts, runs, closes with a table
#
# The hosts are made of pysqlite3, the standard module as a package, from the Python package registry, since it can be
# linked with SQLite in every way; of the SQLite that tools/fetch_sqlite.sh built, so it is another one than the
# system's; and of this Python's headers.
#
#   module          _sqlite3.so with a hidden static copy
#   module-before   the same, and the system's SQLite is in the global scope before it
#   program         _sqlite3 built into the program, its SQLite hidden
#   no-extensions   the same without enable_load_extension: nobody can reach that copy, and importing has to say so
set -u
cd "$(dirname "$0")/.."

out=$PWD/build/hosts
tests=${LL_HOST_TESTS:-tests/python/core}
# pysqlite3 is the standard module of some years ago: no iterdump(), no audit events, no extended error names, other words,
# and crashes that CPython has fixed since. What looks at these things is left out here.
older="test_dump or iterdump or test_typing or test_same_as_sqlite3 or test_names_not_given or test_no_container_at_all
    or test_nul_in_sql or test_sql_that_is_no_text or test_several_statements or test_containers_that_fail
    or test_unsupported_types_are_named or test_a_limit_waits_for_the_function or test_what_a_function_gets
    or test_an_aggregate_that_fails or test_exceptions_are_shown_as_sqlite3_does or test_a_trace_callback_that_raises
    or test_a_progress_handler_that_raises or test_hooks_see_nothing_of_ours
    or test_a_list_that_shrinks_while_it_is_converted or test_what_the_loop_met_is_not_told
    or test_what_happens_in_the_middle_is_refused_nothing"
tools/venv.sh install || exit 1
sqlite=$(tools/fetch_sqlite.sh late) || exit 1
python=$PWD/.venv/bin/python
mkdir -p "$out"

config() { "$python" -c "import sysconfig; print($1)"; }
include=$(config 'sysconfig.get_path("include")')
libdir=$(config 'sysconfig.get_config_var("LIBDIR")')
ldversion=$(config 'sysconfig.get_config_var("LDVERSION")')
home=$(config '__import__("sys").base_prefix')
packages=$(config 'sysconfig.get_path("purelib")')
libs="-lm -ldl -lpthread"

if [ ! -d "$out/pysqlite3" ]; then
    mkdir -p "$out/fetched"
    "$python" -m pip download --quiet --no-deps --no-binary :all: --no-build-isolation --dest "$out/fetched" pysqlite3==0.6.1 ||
        exit 1
    mkdir "$out/pysqlite3" && tar -xzf "$out"/fetched/pysqlite3-*.tar.gz --strip-components=1 -C "$out/pysqlite3" || exit 1
fi

objects() { # folder, extra option
    mkdir -p "$out/$1"
    for c in "$out"/pysqlite3/src/*.c; do
        cc -c -w -O1 -fPIC "$2" -DMODULE_NAME='"sqlite3"' -I"$include" -I"$sqlite" \
            -o "$out/$1/$(basename "$c" .c).o" "$c" || return 1
    done
}

cat >"$out/program.c" <<'C'
#include <Python.h>
PyMODINIT_FUNC PyInit__sqlite3(void);
int main(int argc, char **argv)
{
    PyImport_AppendInittab("_sqlite3", PyInit__sqlite3);
    return Py_BytesMain(argc, argv);
}
C

hidden="-Wl,--exclude-libs,ALL"
objects ext -DPYSQLITE_EXPERIMENTAL && objects noext -DSQLITE_OMIT_LOAD_EXTENSION || exit 1
mkdir -p "$out/module"
# shellcheck disable=SC2086  # words on purpose
cc -shared $hidden -Wl,-Bsymbolic -o "$out/module/_sqlite3.so" "$out"/ext/*.o "$sqlite/libsqlite3.a" $libs || exit 1
for kind in ext noext; do
    # shellcheck disable=SC2086
    cc $hidden -I"$include" -o "$out/program-$kind" "$out/program.c" "$out/$kind"/*.o "$sqlite/libsqlite3.a" \
        -L"$libdir" -Wl,-rpath,"$libdir" "-lpython$ldversion" $libs || exit 1
done

# What the standard module has since, so that the package sqlite3 is whole.
mkdir -p "$out/site"
cat >"$out/site/sitecustomize.py" <<'P'
import _sqlite3

if not hasattr(_sqlite3, "threadsafety"):
    _sqlite3.threadsafety = 3
P

failed=0
table=
run() { # name, then the command that is Python
    name=$1
    shift
    echo "== $name"
    found=$("$@" -c 'import looplite._core as c; print(c.sqlite_source)') || found="not found"
    echo "$found"
    # shellcheck disable=SC2086
    "$@" -m pytest -q -p no:cacheprovider -k "not ($(echo $older))" $tests >"$out/$name.txt" 2>&1 || failed=1
    grep -E '^(FAILED|ERROR) ' "$out/$name.txt"
    table="$table$(printf '%-14s %s\n%-14s %s' "$name" "$found" '' "$(tail -n 1 "$out/$name.txt")")
"
}

run module env PYTHONPATH="$out/module:$out/site" "$python"
run module-before env PYTHONPATH="$out/module:$out/site" LD_PRELOAD=libsqlite3.so.0 "$python"
run program env PYTHONHOME="$home" PYTHONPATH="$out/site:$packages" "$out/program-ext"

echo "== no-extensions"
told=$(PYTHONHOME=$home PYTHONPATH=$out/site:$packages "$out/program-noext" -c 'import looplite' 2>&1 | tail -n 1)
case $told in
"ImportError: looplite cannot reach the SQLite of this Python's sqlite3 module ("*"enable_load_extension") ;;
*) failed=1 ;;
esac
echo "$told"

printf '\n%s' "$table"
exit $failed
