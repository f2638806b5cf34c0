#!/bin/sh
# Makes .venv and keeps it current. Everything from the Python package registry goes there and nowhere else.
#
#   tools/venv.sh tools      .venv with what builds looplite: meson, ninja, meson-python
#   tools/venv.sh extras     the same, and what looplite's extras `test` and `lint` name
#   tools/venv.sh install    the same, and looplite; again only when sources changed
#   tools/venv.sh adk        the same, and if they can be installed google-adk, and SQLSpec's versions in .venv/peers
#   tools/venv.sh docs       the same, and the extra `docs`, which builds the documentation site
#   tools/venv.sh bench      the same, and of the extra `bench` what can be installed here
#
# $PYTHON (default python3) is the interpreter; when it is another one than last time, .venv is made anew.
set -eu
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
stamp=.venv/installed.stamp
export PIP_DISABLE_PIP_VERSION_CHECK=1

# Python compiles what it imports, if it may keep it. pip compiles all, most of which is never imported: [M] a third of its
# time.
compile=--no-compile
[ -z "${PYTHONDONTWRITEBYTECODE:-}" ] || compile=--compile
pip_install() { .venv/bin/python -m pip install --quiet $compile "$@"; }

# (In a chain of && the shell does not end at a failure by itself: each step below returns it.)

# The packages that pyproject.toml lists under the name of an extra, one a line.
extra() { sed -n "/^$1 = \\[/,/^\\]/s/^ *\"\\(.*\\)\",\$/\\1/p" pyproject.toml; }

command -v cc >/dev/null 2>&1 || tools/need-apt.sh gcc libc6-dev
command -v "$python" >/dev/null 2>&1 || tools/need-apt.sh python3

# Which interpreter that is, by path and version; a shim or link may lead elsewhere tomorrow.
identity=$("$python" -c 'import os, sys; print(os.path.realpath(sys.executable), *sys.version_info[:3])')

need_venv_packages() {
    case $identity in
    /usr/bin/*)
        # Debian keeps venv and the headers apart, for each of its versions of Python.
        name=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
        tools/need-apt.sh "$name-venv" "$name-dev"
        ;;
    esac
}

make_venv() {
    if [ -x .venv/bin/python ] && [ "$(cat .venv/identity 2>/dev/null)" = "$identity" ]; then
        return
    fi
    need_venv_packages
    echo "venv: making .venv with $identity"
    rm -rf .venv
    "$python" -m venv .venv
    echo "$identity" >.venv/identity
}

build_tools() {
    # What pyproject.toml asks of a build, installed so that builds need no isolated environment of their own.
    [ .venv/tools.stamp -nt pyproject.toml ] && return
    sed -n 's/^requires = \[\(.*\)\]$/\1/p' pyproject.toml | tr ',' '\n' | tr -d '" ' >.venv/tools.txt
    pip_install -r .venv/tools.txt || return
    touch .venv/tools.stamp
}

extras() {
    [ .venv/extras.stamp -nt pyproject.toml ] && return
    { extra test && extra lint; } >.venv/extras.txt
    pip_install -r .venv/extras.txt || return
    touch .venv/extras.stamp
}

changed() {
    [ -e "$stamp" ] || return 0
    # Directories too: their time changes when a file goes away.
    [ -n "$(find meson.build meson_options.txt pyproject.toml include src python third_party \
        -name __pycache__ -prune -o -newer "$stamp" -print 2>/dev/null | head -n 1)" ]
}

install() {
    changed || return 0
    touch .venv/next.stamp
    # A build directory that stays makes the second time quick. It is this interpreter's own: it goes with .venv.
    (
        PATH="$PWD/.venv/bin:$PATH"
        pip_install --no-build-isolation --no-deps --config-settings=build-dir=.venv/build .
    ) || return
    mv .venv/next.stamp "$stamp"
}

adk() {
    # SQLSpec before and after its tables changed, and the newest that was looked at: one folder each.
    [ .venv/adk.stamp -nt pyproject.toml ] && return
    pip_install --only-binary :all: "$(sed -n 's/^adk = \["\(.*\)"\]$/\1/p' pyproject.toml)" ||
        echo "venv: google-adk cannot be installed here"
    for version in 0.32 0.62 0.69; do
        old=
        [ "$version" = 0.32 ] && old="aiosqlite<0.22" # as it was then
        [ -d ".venv/peers/sqlspec-$version" ] ||
            pip_install --only-binary :all: \
                --target ".venv/peers/sqlspec-$version" "sqlspec==$version.0" ${old:+"$old"} ||
            echo "venv: SQLSpec $version cannot be installed here"
    done
    touch .venv/adk.stamp
}

docs() {
    [ .venv/docs.stamp -nt pyproject.toml ] && return
    extra docs >.venv/docs.txt
    pip_install -r .venv/docs.txt || return
    touch .venv/docs.stamp
}

bench() {
    # One by one: what has no build for this Python or machine is left out, and bench/run.py names it.
    [ .venv/bench.stamp -nt pyproject.toml ] && return
    extra bench | while read -r package; do
        pip_install --only-binary :all: "$package" ||
            echo "venv: $package cannot be installed here"
    done
    touch .venv/bench.stamp
}

case ${1:-} in
tools) make_venv && build_tools ;;
extras) make_venv && build_tools && extras ;;
install) make_venv && build_tools && extras && install ;;
adk) make_venv && build_tools && extras && install && adk ;;
docs) make_venv && build_tools && extras && install && docs ;;
bench) make_venv && build_tools && extras && install && bench ;;
*)
    sed -n '2,12s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
