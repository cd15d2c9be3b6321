package vfiouser

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience of tests: what lasts longer is an error of theirs.
const patience = 10 * time.Second

// pair makes a connection's two ends.
func pair(t testing.TB) (client, server *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		ends[i] = c.(*net.UnixConn)
		t.Cleanup(func() { c.Close() })
	}
	return ends[0], ends[1]
}

// newSession is one past its greeting, of a card, without a socket.
func newSession() *session {
	dev := &card{}
	s := &Server{dev: dev, regions: dev.Info().Regions, memory: Memory{max: 4}}
	s.irqs.init(dev.Info().Vectors)
	return &session{s: s, greeted: true, client: capabilities{MaxData: maxData}}
}

func FuzzAnswer(f *testing.F) {
	f.Add(uint16(cmdRegionRead), access(0, 8, 4))
	f.Add(uint16(cmdSetIRQs), irqs(unset, MSIX, 0, 2))
	f.Add(uint16(cmdDMAMap), dma(3, 0, 0x1000, 4096))
	f.Add(uint16(cmdWriteMulti), append(u64(1), access(0, 16, 2, 5, 6, 0, 0, 0, 0, 0, 0)...))
	f.Fuzz(func(t *testing.T, command uint16, p []byte) {
		e := newSession()
		e.greeted = command != cmdVersion
		b, _, _ := e.answer(header{command: command, size: uint32(headerSize + len(p))}, p, nil)
		if len(b) < headerSize || int(native.Uint32(b[4:])) != len(b) || native.Uint32(b[8:])&typeMask != typeReply {
			t.Fatalf("reply %x", b)
		}
	})
}

// script is what a fuzzed client does, read from bytes: each step begins with a
// byte that says the command, one that says which descriptors go along, and one
// that says how long the payload is; then comes the payload.
type script []byte

func (s *script) next() (step [3]byte, payload []byte, ok bool) {
	if len(*s) < 3 {
		return step, nil, false
	}
	copy(step[:], *s)
	n := min(int(step[2]), len(*s)-3)
	payload, *s = (*s)[3:3+n], (*s)[3+n:]
	return step, payload, true
}

func step(command uint16, fds byte, payload []byte) []byte {
	return append([]byte{byte(command), fds, byte(len(payload))}, payload...)
}

// Steps with this command send their payload as it is, as no message.
const rawStep = 0xff

// FuzzSession drives a whole session, with messages and descriptors of any kind
// in any order. Afterwards nothing of it is left.
func FuzzSession(f *testing.F) {
	hello := step(cmdVersion, 0, []byte("\x00\x00\x00\x00{}\x00"))
	f.Add(slices.Concat(hello, step(cmdDMAMap, 1, dma(3, 0, 0x1000, 4096)), step(cmdDMAMap, 1, dma(1, 4096, 0x2000, 4096)),
		step(cmdRegionWrite, 0, access(0, 0, 8, 0, 0x10, 0, 0, 0, 0, 0, 0)), step(cmdDMAUnmap, 0, unmapping(0, 0, 1<<32))))
	f.Add(slices.Concat(hello, step(cmdSetIRQs, 2|2<<2, irqs(setTrigger, MSIX, 0, 2)), step(cmdSetIRQs, 0, irqs(irqDataNone|irqMask, MSIX, 0, 1)),
		step(cmdReset, 3, nil), step(rawStep, 2, []byte{1, 2, 3})))
	f.Add(slices.Concat(step(cmdReset, 1, nil)))
	f.Add(slices.Concat(hello, step(cmdDMAUnmap, 0, unmapping(unmapAll, 0, 0)), step(rawStep, 0, message(cmdReset, nil)), hello))
	f.Fuzz(func(t *testing.T, b []byte) {
		kinds := [3]int{memfd(t, 2*4096), newListener(t).fd, memfd(t, 0)}
		before := descriptors(t)
		e := newSession()
		e.greeted = false
		dev := &reacher{s: e.s}
		e.s.dev = dev
		client, server := pair(t)
		drained := make(chan struct{})
		go func() { defer close(drained); io.Copy(io.Discard, client) }()
		done := make(chan error, 1)
		e.s.client = server
		go func() { defer server.Close(); done <- e.run(newConn(server, patience)) }()
		client.SetWriteDeadline(time.Now().Add(patience))
		sc := script(b)
		for s, p, ok := sc.next(); ok; s, p, ok = sc.next() {
			if s[0] != rawStep {
				p = message(uint16(s[0]%18), p)
			}
			var fds []int
			for k := s[1]; k != 0; k >>= 2 {
				if k&3 != 0 {
					fds = append(fds, kinds[k&3-1])
				}
			}
			var oob []byte
			if len(fds) > 0 && len(p) > 0 {
				oob = unix.UnixRights(fds...)
			}
			if _, _, err := client.WriteMsgUnix(p, oob, nil); err != nil {
				break // the server hung up
			}
		}
		client.CloseWrite()
		err := <-done
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the session waited for a client that had gone: %v", err)
		}
		<-drained
		client.Close()
		checkRanges(t, &e.s.memory)
		e.s.end(server)
		if left := descriptors(t); left != before {
			t.Errorf("%d descriptors, %d before", left, before)
		}
		if err := e.s.memory.Read(0x1000, make([]byte, 1)); !errors.Is(err, syscall.EFAULT) {
			t.Errorf("memory is left: %v", err)
		}
	})
}

// checkRanges wants the table of mappings sorted and without overlap.
func checkRanges(t *testing.T, m *Memory) {
	t.Helper()
	for i := range m.ranges {
		if r := m.ranges[i]; i > 0 && m.ranges[i-1].addr+m.ranges[i-1].size-1 >= r.addr || r.bytes != nil && uint64(len(r.bytes)) != r.size {
			t.Errorf("mapping %d, %#x and %#x bytes, behind %+v", i, r.addr, r.size, m.ranges[max(i, 1)-1])
		}
	}
}

// reacher is a card that reaches for the guest's memory, and interrupts, where
// the guest tells it to.
type reacher struct {
	card
	s *Server
}

func (r *reacher) Write(region int, offset uint64, b []byte) error {
	if len(b) >= 8 {
		at := native.Uint64(b)
		if err := r.s.Memory().Read(at, r.bar[:64]); err != nil {
			return err
		}
		if err := r.s.Memory().Write(at+4000, r.bar[:200]); err != nil {
			return err
		}
		return r.s.Interrupt(IRQ(b[0]%8), int(b[1]))
	}
	return r.card.Write(region, offset, b)
}
