package stack_test

import (
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/stack"
)

// TestInBandDropsAreCounted: a datagram that is found wrong after the in-band
// stage put it together is counted too.
func TestInBandDropsAreCounted(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, manual())
	c := listen(t, h, h.At(7), nil)
	defer c.Close()
	whole := packet{to: 7, payload: "twenty-four bytes of it."}.frame()
	whole[len(whole)-1]++ // no longer what the checksum says
	const headers, cut = 14 + 20, 16
	for _, part := range []struct {
		from, to int
		flags    byte // of the 16 bits with the offset, the upper 8
	}{{0, cut, 0x20}, {cut, 32, 0}} {
		b := append([]byte(nil), whole[:headers]...)
		b = append(b, whole[headers+part.from:headers+part.to]...)
		ip := b[14:]
		ip[3], ip[5], ip[6], ip[7] = byte(len(ip)), 9, part.flags, byte(part.from/8)
		l.arrive(resum(b), 0, 0)
	}
	h.Poll()
	stacktest.Eventually(t, "the drop is counted", func() bool {
		return h.Stack.Stats().InBandDropped[stack.ReasonChecksum] == 1
	})
	if st := h.Stack.Stats(); st.InBandDropped.Total() != 1 || st.InBand["Reassembled"] != 1 || c.Stats().Received != 0 {
		t.Errorf("dropped %v, in-band %v, socket %+v", st.InBandDropped.Map(), st.InBand, c.Stats())
	}
	stacktest.AssertBooks(t, h.Device)
}
