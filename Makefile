# flashVM: make hello, make test. Everything else serves these two; see README.md.
#
# Each step that takes long leaves a stamp in build/, so that a second call only does what changed.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help hello test unit fuzz e2e conformance lab lab-if-possible bench wheel wheel-test lint format guest clean

PYTHON ?= /usr/bin/python3
VENV := .venv
DATA := python/flashvm/data
DEV := build/dev

C_SOURCES := $(shell find include src guest python/src examples tests -name '*.[ch]' -o -name 'meson.build')
PACKAGE_SOURCES := $(shell find include src python docs/man -name data -prune -o -type f -print) \
	meson.build meson.options pyproject.toml README.md
GUEST_RECIPE := $(shell find guest/image guest/kernel -type f) guest/debian.sh guest/manifest.py

help:
	@echo 'make hello    install what is missing, build everything, run a snippet in a microVM'
	@echo 'make test     the same set-up with the test tools, then every test'
	@echo 'make guest    the kernel, the initramfs and the embedded image, in $(DATA)'
	@echo 'make unit     the unit tests alone (C, under ASan and UBSan)'
	@echo 'make fuzz     hostile bytes for every parser, for half a minute; RUNS=10000000 for a night'
	@echo 'make e2e      the end-to-end tests alone; make e2e ARGS="-k name" for some of them'
	@echo 'make conformance  what every engine does the same; ARGS="--engine NAME"'
	@echo 'make lab      tests with a real KVM and krunvm, in a machine of their own; see tests/lab/README.md'
	@echo 'make bench    what a run costs, beside a subprocess: a table, a plot, raw samples; ARGS=--long'
	@echo 'make wheel    dist/: the wheel and the source distribution, for other machines'
	@echo 'make wheel-test  install both as a stranger would, and use them'
	@echo 'make lint     style and static checks'
	@echo 'make format   put the C code into its format'
	@echo 'make clean    remove everything that was built (caches in ~/.cache/flashvm stay)'

# ---- set-up ----

build/packages-%: tools/debian-packages tools/install-packages.sh
	@tools/install-packages.sh $*
	@mkdir -p build && touch $@

$(VENV)/built: build/packages-build tools/requirements-build.txt
	@echo 'Making $(VENV)'
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet -r tools/requirements-build.txt
	@touch $@

$(VENV)/tests: $(VENV)/built build/packages-test tools/requirements-test.txt
	@$(VENV)/bin/pip install --quiet -r tools/requirements-test.txt
	@touch $@

# ---- build ----

MESON = env PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(VENV)/bin/meson

$(DEV)/build.ninja: $(VENV)/built meson.build meson.options
	@$(MESON) setup --reconfigure $(DEV) -Dagent=true >/dev/null

$(DEV)/compiled: $(DEV)/build.ninja $(C_SOURCES)
	@echo 'Compiling the library, the command and the agent'
	@$(MESON) compile -C $(DEV) >$(DEV)/compile.log || { cat $(DEV)/compile.log; exit 1; }
	@touch $@

build/guest/image: build/packages-build $(GUEST_RECIPE)
	@echo 'Making the guest image and kernel from Debian packages'
	@guest/image/build.sh $(DATA)
	@guest/kernel/build.sh $(DATA) build/guest/modules
	@touch $@

