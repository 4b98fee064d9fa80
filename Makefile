# SPDX-License-Identifier: Apache-2.0
#
# The short way to everything; Meson and Ninja do the work (meson.build), tools/ has the rest.
#
#   make          build build/busbar                     make fmt      format the sources
#   make dev      build and run it, nothing to set up    make fuzz     every fuzz target, FUZZ_SECONDS of CPU each
#   make check    every test; STEPS="unit" for some      make soak     the tests with many more generated cases
#   make install  to PREFIX, with DESTDIR                make bench    against peers and limits; an hour
#   make clean    remove what was built
#
# `make dev ARGS="--ephemeral"` hands arguments on; `make check` and `make dev` install missing Debian packages first.
ifeq ($(origin CC),default)
CC := gcc
endif
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 60
SOAK_CASES ?= 20000
# Debian's Python has the test packages; another one on PATH need not.
PYTHON ?= /usr/bin/python3

.PHONY: all dev check bench fuzz soak fmt install clean
.NOTPARALLEL:

all:
	@tools/build build '$(CC)' --prefix='$(PREFIX)'

dev:
	@tools/install-deps build run
	@tools/build build '$(CC)' --prefix='$(PREFIX)'
	@exec build/busbar dev $(ARGS)

check:
	@tools/install-deps build run check fmt
	@$(PYTHON) tools/check $(if $(CHECK_MINUTES),--minutes $(CHECK_MINUTES)) $(STEPS)

bench:
	@tools/install-deps build bench
	@tools/build build-release '$(CC)' -Dbuildtype=release -Ddebug=true
	@ninja --quiet -C build-release bench-programs
	@$(PYTHON) bench/run
	@$(PYTHON) bench/profile --output docs/benchmarks.md
	@$(PYTHON) bench/sync

fuzz:
	@tools/install-deps build fuzz
	@tools/fuzz $(FUZZ_SECONDS) $(TARGETS)

soak:
	@tools/install-deps build run check
	@BUSBAR_PROPERTY_CASES=$(SOAK_CASES) BUSBAR_SCHEMA_STEPS=20000 BUSBAR_SYNC_STEPS=100000 \
		$(PYTHON) tools/check --minutes 0 unit integration

fmt:
	@tools/install-deps fmt
	@tools/format

install:
	@tools/build build '$(CC)' --prefix='$(PREFIX)'
	@meson install -C build --no-rebuild

clean:
	rm -rf build build-asan build-clang build-fuzz build-release build-tsan
