package ixgbe

import (
	"errors"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// TestSpeeds: the wire comes up at the speed asked for, and at any again, on the NICs
// that can be told; it is kept over a restart.
func TestSpeeds(t *testing.T) {
	for _, c := range []struct {
		id     uint16
		speeds []int
		no     int
	}{{idFiber, []int{1000, 10000, 0}, 100}, {idCopper, []int{1000, 100, 10000, 0}, 10}} {
		card := newModel(t, c.id)
		d, _ := card.start(driver.Config{Queues: 1})
		want := func(mbits int) {
			t.Helper()
			if mbits == 0 {
				mbits = 10000
			}
			if s := d.Status(); !s.Up || !s.FullDuplex || s.Speed != mbits {
				t.Errorf("%x: %+v, want %d Mbit/s", c.id, s, mbits)
			}
		}
		want(0)
		for _, mbits := range c.speeds {
			card.writes = nil
			if err := d.SetSpeed(mbits); err != nil {
				t.Fatal(err)
			}
			want(mbits)
			if c.id == idFiber && mbits == 1000 {
				card.order(sets(regAUTOC, autocHighest|autocRestart), clears(regAUTOC, autocHighest))
			}
			if err := d.Restart(); err != nil {
				t.Fatal(err)
			}
			want(mbits)
		}
		if err := d.SetSpeed(c.no); !errors.Is(err, link.ErrNotSupported) {
			t.Errorf("%x: %d Mbit/s: %v", c.id, c.no, err)
		}
		want(0)
	}
	card := newCard(t, idBackplane)
	d, _ := card.start(driver.Config{Queues: 1})
	if err := d.SetSpeed(1000); !errors.Is(err, link.ErrNotSupported) {
		t.Errorf("a backplane: %v", err)
	}
	if err := d.SetSpeed(0); err != nil {
		t.Errorf("a backplane's own speed: %v", err)
	}
}

// TestSpeedEndsWithClose: who opens a NIC finds any speed again, whatever the process
// before has asked for, and whether or not a reset has come to the PHY. What the PHY
// offers already is not negotiated anew, which would take the wire down for seconds.
func TestSpeedEndsWithClose(t *testing.T) {
	for _, id := range []uint16{idFiber, idCopper} {
		for what, reset := range map[string]func(*card){
			"no reset of the bus":     func(*card) {},
			"one that spares the PHY": func(c *card) { c.model.Reset() },
		} {
			card := newModel(t, id)
			d, _ := card.start(driver.Config{Queues: 1})
			if err := d.SetSpeed(1000); err != nil {
				t.Fatal(err)
			}
			if err := d.Stop(); err != nil {
				t.Fatal(err)
			}
			reset(card)
			d, _ = card.start(driver.Config{Queues: 1})
			if s := d.Status(); s.Speed != 10000 {
				t.Errorf("%x, %s: opened again, the wire has %d Mbit/s", id, what, s.Speed)
			}
		}
	}
	card := newModel(t, idCopper)
	d, _ := card.start(driver.Config{Queues: 1})
	for range 2 {
		if got := card.to(regMSRWD); len(got) != 0 {
			t.Errorf("a PHY that offers all speeds is told %#x", got)
		}
		if err := d.SetSpeed(0); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLeftDark: a port whose laser is off, and a PHY that sleeps, as the kernel's
// driver leaves them, come up.
func TestLeftDark(t *testing.T) {
	dark := newModel(t, idFiber)
	dark.OnWrite(regESDP, esdpLaserOff|esdpLaserPin)
	asleep := newModel(t, idCopper)
	dev, err := asleep.open(driver.Config{MTU: 1500, Queues: 1})
	if err != nil {
		t.Fatal(err)
	}
	d := dev.(*device)
	d.Own(&d.chip.semaphore, d.phyOwner())
	if v, ok := d.readPHY(phyPower); !ok || !d.writePHY(phyPower, v|phyLowPower) {
		t.Fatal("the PHY does not answer")
	}
	d.Disown(&d.chip.semaphore, d.phyOwner())
	if d.Status().Up {
		t.Error("the wire of a PHY that sleeps is up")
	}
	for _, card := range []*card{dark, asleep} {
		d, _ := card.start(driver.Config{Queues: 1})
		if s := d.Status(); !s.Up {
			t.Errorf("%v: the wire is down", card.ID())
		}
	}
}

// TestPHYIsSilent: every wait for it ends.
func TestPHYIsSilent(t *testing.T) {
	card := newCard(t, idCopper)
	d, _ := card.start(driver.Config{Queues: 1})
	card.OnRead = func(offset uint32) uint32 {
		if offset == regMSCA {
			return mscaGo
		}
		return card.Get(offset)
	}
	if err := d.SetSpeed(1000); !errors.Is(err, syscall.EIO) {
		t.Errorf("SetSpeed: %v", err)
	}
}

// TestWireInterrupt: the cable's changes come as a cause.
func TestWireInterrupt(t *testing.T) {
	for _, kind := range []bus.Kind{bus.MSIX, bus.MSI} {
		card := newModel(t, idFiber)
		d, _ := card.start(driver.Config{Queues: 1, Interrupts: kind})
		d.Cause()
		d.Arm(0)
		card.model.SetLink(false)
		if c := d.Cause(); c != driver.LinkChanged || d.Status().Up {
			t.Errorf("%v: cause %v, status %+v", kind, c, d.Status())
		}
		if c := d.Cause(); c != 0 {
			t.Errorf("%v: the cause stays", kind)
		}
		d.Disarm(0)
	}
}
