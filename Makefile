# `make demo` and `make test` are all that a stranger needs; both set up by themselves.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.ready

.PHONY: setup demo test lint format protos lock wheels clean

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"Earmark needs Python 3.11 or newer; {sys.executable} is {v[0]}.{v[1]}. Name another: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: setup
	$(BIN)/python -m demo

test: setup
	$(BIN)/python -m pytest

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

lock:  # brings requirements.lock up to date with pyproject.toml; needs uv
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-annotate --extra gateway --extra trainer --extra demo --extra dev pyproject.toml -o requirements.lock

wheels: setup  # for one run of bench.accelerator on a machine without network; see bench/README.md
	rm -rf build/wheels
	$(BIN)/python -m bench.accelerator.wheels build/wheels

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist demo-output
