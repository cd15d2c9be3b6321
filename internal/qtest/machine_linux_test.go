package qtest_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/qtest"
)

// Registers that the three cards have in common (82574 datasheet, chapter 10).
const (
	ctrl   = 0x0000 // device control: bit 26 resets, bit 6 sets the link up
	status = 0x0008 // bit 1: link is up
	icr    = 0x00c0 // interrupt causes; reading clears
	ics    = 0x00c8 // sets causes
	ims    = 0x00d0 // lets causes interrupt
	imc    = 0x00d8
	ral    = 0x5400 // the card's address, low half
	rah    = 0x5404

	ctrlReset = 1 << 26
)

var mac = net.HardwareAddr{0x52, 0x54, 0, 1, 2, 3}

// cards are the models that we drive, and what is known of them.
var cards = []struct {
	name   string
	id     uint32 // device and vendor
	bar0   uint64
	io     int // the BAR in I/O space
	msix   int
	hasFLR bool
	whole  bool // QEMU models the window in I/O space, and the reset bit
}{
	{"igb", 0x10c9_8086, 128 << 10, 2, 10, true, true},
	{"e1000e", 0x10d3_8086, 128 << 10, 2, 5, false, true},
	{"e1000", 0x100e_8086, 128 << 10, 1, 0, false, false},
}

func TestCards(t *testing.T) {
	for _, c := range cards {
		t.Run(c.name, func(t *testing.T) {
			leaktest.Check(t)
			m := qtest.Start(t, qtest.Config{Device: c.name, MAC: mac})
			if id := m.ConfigRead32(0); id != c.id {
				t.Errorf("id %08x, want %08x", id, c.id)
			}
			if v, d := m.ConfigRead16(0), m.ConfigRead8(2); v != 0x8086 || d != uint8(c.id>>16) {
				t.Errorf("vendor %04x, low byte of device %02x", v, d)
			}
			if got := m.BAR(0); got.Size != c.bar0 || got.IO || got.Addr%got.Size != 0 {
				t.Errorf("BAR 0 is %+v", got)
			}
			if got := m.BAR(c.io); !got.IO || got.Size == 0 || got.Size > 256 {
				t.Errorf("BAR %d is %+v", c.io, got)
			}
			if n := m.MSIXVectors(); n != c.msix {
				t.Errorf("%d MSI-X vectors, want %d", n, c.msix)
			}
			checkMAC(t, m)

			// Through I/O space: the address of the register, then its value.
			m.Write32(c.io, 0, ral)
			if got, want := m.Read32(c.io, 4), m.Read32(0, ral); c.whole && got != want {
				t.Errorf("RAL is %08x through I/O space, %08x through memory", got, want)
			}

			// A reset by the card's own bit puts registers back to the EEPROM's.
			m.Write32(0, ral, 0x01020304)
			if got := m.Read32(0, ral); got != 0x01020304 {
				t.Errorf("RAL is %08x after a write", got)
			}
			m.Write32(0, ctrl, m.Read32(0, ctrl)|ctrlReset)
			await(t, "the end of the reset", func() bool { return m.Read32(0, ctrl)&ctrlReset == 0 })
			if c.whole {
				checkMAC(t, m)
			}

			m.Write32(0, ral, 0x01020304)
			err := m.Reset()
			if c.hasFLR {
				if err != nil {
					t.Error(err)
				}
				checkMAC(t, m)
			} else if !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("reset of a card without FLR: %v", err)
			}

			m.Vanish()
			if got := m.Read32(0, status); got != ^uint32(0) {
				t.Errorf("status of a card that is gone: %08x", got)
			}
			m.Close()
			m.Write32(0, ctrl, 0)
			if got := m.Read32(0, status); got != ^uint32(0) {
				t.Errorf("status after Close: %08x", got)
			}
			if err := m.WaitInterrupt(0, time.Now().Add(time.Minute)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("wait after Close: %v", err)
			}
		})
	}
}

// checkMAC reads the card's address from its filter, both halves at once.
func checkMAC(t *testing.T, m *qtest.Machine) {
	t.Helper()
	var b [8]byte
	halves := m.Read32s(0, ral, rah)
	binary.LittleEndian.PutUint32(b[:], halves[0])
	binary.LittleEndian.PutUint32(b[4:], halves[1])
	if !bytes.Equal(b[:6], mac) || b[7]&0x80 == 0 {
		t.Errorf("address % x, valid %v; want %v", b[:6], b[7]&0x80 != 0, mac)
	}
}

