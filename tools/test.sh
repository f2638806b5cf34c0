#!/bin/sh
# The whole test run: the C tests in each build, the house checks, other projects' tests, then pytest. Goes on after a failure, so that one run
# shows all of them; the table before pytest's own lines tells what passed.
#
#   tools/test.sh               everything
#   tools/test.sh tsan pytest   only these steps (plain consumers clang asan tsan valgrind ext check dependents pytest)
set -u
cd "$(dirname "$0")/.."

steps=${*:-plain consumers clang asan tsan valgrind ext check dependents pytest}
jobs=${JOBS:-2}
summary=
failed=

c_tests() {
    build=$1
    shift
    tools/build.sh "$build" &&
        PATH="$PWD/.venv/bin:$PATH" meson test -C "build/$build" --no-rebuild --print-errorlogs \
            --num-processes "$jobs" "$@"
}

# `make ext` runs all of tests/python/core.
ext_tests="tests/python/core/test_awaitable.py tests/python/core/test_cancel.py tests/python/core/test_concurrency.py
    tests/python/core/test_cursor.py tests/python/core/test_delivery.py tests/python/core/test_errors.py
    tests/python/core/test_functions.py tests/python/core/test_params.py tests/python/core/test_values.py"

step() {
    case $1 in
    plain | asan | tsan) c_tests "$1" ;;
    # Programs outside of the tree, on the installed library and on the amalgamation.
    consumers) tools/consumers.sh ;;
    # Compiled only: its point is the warnings of a second compiler and of a build without asserts.
    clang) tools/build.sh clang ;;
    valgrind) c_tests plain --setup valgrind ;;
    # The extension, sanitized: each of its calls into CPython failing once, then the tests that go through most of it.
    ext)
        tools/venv.sh install && tools/build.sh ext && tests/python/faults/run.sh &&
            tests/python/faults/run.sh -- -m pytest -q -p no:cacheprovider $ext_tests
        ;;
    check) tools/check.sh ;;
    # What others have built on aiosqlite: the part that takes a minute or two.
    dependents) tools/venv.sh install && .venv/bin/python tests/dependents/run.py --fast ;;
    *) echo "test: no such step: $1" >&2; return 2 ;;
    esac
}

pytest_wanted=no
for name in $steps; do
    if [ "$name" = pytest ]; then
        pytest_wanted=yes
        continue
    fi
    echo "== $name"
    began=$(date +%s)
    if step "$name"; then
        result=ok
    else
        result=FAILED
        failed="$failed $name"
    fi
    summary="$summary$(printf '%-10s %-7s %4ds' "$name" "$result" $(($(date +%s) - began)))
"
done

printf '\n== summary\n%s' "$summary"

status=0
if [ "$pytest_wanted" = yes ]; then
    echo "== pytest"
    # The limit is for what hangs in spite of everything; pytest shows the place after its own, shorter one.
    tools/venv.sh adk && timeout --kill-after=30 900 .venv/bin/python -m pytest
    status=$?
fi
if [ -n "$failed" ]; then
    echo "test: FAILED before pytest:$failed"
    exit 1
fi
exit "$status"
