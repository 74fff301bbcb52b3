# `make` lists what there is. uv makes the environment where it is on the PATH, pip otherwise.
PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install run test slow check format clean

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

install: $(STAMP) ## make .venv and install SureSQL with what its development needs

$(STAMP): pyproject.toml
	@if command -v uv >/dev/null; then \
	  uv venv --allow-existing --python $(PYTHON) $(VENV) && VIRTUAL_ENV=$(VENV) uv pip install --python $(BIN)/python -e '.[dev]'; \
	else \
	  $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --disable-pip-version-check -e '.[dev]'; \
	fi
	@touch $@

run: $(STAMP) ## serve the shipped model on the demo database at HOST:PORT (127.0.0.1:8000)
	@$(BIN)/suresql serve --host $(HOST) --port $(PORT)

test: $(STAMP) ## the fast tests
	$(BIN)/python -m pytest

slow: $(STAMP) ## the slow tests
	$(BIN)/python -m pytest -m 'slow and not vllm'

check: $(STAMP) ## format, lint, types, imports, dead code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/vulture corpus model optim serving sqlconf --min-confidence 80

format: $(STAMP) ## mend what ruff can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove the environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
