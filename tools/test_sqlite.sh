#!/bin/sh
# Runs the C tests and the Python tests against other versions of SQLite than the system's (tools/fetch_sqlite.sh
# gets them), one after the other, and closes with a table. Both reach SQLite through the shared library that the loader
# finds, so each version is put in its place by LD_LIBRARY_PATH; nothing is compiled anew.
#
#   tools/test_sqlite.sh                    the oldest, two between, the newest
#   tools/test_sqlite.sh oldest newest      only these
#
# $LL_SQLITE_TESTS, if set, names the Python tests instead of all those that meet SQLite.
set -u
cd "$(dirname "$0")/.."

jobs=${JOBS:-2}
python_tests=${LL_SQLITE_TESTS:-tests/python/core tests/python/oracle tests/python/adapters tests/python/adk tests/python/crud tests/python/events tests/python/shell}
log=build/test-sqlite
table=
failed=0

folders=$(tools/fetch_sqlite.sh "$@") || failed=1
tools/venv.sh install || exit 1
tools/build.sh plain || exit 1
mkdir -p "$log"

# What both kinds of tests really meet: not a copy that is found before ours.
met() {
    LD_LIBRARY_PATH=$1 .venv/bin/python -c 'import sqlite3; print(sqlite3.sqlite_version)'
}

for folder in $folders; do
    version=${folder##*/}
    if [ "$(met "$folder")" != "$version" ]; then
        echo "test-sqlite: this Python does not take SQLite from the loader: $version cannot be put in its place" >&2
        exit 1
    fi
    echo "== SQLite $version"
    c=ok python=ok
    PATH="$PWD/.venv/bin:$PATH" LD_LIBRARY_PATH=$folder \
        meson test -C build/plain --no-rebuild --print-errorlogs --num-processes "$jobs" \
        >"$log/$version-c.txt" 2>&1 || c=FAILED
    grep -E '^(Ok|Fail|Timeout|Skipped)|^ *[0-9]+/[0-9]+ .*(FAIL|TIMEOUT)' "$log/$version-c.txt"
    # shellcheck disable=SC2086  # words on purpose
    LD_LIBRARY_PATH=$folder .venv/bin/python -m pytest -q $python_tests \
        >"$log/$version-python.txt" 2>&1 || python=FAILED
    grep -E '^(FAILED|ERROR) |(passed|failed|error).* in ' "$log/$version-python.txt"
    [ "$c$python" = okok ] || failed=1
    table="$table$(printf '%-10s %-8s %-8s' "$version" "$c" "$python")
"
done

printf '\n%-10s %-8s %-8s\n%s' SQLite C Python "$table"
[ $failed = 0 ] || echo "test-sqlite: failed; the whole output is in $log" >&2
exit $failed