$(DATA)/initramfs.cpio: build/guest/image $(DEV)/compiled $(wildcard guest/zygote/*.py) $(wildcard guest/initramfs/*)
	@guest/initramfs/build.sh $(DATA) build/guest/modules $(DEV)/guest/flashvm-agent guest/zygote
	@touch $@

guest: $(DATA)/initramfs.cpio

$(VENV)/package: $(VENV)/built $(DATA)/initramfs.cpio $(PACKAGE_SOURCES)
	@echo 'Installing the Python package into $(VENV)'
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(VENV)/bin/pip install --quiet --no-build-isolation --no-deps \
		--force-reinstall --config-settings=build-dir=build/package .
	@touch $@

hello: $(VENV)/package
	@$(VENV)/bin/python examples/hello.py

$(VENV)/wheel-tools: $(VENV)/built tools/requirements-wheel.txt
	@$(VENV)/bin/pip install --quiet -r tools/requirements-wheel.txt
	@touch $@

build/wheel: $(VENV)/wheel-tools $(DATA)/initramfs.cpio $(PACKAGE_SOURCES) LICENSE NOTICE tools/build-wheel.sh
	@echo 'Making the wheel and the source distribution'
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" tools/build-wheel.sh $(DATA) dist
	@touch $@

wheel: build/wheel
	@ls -sh1 dist

# ---- checks ----

UNIT := build/unit

$(UNIT)/build.ninja: $(VENV)/tests meson.build meson.options
	@$(MESON) setup --reconfigure $(UNIT) -Dtests=true -Db_sanitize=address,undefined -Db_lundef=false >/dev/null

unit: $(UNIT)/build.ninja guest
	@timeout -k 10 900 $(MESON) test -C $(UNIT) --print-errorlogs

FUZZ := build/fuzz

$(FUZZ)/build.ninja: $(VENV)/tests meson.build meson.options
	@CC=clang $(MESON) setup --reconfigure $(FUZZ) -Dfuzz=true -Db_sanitize=address,undefined \
		-Db_lundef=false >/dev/null

fuzz: $(FUZZ)/build.ninja
	@$(MESON) compile -C $(FUZZ) fuzzers >$(FUZZ)/compile.log || { cat $(FUZZ)/compile.log; exit 1; }
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" tests/fuzz/run.sh $(FUZZ) $(RUNS)

e2e: $(VENV)/package $(VENV)/tests $(DEV)/compiled
	@$(VENV)/bin/python -m pytest tests/e2e $(ARGS)

conformance: $(VENV)/package $(VENV)/tests
	@$(VENV)/bin/python -m pytest tests/conformance $(ARGS)

LAB_TESTS := tests/lab
LAB_SECONDS := 1800

lab: $(VENV)/package
	@tests/lab/build.sh
	@tests/lab/run.sh --seconds $(LAB_SECONDS) -- python3 -m pytest -p no:cacheprovider $(LAB_TESTS) $(ARGS)

# What a bare machine lacks for it, Debian 12 does not have: left out there, unless FLASHVM_REQUIRE has "lab".
lab-if-possible:
	@if tests/lab/krunvm.sh --check; then $(MAKE) --no-print-directory lab; \
	else echo 'The tests in the lab are left out.'; [[ ",$$FLASHVM_REQUIRE," != *,lab,* ]]; fi

bench: $(VENV)/package
	@$(VENV)/bin/python -m bench $(ARGS)

wheel-test: build/wheel $(VENV)/package $(VENV)/tests
	@$(VENV)/bin/python -m pytest tests/e2e/install $(ARGS)

test: unit fuzz e2e conformance lab-if-possible wheel-test

lint: $(VENV)/tests $(VENV)/package $(UNIT)/build.ninja $(FUZZ)/build.ninja
	@clang-format --dry-run --Werror $(filter %.c %.h,$(C_SOURCES))
	@tools/tidy.py $(DEV) build/package $(UNIT) $(FUZZ)
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@MYPYPATH=tests/e2e $(VENV)/bin/mypy --explicit-package-bases --no-strict-optional --no-warn-unreachable \
		tests/e2e # a test that gets None fails
	@shellcheck -x $$(git ls-files '*.sh' .ci/run)
	@cd docs/man && mandoc -T lint -W warning $$(grep -L '^\.so ' man?/*)
	@$(VENV)/bin/codespell $$(git ls-files)

format: $(VENV)/tests
	@clang-format -i $(filter %.c %.h,$(C_SOURCES))
	@$(VENV)/bin/ruff format --quiet . && $(VENV)/bin/ruff check --quiet --fix .

clean:
	rm -rf build dist $(VENV) $(DATA)
