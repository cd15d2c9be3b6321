package packet_test

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/proto/packet"
	"github.com/oobnet/oobnet/stack"
)

// TestHandler: each frame once, in order, in place of a reader; what it keeps
// counts against the quota.
func TestHandler(t *testing.T) {
	a, b := pair(t, manual())
	x := listen(t, a.Port, etherCAT, nil)
	var kept []packet.Frame
	c := listen(t, b.Port, etherCAT, &packet.Config{Queue: 2, Handler: func(f packet.Frame) { kept = append(kept, f) }})
	listen(t, b.Port, packet.All, nil) // so that one of them gets a copy
	for _, payload := range []string{"a", "b", "c"} {
		send(t, x, payload, to(b.Link.MAC()))
	}
	b.Poll()
	if len(kept) != 2 || kept[0].Payload()[0] != 'a' || kept[1].Payload()[0] != 'b' {
		t.Fatalf("%d frames kept", len(kept))
	}
	for i := range kept {
		kept[i].Release()
		kept[i].Release()
	}
	if st := c.Stats(); st.Held != 0 || st.Received != 2 || st.Full != 1 {
		t.Errorf("%+v", st)
	}
}

// TestLeasedFrames stay good after Close.
func TestLeasedFrames(t *testing.T) {
	a, b := pair(t, manual())
	x, y := listen(t, a.Port, etherCAT, nil), listen(t, b.Port, etherCAT, nil)
	send(t, x, "leased", to(b.Link.MAC()))
	send(t, x, "waiting", to(b.Link.MAC()))
	b.Poll()
	f, err := y.Receive()
	if err != nil {
		t.Fatal(err)
	}
	if err := y.Close(); err != nil {
		t.Fatal(err)
	}
	if got := string(f.Payload()[:6]); got != "leased" || f.To() != b.Link.MAC() || f.Outgoing() {
		t.Errorf("%q", got)
	}
	f.Release()
	stacktest.AssertNothingHeld(t, b.Device)
}

// TestDeadlines: reads and writes that wait end when it is time.
func TestDeadlines(t *testing.T) {
	o := manual()
	o.Device.PoolSize = 1
	a, b := pair(t, o)
	c, impatient := listen(t, a.Port, etherCAT, nil), listen(t, a.Port, etherCAT, &packet.Config{NoWait: true})
	c.SetDeadline(time.Now().Add(time.Millisecond))
	_, _, err := c.ReadFromAddr(nil)
	wantError(t, err, "read", os.ErrDeadlineExceeded)
	c.SetWriteDeadline(time.Time{})
	l, err := c.Reserve(10)
	if err != nil {
		t.Fatal(err)
	}
	c.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
	_, err = c.WriteToAddr(nil, to(b.Link.MAC()))
	wantError(t, err, "write", os.ErrDeadlineExceeded)
	_, err = c.WriteFrame(make([]byte, 60))
	wantError(t, err, "write", os.ErrDeadlineExceeded)
	_, err = impatient.WriteToAddr(nil, to(b.Link.MAC()))
	wantError(t, err, "write", enobufs)
	if n, err := impatient.WriteBatch(make([]packet.Message, 1)); n != 0 || err == nil {
		t.Error(n, err)
	}
	c.SetWriteDeadline(time.Time{})
	written := make(chan error, 1)
	go func() {
		_, err := c.WriteToAddr([]byte("waited"), to(b.Link.MAC()))
		written <- err
	}()
	l.Discard()
	if err := <-written; err != nil {
		t.Error(err)
	}
	// A writer that waits is told of the end.
	if l, err = c.Reserve(10); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := c.WriteToAddr(nil, to(b.Link.MAC()))
		written <- err
	}()
	time.Sleep(time.Millisecond) // so that it most likely waits
	if err := a.Port.Disable(); err != nil {
		t.Fatal(err)
	}
	wantError(t, <-written, "write", net.ErrClosed)
	l.Discard()
}