// await polls for a condition of the card.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestInterrupts(t *testing.T) {
	// Any cause will do; igb's go through a table to its vectors, which its
	// driver is tested with: here its single message and its line are used.
	const cause = 1 << 2 // link status change
	modes := map[string]func(*qtest.Machine) error{
		"INTx": (*qtest.Machine).EnableINTx,
		"MSI":  (*qtest.Machine).EnableMSI,
	}
	for _, c := range cards {
		for mode, enable := range modes {
			if mode == "MSI" && c.name == "e1000" {
				continue // the card has none
			}
			t.Run(c.name+"/"+mode, func(t *testing.T) {
				leaktest.Check(t)
				m := qtest.Start(t, qtest.Config{Device: c.name})
				m.SetBusMaster(true)
				if err := enable(m); err != nil {
					t.Fatal(err)
				}
				m.Write32(0, imc, ^uint32(0))
				m.Read32(0, icr)
				if err := m.WaitInterrupt(0, time.Now().Add(20*time.Millisecond)); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatalf("with all masked: %v", err)
				}
				m.Write32(0, ims, cause)
				for round := range 3 {
					m.Write32(0, ics, cause)
					if err := m.WaitInterrupt(0, time.Now().Add(10*time.Second)); err != nil {
						t.Fatalf("round %d: %v", round, err)
					}
					if got := m.Read32(0, icr); got&cause == 0 {
						t.Errorf("round %d: causes %08x", round, got)
					}
					m.Write32(0, imc, ^uint32(0))
					m.Write32(0, ims, cause)
				}
				if err := m.WaitInterrupt(0, time.Now().Add(20*time.Millisecond)); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("after all were taken: %v", err)
				}
				m.Wake(0)
				if err := m.WaitInterrupt(0, time.Now().Add(time.Minute)); err != nil {
					t.Errorf("woken: %v", err)
				}
			})
		}
	}
}

func TestMSIX(t *testing.T) {
	leaktest.Check(t)
	m := qtest.Start(t, qtest.Config{Device: "e1000e"})
	if err := m.EnableMSIX(6); err == nil {
		t.Error("six vectors of five")
	}
	m.SetBusMaster(true)
	if err := m.EnableMSIX(5); err != nil {
		t.Fatal(err)
	}
	// 82574 datasheet 10.2.4.2: IVAR, three bits a cause and one that it is
	// valid; the fifth nibble is for the other causes. To vector 3.
	const ivar, other = 0x00e4, 1 << 24
	m.Write32(0, ivar, (8|3)<<16)
	m.Write32(0, ims, other|1<<2)
	m.Write32(0, ics, other|1<<2)
	if err := m.WaitInterrupt(3, time.Now().Add(10*time.Second)); err != nil {
		t.Fatal(err)
	}
	for _, v := range []int{0, 1, 2, 4} {
		if err := m.WaitInterrupt(v, time.Now()); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("vector %d: %v", v, err)
		}
	}
}

func TestSetLink(t *testing.T) {
	leaktest.Check(t)
	m := qtest.Start(t, qtest.Config{Device: "e1000"})
	m.Write32(0, ctrl, m.Read32(0, ctrl)|1<<6)
	up := func() bool { return m.Read32(0, status)&2 != 0 }
	await(t, "link", up)
	if err := m.SetLink(false); err != nil {
		t.Fatal(err)
	}
	await(t, "no link", func() bool { return !up() })
	if err := m.SetLink(true); err != nil {
		t.Fatal(err)
	}
	await(t, "link again", up)
}

