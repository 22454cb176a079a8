# Everything a checkout needs: `make demo` shows it running, `make test` tests it. `make help` lists the rest.
#
# All of it lives in .venv, installed from the lock files with their hashes. Stamp files in .venv remember what is
# installed, so a second call neither installs nor uses the network. Works with GNU make 3.81 and newer.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.SUFFIXES:

# Name an interpreter with `make PYTHON=/path/to/python3 …`; otherwise the first of these that is new enough.
PYTHON ?=
PYTHONS := python3.13 python3.12 python3.11 python3
# Resolves for `make lock`, and installs the rest: in a fifth of pip's time.
UV := uv==0.13.9
# Extra arguments of demo, test and lock: `make test ARGS="-k saga"`, `make lock ARGS=--upgrade`.
ARGS ?=
# Processes that run tests: most tests wait for a server, so that two cores are busy with four. 0 is pytest alone.
JOBS ?= 4

VENV := .venv
BIN := $(VENV)/bin
PLACE := $(VENV)/.place
RUNTIME := $(VENV)/.installed-runtime
DEV := $(VENV)/.installed-dev

# --no-user: a `user = true` in somebody's pip configuration cannot work inside a virtual environment.
PIP := $(BIN)/python -m pip --quiet --no-input --disable-pip-version-check
INSTALL := $(PIP) install --no-user --no-warn-script-location
# uv does not know what pip was told about registries and proxies; where it gets nothing, pip goes on.
INSTALL_LOCKED = $(BIN)/uv pip install --quiet --python $(BIN)/python --link-mode copy --compile-bytecode \
	--require-hashes -r $(1) || { echo "pip tries it instead of uv"; $(INSTALL) --require-hashes -r $(1); }
RESOLVE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"
COMPILE := $(RESOLVE) pyproject.toml

# Another program's Python settings must not reach ours.
unexport PYTHONPATH
unexport PYTHONHOME
unexport PYTHONDONTWRITEBYTECODE
# pyright's wheel has all it needs; this keeps it from asking for newer versions.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: $(RUNTIME) ## Start everything in a temporary folder and run the example workflow
	@$(BIN)/dagnats demo $(ARGS)

.PHONY: test
test: $(DEV) ## Run all tests
	@$(BIN)/python -m pytest --numprocesses $(JOBS) --dist load --maxschedchunk 1 $(ARGS)

# What decides has no server and no clock, so that nothing excuses a branch no test takes.
PURE := dagnats/model,dagnats/dsl,dagnats/runtime/core
PURE_TESTS := tests/model tests/dsl tests/core tests/handling tests/workflows

# Nor does luck: random tests have few examples here, the same each time. How long something takes says nothing here.
SPARSE := --timeout=0 --hypothesis-profile=sparse --ignore=tests/core/test_cost.py

.PHONY: coverage
coverage: $(DEV) ## Measure the branches of model, dsl and core (two minutes); fails below 100 %
	@$(BIN)/coverage run --source $(PURE) -m pytest --quiet $(SPARSE) $(PURE_TESTS) $(ARGS)
	@$(BIN)/coverage report --skip-covered --show-missing --fail-under 100

.PHONY: chaos
chaos: $(DEV) ## Kill every process twenty times under load (half an hour)
	@$(BIN)/python -m tests.e2e.chaos $(ARGS)

.PHONY: cluster
cluster: $(DEV) ## Lose one of three NATS servers, then another one, and look at what is said (a minute)
	@$(BIN)/python -m tests.e2e.cluster $(ARGS)

.PHONY: load
load: $(DEV) ## Run 2,000 orders under two engines, a map of 10,000 items, 1,000 sleeping handlers
	@LOAD_RUNS=2000 LOAD_ITEMS=10000 LOAD_SLEEPERS=1000 $(BIN)/python -m pytest -s tests/e2e/test_load.py tests/e2e/test_workers.py --durations=0 $(ARGS)

.PHONY: bench
bench: $(DEV) ## Measure the index of a million runs, and making it anew (five minutes; ARGS="--runs 50000" for less)
	@$(BIN)/python -m benchmarks.index $(ARGS)

.PHONY: crash
crash: $(DEV) ## Kill a process at each boundary of every type of step, the first and the last time
	@CRASH_POINTS=all $(BIN)/python -m pytest --numprocesses 2 tests/simulation/test_crash_points.py tests/runtime/test_crash*.py $(ARGS)

