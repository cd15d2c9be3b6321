package vfiouser

import (
	"bytes"
	"errors"
	"net"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/leaktest"
)

const barSize = 4096

// card is a BAR and a config space of plain bytes.
type card struct {
	bar    [barSize]byte
	resets int
}

func (*card) Info() Info {
	return Info{
		Regions: []Region{0: {Size: barSize, Readable: true, Writable: true}, ConfigRegion: {Size: 256, Readable: true}},
		Vectors: map[IRQ]int{INTx: 1, MSIX: 2},
	}
}

func (c *card) Read(_ int, offset uint64, b []byte) error { copy(b, c.bar[offset:]); return nil }

func (c *card) Write(_ int, offset uint64, b []byte) error {
	if b[0] == 0xbd {
		return syscall.EBUSY
	}
	copy(c.bar[offset:], b)
	return nil
}

func (c *card) Reset() error { c.bar = [barSize]byte{}; c.resets++; return nil }

func serve(t testing.TB) (*Server, string) { return serveWith(t, nil) }

func serveWith(t testing.TB, cfg *Config) (*Server, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	s, err := Listen(path, &card{}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve() }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	return s, path
}

type client struct {
	testing.TB
	c *net.UnixConn
}

func dial(t testing.TB, path string) *client {
	t.Helper()
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return &client{t, c}
}

func greeted(t testing.TB, path string) *client {
	t.Helper()
	c := dial(t, path)
	c.ok(cmdVersion, append([]byte{0, 0, 1, 0}, `{"capabilities":{"max_msg_fds":8,"write_multiple":true}}`+"\x00"...))
	return c
}

func message(command uint16, payload []byte) []byte {
	b := header{id: 7, command: command}.reply(nil, payload)
	native.PutUint32(b[8:], typeCommand)
	return b
}

func (c *client) send(b []byte, fds ...int) {
	c.Helper()
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	if _, _, err := c.c.WriteMsgUnix(b, oob, nil); err != nil {
		c.Fatal(err)
	}
}

func (c *client) full(b []byte) {
	c.Helper()
	for n := 0; n < len(b); {
		k, err := c.c.Read(b[n:])
		if err != nil {
			c.Fatal(err)
		}
		n += k
	}
}

func (c *client) call(command uint16, payload []byte, fds ...int) ([]byte, syscall.Errno) {
	c.Helper()
	c.send(message(command, payload), fds...)
	head := make([]byte, headerSize)
	c.full(head)
	body := make([]byte, native.Uint32(head[4:])-headerSize)
	c.full(body)
	if native.Uint16(head) != 7 || native.Uint16(head[2:]) != command {
		c.Fatalf("reply %x to command %d", head, command)
	}
	if native.Uint32(head[8:])&flagError != 0 {
		return body, syscall.Errno(native.Uint32(head[12:]))
	}
	return body, 0
}

func (c *client) ok(command uint16, payload []byte, fds ...int) []byte {
	c.Helper()
	b, errno := c.call(command, payload, fds...)
	if errno != 0 {
		c.Fatalf("command %d: %v", command, errno)
	}
	return b
}

func (c *client) refused(want syscall.Errno, command uint16, payload []byte, fds ...int) {
	c.Helper()
	if _, errno := c.call(command, payload, fds...); errno != want {
		c.Fatalf("command %d: %v, want %v", command, errno, want)
	}
}

func u64(v ...uint64) (b []byte) {
	for _, x := range v {
		b = native.AppendUint64(b, x)
	}
	return b
}

func access(region uint32, offset uint64, count int, data ...byte) []byte {
	return append(append(u64(offset), words(region, uint32(count))...), data...)
}

func dma(flags uint32, offset, addr, size uint64) []byte {
	return append(words(32, flags), u64(offset, addr, size)...)
}

