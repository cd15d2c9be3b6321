package udp_test

import (
	"testing"

	"github.com/oobnet/oobnet/proto/udp"
)

// TestSockets: what is open is listed in order, with its figures, and what is
// closed is not.
func TestSockets(t *testing.T) {
	a, b := pair(t, nil)
	if got := udp.Sockets(a.Stack); len(got) != 0 {
		t.Errorf("before the first: %v", got)
	}
	server := listen(t, b, 7, &udp.Config{Queue: 5})
	client, err := udp.Dial(b.Stack, b.At(6), a.At(9), nil)
	if err != nil {
		t.Fatal(err)
	}
	sender := listen(t, a, 0, nil)
	if _, err := sender.WriteToUDPAddrPort([]byte("x"), b.At(7)); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	got := udp.Sockets(b.Stack)
	if len(got) != 2 {
		t.Fatalf("%+v, want two", got)
	}
	if got[0].Local != b.At(6) || got[0].Remote != a.At(9) || got[0].Stats.Received != 0 {
		t.Errorf("%+v", got[0])
	}
	if got[1].Local != b.At(7) || got[1].Remote.IsValid() || got[1].Quota != 5 || got[1].Stats.Received != 1 {
		t.Errorf("%+v", got[1])
	}
	if st, open := udp.Totals(b.Stack); open != 2 || st.Received != 1 {
		t.Errorf("%d open, %+v", open, st)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if got := udp.Sockets(b.Stack); len(got) != 1 || got[0].Local != b.At(7) {
		t.Errorf("after one closed: %+v", got)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if st, open := udp.Totals(b.Stack); open != 0 || st.Received != 1 || st.Held != 0 {
		t.Errorf("after all closed: %d open, %+v", open, st)
	}
}
