package serve

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/oobnet/oobnet/arp"
	"github.com/oobnet/oobnet/cmd/oobnet/internal/latmus"
	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/proto/udp"
)

// question is a packet of latmus.
const question = "^0000000000000007H$ab"

// serving starts the services on a host.
func serving(t *testing.T, h *stacktest.Host, c *Services) services {
	t.Helper()
	s, err := startServices(h.Stack, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// acquainted are two hosts that know each other's address: nothing between them
// goes in-band and is overtaken.
func acquainted(t *testing.T) (a, b *stacktest.Host) {
	t.Helper()
	a, b = stacktest.Pair(t, nil)
	if err := errors.Join(a.Stack.Solicit(t.Context(), b.Addr, arp.Permanent), b.Stack.Solicit(t.Context(), a.Addr, arp.Permanent)); err != nil {
		t.Fatal(err)
	}
	return a, b
}

// asker is a socket at a port of a host, 0 for any.
func asker(t *testing.T, h *stacktest.Host, port uint16) *udp.Conn {
	t.Helper()
	c, err := udp.Listen(h.Stack, h.At(port), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// ask sends a datagram from c to a port of a host.
func ask(t *testing.T, c *udp.Conn, h *stacktest.Host, port uint16, text string) {
	t.Helper()
	if _, err := c.WriteToUDPAddrPort([]byte(text), h.At(port)); err != nil {
		t.Fatal(err)
	}
}

// Services of two hosts never answer each other, whoever forges a datagram
// between them, and each answers who asks.
func TestServicesDoNotAnswerServices(t *testing.T) {
	leaktest.Check(t)
	if !latmus.Asks([]byte(question), 40000, latmus.Port) {
		t.Fatal("the question is no packet of latmus")
	}
	a, b := acquainted(t)
	cfg := &Services{Echo: 7, Discard: 9, Latmus: latmus.Port}
	here, there := serving(t, a, cfg), serving(t, b, cfg)
	ports := []uint16{cfg.Echo, cfg.Discard, cfg.Latmus}
	for _, from := range here {
		for _, to := range ports {
			for _, text := range []string{"x", question} {
				// As a datagram with a forged source would be.
				ask(t, from.conn.Load(), b, to, text)
			}
		}
	}
	// What else answers whatever comes: chargen, and DNS with an error.
	others := []*udp.Conn{asker(t, a, 19), asker(t, a, 53)}
	for _, c := range others {
		for _, to := range ports {
			ask(t, c, b, to, question)
		}
	}
	// The wire keeps the order: the answer to the last question comes after all
	// that the others may have set off.
	last := asker(t, a, 40000)
	if err := last.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for _, to := range []uint16{cfg.Echo, cfg.Latmus} {
		ask(t, last, b, to, question)
		buf := make([]byte, 64)
		if n, _, err := last.ReadFromUDPAddrPort(buf); err != nil || string(buf[:n]) != question {
			t.Fatalf("port %d: %q, %v", to, buf[:n], err)
		}
	}
	for _, one := range here {
		others = append(others, one.conn.Load())
	}
	for _, c := range others {
		if n := c.Stats().Received; n != 0 {
			t.Errorf("port %v heard %d answers", c.LocalAddr(), n)
		}
	}
	// Two questions by each of three services, one by each of two others, and the last.
	for i, want := range []uint64{3*2 + 2 + 1, 3*2 + 2, 3*2 + 2 + 1} {
		if n := there[i].conn.Load().Stats().Received; n != want {
			t.Errorf("port %d heard %d datagrams, want %d", ports[i], n, want)
		}
	}
}

// Who gets an answer of which service: the rule, without a wire.
func TestServicesAnswer(t *testing.T) {
	leaktest.Check(t)
	a, b := acquainted(t)
	cfg := &Services{Echo: 5007, Discard: 5009, Latmus: 5059}
	serving(t, b, cfg)
	for _, from := range []uint16{7, 1023, 1024, 5007, 5009, 5059, 40000} {
		c := asker(t, a, from)
		answered := from >= 1024 && !slices.Contains([]uint16{5007, 5009, 5059}, from)
		for _, tc := range []struct {
			to   uint16
			text string
			want bool
		}{
			{cfg.Echo, "x", answered},
			{cfg.Discard, question, false},
			{cfg.Latmus, question, answered},
			{cfg.Latmus, "^0000000000000007H$ac", false},
			{cfg.Latmus, "hello", false},
		} {
			what := fmt.Sprintf("%q from %d to %d", tc.text, from, tc.to)
			ask(t, c, b, tc.to, tc.text)
			// A question behind it, that is answered for sure.
			probe := asker(t, a, 0)
			ask(t, probe, b, cfg.Echo, "after")
			buf := make([]byte, 64)
			if err := probe.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, _, err := probe.ReadFromUDPAddrPort(buf); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if err := c.SetReadNoWait(true); err != nil {
				t.Fatal(err)
			}
			n, _, err := c.ReadFromUDPAddrPort(buf)
			if got := err == nil; got != tc.want || got && string(buf[:n]) != tc.text {
				t.Errorf("%s: answered %v (%q, %v), want %v", what, got, buf[:n], err, tc.want)
			}
			if err := probe.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
