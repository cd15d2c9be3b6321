#!/bin/sh
# Runs golangci-lint at the version below over the arguments (default: all modules).
# It is built from the Go module proxy into .cache/bin, once.
# Exit status 75: it could not be had.
set -u
version=v2.15.0

cd "$(dirname "$0")/.." || exit 1
bin=$PWD/.cache/bin/golangci-lint-$version
if [ ! -x "$bin" ]; then
	echo "building golangci-lint $version (a minute or two, once)"
	tmp=$PWD/.cache/bin/build.$$
	mkdir -p "$tmp"
	if ! out=$(GOBIN=$tmp GOFLAGS= GOOS= GOARCH= CGO_ENABLED=0 go install "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$version" 2>&1); then
		echo "$out" | tail -5
		rm -rf "$tmp"
		exit 75
	fi
	mv "$tmp/golangci-lint" "$bin" && rmdir "$tmp"
fi
GOLANGCI_LINT_CACHE=$PWD/.cache/golangci-lint
export GOLANGCI_LINT_CACHE
config=$PWD/.golangci.yml
[ $# -eq 0 ] || exec "$bin" run --allow-serial-runners --timeout 10m "$@"
status=0
for module in . interop examples/appliance; do
	(cd "$module" && "$bin" run --allow-serial-runners --timeout 10m --config "$config" ./...) || status=1
done
exit $status
