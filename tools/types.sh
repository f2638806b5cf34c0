#!/bin/sh
# pyright over the examples, the typed program of the tests and the stubs. (mypy and stubtest: tools/check.sh.) It is
# basedpyright, which brings all it needs from the Python package registry; pyright's own wheel downloads node.
set -eu
cd "$(dirname "$0")/.."

tools/venv.sh install
wanted=$(sed -n 's/^types = \["\(.*\)"\]$/\1/p' pyproject.toml)
[ -x .venv/bin/basedpyright ] || .venv/bin/python -m pip install --quiet "$wanted"
.venv/bin/basedpyright
