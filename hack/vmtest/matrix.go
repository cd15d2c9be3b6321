package main

import (
	"time"

	"github.com/oobnet/oobnet/internal/vmtest/guestbench"
	"github.com/oobnet/oobnet/internal/vmtest/guestdpdk"
)

// suite is a group of packages whose tests run together in a guest.
type suite struct {
	name     string
	packages []string
	args     []string // for the test binaries
	env      []string
	timeout  time.Duration // for each package; 0: 5 min
	modules  []string
	kernels  []string // on which it runs; nil: all
	cards    []card   // with which it runs, each in a guest of its own; nil: without one
	ports    int      // how many cards of the kind the guest has, each on a wire of its own; 0: 1
	together bool     // those cards are functions of one device, in one IOMMU group
	others   bool     // cards that VFIO has are driven by others' drivers, too
	newer    bool     // by QEMU 11.1, whatever the card: see vmtest.Config
	alone    bool     // in a guest of its own, while no other guest runs: it compares figures
	programs []string // of the host, beside those that all guests have
	pages    int      // huge pages of 2 MiB; 0: 32
	shows    string   // the lines of its output that begin so are printed in any case
}

// card is a network card and the driver that it has in the guest.
type card struct{ model, driver string }

func (c card) String() string {
	if c.model == "" {
		return "-"
	}
	return c.model + "/" + c.driver
}

// The drivers that cards have in guests: ours take theirs from VFIO; on the
// kernel's own, wires of package netnstest run over the card.
var (
	toVFIO   = []card{{"igb", "vfio-pci"}, {"e1000e", "vfio-pci"}, {"e1000", "vfio-pci"}}
	toKernel = []card{{"igb", "igb"}}
	// DPDK's drivers take theirs from VFIO, too. On QEMU's igb the tests show that
	// they are right; on the others, that our models are.
	toDPDK = []card{{"igb", "vfio-pci"}, {"82599", "vfio-pci"}, {"x540", "vfio-pci"}}
	// QEMU has no ixgbe: these we model.
	ixgbeToKernel = []card{{"82599", "ixgbe"}, {"x540", "ixgbe"}}
	ixgbeToVFIO   = []card{{"82599", "vfio-pci"}, {"x540", "vfio-pci"}}
)

// programs are those that tests call. hack/deps.sh installs them.
var programs = []string{"ip", "ethtool", "ping", "cat"}

// onCards are the tests of link/afxdp that a card can fail: what the contract
// says, zero copy, and what goes through its driver. Each opening interrupts the
// card's wire for seconds, and the others have the same results on any wire.
var onCards = []string{"-test.run=^Test(SuiteZeroCopy|ZeroCopyDown|Capabilities|BesideKernel|Reopen|Killed|OneQueue|QueueBusy|OffAndOn|Verdicts|Actions|Swap|Divert|TailCall|VLAN|VLANKernel|VLANTagsKept|RXTime|TimeFrames|TXChecksum|TXChecksumBehind|OpenRequestsZeroCopy)$"}

// ownCards are the tests of link/vfio on a card. Of igb's interrupts the lesser
// kinds are left out, which e1000e has too: all tests for one take most of a
// minute, with a card that we model, minutes: those share the kinds.
const ownCards = "-test.run=^TestVM/igb,_MSI-X|^TestVM/e1000|^TestVM/82599,_MSI-X|^TestVM/x540,_INTx"

// onWires are the tests of package oracle that a link can fail, for cards on
// which each wire takes seconds.
const onWires = "-test.run=^Test(UDP|Flows|OddDatagrams|Ping|PortUnreachable|ARP|Multicast.*|Broadcast|Raw|RawVLAN|RawBeside|RawClaims|VLAN.*|DownAndUp|BesideKernel)$"

// overXDP is the suite of package oracle by AF_XDP on a card, in one of its modes.
func overXDP(mode string) suite {
	return suite{
		name: "oracle-" + mode, packages: []string{"internal/oracle"}, args: []string{onWires}, env: []string{"OOBNET_ORACLE_XDP=" + mode},
		modules: []string{"veth", "8021q"}, kernels: []string{"7.2"}, cards: toKernel,
	}
}

