# One purpose each. A machine needs Python 3.11 or newer (venv, pip) and make.
#
#   make demo       install the service; run a region from start to verdict
#   make test       install what the tests need; run them
#   make lint       style, types, import rules, contracts, generated files
#   make bench      ratios against the raw operations
#   make docs       write the reference pages that come from the code
#   make generate   write the modules of the gRPC contracts, and the examples
#   make install    everything that development needs, in $(VENV)
#   make requirements   pin the newest dependencies, with hashes

SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: demo test lint bench docs generate install requirements clean

VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
TESTS ?= tests
# Files of tests run beside one another.
JOBS ?= 2

demo: $(VENV)/.server-installed
	$(BIN)/yinxin demo

test: $(VENV)/.dev-installed
	$(BIN)/pytest $(TESTS) --numprocesses $(JOBS) --dist loadfile

lint: $(VENV)/.dev-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/contracts.py lint
	$(BIN)/python tools/contracts.py check
	$(BIN)/python tools/make_examples.py --check
	$(BIN)/python tools/make_reference.py --check

bench: $(VENV)/.dev-installed
	$(BIN)/pytest benchmarks --quiet --benchmark-quiet

docs: $(VENV)/.dev-installed
	$(BIN)/python tools/make_reference.py

generate: $(VENV)/.dev-installed
	$(BIN)/python tools/contracts.py generate
	$(BIN)/python tools/make_examples.py

install: $(VENV)/.dev-installed

# Stamps: an installation is done again when what it was made from has changed.
# An editable install cannot be combined with hashes, hence the two steps.
$(VENV)/.server-installed: requirements/server.txt pyproject.toml | $(VENV)/.made
	$(PIP) install --quiet --require-hashes -r requirements/server.txt
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev-installed: requirements/dev.txt pyproject.toml | $(VENV)/.made
	$(PIP) install --quiet --require-hashes -r requirements/dev.txt
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.server-installed

$(VENV)/.made:
	@python=$$(bash tools/find_python) && echo "$$python -m venv $(VENV)" && "$$python" -m venv $(VENV)
	@touch $@

COMPILE := pip-compile --quiet --upgrade --generate-hashes --allow-unsafe --strip-extras \
	--no-header --no-emit-index-url --no-emit-find-links --no-emit-trusted-host
requirements: | $(VENV)/.made
	$(PIP) install --quiet pip-tools
	$(BIN)/$(COMPILE) --extra build --extra server --extra hsm --extra dev -o requirements/dev.txt pyproject.toml
	$(BIN)/$(COMPILE) --extra build --extra server -c requirements/dev.txt -o requirements/server.txt pyproject.toml
	$(BIN)/$(COMPILE) -c requirements/dev.txt -o requirements/base.txt pyproject.toml

clean:
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
