#!/bin/sh
# Builds all packages and type-checks all tests for every platform we promise.
# Arguments replace the list: hack/cross.sh darwin/arm64
set -u
cd "$(dirname "$0")/.." || exit 1
[ $# -gt 0 ] || set -- linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
status=0
for platform; do
	start=$(date +%s)
	if CGO_ENABLED=0 GOOS=${platform%/*} GOARCH=${platform#*/} sh -c 'go build ./... && go vet ./... && go -C interop vet ./... && go -C examples/appliance vet ./...'; then
		echo "ok	$platform	$(($(date +%s) - start))s"
	else
		echo "FAIL	$platform"
		status=1
	fi
done
exit $status
