# Every target makes what it needs, its environment included; a second run starts at once.
# PYTHON=python3.12 chooses the interpreter, and each has an environment of its own: `.venv` that of
# python3, `.venv-python3.12`. ARGS="-k name" goes to the tool that the target runs.
# PINS="torch==2.13.0" holds packages in test-latest and test-oldest: where the newest torch is a
# CUDA build of some GB, pin one that is at hand.

PYTHON ?= python3
ARGS ?=
PINS ?=
INTERPRETER := $(notdir $(PYTHON))
ENV := .venv$(if $(filter-out python3,$(INTERPRETER)),-$(INTERPRETER))
BIN := $(ENV)/bin
VENV := $(ENV)/made-with-$(INTERPRETER)
INSTALLED := $(ENV)/installed
EXTRAS := demo,base,max,serve,hub,feeds

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all test-latest test-oldest fuzz kills soak lint types layers audit check format bench bench-bars bench-rivals bench-steps bench-listen bench-serve bench-gpu clean

help: ## list these targets
	@awk -F ': .*## |: ## ' '/^[a-z-]+: .*## / { printf "%-12s %s\n", $$1, $$NF }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## make the environment and install the pinned versions into it

$(VENV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'maxwhisper needs Python 3.11 or newer: make PYTHON=python3.12'; exit 1; }
	$(PYTHON) -m venv --clear $(ENV)
	@touch $@

# Bytecode is made as modules are imported: of all 18,000 files it takes 50 s of processor time.
$(INSTALLED): $(VENV) pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --constraint constraints.txt pip
	$(BIN)/pip install --no-compile --constraint constraints.txt --build-constraint constraints.txt \
		--editable '.[$(EXTRAS)]' --group dev
	@touch $@

demo: $(INSTALLED) ## compare all implementations on real speech, and leave a page in out/demo
	$(BIN)/maxwhisper compile --model tiny.en
	$(BIN)/maxwhisper compare --model tiny.en --impl cpu,cuda,hybrid:auto,full-max:auto \
		--runs 1 --html out/demo/compare.html $(ARGS)

test: $(INSTALLED) ## run the tests
	$(BIN)/pytest $(ARGS)

test-all: $(INSTALLED) ## run the tests, and those over all of ../shared/audio
	$(BIN)/pytest -m '' $(ARGS)

test-latest: ## run the tests with the newest versions that pyproject.toml allows
	test -d $(ENV)-latest || $(PYTHON) -m venv $(ENV)-latest
	$(ENV)-latest/bin/pip install --quiet --upgrade pip
	$(ENV)-latest/bin/pip install --upgrade --upgrade-strategy eager \
		--editable '.[$(EXTRAS)]' --group test $(PINS)
	@echo 'other than in constraints.txt:'
	@$(ENV)-latest/bin/pip freeze --exclude-editable | grep -vixFf constraints.txt || true
	$(ENV)-latest/bin/pytest $(ARGS)

test-oldest: ## run the tests with the oldest versions that pyproject.toml allows
	$(PYTHON) -m venv --clear $(ENV)-oldest
	$(PYTHON) .ci/oldest.py $(PINS) > $(ENV)-oldest/constraints.txt
	$(ENV)-oldest/bin/pip install --quiet --upgrade pip
	$(ENV)-oldest/bin/pip install --constraint $(ENV)-oldest/constraints.txt \
		--editable '.[$(EXTRAS)]' --group test
	$(ENV)-oldest/bin/pytest $(ARGS)

fuzz: $(INSTALLED) ## a long campaign against all parsers; ARGS="--cases 1000000 --seed 7 ggml"
	$(BIN)/pip install --quiet --constraint constraints.txt --group fuzz
	nice $(BIN)/python -m tests.fuzz.campaign $(ARGS)

kills: $(INSTALLED) ## kill -9 of a compile, a download, a cache clear, a server; ARGS="--kills 50"
	$(BIN)/python -m tests.endurance.kills $(ARGS)

soak: $(INSTALLED) ## two hours of mixed work in one process; ARGS="--seconds 600"
	$(BIN)/python -m tests.endurance.soak $(ARGS)

lint: $(INSTALLED) ## check style and formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(INSTALLED) ## check types
	$(BIN)/mypy

layers: $(INSTALLED) ## check who imports whom
	$(BIN)/lint-imports

audit: ## look for known weaknesses in the pinned versions, where the data can be had
	@$(PYTHON) .ci/audit.py $(ENV)-audit

check: lint types layers audit ## lint, types, layers and audit

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

bench-serve: $(INSTALLED) ## requests and audio seconds a second beside faster-whisper in FastAPI
	$(BIN)/pip install --quiet --constraint constraints.txt --group bench
	$(BIN)/python -m tests.benchmarks.serve_bars $(ARGS)

bench-listen: $(INSTALLED) ## live text: lag of final words, first text, word errors, 1 and 8 streams
	$(BIN)/python -m tests.benchmarks.listen $(ARGS)

bench-gpu: $(INSTALLED) ## encoder, step and recordings on an NVIDIA GPU beside openai-whisper
	$(BIN)/python -m tests.benchmarks.gpu $(ARGS)

clean: ## remove the environments, out and the tools' caches
	rm -rf .venv .venv-* out .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
