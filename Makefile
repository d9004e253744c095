# Everything that a fresh clone needs is one of these words; `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test chaos docs client lint format bench lock clean

VENV := .venv
PYTHON := $(VENV)/bin/python
# Names what is installed, so that a changed lock is noticed after a pull and nothing is done twice.
STAMP := $(VENV)/.installed-$(shell cat requirements.lock pyproject.toml | sha256sum | cut -c1-16)

# Nothing is written outside the clone.
export PREFECT_HOME ?= $(CURDIR)/.cache/prefect
export PIP_NO_CACHE_DIR := 1
# Nothing is told to anybody else either: Prefect's usage statistics.
export DO_NOT_TRACK := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# A word such as FAST is on unless it is empty or 0.
on = $(filter-out 0,$($(1)))

ROOT_ON_DEBIAN := $(shell [ "$$(id -u)" = 0 ] && grep -qsx 'ID=debian' /etc/os-release && echo yes)
SITE ?= $(if $(ROOT_ON_DEBIAN),real,simulated)
HOSTS ?= $(if $(filter real,$(SITE)),1,3)

help: ## list these words
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' $(MAKEFILE_LIST) | expand -t 14

setup: $(STAMP) ## virtual environment and, as root on Debian, the packages of the real site
	@lab/debian.sh
	@mkdir -p $(PREFECT_HOME)

demo: setup ## hosts from power-on to in operation; SITE=real|simulated HOSTS=n PULP=1 PUPPET=1 CANDLEPIN=1 KEEP=1
	$(PYTHON) -m lab.demo --site $(SITE) --hosts $(HOSTS) \
	  $(if $(call on,PULP),--pulp) $(if $(call on,PUPPET),--puppet) $(if $(call on,CANDLEPIN),--candlepin) $(if $(call on,KEEP),--keep)

test: setup lint ## all that is checked; FAST=1: no root, no servers; JOBS=n: n at once
	$(PYTHON) -m pytest $(if $(call on,JOBS),-n $(JOBS) --dist loadfile) \
	  $(if $(call on,FAST),-m "not servers and not machines and not long")

chaos: setup ## faults at every point of every flow; BUDGET=seconds SEED=n
	$(PYTHON) -m tests.chaos --budget $(or $(BUDGET),1200) --seed $(or $(SEED),1)

docs: $(STAMP) ## the documentation, in build/docs; SERVE=1: at http://127.0.0.1:8000
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs $(if $(call on,SERVE),serve,build --strict --quiet)

client: $(STAMP) ## a Python client of the API, generated into build/client
	$(PYTHON) -m docs.generate.client build/client

lint: $(STAMP) ## style, format and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(STAMP) ## put into the one format what is not
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: setup ## what Rackrise costs
	@above=0; for program in benchmarks/[a-z]*.py; do \
	  $(PYTHON) -m benchmarks.$$(basename $$program .py) || above=1; \
	done; exit $$above

lock: $(STAMP) ## resolve the dependencies of pyproject.toml; versions in the lock are kept
	$(VENV)/bin/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make lock" --quiet --output-file requirements.lock
	$(VENV)/bin/uv pip compile lab/pulp.in --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make lock" --quiet --output-file lab/pulp.lock
	$(VENV)/bin/uv pip compile lab/rhsm.in --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make lock" --quiet --output-file lab/rhsm.lock

clean: ## remove what was made here: environment, caches, images of the lab
	rm -rf $(VENV) .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# python3 -m venv needs the package python3-venv, so Debian's packages come first.
$(PYTHON):
	lab/debian.sh
	@for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "Making $(VENV) with $$($$python --version)"; \
	    $$python -m venv $(VENV) || { rm -rf $(VENV); exit 1; }; \
	    exit 0; \
	  fi; \
	done; \
	echo "No Python 3.11 or newer was found." >&2; exit 1

# Exactly the lock, from whichever index pip knows. Some packages come as source only: they are built
# with the lock's setuptools, and not with whatever is the newest today.
PIP_INSTALL := $(PYTHON) -m pip install --quiet --no-deps --no-build-isolation
$(STAMP): | $(PYTHON)
	@echo "Installing requirements.lock"
	@$(PIP_INSTALL) --require-hashes -r <(sed -n '/^setuptools==/,/# via/p' requirements.lock)
	@$(PIP_INSTALL) --require-hashes -r requirements.lock
	@$(PIP_INSTALL) --editable .
	@rm -f $(VENV)/.installed-*
	@touch $@
