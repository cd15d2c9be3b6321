package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// wireFrames is how many frames wait for the other end. One that comes when it
// is full is lost: a register write must not wait for QEMU, which waits for it.
// It holds what a driver can have in flight on 16 rings of 256.
const wireFrames = 4096

// maxFrame is the longest that the chips take, with room for a tag: MAXFRS has
// 16 bits.
const maxFrame = 1 << 16

// wire carries frames by datagrams of Unix, as QEMU's -netdev dgram does.
type wire struct {
	conn  *net.UnixConn
	peer  *net.UnixAddr
	queue chan []byte
	lost  atomic.Uint64 // counted by senders and deliver, read by the report
	stop  chan struct{}
	wg    sync.WaitGroup
}

// newWire makes the socket at own. Frames that come there are given to receive;
// those of send go to peer, which need not be there yet.
func newWire(own, peer string, receive func(frame []byte)) (*wire, error) {
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: own, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("wire: %w", err)
	}
	w := &wire{conn: conn, peer: &net.UnixAddr{Name: peer, Net: "unixgram"}, queue: make(chan []byte, wireFrames), stop: make(chan struct{})}
	w.wg.Go(func() {
		b := make([]byte, maxFrame)
		for {
			n, err := conn.Read(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				receive(b[:n])
			}
		}
	})
	w.wg.Go(w.deliver)
	return w, nil
}

// send queues a frame, which is the wire's from then on.
func (w *wire) send(frame []byte) {
	select {
	case w.queue <- frame:
	default:
		w.lost.Add(1)
	}
}

// patience is how long the other end may be busy before a frame is lost. A
// guest whose interface is down takes none.
const patience = time.Second

func (w *wire) deliver() {
	for {
		select {
		case <-w.stop:
			return
		case f := <-w.queue:
			if err := w.write(f); err != nil {
				w.lost.Add(1)
			}
		}
	}
}

func (w *wire) write(f []byte) error {
	if err := w.conn.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := w.conn.WriteToUnix(f, w.peer)
	return err
}

// close ends the wire and removes its socket.
func (w *wire) close(path string) error {
	close(w.stop)
	w.conn.Close()
	w.wg.Wait()
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("wire: %w", err)
	}
	return nil
}
