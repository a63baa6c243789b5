.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FUZZ_SECONDS ?= 60
FUZZ_EXAMPLES ?= 500

.PHONY: help run test lint format bench screenshots fuzz clean

help: ## Say what there is to make
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(VENV)/runtime: requirements.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/development: requirements.txt requirements-dev.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

run: $(VENV)/runtime ## Start the server on disk and SQLite, and say how to try it
	@DEMO=1 LOG_FORMAT=$${LOG_FORMAT:-text} exec $(BIN)/gunicorn -c gunicorn.conf.py wsgi:app

test: $(VENV)/development ## Run the tests
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

lint: $(VENV)/development ## Check style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/development ## Put the style in order
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/development ## Measure against a floor, two peers and nginx; write docs/performance.md
	$(BIN)/python -m bench.report

screenshots: $(VENV)/development ## Take the console's pictures anew, into docs/screenshots
	$(BIN)/python -m tests.console.screenshots

fuzz: $(VENV)/development ## Search for files, bodies and calls that break the server, FUZZ_SECONDS (60) each
	@$(BIN)/pip install --quiet --disable-pip-version-check atheris==3.0.0 \
		|| echo "atheris does not install here: hypothesis takes its place"
	$(BIN)/python -m fuzz picture $(FUZZ_SECONDS)
	$(BIN)/python -m fuzz post $(FUZZ_SECONDS)
	FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(BIN)/python -m pytest tests/api/test_openapi.py

clean: ## Remove what was installed and cached, but no data
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