func memfd(t testing.TB, size int64) int {
	t.Helper()
	fd, err := unix.MemfdCreate("guest", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Ftruncate(fd, size); err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestRegions(t *testing.T) {
	leaktest.Check(t)
	_, path := serve(t)
	c := greeted(t, path)
	if b := c.ok(cmdGetInfo, make([]byte, 16)); native.Uint32(b[4:]) != 3 || native.Uint32(b[8:]) != Regions {
		t.Errorf("device info %x", b)
	}
	if b := c.ok(cmdGetRegionInfo, words(32, 0, 0, 0, 0, 0, 0, 0)); native.Uint64(b[16:]) != barSize || native.Uint32(b[4:]) != 3 {
		t.Errorf("region info %x", b)
	}
	c.ok(cmdRegionWrite, access(0, 8, 4, 1, 2, 3, 4))
	if b := c.ok(cmdRegionRead, access(0, 8, 4)); !bytes.Equal(b[16:], []byte{1, 2, 3, 4}) {
		t.Errorf("read %x", b)
	}
	c.ok(cmdWriteMulti, append(u64(1), access(0, 16, 2, 5, 6, 0, 0, 0, 0, 0, 0)...))
	if b := c.ok(cmdRegionRead, access(0, 16, 2)); !bytes.Equal(b[16:], []byte{5, 6}) {
		t.Errorf("read %x", b)
	}
	c.refused(syscall.EBUSY, cmdRegionWrite, access(0, 0, 1, 0xbd))
	c.ok(cmdReset, nil)
	if b := c.ok(cmdRegionRead, access(0, 8, 4)); !bytes.Equal(b[16:], make([]byte, 4)) {
		t.Errorf("read after reset %x", b)
	}
	for _, p := range [][]byte{access(0, barSize-1, 2), access(0, 1<<63, 8), access(1, 0, 4), access(99, 0, 4), access(0, 0, 0), {1}} {
		c.refused(syscall.EINVAL, cmdRegionRead, p)
	}
	c.refused(syscall.EINVAL, cmdRegionWrite, access(ConfigRegion, 0, 1, 1))
	c.refused(syscall.EINVAL, cmdRegionWrite, access(0, 0, 4, 1))
	c.refused(syscall.EINVAL, cmdWriteMulti, u64(1<<60))
	c.refused(syscall.ENOTSUP, cmdDirtyPages, nil)
	c.refused(syscall.ENOTSUP, cmdGetRegionIOFDs, make([]byte, 16))
}

func TestMemory(t *testing.T) {
	leaktest.Check(t)
	s, path := serve(t)
	c := greeted(t, path)
	fd := memfd(t, 3*4096)
	c.ok(cmdDMAMap, dma(3, 0, 0x10000, 4096), fd)
	c.ok(cmdDMAMap, dma(1, 8192, 0x11000, 4096), fd)
	c.ok(cmdDMAMap, dma(3, 0, 0x20000, 4096))
	c.refused(syscall.EEXIST, cmdDMAMap, dma(3, 0, 0xf000, 8192), fd)
	c.refused(syscall.EINVAL, cmdDMAMap, dma(3, 8192, 0x30000, 8192), fd)
	c.refused(syscall.EINVAL, cmdDMAMap, dma(3, 0, ^uint64(0)&^0xfff, 8192), fd)
	c.refused(syscall.EINVAL, cmdDMAMap, dma(3, 0, 0x30000, 4096), fd, fd)
	if _, err := unix.Pwrite(fd, []byte{9}, 8192); err != nil {
		t.Fatal(err)
	}
	m, b := s.Memory(), make([]byte, 2)
	if err := m.Write(0x10fff, []byte{8}); err != nil {
		t.Fatal(err)
	}
	if err := m.Read(0x10fff, b); err != nil || !bytes.Equal(b, []byte{8, 9}) {
		t.Fatalf("%v %v", b, err)
	}
	for _, iova := range []uint64{0, 0xffff, 0x11fff, 0x20000, ^uint64(0)} {
		if err := m.Read(iova, b); !errors.Is(err, syscall.EFAULT) {
			t.Errorf("read at %#x: %v", iova, err)
		}
	}
	if err := m.Write(0x11000, b); !errors.Is(err, syscall.EFAULT) {
		t.Errorf("write to read-only memory: %v", err)
	}
	if err := unix.Ftruncate(fd, 0); err != nil {
		t.Fatal(err)
	}
	if err := m.Read(0x10000, b); !errors.Is(err, syscall.EFAULT) {
		t.Errorf("read of memory taken away: %v", err)
	}
}

// closed wants the server to end the connection.
func (c *client) closed() {
	c.Helper()
	b := make([]byte, 64)
	for {
		if _, err := c.c.Read(b); errors.Is(err, syscall.EAGAIN) || errors.Is(err, unix.ETIMEDOUT) {
			c.Fatal(err)
		} else if e, ok := err.(net.Error); ok && e.Timeout() {
			c.Fatal("the connection stays open")
		} else if err != nil {
			return
		}
	}
}

func TestClientsThatBreakTheProtocol(t *testing.T) {
	leaktest.Check(t)
	_, path := serve(t)
	oversize := message(cmdReset, nil)
	native.PutUint32(oversize[4:], maxMessage+1)
	short := message(cmdReset, nil)
	native.PutUint32(short[4:], headerSize-1)
	answer := header{command: cmdReset}.reply(nil, nil)
	for _, b := range [][]byte{oversize, short, answer, message(cmdReset, nil), message(cmdVersion, []byte{1, 0, 0, 0}), message(cmdVersion, []byte("\x00\x00\x00\x00{")), message(cmdVersion, nil)} {
		c := dial(t, path)
		c.send(b)
		c.closed()
		c.c.Close()
	}
	c := dial(t, path) // leaves inside a message, with a descriptor on its way
	c.send(message(cmdDMAMap, dma(3, 0, 0, 4096))[:20], memfd(t, 4096))
	c.c.Close()
	dial(t, path)
}

func TestSecondClientIsTurnedAway(t *testing.T) {
	leaktest.Check(t)
	s, path := serve(t)
	c := greeted(t, path)
	c.ok(cmdDMAMap, dma(3, 0, 0, 4096), memfd(t, 4096))
	dial(t, path).closed()
	c.ok(cmdReset, nil)
	c.c.Close()
	greeted(t, path)
	if err := s.Memory().Read(0, make([]byte, 1)); !errors.Is(err, syscall.EFAULT) {
		t.Errorf("the memory of a client that left: %v", err)
	}
}
