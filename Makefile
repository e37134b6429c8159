# Everything is made from a bare clone on a machine with Python 3.11; `make` lists what there is.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ROLES := analysis train infer submit
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM := false

.PHONY: help install demo test check lint types docs compile lock clean benchmark-cascade benchmark-nightly benchmark-speed benchmark-watch

help:  ## List the targets.
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

install: $(STAMP)  ## Make .venv with everything that development needs.

$(STAMP): requirements/dev.txt requirements/no-deps.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check "uv>=0.9"
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r requirements/no-deps.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

demo: $(STAMP)  ## Learn a task from a rehearsal teacher and publish a classifier; under build/demo.
	$(BIN)/python -m pipelines.demo

test: $(STAMP)  ## Run all tests.
	$(BIN)/python -m pytest

check: lint types  ## Lint and type-check.

lint: $(STAMP)  ## Lint and check the format.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)  ## Type-check strictly.
	$(BIN)/mypy

docs: $(STAMP)  ## Refresh the generated parts of the docs.
	$(BIN)/python -m understudy.docs

compile: $(STAMP)  ## Compile the pipelines to build/pipelines.
	$(BIN)/python -m pipelines.compile --out build/pipelines

benchmark-cascade: $(STAMP)  ## Measure what the first stage gains and loses on real sentences, and whether its promise holds.
	$(BIN)/python -m benchmarks.cascade

benchmark-nightly: $(STAMP)  ## Measure a night of a million texts: memory, growth, and the share of Elasticsearch's own speed.
	$(BIN)/python -m benchmarks.nightly

benchmark-speed: $(STAMP)  ## Measure the engine against other ways to run the same classifiers on this CPU.
	$(BIN)/python -m benchmarks.speed

benchmark-watch: $(STAMP)  ## Simulate years of nights: false alarms of the watch, and nights until it sees a shift.
	$(BIN)/python -m benchmarks.watch

lock: $(STAMP)  ## Resolve all dependencies again, with hashes and without addresses.
	for role in $(ROLES); do \
	  $(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 \
	    --extra $$role pyproject.toml --no-emit-package understudy --output-file images/$$role/requirements.txt; \
	done
	$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 \
	  --extra dev pyproject.toml --no-emit-package understudy --no-strip-extras --output-file requirements/dev.txt

clean:  ## Remove what was built, but not .venv.
	rm -rf build
