package latmus

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/proto/udp"
)

// An echo answers packets of latmus, and no service.
func TestAsks(t *testing.T) {
	good := newPacket(MinSize)
	setSequence(good, 7)
	damaged := append([]byte(nil), good...)
	damaged[MinSize-1] ^= 1
	for _, c := range []struct {
		payload   []byte
		from, own uint16
		want      bool
	}{
		{good, 40000, Port, true},
		{good, UserPorts, Port, true},
		{good, Port, Port, false},
		{good, Port, 40000, true},
		{good, UserPorts - 1, Port, false},
		{good, 7, 7, false},
		{damaged, 40000, Port, false},
		{good[:MinSize-1], 40000, Port, false},
		{nil, 40000, Port, false},
	} {
		if got := Asks(c.payload, c.from, c.own); got != c.want {
			t.Errorf("%q from %d to %d: %v, want %v", c.payload, c.from, c.own, got, c.want)
		}
	}
}

// Who asks has another port than the echo, whatever port it is given first.
func TestAskFromAnotherPort(t *testing.T) {
	leaktest.Check(t)
	h, _ := stacktest.Pair(t, nil)
	given := []uint16{Port, 40000}
	open := func() (*udp.Conn, error) {
		at := given[0]
		given = given[1:]
		return udp.Listen(h.Stack, h.At(at), nil)
	}
	c, err := another(Port, open)
	if err != nil {
		t.Fatal(err)
	}
	if port := c.LocalAddr().(*net.UDPAddr).Port; port != 40000 {
		t.Errorf("port %d", port)
	}
	// The one that was in the way is closed.
	first, err := udp.Listen(h.Stack, h.At(Port), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Close(), first.Close()); err != nil {
		t.Error(err)
	}
	given = []uint16{Port, Port} // cannot be had twice
	if c, err := another(Port, open); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("%v, %v", c, err)
	}
}
