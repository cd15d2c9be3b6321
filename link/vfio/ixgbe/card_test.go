package ixgbe

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/bus/model"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
	"github.com/oobnet/oobnet/link/vfio/internal/ixgbemodel"
)

// PCI ids of a NIC of each kind of port.
const (
	idFiber     = 0x10fb
	idBackplane = 0x1517
	idCopper    = 0x1528
)

// card is a NIC with a log of what was written to its registers: made of memory
// alone, or a model with a life of its own.
type card struct {
	*model.Bus
	t      testing.TB
	writes []write
	mem    driver.Region
	model  *ixgbemodel.Device // nil: memory
	now    time.Duration      // the model's clock
	sent   [][]byte           // by the model
	buffer int                // size of each; 0: 2 KiB
}

type write struct{ offset, value uint32 }

const barSize = 128 << 10

func newBus(t testing.TB, device uint16) *card {
	t.Helper()
	b, err := model.New(bus.ID{Vendor: 0x8086, Device: device}, barSize)
	if err != nil {
		t.Fatal(err)
	}
	b.VectorCounts = map[bus.Kind]int{bus.INTx: 1, bus.MSI: 1, bus.MSIX: 64}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return &card{Bus: b, t: t}
}

// newCard makes a card of memory that answers where the driver waits.
func newCard(t testing.TB, device uint16) *card {
	t.Helper()
	c := newBus(t, device)
	newFree(c.Bus)
	c.log()
	return c
}

// newModel makes a card that forbids what its datasheet forbids.
func newModel(t testing.TB, device uint16) *card {
	t.Helper()
	c := newBus(t, device)
	var err error
	c.model, err = ixgbemodel.New(ixgbemodel.Config{
		Chip: ixgbemodel.Chip(device), MAC: [6]byte{2, 0, 0, 0, 0, 1}, Memory: ixgbemodel.Flat(c.Bus),
		Strict: true, Now: func() time.Duration { return c.now }, Transmit: func(f []byte) { c.sent = append(c.sent, f) },
	})
	if err != nil {
		t.Fatal(err)
	}
	c.model.SetLink(true)
	c.OnRead, c.OnWrite = c.model.Read32, c.model.Write32
	c.log()
	t.Cleanup(func() {
		for _, v := range append(c.model.Violations(), c.model.Tolerated()...) {
			t.Error(v)
		}
	})
	return c
}

// log keeps what is written from now on.
func (c *card) log() {
	next := c.OnWrite
	c.OnWrite = func(offset, value uint32) {
		c.writes = append(c.writes, write{offset, value})
		next(offset, value)
	}
}

func (c *card) open(cfg driver.Config) (driver.Device, error) {
	for _, m := range Driver.Models {
		if m.Device == c.ID().Device {
			return Driver.Open(c, m, cfg)
		}
	}
	c.t.Fatalf("no model for %v", c.ID())
	return nil, nil
}

