.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
# More than there are processors, because many tests wait.
TEST_PROCESSES ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))
FUZZ_SECONDS ?= 60
FUZZ_EXAMPLES ?= 500
SHELL_FILES := .ci/run deploy/install.sh tests/console/chromium.sh
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)
NPM_LOCK := npm install --package-lock-only --omit-lockfile-registry-resolved --no-fund --no-audit

.PHONY: help run install development test lint format lock audit outdated readme bench screenshots fuzz clean

help: ## List these targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

run: install ## Start the server on disk and SQLite, with a demo to try
	@DEMO=1 LOG_FORMAT=$${LOG_FORMAT:-text} exec $(BIN)/python serve.py

install: ## Install what the server needs into .venv: requirements.lock
	@deploy/install.sh requirements.lock

development:
	@deploy/install.sh requirements-dev.lock

# The checks of JavaScript, and axe-core for the browser tests. Without npm they are skipped, but on CI they fail.
node_modules/.package-lock.json: package-lock.json package.json
	@if command -v npm >/dev/null; then \
		echo "Installing the npm packages of package-lock.json"; \
		npm ci --no-fund --no-audit --loglevel=error && touch $@; \
	elif [ -n "$$CI" ]; then echo "npm is not installed" >&2; exit 1; \
	else echo "npm is not installed: the checks that need its packages are skipped"; fi

# pytest compiles the tests for itself. Where Python is told to keep no bytecode, each process would do that again.
test: development node_modules/.package-lock.json ## Run the tests
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

lint: development node_modules/.package-lock.json ## Check style, types, JavaScript and shell
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/shellcheck $(SHELL_FILES)
	@if [ -x node_modules/.bin/biome ]; then set -x; node_modules/.bin/biome lint --error-on-warnings; \
	elif [ -n "$$CI" ]; then echo "Biome is not installed" >&2; exit 1; \
	else echo "JavaScript: skipped, because Biome is not installed (it needs npm)"; fi

format: development ## Format the Python files, and fix what ruff can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: ## Pin all packages with their hashes, from requirements*.txt; UPGRADE=1 takes newer ones where allowed
	@deploy/install.sh
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check \
		"$$(grep '^uv==' requirements-dev.txt)"
	$(COMPILE) --output-file requirements.lock requirements.txt
	$(COMPILE) --output-file requirements-dev.lock --constraints requirements.lock requirements-dev.txt
	$(COMPILE) --output-file bench/peers/requirements.lock bench/peers/requirements.txt
	@if command -v npm >/dev/null; then set -x; $(NPM_LOCK) && cd bench/peers && $(NPM_LOCK); \
	else echo "npm is not installed: package-lock.json stays as it is"; fi

audit: development ## Ask for known vulnerabilities of the locked packages
	$(BIN)/pip-audit --strict --require-hashes --disable-pip --requirement requirements-dev.lock
	@if command -v npm >/dev/null; then set -x; npm audit; else echo "npm packages: skipped, npm is not installed"; fi

outdated: development ## List the installed packages that have a newer release
	$(BIN)/uv pip list --outdated --python $(BIN)/python
	@if command -v npm >/dev/null; then set -x; npm outdated || true; fi

readme: install ## Write the README's table of settings from config.py
	$(BIN)/python config.py README.md

bench: development ## Measure beside a floor, two peers and nginx; write docs/performance.md
	$(BIN)/python -m bench.report

screenshots: development ## Take the console's screenshots again, into docs/screenshots
	$(BIN)/python -m tests.console.screenshots

fuzz: development ## Search for files, bodies and calls that break the server, FUZZ_SECONDS (60) each
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check atheris==3.0.0 \
		|| echo "atheris can't be installed here: hypothesis takes its place"
	$(BIN)/python -m fuzz picture $(FUZZ_SECONDS)
	$(BIN)/python -m fuzz post $(FUZZ_SECONDS)
	FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(BIN)/python -m pytest tests/api/test_openapi.py

clean: ## Remove what was installed and cached, but no data
	rm -rf $(VENV) node_modules .pytest_cache .mypy_cache .ruff_cache
