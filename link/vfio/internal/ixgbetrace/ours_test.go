package ixgbetrace

import (
	"testing"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/bus/model"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
	"github.com/oobnet/oobnet/link/vfio/internal/ixgbemodel"
	"github.com/oobnet/oobnet/link/vfio/ixgbe"
)

// Linux's driver makes a queue for each processor, and the guest has two.
const queues = 2

// ourRecorder lets our driver do the tasks, on the model as a bus.
type ourRecorder struct {
	*testing.T
	bus    *model.Bus
	model  driver.Model
	tasks  []Task
	device driver.Device
	queues []driver.Queue
	memory *link.Memory
}

// ourTrace is what our driver does to a chip.
func ourTrace(t *testing.T, chip string) []Folded {
	t.Helper()
	id := map[string]ixgbemodel.Chip{"82599": ixgbemodel.Chip82599, "X540": ixgbemodel.ChipX540}[chip]
	b, err := model.New(bus.ID{Vendor: 0x8086, Device: uint16(id)}, ixgbemodel.Size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &ourRecorder{T: t, bus: b, tasks: []Task{{}}}
	card, err := ixgbemodel.New(ixgbemodel.Config{Chip: id, MAC: [6]byte{2, 0, 0, 0, 0, 1}, Memory: ixgbemodel.Flat(b), Trace: r.access, Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	card.SetLink(true)
	b.OnRead, b.OnWrite = card.Read32, card.Write32
	b.VectorCounts = map[bus.Kind]int{bus.INTx: 1, bus.MSI: 1, bus.MSIX: 64}
	for _, m := range ixgbe.Driver.Models {
		if m.Device == uint16(id) {
			r.model = m
		}
	}
	r.do()
	for _, v := range append(card.Violations(), card.Tolerated()...) {
		t.Errorf("%s: %v", chip, v)
	}
	return Fold(r.tasks[1:])
}

func (r *ourRecorder) access(write bool, offset, value uint32) {
	t := &r.tasks[len(r.tasks)-1]
	t.Accesses = append(t.Accesses, Access{write, offset, value})
}

// do does what Linux's driver is asked for in TestRecordLinux. Our link has no
// change of the MTU while it is open: it is closed, and opened anew.
func (r *ourRecorder) do() {
	const between = "" // what is not compared
	for _, step := range []struct {
		task string
		do   func()
	}{
		{"init", func() { r.open(1500) }},
		{"up", func() { r.up(1500) }},
		{"down", r.down},
		{between, func() { r.open(1500); r.up(1500) }},
		{"reset", r.reset},
		{"mtu", func() { r.down(); r.open(9000); r.up(9000) }},
	} {
		r.tasks = append(r.tasks, Task{Name: step.task})
		step.do()
		if step.task == between {
			r.tasks = r.tasks[:len(r.tasks)-1]
		}
	}
}

func (r *ourRecorder) open(mtu int) {
	r.Helper()
	var err error
	r.device, err = ixgbe.Driver.Open(r.bus, r.model, driver.Config{
		Queues: queues, MTU: mtu, Interrupts: bus.MSIX,
		Features: driver.RXChecksum | driver.TXChecksum | driver.VLANStrip | driver.VLANInsert | driver.RSS,
	})
	if err != nil {
		r.Fatal(err)
	}
}

// up starts the device as package vfio does, until it has its link.
func (r *ourRecorder) up(mtu int) {
	r.Helper()
	info := r.device.Info()
	layout := link.Layout{BufferSize: 2048, Queues: info.Queues, RXBuffers: info.RXDescriptors, TXBuffers: 32}
	if mtu > 1500 {
		layout.BufferSize = 16384
	}
	mapped, err := r.bus.Alloc(layout.Bytes())
	if err != nil {
		r.Fatal(err)
	}
	if r.memory, err = link.NewMemory(mapped.Bytes, layout); err != nil {
		r.Fatal(err)
	}
	if r.queues, err = r.device.Start(driver.Region{Memory: r.memory, IOVA: mapped.IOVA}); err != nil {
		r.Fatal(err)
	}
	for q := range r.queues {
		r.queues[q].Fill(r.buffers(q))
		r.device.Arm(q)
	}
	if s := r.device.Status(); !s.Up {
		r.Fatalf("no link: %+v", s)
	}
}

// buffers are those that queue q receives into.
func (r *ourRecorder) buffers(q int) (indices []uint32) {
	for i := range uint32(r.memory.Layout().Buffers()) {
		if r.memory.Home(i) == q {
			indices = append(indices, i)
		}
	}
	return indices
}

func (r *ourRecorder) down() {
	r.Helper()
	if err := r.device.Stop(); err != nil {
		r.Fatal(err)
	}
}

// reset is what the link's watchdog does to a device that hangs.
func (r *ourRecorder) reset() {
	r.Helper()
	if err := r.device.Restart(); err != nil {
		r.Fatal(err)
	}
	for q := range r.queues {
		r.queues[q].RestartReceive()
		r.queues[q].RestartSend(nil)
		r.device.Arm(q)
	}
}
