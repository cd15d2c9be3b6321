package udp_test

import (
	"net"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/proto/udp"
)

// TestSecondWriteBatch: one that runs beside another sends one by one, and is
// as strict about addresses.
func TestSecondWriteBatch(t *testing.T) {
	a, b := pair(t, nil)
	listen(t, b, 9, nil)
	x, c := listen(t, a, 1000, nil), dial(t, a, b.At(9), nil)
	defer udp.Batching(x)()
	defer udp.Batching(c)()
	n, err := c.WriteBatch([]udp.Message{{Buf: []byte("to the peer")}, {Buf: []byte("elsewhere"), Addr: b.At(10)}})
	wantError(t, err, "write", net.ErrWriteToConnected)
	if n != 1 {
		t.Errorf("%d messages sent, want the one without an address", n)
	}
	_, err = x.WriteBatch([]udp.Message{{}})
	wantError(t, err, "write", syscall.EDESTADDRREQ)
}

// TestPurgeOfAnotherDevice: what a closing device's purge has in its hands and
// puts back is told to readers, which found nothing meanwhile; and is not left
// in a socket that closed meanwhile.
func TestPurgeOfAnotherDevice(t *testing.T) {
	a, _ := strangers(t, &stacktest.Options{})
	x := listen(t, a, 1000, nil)
	if woken, waiting := udp.PurgeAround(x, a.Device, 1); !woken || waiting != 1 {
		t.Errorf("a reader woken: %v, datagrams waiting: %d; want one of each", woken, waiting)
	}
	y := listen(t, a, 1001, nil)
	if waiting := udp.CloseAroundPurge(y, a.Device); waiting != 0 {
		t.Errorf("%d datagrams are left in a closed socket", waiting)
	}
}
