package guestixgbe

import (
	"bytes"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/netnstest"
	"github.com/oobnet/oobnet/internal/vmtest/guesttest"
)

// linkUp is how long a link may take: the driver polls it, every 2 s at worst,
// and registers are read through an emulation.
const linkUp = 60 * time.Second

var (
	cardAddr = netip.MustParsePrefix("10.99.0.1/24")
	peerAddr = netip.MustParsePrefix("10.99.0.2/24")
)

// rig is a wire with the card at end A.
type rig struct {
	*netnstest.Wire
	t    *testing.T
	card guesttest.Card
}

// card returns the card, or skips where it is another or has another driver.
func card(t *testing.T) guesttest.Card {
	t.Helper()
	c := guesttest.First(t)
	if c.Driver != "ixgbe" {
		t.Skipf("needs a card with Linux's driver ixgbe; this one, %s, has %q", c.Model, c.Driver)
	}
	return c
}

// newRig makes a wire, with addresses at both ends and the peer's offloads off,
// so that it sends complete frames.
func newRig(t *testing.T) *rig {
	t.Helper()
	c := card(t)
	return &rig{netnstest.NewPair(t, &netnstest.Config{AddrA: cardAddr, AddrB: peerAddr}), t, c}
}

// ethtool runs the program on the card's interface: options, then what follows
// the interface's name.
func (r *rig) ethtool(option string, args ...string) string {
	r.t.Helper()
	out, err := r.A.Exec("ethtool", append([]string{option, r.A.IfName}, args...)...)
	if err != nil {
		r.t.Fatalf("ethtool %s %s: %v\n%s", option, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// ping sends pings of size bytes from the card to its peer until n are answered:
// one that meets a link that is not up yet is lost. The program checks what
// comes back.
func (r *rig) ping(n, size int) {
	r.t.Helper()
	out, err := r.A.Exec("ping", "-n", "-c", strconv.Itoa(n), "-i", "0.05", "-w", "30", "-s", strconv.Itoa(size), peerAddr.Addr().String())
	if err != nil || bytes.Contains(out, []byte("wrong")) {
		r.t.Fatalf("%d pings of %d bytes: %v\n%s", n, size, err, out)
	}
}

func (r *rig) waitUp() {
	r.t.Helper()
	if err := r.A.WaitUp(linkUp); err != nil {
		r.t.Fatal(err)
	}
}

// carrier says whether the card's interface has one.
func (r *rig) carrier() bool {
	r.t.Helper()
	var ifi *net.Interface
	var err error
	r.A.Do(func() { ifi, err = net.InterfaceByIndex(r.A.IfIndex) })
	if err != nil {
		r.t.Fatal(err)
	}
	return ifi.Flags&net.FlagRunning != 0
}

var statistic = regexp.MustCompile(`(?m)^ *(\w+): (\d+)$`)

// statistics are those of ethtool -S.
func (r *rig) statistics() map[string]uint64 {
	r.t.Helper()
	all := map[string]uint64{}
	for _, m := range statistic.FindAllStringSubmatch(r.ethtool("-S"), -1) {
		n, err := strconv.ParseUint(m[2], 10, 64)
		if err != nil {
			r.t.Fatal(err)
		}
		all[m[1]] = n
	}
	return all
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(linkUp); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}
