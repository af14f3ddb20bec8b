# One gate for people and machines: `.ci/run` calls the same targets. Each target sets up what it needs by itself,
# from nothing but Python 3.11 or newer: `make demo`, or `make PYTHON=python3.13 test`.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV ?= .venv
LOWEST ?= .venv-lowest
RL ?= .venv-rl
TOOLS ?= .venv-lock
JOBS ?= 2
# Branch coverage in whole percent: a gate of 0.97 would mean 0.97 %.
COVERAGE ?= 85
PYTEST_ARGS ?=
# Options of pip for PyTorch alone, an index of CPU wheels for instance.
RL_PIP ?=

BIN := $(VENV)/bin
PIP := -m pip --disable-pip-version-check --quiet install
# Old pips build source archives the old way and say so at length; new ones ignore the setting.
export PIP_USE_PEP517 := 1
# A file's tests stay on one worker (`loadfile`), or two workers would each pay for its costly fixtures; files with slow
# tests come first (tests/conftest.py), not those with the most tests.
# One thread per worker: `JOBS` processes with a pool of BLAS threads each would fight for the same cores.
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

.PHONY: help demo test check format bench study rl browser lock smoke-lowest clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1|/' \
	  | while IFS='|' read -r name text; do printf '  make %-14s %s\n' "$$name" "$$text"; done

demo: $(VENV)/run.stamp ## two worlds: simulated log -> backtest -> launch decision -> 30 days live, in about a minute
	$(BIN)/tactful demo --replace

test: $(VENV)/dev.stamp ## every test but the long studies, with the coverage gate (a quarter of an hour on 2 cores)
	$(ONE_THREAD) $(BIN)/python -m pytest -m "not study" -n $(JOBS) --dist loadfile --no-loadscope-reorder \
	  --cov --cov-branch --cov-report=term --cov-fail-under=$(COVERAGE) $(PYTEST_ARGS)

check: $(VENV)/dev.stamp ## format, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/dev.stamp ## rewrite the files in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/dev.stamp ## every benchmark; figures go to tests/benchmarks/results/
	@mkdir -p tests/benchmarks/results; \
	for script in tests/benchmarks/bench_*.py; do \
	  [ -e "$$script" ] || { echo "no tests/benchmarks/bench_*.py" >&2; exit 1; }; \
	  name=$$(basename "$$script" .py); echo "== $$name"; \
	  $(BIN)/python "$$script" --json "tests/benchmarks/results/$${name#bench_}.json"; \
	done

study: $(VENV)/dev.stamp ## the long statistical studies; their tables go to docs/
	@$(ONE_THREAD) $(BIN)/python -m pytest -m study -n $(JOBS) --dist loadfile $(PYTEST_ARGS) \
	  || { code=$$?; [ $$code -eq 5 ] || exit $$code; }  # 5: no test carries the mark
	@for script in $$(grep -l '^if __name__' experiments/study/*.py | grep -v maskable_ppo); do \
	  name=$$(basename "$$script" .py); echo "== $$name"; \
	  $(BIN)/python -m "experiments.study.$$name"; \
	done

rl: $(RL)/stamp ## another library's learner on our environments; its table goes to docs/other-library.md
	$(ONE_THREAD) $(RL)/bin/python -m pytest tests/experiments/study/test_maskable_ppo.py $(PYTEST_ARGS)
	$(ONE_THREAD) $(RL)/bin/python -m experiments.study.maskable_ppo

browser: $(VENV)/dev.stamp ## the launch report in a real browser; needs Chromium on the machine
	$(BIN)/python $(PIP) -c <($(call pins,lock/dev.txt)) -e '.[browser]'
	$(ONE_THREAD) $(BIN)/python -m pytest tests/experiments/judge/test_launch_page_in_browser.py $(PYTEST_ARGS)

# What other versions break shows in any case of a test; the tests loose in tests/ read this checkout, not its packages.
smoke-lowest: $(LOWEST)/stamp ## the quick tests, the first and last case of each, on the lowest versions of pyproject.toml
	$(ONE_THREAD) $(LOWEST)/bin/python -m pytest tests/engine tests/policies tests/simulator tests/experiments \
	  tests/test_public_face.py -m "not slow and not study" --ends -n $(JOBS) --dist loadfile -W default $(PYTEST_ARGS)

# Without index addresses and with markers for every platform, so that one file serves every machine. The hashes of all
# files of each version make pip refuse any other; it then finds a pin for `name[extra]` only under that very name.
COMPILE = $(TOOLS)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-config \
  --no-emit-index-url --no-strip-extras --generate-hashes --custom-compile-command "make lock" pyproject.toml
lock: $(TOOLS)/stamp ## resolve the lock files anew: run, dev, lowest
	$(COMPILE) --extra fast --output-file lock/run.txt
	$(COMPILE) --extra dev --constraints lock/run.txt --output-file lock/dev.txt
	$(COMPILE) --extra fast --extra postgres --extra sklearn --extra test --resolution lowest-direct --output-file lock/lowest.txt

clean: ## remove environments, caches and build output
	rm -rf $(VENV) $(LOWEST) $(RL) $(TOOLS) dist build .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache \
	  .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- environments --------------------------------------------------------------------------------------------------

define new_venv
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: tactful needs Python 3.11 or newer, '$(PYTHON)' is" \
	       "$$($(PYTHON) --version 2>&1 || true); choose another with: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
	  echo "error: '$(PYTHON)' cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@[ -x $(1)/bin/python ] || $(PYTHON) -m venv $(1)
endef

# A lock file's versions alone, as constraints beside packages that it does not hold: pip would demand hashes of those too.
pins = sed -e '/^ *--hash=/d' -e 's/ *\\$$//' $(1)

$(VENV)/run.stamp: lock/run.txt pyproject.toml
	$(call new_venv,$(VENV))
	$(BIN)/python $(PIP) -r lock/run.txt
	$(BIN)/python $(PIP) --no-deps -e .
	@touch $@

# The development set holds the run-time set at the same versions, so the two share one environment.
$(VENV)/dev.stamp: lock/dev.txt pyproject.toml
	$(call new_venv,$(VENV))
	$(BIN)/python $(PIP) -r lock/dev.txt
	$(BIN)/python $(PIP) --no-deps -e .
	@touch $@ $(VENV)/run.stamp

$(LOWEST)/stamp: lock/lowest.txt pyproject.toml
	$(call new_venv,$(LOWEST))
	$(LOWEST)/bin/python $(PIP) -r lock/lowest.txt
	$(LOWEST)/bin/python $(PIP) --no-deps -e .
	@touch $@

# PyTorch first and alone: on Linux its default wheel is for CUDA, and RL_PIP may name an index of smaller ones.
$(RL)/stamp: lock/run.txt pyproject.toml
	$(call new_venv,$(RL))
	$(RL)/bin/python $(PIP) $(RL_PIP) 'torch>=2.13'
	$(RL)/bin/python $(PIP) -r lock/run.txt
	$(RL)/bin/python $(PIP) -c <($(call pins,lock/run.txt)) -e '.[rl,test]'
	@touch $@

$(TOOLS)/stamp:
	$(call new_venv,$(TOOLS))
	$(TOOLS)/bin/python $(PIP) 'uv>=0.5'
	@touch $@