// TestBatches of more than a doorbell's worth, with the first bad one named.
func TestBatches(t *testing.T) {
	for _, raw := range []bool{false, true} {
		a, b := pair(t, nil)
		cfg := &packet.Config{Raw: raw, Queue: 1000}
		x, y := listen(t, onVLAN(t, a, "10.1.0.1/24"), etherCAT, cfg), listen(t, onVLAN(t, b, "10.1.0.2/24"), etherCAT, cfg)
		const n, bad = 200, 150
		out := make([]packet.Message, n)
		for i := range out {
			out[i] = packet.Message{Buf: frame(b.Link.MAC(), 0, etherCAT, string(make([]byte, i)))[:14+i], Addr: to(b.Link.MAC())}
			if !raw {
				out[i].Buf = out[i].Buf[14:]
			}
		}
		out[bad].Addr.PCP = 8
		k, err := x.WriteBatch(out)
		wantError(t, err, "write", einval)
		if k != bad {
			t.Errorf("%d sent, want %d", k, bad)
		}
		out[bad].Addr.PCP = 0
		if k, err = x.WriteBatch(out[bad:]); k != n-bad || err != nil {
			t.Errorf("%d sent, %v", k, err)
		}
		in := make([]packet.Message, 7)
		for i := range in {
			in[i].Buf = make([]byte, 2000)
		}
		for got := 0; got < n; {
			k, err := y.ReadBatch(in)
			if err != nil {
				t.Fatal(err)
			}
			for i := range k {
				want := max(60, 18+got+i)
				if in[i].WireLen != want || in[i].Flags != 0 || in[i].N != want-map[bool]int{false: 18}[raw] {
					t.Fatalf("message %d: %+v", got+i, in[i])
				}
			}
			got += k
		}
		if k, err := y.ReadBatch(nil); k != 0 || err != nil {
			t.Error(k, err)
		}
	}
}

// TestSecondWriteBatch: one that runs beside another sends one by one.
func TestSecondWriteBatch(t *testing.T) {
	a, b := pair(t, nil)
	x, y := listen(t, a.Port, etherCAT, nil), listen(t, b.Port, etherCAT, nil)
	defer packet.Batching(x)()
	ms := []packet.Message{{Buf: []byte("one"), Addr: to(b.Link.MAC())}, {}}
	n, err := x.WriteBatch(ms)
	wantError(t, err, "write", edestaddrreq)
	if n != 1 || ms[0].N != 3 {
		t.Errorf("%d messages sent", n)
	}
	receive(t, y, "one")
}

