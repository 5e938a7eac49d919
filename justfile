# The recipes of the Makefile, for those who have just. `just` lists them.

# List the recipes.
help:
    @just --list --unsorted

# Build bin/op-node, with version, commit and date stamped in.
op-node:
    make op-node

# Run a devnet with a following op-node; --check makes it judge itself, --help shows the rest.
devnet *ARGS:
    make devnet ARGS='{{ARGS}}'

# Run all tests, with the race detector: the unit tests and those on a devnet.
test *ARGS:
    make test ARGS='{{ARGS}}'

# Run the unit tests, quickly: no devnet, no race detector.
unit *ARGS:
    make unit ARGS='{{ARGS}}'

# Run the tests on a devnet.
e2e *ARGS:
    make e2e ARGS='{{ARGS}}'

# Run the tests on a devnet that take minutes.
e2e-long *ARGS:
    make e2e-long ARGS='{{ARGS}}'

# Measure op-node beside upstream's, in some twenty minutes; --short takes one, --help shows the rest.
bench *ARGS:
    make bench ARGS='{{ARGS}}'

# Apply the series for upstream, test it patch by patch, build its program, write mails; --prove, --quick.
patches *ARGS:
    make patches ARGS='{{ARGS}}'

# Write the commits of the branch series in bin/upstream back into patches/series.
patches-save:
    make patches-save

# Apply the series to another checkout of upstream, and say which patch needs work.
patches-rebase TO:
    make patches-rebase TO='{{TO}}'

# Run the property tests that many times each.
soak CHECKS='10000':
    make soak CHECKS={{CHECKS}}

# Run each fuzz target for a time.
fuzz TIME='10s':
    make fuzz FUZZTIME={{TIME}}

# Make a release in bin/release: archives, image, Debian packages, SBOM, checksums; --arch=amd64 for one platform.
release *ARGS:
    make release ARGS='{{ARGS}}'

# Make the container image alone, in bin/release.
image *ARGS:
    make image ARGS='{{ARGS}}'

# Record the newest versions of the Debian packages in the image.
release-lock:
    make release-lock

# Make a release twice and compare; start image, package and the compose demonstration for real.
deploy-check:
    make deploy-check

# Bring up the demonstration in ops/compose, with images built from this checkout. Needs a Docker engine.
compose:
    make compose

# Format the code.
fmt:
    make fmt

# Check format, vet, staticcheck, and that dependencies are what go.sum says.
lint:
    make lint

# Look for known vulnerabilities that the program reaches; says so where their database cannot be had.
vuln:
    make vuln

# Everything before a commit: lint, the unit tests (documents and import rules among them) under race, fuzz.
check:
    make check

# What takes too long for each commit: fuzz targets for minutes, properties many times, the series for upstream.
nightly:
    make nightly

# Delete what was built.
clean:
    make clean
