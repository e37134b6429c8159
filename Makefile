# Everything is made from a bare clone on a machine with Python 3.11; `make` lists what there is.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORKERS ?= 3
ROLES := analysis train infer submit
KUSTOMIZE := $(HOME)/.cache/understudy/bin/kustomize
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM := false

.PHONY: help install demo test test-first-day test-attack test-long test-cluster check lint types arrows docs seeds compile lock images hadolint sbom audit manifests kustomize validate clean benchmark-cascade benchmark-labels benchmark-memory benchmark-nightly benchmark-precision benchmark-preference benchmark-quality benchmark-speed benchmark-teacher benchmark-watch

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
	$(BIN)/python -m tools.demo

test: $(STAMP)  ## Run all tests, some at once: WORKERS=1 for one after the other.
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadgroup

test-first-day: $(STAMP)  ## Go a new user's first day: the installed wheel, own files, a home of its own.
	$(BIN)/python -m pytest -m first_day tests/test_first_day.py

test-attack: $(STAMP)  ## Attack the product, a line a figure: kills, faults, malformed input, keys. ATTACK=long for all of it.
	$(BIN)/python -m tests.attack

test-long: $(STAMP)  ## Run what is too long for every change: a real Label Studio, a night of lost pods, the attack in full.
	$(BIN)/python -m pytest -m long tests
	ATTACK=long $(BIN)/python -m tests.attack

test-cluster: $(STAMP)  ## Run the tests on a Kubernetes cluster: KUBECONFIG's, or one that is started for them.
	$(BIN)/python -m pytest -m 'cluster and not long' tests/cluster

check: lint types arrows  ## Lint, type-check, and hold the arrows between the rooms.

lint: $(STAMP)  ## Lint and check the format.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)  ## Type-check strictly.
	$(BIN)/mypy

arrows: $(STAMP)  ## Check which room imports which, and that nothing is dead.
	PYTHONPATH=.:components $(BIN)/lint-imports
	$(BIN)/vulture

docs: $(STAMP)  ## Refresh the generated parts of the docs.
	$(BIN)/python -m tools.docs

seeds: $(STAMP)  ## Print our figures beside those of the four systems; KEEP=1 first keeps what the benchmarks wrote to build/.
	$(BIN)/python -m tools.seeds $(if $(KEEP),--keep)

compile: $(STAMP)  ## Compile the pipelines to build/pipelines.
	$(BIN)/understudy compile --out build/pipelines

benchmark-cascade: $(STAMP)  ## Measure what the first stage gains and loses on real sentences, and whether its promise holds.
	$(BIN)/python -m benchmarks.cascade

benchmark-memory: $(STAMP)  ## Measure the peak memory of every step on the demo's texts.
	$(BIN)/python -m benchmarks.memory

benchmark-nightly: $(STAMP)  ## Measure a night of a million texts: memory, growth, and the share of Elasticsearch's own speed.
	$(BIN)/python -m benchmarks.nightly

benchmark-precision: $(STAMP)  ## Measure what int8 changes on real sentences: labels, and F1 against people's.
	$(BIN)/python -m benchmarks.precision

benchmark-speed: $(STAMP)  ## Measure the engine against other ways to run the same classifiers on this CPU.
	$(BIN)/python -m benchmarks.speed

benchmark-labels: $(STAMP)  ## Train on 77 intents and compare; DATA names the folder that has banking77/ and the others.
	UNDERSTUDY_SHARED=$(if $(DATA),$(abspath $(DATA)/..),$${UNDERSTUDY_SHARED:-../shared}) $(BIN)/python -m benchmarks.labels

benchmark-preference: $(STAMP)  ## Measure what pairs within a session gain; DATA names the folder of shared data, SEEDS=1 SIZE=small is short.
	UNDERSTUDY_SHARED=$(if $(DATA),$(abspath $(DATA)/..),$${UNDERSTUDY_SHARED:-../shared}) $(BIN)/python -m benchmarks.preference

