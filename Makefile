# A thin index of what can be done here; the work is in scripts/ and in Go.

BIN ?= bin
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
GOFLAGS_BUILD := -buildvcs=false -trimpath -ldflags "-s -w -X main.version=$(VERSION)"

.PHONY: help build build-race build-failpoint man install packages demo demo-shell test fuzz test-machine test-machine-all bench lint clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-17s %s\n", $$1, $$2 }' Makefile

build: $(BIN)/txctl ## bin/txupd (the daemon) and bin/txctl (its command, static)
	CGO_ENABLED=1 go build $(GOFLAGS_BUILD) -o $(BIN)/txupd ./cmd/txupd

build-race: $(BIN)/txctl ## the same, with the race detector in the daemon
	CGO_ENABLED=1 go build -race $(GOFLAGS_BUILD) -o $(BIN)/txupd ./cmd/txupd

build-failpoint: $(BIN)/txctl ## the same, with places at which it can be made to fail (internal/failpoint)
	CGO_ENABLED=1 go build -tags failpoint $(GOFLAGS_BUILD) -o $(BIN)/txupd ./cmd/txupd

.PHONY: $(BIN)/txctl
$(BIN)/txctl:
	CGO_ENABLED=0 go build $(GOFLAGS_BUILD) -o $@ ./cmd/txctl

# Man pages have the date of what they are made of. Nothing else is told of it:
# mmdebstrap, for one, would go by it.
man: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null)
man: $(BIN)/txctl ## bin/man: a page for each verb and file
	@rm -rf $(BIN)/man
	$(BIN)/txctl help --json | go run ./scripts/mangen -version $(VERSION) docs/man $(BIN)/man

install: build man ## what a package would install, below DESTDIR
	@BIN=$(BIN) scripts/install "$(DESTDIR)"

packages: build man ## bin/packages: a .deb and an .rpm
	@BIN=$(BIN) scripts/package

demo: ## a system on a loop device, updated before your eyes
	@scripts/apart demo demo

demo-shell: ## the same system, and a shell in which txctl works on it
	@scripts/apart demo demo -only-shell

test: ## everything that CI checks
	@scripts/test

fuzz: ## every fuzzer for five seconds; FUZZ="10m 'Import$$'" for longer, or for some
	@scripts/fuzz $(FUZZ)

test-machine: ## each promise once, on a virtual machine that reboots
	@scripts/test-machine

test-machine-all: ## the same, with everything that repeats a promise
	@scripts/test-machine --all

bench: ## ratios to the bare ioctls and to the installed tools
	@scripts/apart test bench

lint: ## format, vet, module file, import rules
	@scripts/lint

clean:
	rm -rf $(BIN)
