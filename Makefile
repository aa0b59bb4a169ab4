# Headwater's commands. `make` alone lists them. Everything lands in .venv/ and .headwater/, but for the caches of pip
# and uv below ~/.cache and Prefect's ~/.prefect.
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

GRAPH ?= embedded
WORKERS ?= 3
CYCLES ?= 200
SEED ?= 7
RUN := .venv/bin/python
HEADWATER := .venv/bin/headwater
# Installed means installed from exactly these.
PINS := pyproject.toml requirements-dev.txt requirements-uv.txt

# Where it is set, as in many images, every process compiles all of Python's modules anew: twice the time of a command.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup check unit test demo up bench chaos clean

help:  ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile
	@echo "  GRAPH=neo4j  demo and up on a real Neo4j (default: embedded) · KAFKA=1  up with a local Kafka"
	@echo "  BENCH=\"mqtt --rounds 5\"  what to measure and how much (default: all)"
	@echo "  WORKERS=n  tests at once · CYCLES=n SEED=n  what make chaos breaks · RATE=n  readings a second"
	@echo "  WAYS=\"mqtt kafka\"  the ways in that make chaos feeds (default: all; mqtt must be one)"
	@echo "  SOAK=minutes  make chaos without killing ours · WITHOUT_GRAPH=1  the graph is away until the end"
	@echo "  FAULTS='\"kill relay\"'  faults that make chaos is limited to"

setup: .venv/installed  ## make .venv with everything in it; .venv/bin/headwater is the command

# The first Python that is new enough and can make an environment: a name on PATH may be an empty shim.
.venv/installed: $(PINS)
	@for python in python3.13 python3.12 python3.11 python3; do \
		if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			echo "Setting up .venv with $$("$$python" --version) …"; \
			exec "$$python" -m venv --clear .venv; \
		fi; \
	done; \
	echo "Headwater needs Python 3.11 or newer with venv: install it (Debian: apt-get install python3-venv)." >&2; \
	exit 1
	$(RUN) -m pip --disable-pip-version-check install --quiet --require-hashes -r requirements-uv.txt
	.venv/bin/uv pip install --system-certs --python $(RUN) --require-hashes -r requirements-dev.txt
	.venv/bin/uv pip install --system-certs --python $(RUN) --quiet --no-deps --no-build-isolation --editable .
	@touch $@

check: setup  ## ruff, mypy strict and import-linter, under a minute
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

unit: setup  ## the tests that need no service, before each commit
	$(RUN) -m pytest -n $(WORKERS) tests/unit

test: setup  ## everything, against real Postgres, Neo4j, Mosquitto, Kafka and Prefect
	$(RUN) -m infra.local.provision mosquitto neo4j kafka
	$(RUN) -m pytest -n $(WORKERS) --ignore=tests/bench

demo: setup  ## devices and a robot, ingested, traced back and proven; then everything stops
	$(HEADWATER) demo --graph "$(GRAPH)"

up: setup  ## start the local services and the pipelines, print every address, leave them running
	$(HEADWATER) up --graph "$(GRAPH)" $(if $(KAFKA),--kafka)

bench: setup  ## measure throughput and latency on this machine
	$(RUN) -m infra.local.provision mosquitto kafka
	$(RUN) -m tests.bench $(BENCH)

chaos: setup  ## kill and cut things while data flows, and prove that nothing is lost
	$(RUN) -m infra.local.provision mosquitto $(if $(WAYS),$(filter kafka,$(WAYS)),kafka) $(filter neo4j,$(GRAPH))
	$(RUN) -m tests.chaos --cycles $(CYCLES) --seed $(SEED) --graph "$(GRAPH)" \
		$(if $(SOAK),--soak "$(SOAK)") $(if $(WAYS),--ways $(WAYS)) $(if $(WITHOUT_GRAPH),--without-graph) \
		$(if $(FAULTS),--faults $(FAULTS)) $(if $(RATE),--rate $(RATE))

clean:  ## stop the local services and delete their data and all caches; downloads, your files and .venv stay
	@if [ -x $(HEADWATER) ]; then HEADWATER_HOME=.headwater $(HEADWATER) down; fi
	@if [ -d .headwater ]; then find .headwater -mindepth 1 -maxdepth 1 ! -name downloads ! -name files -exec rm -rf {} +; fi
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
