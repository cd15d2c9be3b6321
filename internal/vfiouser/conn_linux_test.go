package vfiouser

import (
	"bytes"
	"errors"
	"io"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/leaktest"
)

// sameFile says whether two descriptors are of one file.
func sameFile(t *testing.T, a, b int) bool {
	t.Helper()
	var x, y unix.Stat_t
	if err := errors.Join(unix.Fstat(a, &x), unix.Fstat(b, &y)); err != nil {
		t.Fatal(err)
	}
	return x.Dev == y.Dev && x.Ino == y.Ino
}

// Clients send maps and unmaps without waiting for replies, in pieces as they
// come: each message gets the descriptors it was sent with.
func TestDescriptorsFindTheirMessage(t *testing.T) {
	leaktest.Check(t)
	client, server := pair(t)
	c := newConn(server, patience)
	defer c.close()
	a, b, d := memfd(t, 1), memfd(t, 2), memfd(t, 3)
	long := message(cmdRegionWrite, make([]byte, 3*readAhead))
	for _, w := range []struct {
		b   []byte
		fds []int
	}{
		{message(cmdReset, nil), nil},
		{message(cmdDMAMap, []byte{1}), []int{a}},
		{message(cmdSetIRQs, []byte{2})[:7], []int{b, d}},
		{append(message(cmdSetIRQs, []byte{2})[7:], message(cmdReset, nil)...), nil},
		{message(cmdDMAMap, []byte{3}), []int{d}},
		{long, []int{a}},
	} {
		var oob []byte
		if w.fds != nil {
			oob = unix.UnixRights(w.fds...)
		}
		if n, _, err := client.WriteMsgUnix(w.b, oob, nil); err != nil || n != len(w.b) {
			t.Fatalf("%d of %d bytes: %v", n, len(w.b), err)
		}
	}
	client.Close()
	for i, want := range []struct {
		payload []byte
		fds     []int
	}{{nil, nil}, {[]byte{1}, []int{a}}, {[]byte{2}, []int{b, d}}, {nil, nil}, {[]byte{3}, []int{d}}, {long[headerSize:], []int{a}}} {
		_, payload, fds, err := c.receive()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(payload, want.payload) || len(fds) != len(want.fds) {
			t.Errorf("message %d: %d bytes and %d descriptors, want %d and %d", i, len(payload), len(fds), len(want.payload), len(want.fds))
		}
		for k := range min(len(fds), len(want.fds)) {
			if !sameFile(t, fds[k], want.fds[k]) {
				t.Errorf("message %d has another's descriptor", i)
			}
		}
		closeAll(fds)
	}
	if _, _, _, err := c.receive(); !errors.Is(err, io.EOF) {
		t.Errorf("behind the last: %v", err)
	}
}

// However many a client sends, and wherever: they are closed.
func TestTooManyDescriptors(t *testing.T) {
	leaktest.Check(t)
	fds := make([]int, maxFDs+1)
	for i := range fds {
		fds[i] = memfd(t, 1)
	}
	m := message(cmdSetIRQs, make([]byte, 100))
	for name, send := range map[string]func(piece func(n, fds int)){
		"at once":         func(piece func(n, fds int)) { piece(len(m), maxFDs+1) },
		"in two pieces":   func(piece func(n, fds int)) { piece(1, maxFDs); piece(len(m)-1, 1) },
		"byte for byte":   func(piece func(n, fds int)) { times(len(m), func() { piece(1, 1) }) },
		"in many, unread": func(piece func(n, fds int)) { times(3*maxFDs, func() { piece(1, 1) }) },
	} {
		client, server := pair(t)
		at := 0
		send(func(n, k int) {
			if _, _, err := client.WriteMsgUnix(m[at:at+n], unix.UnixRights(fds[:k]...), nil); err != nil {
				t.Fatal(name, err)
			}
			at += n
		})
		client.Close()
		c := newConn(server, patience)
		_, _, _, err := c.receive()
		if !errors.Is(err, syscall.EPROTO) {
			t.Errorf("%s: %v", name, err)
		}
		c.close()
		server.Close()
	}
}

func times(n int, f func()) {
	for range n {
		f()
	}
}

// A guest's register access costs the server no memory.
func TestAccessAllocatesNothing(t *testing.T) {
	leaktest.Check(t)
	e := newSession()
	ask, write := access(0, 8, 4), access(0, 8, 4, 1, 2, 3, 4)
	if n := testing.AllocsPerRun(100, func() {
		for _, p := range [][]byte{ask, write} {
			if _, _, err := e.answer(header{command: cmdRegionRead + uint16(len(p)/20)}, p, nil); err != nil {
				t.Fatal(err)
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if !bytes.Equal(e.s.dev.(*card).bar[8:12], []byte{1, 2, 3, 4}) {
		t.Error("nothing was written")
	}
}

// A client may leave while messages of its are unread, in a message or between
// two. The next may come at once, and finds nothing of the one before.
func TestClientThatLeaves(t *testing.T) {
	leaktest.Check(t)
	_, path := serve(t)
	mapping := message(cmdDMAMap, dma(3, 0, 0, 4096))
	fd := memfd(t, 4096)
	for cut := range len(mapping) {
		c := greeted(t, path)
		c.ok(cmdDMAMap, mapping[headerSize:], fd) // EEXIST, if it were there
		c.send(mapping[:cut+1], fd)
		c.c.Close()
	}
}

// Who begins must go on, in time; who has nothing to say may be silent.
func TestPatience(t *testing.T) {
	leaktest.Check(t)
	const short = 400 * time.Millisecond
	_, path := serveWith(t, &Config{Patience: short})
	dial(t, path).closed()
	c := dial(t, path)
	c.send(message(cmdVersion, make([]byte, 100))[:50])
	c.closed()
	c = greeted(t, path)
	time.Sleep(2 * short)
	c.ok(cmdReset, nil)
	time.Sleep(2 * short)
	c.ok(cmdReset, nil)
	c.send(message(cmdReset, nil)[:3])
	c.closed()
}

// descriptors counts those that this process has open.
func descriptors(t testing.TB) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}
