#!/bin/sh
# The long form of the crash tests: power cuts, failing disks, kill -9.
#
#   tools/crash.sh                      ROUNDS=500, SEED=1000
#   ROUNDS=5000 SEED=7 tools/crash.sh   so many loads under which the power is cut, from that seed on
set -eu
cd "$(dirname "$0")/.."

rounds=${ROUNDS:-500}
seed=${SEED:-1000}
tools/build.sh plain
cd build/plain/tests/c
LOOPLITE_TEST_TIMEOUT=60
export LOOPLITE_TEST_TIMEOUT
LL_ROUNDS=$rounds LL_SEED=$seed ./crash_test_power_cut
LL_ROUNDS=$((rounds / 8 + 1)) LL_SEED=$seed ./crash_test_kill
LL_ROUNDS=1 ./crash_test_disk_errors
