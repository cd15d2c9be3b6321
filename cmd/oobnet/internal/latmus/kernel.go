package latmus

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/oobnet/oobnet/internal/ring"
	"github.com/oobnet/oobnet/rt"
	"github.com/oobnet/oobnet/stack"
)

// kernel measures round trips through sockets of the host's kernel, as a Go
// program has them, in turns with the stack's.
type kernel struct {
	conn, echo *net.UDPConn // echo: in memory there is nobody else to answer
	packet     []byte
	seq        uint64
	begun      [logRoom]atomic.Int64 // the sender writes, the reader takes
	trips      *ring.Ring[int64]     // the reader writes, the collector reads
	done       sync.WaitGroup
}

func newKernel(o *Options) (*kernel, error) {
	k := &kernel{packet: newPacket(o.Size), trips: ring.New[int64](logRoom)}
	to := netip.AddrPortFrom(o.Peer, o.Port)
	if o.Interface == "" {
		var err error
		lo := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)
		if k.echo, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(lo)); err != nil {
			return nil, fmt.Errorf("--vs kernel: %w", err)
		}
		to = k.echo.LocalAddr().(*net.UDPAddr).AddrPort()
		k.done.Go(k.answer)
	}
	var err error
	if k.conn, err = net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(to)); err != nil {
		k.close()
		return nil, fmt.Errorf("--vs kernel: %w: the host's kernel needs an address and a route of its own to %v", err, to.Addr())
	}
	k.done.Go(k.receive)
	return k, nil
}

func (k *kernel) send(rt.Tick) {
	setSequence(k.packet, k.seq)
	k.begun[k.seq%logRoom].Store(stack.Now())
	k.seq++
	// What is not sent is not answered, and not counted.
	_, _ = k.conn.Write(k.packet)
}

func (k *kernel) receive() {
	b := make([]byte, MaxSize)
	for {
		n, err := k.conn.Read(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error of an earlier send
		}
		now := stack.Now()
		if seq, ok := sequence(b[:n]); ok {
			if begun := k.begun[seq%logRoom].Swap(0); begun != 0 {
				trip := now - begun
				k.trips.Push(&trip)
			}
		}
	}
}

func (k *kernel) answer() {
	b := make([]byte, MaxSize)
	for {
		n, from, err := k.echo.ReadFromUDPAddrPort(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			_, _ = k.echo.WriteToUDPAddrPort(b[:n], from)
		}
	}
}

func (k *kernel) drain(t *tally) {
	var trip int64
	for k.trips.Pop(&trip) {
		t.record(kernelTrip, trip)
	}
}

func (k *kernel) close() {
	if k.conn != nil {
		k.conn.Close()
	}
	if k.echo != nil {
		k.echo.Close()
	}
	k.done.Wait()
}