// start opens and starts, with buffers of 2 KiB if nothing is said, 32 a queue and 32 to
// send.
func (c *card) start(cfg driver.Config) (*device, []driver.Queue) {
	c.t.Helper()
	if cfg.MTU == 0 {
		cfg.MTU = 1500
	}
	dev, err := c.open(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	d := dev.(*device)
	c.mem = c.region(len(d.Queues))
	queues, err := d.Start(c.mem)
	if err != nil {
		c.t.Fatal(err)
	}
	return d, queues
}

func (c *card) region(queues int) driver.Region {
	c.t.Helper()
	layout := link.Layout{BufferSize: max(c.buffer, 2048), Queues: queues, RXBuffers: 32, TXBuffers: 32}
	memory, err := c.Alloc(layout.Bytes())
	if err != nil {
		c.t.Fatal(err)
	}
	mem, err := link.NewMemory(memory.Bytes, layout)
	if err != nil {
		c.t.Fatal(err)
	}
	return driver.Region{Memory: mem, IOVA: memory.IOVA}
}

// to returns what was written to a register, in order.
func (c *card) to(offset uint32) (values []uint32) {
	for _, w := range c.writes {
		if w.offset == offset {
			values = append(values, w.value)
		}
	}
	return values
}

// order checks that what is told of was written in this order, each for the first
// time after the one before.
func (c *card) order(steps ...func(write) bool) {
	c.t.Helper()
	rest := c.writes
	for i, step := range steps {
		at := slices.IndexFunc(rest, step)
		if at < 0 {
			c.t.Errorf("step %d was not written after those before it", i)
			return
		}
		rest = rest[at+1:]
	}
}

// sets is a write to a register with these bits, and clears one without them.
func sets(offset, bits uint32) func(write) bool {
	return func(w write) bool { return w.offset == offset && w.value&bits == bits }
}

func clears(offset, bits uint32) func(write) bool {
	return func(w write) bool { return w.offset == offset && w.value&bits == 0 }
}

// TestOrder checks the order of a start and of a stop: nothing may reach memory
// before the rings are there, and nothing after.
func TestOrder(t *testing.T) {
	card := newModel(t, idFiber)
	var mastered []bool // at each enabling of a queue
	next := card.OnWrite
	const rx0, rx1, tx1 = regQueueRX + driver.RingControl, regQueueRX + driver.AdvancedStep + driver.RingControl, regQueueTX + driver.AdvancedStep + driver.RingControl
	card.OnWrite = func(offset, value uint32) {
		if offset == rx0 && value&driver.RingEnable != 0 {
			mastered = append(mastered, card.Master)
		}
		next(offset, value)
	}
	d, queues := card.start(driver.Config{Queues: 2, Interrupts: bus.MSIX})
	if !slices.Equal(mastered, []bool{true}) {
		t.Errorf("bus mastering when the queue was enabled: %v", mastered)
	}
	card.order(sets(regEIMC, eimcAll), sets(driver.RegCTRL, driver.CtrlRST), sets(regEIMC, eimcAll),
		sets(regRTTDCS, rttdcsOff), sets(regMTQC, 0), clears(regRTTDCS, rttdcsOff), sets(regDMATXCTL, dmatxTE),
		sets(rx1, driver.RingEnable), sets(tx1, driver.RingEnable), sets(regSECRXCTRL, secrxOff), sets(regRXCTRL, rxctrlRXEN), clears(regSECRXCTRL, secrxOff))
	for offset, want := range map[uint32]uint32{
		regFCTRL: fctrlBAM, regDTXMXSZ: dtxmxszAll, regRXPBSIZE: 512 << 10, regRXPBSIZE + 28: 0, regTXPBSIZE: 160 << 10, regTXPBTHRESH: 150,
		regRDRXCTL: rdrxCRC | rdrxAckC | rdrxWriteFix | rdrxReady, regMAXFRS: 1518 << 16, regMCSTCTRL: mcstctrlMFE,
		regQueueRX + driver.AdvancedStep + rxSplit: rxSplitOne | rxSplitDrop | rxSplitHeader | 2, tx1: txThresholds | driver.RingEnable,
	} {
		if got := card.OnRead(offset); got != want {
			t.Errorf("register %#x is %#x, want %#x", offset, got, want)
		}
	}
	queues[0].Fill([]uint32{0, 1})
	card.writes = nil
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	card.order(sets(regEIMC, eimcAll), clears(regRXCTRL, rxctrlRXEN), clears(tx1, driver.RingEnable), sets(driver.RegCTRL, driver.CtrlMasterOff), sets(driver.RegCTRL, driver.CtrlRST))
	if card.Master {
		t.Error("the bus master is on after Stop")
	}
}

// TestStuckDMA: DMA that does not end takes a flush of the transmit path and two
// resets.
func TestStuckDMA(t *testing.T) {
	card := newCard(t, idFiber)
	d, _ := card.start(driver.Config{Queues: 1})
	card.Set(driver.RegSTATUS, driver.StatusMasterOn)
	card.writes = nil
	if err := d.Restart(); err != nil {
		t.Fatal(err)
	}
	reset := sets(driver.RegCTRL, driver.CtrlRST)
	card.order(clears(regRXCTRL, rxctrlRXEN), sets(regHLREG0, hlreg0Loop), sets(regGCREXT, gcrextFlush), clears(regGCREXT, gcrextFlush), clears(regHLREG0, hlreg0Loop), reset, reset, sets(regRXCTRL, rxctrlRXEN))
}

// TestGone pulls the card out: nothing waits for long, and nothing is taken for
// a value.
func TestGone(t *testing.T) {
	for _, id := range []uint16{idFiber, idCopper} {
		card := newCard(t, id)
		d, _ := card.start(driver.Config{Queues: 2, Interrupts: bus.MSIX})
		card.OnRead = func(uint32) uint32 { return bus.AllOnes }
		start := time.Now()
		if err := d.Stop(); !errors.Is(err, syscall.ENODEV) {
			t.Errorf("Stop: %v, want ENODEV", err)
		}
		if err := d.Restart(); !errors.Is(err, syscall.ENODEV) {
			t.Errorf("Restart: %v, want ENODEV", err)
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("it took %v", d)
		}
		var c driver.Counters
		d.Count(&c)
		if c != (driver.Counters{}) {
			t.Errorf("a device that is gone has counted %+v", c)
		}
		if s := d.Status(); !s.Gone || d.Cause() != driver.DeviceGone {
			t.Errorf("its status is %+v", s)
		}
	}
}

// TestStuck lets a queue not start, the reset not end, the receive unit not come up.
func TestStuck(t *testing.T) {
	for what, c := range map[string]struct {
		offset, clear uint32
		says          string
	}{
		"queue":  {regQueueTX + driver.RingControl, driver.RingEnable, "queue 0"},
		"unit":   {regRDRXCTL, rdrxReady, "receive unit"},
		"memory": {regEEC, eecAutoRead, ""}, // a NIC without one does not read it
	} {
		card := newCard(t, idFiber)
		card.OnRead = func(offset uint32) uint32 {
			if v := card.Get(offset); offset != c.offset {
				return v
			} else {
				return v &^ c.clear
			}
		}
		dev, err := card.open(driver.Config{MTU: 1500, Queues: 1})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		_, err = dev.Start(card.region(1))
		if c.says == "" && err == nil {
			continue
		}
		if !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s that is not ready: %v", what, err)
		}
	}
	stuck := newCard(t, idFiber)
	stuck.OnWrite = nil // plain memory: the bit stays set
	if _, err := stuck.open(driver.Config{MTU: 1500}); !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "reset") {
		t.Errorf("a reset that does not end: %v", err)
	}
}

