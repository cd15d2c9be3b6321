#!/bin/sh
# Fuzzes each target for a time (first argument, default 5s), or only those
# whose name holds the second argument. A failing input lands in the package's
# testdata/fuzz: commit it with the fix, every go test runs it from then on.
set -u
cd "$(dirname "$0")/.." || exit 1
time=${1:-5s}
only=${2:-}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
fuzz() { # package target
	go -C "$1" test -run '^$' -fuzz "^$2\$" -fuzztime "$time" -fuzzminimizetime 1s -timeout 30m >"$log" 2>&1
}
# At the end of its time go test now and then reports its own deadline as a
# failure (golang.org/issue/75804). That leaves no failing input, and is tried again.
deadline() {
	grep -q 'context deadline exceeded' "$log" && ! grep -q 'Failing input written' "$log"
}

status=0
for found in $(find . -path './.?*' -prune -o -name '*_test.go' -print | xargs grep -Ho '^func Fuzz[A-Za-z0-9_]*' /dev/null | sed 's/func //' | sort); do
	file=${found%%:*}
	target=${found##*:}
	case $target in *"$only"*) ;; *) continue ;; esac
	package=$(dirname "$file")
	if fuzz "$package" "$target" || { deadline && fuzz "$package" "$target"; }; then
		echo "ok	$package $target	$(sed -n 's/.*\(execs: [0-9]*\).*/\1/p' "$log" | tail -1)"
	elif grep -q 'build constraints exclude all\|no test files\|no fuzz tests to fuzz' "$log"; then
		echo "skip	$package $target: not on this platform"
	else
		cat "$log"
		echo "FAIL	$package $target"
		status=1
	fi
done
exit $status