benchmark-quality: $(STAMP)  ## Measure the student on labels by people; DATA names the folder of shared data, SEEDS=1 SIZE=small is short.
	UNDERSTUDY_SHARED=$(if $(DATA),$(abspath $(DATA)/..),$${UNDERSTUDY_SHARED:-../shared}) $(BIN)/python -m benchmarks.quality

benchmark-teacher: $(STAMP)  ## Audit simulated teachers, and time the labeller; DATA names the folder of shared data.
	DATA=$(if $(DATA),$(abspath $(DATA))) $(BIN)/python -m benchmarks.teacher_depth

benchmark-watch: $(STAMP)  ## Simulate years of nights: false alarms of the watch, and nights until it sees a shift.
	$(BIN)/python -m benchmarks.watch

LOCK := $(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11

lock: $(STAMP)  ## Resolve all dependencies again, with hashes and without addresses.
	for role in $(ROLES); do \
	  $(LOCK) --extra $$role pyproject.toml --no-emit-package understudy --output-file images/$$role/requirements.txt; \
	done
	for role in $(filter-out submit,$(ROLES)); do \
	  echo "# KFP's executor, which starts a step, needs none of kfp's dependencies." >> images/$$role/requirements.txt; \
	  echo kfp | $(LOCK) --no-deps --constraint images/submit/requirements.txt - >> images/$$role/requirements.txt; \
	done
	printf 'uv\nsetuptools\n' | $(LOCK) --no-deps --output-file images/build.txt -
	$(LOCK) --extra dev pyproject.toml --no-emit-package understudy --no-strip-extras --output-file requirements/dev.txt

# Images. BASE is the image to build on; BUILDER, PUSH=1, SAVE=DIR, WEIGHTS=1, SOURCE and BUILD_FLAGS are optional.
images: $(STAMP)  ## Build the images: make images BASE=python:3.11-slim [ROLES="infer submit"] [PUSH=1 | SAVE=build/images].
	$(BIN)/python -m tools.images --base "$(BASE)" $(ROLES:%=--role %) $(BUILDER:%=--builder %) $(PUSH:%=--push) \
	  $(SAVE:%=--save %) $(WEIGHTS:%=--weights) $(SOURCE:%=--source %) --flags="$(BUILD_FLAGS)"

hadolint: $(STAMP)  ## Check the Dockerfile.
	$(BIN)/hadolint images/Dockerfile

sbom: $(STAMP)  ## Write the parts of each image as CycloneDX to build/sbom.
	mkdir -p build/sbom
	for role in $(ROLES); do \
	  PYTHONWARNINGS=ignore::UserWarning $(BIN)/cyclonedx-py requirements images/$$role/requirements.txt --pyproject pyproject.toml --output-reproducible \
	    --output-file build/sbom/$$role.json; \
	done

audit: $(STAMP)  ## Ask an advisory service about every part of each image.
	$(BIN)/python -m tools.advisories $(ROLES:%=images/%/requirements.txt) $(OSV_URL:%=--osv-url %)

# Manifests. IMAGES=build/images.json pins the digests that `make images PUSH=1` wrote; without it those that are pinned stay. UNPIN=1: tags.
manifests: $(STAMP)  ## Write the generated part of manifests/: make manifests [IMAGES=build/images.json | UNPIN=1].
	$(BIN)/python -m tools.manifests $(IMAGES:%=--images %) $(UNPIN:%=--unpin)

kustomize: $(KUSTOMIZE)  ## Install Kustomize with Go, outside of this folder.

$(KUSTOMIZE):
	GOBIN=$(@D) GOFLAGS=-mod=mod go install sigs.k8s.io/kustomize/kustomize/v5@v5.7.1

validate: $(STAMP) $(KUSTOMIZE) hadolint  ## Check manifests and Dockerfile: current, valid for four minors of Kubernetes, and our own rules.
	$(BIN)/python -m tools.manifests --check
	UNDERSTUDY_REQUIRE_SERVICES=1 $(BIN)/python -m pytest tests/manifests

clean:  ## Remove what was built, but not .venv.
	rm -rf build
