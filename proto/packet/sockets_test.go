package packet_test

import (
	"testing"

	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/proto/packet"
)

// TestSockets: what is open is listed in order, with its figures, and what is
// closed, or whose port is gone, is not.
func TestSockets(t *testing.T) {
	a, b := pair(t, nil)
	if got := packet.Sockets(b.Stack); len(got) != 0 {
		t.Errorf("before the first: %v", got)
	}
	c := listen(t, b.Port, etherCAT, &packet.Config{Queue: 5})
	analyser, err := packet.ListenDevice(b.Device, nil)
	if err != nil {
		t.Fatal(err)
	}
	onVLAN := listen(t, onVLAN(t, b, "10.1.0.2/24"), packet.All, nil)
	sender := listen(t, a.Port, etherCAT, nil)
	if _, err := sender.WriteToAddr(make([]byte, wire.MinFrame), packet.Addr{MAC: b.Link.MAC()}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.ReadFrom(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	got := packet.Sockets(b.Stack)
	if len(got) != 3 {
		t.Fatalf("%+v, want three", got)
	}
	if got[0].Port != b.Port || got[0].EtherType != etherCAT || got[0].Quota != 5 || got[0].Stats.Received != 1 {
		t.Errorf("%+v", got[0])
	}
	if got[1].Port != nil || got[1].Device != b.Device {
		t.Errorf("%+v", got[1])
	}
	if got[2].EtherType != packet.All || got[2].Port.VLAN() != vlanID {
		t.Errorf("%+v", got[2])
	}
	if err := analyser.Close(); err != nil {
		t.Fatal(err)
	}
	if err := onVLAN.Port().Disable(); err != nil {
		t.Fatal(err)
	}
	if got := packet.Sockets(b.Stack); len(got) != 1 || got[0].Port != b.Port {
		t.Errorf("after two ended: %+v", got)
	}
	if st, open := packet.Totals(b.Stack); open != 1 || st.Received < 2 {
		t.Errorf("%d open, %+v: want 1, and what the analyser got too", open, st)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if st, open := packet.Totals(b.Stack); open != 0 || st.Received < 2 || st.Held != 0 {
		t.Errorf("after all closed: %d open, %+v", open, st)
	}
}
