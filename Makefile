# Everything here needs only Go and git; nothing is installed by hand.
GO   ?= go
TOOL  = $(GO) tool -modfile=tools/go.mod
FUZZTIME ?= 30s
PKG  ?= ./...

.PHONY: help build run test lint fuzz bench crash soak

help: ## what the targets do
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/crier
	$(GO) build -trimpath -o bin/crier ./cmd/crier

run: ## run a server on embedded defaults
	$(GO) run ./cmd/crier serve

test: ## run all tests; what needs a browser says so if there is none
	$(GO) test -timeout 30m ./...

lint: ## gofmt, go vet, staticcheck, and builds for other systems
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "run gofmt -w on these"; exit 1; }
	$(GO) vet ./...
	$(TOOL) staticcheck ./...
	GOOS=darwin $(GO) build ./... && GOOS=windows $(GO) build ./...

fuzz: ## run every fuzz target for FUZZTIME (30s)
	@for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    echo "$$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
	  done; done

bench: ## run the benchmarks of PKG (all)
	$(GO) test -run '^$$' -bench . -benchmem $(PKG)

crash: ## kill -9 the real binary under load, 100 times in a row
	CRIER_CRASHES=100 $(GO) test -count=1 -timeout 60m -v -run TestKilledAtRandomMoments ./internal/e2e

soak: ## ten minutes of 18,000 connections; needs 20,000 open files (ulimit -n)
	CRIER_SOAK=10m CRIER_SOAK_CONNECTIONS=18000 $(GO) test -count=1 -timeout 30m -v -run TestSoak ./internal/e2e
