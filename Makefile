# make test is what has to pass; the others are its stages and conveniences.
# The work is done by the POSIX shell scripts in hack/.

.PHONY: build test test-vm test-ixgbe unit race lint fmt cross fuzz cover demo bench clean help
.DEFAULT_GOAL := build

# How long "make demo" runs, and each target of "make fuzz".
DURATION ?= 5s
FUZZTIME ?= 60s
# What "make test-vm" runs; see go run ./hack/vmtest -help.
VMFLAGS ?= -q

build: ## bin/oobnet, static
	CGO_ENABLED=0 go build -trimpath -o bin/oobnet ./cmd/oobnet

test: ## everything: format, build, vet, lint, tests, race, short fuzz, all platforms
	hack/test.sh

test-vm: ## tests under other kernels and on network cards that QEMU models; VMFLAGS="-kernel 6.12 -suite afxdp" for a part
	hack/deps.sh vm
	go run ./hack/vmtest $(VMFLAGS)

test-ixgbe: ## of test-vm, what runs on the cards that we model: Linux's ixgbe, DPDK's and ours on the 82599 and the X540
	hack/deps.sh vm
	go run ./hack/vmtest -card '^(82599|x540)/' $(VMFLAGS)

unit: ## tests alone; as root also those in network namespaces
	hack/test.sh deps unit

race: ## tests under the race detector
	hack/test.sh deps race

lint: ## gofmt, go vet, golangci-lint
	hack/test.sh fmt vet lint

fmt: ## rewrite all files as gofmt has them
	find . -path './.?*' -prune -o -name '*.go' -print | xargs gofmt -w

cross: ## build and vet for all platforms
	hack/cross.sh

fuzz: ## each fuzz target for FUZZTIME
	hack/fuzz.sh $(FUZZTIME)

cover: ## which statements the tests reach: .cache/cover.html
	mkdir -p .cache
	go test -p 1 -count=1 -timeout 10m -coverpkg=./... -coverprofile=.cache/cover.out ./...
	go tool cover -html=.cache/cover.out -o .cache/cover.html
	go tool cover -func=.cache/cover.out | tail -1

demo: ## two stacks over a wire in memory, for DURATION
	go run ./cmd/oobnet demo --duration $(DURATION)

bench: build ## ours against the kernel, DPDK and gVisor; as root
	hack/deps.sh bench
	bin/oobnet bench

clean: ## what this file has made, the lint binary included
	rm -rf bin .cache

help:
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST)