// TestFrames sends one frame each way with the smallest driver there can be:
// the legacy descriptors of the e1000, 16 bytes, polled.
func TestFrames(t *testing.T) {
	leaktest.Check(t)
	const (
		rctl, rdbal, rdlen, rdh, rdt = 0x0100, 0x2800, 0x2808, 0x2810, 0x2818
		tctl, tdbal, tdlen, tdh, tdt = 0x0400, 0x3800, 0x3808, 0x3810, 0x3818
		enable                       = 1 << 1
		ring                         = 128 // bytes, the least: 8 descriptors
	)
	m := qtest.Start(t, qtest.Config{Device: "e1000", MAC: mac})
	rx, rxAddr := m.Memory(ring)
	tx, txAddr := m.Memory(ring)
	buf, bufAddr := m.Memory(2 * 2048)
	for i := range 8 {
		binary.LittleEndian.PutUint64(rx[16*i:], bufAddr)
	}
	m.Write32(0, rdbal, uint32(rxAddr))
	m.Write32(0, rdlen, ring)
	m.Write32(0, rdh, 0)
	m.Write32(0, rdt, 1)
	m.Write32(0, tdbal, uint32(txAddr))
	m.Write32(0, tdlen, ring)
	m.Write32(0, ctrl, m.Read32(0, ctrl)|1<<6)
	await(t, "link", func() bool { return m.Read32(0, status)&2 != 0 })
	m.SetBusMaster(true)
	m.Write32(0, rctl, enable|1<<3|1<<15) // promiscuous, broadcast
	m.Write32(0, tctl, enable)

	frame := append(append(append([]byte{}, mac...), mac...), 0x88, 0xb5) // local experimental EtherType
	for len(frame) < 100 {
		frame = append(frame, byte(len(frame)))
	}
	if err := m.SendFrame(frame); err != nil {
		t.Fatal(err)
	}
	done := func(ring []byte) func() bool {
		return func() bool {
			m.Read32(0, status) // a round trip: what the card wrote before is visible now
			return ring[12]&1 != 0
		}
	}
	await(t, "a frame", done(rx))
	if n := binary.LittleEndian.Uint16(rx[8:]); n != uint16(len(frame)) && n != uint16(len(frame)+4) || !bytes.Equal(buf[:len(frame)], frame) {
		t.Errorf("received %d bytes: % x", n, buf[:len(frame)])
	}

	frame[99] = 0xaa
	copy(buf[2048:], frame)
	binary.LittleEndian.PutUint64(tx, bufAddr+2048)
	binary.LittleEndian.PutUint64(tx[8:], uint64(len(frame))|0x0b<<24) // end of packet, insert FCS, report status
	m.Write32(0, tdt, 1)
	var got [2048]byte
	n, err := m.ReceiveFrame(got[:], time.Now().Add(10*time.Second))
	if err != nil || !bytes.Equal(got[:n], frame) {
		t.Errorf("the card sent % x, %v", got[:n], err)
	}
	await(t, "the report", done(tx))
	if _, err := m.ReceiveFrame(got[:], time.Now().Add(10*time.Millisecond)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a second frame: %v", err)
	}
}

func TestMemory(t *testing.T) {
	leaktest.Check(t)
	m := qtest.Start(t, qtest.Config{Device: "e1000", RAM: 16 << 20})
	seen := map[uint64]bool{}
	for range 2 { // all of it, twice
		var all []uint64
		for range 7 {
			b, addr := m.Memory(2 << 20)
			if addr%(2<<20) != 0 || &b[0] != &m.RAM()[addr] || b[0] != 0 {
				t.Fatalf("address %#x, first byte %d", addr, b[0])
			}
			b[0] = 1
			seen[addr] = true
			all = append(all, addr)
		}
		for _, i := range []int{1, 3, 2, 0, 6, 5, 4} {
			if err := m.Free(all[i]); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(seen) != 7 {
		t.Errorf("%d extents, want the same 7 twice", len(seen))
	}
	if err := m.Free(2 << 20); err == nil {
		t.Error("freed twice")
	}
	if b, _ := m.Memory(14 << 20); len(b) != 14<<20 {
		t.Error("free extents were not joined")
	}
}

func TestUnknownCard(t *testing.T) {
	if err := qtest.Available("igb"); err != nil {
		t.Skip(err)
	}
	if err := qtest.Available("rtl9999"); err == nil {
		t.Error("there is no such card")
	}
}

// BenchmarkRead32 is what a register read costs, and in a batch.
func BenchmarkRead32(b *testing.B) {
	m := qtest.Start(b, qtest.Config{Device: "igb"})
	b.Run("one", func(b *testing.B) {
		for b.Loop() {
			m.Read32(0, status)
		}
	})
	b.Run("of64", func(b *testing.B) {
		offs := make([]uint32, 64)
		for i := range offs {
			offs[i] = status
		}
		for i := 0; i < b.N; i += len(offs) {
			m.Read32s(0, offs...)
		}
	})
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			m.Write32(0, ims, 0)
		}
	})
}
