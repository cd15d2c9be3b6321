package latmus

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"github.com/oobnet/oobnet/internal/ring"
	"github.com/oobnet/oobnet/stack"
)

// kernel measures round trips through sockets of the host's kernel, in turns with
// the stack's. It waits as the stack does: as a Go program does, in the runtime's
// poller, or in manual mode with its eyes open, on the same two threads.
type kernel struct {
	o         *Options
	near, far *net.UDPConn // far: the echo, nil if somebody else is it
	packet    []byte
	seq       uint64
	sent      atomic.Uint64         // the sender counts, the report reads
	begun     [logRoom]atomic.Int64 // the sender writes, the reader takes
	trips     *ring.Ring[int64]     // who reads writes, the collector reads
	done      sync.WaitGroup

	// In manual mode. mine says that it is the kernel's turn: the thread that
	// sends writes, the one that answers reads.
	mine              atomic.Bool
	spinNear, spinFar *spinSocket
	answer, question  []byte
}

func newKernel(o *Options, w *wire) (*kernel, error) {
	k := &kernel{o: o, packet: newPacket(o.Size), trips: ring.New[int64](logRoom), answer: make([]byte, MaxSize), question: make([]byte, MaxSize)}
	var err error
	if k.near, k.far, err = w.kernels(); err != nil {
		return nil, fmt.Errorf("--vs kernel: %w", err)
	}
	if w.near.manual {
		err = k.spin()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("--vs kernel: %w", err), k.close())
	}
	if k.spinNear == nil {
		k.done.Go(k.receive)
	}
	if k.far != nil && k.spinFar == nil {
		k.done.Go(k.echo)
	}
	return k, nil
}

// spin prepares the sockets for threads that spin.
func (k *kernel) spin() (err error) {
	if k.spinNear, err = newSpinSocket(k.near, nil); err != nil || k.far == nil {
		return err
	}
	k.spinFar, err = newSpinSocket(k.far, k.near.LocalAddr())
	return err
}

// turn sends a packet and, spinning, waits for the answer.
func (k *kernel) turn() {
	seq := k.seq
	k.seq++
	setSequence(k.packet, seq)
	if k.spinNear == nil {
		k.begun[seq%logRoom].Store(stack.Now())
		// What is not sent is not answered, and not counted.
		if _, err := k.near.Write(k.packet); err == nil {
			k.sent.Add(1)
		}
		return
	}
	k.mine.Store(true)
	defer k.mine.Store(false)
	begun := stack.Now()
	if k.spinNear.write(k.packet) {
		k.sent.Add(1)
	}
	now := begun
	for w := k.o.waitFrom(begun); w.more(now); {
		n := k.spinNear.read(k.answer)
		now = stack.Now()
		// An answer to a question that was given up is none.
		if got, ok := sequence(k.answer[:n]); ok && got == seq {
			trip := now - begun
			k.trips.Push(&trip)
			return
		}
	}
}

// answerOnce sends back what has come, and says how many packets that was.
func (k *kernel) answerOnce() int {
	if k.spinFar == nil {
		return 0
	}
	n := k.spinFar.read(k.question)
	if n == 0 {
		return 0
	}
	k.spinFar.write(k.question[:n]) // what does not leave is not answered
	return 1
}

func (k *kernel) receive() {
	for {
		n, err := k.near.Read(k.answer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error of an earlier send
		}
		now := stack.Now()
		if seq, ok := sequence(k.answer[:n]); ok {
			if begun := k.begun[seq%logRoom].Swap(0); begun != 0 {
				trip := now - begun
				k.trips.Push(&trip)
			}
		}
	}
}

func (k *kernel) echo() {
	for {
		n, from, err := k.far.ReadFromUDPAddrPort(k.question)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			_, _ = k.far.WriteToUDPAddrPort(k.question[:n], from)
		}
	}
}

func (k *kernel) drain(t *tally) {
	var trip int64
	for k.trips.Pop(&trip) {
		t.record(kernelTrip, trip)
	}
}

// close ends the goroutines; the threads that spin have ended.
func (k *kernel) close() (err error) {
	for _, c := range []*net.UDPConn{k.near, k.far} {
		if c != nil {
			err = errors.Join(err, c.Close())
		}
	}
	k.done.Wait()
	return err
}
