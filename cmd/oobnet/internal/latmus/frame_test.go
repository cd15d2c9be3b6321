package latmus

import (
	"runtime"
	"strings"
	"testing"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// TestCRC8 compares with entries of the table in EVL's latmus, and with what they
// make of the digits that catalogues of CRCs check by.
func TestCRC8(t *testing.T) {
	for i, want := range map[int]byte{0: 0, 1: 0x8d, 2: 0x97, 3: 0x1a, 7: 0xb9, 128: 0xd8, 248: 0x52, 255: 0xeb} {
		if crcTable[i] != want {
			t.Errorf("entry %d: %#x, want %#x", i, crcTable[i], want)
		}
	}
	if c := crc8([]byte("123456789")); c != 0xfd {
		t.Errorf("%#x, want 0xfd", c)
	}
}

// TestPacketOfLatmus: the bytes that a latmus with this table sends.
func TestPacketOfLatmus(t *testing.T) {
	for _, c := range []struct {
		seq  uint64
		want string
	}{
		{0, "^0000000000000000A$1c"},
		{27, "^000000000000001b" + strings.Repeat("B", 44) + "$5c"},
		{0x0123456789abcdef, "^0123456789abcdefZZZZ$77"},
	} {
		b := newPacket(len(c.want))
		setSequence(b, c.seq)
		if string(b) != c.want {
			t.Errorf("%q, want %q", b, c.want)
		}
		if n, ok := sequence([]byte(c.want)); !ok || n != c.seq {
			t.Errorf("%q: %#x, %t", c.want, n, ok)
		}
	}
}

func TestDamagedPackets(t *testing.T) {
	for _, size := range []int{MinSize, DefaultSize, MaxSize} {
		b := newPacket(size)
		setSequence(b, 0x0123456789abcdef)
		if n, ok := sequence(b); !ok || n != 0x0123456789abcdef {
			t.Errorf("%#x, %t", n, ok)
		}
		for i := range b {
			b[i] ^= 0x10
			if _, ok := sequence(b); ok {
				t.Errorf("size %d: a wrong byte %d was not seen", size, i)
			}
			b[i] ^= 0x10
		}
		if _, ok := sequence(b[:MinSize-1]); ok {
			t.Error("a short packet was taken")
		}
	}
}

func TestOrder(t *testing.T) {
	var o order
	for _, n := range []uint64{5, 6, 9, 7, 9, 10} {
		o.take(n)
	}
	// 7 and 8 were lost, 7 came late, 9 twice.
	if o.lost != 1 || o.late != 1 || o.duplicate != 1 {
		t.Errorf("lost %d, late %d, duplicates %d, want 1 each", o.lost, o.late, o.duplicate)
	}
	// The peer is started again.
	o = order{}
	for _, n := range []uint64{100_000, 0, 1, 2} {
		o.take(n)
	}
	if o.lost+o.late+o.duplicate != 0 {
		t.Errorf("lost %d, late %d, duplicates %d of a peer that began again", o.lost, o.late, o.duplicate)
	}
}

func TestBadPacketsAndOddTimes(t *testing.T) {
	o := short()
	y := newTally(&o)
	y.came(&arrival{bad: true}, false)
	y.came(&arrival{seq: 1, times: stack.IOTimes{Device: 10, Queuing: 20, Delivery: 30}, read: 25}, false)
	y.came(&arrival{seq: 2, read: 25}, false)
	if y.badCRC != 1 || y.odd != 1 || y.inBand != 1 || y.received != 2 {
		t.Errorf("bad %d, odd %d, in-band %d, received %d", y.badCRC, y.odd, y.inBand, y.received)
	}
}

func TestRows(t *testing.T) {
	for ns := range int64(1 << 14) {
		k := row(ns)
		if rowStart(k) > ns || rowStart(k+1) <= ns {
			t.Fatalf("%d ns in row %d, which is from %d to %d", ns, k, rowStart(k), rowStart(k+1))
		}
	}
}

func TestStressIsReadBack(t *testing.T) {
	for _, s := range []string{"", "gc", "gc,memory", "gc,memory,flood"} {
		if v, err := ParseStress(s); err != nil || v.String() != s {
			t.Errorf("%q: %v, %v", s, v, err)
		}
	}
	if _, err := ParseStress("earthquake"); err == nil {
		t.Error("no error")
	}
}

func TestBusyThreadsMayNotTakeAllCores(t *testing.T) {
	o := short()
	o.Poll, o.Priority = link.Busy, DefaultPriority
	if err := o.Check(); (err != nil) != (runtime.NumCPU() <= 2) {
		t.Errorf("%d cores: %v", runtime.NumCPU(), err)
	}
	o.Priority = 0
	if err := o.Check(); err != nil {
		t.Error(err)
	}
}
