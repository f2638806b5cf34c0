#!/bin/sh
# Runs a Python program with the sanitized package of build/ext (tools/build.sh ext): run.py beside this file, or what is
# given behind `--`:
#
#   tests/python/faults/run.sh [run.py's options]
#   tests/python/faults/run.sh -- -m pytest tests/python/core
set -eu
cd "$(dirname "$0")/../../.."

if [ "${1:-}" = -- ]; then
    shift
else
    set -- tests/python/faults/run.py "$@"
fi

# Python itself is not sanitized: the runtime goes in front of it, and what CPython leaves at its end is no leak of ours.
preload="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)"
exec env LD_PRELOAD="$preload" ASAN_OPTIONS="detect_leaks=0:abort_on_error=0:${ASAN_OPTIONS:-}" \
    UBSAN_OPTIONS="print_stacktrace=1:${UBSAN_OPTIONS:-}" PYTHONPATH="$PWD/build/ext/site" PYTHONMALLOC="${PYTHONMALLOC:-malloc}" \
    .venv/bin/python -X faulthandler "$@"
