#!/bin/sh
# clang-tidy over our C sources, with the compile commands of the clang build.
set -eu
cd "$(dirname "$0")/.."

tools/need-apt.sh clang-tidy
tools/build.sh clang
git ls-files -- 'src/*.c' 'examples/*.c' | xargs -r -P "${JOBS:-2}" -n 4 clang-tidy --quiet -p build/clang
