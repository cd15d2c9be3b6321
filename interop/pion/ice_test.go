package pion

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/logging"

	"github.com/oobnet/oobnet/internal/stacktest"
)

// TestICE has two agents of pion's find each other through a wire.
func TestICE(t *testing.T) { onWires(t, testICE) }

func testICE(t *testing.T, a, b *stacktest.Host) {
	x, y := agent(t, NewNet(a.Stack, nil)), agent(t, NewNet(b.Stack, nil))
	introduce(t, x, y)
	introduce(t, y, x)

	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	accepted := make(chan net.Conn, 1)
	go func() {
		defer close(accepted)
		c, err := y.Accept(ctx, credentials(t, x, 0), credentials(t, x, 1))
		if err != nil {
			t.Errorf("accept: %v", err)
			return
		}
		accepted <- c
	}()
	dialed, err := x.Dial(ctx, credentials(t, y, 0), credentials(t, y, 1))
	if err != nil {
		t.Fatal(err)
	}
	peer, ok := <-accepted
	if !ok {
		return
	}
	for i, c := range []struct{ from, to net.Conn }{{dialed, peer}, {peer, dialed}} {
		if _, err := c.from.Write([]byte("over the stage")); err != nil {
			t.Fatal(i, err)
		}
		buf := make([]byte, 64)
		if n, err := c.to.Read(buf); err != nil || string(buf[:n]) != "over the stage" {
			t.Fatalf("%d: %q, %v", i, buf[:n], err)
		}
	}
	if got := dialed.RemoteAddr().(*net.UDPAddr).IP.String(); got != b.Addr.String() {
		t.Errorf("the pair is with %s", got)
	}
	// Close waits for the readers of its sockets, which a deadline in the past ends.
	if err := errors.Join(x.Close(), y.Close()); err != nil {
		t.Error(err)
	}
}

func agent(t *testing.T, n *Net) *ice.Agent {
	t.Helper()
	a, err := ice.NewAgentWithOptions(
		ice.WithNet(n), ice.WithNetworkTypes([]ice.NetworkType{ice.NetworkTypeUDP4}), ice.WithCandidateTypes([]ice.CandidateType{ice.CandidateTypeHost}),
		ice.WithMulticastDNSMode(ice.MulticastDNSModeDisabled), ice.WithLoggerFactory(&logging.DefaultLoggerFactory{Writer: t.Output(), DefaultLogLevel: logging.LogLevelError}),
		ice.WithHostAcceptanceMinWait(time.Millisecond),
	)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// introduce tells one agent all candidates of another.
func introduce(t *testing.T, from, to *ice.Agent) {
	t.Helper()
	gathered := make(chan struct{})
	if err := from.OnCandidate(func(c ice.Candidate) {
		if c == nil {
			close(gathered)
			return
		}
		if err := to.AddRemoteCandidate(c); err != nil {
			t.Errorf("candidate %v: %v", c, err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := from.GatherCandidates(); err != nil {
		t.Fatal(err)
	}
	<-gathered
}

// credentials are an agent's own: the fragment of its user name, and its password.
func credentials(t *testing.T, a *ice.Agent, which int) string {
	t.Helper()
	fragment, password, err := a.GetLocalUserCredentials()
	if err != nil {
		t.Error(err)
	}
	return [...]string{fragment, password}[which]
}
