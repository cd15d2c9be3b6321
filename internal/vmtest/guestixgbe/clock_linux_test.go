package guestixgbe

import (
	"encoding/binary"
	"errors"
	"os"
	"regexp"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/netnstest"
)

var ptpClock = regexp.MustCompile(`(?:PTP Hardware Clock|Hardware timestamp provider index): (\d+)`)

// clock is the card's.
type clock struct {
	t *testing.T
	f *os.File
}

func (r *rig) clock() clock {
	r.t.Helper()
	out := r.ethtool("-T")
	found := ptpClock.FindStringSubmatch(out)
	if found == nil {
		r.t.Fatalf("the card has no clock:\n%s", out)
	}
	f, err := os.OpenFile("/dev/ptp"+found[1], os.O_RDWR, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { f.Close() })
	return clock{r.t, f}
}

func (c clock) now() time.Duration {
	c.t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.FdToClockID(int(c.f.Fd())), &ts); err != nil {
		c.t.Fatal(err)
	}
	return time.Duration(ts.Nano())
}

func (c clock) set(to time.Duration) {
	c.t.Helper()
	ts := unix.NsecToTimespec(int64(to))
	if err := unix.ClockSettime(unix.FdToClockID(int(c.f.Fd())), &ts); err != nil {
		c.t.Fatal(err)
	}
}

// TestClock reads the card's clock, which goes as fast as the kernel's, and sets
// it.
func TestClock(t *testing.T) {
	leaktest.Check(t)
	c := newRig(t).clock()
	from, start := c.now(), time.Now()
	time.Sleep(time.Second)
	to, end := c.now(), time.Now()
	// What the processor loses between two calls is in both, in part.
	if d, want := to-from, end.Sub(start); d < want/2 || d > 2*want {
		t.Errorf("the card's clock went on by %v in %v", d, want)
	}
	const then = 1000 * time.Second
	c.set(then)
	if d := c.now() - then; d < 0 || d > linkUp {
		t.Errorf("set to %v, the clock says %v", then, then+d)
	}
}

// TestTimestamps wants the times of PTP messages that the card sends and
// receives, by its own clock.
func TestTimestamps(t *testing.T) {
	leaktest.Check(t)
	r := newRig(t)
	c := r.clock()
	// What another test has left in it could be of the same time.
	c.set(5000 * time.Second)
	card, peer := ptpSocket(t, r.A), ptpSocket(t, r.B)
	r.stamping()
	for range 3 {
		before := c.now()
		if err := send(card, syncMessage(r.B.MAC, r.A.MAC)); err != nil {
			t.Fatal(err)
		}
		sent := stamp(t, card, unix.MSG_ERRQUEUE)
		between := c.now()
		if sent < before || sent > between {
			t.Errorf("sent at %v, which is not between %v and %v", sent, before, between)
		}
		if err := send(peer, syncMessage(r.A.MAC, r.B.MAC)); err != nil {
			t.Fatal(err)
		}
		received := stamp(t, card, 0)
		if after := c.now(); received < between || received > after {
			t.Errorf("received at %v, which is not between %v and %v", received, between, after)
		}
	}
}

// stamping has the card take the times of what it sends, where a socket asks,
// and of PTP's events that it receives.
func (r *rig) stamping() {
	r.t.Helper()
	err := r.A.DoErr(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.IoctlSetHwTstamp(fd, r.A.IfName, &unix.HwTstampConfig{Tx_type: unix.HWTSTAMP_TX_ON, Rx_filter: unix.HWTSTAMP_FILTER_PTP_V2_EVENT})
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// ptpEther is the EtherType of PTP (IEEE 1588, annex F).
const ptpEther = 0x88f7

// ptpSocket hears and sends PTP on an interface, with the device's times.
func ptpSocket(t *testing.T, h *netnstest.Host) int {
	t.Helper()
	const order = ptpEther>>8 | ptpEther&0xff<<8 // network order
	fd := -1
	err := h.DoErr(func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, order)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	const times = unix.SOF_TIMESTAMPING_TX_HARDWARE | unix.SOF_TIMESTAMPING_RX_HARDWARE | unix.SOF_TIMESTAMPING_RAW_HARDWARE
	err = errors.Join(
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: order, Ifindex: h.IfIndex}),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING, times))
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// syncMessage is a message of that type, of PTP version 2.
func syncMessage(to, from [6]byte) []byte {
	f := make([]byte, 60)
	copy(f, to[:])
	copy(f[6:], from[:])
	binary.BigEndian.PutUint16(f[12:], ptpEther)
	f[15] = 2  // version
	f[17] = 44 // length
	return f
}

func send(fd int, frame []byte) error {
	_, err := unix.Write(fd, frame)
	return err
}

// stamp waits for a message, or with MSG_ERRQUEUE for one that was sent to come
// back, and returns the device's time of it.
func stamp(t *testing.T, fd, flags int) time.Duration {
	t.Helper()
	control := make([]byte, 512)
	var b [2048]byte
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		_, n, _, _, err := unix.Recvmsg(fd, b[:], control, flags|unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EAGAIN) && time.Now().Before(end) {
			continue
		}
		if err != nil {
			t.Fatalf("no message: %v", err)
		}
		messages, err := unix.ParseSocketControlMessage(control[:n])
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			// Three times; the last is the device's.
			const size = 16
			if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPING && len(m.Data) >= 3*size {
				seconds, nanos := binary.NativeEndian.Uint64(m.Data[2*size:]), binary.NativeEndian.Uint64(m.Data[2*size+8:])
				return time.Duration(seconds)*time.Second + time.Duration(nanos)
			}
		}
		t.Fatalf("a message without the device's time, %d bytes of control", n)
	}
}
