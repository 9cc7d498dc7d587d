# Every target does its own set-up: Debian or Ubuntu, root, cargo on the PATH.

SHELL := /bin/sh
.DEFAULT_GOAL := help

# What must be on the machine before cargo can link a program. The lab installs its own.
BUILD_PACKAGES := gcc libc6-dev
# cargo-deny, built once into the user's cache where the machine has none; unoptimised, as that takes a
# third of the time and checking takes seconds either way.
TOOLS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/warren/tools
DENY := PATH="$(TOOLS)/bin:$$PATH" cargo-deny

# The machine's own architecture without a C library of the machine's: what is shipped.
STATIC := $(shell uname -m)-unknown-linux-musl

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
test: lint ## everything that CI runs: lint, and all tests, the scenarios in the lab among them
	@scripts/packages
	@scripts/tests

.PHONY: image
image: toolchain ## the container image for amd64 and arm64, as archives in target/image
	@echo "building optimised static programs for two architectures; from nothing this takes some minutes"
	@scripts/image amd64 arm64

.PHONY: lint
lint: toolchain deny ## rustfmt, clippy with warnings as errors, cargo-deny, the manifest
	@scripts/manifest --check
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

.PHONY: scenarios
scenarios: toolchain ## the scenarios alone; ONLY='...' runs those whose names have these words
	@scripts/packages
	cargo build --workspace --all-targets --locked
	cargo test --workspace --test scenarios --locked -- $(if $(ONLY),'$(ONLY)')

.PHONY: cluster
cluster: toolchain ## the scenarios of a Kubernetes cluster alone; ONLY='...' as above
	@scripts/packages
	cargo build --workspace --all-targets --locked
	cargo test --workspace --test kubernetes --locked -- $(if $(ONLY),'$(ONLY)')

.PHONY: bench
bench: toolchain ## the plugin beside ptp and bridge, the agent beside BIRD and FRR, into benches/RESULTS.md; ONLY=plugin, routes, mesh, death, reboot or dataplane prints that part
	@scripts/packages iproute2 containernetworking-plugins strace bird2 frr
	@echo "building optimised static programs; from nothing this takes some minutes"
	@if command -v rustup >/dev/null; then rustup --quiet target add $(STATIC); fi
	@cargo build --quiet --locked --release --target $(STATIC) --package cni-plugin --package node-agent --package benches
ifdef ONLY
	@target/$(STATIC)/release/bench target/$(STATIC)/release 100 $(ONLY)
else
	@target/$(STATIC)/release/bench target/$(STATIC)/release >target/RESULTS.md
	@mv target/RESULTS.md benches/RESULTS.md
	@cat benches/RESULTS.md
endif

# One target: make fuzz TARGET=bgp_session SECONDS=600. Needs a nightly compiler and a C++ one.
SECONDS := 60
FUZZ := CARGO_PROFILE_RELEASE_LTO=off PATH="$(TOOLS)/bin:$$PATH" cargo +nightly fuzz

.PHONY: fuzz
fuzz: toolchain ## libFuzzer on everything that reads octets; TARGET='...' one of it, SECONDS=60 each
	@command -v cargo-fuzz >/dev/null || [ -x $(TOOLS)/bin/cargo-fuzz ] || \
	    cargo install --quiet --locked --debug --root $(TOOLS) cargo-fuzz
	@set -e; for target in $(or $(TARGET),$$(ls fuzz/corpus)); do \
	    $(FUZZ) run --features libfuzzer $$target -- -max_total_time=$(SECONDS) -timeout=10 -rss_limit_mb=1024; \
	done

.PHONY: advisories
advisories: tool-deny ## cargo-deny's check for known vulnerabilities; needs the internet
	$(DENY) check advisories

.PHONY: deny
deny: tool-deny
	$(DENY) check bans licenses sources

.PHONY: tool-deny
tool-deny: toolchain
	@command -v cargo-deny >/dev/null || [ -x $(TOOLS)/bin/cargo-deny ] || { \
	    echo "building cargo-deny into $(TOOLS), once; this takes some minutes"; \
	    cargo install --quiet --locked --debug --root $(TOOLS) cargo-deny; \
	}

# Every build is of the whole workspace: with other sets of packages cargo would choose other
# features, and build everything once for each set.
.PHONY: build-lab
build-lab: toolchain
	@echo "building the programs and the lab; from nothing this takes a minute or two"
	@scripts/packages
	@cargo build --quiet --locked --workspace

.PHONY: toolchain
toolchain:
	@command -v cargo >/dev/null || { echo "error: cargo is not on the PATH; install Rust from https://rustup.rs" >&2; exit 1; }
	@command -v cc >/dev/null || scripts/packages $(BUILD_PACKAGES)
