#!/bin/sh
# Installs the named Debian packages that are missing. When all are there it does nothing and needs no network and no
# rights. Elsewhere than on Debian and its relatives it says what is wanted and goes on: what is really missing will be
# named by the step that needs it.
#
#   tools/need-apt.sh libsqlite3-dev libcmocka-dev
set -eu

installed() {
    dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed
}

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "need-apt: not a Debian system; wanted are the equivalents of: $*" >&2
    exit 0
fi

missing=
for package in "$@"; do
    installed "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null 2>&1 && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    as_root=sudo
else
    echo "need-apt: these Debian packages are missing, and there is no way here to become root:" >&2
    echo "    apt-get install$missing" >&2
    exit 1
fi

install() {
    # shellcheck disable=SC2086  # words on purpose
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y \
        --no-install-recommends $missing
}

echo "need-apt: installing$missing"
# Another apt may be running, which is waited for. The lists are fetched only when the packages cannot be had with those that are there.
if ! install; then
    $as_root apt-get update
    if ! install; then
        echo "need-apt: apt could not install:$missing" >&2
        exit 1
    fi
fi
