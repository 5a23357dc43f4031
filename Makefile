# make demo   simulate a case, analyse it, open it in the browser   (ARGS=--no-open: only say where; --serve: only print the address)
# make test   everything that is checked, as continuous integration runs it
# make bench  ratios against named peers, measured side by side
# make generate   write again what is made from the code
# Each does its own set-up; a second run starts at once.

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test bench setup lint pytest generate clean

setup:
	@$(PYTHON) scripts/setup.py --venv $(VENV)

demo: setup
	@$(BIN)/python scripts/demo.py $(ARGS)

test: setup lint pytest

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

pytest:
	$(BIN)/python scripts/run_tests.py $(ARGS)

bench: setup
	$(BIN)/python -m Testing.benchmarks $(ARGS)

# After adding files, verbs or models: write what is made from the code (lists, schema, docs, README table).
generate:
	$(BIN)/python Testing/slicer/cmake_lists.py --write
	$(BIN)/python scripts/write_docs.py

clean:
	rm -rf $(VENV) demo .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache
