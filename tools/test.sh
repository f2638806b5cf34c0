#!/bin/sh
# The whole test run: the C tests in each build, the house checks, other projects' tests, the Python tests. Goes on after
# a failure, so that one run shows all of them.
#
#   tools/test.sh               everything
#   tools/test.sh tsan pytest   only these steps (plain consumers clang asan tsan valgrind ext check dependents pytest)
#   LIMIT=3600 tools/test.sh    seconds after which the run is ended (default 1680), with what it was at
#
# Two steps run at a time, because most of them wait now and then: one lane for what uses build/plain, one for what
# uses the installed package, and the first one to be free takes the builds that stand alone. A step's output goes to
# build/test/STEP.log; what failed of it is shown before the table at the end, which tells what passed.
set -u
cd "$(dirname "$0")/.."
root=$PWD
# Hundreds of Pythons are started, which would compile the same modules each.
unset PYTHONDONTWRITEBYTECODE
logs=$root/build/test

all="plain consumers clang asan tsan valgrind ext check dependents pytest"
# Each lane's own steps, in this order: no two steps may use build/plain, or build what is in .venv, at the same time.
lane_plain="plain consumers check valgrind"
lane_package="pytest ext dependents"
lane_any="tsan asan clang"

c_tests() {
    build=$1
    shift
    tools/build.sh "$build" &&
        PATH="$root/.venv/bin:$PATH" meson test -C "build/$build" --no-rebuild --print-errorlogs \
            --num-processes "${JOBS:-2}" "$@"
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
        tools/build.sh ext && tests/python/faults/run.sh &&
            tests/python/faults/run.sh -- -m pytest -q -p no:cacheprovider $ext_tests
        ;;
    check) tools/check.sh ;;
    # What others have built on aiosqlite: the part that takes a minute or two.
    dependents) .venv/bin/python tests/dependents/run.py --fast ;;
    # The limit is for what hangs in spite of everything; pytest shows the place after its own, shorter one.
    pytest)
        tools/venv.sh adk &&
            timeout --foreground --kill-after=30 900 .venv/bin/python -m pytest -n "${JOBS:-2}" --dist loadfile
        ;;
    esac
}

# Goes through the steps of a lane that are wanted and that nobody has taken yet; says each one's name when it has ended.
lane() {
    for name in $1; do
        case " $steps " in *" $name "*) ;; *) continue ;; esac
        mkdir "$logs/$name.taken" 2>/dev/null || continue
        began=$(date +%s)
        if step "$name" >"$logs/$name.log" 2>&1 </dev/null; then result=ok; else result=FAILED; fi
        printf '%-10s %-7s %4ds\n' "$name" "$result" $(($(date +%s) - began)) >"$logs/$name.result"
        echo "$name"
    done
}

summary() {
    printf '\n== summary\n'
    for name in $steps; do
        cat "$logs/$name.result" 2>/dev/null || printf '%-10s not ended\n' "$name"
    done
}

steps=${*:-$all}
for name in $steps; do
    case " $all " in *" $name "*) ;; *) echo "test: no such step: $name" >&2; exit 2 ;; esac
done

# Once more under the limit, which ends the whole group of processes.
if [ -z "${LOOPLITE_TEST_LIMITED:-}" ]; then
    LOOPLITE_TEST_LIMITED=1 exec timeout --kill-after=20 "${LIMIT:-1680}" tools/test.sh $steps
fi
unset LOOPLITE_TEST_LIMITED

rm -rf "$logs"
mkdir -p "$logs"

# Runs when all below has been told to end, too.
ended_early() {
    for name in $steps; do
        [ -e "$logs/$name.taken" ] && [ ! -e "$logs/$name.result" ] || continue
        echo "== $name was not at its end; its last lines:"
        tail -n 60 "$logs/$name.log"
    done
    summary
    echo "test: FAILED: the run was ended before its end"
    exit 1
}
trap ended_early TERM INT HUP

# What several steps need is there before the first of them, so that no two make it at the same time: packages, .venv,
# and the plain build, which also the tests of the exported names look at. apt's packages and Python's come side by side.
tools/venv.sh tools || exit 1
tools/venv.sh extras >"$logs/install.log" 2>&1 &
installing=$!
tools/build.sh packages || exit 1
case " $steps " in *" consumers "*) tools/need-apt.sh g++ make binutils || exit 1 ;; esac
wait "$installing" || { cat "$logs/install.log"; exit 1; }
tools/venv.sh install >"$logs/install.log" 2>&1 &
installing=$!
case " $steps " in
*" plain "* | *" consumers "* | *" valgrind "* | *" check "*) tools/build.sh plain || exit 1 ;;
esac
wait "$installing" || { cat "$logs/install.log"; exit 1; }

{
    lane "$lane_plain $lane_any" &
    lane "$lane_package $lane_any" &
    wait
} | while read -r name; do
    cat "$logs/$name.result"
done

# What failed, without the lines that say of something that it was compiled or is well.
for name in $steps; do
    grep -qs FAILED "$logs/$name.result" || continue
    echo "== $name failed"
    sed -e '/^\[[0-9]*\/[0-9]*\] /d' -e '/ OK  *[0-9.]*s *$/d' -e '/^[.sx]* *\[ *[0-9]*%\]$/d' "$logs/$name.log" | tail -n 300
done
summary
failed=$(grep -L ' ok ' "$logs"/*.result | sed 's|.*/\(.*\)\.result|\1|' | tr '\n' ' ')
for name in $steps; do
    [ -e "$logs/$name.result" ] || failed="$failed$name "
done
[ -z "$failed" ] || {
    echo "test: FAILED: $failed"
    exit 1
}
echo "test: all passed"
