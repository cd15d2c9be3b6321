package oracle

import (
	"bytes"
	"crypto/sha256"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/oobnet/oobnet/filter"
	"github.com/oobnet/oobnet/internal/netnstest"
	"github.com/oobnet/oobnet/link/afxdp"
)

// TestBesideKernel: the kernel on our interface, and another process's socket
// there, work undisturbed while we do: its TCP, UDP and ICMP, both ways, and
// ours, both ways, all at once.
func TestBesideKernel(t *testing.T) {
	needsXDP(t, "there is no kernel beside us on a card of ours")
	for _, mode := range []afxdp.Mode{afxdp.Native, afxdp.Generic} {
		t.Run(mode.String(), func(t *testing.T) {
			o := &options{link: afxdp.Config{Mode: mode}}
			if !netnstest.Borrows(t) {
				o.wire.Offloads = netnstest.OffloadsOn
			}
			b := makeBed(t, o)
			testBeside(t, b)
		})
	}
}

func testBeside(t *testing.T, b *bed) {
	const datagrams, bytesOfTCP = 500, 8 << 20
	b.echo(echoPort)
	startChild(t, b.home, roleKernel, nil)
	kernelEcho(t, b.peer, at(theirs, echoPort))
	clients := map[string]net.Conn{
		"the peer to us":                   kernelDial(t, b.peer, at(ours, echoPort)),
		"we to the peer":                   b.dial(at(theirs, echoPort), nil),
		"the peer to the kernel beside us": kernelDial(t, b.peer, at(beside, echoPort)),
		"the kernel beside us to the peer": kernelDial(t, b.home, at(theirs, echoPort)),
	}
	pinger := pingSocket(t, b.peer, beside.Addr())
	var running sync.WaitGroup
	for name, c := range clients {
		running.Go(func() {
			for i := range datagrams {
				if err := exchanged(c, pattern(i%1473)); err != nil {
					t.Errorf("%s, datagram %d: %v", name, i, err)
					return
				}
			}
		})
	}
	transfers := [][2]*netnstest.Host{{b.home, b.peer}, {b.peer, b.home}}
	for i, addr := range []netip.Addr{beside.Addr(), theirs.Addr()} {
		running.Go(func() {
			if err := transfer(transfers[i][0], transfers[i][1], addr, bytesOfTCP); err != nil {
				t.Errorf("TCP to %v: %v", addr, err)
			}
		})
	}
	for i := range 20 {
		ping(t, pinger, i, 100*i)
	}
	running.Wait()
	if s := b.xdp.FilterStats(); s.Verdicts[filter.Skip] < bytesOfTCP/65536 || s.Verdicts[filter.Accept] < 2*datagrams {
		t.Errorf("program's counters %+v", s)
	}
}

// exchanged is exchange for goroutines.
func exchanged(c net.Conn, payload []byte) error {
	if _, err := c.Write(payload); err != nil {
		return err
	}
	c.SetReadDeadline(time.Now().Add(patience))
	got := make([]byte, len(payload)+1)
	n, err := c.Read(got)
	if err == nil && !bytes.Equal(got[:n], payload) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// transfer sends bytes over TCP from one kernel to the other, and compares.
func transfer(server, client *netnstest.Host, addr netip.Addr, size int) error {
	var l net.Listener
	err := server.DoErr(func() (err error) {
		l, err = net.Listen("tcp4", netip.AddrPortFrom(addr, 0).String())
		return err
	})
	if err != nil {
		return err
	}
	defer l.Close()
	type result struct {
		sum [sha256.Size]byte
		err error
	}
	received := make(chan result, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			received <- result{err: err}
			return
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		h := sha256.New()
		_, err = io.Copy(h, c)
		received <- result{[sha256.Size]byte(h.Sum(nil)), err}
	}()
	var c net.Conn
	err = client.DoErr(func() (err error) {
		// One address and a dialler without fallback: it dials on this thread.
		d := net.Dialer{Timeout: patience, FallbackDelay: -1}
		c, err = d.Dial("tcp4", l.Addr().String())
		return err
	})
	if err != nil {
		return err
	}
	c.SetDeadline(time.Now().Add(patience))
	data := pattern(size)
	if _, err := c.Write(data); err != nil {
		c.Close()
		return err
	}
	c.Close()
	r := <-received
	if r.err == nil && r.sum != sha256.Sum256(data) {
		r.err = io.ErrUnexpectedEOF
	}
	return r.err
}
