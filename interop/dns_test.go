package interop

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/oobnet/oobnet/proto/udp"
)

// patience is how long a test waits for what must come: far longer than it takes,
// and spent only by one that fails.
const patience = 20 * time.Second

// answer is what the servers of the tests say to each question for an address.
const answer = "203.0.113.53"

func answering(t *testing.T) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.ParseIP(answer)}}
		if err := w.WriteMsg(m); err != nil {
			t.Errorf("answer: %v", err)
		}
	}
}

// serve runs a server until the test ends.
func serve(t *testing.T, c net.PacketConn) {
	t.Helper()
	ready, ended := make(chan struct{}), make(chan error, 1)
	s := &dns.Server{PacketConn: c, Handler: answering(t), NotifyStartedFunc: func() { close(ready) }}
	go func() { ended <- s.ActivateAndServe() }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Shutdown(), <-ended); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
}

// ask makes queries over a connection, and sees that the answers are right.
func ask(t *testing.T, c net.Conn, n int) {
	t.Helper()
	client := &dns.Client{Timeout: patience}
	for i := range n {
		q := new(dns.Msg).SetQuestion(fmt.Sprintf("host%d.example.", i), dns.TypeA)
		r, _, err := client.ExchangeWithConn(q, &dns.Conn{Conn: c})
		if err != nil {
			t.Fatalf("query %d: %v", i, err)
		}
		if a, ok := r.Answer[0].(*dns.A); !ok || a.A.String() != answer || a.Hdr.Name != q.Question[0].Name {
			t.Fatalf("query %d: %v", i, r.Answer)
		}
	}
}

func TestDNSServer(t *testing.T) {
	onWires(t, func(t *testing.T, e *ends) {
		c := e.conn(53)
		serve(t, c)
		asker := e.peer(5353)
		ask(t, &dialed{asker, net.UDPAddrFromAddrPort(netip.AddrPortFrom(e.ours.Addr, 53))}, 100)
	})
}

func TestDNSClient(t *testing.T) {
	onWires(t, func(t *testing.T, e *ends) {
		serve(t, e.peer(53))
		c, err := udp.Dial(e.ours.Stack, netip.AddrPort{}, netip.AddrPortFrom(e.addr, 53), nil)
		if err != nil {
			t.Fatal(err)
		}
		ask(t, c, 100)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestDNSServerOutlivesSilence: the server reads with a deadline of 2 s, and takes
// a net.Error that is none for its end.
func TestDNSServerOutlivesSilence(t *testing.T) {
	onWires(t, func(t *testing.T, e *ends) {
		c := e.conn(53)
		serve(t, c)
		time.Sleep(2500 * time.Millisecond)
		ask(t, &dialed{e.peer(5353), net.UDPAddrFromAddrPort(netip.AddrPortFrom(e.ours.Addr, 53))}, 1)
	})
}

// dialed is a packet connection with one peer: a net.Conn.
type dialed struct {
	net.PacketConn
	to net.Addr
}

func (d *dialed) Read(b []byte) (int, error) {
	n, _, err := d.ReadFrom(b)
	return n, err
}
func (d *dialed) Write(b []byte) (int, error) { return d.WriteTo(b, d.to) }
func (d *dialed) RemoteAddr() net.Addr        { return d.to }
