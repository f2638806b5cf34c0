#!/bin/sh
# Runs a program of the ThreadSanitizer build at fixed addresses: with much address randomization (vm.mmap_rnd_bits of
# 30 and more) the run-time library of older compilers finds its shadow memory taken and gives up. Where the system
# does not let us switch the randomization off, the program runs as it is.
if setarch -R true 2>/dev/null; then
    exec setarch -R "$@"
fi
exec "$@"
