package control_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/control"
	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/stack"
)

var (
	addrA = netip.MustParsePrefix("10.0.0.1/24")
	addrB = netip.MustParsePrefix("10.0.0.2/24")
)

// rig is a stack with a server and a client, whose only openable link is the
// "wire" to a peer.
type rig struct {
	stack  *stack.Stack
	server *control.Server
	client *control.Client
	peer   *stacktest.Host
	path   string

	mu   sync.Mutex
	ends map[string]link.Link // not opened yet
}

// open is the opener.
func (r *rig) open(name string) (link.Link, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.ends[name]
	if l == nil {
		return nil, fmt.Errorf("wire: %s: no such interface: %w", name, syscall.ENODEV)
	}
	delete(r.ends, name)
	return l, nil
}

// newRig makes one. Every answer that the client gets is compared with the
// description.
func newRig(t *testing.T, cfg *control.Config) *rig {
	t.Helper()
	leaktest.Check(t)
	r := &rig{ends: map[string]link.Link{}, path: filepath.Join(t.TempDir(), "s")}
	a, b, err := loopback.Pair(&loopback.Config{Name: "wire"})
	if err != nil {
		t.Fatal(err)
	}
	r.ends["wire0"] = a
	r.peer = stacktest.On(t, b, addrB, nil)
	if r.stack, err = stack.New(nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.stack.Close(); err != nil {
			t.Error(err)
		}
		for _, l := range r.ends {
			l.Close()
		}
	})
	var c control.Config
	if cfg != nil {
		c = *cfg
	}
	if c.Openers == nil {
		c.Openers, c.Default = map[string]control.Opener{"wire": r.open}, "wire"
	}
	if r.server, err = control.ServeConfig(r.stack, r.path, &c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.server.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(r.path); err == nil {
			t.Error("the socket is left behind")
		}
	})
	r.client = r.dial(t)
	return r
}

func (r *rig) dial(t *testing.T) *control.Client {
	t.Helper()
	c, err := control.Dial(r.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.Wrap(described(t))
	return c
}

// enable enables a port with an address.
func (r *rig) enable(t *testing.T, name string, addrs ...netip.Prefix) *control.Port {
	t.Helper()
	p, err := r.client.EnablePort(t.Context(), control.EnableRequest{Interface: name, Addresses: addrs})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// renew makes the wire anew, whose end was opened and closed.
func (r *rig) renew(t *testing.T) {
	t.Helper()
	l, err := loopback.New(&loopback.Config{Name: "wire0"})
	if err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ends["wire0"] = l
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
