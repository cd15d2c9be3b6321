#!/bin/sh
# Fails if a module's go.mod or go.sum is not what go mod tidy would write.
# Exit status 75: that could not be found out, for want of a module.
set -u
cd "$(dirname "$0")/.." || exit 1
err=$(mktemp)
trap 'rm -f "$err"' EXIT
for module in . interop examples/appliance; do
	out=$(go -C "$module" mod tidy -diff 2>"$err") && continue
	if [ -n "$out" ]; then
		echo "run go -C $module mod tidy; it would change:"
		echo "$out"
		exit 1
	fi
	tail -5 "$err"
	exit 75
done
