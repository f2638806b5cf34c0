# The one front door. Each target installs what it needs (system packages with apt when they are missing, Python packages
# into .venv) and then calls one script in tools/, Meson or pytest; nothing is decided here.
#
#   PYTHON=python3.13 make venv    another interpreter (.venv is made anew when it changes)
#   JOBS=8 make test               more than two compile jobs and test processes

PYTHON ?= python3
JOBS ?= 2
export PYTHON JOBS

.DEFAULT_GOAL := help
.PHONY: help demo test ext check tidy dependents bench bench-quick bench-showcase crash fuzz soak bench-venv venv clean
# What a new package needs to be seen: minutes each, and downloads.
.PHONY: coverage sdist wheels wheels-test test-sqlite test-hosts

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

.PHONY: docs
docs: ## the documentation site, into build/site/index.html
	tools/venv.sh docs
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build

dependents: venv ## other projects' own tests, with aiosqlite and with looplite in its place (an hour)
	.venv/bin/python tests/dependents/run.py

sdist: venv ## the source archive, in dist/
	.venv/bin/python -m pip install --quiet build
	PATH="$$PWD/.venv/bin:$$PATH" .venv/bin/python -m build --sdist --no-isolation

wheels: ## the source archive and manylinux and musllinux wheels, x86-64 and aarch64, in dist/ (20 minutes)
	$(PYTHON) tools/wheels.py

wheels-test: ## the wheels for this machine from dist/, installed and tested where there is no compiler
	tools/wheels_test.sh

coverage: ## how much of the C sources the C tests reach (5 minutes)
	tools/coverage.sh

test-sqlite: ## the tests against the oldest SQLite, the newest and two between (half an hour)
	tools/test_sqlite.sh

test-hosts: ## Python tests in interpreters whose SQLite is static and hidden
	tools/test_hosts.sh

bench: bench-venv ## measure this machine side by side with sqlite3, aiosqlite and others, and how it grows (up to an hour)
	.venv/bin/python bench/run.py
	.venv/bin/python bench/growth.py

bench-quick: bench-venv ## the same in a minute, with less certain numbers
	.venv/bin/python bench/run.py --quick

bench-showcase: venv ## the showcase server beside the same one with sqlite3 on the loop (two minutes)
	tools/need-apt.sh wrk
	tools/build.sh bench
	.venv/bin/python bench/showcase.py

bench-venv:
	tools/venv.sh bench

crash: ## power cuts, failing disks, kill -9: the long form (ROUNDS=500: ten minutes)
	tools/crash.sh

fuzz: ## each fuzz target for a minute, with libFuzzer (SECONDS_EACH=60)
	tools/fuzz.sh

soak: ## an hour of mixed load with faults (MINUTES=60); the report lands in build/soak/
	tools/soak.sh

venv: ## leave .venv with looplite and the test extra installed
	tools/venv.sh install

clean: ## remove what was built, .venv included; downloaded data stays
	rm -rf build .venv .pytest_cache .hypothesis .mypy_cache .ruff_cache dist
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
