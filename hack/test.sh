#!/bin/sh
# All that has to hold before a change goes in, stage by stage. It goes on
# after a failure, so that one run shows everything, and ends with the time of
# each stage and with what was skipped and why. Arguments name stages to run
# instead of all.
set -u
cd "$(dirname "$0")/.." || exit 1
mkdir -p .cache
SKIPS=$PWD/.cache/skips.$$
export SKIPS
: >"$SKIPS"
table=$(mktemp)
gotest=$(mktemp)
trap 'rm -f "$SKIPS" "$table" "$gotest"' EXIT
trap 'exit 130' INT TERM

# Packages whose tests measure time or wait for threads run one after the
# other: with two at once on two cores, a spinning receiver starves its neighbour.
timed='^github.com/oobnet/oobnet/(link|arp|stack|proto|control|cmd|examples|bench|internal/(rt|clock|ring|netns|netnstest|qtest|vmtest))'

deps() { hack/deps.sh; }
fmt() { hack/fmt.sh; }
build() { CGO_ENABLED=0 go build ./...; }
vet() { go vet ./...; }
tidy() {
	why="a module could not be fetched (see above)"
	hack/tidy.sh
}
lint() {
	why="golangci-lint could not be built (see above)"
	hack/lint.sh
}
cross() { hack/cross.sh; }
fuzz() { hack/fuzz.sh "${FUZZTIME:-5s}"; }
unit() {
	packages=$(go list ./...) || return 1
	tests -count=1 -timeout 15m
}
race() {
	if [ "$(go env CGO_ENABLED)" != 1 ] || ! command -v "$(go env CC)" >/dev/null 2>&1; then
		why="the race detector needs cgo and a C compiler ($(go env CC)): install gcc"
		return 75
	fi
	# Not the contests of the benchmarks: slowed ten times they measure nothing.
	packages=$(go list ./... | grep -Ev '/(hack/|internal/laws|cmd/oobnet/internal/bench)') || return 1
	tests -race -count=1 -timeout 20m
}
# The modules of their own: what joins us to others' libraries.
modules() (
	for module in interop examples/appliance; do
		(cd "$module" && go vet ./... && "$gotest" -p 1 -count=1 -timeout 5m ./...) || return 1
	done
)
tests() { # flags of go test; $packages
	"$gotest" "$@" $(echo "$packages" | grep -Ev "$timed")
	first=$?
	"$gotest" -p 1 "$@" $(echo "$packages" | grep -E "$timed") && return $first
}
# A namespace whose process is gone was left by a test that did not clean up.
# One of a running process belongs to somebody else's test.
left() {
	found=0
	for path in /run/netns/oobnet-*; do
		[ -e "$path" ] || continue
		pid=${path#/run/netns/oobnet-}
		pid=${pid%%-*}
		kill -0 "$pid" 2>/dev/null && continue
		echo "left behind: $path"
		found=1
	done
	return $found
}

status=0
run() { # stage; one that returns 75 could not run, and says in $why
	echo "== $1"
	start=$(date +%s)
	"$1"
	case $? in
	0) result=ok ;;
	75)
		result=skipped
		echo "stage $1: $why" | tee -a "$SKIPS"
		;;
	*)
		result=FAILED
		status=1
		;;
	esac
	printf '%-8s %4ds  %s\n' "$1" $(($(date +%s) - start)) $result >>"$table"
}

CGO_ENABLED=0 go build -o "$gotest" ./hack/gotest || exit 1
[ $# -gt 0 ] || set -- deps fmt build vet tidy lint unit modules race fuzz left cross
for stage; do run "$stage"; done

echo "== summary"
cat "$table"
if [ -s "$SKIPS" ]; then
	echo "skipped:"
	sort -u -t : -k 1,1 "$SKIPS" | sed 's/^/  /'
fi
exit $status
