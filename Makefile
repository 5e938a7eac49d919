# The recipes of the repository; `make` lists them. The justfile has the same. Needed: Go 1.26, git and make, and for the
# race detector a C compiler. Nothing is installed outside of this directory.

SHELL := /bin/bash -euo pipefail

# Arguments for the devnet and the tests: make devnet ARGS="--followers=2", make unit ARGS="-run=TestPlan -v".
ARGS ?=
# How often `make soak` runs each property.
CHECKS ?= 10000
# How long each fuzz target runs in `make fuzz` and `make check`.
FUZZTIME ?= 10s

module := github.com/lightcl/op-node
# These build programs themselves, which the test cache knows nothing of: they run with -count=1.
e2e    := ./ops/devnet/e2e
smoke  := ./ops/bench/smoke

# Stamped into the binary. Outside of a git checkout they stay empty.
commit  = $(shell git rev-parse HEAD 2>/dev/null)
date    = $(shell git show -s --format=%ct HEAD 2>/dev/null)
version = $(shell git describe --tags --match='v*' 2>/dev/null || echo v0.0.0)
ldflags = -X main.GitCommit=$(commit) -X main.GitDate=$(date) \
	-X github.com/ethereum-optimism/optimism/op-node/version.Version=$(version)

# The race detector takes cgo and a C compiler. Without them the tests run without it, and say so.
race = $(shell [ "$$(go env CGO_ENABLED)" = 1 ] && command -v "$$(go env CC)" >/dev/null && echo -race)
say_race = $(if $(race),,@echo "no C compiler or no cgo: testing without the race detector")

# One processor for each test binary: Go's race detector crashes now and then where two processors fire the timers of one
# simulated clock (testing/synctest) at the same time. It finds races by their order, not by their being at the same time.
cpu = $(if $(race),-cpu=1)

# The tests that draw random cases.
properties := Agree|Against|Total|Invariants|BoundedWait|Believing

# All packages but those whose tests run a devnet.
units = $(shell go list ./... | grep -vxE '$(module)/ops/(devnet/e2e|bench/smoke)')

.PHONY: help
help:  ## List the recipes.
	@sed -nE 's/^([a-z][a-z0-9-]*):.*## (.*)/\1\t\2/p' Makefile | expand -t 10

.PHONY: op-node
op-node:  ## Build bin/op-node, with version, commit and date stamped in.
	go build -trimpath -ldflags '$(ldflags)' -o bin/op-node ./op-node/cmd

.PHONY: devnet
devnet: op-node  ## Run a devnet with a following op-node; ARGS=--check makes it judge itself, ARGS=--help shows the rest.
	go build -o bin/devnet ./ops/devnet
	bin/devnet --op-node=bin/op-node $(ARGS)

.PHONY: test
test:  ## Run all tests, with the race detector: the unit tests and those on a devnet.
	$(say_race)
	go test $(race) $(cpu) $(ARGS) $(units)
	$(if $(race),go test -run=BesideUpstream $(ARGS) ./op-node/rollup/driver)
	go test -count=1 -timeout=20m $(ARGS) $(e2e) -args $(if $(race),-race-node)
	go test -count=1 $(ARGS) $(smoke)
	go run ./ops/patches --quick

.PHONY: unit
unit:  ## Run the unit tests, quickly: no devnet, no race detector.
	go test $(ARGS) $(units)

.PHONY: e2e
e2e:  ## Run the tests on a devnet.
	go test -count=1 -timeout=20m $(ARGS) $(e2e)
	go test -count=1 $(ARGS) $(smoke)

.PHONY: e2e-long
e2e-long:  ## Run the tests on a devnet that take minutes: all that a light sequencer has to come through, one after the other.
	go test -count=1 -timeout=30m -v -run='Tip|Flapping|AllOfThem|OneEngine' $(ARGS) $(e2e) -args -nightly

.PHONY: bench
bench: op-node  ## Measure op-node beside upstream's, in some twenty minutes; ARGS=--short takes one, ARGS=--help shows the rest.
	go run ./ops/bench/buildupstream --out=bin/upstream-op-node --patched=bin/patched-op-node
	go build -o bin/bench ./ops/bench
	bin/bench --op-node=bin/op-node --upstream=bin/upstream-op-node --patched=bin/patched-op-node $(ARGS)

.PHONY: patches
patches:  ## Apply the series for upstream, test it patch by patch, build its program, write mails; ARGS=--prove, ARGS=--quick.
	go run ./ops/patches $(ARGS)

.PHONY: patches-save
patches-save:  ## Write the commits of the branch series in bin/upstream back into patches/series.
	go run ./ops/patches save

.PHONY: patches-rebase
patches-rebase:  ## Apply the series to the checkout of upstream in TO, and say which patch needs work.
	go run ./ops/patches rebase '$(TO)'

