# Chimera's commands. A bare Linux machine with Python 3.11 is enough: uv comes into the checkout
# (.uv/) when there is none on PATH, and brings the rest into .venv/.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
UV := $(or $(shell command -v uv),.uv/bin/uv)
RUN := $(UV) run
ARGS ?=

.PHONY: help
help: ## Show this list
	@echo 'make TARGET [ARGS="..."]'
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16 | sed 's/^/  /'

.uv/bin/uv:
	$(PYTHON) -m venv .uv
	.uv/bin/pip install --quiet --disable-pip-version-check 'uv>=0.5,<1'

.PHONY: setup
setup: $(UV) ## Bring everything into .venv/
	$(UV) sync --compile-bytecode # else each start compiles it again where nothing may be written

.PHONY: demo
demo: $(UV) ## Train, register, compile, serve, check every outcome, roll back; ARGS="--requests 100000"
	$(RUN) chimera demo $(ARGS)

.PHONY: up down status
up: $(UV) ## Start the servers and a node; Ctrl-C ends them (ARGS="--detach": in the background)
	$(RUN) chimera up $(ARGS)
down: $(UV) ## End what runs in the background
	$(RUN) chimera down $(ARGS)
status: $(UV) ## Show what runs
	$(RUN) chimera status $(ARGS)

.PHONY: test
test: $(UV) ## Run the tests, on a Kafka of their own
	$(RUN) pytest $(ARGS)

.PHONY: campaigns
campaigns: $(UV) ## Break everything, small: nodes, brokers, networks, trainers, the demo
	$(RUN) pytest -m campaign -n logical $(ARGS) # each keeps a core busy

.PHONY: check
check: format-check lint types contracts test campaigns ## What CI runs, without the demo

.PHONY: format format-check lint types contracts
format: $(UV) ## Rewrite the code in the one format, and fix what lint can
	$(RUN) ruff format
	$(RUN) ruff check --fix
format-check: $(UV) ## Fail where the format differs
	$(RUN) ruff format --check
lint: $(UV) ## Look for mistakes
	$(RUN) ruff check
types: $(UV) ## Check types, twice: mypy and pyright, both strict
	$(RUN) mypy
	$(RUN) pyright
contracts: $(UV) ## Check that the rooms import in one direction
	$(RUN) lint-imports

.PHONY: chaos soak bench
chaos: $(UV) ## Break everything at full size (hours); `make campaigns` is the same, small
	$(RUN) python -m tests.integration.chaos $(ARGS)
soak: $(UV) ## Memory over two million requests and over a backlog of two million
	$(RUN) chimera bench memory $(ARGS)
bench: $(UV) ## Throughput and latency beside the rivals; ARGS="--rounds 5"
	$(RUN) chimera bench throughput $(ARGS)
	$(RUN) chimera bench latency $(ARGS)

.PHONY: docs pin-kafka
docs: $(UV) ## Write the pages that are made of the code
	$(RUN) chimera settings --markdown > docs/settings.md
	$(RUN) chimera topics asyncapi > docs/asyncapi.json
	$(RUN) chimera train reference > docs/training-config.md
pin-kafka: $(UV) ## Choose the embedded Kafka's version; ARGS="4.1.2"
	$(RUN) python deploy/pin_kafka.py $(ARGS)

.PHONY: clean
clean: ## Remove everything that was brought or made here, the stack's data too
	rm -rf .uv .venv .rivals .chimera build dist *.egg-info .hypothesis .*_cache .coverage*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
