# Every task of the project; `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help .venv run import migrate revision rebuild admin test check format lint types imports lock clean

PYTHON ?= python3
UV := .venv/bin/uv
UV_VERSION := 0.13.9
BIN := .venv/bin
# Two processes share the tests, each with its own stores; ARGS='-n 0' runs them in one.
SIDE_BY_SIDE := -n auto --dist loadfile

help: ## List the targets
	@grep -hE '^[a-z.-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

.venv: .venv/.installed ## Make the Python environment; the other targets do it when they need it

# An environment without uv is incomplete, since a run was interrupted: make it again.
$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Almanac needs Python 3.11 or newer: install one, then say make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.installed: requirements-dev.txt | $(UV)
	@echo "Installing the packages …"
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements-dev.txt
	@touch $@

run: .venv/.installed ## Start everything on this machine; ARGS='--port-offset 100 --verbose' for other ports and all logs
	@$(BIN)/python -m dev.run $(ARGS)

import: .venv/.installed ## Import conferences into the running system: FILE=conferences.jsonl
	@test -n "$(FILE)" || { echo "Say which file: make import FILE=conferences.jsonl"; exit 2; }
	@$(BIN)/python -m services.events.importer "$(FILE)" $(ARGS)

migrate: .venv/.installed ## Migrate the database of the running system; make run does it too
	@$(BIN)/python -m dev.inside shared.migrations upgrade

revision: .venv/.installed ## Write a migration of what changed in the models: MESSAGE="faq sponsors"
	@test -n "$(MESSAGE)" || { echo 'Say what changes: make revision MESSAGE="faq sponsors"'; exit 2; }
	@$(BIN)/python -m dev.revision "$(MESSAGE)" $(ARGS)

rebuild: .venv/.installed ## Rebuild the search index of the running system, with a progress bar
	@$(BIN)/python -m dev.inside services.search rebuild

admin: .venv/.installed ## Make an account an administrator in the running system: EMAIL=me@example.org
	@test -n "$(EMAIL)" || { echo "Say which account: make admin EMAIL=me@example.org"; exit 2; }
	@$(BIN)/python -m dev.inside services.auth make-admin "$(EMAIL)"

test: .venv/.installed ## Run the tests on real stores; ARGS='-k faq' for a part
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(ARGS)

.PHONY: test-fast
test-fast: .venv/.installed ## Run the tests that need no store, process or port, in seconds
	@$(BIN)/python -m pytest --fast -q $(ARGS)

.PHONY: test-clients
test-clients: .venv/.installed ## Run JSON:API clients of others, in Node and Python, against real processes
	@test "$$(node -p 'parseInt(process.versions.node)' 2>/dev/null || echo 0)" -ge 20 && command -v npm >/dev/null || \
	  { echo "The clients need Node 20 or newer with npm: https://nodejs.org, or your system's packages"; exit 1; }
	@$(MAKE) --silent tests/clients/node_modules/.package-lock.json
	@$(BIN)/python -m tests.clients

tests/clients/node_modules/.package-lock.json: tests/clients/package-lock.json tests/clients/.npmrc
	@cd tests/clients && npm ci --silent || { echo "npm could not install the clients; try: cd tests/clients && npm ci"; exit 1; }
	@touch $@

check: .venv/.installed lint types imports ## Run everything that CI checks; changes nothing
	@$(BIN)/python -m pytest -q $(SIDE_BY_SIDE)
	@$(MAKE) --silent conformance
	@if [ "$$CI" = true ] || command -v node >/dev/null; then $(MAKE) --silent test-clients; else \
	  echo "THE NODE CLIENTS DID NOT RUN: install Node 20 or newer with npm, then say make test-clients"; fi

.PHONY: permissions
permissions: .venv/.installed ## Write docs/permissions.md from the rules in the code
	@WRITE=true $(BIN)/python -m pytest -q tests/permissions

.PHONY: conformance
conformance: .venv/.installed ## Print the JSON:API score, then run schemathesis; ARGS='-k test_040' for a part of the score
	@$(BIN)/python -m tests.conformance $(ARGS)

.PHONY: test-faults
test-faults: .venv/.installed ## Kill, stop and cut off processes and stores for 15 minutes; ARGS='--seed 7 -k oracle' for a part
	@$(BIN)/python -m pytest tests/faults $(ARGS)

.PHONY: test-hostile
test-hostile: .venv/.installed ## Send requests that try to stop or fool a service; ARGS='-k linear' for a part
	@$(BIN)/python -m pytest tests/hostile $(ARGS)

.PHONY: fuzz
fuzz: .venv/.installed ## Run schemathesis on every service; ARGS='events --seed 7 --max-examples 20' for more
	@$(BIN)/python -m tests.openapi.fuzz $(ARGS)

lint: .venv/.installed ## Check the format and the lint rules
	@$(BIN)/ruff format --check --quiet . || { echo "Not formatted: make format"; exit 1; }
	@$(BIN)/ruff check --quiet .

types: .venv/.installed ## Check the types
	@$(BIN)/mypy shared services gateway dev tests benchmarks

imports: .venv/.installed ## Check which package imports which
	@$(BIN)/lint-imports --no-cache

format: .venv/.installed ## Format the code and apply the fixes of the linter
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

.PHONY: bench-jsonapi
bench-jsonapi: .venv/.installed ## Measure reads against a raw floor; FILE=conferences.jsonl, ARGS='--rounds 3 --seconds 2'
	@$(BIN)/python -m benchmarks.jsonapi $(if $(FILE),--conferences "$(FILE)") $(ARGS)

.PHONY: bench-hostile
bench-hostile: .venv/.installed ## Measure the cost of the worst requests; ARGS='--only filter', ARGS=--write for the docs
	@$(BIN)/python -m benchmarks.hostile $(ARGS)

.PHONY: bench-search
bench-search: .venv/.installed ## Measure rebuilds, memory, delays and searches; ARGS='--sizes 20000 --only rebuild,search'
	@$(BIN)/python -m benchmarks.search $(ARGS)

.PHONY: relevance
relevance: .venv/.installed ## Measure how good search is; FILE=conferences.jsonl, ARGS='--failures 5 --engine both'
	@$(BIN)/python -m tests.relevance $(if $(FILE),--conferences "$(FILE)") $(ARGS)

lock: $(UV) ## Lock the newest allowed versions of packages, with hashes
	@$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --upgrade pyproject.toml -o requirements.txt
	@$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --upgrade pyproject.toml --group dev -o requirements-dev.txt

clean: ## Remove .venv and all development data
	@test ! -x $(BIN)/python || $(BIN)/python -c 'from dev import folders as f; data = f.ROOT / ".local"; [f.remove_data(each) for each in (*data.glob("*"), data)]'
	rm -rf .venv .local
