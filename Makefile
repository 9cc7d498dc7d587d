# Every target does its own set-up: Debian or Ubuntu, root, cargo on the PATH.

SHELL := /bin/sh
.DEFAULT_GOAL := help

# What must be on the machine before cargo can link a program. The lab installs its own.
BUILD_PACKAGES := gcc libc6-dev
# cargo-deny, built once into target/tools where the machine has none.
TOOLS := target/tools
DENY := PATH="$(CURDIR)/$(TOOLS)/bin:$$PATH" cargo-deny

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: build-lab ## three nodes, pods, BGP and the tunnel: the whole thing once, and that all of it holds
	@target/debug/demo

.PHONY: lab
lab: build-lab ## the demo's nodes with a shell; RUN='...' runs that in place of the shell
	@target/debug/lab $(if $(RUN),-c '$(RUN)')

.PHONY: test
test: lint unit scenarios ## everything that CI runs

.PHONY: lint
lint: toolchain deny ## rustfmt, clippy with warnings as errors, cargo-deny
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

.PHONY: unit
unit: toolchain ## the tests of every package that need no lab; they run on this kernel
	@scripts/packages
	cargo test --workspace --exclude tests --locked
	cargo test --package tests --lib --locked

.PHONY: scenarios
scenarios: build-lab ## the scenarios, in the lab; ONLY='...' runs those whose names have these words
	cargo test --package tests --test scenarios --locked -- $(if $(ONLY),'$(ONLY)')

.PHONY: advisories
advisories: tool-deny ## cargo-deny's check for known vulnerabilities; needs the internet
	$(DENY) check advisories

.PHONY: deny
deny: tool-deny
	$(DENY) --offline check bans licenses sources

.PHONY: tool-deny
tool-deny: toolchain
	@command -v cargo-deny >/dev/null || [ -x $(TOOLS)/bin/cargo-deny ] || { \
	    echo "building cargo-deny into $(TOOLS), once; this takes some minutes"; \
	    cargo install --quiet --locked --root $(TOOLS) cargo-deny; \
	}

.PHONY: build-lab
build-lab: toolchain
	@echo "building the programs and the lab; from nothing this takes a minute or two"
	@cargo build --quiet --locked
	@cargo build --quiet --locked --package tests

.PHONY: toolchain
toolchain:
	@command -v cargo >/dev/null || { echo "error: cargo is not on the PATH; install Rust from https://rustup.rs" >&2; exit 1; }
	@command -v cc >/dev/null || scripts/packages $(BUILD_PACKAGES)
