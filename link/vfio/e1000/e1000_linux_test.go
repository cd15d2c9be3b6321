package e1000

import (
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/qtest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus/bustest"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// TestFramesBothWays is the driver alone on QEMU's models: open, start, one
// frame in, one out, stop.
func TestFramesBothWays(t *testing.T) {
	for _, card := range []string{"e1000", "e1000-82545em", "e1000e"} {
		t.Run(card, func(t *testing.T) {
			b := bustest.Open(t, qtest.Config{Device: card})
			d, region := openOn(t, b, driver.Config{MTU: 1500})
			if mac := (link.MAC{0x52, 0x54, 0, 0x12, 0x34, 0x56}); d.Info().MAC != mac {
				t.Errorf("the address is %x, want %x", d.Info().MAC, mac)
			}
			queues, err := d.Start(region)
			if err != nil {
				t.Fatal(err)
			}
			q := queues[0]
			if n := q.Fill([]uint32{0, 1, 2, 3}); n != 4 {
				t.Fatalf("Fill took %d of 4", n)
			}
			frame := make([]byte, 100)
			copy(frame, "\x52\x54\x00\x12\x34\x56")
			frame[99] = 7
			if err := b.SendFrame(frame); err != nil {
				t.Fatal(err)
			}
			in := make([]link.Frame, 4)
			n := 0
			for end := time.Now().Add(5 * time.Second); n == 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
				n = q.Receive(in)
			}
			if n != 1 || in[0].Len != 100 || region.Bytes(in[0])[99] != 7 {
				t.Fatalf("received %d frames, %+v", n, in[0])
			}
			if q.Send(in[:1]) != 1 {
				t.Fatal("Send took nothing")
			}
			q.Flush()
			var out [2048]byte
			if n, err := b.ReceiveFrame(out[:], time.Now().Add(5*time.Second)); err != nil || n != 100 || out[99] != 7 {
				t.Fatalf("the peer got %d bytes: %v", n, err)
			}
			bufs := make([]uint32, 4)
			for end := time.Now().Add(5 * time.Second); q.Reclaim(bufs) == 0; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("the buffer did not come back")
				}
			}
			if err := d.Stop(); err != nil {
				t.Error(err)
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// openOn opens the driver on a card, with a region of 64 buffers.
func openOn(t testing.TB, b *bustest.Bus, cfg driver.Config) (driver.Device, driver.Region) {
	t.Helper()
	for _, m := range Driver.Models {
		if m.Vendor == b.ID().Vendor && m.Device == b.ID().Device {
			d, err := Driver.Open(b, m, cfg)
			if err != nil {
				t.Fatal(err)
			}
			layout := link.Layout{BufferSize: 2048, Queues: 1, RXBuffers: 32, TXBuffers: 32}
			memory, err := b.Alloc(layout.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			mem, err := link.NewMemory(memory.Bytes, layout)
			if err != nil {
				t.Fatal(err)
			}
			return d, driver.Region{Memory: mem, IOVA: memory.IOVA}
		}
	}
	t.Fatalf("no model for %v", b.ID())
	return nil, driver.Region{}
}
