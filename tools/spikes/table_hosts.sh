#!/bin/sh
# Spike: build the hosts of table_ask.py and run it in each.
#   sh table_hosts.sh <empty folder> <unpacked pysqlite3 source> <static libsqlite3.a> <python3> [private SQLite]
# The hosts use the sources of pysqlite3 (CPython's module as a package) because
# they can be linked with SQLite in every way; the python needs its headers.
set -eu
out=$1 src=$2/src static=$3 py=$4
here=$(cd "$(dirname "$0")" && pwd)
flags="$($py-config --includes 2>/dev/null || python3-config --includes)"
embed="$($py-config --embed --ldflags 2>/dev/null || python3-config --embed --ldflags)"
libs="-lm -ldl -lpthread -lz"
warn="-Wall -Wextra -Werror"

cc -shared -fPIC $warn $flags -Wl,-z,nodelete -o "$out/table_probe.so" "$here/table_probe.c" -ldl
cc -c $warn $flags -o "$out/host.o" "$here/table_host.c"

objects() { # folder, extra flags
    mkdir -p "$out/$1"
    for c in "$src"/*.c; do
        # PyInit and the types take the name of the standard module
        cc -c -w -O1 -fPIC $2 -DMODULE_NAME='"sqlite3"' $flags -o "$out/$1/$(basename "$c" .c).o" "$c"
    done
}
objects ext -DPYSQLITE_EXPERIMENTAL
objects noext -DSQLITE_OMIT_LOAD_EXTENSION

cc -o "$out/host-shared" "$out"/host.o "$out"/ext/*.o $embed -lsqlite3 $libs
cc -rdynamic -o "$out/host-rdynamic" "$out"/host.o "$out"/ext/*.o \
    -Wl,--whole-archive "$static" -Wl,--no-whole-archive $embed $libs
cc -Wl,--exclude-libs,ALL -o "$out/host-hidden" "$out"/host.o "$out"/ext/*.o "$static" $embed $libs
cc -Wl,--exclude-libs,ALL -o "$out/host-hidden-noext" "$out"/host.o "$out"/noext/*.o "$static" $embed $libs
cc -shared -fPIC -Dmain=host_main $warn $flags -o "$out/libhost.so" "$here/table_host.c" \
    "$out"/ext/*.o -lsqlite3 $libs
cc $warn -DLAUNCH="\"$out/libhost.so\"" -o "$out/host-local" "$here/table_host.c" \
    -Wl,--no-as-needed $embed -ldl
mkdir -p "$out/modhidden"
cc -shared -Wl,--exclude-libs,ALL -Wl,-Bsymbolic -o "$out/modhidden/_sqlite3.so" "$out"/ext/*.o "$static" $libs ||
    echo "(no module with a hidden copy: the archive is not position-independent)"

# a private SQLite (optional 5th argument: any shared file that exports one) through RPATH
if [ -n "${5:-}" ]; then
    mkdir -p "$out/modrpath/lib"
    cp "$5" "$out/modrpath/lib/libsqlite3.so.0"
    cc -shared -o "$out/modrpath/_sqlite3.so" "$out"/ext/*.o -L"$out/modrpath/lib" \
        -Wl,--disable-new-dtags -Wl,-rpath,"\$ORIGIN/lib" -Wl,--unresolved-symbols=ignore-all \
        -l:libsqlite3.so.0
    echo "== module with a private copy by RPATH"
    PYTHONPATH="$out/modrpath:$out" "$py" "$here/table_ask.py"
    echo "== the same, another SQLite in the global scope before it"
    PYTHONPATH="$out/modrpath:$out" "$py" "$here/table_ask.py" _sqlite3 global:libsqlite3.so.0
fi

export PYTHONPATH="$out"
for h in host-shared host-local host-rdynamic host-hidden host-hidden-noext; do
    echo "== $h"
    "$out/$h" "$here/table_ask.py"
done
echo "== host-hidden, another SQLite in the global scope"
"$out/host-hidden" "$here/table_ask.py" _sqlite3 global:libsqlite3.so.0
if [ -f "$out/modhidden/_sqlite3.so" ]; then
    echo "== module with a hidden copy"
    PYTHONPATH="$out/modhidden:$out" "$py" "$here/table_ask.py"
    echo "== the same, another SQLite in the global scope"
    PYTHONPATH="$out/modhidden:$out" "$py" "$here/table_ask.py" _sqlite3 global:libsqlite3.so.0
fi