// suites are all there are. Those with the same kernel and card share a guest.
var suites = []suite{
	{name: "loopback", packages: []string{"link/loopback"}, kernels: []string{"6.12"}},
	{name: "afxdp", packages: []string{"link/afxdp"}, timeout: 9 * time.Minute, modules: []string{"veth", "8021q"}, kernels: []string{"6.12", "6.1", "6.12-rt"}},
	{name: "vlan", packages: []string{"internal/oracle"}, args: []string{"-test.run=^Test.*VLAN"}, modules: []string{"veth", "8021q"}},
	{name: "afxdp", packages: []string{"link/afxdp"}, args: onCards, timeout: 15 * time.Minute, modules: []string{"veth", "8021q"}, kernels: []string{"6.12", "7.2"}, cards: toKernel},
	{name: "afxdp-copy", packages: []string{"link/afxdp"}, args: []string{"-test.run=^TestSuiteCopy$"}, timeout: 9 * time.Minute, kernels: []string{"7.2"}, cards: toKernel},
	{name: "vfio", packages: []string{"link/vfio"}, args: []string{ownCards}, kernels: []string{"6.12"}, cards: toVFIO},
	{name: "oracle", packages: []string{"internal/oracle"}, kernels: []string{"6.12"}, modules: []string{"8021q"}, cards: toVFIO},
	overXDP("zero-copy"), overXDP("native"), overXDP("generic"),
	{name: "group", packages: []string{"link/vfio"}, args: []string{"-test.run=^TestVMGroup"}, timeout: 2 * time.Minute, kernels: []string{"6.12"}, cards: toVFIO[2:], ports: 2, together: true},
	{name: "bench", packages: []string{"internal/vmtest/guestbench"}, timeout: 3 * time.Minute, kernels: []string{"6.12"}, cards: toVFIO[:1], alone: true, shows: guestbench.Mark},
	{name: "cards", packages: []string{"internal/vmtest/guesttest"}, timeout: time.Minute, kernels: []string{"6.12"}, cards: append(toVFIO, toKernel...)},
	{name: "cards", packages: []string{"internal/vmtest/guesttest"}, timeout: 2 * time.Minute, kernels: []string{"6.12"}, cards: ixgbeToKernel},
	{name: "vfio", packages: []string{"link/vfio"}, args: []string{ownCards}, timeout: 9 * time.Minute, kernels: []string{"6.12"}, cards: ixgbeToVFIO},
	{name: "oracle", packages: []string{"internal/oracle"}, args: []string{onWires}, timeout: 9 * time.Minute, kernels: []string{"6.12"}, modules: []string{"8021q"}, cards: ixgbeToVFIO},
	{name: "check", packages: []string{"cmd/oobnet/internal/check"}, args: []string{"-test.run=^TestVM$"}, kernels: []string{"6.12"}, cards: append(toVFIO[:1:1], ixgbeToVFIO...), newer: true},
	{name: "demo", packages: []string{"cmd/oobnet/internal/demo", "cmd/oobnet/internal/latmus", "examples/plc"}, args: []string{"-test.run=^TestVM$"}, kernels: []string{"6.12"}, cards: append(toVFIO[:1:1], ixgbeToVFIO...), newer: true},
	{name: "ixgbe-trace", packages: []string{"link/vfio/internal/ixgbetrace"}, args: []string{"-test.run=^TestRecordLinux$"}, kernels: []string{"6.12"}, cards: ixgbeToKernel},
	{name: "ixgbe-linux", packages: []string{"internal/vmtest/guestixgbe"}, timeout: 9 * time.Minute, modules: []string{"veth", "8021q"}, kernels: []string{"6.12"}, cards: ixgbeToKernel},
	{
		name: "ixgbe-dpdk", packages: []string{"internal/vmtest/guestdpdk"}, timeout: 9 * time.Minute, modules: []string{"8021q"},
		kernels: []string{"6.12"}, cards: toDPDK, ports: 2, others: true, programs: guestdpdk.Programs(), pages: 64,
	},
	{name: "cards", packages: []string{"internal/vmtest/guesttest"}, timeout: time.Minute, kernels: []string{"7.2"}, cards: append(toVFIO[:1:1], toKernel...)},
}
