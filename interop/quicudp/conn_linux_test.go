package quicudp

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/proto/udp"
)

// patience is how long a read waits for what must come.
const patience = 20 * time.Second

// pair is two connections that know each other.
func pair(t *testing.T) (a, b *Conn, to *net.UDPAddr) {
	t.Helper()
	x, y := stacktest.Pair(t, nil)
	stacktest.Know(t, x, y)
	open := func(h *stacktest.Host) *Conn {
		c, err := udp.Listen(h.Stack, h.At(443), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
		})
		return New(c)
	}
	return open(x), open(y), net.UDPAddrFromAddrPort(y.At(443))
}

// message is a control message as a caller writes it.
func message(level, kind int, data ...byte) []byte {
	b := make([]byte, unix.CmsgSpace(len(data)))
	putHeader(b, level, kind, len(data))
	copy(b[unix.CmsgLen(0):], data)
	return b
}

func read(t *testing.T, c *Conn, want int) (got []ipv4.Message) {
	t.Helper()
	for len(got) < want {
		ms := make([]ipv4.Message, 4)
		for i := range ms {
			ms[i].Buffers, ms[i].OOB = [][]byte{make([]byte, 2048)}, make([]byte, 64)
		}
		n, err := c.ReadBatch(ms, 0)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, ms[:n]...)
	}
	return got
}

// TestSegments: one write is many datagrams, with one mark, of which a batch reads
// several at once.
func TestSegments(t *testing.T) {
	leaktest.Check(t)
	a, b, to := pair(t)
	data := bytes.Repeat([]byte("0123456789"), 100)
	oob := append(message(unix.IPPROTO_UDP, unix.UDP_SEGMENT, 0xf0, 0), message(unix.IPPROTO_IP, unix.IP_TOS, 2)...) // 240 bytes; capable
	n, oobn, err := a.WriteMsgUDP(data, oob, to)
	if n != len(data) || oobn != len(oob) || err != nil {
		t.Fatal(n, oobn, err)
	}
	at := 0
	for i, m := range read(t, b, 5) {
		want := data[at:min(at+240, len(data))]
		at += len(want)
		if !bytes.Equal(m.Buffers[0][:m.N], want) || m.Flags != 0 || m.Addr.String() != a.LocalAddr().String() {
			t.Errorf("datagram %d: %d bytes from %v, flags %#x", i, m.N, m.Addr, m.Flags)
		}
		list, err := unix.ParseSocketControlMessage(m.OOB[:m.NN])
		if err != nil || len(list) != 1 || list[0].Header.Level != unix.IPPROTO_IP || list[0].Header.Type != unix.IP_TOS || fmt.Sprint(list[0].Data) != "[2]" {
			t.Errorf("datagram %d: control messages %+v, %v", i, list, err)
		}
	}
	if at != len(data) {
		t.Errorf("%d of %d bytes came", at, len(data))
	}
}

// TestOne: without control messages a write is a datagram, an empty one too.
func TestOne(t *testing.T) {
	leaktest.Check(t)
	a, b, to := pair(t)
	for _, data := range []string{"hello", ""} {
		if n, oobn, err := a.WriteMsgUDP([]byte(data), nil, to); n != len(data) || oobn != 0 || err != nil {
			t.Fatal(n, oobn, err)
		}
		buf, oob := make([]byte, 10), make([]byte, 32)
		n, oobn, flags, from, err := b.ReadMsgUDP(buf, oob)
		if string(buf[:n]) != data || oobn == 0 || flags != 0 || from.String() != a.LocalAddr().String() || err != nil {
			t.Errorf("%q, %d, %#x, %v, %v", buf[:n], oobn, flags, from, err)
		}
	}
}

func TestNoRoomForControl(t *testing.T) {
	leaktest.Check(t)
	a, b, to := pair(t)
	if _, _, err := a.WriteMsgUDP([]byte("x"), nil, to); err != nil {
		t.Fatal(err)
	}
	_, oobn, flags, _, err := b.ReadMsgUDP(make([]byte, 10), make([]byte, 3))
	if oobn != 0 || flags&unix.MSG_CTRUNC == 0 || err != nil {
		t.Error(oobn, flags, err)
	}
}

func TestBadInput(t *testing.T) {
	leaktest.Check(t)
	a, _, to := pair(t)
	for name, c := range map[string]struct {
		b, oob []byte
		want   error
	}{
		"no segments":       {[]byte("x"), message(unix.IPPROTO_UDP, unix.UDP_SEGMENT, 0, 0), syscall.EINVAL},
		"too many segments": {make([]byte, 129), message(unix.IPPROTO_UDP, unix.UDP_SEGMENT, 1, 0), syscall.EINVAL},
		"unknown":           {[]byte("x"), message(unix.IPPROTO_IP, unix.IP_TTL, 1, 0, 0, 0), errors.ErrUnsupported},
		"short":             {[]byte("x"), message(unix.IPPROTO_IP, unix.IP_TOS, 2)[:10], syscall.EINVAL},
		"half a size":       {[]byte("x"), message(unix.IPPROTO_UDP, unix.UDP_SEGMENT, 1), errors.ErrUnsupported},
	} {
		if n, _, err := a.WriteMsgUDP(c.b, c.oob, to); n != 0 || !errors.Is(err, c.want) {
			t.Errorf("%s: %d, %v, want %v", name, n, err, c.want)
		}
	}
	if _, err := a.ReadBatch(make([]ipv4.Message, 1), 0); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("a message without a buffer: %v", err)
	}
	if _, err := a.ReadBatch(nil, unix.MSG_PEEK); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("flags: %v", err)
	}
	if err := a.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := a.ReadBatch([]ipv4.Message{{Buffers: [][]byte{make([]byte, 8)}}}, 0); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a deadline in the past: %v", err)
	}
}

// FuzzControl: nothing that is passed as control messages is taken for what it is
// not, or read beyond its end.
func FuzzControl(f *testing.F) {
	f.Add(message(unix.IPPROTO_UDP, unix.UDP_SEGMENT, 0xf0, 0))
	f.Add(message(unix.IPPROTO_IP, unix.IP_TOS, 3))
	f.Fuzz(func(t *testing.T, oob []byte) {
		c, err := parse(oob)
		if c.ecn < 0 || c.ecn > maxECN || c.segment < 0 || c.segment > 1<<16-1 || err == nil && len(oob) == 0 && c != (control{}) {
			t.Errorf("%+v, %v", c, err)
		}
	})
}
