# `make demo` and `make test` are all that a stranger needs; both set up by themselves.
PYTHON ?= python3
BIN := .venv/bin
# cuda or cpu; by itself, cuda where NVIDIA's driver lists a GPU.
DEVICE ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo cuda || echo cpu)
STAMP := .venv/.ready-$(DEVICE)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

ifeq ($(filter cpu cuda,$(DEVICE)),)
$(error DEVICE is cpu or cuda, not "$(DEVICE)")
endif

.PHONY: setup demo test deploy-check lint format protos proto-archive baseline lock wheels sbom audit clean

setup: $(STAMP)

$(STAMP): requirements.lock requirements-cuda.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"Earmark needs Python 3.11 or newer; {sys.executable} is {v[0]}.{v[1]}. Name another: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(INSTALL) --require-hashes -r requirements.lock
ifeq ($(DEVICE),cuda)
	$(INSTALL) --require-hashes -r requirements-cuda.lock
endif
	$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: setup
	EARMARK_DEVICE=$(DEVICE) $(BIN)/python -m demo

test: setup  # on the CPU everywhere: the tests compare bytes, and share the machine
	JAX_PLATFORMS=cpu $(BIN)/python -m pytest

deploy-check: setup  # renders and checks the chart and the Dockerfile; fetches Helm and the schemas of Kubernetes
	EARMARK_TEST_DEPLOY=1 $(BIN)/python -m pytest tests/deploy

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

protos: setup  # writes protos/gen anew, with the compiler of protos/requirements.lock
	$(BIN)/python -m protos.generate

proto-archive: setup  # writes build/earmark-protos.tar.gz: the .proto files with one include root
	$(BIN)/python -m protos.archive

LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate
CLIENTS := tests/client/environments

baseline: setup  # makes the contract as it is the one that later changes must be compatible with
	$(BIN)/buf build --exclude-source-info -o protos/baseline.binpb

lock:  # brings requirements.lock and the clients' packages up to date with pyproject.toml and package.json; needs uv, npm
	$(LOCK) --extra gateway --extra trainer --extra otel --extra ray --extra demo --extra dev pyproject.toml -o requirements.lock
	$(LOCK) --resolution lowest-direct pyproject.toml -o $(CLIENTS)/oldest.lock
	$(LOCK) --constraint $(CLIENTS)/middle.in pyproject.toml -o $(CLIENTS)/middle.lock
	$(LOCK) pyproject.toml -o $(CLIENTS)/newest.lock
	$(LOCK) --extra cuda --constraint requirements.lock pyproject.toml -o requirements-cuda.lock
	$(LOCK) --extra supply --constraint requirements.lock pyproject.toml -o requirements-supply.lock
	npm install --prefix tests/client/node --package-lock-only --ignore-scripts --no-audit --no-fund

wheels: setup  # for one run of bench.accelerator on a machine without network; see bench/README.md
	rm -rf build/wheels
	$(BIN)/python -m bench.accelerator.wheels build/wheels

SUPPLY := build/supply

$(SUPPLY)/.ready: requirements-supply.lock
	$(PYTHON) -m venv $(SUPPLY)
	$(SUPPLY)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-supply.lock
	@touch $@

sbom: setup $(SUPPLY)/.ready  # writes build/sbom.json: every package of .venv with its version and licence, as CycloneDX
	$(SUPPLY)/bin/cyclonedx-py environment $(BIN)/python --pyproject pyproject.toml -o build/sbom.json

audit: setup $(SUPPLY)/.ready  # asks OSV for the known vulnerabilities of what the lock files name; needs the network
	$(SUPPLY)/bin/pip-audit --vulnerability-service osv --disable-pip --require-hashes -r requirements.lock -r requirements-cuda.lock

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist demo-output
