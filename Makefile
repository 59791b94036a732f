# Everything starts here; `make` alone lists the commands. Each one sets up what it needs, once.
# PYTHON may name the interpreter: make test PYTHON=/opt/python3.12/bin/python3

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$p"; break; }; done)

VENV := .venv
VENV_SERVICE := .venv-service
VENV_INTEGRATIONS := .venv-integrations
READY := $(VENV)/.ready
READY_SERVICE := $(VENV_SERVICE)/.ready
READY_INTEGRATIONS := $(VENV_INTEGRATIONS)/.ready
BIN := $(VENV)/bin

PIP := -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
ONE_THREAD := AYS_THREADS=1 OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

.PHONY: help demo serve test lint test-all test-service test-images test-integrations test-gpu chaos fuzz bench bench-service soak bench-quality bench-calibration bench-fitted bench-scale clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

demo: $(READY) ## fit a schedule to the bundled model, end to end, and show what it buys
	@$(BIN)/ays demo

serve: $(READY) ## run the API, a worker and an embedded Redis on 127.0.0.1:8000 until Ctrl-C
	@exec $(BIN)/ays serve

# Both environments side by side: pip uses one core.
test: ## all checks and tests
	@$(MAKE) --no-print-directory --jobs=2 $(READY) $(READY_SERVICE)
	@$(MAKE) --no-print-directory lint test-all test-service

lint: $(READY) ## style, types and import borders
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test-all: $(READY) ## the tests, those of test-service left out
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not images and not integrations and not gpu" --ignore=tests/service --ignore=tests/client

test-service: $(READY_SERVICE) ## the tests of the service and the client, where torch is not installed
	@! $(VENV_SERVICE)/bin/python -c 'import torch' 2>/dev/null || { echo "error: torch is installed in $(VENV_SERVICE)"; exit 1; }
	$(VENV_SERVICE)/bin/python -m pytest -n 2 --dist loadfile tests/service tests/client

test-images: $(READY) ## what both images hold and do, torch included, in environments made as the Dockerfile says
	$(ONE_THREAD) $(BIN)/python -m pytest -m "images or not images" tests/deploy

test-integrations: $(READY_INTEGRATIONS) ## the Ray Serve example under Ray itself, which is half a gigabyte: in an environment of its own
	$(ONE_THREAD) $(VENV_INTEGRATIONS)/bin/python -m pytest -m integrations tests/integrate

test-gpu: $(READY) ## the worker on a CUDA device: answers, memory, compiled networks, whole jobs; skipped without one
	$(ONE_THREAD) $(BIN)/python -m pytest -m gpu -n 4 --dist loadgroup tests/gpu

chaos: $(READY) ## ten minutes of faults on real processes: what is accepted is answered, whole, and as if nothing had happened
	$(ONE_THREAD) $(BIN)/python -m tests.chaos

bench: $(READY) ## ours against every other method, half an hour on two cores: docs/results.md
	$(ONE_THREAD) $(BIN)/python -m benchmarks.compare

bench-service: $(READY) ## requests a second of the service next to a bare FastAPI route, and the time from POST to schedule
	$(ONE_THREAD) $(BIN)/python -m benchmarks.service_bench

fuzz: $(READY) ## ten minutes of damaged values in Redis and in files: clear errors, nothing else suffers, no process dies; FUZZ="--seed 7 --minutes 1"
	$(ONE_THREAD) $(BIN)/python -m tests.fuzz $(FUZZ)

soak: $(READY) ## ten minutes of mixed load: memory of service and worker stays where it was
	$(ONE_THREAD) $(BIN)/python -m benchmarks.soak

bench-quality: $(READY) ## error of our schedules against stock and direct search: a table and a plot in docs/results/
	$(BIN)/python -m benchmarks.quality

bench-calibration: $(READY) ## is the number in the answer true? intervals of reports against fresh noises; CALIBRATION="--models mixture --nfe 8"
	$(ONE_THREAD) $(BIN)/python -m benchmarks.calibration $(CALIBRATION)

bench-fitted: $(READY) ## the fitted solver against fixed ones with their best schedules; FITTED="--models mixture --nfe 8"
	$(ONE_THREAD) $(BIN)/python -m benchmarks.fitted $(FITTED)

bench-scale: $(READY) ## one profile on 1, 2 and 4 workers: the same bits, sooner
	$(ONE_THREAD) $(BIN)/python -m benchmarks.scale_out --write

clean: ## remove the environments and everything that was computed
	rm -rf $(VENV) $(VENV_SERVICE) $(VENV_INTEGRATIONS) .ays out build dist

$(READY): constraints.txt pyproject.toml
	$(call environment,$(VENV),dev)

$(READY_SERVICE): constraints.txt pyproject.toml
	$(call environment,$(VENV_SERVICE),test-service)

$(READY_INTEGRATIONS): constraints.txt pyproject.toml
	$(call environment,$(VENV_INTEGRATIONS),integrations)

# An environment from scratch: setuptools is pinned and installed first, so that building our own package downloads nothing else.
define environment
	@[ -n "$(PYTHON)" ] || { echo "error: found no Python 3.11 or newer; install one, or name it: make PYTHON=/path/to/python3"; exit 1; }
	@echo "setting up $(1) with $$("$(PYTHON)" --version); the first time this downloads a few hundred megabytes"
	@rm -rf $(1)
	@"$(PYTHON)" -m venv $(1)
	@$(1)/bin/python $(PIP) setuptools
	@$(1)/bin/python $(PIP) --no-build-isolation --editable '.[$(2)]'
	@touch $(1)/.ready
endef
