# Each target does its own set-up in .venv; all that it needs is Python 3.11, make and the package registry.

PYTHON ?= python3.11
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo test check lint bench clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python pyproject.toml
	$(PIP) install -q -e '.[demo]'
	touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml
	$(PIP) install -q -e '.[test]'
	touch $@

## Install, index real clips and sounds, ask eight questions, write demo/report.html.
demo: $(VENV)/.demo
	$(BIN)/python scripts/demo/demo.py

## The tests that take seconds, and every gate: lint, types, import arrows.  Two at once, file by file.
test: $(VENV)/.test
	$(BIN)/python -m pytest -m "not slow" -n $(WORKERS) --dist loadfile

## The slow tests: the demo, kills of the real pack, long media.
check: $(VENV)/.test
	$(BIN)/python -m pytest -m slow

## The main figures of docs/experiments.md, over the labelled clips beside the checkout; each prints its machine.
bench: $(VENV)/.test
	for script in quality moments indexing rerank training encode; do $(BIN)/python benchmarks/$$script.py || exit 1; done
	$(BIN)/python benchmarks/search.py --at build/bench

clean:
	rm -rf $(VENV) demo build *.egg-info