.PHONY: simulate
simulate: $(DEV) ## Run seeds of the simulation: ARGS="--seeds 2000", or ARGS="--seed 7 --trace" for one
	@$(BIN)/python -m tests.simulation $(ARGS)

.PHONY: fuzz
fuzz: $(DEV) ## Say odd things to the API for ten minutes (ARGS="--seconds 60" for less): no fault may be ours
	@$(BIN)/python -m tests.api.fuzz $(ARGS)

.PHONY: check
check: format lint types layers docs ## Format, lint, types, layers and docs: all that CI checks besides the tests

.PHONY: docs
docs: $(DEV) ## Build the documentation into site/
	@$(BIN)/mkdocs build --strict

.PHONY: setup
setup: $(DEV) ## Only install, for editors

.PHONY: lock
lock: $(PLACE) ## Resolve pyproject.toml into the lock files; ARGS=--upgrade takes newer versions
	@$(INSTALL) $(UV)
	@echo "$(UV)" | $(RESOLVE) - --output-file requirements-uv.lock
	@$(COMPILE) --group build $(ARGS) --output-file requirements.lock
	@$(COMPILE) --group build --group dev --constraints requirements.lock $(ARGS) --output-file requirements-dev.lock

.PHONY: clean
clean: ## Remove everything that is made here, .venv included
	@rm -rf $(VENV) site dist .pytest_cache .ruff_cache .hypothesis .coverage
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# -- the parts of `make check`, one word each so that CI can say which one failed ------------------------------

.PHONY: format
format: $(DEV)
	@$(BIN)/ruff format --check .

.PHONY: lint
lint: $(DEV)
	@$(BIN)/ruff check .

.PHONY: types
types: $(DEV)
	@$(BIN)/pyright

.PHONY: layers
layers: $(DEV)
	@$(BIN)/python -m pytest --quiet tests/test_layers.py

# -- installing ------------------------------------------------------------------------------------------------

# Scripts in .venv/bin name this folder, so a copied or moved checkout, or one whose Python is gone, starts anew.
.PHONY: FORCE
FORCE:
ifneq ($(shell test -x $(BIN)/python && cat $(PLACE) 2>/dev/null),$(CURDIR))
$(PLACE): FORCE
endif

define TRY_PYTHON
try() { \
  "$$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || return 1; \
  "$$1" -c 'import ensurepip, venv' >/dev/null 2>&1 || { bare="$$1"; return 1; }; \
  python="$$1"; \
}
endef

$(PLACE):
	@$(TRY_PYTHON); python=; bare=; \
	if [ -n "$(PYTHON)" ]; then \
	  try "$(PYTHON)" || true; \
	else \
	  for name in $(PYTHONS); do try "$$name" && break; done || true; \
	fi; \
	if [ -n "$$python" ]; then \
	  "$$python" -m venv --clear $(VENV) && pwd -P >$(PLACE); \
	elif [ -n "$$bare" ]; then \
	  echo "$$bare has no venv module: install it (on Debian and Ubuntu the package python3-venv), or name another one with 'make PYTHON=/path/to/python3'." >&2; exit 1; \
	elif [ -n "$(PYTHON)" ]; then \
	  echo "PYTHON=$(PYTHON) is not Python 3.11 or newer: name another one with 'make PYTHON=/path/to/python3'." >&2; exit 1; \
	else \
	  echo "No Python 3.11 or newer was found: install one, or name it with 'make PYTHON=/path/to/python3'." >&2; exit 1; \
	fi

$(RUNTIME): requirements-uv.lock requirements.lock pyproject.toml $(PLACE)
	@echo "installing the runtime packages $(if $(wildcard $@),(they changed),(first time only))"
	@$(INSTALL) --require-hashes -r requirements-uv.lock
	@$(call INSTALL_LOCKED,requirements.lock)
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m pip --disable-pip-version-check check >$(VENV)/.pip-check || { \
	  cat $(VENV)/.pip-check >&2; \
	  echo "The lock files do not fit pyproject.toml: run 'make lock'." >&2; exit 1; }
	@touch $@

$(DEV): requirements-dev.lock $(RUNTIME)
	@echo "installing the development tools $(if $(wildcard $@),(they changed),(first time only))"
	@$(call INSTALL_LOCKED,requirements-dev.lock)
	@touch $@
