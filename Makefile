# Tidemark. `make` prints this menu.
SHELL := /bin/bash
GO ?= go
BIN := bin/tidemark
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
FUZZTIME ?= 5s
# The vulnerability database as a module, so that a mirror of modules serves it
# too; raise it together with the dependencies.
VULNDB ?= v0.0.0-20261105234957-e22db6528018

.PHONY: help
help: ## print this menu
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/tidemark
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/tidemark

.PHONY: run
run: build ## start everything on the embedded broker and play a day of flights through it
	$(BIN) dev --data-dir data --demo

.PHONY: test
test: ## run all tests that need only Go, with the race detector
	$(GO) vet ./...
	$(GO) test -race -timeout 15m ./...

.PHONY: test-kafka
test-kafka: ## run the integration tests against a real Apache Kafka (needs Java 17 and Maven; installs kcat as root)
	@command -v kcat >/dev/null || [ "$$(id -u)" != 0 ] || { apt-get update -q && apt-get install -qy --no-install-recommends kcat; }
	$(GO) test -tags kafka -v -count 1 -timeout 5m ./bench/broker
	$(GO) test -tags kafka -v -count 1 -timeout 12m -run 'Kafka|Zombie|Broker|Kcat' ./cmd/tidemark

.PHONY: test-quorum
test-quorum: ## check that the registry is linearizable while its leader is killed, paused and cut off (needs root for network namespaces; installs iproute2)
	@command -v ip >/dev/null || [ "$$(id -u)" != 0 ] || { apt-get update -q && apt-get install -qy --no-install-recommends iproute2; }
	$(GO) test -tags quorum -v -count 1 -timeout 10m -artifacts -exec "'$(CURDIR)/cmd/tidemark/testdata/alone'" -run Quorum ./cmd/tidemark

.PHONY: test-browser
test-browser: ## drive the console's pages in Chromium (needs npm for axe-core; installs chromium as root)
	@command -v chromium >/dev/null || [ "$$(id -u)" != 0 ] || { apt-get update -q && apt-get install -qy --no-install-recommends chromium; }
	$(GO) test -tags browser -count 1 -timeout 10m -run Browser ./connectors/console

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (default 5s; 10000x: so many inputs)
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "fuzz $$pkg $$target"; \
	    $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; \
	done

.PHONY: lint
lint: ## gofmt, vet, staticcheck and golangci-lint
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo 'these files want gofmt:'; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...
	$(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run

.PHONY: vuln
vuln: ## govulncheck: known vulnerabilities that this code calls
	@set -e; db=$$($(GO) mod download -json golang.org/x/vulndb@$(VULNDB) | sed -n 's/.*"Dir": "\(.*\)".*/\1/p'); \
	  test -d "$$db/data/osv"; \
	  $(GO) run golang.org/x/vuln/cmd/govulncheck@v1.9.0 -db "file://$$db/data/osv" ./...

.PHONY: bench-processor
bench-processor: build ## throughput and latency beside Kafka Streams and the ceilings, on a real broker
	$(GO) run ./bench/processor --tidemark $(BIN)

.PHONY: bench-delivery
bench-delivery: build ## how soon a push is at a client and a call answered, on a real broker and the embedded one
	$(GO) run ./bench/delivery --tidemark $(BIN)

.PHONY: bench-registry
bench-registry: build ## changes in force, takeovers, loading, watchers, console pages, on a real broker
	$(GO) run ./bench/registry --tidemark $(BIN)

.PHONY: bench-dedupe
bench-dedupe: ## the dedupe store's layouts at 10 M keys
	$(GO) run ./bench/dedupe

.PHONY: clean
clean: ## remove what was built and cached; data/ stays
	rm -rf bin .cache
