# What a developer does with carrel. `make` alone lists it.

SHELL := /bin/sh
export GOFLAGS := -buildvcs=false
export GOTOOLCHAIN := local

BIN := bin
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
TOOL := go tool -modfile=tools/go.mod
CONTAINERD2 := $(CURDIR)/$(BIN)/containerd-2

.PHONY: soak help setup build images demo demo-clean test check lint generated race test-containerd-2 bench generate fuzz

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what tests and the demo need, where it is missing
	@sh tools/setup.sh

build: ## build bin/carrel
	@mkdir -p $(BIN)
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o $(BIN)/carrel ./cmd/carrel

images: ## build the example bot into bin/bot-v1.tar and bin/bot-v2.tar
	@mkdir -p $(BIN)
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o $(BIN)/bot ./examples/bot
	go run ./examples/bot/image -program $(BIN)/bot -version v1 -o $(BIN)/bot-v1.tar
	go run ./examples/bot/image -program $(BIN)/bot -version v2 -o $(BIN)/bot-v2.tar

demo: setup build images ## show carrel on real containers (STORE=postgres for the other store)
	@STORE=$(STORE) sh examples/demo.sh

demo-clean: ## remove everything that the demo left
	@sh examples/demo.sh clean

test: setup ## run every test
	go test -timeout 40m ./...

check: setup lint generated race ## what a change must pass beside the tests

lint:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "gofmt would change: $$unformatted"; exit 1; }
	go vet ./...
	go vet -tags soak ./cmd/carrel
	$(TOOL) staticcheck ./...
	$(TOOL) go-check-sumtype ./...

generated: generate ## check that generated files are up to date
	@git diff --exit-code -- drivers/records/query || { echo "generated files were out of date: commit them"; exit 1; }

race: setup $(CONTAINERD2)/containerd ## run every test with the race detector, on containerd 2
	CARREL_TEST_CONTAINERD_DIR=$(CONTAINERD2) go test -race -timeout 40m ./...

generate: ## make generated files anew
	go generate ./...

test-containerd-2: setup $(CONTAINERD2)/containerd ## run the driver and script tests on containerd 2
	CARREL_TEST_CONTAINERD_DIR=$(CONTAINERD2) go test -count=1 -timeout 40m ./drivers/... ./cmd/...

$(CONTAINERD2)/containerd: tools/containerd/go.mod tools/containerd/go.sum
	@mkdir -p $(CONTAINERD2)
	cd tools/containerd && CGO_ENABLED=0 go build -trimpath -o $(CONTAINERD2)/ tool
	@touch -c $@

bench: setup ## measure against bare containerd calls
	go test -run '^$$' -bench . -benchtime 1x -timeout 30m ./cmd/carrel

soak: setup ## mistreat a host for ten minutes while an agent keeps it (CARREL_SOAK=1h for longer)
	go test -tags soak -count=1 -run TestSoak -timeout 24h -v ./cmd/carrel

fuzz: ## look for specs that break the loader, for a minute
	go test -run '^$$' -fuzz FuzzLoad -fuzztime 1m ./spec
