package latmus

import (
	"runtime"
	"testing"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

func TestCRC8(t *testing.T) {
	// The check value of CRC-8 (polynomial 0x07) in catalogues of CRCs.
	if c := crc8([]byte("123456789")); c != 0xf4 {
		t.Errorf("%#x, want 0xf4", c)
	}
}

func TestPacket(t *testing.T) {
	for _, size := range []int{MinSize, DefaultSize, MaxSize} {
		b := newPacket(size)
		setSequence(b, 0x0123456789abcdef)
		if b[0] != '^' || string(b[1:17]) != "0123456789abcdef" || b[size-2] != '$' {
			t.Errorf("%q", b)
		}
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
