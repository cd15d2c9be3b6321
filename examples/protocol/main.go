// Protocol adds a protocol of its own to the stack, by the interface that UDP
// uses: a question goes out in a frame of an EtherType for experiments; its
// answer, the text backwards, leaves in the buffer that brought it.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log"
	"os"
	"slices"
	"sync/atomic"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/stack"
)

// A message is an Ethernet header, and then: what it is, whose it is, the text.
const (
	etherType = 0x88b5 // IEEE 802: for local experiments
	ethernet  = 14     // bytes of the Ethernet header
	header    = 4      // 1 byte question or answer, 1 byte length of the text, 2 bytes number
	question  = 1
	answer    = 2
)

// quiz is the protocol on one stack.
type quiz struct {
	port   *stack.Port
	inbox  stack.Inbox   // answers: RX threads put, Ask takes
	come   chan struct{} // has a word for Ask when there may be an answer
	done   chan struct{} // closes with the protocol
	number atomic.Uint32 // of the last question: every Ask adds
}

// Receive runs on the RX thread. It must not wait, lock or allocate, and says of
// each packet what becomes of it.
func (q *quiz) Receive(b *stack.Batch) {
	var replies [stack.MaxBatch]link.Frame
	n := 0
	for _, p := range b.Packets {
		m := b.Transport(p) // what stands behind the Ethernet header
		switch {
		case len(m) < header || len(m) < header+int(m[1]):
			p.Drop(stack.ReasonTruncated)
		case m[0] == question && p.Cast == stack.Unicast:
			frame, mac := b.Bytes(p), p.Port.MAC()
			copy(frame, frame[6:12]) // back to whom it came from
			copy(frame[6:], mac[:])
			m[0] = answer
			slices.Reverse(m[header : header+int(m[1])])
			p.Take() // ours now; when it has left, it goes home by itself
			replies[n], n = p.Frame, n+1
		case m[0] == answer:
			p.Take()
			q.inbox.Put(p.Frame.Index) // Ask gives it back
			select {
			case q.come <- struct{}{}:
			default: // a word is there already
			}
		} // what is left alone is dropped, and counted
	}
	if n > 0 { // one doorbell for all; what finds the queue full is lost, and counted
		_, _ = b.Device.SendBatch(replies[:n], 0, stack.Priorities-1)
	}
}

// Ask sends a question and waits for its answer. One at a time.
func (q *quiz) Ask(ctx context.Context, to link.MAC, text string) (string, error) {
	d := q.port.Device()
	f, err := d.Alloc() // Off is where a payload goes, with room for headers in front
	if err != nil {
		return "", err
	}
	number, text := uint16(q.number.Add(1)), text[:min(len(text), 255)]
	b, mac := d.Memory().Buffer(f.Index)[f.Off-ethernet:], q.port.MAC()
	copy(b[copy(b, to[:]):], mac[:])
	binary.BigEndian.PutUint16(b[12:], etherType)
	b[14], b[15] = question, byte(len(text))
	binary.BigEndian.PutUint16(b[16:], number)
	n := ethernet + header + copy(b[ethernet+header:], text)
	f.Off, f.Len = f.Off-ethernet, uint16(n)
	if err := q.port.Send(f, 0, 0); err != nil { // the buffer is no longer ours
		return "", err
	}
	for {
		index, ok := q.inbox.Take()
		if !ok {
			select {
			case <-q.come:
				continue
			case <-ctx.Done():
				return "", ctx.Err()
			case <-q.done:
				return "", os.ErrClosed
			}
		}
		p := d.Packet(index)
		m := d.Memory().Bytes(p.Frame)[p.Offset:][:p.Len]
		mine, reply := binary.BigEndian.Uint16(m[2:]) == number, string(m[header:][:m[1]])
		d.Release(index)
		if mine { // else the answer to one that has given up
			return reply, nil
		}
	}
}

// The in-band stage has nothing for an EtherType. An inbox is made for a device
// before it brings anything, and emptied when it goes; Close ends all waiting.
func (q *quiz) ReceiveInBand(*stack.Datagram) bool { return false }
func (q *quiz) Error(*stack.TransportError)        {}
func (q *quiz) Attached(d *stack.Device)           { q.inbox.Init(d) }
func (q *quiz) Close()                             { close(q.done) }
func (q *quiz) Purge(d *stack.Device) {
	for index, ok := q.inbox.Take(); ok; index, ok = q.inbox.Take() {
		d.Release(index)
	}
}

// host makes a stack with one device, one port, and the protocol on it.
func host(l link.Link) *quiz {
	s, err := stack.New(nil)
	check(err)
	d, err := s.Attach(l, nil)
	check(err)
	q := &quiz{come: make(chan struct{}, 1), done: make(chan struct{})}
	q.port, err = d.EnablePort(nil) // no address: none is needed
	check(err)
	check(s.RegisterProtocol(stack.EtherType(etherType), q))
	return q
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	left, right, err := loopback.Pair(nil)
	check(err)
	here, there := host(left), host(right)
	reply, err := here.Ask(context.Background(), right.MAC(), "hello, out of band")
	fmt.Println(reply)
	check(errors.Join(err, here.port.Device().Stack().Close(), there.port.Device().Stack().Close()))
}
