# Every target makes what it needs, `.venv` included; a second run starts at once.
# PYTHON=python3.12 chooses the interpreter; ARGS="-k name" goes to the tool that the target runs.

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
VENV := .venv/made-with-$(notdir $(PYTHON))
INSTALLED := .venv/installed

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all lint types layers check format bench bench-bars bench-rivals bench-steps bench-gpu clean

help: ## list these targets
	@awk -F ': .*## |: ## ' '/^[a-z-]+: .*## / { printf "%-12s %s\n", $$1, $$NF }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## make .venv and install the pinned versions into it

$(VENV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'maxwhisper needs Python 3.11 or newer: make PYTHON=python3.12'; exit 1; }
	$(PYTHON) -m venv --clear .venv
	@touch $@

$(INSTALLED): $(VENV) pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --constraint constraints.txt pip
	$(BIN)/pip install --constraint constraints.txt --build-constraint constraints.txt \
		--editable '.[demo,base,max]' --group dev
	@touch $@

demo: $(INSTALLED) ## compare all implementations on real speech, and leave a page in out/demo
	$(BIN)/maxwhisper compile --model tiny.en --dtype float32
	$(BIN)/maxwhisper compile --model tiny.en
	$(BIN)/maxwhisper compare --model tiny.en --impl cpu,cuda,hybrid,full-max,full-max:auto \
		--runs 1 --html out/demo/compare.html $(ARGS)

test: $(INSTALLED) ## run the tests
	$(BIN)/pytest $(ARGS)

test-all: $(INSTALLED) ## run the tests, and those over all of ../shared/audio
	$(BIN)/pytest -m '' $(ARGS)

lint: $(INSTALLED) ## check style and formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(INSTALLED) ## check types
	$(BIN)/mypy

layers: $(INSTALLED) ## check who imports whom
	$(BIN)/lint-imports

check: lint types layers ## lint, types and layers

format: $(INSTALLED) ## format the code, and mend what lint can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(INSTALLED) ## all benchmarks, one after the other
	@$(MAKE) --no-print-directory --keep-going bench-bars bench-rivals bench-steps

bench-bars: $(INSTALLED) ## every number that has a bar: speed, memory, start and compile
	$(BIN)/python tests/benchmarks/bench.py $(ARGS)

bench-rivals: $(INSTALLED) ## speed, memory and word errors beside other Whisper programs
	$(BIN)/pip install --quiet --constraint constraints.txt --group bench
	$(BIN)/python tests/benchmarks/rivals.py $(ARGS)

bench-steps: $(INSTALLED) ## time of a decoder step by position, of the encoder by batch
	$(BIN)/python tests/benchmarks/steps.py $(ARGS)

bench-gpu: $(INSTALLED) ## encoder, step and recordings on an NVIDIA GPU beside openai-whisper
	$(BIN)/python -m tests.benchmarks.gpu $(ARGS)

clean: ## remove .venv, out and the tools' caches
	rm -rf .venv out .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