// TestHeldUp: a thread that loses its processor for longer than a wait may take, at
// the first look, looks again before it gives the device up.
func TestHeldUp(t *testing.T) {
	card := newModel(t, idFiber)
	next, looks := card.OnRead, 0
	card.OnRead = func(offset uint32) uint32 {
		v := next(offset)
		if offset == driver.RegCTRL && v&driver.CtrlRST != 0 {
			looks++
			time.Sleep(150 * time.Millisecond) // the reset may take 100 ms
		}
		return v
	}
	if _, err := card.open(driver.Config{MTU: 1500}); err != nil || looks == 0 {
		t.Errorf("%v, after %d looks at a reset that has not ended", err, looks)
	}
}

// TestRefusals asks for what the NICs cannot do.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		cfg  driver.Config
		says string
	}{
		{driver.Config{Queues: 65, Interrupts: bus.MSIX}, "has 64"},
		{driver.Config{Queues: 2, Interrupts: bus.MSI}, "has 1 with MSI"},
		{driver.Config{MTU: 15851}, "at most 15850"},
		{driver.Config{RXDescriptors: 24}, "power of two"},
		{driver.Config{TXDescriptors: 8192}, "power of two"},
		{driver.Config{Queues: 1, Features: driver.RSS}, "with 1 queues"},
	} {
		card := newCard(t, idFiber)
		if _, err := card.open(c.cfg); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v: does not say %q", c.cfg, err, c.says)
		}
	}
	card := newCard(t, idFiber)
	d, _ := card.start(driver.Config{Queues: 32, Interrupts: bus.MSIX, Features: driver.RSS})
	s := d.Spread()
	s.Table[7] = 16
	if err := d.SetSpread(&s); err == nil || !strings.Contains(err.Error(), "first 16") {
		t.Errorf("a queue that RSS does not reach: %v", err)
	}
	s.Table[7] = 32
	if err := d.SetSpread(&s); err == nil || !strings.Contains(err.Error(), "there are 32") {
		t.Errorf("a queue that is not there: %v", err)
	}
	if err := d.SetFeatures(driver.RXTime); !errors.Is(err, link.ErrNotSupported) {
		t.Errorf("times switched on late: %v", err)
	}
}
