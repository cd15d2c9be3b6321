package latmus

import (
	"errors"

	"github.com/oobnet/oobnet/internal/ring"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// answer is what an echo in this process knows of a packet: when its device had it,
// when it was answered, and how often the thread was switched involuntarily in the
// meantime, the wait for it included.
type answer struct {
	seq        uint64
	came, left int64
	switches   int64
}

// echo answers who [Asks], on the thread that received.
type echo struct {
	o    *Options
	conn *udp.Conn
	log  *ring.Ring[answer] // of what it has answered; nil: nobody wants to know
	// waited are the involuntary switches of the thread, which has this to itself,
	// when it began to wait for a packet.
	waited int64
	ready  chan struct{} // conn is set: closed before the first packet is sent
}

// startEcho starts one on a side.
func startEcho(o *Options, s *side, log *ring.Ring[answer]) (*echo, error) {
	e := &echo{o: o, log: log, ready: make(chan struct{})}
	var err error
	if e.conn, err = s.listen(o, &udp.Config{Handler: e.handle}); err != nil {
		return nil, err
	}
	close(e.ready)
	if log != nil {
		if err := e.conn.SetTimestamping(stack.TimeRXDevice); err != nil {
			return nil, errors.Join(err, e.conn.Close())
		}
	}
	return e, nil
}

func (e *echo) handle(d udp.Datagram) {
	<-e.ready
	if Asks(d.Payload(), d.From().Port(), e.o.Port) {
		// What cannot be sent back is lost, and its sender counts it.
		_, _ = e.conn.WriteToUDPAddrPort(d.Payload(), d.From())
		e.note(d)
	}
	d.Release()
}

// note writes down what has been answered. What went in-band came on another
// thread, and is nothing of this one's.
func (e *echo) note(d udp.Datagram) {
	came := d.Times().Device
	if e.log == nil || came == 0 {
		return
	}
	a := answer{came: came, left: stack.Now()}
	a.seq, _ = sequence(d.Payload()) // it asks, so it has one
	before := e.waited
	e.begin()
	a.switches = e.waited - before
	_ = e.log.Push(&a) // no room: then nothing is known of that packet
}

// begin begins to wait for a packet: what has switched the thread before has not
// held that up.
func (e *echo) begin() { e.waited = e.o.switches() }