// TestCloseInTraffic: sockets of all kinds open and close, and a port comes and
// goes, while frames and datagrams pass; nothing is lost, and UDP goes on.
func TestCloseInTraffic(t *testing.T) {
	a, b := pair(t, &stacktest.Options{Device: stack.DeviceConfig{PoolSize: 256}})
	x := listen(t, a.Port, etherCAT, &packet.Config{NoWait: true})
	u, v := udpPair(t, a, b)
	var stop atomic.Bool
	var running sync.WaitGroup
	for _, flood := range []func() error{
		func() error { _, err := x.WriteToAddr(make([]byte, 46), to(b.Link.MAC())); return err },
		func() error { _, err := x.WriteFrame(frame(b.Link.MAC(), vlanID, etherCAT, "tagged")); return err },
	} {
		running.Go(func() {
			for !stop.Load() {
				if err := flood(); err != nil && !errors.Is(err, enobufs) {
					t.Error(err)
					return
				}
			}
		})
	}
	var received atomic.Int64
	opens := []func() (*packet.Conn, error){
		func() (*packet.Conn, error) { return packet.Listen(b.Port, etherCAT, nil) },
		func() (*packet.Conn, error) { return packet.Listen(b.Port, packet.All, &packet.Config{Queue: 3}) },
		func() (*packet.Conn, error) { return packet.ListenDevice(b.Device, nil) },
		func() (*packet.Conn, error) { return packet.ListenDevice(a.Device, &packet.Config{Outgoing: 8}) },
		func() (*packet.Conn, error) {
			return packet.Listen(b.Port, etherCAT, &packet.Config{Consume: true, Handler: func(f packet.Frame) {
				received.Add(1)
				f.Release()
			}})
		},
		func() (*packet.Conn, error) {
			p, err := b.Device.EnablePort(&stack.PortConfig{VLAN: vlanID})
			if err != nil {
				return nil, err
			}
			c, err := packet.Listen(p, etherCAT, nil)
			if err == nil && received.Load()%2 == 0 {
				err = p.Disable()
			}
			return c, err
		},
	}
	for _, open := range opens {
		running.Go(func() {
			for range 50 {
				c, err := open()
				if err != nil {
					t.Error(err)
					return
				}
				ready(c)
				var readers sync.WaitGroup
				for range 2 {
					readers.Go(func() {
						for {
							if _, _, err := c.ReadFromAddr(nil); err != nil {
								return
							}
							received.Add(1)
						}
					})
				}
				if err := c.JoinGroup(link.MAC{0x33, 0x33, 0, 0, 0, 1}); err != nil && !errors.Is(err, net.ErrClosed) {
					t.Error(err)
				}
				time.Sleep(100 * time.Microsecond)
				if err := c.Close(); err != nil {
					t.Error(err)
				}
				readers.Wait()
			}
		})
	}
	done := make(chan struct{})
	go func() {
		running.Wait()
		close(done)
	}()
	defer func() {
		stop.Store(true)
		<-done
	}()
	stacktest.Eventually(t, "a frame read", func() bool { return received.Load() > 0 })
	for range 20 { // the wire is full: some are lost
		stacktest.Eventually(t, "a datagram beside the flood", func() bool {
			if _, err := u.Write([]byte("datagram")); err != nil {
				t.Fatal(err)
			}
			_ = v.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			_, err := v.Read(make([]byte, 10))
			return err == nil
		})
	}
	stop.Store(true)
	<-done
	v.Close() // with what came too late for it
	stacktest.AssertNothingHeld(t, b.Device)
	stacktest.Eventually(t, "all TX buffers at home", func() bool {
		p, q := a.Device.Stats().Pool, b.Device.Stats().Pool
		return p.Free == p.Size && q.Free == q.Size
	})
	if n := packet.Watched(b.Device); len(n.Types)+len(n.Groups) != 0 || n.All || n.Sent {
		t.Errorf("still watched: %+v", n)
	}
}

// TestManyReaders: each frame is read once, however many wait.
func TestManyReaders(t *testing.T) {
	a, b := pair(t, nil)
	x, y := listen(t, a.Port, etherCAT, nil), listen(t, b.Port, etherCAT, nil)
	const frames, readers = 500, 4
	var mu sync.Mutex
	seen, read := map[byte]int{}, 0
	var running sync.WaitGroup
	for range readers {
		running.Go(func() {
			buf := make([]byte, 100)
			for range frames / readers {
				if _, _, err := y.ReadFromAddr(buf); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				seen[buf[0]]++
				read++
				mu.Unlock()
			}
		})
	}
	// Neither on the wire nor in the socket may be more than the socket holds.
	room := func(sent int) bool {
		mu.Lock()
		defer mu.Unlock()
		return sent-read < packet.DefaultQueue
	}
	for i := range frames {
		send(t, x, string([]byte{byte(i % 10), 1}), to(b.Link.MAC()))
		if i%50 == 0 {
			time.Sleep(time.Millisecond) // so that readers sleep
		}
		stacktest.Eventually(t, "room for the next", func() bool { return room(i + 1) })
	}
	running.Wait()
	for i := range byte(10) {
		if seen[i] != frames/10 {
			t.Errorf("frames %d: read %d times, want %d", i, seen[i], frames/10)
		}
	}
}
