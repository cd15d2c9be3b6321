#!/bin/sh
# Fails if a Go file is not as gofmt would write it.
set -u
cd "$(dirname "$0")/.." || exit 1
list=$(find . -path './.?*' -prune -o -name '*.go' -print | xargs gofmt -l) || exit 1
[ -z "$list" ] || {
	echo "not formatted; run gofmt -w on:"
	echo "$list"
	exit 1
}
