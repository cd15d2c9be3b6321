#!/bin/sh
# Installs the programs that tests (or, with "bench", benchmarks; with "vm", tests
# in virtual machines) call and that are missing: with apt-get, as root, without questions. Where it cannot, it
# says so and succeeds: the tests that need them skip, and say why.
set -u
cd "$(dirname "$0")/.." || exit 1

missing=
need() { # program package
	command -v "$1" >/dev/null 2>&1 || PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}

[ "$(uname -s)" = Linux ] || exit 0
need ip iproute2
need ethtool ethtool
need ping iputils-ping
need tshark tshark
need qemu-s390x-static qemu-user-static
if [ "${1:-}" = vm ]; then
	need xz xz-utils
	need dpdk-testpmd "dpdk librte-meta-mempool librte-meta-net" # and its plugins, which it only recommends
fi
if [ "${1:-}" = bench ]; then
	need dpdk-testpmd dpdk
	pkg-config --exists libdpdk 2>/dev/null || missing="$missing dpdk-dev pkg-config"
fi
# The device models of the driver tests; igb is there since QEMU 8.0.
qemu=
if [ "$(uname -m)" = x86_64 ] && ! qemu-system-x86_64 -device help 2>/dev/null | grep -q '"igb"'; then
	qemu=qemu-system-x86
fi
[ -n "$missing$qemu" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
	echo "missing:$missing $qemu; to install them: apt-get install$missing $qemu (as root; on Debian 12 qemu from bookworm-backports)"
	exit 0
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() { # seconds, arguments of apt-get
	limit=$1
	shift
	DEBIAN_FRONTEND=noninteractive timeout "$limit" apt-get -q "$@" </dev/null >"$log" 2>&1
}
install() { # options and packages, for which the lists are fetched if that helps
	apt 300 "$@" || {
		apt 120 update
		apt 300 "$@"
	} || {
		tail -5 "$log"
		return 1
	}
}
# QEMU of Debian 12 is too old, and that of its backports is not among the
# sources of most machines. They are added for these calls alone, with lists of
# their own in the cache: what the machine's apt does stays as it was.
backports() {
	suite=bookworm-backports
	cache=$PWD/.cache/apt
	# Codenames are known once lists were fetched; before that, take the first source.
	mirror=$({
		apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm'
		apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages'
	} 2>/dev/null | head -1)
	[ -n "$mirror" ] || {
		echo "apt has no source of packages"
		return 1
	}
	mkdir -p "$cache/lists/partial" || return 1
	{
		cat /etc/apt/sources.list 2>/dev/null
		echo "deb $mirror $suite main"
	} >"$cache/sources.list"
	set -- -o "Dir::Etc::sourcelist=$cache/sources.list" -o "Dir::State::lists=$cache/lists"
	apt 180 "$@" update # what matters of its outcome, the next step shows
	apt 300 "$@" install -y --no-install-recommends -t "$suite" "$qemu" || {
		tail -5 "$log"
		return 1
	}
}

if [ -n "$missing" ]; then
	# shellcheck disable=SC2086 # a list of names
	install install -y --no-install-recommends $missing || echo "could not install:$missing"
fi
if [ -n "$qemu" ]; then
	case $(. /etc/os-release && echo "${VERSION_CODENAME:-}") in
	bookworm) backports ;;
	*) install install -y --no-install-recommends "$qemu" ;;
	esac || echo "could not install: $qemu; the tests on device models will skip"
fi
