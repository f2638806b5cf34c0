# The one front door. Each target installs what it needs (system packages with apt when they are missing, Python packages
# into .venv) and then calls one script in tools/, Meson or pytest; nothing is decided here.
#
#   PYTHON=python3.13 make venv    another interpreter (.venv is made anew when it changes)
#   JOBS=8 make test               more than two compile jobs and test processes

PYTHON ?= python3
JOBS ?= 2
export PYTHON JOBS

.DEFAULT_GOAL := help
.PHONY: help demo test ext check tidy dependents bench bench-quick bench-venv venv clean

help: ## list the targets
	@echo "looplite: SQLite for event loops"
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1 \t\2/p' Makefile | expand -t 22

demo: venv ## build from nothing and run the demonstration on real data
	.venv/bin/python examples/python/demo.py

test: ## everything: C tests under gcc, clang, ASan+UBSan, TSan, valgrind; house checks; other projects' tests; Python tests
	tools/test.sh

ext: venv ## the extension under ASan+UBSan: every call into CPython failing, thrice each, then tests/python/core (10 minutes)
	tools/build.sh ext
	tests/python/faults/run.sh --passings 3
	tests/python/faults/run.sh -- -m pytest -q -p no:cacheprovider tests/python/core tests/python/adapters

check: ## formatting, lint and house rules only
	tools/check.sh

tidy: ## clang-tidy over the C sources (slow)
	tools/tidy.sh

dependents: venv ## other projects' own tests, with aiosqlite and with looplite in its place (an hour)
	.venv/bin/python tests/dependents/run.py

bench: bench-venv ## measure this machine side by side with sqlite3, aiosqlite and others (20 minutes)
	.venv/bin/python bench/run.py

bench-quick: bench-venv ## the same in a minute, with less certain numbers
	.venv/bin/python bench/run.py --quick

bench-venv:
	tools/venv.sh bench

venv: ## leave .venv with looplite and the test extra installed
	tools/venv.sh install

clean: ## remove what was built, .venv included; downloaded data stays
	rm -rf build .venv .pytest_cache .hypothesis .mypy_cache .ruff_cache dist
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
