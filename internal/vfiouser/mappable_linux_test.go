package vfiouser

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/leaktest"
)

// window is a card whose BAR 2 can be mapped, but for its first page.
type window struct {
	card
	file *os.File
}

func (w *window) Info() Info {
	return Info{Regions: []Region{2: {Size: 8192, Readable: true, Writable: true, File: w.file, Areas: []Area{{4096, 4096}}}}}
}

func TestMappableRegion(t *testing.T) {
	leaktest.Check(t)
	f, err := os.CreateTemp(t.TempDir(), "bar")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	path := filepath.Join(t.TempDir(), "s")
	s, err := Listen(path, &window{file: f}, nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve() }()
	t.Cleanup(func() { s.Close(); <-done })
	c := greeted(t, path)
	if b := c.ok(cmdGetRegionInfo, words(32, 0, 2, 0, 0, 0, 0, 0)); len(b) != 32 || native.Uint32(b) != 64 {
		t.Fatalf("the fixed part says %x, want a size of 64", b)
	}
	c.send(message(cmdGetRegionInfo, words(64, 0, 2, 0, 0, 0, 0, 0)))
	b, oob := make([]byte, headerSize+64), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := c.c.ReadMsgUnix(b, oob)
	if err != nil {
		t.Fatal(err)
	}
	c.full(b[n:])
	m, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(m) != 1 {
		t.Fatalf("%d control messages: %v", len(m), err)
	}
	fds, err := unix.ParseUnixRights(&m[0])
	if err != nil || len(fds) != 1 {
		t.Fatalf("descriptors %v: %v", fds, err)
	}
	unix.Close(fds[0])
	p := b[headerSize:]
	if native.Uint32(p[4:]) != regionRead|regionWrite|regionMmap|regionCaps || native.Uint32(p[12:]) != 32 ||
		native.Uint32(p[32:]) != 1|1<<16 || native.Uint32(p[40:]) != 1 || native.Uint64(p[48:]) != 4096 || native.Uint64(p[56:]) != 4096 {
		t.Errorf("region info %x", p)
	}
}

func FuzzHeader(f *testing.F) {
	f.Add(message(cmdReset, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < headerSize {
			return
		}
		if h, err := parseHeader(b); err == nil && (h.size < headerSize || h.size > maxMessage || h.flags&typeMask != typeCommand) {
			t.Fatalf("accepted %+v", h)
		}
		if reply, _, err := negotiate(b, 1); err == nil && reply[len(reply)-1] != 0 {
			t.Fatalf("version %q has no end", reply)
		}
	})
}
