#!/bin/sh
# Installs the manylinux wheel of this machine's kind from dist/ where there is no compiler, and runs the Python tests
# against it, once for each interpreter that has such a wheel there (tools/wheels.py). Nothing of the source tree is on
# the path of Python: the venv, the tests and pytest's settings are in build/wheels/test, and the programs are those of
# this system without compilers and linkers.
#
#   tools/wheels_test.sh                 all interpreters
#   tools/wheels_test.sh 3.12 3.13       only these
#
# $LL_WHEEL_TESTS, if set, names the tests instead of core, adapters, crud and oracle.
set -u
cd "$(dirname "$0")/.."

tests=${LL_WHEEL_TESTS:-tests/python/core tests/python/adapters tests/python/crud tests/python/oracle}
machine=$(uname -m)
work=$PWD/build/wheels/test
failed=0
table=
export PIP_DISABLE_PIP_VERSION_CHECK=1

rm -rf "$work/bin"
mkdir -p "$work/bin"
for folder in /usr/local/bin /usr/bin /bin; do
    for program in "$folder"/*; do
        case ${program##*/} in
        cc | c++ | c89* | c99* | gcc* | g++* | cpp* | clang* | tcc | zig | as | ld | ld.* | gold | *-linux-gnu-* | *-linux-gnu*-gcc*) ;;
        *) [ -e "$work/bin/${program##*/}" ] || ln -s "$program" "$work/bin/" ;;
        esac
    done
done

# The interpreter that tools/wheels.py made the wheel with.
interpreter() {
    readlink -f "build/wheels/venv/$1/bin/python"
}

for version in ${*:-3.10 3.11 3.12 3.13 3.14}; do
    tag=cp$(echo "$version" | tr -d .)
    set -- dist/looplite-*-"$tag-$tag"-manylinux_*_"$machine".whl
    [ -e "$1" ] || { echo "wheels-test: no wheel for $version on $machine in dist/"; continue; }
    wheel=$PWD/$1
    echo "== ${wheel##*/}"
    folder=$work/$version
    rm -rf "$folder"
    mkdir -p "$folder"
    "$(interpreter "$version")" -m venv "$folder/venv"
    cp -R tests pyproject.toml examples "$folder/"
    result=ok
    # pip finds no compiler: what has no wheel for this Python is an error here.
    (
        PATH=$folder/venv/bin:$work/bin
        export PATH
        cd "$folder" || exit 1
        ! command -v cc && ! command -v gcc && ! command -v clang || exit 1
        pip install --quiet --only-binary :all: "$wheel[test]" 2>&1 | grep -v '^WARNING: Location' >&2
        python -c "import looplite, looplite._core as c; print(looplite.__file__); print(c.sqlite_source)" || exit 1
        # shellcheck disable=SC2086  # words on purpose
        python -m pytest -q -p no:cacheprovider $tests >"$folder/tests.txt" 2>&1
    ) || result=FAILED
    last=$(tail -n 1 "$folder/tests.txt")
    grep -E '^(FAILED|ERROR) ' "$folder/tests.txt"
    [ $result = ok ] || failed=1
    table="$table$(printf '%-6s %-7s %s' "$version" "$result" "$last")
"
done

printf '\n%s' "$table"
[ -n "$table" ] || { echo "wheels-test: there is nothing to test (tools/wheels.py makes the wheels)"; exit 1; }
exit $failed
