# Every target makes or reuses .venv; none needs a step before it.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
.DEFAULT_GOAL := help
.PHONY: help demo test bench models quality style clean

help: ## what there is to make
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

$(PY):
	$(PYTHON) -m venv $(VENV)

# The live path with what its scores need (no torch), and everything.
$(VENV)/.live: $(PY) pyproject.toml
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[evaluate,calibrate]'
	@touch $@
$(VENV)/.dev: $(PY) pyproject.toml
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[train,dev]'
	@touch $@ $(VENV)/.live

demo: $(VENV)/.live ## the main job on what is in the repository: no GPU, no download, no account
	$(PY) run_pipeline.py --demo

test: $(VENV)/.dev ## all tests
	$(PY) -m pytest -n auto --maxprocesses 4 --dist loadfile

bench: $(VENV)/.dev ## measure, and rewrite benchmarks/results and the README's tables
	$(PY) -m benchmarks

models: $(VENV)/.dev ## train the shipped weights anew
	$(PY) -m trainer models

quality: $(VENV)/.dev ## lint, format check, types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

style: $(VENV)/.dev ## format in place
	$(VENV)/bin/ruff check --fix-only --quiet .
	$(VENV)/bin/ruff format .

clean: ## remove what make made
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache
