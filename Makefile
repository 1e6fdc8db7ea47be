# What a developer does here; `make help` lists it. Needs GNU make and Python 3.11 or later.

PYTHON ?= python3
VENV ?= .venv
PORT ?= 8000
RUN_PATH ?=
ARGS ?=
# Tests wait for other processes most of the time.
JOBS ?= 2

BIN := $(VENV)/bin
# A stamp is newer than the files that it installed, so a second run installs nothing.
SITE := $(VENV)/.installed-site
DEV := $(VENV)/.installed-dev
BENCH := $(VENV)/.installed-bench
# An environment of its own: what audits is not among what is audited.
AUDIT := $(VENV)/.audit
PIP_AUDIT := pip-audit==2.10.1
# Where autobahn has no wheel for a Python (3.15), it is built, without its part in C: nobody needs a compiler.
PIP := AUTOBAHN_USE_NVX=0 $(BIN)/python -m pip install --quiet --disable-pip-version-check

# The shell gets these as they were written, whatever characters are in them, and make reads nothing into them.
export SHOW_PORT := $(value PORT)
export SHOW_PATH := $(value RUN_PATH)
unexport PORT RUN_PATH

.DEFAULT_GOAL := help
.PHONY: help run test simulate fuzz lint types audit format bench bench-quick clean
.DELETE_ON_ERROR:

help: ## List the targets
	@echo "make <target> [PORT=8000] [RUN_PATH=folder] [ARGS=…] [PYTHON=python3] [VENV=.venv]"; echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The shell outlives an interrupt, so that make ends without an error once the server has.
run: export DJANGO_DEBUG = 1
run: $(SITE) ## Run the site and a real job that scans RUN_PATH, live on http://localhost:PORT/
	@case "$$SHOW_PORT" in \
		''|*[!0-9]*) printf 'PORT must be a number from 1 to 65535, not «%s».\n' "$$SHOW_PORT" >&2; exit 1;; \
	esac
	@$(BIN)/python manage.py migrate --verbosity 0
	@trap : INT; \
	$(BIN)/python manage.py showcase --port "$$SHOW_PORT" $${SHOW_PATH:+--path="$$SHOW_PATH"} $(ARGS); \
	status=$$?; [ $$status -eq 130 ] || exit $$status

test: $(DEV) ## Run the tests; ARGS goes to pytest: make test ARGS="-k replay"
	@$(BIN)/python -m pytest --quiet --numprocesses $(JOBS) --dist worksteal $(ARGS)

simulate: $(DEV) ## Run seeds of the simulation: make simulate ARGS="--mode redis-sqlite --seeds 0-10000"
	@$(BIN)/python -m tests.simulation $(ARGS)

fuzz: $(DEV) ## Attack a server with frames and handshakes: make fuzz ARGS="--seconds 600"
	@$(BIN)/python -m tests.fuzz $(ARGS)

lint: $(DEV) ## Check the style of the code
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: export DJANGO_DEBUG = 1
types: $(DEV) ## Check the types
	@$(BIN)/mypy

audit: $(DEV) $(AUDIT) ## Ask for known vulnerabilities of what is installed; needs the network
	@.ci/audit $(AUDIT)/bin/pip-audit $(VENV) $(ARGS)

format: $(DEV) ## Put the code into shape
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench bench-quick: export DJANGO_DEBUG = 1
bench: $(BENCH) ## Measure what we claim; ARGS chooses
	@$(BIN)/python -m benchmarks $(ARGS)

bench-quick: $(BENCH) ## The same in short rounds: whether it works, not how fast
	@$(BIN)/python -m benchmarks --quick $(ARGS)

clean: ## Remove the virtual environment and the caches; the database stays
	rm -rf "$(VENV)" .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@command -v "$(PYTHON)" >/dev/null || { \
		echo "There is no $(PYTHON). Install Python 3.11 or later, or name it: make PYTHON=…" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is $$("$(PYTHON)" --version 2>&1); 3.11 or later is needed. Name another: make PYTHON=python3.12" >&2; \
		exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) can't make virtual environments. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Making $(VENV)"
	@"$(PYTHON)" -m venv "$(VENV)" || { rm -rf "$(VENV)"; exit 1; }

$(SITE): requirements.txt | $(BIN)/python
	@echo "Installing requirements.txt"
	@$(PIP) -r requirements.txt
	@touch $@

$(DEV): requirements-dev.txt requirements.txt | $(BIN)/python
	@echo "Installing requirements-dev.txt"
	@$(PIP) -r requirements-dev.txt
	@touch $@ $(SITE)

$(AUDIT): | $(BIN)/python
	@echo "Installing $(PIP_AUDIT)"
	@$(BIN)/python -m venv $@
	@$@/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_AUDIT) || { rm -rf $@; exit 1; }

$(BENCH): benchmarks/requirements.txt $(DEV)
	@echo "Installing benchmarks/requirements.txt"
	@$(PIP) -r benchmarks/requirements.txt
	@touch $@
