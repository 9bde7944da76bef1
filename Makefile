# Set-up and the commands of everyday use. PYTHON chooses the interpreter (>= 3.11) that .venv is made from.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The torch wheel: a CPU build is enough here. TORCH_INDEX may name an index that holds the build you want.
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMP := $(VENV)/.installed
# Tests wait much for processes that they start, so two of them go side by side.
SIDE_BY_SIDE := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: quickstart test test-all lint bench bench-stopping docs clean install

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -q torch==2.13.0 $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	$(PIP) install -q -c constraints.txt -e '.[dev]'
	touch $(STAMP)

quickstart: $(STAMP)
	$(BIN)/orchestrate run search_spaces/quickstart.yaml

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(STAMP) lint
	$(BIN)/python -m pytest $(SIDE_BY_SIDE)

test-all: $(STAMP) lint
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "slow or not slow"

bench: $(STAMP)
	$(BIN)/python -m tests.benchmarks

bench-stopping: $(STAMP)
	$(BIN)/python -m tests.benchmarks.bench_stopping

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

clean:
	rm -rf $(VENV) site runs .pytest_cache .mypy_cache .ruff_cache