.PHONY: soak
soak:  ## Run the property tests CHECKS times each: random worlds, sources, faults and restarts.
	go test -timeout=60m -run='$(properties)' ./op-node/rollup/follow ./op-node/rollup/engine ./op-service/l1chain -args -rapid.checks=$(CHECKS)
	go test -count=1 -timeout=60m -run=Turmoil ./op-node/rollup/driver -args -seeds=$(shell expr $(CHECKS) / 20)

.PHONY: fuzz
fuzz:  ## Run each fuzz target for FUZZTIME.
	@grep -rHoE '^func Fuzz[A-Za-z0-9_]+' --include='*_test.go' op-node op-service ops | while IFS=: read -r file target; do \
		target=$${target#func }; echo "$$(dirname "$$file") $$target"; \
		go test -run='^$$' -fuzz="^$$target\$$" -fuzztime=$(FUZZTIME) "./$$(dirname "$$file")" </dev/null; \
	done

# What a release is named by. Outside of a release the newest tag, or none, and the commit.
release = go -C ops/release run . --root=../.. --out=bin/release --version=$(version) --commit=$(commit) --date=$(date)

.PHONY: release
release:  ## Make a release in bin/release: archives, image, Debian packages, SBOM, checksums; ARGS=--arch=amd64 for one platform.
	rm -rf bin/release
	$(release) $(ARGS) all

.PHONY: image
image:  ## Make the container image alone, in bin/release.
	$(release) $(ARGS) image

.PHONY: release-lock
release-lock:  ## Record the newest versions of the Debian packages in the image.
	$(release) lock

.PHONY: deploy-check
deploy-check: release  ## Make a release twice and compare; start image, package and the compose demonstration for real.
	go -C ops/release test ./...
	mv bin/release/SHA256SUMS bin/SHA256SUMS.first
	$(release) all
	diff bin/SHA256SUMS.first bin/release/SHA256SUMS
	$(release) devnet
	go -C ops/deploy test -count=1 -timeout=20m -v . -args -release=bin/release

.PHONY: compose
compose:  ## Bring up the demonstration in ops/compose, with images built from this checkout. Needs a Docker engine.
	$(release) --arch=$$(go env GOARCH) image devnet
	for image in bin/release/op-node-image_*_linux_$$(go env GOARCH).tar bin/release/op-node-devnet-image_*.tar; do docker load -i $$image; done
	IMAGE_TAG=$(patsubst v%,%,$(version)) docker-compose -f ops/compose/demo.yml up -d

.PHONY: fmt
fmt:  ## Format the code.
	gofmt -w op-node op-service ops

.PHONY: lint
lint: .tools/staticcheck .tools/actionlint  ## Check format, vet, staticcheck, workflows, and that dependencies are what go.sum says.
	@unformatted=$$(gofmt -l op-node op-service ops); [ -z "$$unformatted" ] || { echo "not formatted: $$unformatted"; exit 1; }
	go mod verify
	go vet ./...
	.tools/staticcheck ./...
	.tools/actionlint

.PHONY: vuln
vuln: .tools/govulncheck  ## Look for known vulnerabilities that the program reaches; says so where their database cannot be had.
	@out=$$(.tools/govulncheck ./op-node/cmd 2>&1) && code=0 || code=$$?; echo "$$out"; \
	if [ $$code != 0 ] && grep -q "fetching vulnerabilities" <<<"$$out"; then \
		echo "vulnerabilities: NOT CHECKED, the database is out of reach (GOVULNDB names another one)"; exit 0; fi; exit $$code

.PHONY: check
check: lint  ## Everything before a commit: lint, the unit tests (documents and import rules among them) under race, fuzz.
	$(say_race)
	go test $(race) $(cpu) $(ARGS) $(units)
	@$(MAKE) --no-print-directory fuzz

.PHONY: nightly
nightly: lint vuln  ## What takes too long for each commit: fuzz targets for minutes (FUZZTIME), properties many times (CHECKS), the long tests on a devnet, releases, the series for upstream.
	@$(MAKE) --no-print-directory fuzz FUZZTIME=$(if $(filter command line environment,$(origin FUZZTIME)),$(FUZZTIME),5m)
	@$(MAKE) --no-print-directory soak
	@$(MAKE) --no-print-directory e2e-long
	@$(MAKE) --no-print-directory deploy-check
	@$(MAKE) --no-print-directory patches ARGS=--prove

.PHONY: clean
clean:  ## Delete what was built.
	rm -rf bin .tools

# The tools are pinned by a module of their own.
.tools/%: ops/tools/go.mod ops/tools/go.sum
	go -C ops/tools build -o ../../.tools/$* "$$(cd ops/tools && go list -f '{{.ImportPath}}' tool | grep "/$*\$$")"
