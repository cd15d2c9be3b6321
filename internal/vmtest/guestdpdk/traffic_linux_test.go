package guestdpdk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oobnet/oobnet/internal/netns"
)

// window is how many frames are on their way at once: fewer than a ring has.
const window = 32

// ping sends echo requests of a size from A to B until so many were answered. A
// request may come before the answer to the last: the emulation pauses.
func (r *rig) ping(n, size int) {
	r.t.Helper()
	out, err := r.A.Exec("ping", "-q", "-c", fmt.Sprint(n), "-s", fmt.Sprint(size), "-M", "do", "-w", fmt.Sprint(patience.Seconds()), addrB.Addr().String())
	if err != nil {
		r.t.Fatalf("ping: %v: %s", err, out)
	}
}

// udp sends datagrams of many sizes, each with bytes of its own, and wants the
// kernel at the other end, which checks their checksums, to give out all of them, in
// their order. They are of so many flows, by their source ports.
func (r *rig) udp(from, to *netns.Host, n, flows, largest int) {
	r.t.Helper()
	at := netip.AddrPortFrom(r.addr(to), 4000)
	sink, err := to.ListenUDP(at)
	if err != nil {
		r.t.Fatal(err)
	}
	defer sink.Close()
	sources := make([]*net.UDPConn, flows)
	for i := range sources {
		if sources[i], err = from.DialUDP(netip.AddrPort{}, at); err != nil {
			r.t.Fatal(err)
		}
		defer sources[i].Close()
	}
	// A frame is no shorter than 60 bytes, or it would be padded.
	const least = 60 - 14 - 20 - 8
	size := func(i int) int { return least + i*37%(largest-least+1) }
	buf := make([]byte, largest+1)
	for first := 0; first < n; first += window {
		last := min(first+window, n)
		for i := first; i < last; i++ {
			if _, err := sources[i%flows].Write(pattern(i, size(i))); err != nil {
				r.t.Fatal(err)
			}
		}
		due := map[string]int{}
		for i := first; i < last; i++ {
			due[string(pattern(i, size(i)))]++
		}
		for len(due) > 0 {
			if err := sink.SetReadDeadline(time.Now().Add(patience)); err != nil {
				r.t.Fatal(err)
			}
			got, err := sink.Read(buf)
			if err != nil {
				r.t.Fatalf("UDP: %d of the datagrams %d to %d are missing: %v", len(due), first, last-1, err)
			}
			if due[string(buf[:got])] == 0 {
				r.t.Fatalf("UDP: %d bytes that nobody sent, among the datagrams %d to %d", got, first, last-1)
			}
			delete(due, string(buf[:got]))
		}
	}
}

func (r *rig) addr(h *netns.Host) netip.Addr {
	if h == r.A {
		return addrA.Addr()
	}
	return addrB.Addr()
}

// pattern is the content of datagram i: no two of a window are alike.
func pattern(i, size int) []byte {
	b := make([]byte, size)
	for j := range b {
		b[j] = byte(i + i>>8 + j*7)
	}
	copy(b, fmt.Sprintf("%08d", i))
	return b
}

// tcp streams so many bytes each way at once, over one connection.
func (r *rig) tcp(size int) {
	r.t.Helper()
	there, back := bytes.Repeat([]byte("there and "), size/10), bytes.Repeat([]byte("back again"), size/10)
	var l net.Listener
	err := r.B.DoErr(func() (err error) {
		l, err = net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(netip.AddrPortFrom(addrB.Addr(), 5000)))
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	defer l.Close()
	failed := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			err = exchange(c, back, there)
		}
		failed <- err
	}()
	var c net.Conn
	err = r.A.DoErr(func() (err error) {
		c, err = net.DialTimeout("tcp4", l.Addr().String(), patience)
		return err
	})
	if err == nil {
		err = exchange(c, there, back)
	}
	l.Close() // for one that nobody has called
	if err := errors.Join(err, <-failed); err != nil {
		r.t.Fatalf("TCP: %v", err)
	}
}

// exchange sends one text, receives the other, and closes.
func exchange(c net.Conn, send, want []byte) error {
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(2 * patience)); err != nil {
		return err
	}
	var sending sync.WaitGroup
	var sendErr error
	sending.Go(func() {
		if _, sendErr = c.Write(send); sendErr == nil {
			sendErr = c.(*net.TCPConn).CloseWrite()
		}
	})
	got, err := io.ReadAll(c)
	sending.Wait()
	if err == nil && !bytes.Equal(got, want) {
		err = fmt.Errorf("%d bytes arrived that are not the %d sent", len(got), len(want))
	}
	return errors.Join(sendErr, err)
}

// experiment is the EtherType for local experiments, of frames that no kernel
// answers.
const experiment = 0x88b5

// frame has no more than a header, and a text.
func frame(to, from [6]byte, text string) []byte {
	b := append(append(append([]byte{}, to[:]...), from[:]...), experiment>>8, experiment&0xff)
	b = append(b, text...)
	return append(b, make([]byte, max(0, 60-len(b)))...)
}

// raw opens a socket for frames of that type, until the test ends.
func (r *rig) raw(h *netns.Host, etherType uint16) *os.File {
	r.t.Helper()
	f, err := h.RawSocket(etherType)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { f.Close() })
	return f
}

// next reads a frame.
func (r *rig) next(f *os.File) []byte {
	r.t.Helper()
	if err := f.SetReadDeadline(time.Now().Add(patience)); err != nil {
		r.t.Fatal(err)
	}
	buf := make([]byte, 9100)
	n, err := f.Read(buf)
	if err != nil {
		r.t.Fatalf("no frame: %v", err)
	}
	return buf[:n]
}

// tagged is the frame with a tag of 802.1Q.
func tagged(id int, f []byte) []byte {
	tag := []byte{0x81, 0, byte(id >> 8), byte(id)}
	return append(append(append([]byte{}, f[:12]...), tag...), f[12:]...)
}

// last is the text of the frame that ends an offer.
const last = "that was all"

// offer sends frames from A and then one that is taken in any case. It returns the
// texts of those that came to B before that, sorted; check, if there is one, looks
// at each.
func (r *rig) offer(in, out *os.File, frames [][]byte, end []byte, check func([]byte)) (taken string) {
	r.t.Helper()
	for _, f := range append(slices.Clone(frames), end) {
		if _, err := in.Write(f); err != nil {
			r.t.Fatal(err)
		}
	}
	var texts []string
	for {
		f := r.next(out)
		if check != nil {
			check(f)
		}
		text := string(bytes.TrimRight(f[14:], "\x00"))
		if text == last {
			slices.Sort(texts)
			return strings.Join(texts, " ")
		}
		texts = append(texts, text)
	}
}
