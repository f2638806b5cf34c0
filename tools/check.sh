#!/bin/sh
# Formatting, lint and house rules over everything that is tracked or about to be. Goes through all of them and then
# names those that failed. `tools/check.sh --fix` formats first.
set -u
cd "$(dirname "$0")/.."

tools/venv.sh install || exit 1
mkdir -p build
tools/build.sh plain >build/check-build.log 2>&1 || { cat build/check-build.log; exit 1; }
PATH="$PWD/.venv/bin:$PATH"
failed=

listed() {
    git ls-files --cached --others --exclude-standard -- "$@" ':!third_party' ':!tools/spikes' | while read -r file; do
        [ ! -f "$file" ] || printf '%s\n' "$file"
    done
}

run() {
    name=$1
    shift
    if "$@"; then
        echo "ok      $name"
    else
        echo "FAILED  $name"
        failed="$failed $name"
    fi
}

clang_format() {
    files=$(listed '*.c' '*.h')
    # shellcheck disable=SC2086  # no name of ours has a blank
    [ -z "$files" ] || clang-format "$@" $files
}

types() {
    files=$(listed '*.py' '*.pyi')
    # shellcheck disable=SC2086
    mypy --no-error-summary $files
}

# The stubs say of each name, parameter and kind of the built module what it is.
stubtest() {
    python -m mypy.stubtest --concise --mypy-config-file tools/stubtest.ini \
        --allowlist tools/stubtest-allow.txt --ignore-unused-allowlist looplite._core
}

if [ "${1:-}" = --fix ]; then
    clang_format -i
    ruff format --quiet .
    ruff check --quiet --fix .
fi

run clang-format clang_format --dry-run --Werror
run ruff-format ruff format --quiet --check .
run ruff ruff check --quiet .
run mypy types
run stubs stubtest
run layers python tools/check_layers.py
run headers python tools/check_headers.py
run exports python tools/check_exports.py
run files python tools/check_files.py
run samples python tools/check_samples.py

if [ -n "$failed" ]; then
    echo "check: failed:$failed"
    exit 1
fi
echo "check: all passed"
