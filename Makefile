# Everything runs from .venv, which the first target makes. Needs a Python of 3.11 or newer, and make.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help demo pictures test lint check-catalogue catalogues lock format clean

# The suite and the demo start some fifty processes; without this each may compile all sources anew.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
READY := .venv/.ready
DEMO_READY := .venv/.demo-ready
# Many tests wait for others more than they work.
TESTERS := $(shell echo $$(( ($$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2) * 3 + 1) / 2 )))
POT := templates/locales/messages.pot
STAFF_POT := templates/staff_locales/messages.pot

# The newest Python that can make environments.
PYTHON ?= $(shell for name in python3.14 python3.13 python3.12 python3.11 python3; do \
	$$name -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; \
	done)

help: ## What can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(if $(wildcard $(READY)),$(READY),$(DEMO_READY)) ## Send the sample issue to 500 readers and look at the mail; ARGS="--exit --json FILE" ends and writes figures
	@$(BIN)/mailer demo $(ARGS)

pictures: $(READY) ## Take the pictures in the README from the demo; needs Chromium
	@$(BIN)/python docs/pictures.py

test: $(READY) ## Run every test; ARGS are pytest's
	@command -v chromium chromium-browser google-chrome >/dev/null \
		|| echo "Some tests drive a browser and will fail without it. Install it first: apt-get install chromium"
	@$(BIN)/pytest -n $(TESTERS) --dist worksteal $(ARGS)

lint: $(READY) ## Check format, style, types, import rules and the list of texts to translate
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check
	@$(BIN)/mypy
	@$(BIN)/mypy --no-namespace-packages --no-explicit-package-bases bench/*.py # they import each other by name
	@$(BIN)/lint-imports
	@$(MAKE) --no-print-directory check-catalogue

check-catalogue: $(READY)
	@for staff in "" _staff; do \
		list=$(POT); [ -z "$$staff" ] || list=$(STAFF_POT); \
		$(call texts,templates/babel$$staff.cfg,.venv/messages.pot) && diff $$list .venv/messages.pot \
			|| { echo "$$list does not match the templates: make catalogues, then translate what is new."; exit 1; }; \
	done

catalogues: $(READY) ## Write the list of texts to translate from the templates and pages
	@$(call texts,templates/babel.cfg,$(POT))
	@$(call texts,templates/babel_staff.cfg,$(STAFF_POT))

lock: ## Pin all packages with their hashes; ARGS=--upgrade takes newer ones
	@command -v uv >/dev/null || { echo "This needs uv: python3 -m pip install uv"; exit 1; }
	@$(PIN) --all-extras --output-file requirements.lock $(ARGS)
	@$(PIN) --constraint requirements.lock --output-file requirements.production.lock
	@$(PIN) --constraint requirements.lock --extra embedded --extra checkout --output-file requirements.demo.lock

format: $(READY) ## Format the code and mend what ruff can mend
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

clean: ## Remove the environment, caches and what the demo left; the embedded database of `mailer run` stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .local/demo .local/inbox
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

texts = $(BIN)/pybabel -q extract -F $(1) -c TRANSLATORS: -s --add-location=file --no-wrap \
	--project=mailer --omit-header -o $(2) .
PIN = uv pip compile --quiet pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command "make lock"

# pip checks every package against its hash; the last steps put this checkout itself into the environment.
define install
	@[ -n "$(PYTHON)" ] || { echo "No Python of 3.11 or newer that can make environments was found." \
		"On Debian or Ubuntu: apt-get install python3-venv. Elsewhere: make PYTHON=/path/to/python3"; exit 1; }
	@[ -x $(BIN)/python ] || { echo "Making .venv with $$($(PYTHON) --version)…"; $(PYTHON) -m venv .venv; }
	@echo "Installing $$(grep -c '==' $(1)) packages into .venv for $(2)…"
	@{ $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --require-hashes -r $(1) 2>&1 \
		&& touch .venv/.installed; } | awk '$(PROGRESS)'; rm .venv/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@$(BIN)/python -m compileall -q mailer workers
	@echo "Installed: .venv now has $$(du -sm .venv/ | cut -f 1) MB."
	@touch $@
endef

# Counts the packages, and shows what pip says about an error.
PROGRESS := /^(Collecting|Requirement already)/ { if (++count % 20 == 0) print "  " count " packages looked up"; next } \
	/^Installing collected/ { print "  " count " packages looked up; unpacking"; next } \
	/^ *(Downloading|Using cached|Ignoring|Looking in|Successfully|Link|Obtaining|ERROR: ld)/ { next } { print }

$(READY): requirements.lock pyproject.toml
	$(call install,requirements.lock,development: among them linters and a driver for browsers)

# What the demo needs is in the environment for development, too.
$(DEMO_READY): requirements.demo.lock pyproject.toml
	$(call install,requirements.demo.lock,the demo: PostgreSQL and Redis are among them)
