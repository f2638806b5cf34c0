#!/bin/sh
# Builds the fuzz targets with libFuzzer and runs each for a time, beginning with the kept inputs. What is new and
# reaches more code lands in build/fuzz/corpus/<target>/, what fails in build/fuzz/found/.
#
#   tools/fuzz.sh              all targets, SECONDS_EACH=60 seconds each
#   tools/fuzz.sh sql rows     only these
#   KEEP=1 tools/fuzz.sh sql   afterwards keeps sixty of those that reach as much as all, in fuzz/corpus/sql/
#
# Fails when a target has found something: fix it, put the input into fuzz/corpus/<target>/, and it is a test.
set -eu
cd "$(dirname "$0")/.."

seconds=${SECONDS_EACH:-60}
targets=${*:-arrow_load classify file rows schedule sql}

tools/need-apt.sh clang libclang-rt-14-dev
tools/build.sh fuzz
mkdir -p build/fuzz/found
export ASAN_OPTIONS="abort_on_error=1:detect_leaks=1"
export UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1"
LSAN_OPTIONS="suppressions=$PWD/tests/setups/lsan.supp:print_suppressions=0"
export LSAN_OPTIONS

failed=
for target in $targets; do
    program=build/fuzz/fuzz/fuzz_$target
    new=build/fuzz/corpus/$target
    kept=fuzz/corpus/$target
    mkdir -p "$new"
    echo "== $target, $seconds s"
    "$program" -max_total_time="$seconds" -max_len=4096 -timeout=20 -rss_limit_mb=3000 -print_final_stats=1 \
        -artifact_prefix="build/fuzz/found/$target-" "$new" "$kept" 2>"build/fuzz/$target.log" || failed="$failed $target"
    grep -E "^stat::(number_of_executed_units|average_exec_per_sec|new_units_added)|^SUMMARY|ERROR: " \
        "build/fuzz/$target.log" || true
    case " $failed " in
    *" $target "*) grep -B 2 -A 14 -E "fuzz|\.c:[0-9]+: " "build/fuzz/$target.log" | tail -40 ;;
    *)
        if [ -n "${KEEP:-}" ]; then
            small=build/fuzz/small
            rm -rf "$small"
            mkdir -p "$small"
            "$program" -merge=1 -max_len=2048 "$small" "$kept" "$new" 2>>"build/fuzz/$target.log"
            # Inputs whose names are words are regressions and examples: they stay.
            find "$kept" -type f -name '[0-9a-f]*' -regextype posix-extended -regex '.*/[0-9a-f]{40}' -delete
            count=$(find "$small" -type f | wc -l)
            find "$small" -type f -printf '%s %p\n' | sort -n | cut -d ' ' -f 2 |
                awk -v every="$(((count + 59) / 60))" 'NR % every == 0' | xargs -r cp -n -t "$kept"
        fi
        ;;
    esac
done
[ -z "$failed" ] || {
    echo "fuzz: found something:$failed (build/fuzz/found/)"
    exit 1
}
