package demo

import (
	"bytes"
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/netnstest"
	"github.com/oobnet/oobnet/link"
)

// Addresses of TestVM: the demo's and the kernel's at the other end of the wire.
var (
	vmOurs  = netip.MustParsePrefix("192.0.2.1/24")
	vmPeers = netip.MustParsePrefix("192.0.2.2/24")
)

const (
	vmPort = 7700
	// vmWait is how long the wire may take to come up, and an answer to come, on an
	// emulated machine that is busy.
	vmWait = 30 * time.Second
)

// TestVM runs the demo on a card of a virtual machine that VFIO has, as server
// and as client of the kernel at the other end of the wire, and skips elsewhere.
func TestVM(t *testing.T) {
	leaktest.Check(t)
	w, address := netnstest.NewCard(t, nil)
	if w == nil {
		t.Skip("needs a card of a virtual machine that VFIO has: \"make test-vm\"")
	}
	if err := w.B.AddAddr(vmPeers); err != nil {
		t.Fatal(err)
	}
	options := Options{
		VFIO: address, Addr: vmOurs, Port: vmPort, Size: 64, Period: 5 * time.Millisecond, CPU: -1, Poll: link.Adaptive,
	}
	t.Run("server", func(t *testing.T) { vmServer(t, w.B, options) })
	t.Run("client", func(t *testing.T) { vmClient(t, w.B, options) })
}

// vmServer pings the demo's server, and has datagrams echoed by it.
func vmServer(t *testing.T, peer *netnstest.Host, o Options) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var report *Report
	done := make(chan error, 1)
	go func() {
		var err error
		report, err = Run(ctx, o)
		done <- err
	}()
	// The wire takes its time to come up.
	for end := time.Now().Add(vmWait); ; {
		out, err := peer.Exec("ping", "-n", "-c", "3", "-i", "0.2", "-W", "2", vmOurs.Addr().String())
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Errorf("ping: %v\n%s", err, out)
			break
		}
	}
	c, err := peer.DialUDP(netip.AddrPort{}, netip.AddrPortFrom(vmOurs.Addr(), vmPort))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const datagrams = 20
	for i := range datagrams {
		want := bytes.Repeat([]byte{byte(i)}, 64)
		if _, err := c.Write(want); err != nil {
			t.Fatal(err)
		}
		var got [128]byte
		if err := c.SetReadDeadline(time.Now().Add(vmWait)); err != nil {
			t.Fatal(err)
		}
		n, err := c.Read(got[:])
		if err != nil || !bytes.Equal(got[:n], want) {
			t.Fatalf("datagram %d: echoed % x, %v", i, got[:n], err)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if report.Role != "server" || report.Interface != o.VFIO || report.Received != datagrams || report.Sent != datagrams || report.FirstError != "" {
		t.Errorf("%+v", report)
	}
}

// vmClient has the demo's client talk to an echo server of the kernel's.
func vmClient(t *testing.T, peer *netnstest.Host, o Options) {
	c, err := peer.ListenUDP(netip.AddrPortFrom(vmPeers.Addr(), vmPort))
	if err != nil {
		t.Fatal(err)
	}
	echoed := make(chan int)
	go func() {
		var buf [2048]byte
		for n := 0; ; n++ {
			size, from, err := c.ReadFromUDPAddrPort(buf[:])
			if err == nil {
				_, err = c.WriteToUDPAddrPort(buf[:size], from)
			}
			if err != nil { // it was closed
				echoed <- n
				return
			}
		}
	}()
	o.Peer, o.Duration = vmPeers.Addr(), 2*time.Second
	report, err := Run(t.Context(), o)
	c.Close()
	n := <-echoed
	if err != nil {
		t.Fatal(err)
	}
	// On a busy machine an answer may come after the end.
	if report.Role != "client" || n == 0 || report.Received == 0 || report.Received > uint64(n) || report.Lost != report.Sent-report.Received ||
		report.FirstError != "" || report.RTT == nil || report.RTT.P50 <= 0 {
		t.Errorf("%d echoed: %+v", n, report)
	}
}
