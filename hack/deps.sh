#!/bin/sh
# Installs the programs that tests (or, with "bench", benchmarks) call and that
# are missing: with apt-get, as root, without questions. Where it cannot, it
# says so and succeeds: the tests that need them skip, and say why.
set -u

missing=
need() { # program package
	command -v "$1" >/dev/null 2>&1 || PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}

[ "$(uname -s)" = Linux ] || exit 0
need ip iproute2
need ethtool ethtool
need ping iputils-ping
if [ "${1:-}" = bench ]; then
	need dpdk-testpmd dpdk
	pkg-config --exists libdpdk 2>/dev/null || missing="$missing dpdk-dev pkg-config"
fi
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
	echo "missing:$missing; to install them: apt-get install$missing (as root)"
	exit 0
fi
install() {
	# shellcheck disable=SC2086 # a list of names
	DEBIAN_FRONTEND=noninteractive timeout 300 apt-get install -y -q --no-install-recommends $missing </dev/null >"$log" 2>&1
}
log=$(mktemp)
install || { timeout 120 apt-get update -q </dev/null >/dev/null 2>&1; install; } || {
	tail -5 "$log"
	echo "could not install:$missing"
}
rm -f "$log"
