package igb

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
)

// card is a NIC made of memory, with a log of what was written to its registers.
type card struct {
	*model.Bus
	t      testing.TB
	far    driver.Free
	writes []write
	mem    driver.Region
}

type write struct{ offset, value uint32 }

// queue is what the tests call a queue's rings.
type queue = driver.AdvancedQueue

const (
	queueStep  = driver.AdvancedStep
	ringEnable = driver.RingEnable
)

const barSize = 128 << 10

// newCard makes a card that answers where the driver waits.
func newCard(t testing.TB, device uint16) *card {
	t.Helper()
	b, err := model.New(bus.ID{Vendor: 0x8086, Device: device}, barSize)
	if err != nil {
		t.Fatal(err)
	}
	c := &card{Bus: b, t: t, far: newFree(b)}
	b.VectorCounts = map[bus.Kind]int{bus.INTx: 1, bus.MSI: 1, bus.MSIX: 25}
	next := b.OnWrite
	b.OnWrite = func(offset, value uint32) {
		c.writes = append(c.writes, write{offset, value})
		next(offset, value)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
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

// start opens and starts, with buffers of 2 KiB, 32 a queue and 32 to send.
func (c *card) start(cfg driver.Config) (*device, []*queue) {
	c.t.Helper()
	if cfg.MTU == 0 {
		cfg.MTU = 1500
	}
	dev, err := c.open(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	d := dev.(*device)
	layout := link.Layout{BufferSize: 2048, Queues: len(d.Queues), RXBuffers: 32, TXBuffers: 32}
	memory, err := c.Alloc(layout.Bytes())
	if err != nil {
		c.t.Fatal(err)
	}
	mem, err := link.NewMemory(memory.Bytes, layout)
	if err != nil {
		c.t.Fatal(err)
	}
	c.mem = driver.Region{Memory: mem, IOVA: memory.IOVA}
	if _, err := d.Start(c.mem); err != nil {
		c.t.Fatal(err)
	}
	var queues []*queue
	for i := range d.Queues {
		queues = append(queues, &d.Queues[i])
	}
	return d, queues
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

// before says that the first write of a was before the last of b.
func (c *card) before(a, b func(write) bool) bool {
	first := slices.IndexFunc(c.writes, a)
	last := -1
	for i, w := range c.writes {
		if b(w) {
			last = i
		}
	}
	return first >= 0 && first < last
}

// TestOrder checks the order of a start and of a stop: nothing may reach memory
// before the rings are there, and nothing after.
func TestOrder(t *testing.T) {
	card := newCard(t, 0x10c9)
	var mastered []bool // at each enabling of a queue
	next := card.OnWrite
	card.OnWrite = func(offset, value uint32) {
		if offset == regQueueRX+driver.RingControl && value&ringEnable != 0 {
			mastered = append(mastered, card.Master)
		}
		next(offset, value)
	}
	d, queues := card.start(driver.Config{Queues: 2, Interrupts: bus.MSIX})
	if !slices.Equal(mastered, []bool{true}) {
		t.Errorf("bus mastering when the queue was enabled: %v", mastered)
	}
	enabled := func(w write) bool {
		return w.offset == regQueueRX+queueStep+driver.RingControl && w.value&ringEnable != 0
	}
	receives := func(w write) bool { return w.offset == driver.RegRCTL && w.value&driver.RctlEN != 0 }
	if !card.before(enabled, receives) {
		t.Error("the receiver was switched on before its queues")
	}
	if got := card.Get(driver.RegRCTL); got&(driver.RctlUPE|driver.RctlMPE) != 0 || got&(driver.RctlVFE|driver.RctlSECRC|driver.RctlBAM) != driver.RctlVFE|driver.RctlSECRC|driver.RctlBAM {
		t.Errorf("RCTL is %#x", got)
	}
	if got := card.Get(regQueueRX + queueStep + rxSplit); got != rxSplitOne|rxSplitDrop|2 {
		t.Errorf("SRRCTL of queue 1 is %#x", got)
	}
	if got := card.Get(regQueueRX + driver.RingControl); got>>16&0x1f != 1 {
		t.Errorf("WTHRESH to receive is %d, want 1", got>>16&0x1f)
	}
	if got := card.Get(regQueueTX + driver.RingControl); got>>16&0x1f != 1 {
		t.Errorf("WTHRESH to send is %d, want 1", got>>16&0x1f)
	}
	queues[0].Fill([]uint32{0, 1})
	card.writes = nil
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	masked := func(w write) bool { return w.offset == regEIMC }
	stopped := func(w write) bool { return w.offset == driver.RegRCTL && w.value == 0 }
	off := func(w write) bool {
		return w.offset == regQueueTX+queueStep+driver.RingControl && w.value&ringEnable == 0
	}
	reset := func(w write) bool { return w.offset == driver.RegCTRL && w.value&driver.CtrlRST != 0 }
	if !card.before(masked, stopped) || !card.before(stopped, off) || !card.before(off, reset) || card.Master {
		t.Errorf("not masked, stopped, switched off and reset in this order (bus master %v): %x", card.Master, card.writes)
	}
}

// TestGone pulls the card out: nothing waits for long, and nothing is taken for
// a value.
func TestGone(t *testing.T) {
	card := newCard(t, 0x10c9)
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
	if s := d.Status(); !s.Gone {
		t.Errorf("its status is %+v", s)
	}
}

// TestStuck lets a queue not start, and the reset not end.
func TestStuck(t *testing.T) {
	card := newCard(t, 0x1521)
	next := card.OnWrite
	card.OnWrite = func(offset, value uint32) {
		if offset == regQueueTX+driver.RingControl {
			value &^= ringEnable
		}
		next(offset, value)
	}
	dev, err := card.open(driver.Config{MTU: 1500, Queues: 1})
	if err != nil {
		t.Fatal(err)
	}
	layout := link.Layout{BufferSize: 2048, Queues: 1, RXBuffers: 8, TXBuffers: 8}
	memory, err := card.Alloc(layout.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	mem, err := link.NewMemory(memory.Bytes, layout)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dev.Start(driver.Region{Memory: mem, IOVA: memory.IOVA}); !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "queue 0") {
		t.Errorf("a queue that does not start: %v", err)
	}
	stuck := newCard(t, 0x10c9)
	stuck.OnWrite = nil // plain memory: the bit stays set
	if _, err := stuck.open(driver.Config{MTU: 1500}); !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "reset") {
		t.Errorf("a reset that does not end: %v", err)
	}
}

// TestRefusals asks for what the NICs cannot do.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		device uint16
		cfg    driver.Config
		says   string
	}{
		{0x10c9, driver.Config{Queues: 17, Interrupts: bus.MSIX}, "has 16"},
		{0x1521, driver.Config{Queues: 9}, "has 8"},
		{0x1533, driver.Config{Queues: 5}, "has 4"},
		{0x1533, driver.Config{Queues: 2, Interrupts: bus.MSI}, "has 1 with MSI"},
		{0x1533, driver.Config{MTU: 9707}, "at most 9706"},
		{0x1533, driver.Config{RXDescriptors: 24}, "power of two"},
		{0x1533, driver.Config{TXDescriptors: 8192}, "power of two"},
		{0x1533, driver.Config{Queues: 1, Features: driver.RSS}, "with 1 queues"},
		{0x1533, driver.Config{Features: driver.VLANInsert}, "both"},
	} {
		card := newCard(t, c.device)
		if _, err := card.open(c.cfg); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%04x: %v: does not say %q", c.device, err, c.says)
		}
	}
}
