# Two commands do everything: `make run` and `make test`. The environment lives in .venv and is made when it is missing.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

PEERS := $(patsubst benchmarks/peers/%/requirements.txt,benchmarks/.peers/%/.installed,$(wildcard benchmarks/peers/*/requirements.txt))

.PHONY: run test check bench peers format docs lock ui clean help

help: ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

run: $(STAMP) ## the main job, offline, on the simulated market: bars to a production agent on paper
	$(BIN)/cappuccino run

test: $(STAMP) ## all tests, offline, on two processes
	$(BIN)/pytest -n 2 --dist loadfile

check: $(STAMP) ## linter, formatter, strict types, import contracts, generated docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m cappuccino.store.table_docs --check docs/tables.md

bench: $(STAMP) $(PEERS) ## every benchmark, as ratios against a peer in the same run
	for file in benchmarks/bench_*.py; do $(BIN)/python $$file || exit 1; done

peers: $(PEERS) ## the environments of the learner benchmark's peers, in benchmarks/.peers

ui: $(STAMP) ## the Dagster UI on this warehouse
	$(BIN)/cappuccino ui

format: $(STAMP) ## format and sort imports
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP) ## write docs/tables.md from the headers of sql/
	$(BIN)/python -m cappuccino.store.table_docs docs/tables.md

lock: $(STAMP) ## pin what is installed now
	$(BIN)/python -m pip freeze --exclude-editable | sed -e 's/^torch==.*/torch==2.13.0/' > requirements.txt

clean: ## remove environment and caches; the warehouse stays
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(STAMP): requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Cappuccino needs Python 3.11 or newer, found " + sys.version) if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $(STAMP)

benchmarks/.peers/%/.installed: benchmarks/peers/%/requirements.txt
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	for file in $(wildcard $(<D)/no_dependencies.txt); do \
	  $(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement $$file || exit 1; \
	done
	touch $@
