#!/bin/sh
# How much of the C sources the C tests reach: builds with gcov's counters in build/coverage, runs the tests, prints lines,
# functions and branches; build/coverage/report.txt has them file by file.
set -eu
cd "$(dirname "$0")/.."

tools/need-apt.sh gcc libc6-dev pkg-config libsqlite3-dev libcmocka-dev libuv1-dev libglib2.0-dev libevent-dev
tools/venv.sh tools
.venv/bin/python -m pip install --quiet gcovr
PATH="$PWD/.venv/bin:$PATH"
export PATH

dir=build/coverage
[ -e "$dir/build.ninja" ] || CC=gcc meson setup "$dir" -Dtests=true -Db_coverage=true
meson compile -C "$dir" -j "${JOBS:-2}"
find "$dir" -name '*.gcda' -delete
meson test -C "$dir" --no-rebuild --print-errorlogs --num-processes "${JOBS:-2}"
gcovr --root . --object-directory "$dir" --filter src/ --filter include/ --gcov-ignore-parse-errors=all \
    --txt "$dir/report.txt" --txt-summary
