#!/bin/sh
# A mixed load with faults for MINUTES (60), then its report: build/soak/report.json. docs/design/trust.md says what the
# fields mean. Fails at the first thing that is wrong, with words and a seed.
#
#   MINUTES=10 SEED=4711 tools/soak.sh
set -eu
cd "$(dirname "$0")/.."

tools/build.sh plain
mkdir -p build/soak
LOOPLITE_TEST_TIMEOUT=120
export LOOPLITE_TEST_TIMEOUT
build/plain/tests/c/soak "$((${MINUTES:-60} * 60))" "${SEED:-1}" >build/soak/report.new
mv build/soak/report.new build/soak/report.json
cat build/soak/report.json
