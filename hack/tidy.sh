#!/bin/sh
# Fails if go.mod or go.sum is not what go mod tidy would write.
# Exit status 75: that could not be found out, for want of a module.
set -u
cd "$(dirname "$0")/.." || exit 1
err=$(mktemp)
out=$(go mod tidy -diff 2>"$err") && { rm -f "$err"; exit 0; }
if [ -n "$out" ]; then
	rm -f "$err"
	echo "run go mod tidy; it would change:"
	echo "$out"
	exit 1
fi
tail -5 "$err"
rm -f "$err"
exit 75
