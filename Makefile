# The front door; meson and ninja do the work. `make help` lists what there is.
PREFIX ?= /usr/local
DESTDIR ?=
IMAGE ?= debian-tiny
FUZZ_SECONDS ?= 60

doppel = build/doppel
man = $(DESTDIR)$(PREFIX)/share/man/man1
completion = $(DESTDIR)$(PREFIX)/share/bash-completion/completions

.DEFAULT_GOAL := all
.PHONY: all demo install uninstall check check-long bench fuzz clean help

all: ## build build/doppel (release), installing missing packages first
	@tools/setup build
	@tools/build build '' doppel

demo: all ## boot a Debian guest to a shell on this terminal; without a terminal, a short tour
	@tools/demo $(IMAGE)

install: all ## install the program, its man page and completion under PREFIX (/usr/local), DESTDIR respected
	install -D -m 755 $(doppel) $(DESTDIR)$(PREFIX)/bin/doppel
	install -d $(man) $(completion)
	$(doppel) help --man >$(man)/doppel.1
	$(doppel) help --completion bash >$(completion)/doppel
	chmod 644 $(man)/doppel.1 $(completion)/doppel

uninstall: ## remove what install put there
	rm -f $(DESTDIR)$(PREFIX)/bin/doppel $(man)/doppel.1 $(completion)/doppel

check: ## every test, under sanitizers and two compilers; ends with the counts
	@tools/check

check-long: ## check, and the tests that take long
	@tools/check --long

bench: ## speed, boot time and memory, with a peer measured in the same run
	@tools/setup bench
	@tools/build build '' doppel
	@tests/bench/run

fuzz: ## FUZZ_SECONDS (60) of libFuzzer for each target
	@tools/setup fuzz
	@tools/fuzz $(FUZZ_SECONDS)

clean: ## remove every build directory
	rm -rf build build-check build-clang build-tsan build-fuzz

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14
