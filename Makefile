# `make` alone prints what there is. Each target does its own set-up.
BUILD ?= build
BUILD_TYPE ?= Release
JOBS ?= $(shell nproc)
BINARY := $(BUILD)/cmd/monopod
SHELL := /bin/bash

.DEFAULT_GOAL := help
.PHONY: help deps test-deps build up down test test-long vm-test bench bench-proxy asan tidy arm64 test-arm64 install uninstall release clean

help: ## Print the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

deps: ## Install what the build needs (Debian packages; quiet when present)
	@packaging/scripts/install-deps build

test-deps:
	@packaging/scripts/install-deps build test
	@packaging/scripts/get-kubectl $(BUILD)/tools
	@packaging/scripts/get-npm tests/integration/etcd/etcd3 $(BUILD)/tools/etcd3
	@packaging/scripts/get-npm tests/integration/clients/client_node $(BUILD)/tools/client-node
	@packaging/scripts/get-npm tests/integration/engine/dockerode $(BUILD)/tools/dockerode
	@packaging/scripts/get-npm tests/integration/engine/testcontainers $(BUILD)/tools/testcontainers
	@packaging/scripts/get-docker $(BUILD)/tools || echo "no docker client: its tests are skipped"

build: deps ## Build the release binary
	@cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=$(BUILD_TYPE) -DMONOPOD_TESTS=OFF > $(BUILD)-configure.log 2>&1 || { cat $(BUILD)-configure.log; exit 1; }
	@rm -f $(BUILD)-configure.log
	@ninja -C $(BUILD) -j $(JOBS) monopod

up: build ## Start a trial node with the hello example; the host stays as it was
	@packaging/scripts/get-kubectl $(BUILD)/tools
	@packaging/scripts/up $(BINARY) $(BUILD)/tools/kubectl

down: ## Stop the trial node and remove every trace
	@packaging/scripts/down $(BINARY)

test: test-deps ## Build and run unit and integration tests (bounded sample, within 10 minutes)
	@tests/run build-test

test-long: test-deps ## The full counts: kills, histories, soaks; compiled WebAssembly on arm64 too
	@packaging/scripts/install-deps arm64 test-arm64
	@packaging/scripts/get-npm tests/integration/wasm/real_programs $(BUILD)/tools/wasm-programs
	@MONOPOD_LONG=1 tests/run build-test

vm-test: test-deps ## Run the hello example on a bare virtual machine (qemu)
	@packaging/scripts/install-deps vm
	@$(MAKE) --no-print-directory build
	@tests/vm/run $(BINARY)

bench: test-deps ## Print the numbers: name, value, unit, with the machine's own calibration
	@$(MAKE) --no-print-directory build
	@cmake -S . -B $(BUILD) -DMONOPOD_BENCH=ON > /dev/null && ninja -C $(BUILD) -j $(JOBS) api_bench api_wire_bench etcd_bench store_bench wasm_bench
	@tests/bench/run $(BUILD)

bench-proxy: ## Measure the proxy beside nginx and haproxy: CPU per request, ratios
	@packaging/scripts/install-deps build bench-proxy
	@$(MAKE) --no-print-directory build
	@python3 tests/bench/proxy/proxy_bench.py $(BINARY)

asan: test-deps ## Unit tests under address and undefined-behaviour sanitizers
	@MONOPOD_ASAN=1 tests/run build-asan

tidy: ## Check layers, banned calls and file lengths
	@python3 tests/tidy/tidy.py

arm64: ## Cross-build for arm64 (Raspberry Pi)
	@packaging/scripts/install-deps build arm64
	@packaging/scripts/build-arm64 build-arm64

test-arm64: ## Unit tests of the arm64 build under qemu-user
	@packaging/scripts/install-deps build arm64 test-arm64
	@packaging/scripts/build-arm64 build-arm64-test --test

install: build ## Install binary and systemd unit on this host
	@packaging/scripts/install $(BINARY)

uninstall: ## Remove binary and unit; data stays in /var/lib/monopod
	@packaging/scripts/uninstall

release: build ## Stripped binary with licence notices in dist/
	@packaging/scripts/install-deps release
	@packaging/scripts/release $(BINARY) dist

clean: ## Remove build folders
	@rm -rf build build-* dist
