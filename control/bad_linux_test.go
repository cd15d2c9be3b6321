package control_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/control"
	"github.com/oobnet/oobnet/filter"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/stack"
)

// Each request that cannot be done, with the error that the same call has in
// Go, and a word of the way out.
func TestBadRequests(t *testing.T) {
	r := newRig(t, nil)
	r.enable(t, "wire0", addrA)
	text := filepath.Join(t.TempDir(), "text.o")
	if err := os.WriteFile(text, []byte("no object"), 0o600); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(t.TempDir(), "pipe.o")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	empty, err := filepath.Abs("../filter/testdata/empty.o")
	if err != nil {
		t.Fatal(err)
	}
	ctx, c := t.Context(), r.client
	far := netip.MustParsePrefix("198.51.100.0/24")
	for name, tc := range map[string]struct {
		call func() error
		want error
		say  string
	}{
		"unknown interface": {func() error { _, err := c.EnablePort(ctx, control.EnableRequest{Interface: "nosuch0"}); return err }, syscall.ENODEV, "nosuch0"},
		"unknown kind": {func() error {
			_, err := c.EnablePort(ctx, control.EnableRequest{Interface: "vfio:0000:02:00.0"})
			return err
		}, syscall.ENODEV, "0000:02:00.0"},
		"no interface": {func() error { _, err := c.EnablePort(ctx, control.EnableRequest{}); return err }, syscall.EINVAL, "eth0"},
		"VLAN 1":       {func() error { _, err := c.EnablePort(ctx, control.EnableRequest{Interface: "wire0.1"}); return err }, syscall.EINVAL, "2 to 4094"},
		"VLAN 4095":    {func() error { _, err := c.EnablePort(ctx, control.EnableRequest{Interface: "wire0.4095"}); return err }, syscall.EINVAL, "2 to 4094"},
		"address in use": {func() error {
			_, err := c.EnablePort(ctx, control.EnableRequest{Interface: "wire0.5", Addresses: []netip.Prefix{addrA}})
			return err
		}, syscall.EADDRINUSE, "wire0"},
		"IPv6":                 {func() error { _, err := c.AddAddr(ctx, "wire0", netip.MustParsePrefix("2001:db8::1/64")); return err }, syscall.EAFNOSUPPORT, "IPv4"},
		"not enabled":          {func() error { _, err := c.Port(ctx, "wire0.9"); return err }, syscall.ENODEV, "not enabled"},
		"disable, not enabled": {func() error { _, err := c.DisablePort(ctx, "wire0.9", false); return err }, syscall.ENODEV, "not enabled"},
		"no device":            {func() error { _, err := c.Device(ctx, "wire7"); return err }, syscall.ENODEV, "attached"},
		"address that is not":  {func() error { _, err := c.RemoveAddr(ctx, "wire0", far); return err }, syscall.EADDRNOTAVAIL, "wire0"},
		"route to nowhere": {func() error {
			_, err := c.AddRoute(ctx, control.Route{Destination: far, Gateway: far.Addr().Next(), Port: "wire0"})
			return err
		}, syscall.ENETUNREACH, "gateway"},
		"route that is not": {func() error { return c.RemoveRoute(ctx, far) }, syscall.ESRCH, "198.51.100.0/24"},
		"nobody answers": {func() error {
			return c.Solicit(ctx, control.SolicitRequest{Address: netip.MustParseAddr("10.0.0.88"), TimeoutMS: 50})
		}, syscall.ETIMEDOUT, "no answer"},
		"solicit off-link":   {func() error { return c.Solicit(ctx, control.SolicitRequest{Address: far.Addr().Next()}) }, syscall.ENODEV, "no port"},
		"bad MAC":            {func() error { return c.SetNeighbor(ctx, addrB.Addr(), control.Neighbor{MAC: "ff:ff:ff:ff:ff:ff"}) }, syscall.EINVAL, "02:00"},
		"off-link neighbour": {func() error { return c.SetNeighbor(ctx, far.Addr().Next(), control.Neighbor{MAC: "02:00:00:00:00:01"}) }, syscall.ENODEV, "no port"},
		"both filters": {func() error {
			_, err := c.SetFilter(ctx, "wire0", control.Filter{Object: "/a", Rules: "b"})
			return err
		}, syscall.EINVAL, "either"},
		"no filter": {func() error { _, err := c.SetFilter(ctx, "wire0", control.Filter{}); return err }, syscall.EINVAL, "either"},
		"bad rules": {func() error {
			_, err := c.SetFilter(ctx, "wire0", control.Filter{Rules: "accept\nkeep all"})
			return err
		}, syscall.EINVAL, "line 2"},
		"relative object":  {func() error { _, err := c.SetFilter(ctx, "wire0", control.Filter{Object: "a.o"}); return err }, syscall.EINVAL, "absolute"},
		"no such object":   {func() error { _, err := c.SetFilter(ctx, "wire0", control.Filter{Object: "/nosuch/a.o"}); return err }, fs.ErrNotExist, "/nosuch/a.o"},
		"no object":        {func() error { _, err := c.SetFilter(ctx, "wire0", control.Filter{Object: text}); return err }, filter.ErrNotObject, text},
		"a pipe":           {func() error { _, err := c.SetFilter(ctx, "wire0", control.Filter{Object: pipe}); return err }, filter.ErrNotObject, "regular"},
		"no program":       {func() error { _, err := c.SetFilter(ctx, "wire0", control.Filter{Object: empty}); return err }, filter.ErrNoProgram, "empty.o"},
		"VLAN list":        {func() error { _, err := c.SetVLANs(ctx, "42-40"); return err }, syscall.EINVAL, "42-45,100"},
		"VLAN list with 1": {func() error { _, err := c.SetVLANs(ctx, "5,1"); return err }, syscall.EINVAL, "2 to 4094"},
	} {
		err := tc.call()
		if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.say) {
			t.Errorf("%s: got %v, want %v and %q", name, err, tc.want, tc.say)
		}
		var own *control.Error
		if !errors.As(err, &own) || own.Status < 400 {
			t.Errorf("%s: %#v is no answer of the server", name, err)
		}
	}
	if ports, err := c.Ports(ctx); err != nil || len(ports) != 1 || len(ports[0].Addresses) != 1 {
		t.Errorf("what failed has changed something: %+v, %v", ports, err)
	}
	if f, err := c.Filter(ctx, "wire0"); err != nil || f.Kind != "default" {
		t.Errorf("what failed has changed the filter: %+v, %v", f, err)
	}
}

// raw sends what a client of ours would not.
func (r *rig) raw(t *testing.T, method, target, body string) (status int, text string) {
	t.Helper()
	c := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", r.path)
		},
	}}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://app"+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	all, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(all)
}

func TestMalformedRequests(t *testing.T) {
	r := newRig(t, nil)
	for _, tc := range []struct {
		method, target, body string
		status               int
		say                  string
	}{
		{"GET", "/", "", 404, "openapi.json"},
		{"PATCH", "/v1/ports", "", 404, "PATCH"},
		{"POST", "/v1/ports", "", 400, "one JSON object"},
		{"POST", "/v1/ports", "null", 400, "one JSON object"},
		{"POST", "/v1/ports", "[]", 400, "one JSON object"},
		{"POST", "/v1/ports", "{}", 400, "interface"},
		{"POST", "/v1/ports", `{"interface": "wire0", "colour": 1}`, 400, "colour"},
		{"POST", "/v1/ports", `{"interface": "wire0"} {}`, 400, "one JSON object"},
		{"POST", "/v1/ports", `{"interface": 7}`, 400, "interface"},
		{"POST", "/v1/ports", `{"interface": "wire0", "addresses": ["10.0.0.1"]}`, 400, "10.0.0.1"},
		{"POST", "/v1/ports", `{"interface": "` + strings.Repeat("x", control.MaxBody) + `"}`, 413, "longer"},
		{"PUT", "/v1/devices/wire0/diversion", `{}`, 400, "on"},
		{"GET", "/v1/ports", `{}`, 400, "no body"},
		{"GET", "/v1/ports?all=1", "", 400, "all"},
		{"GET", "/v1/ports?%zz", "", 400, "query"},
		{"DELETE", "/v1/ports/wire0?force=perhaps", "", 400, "true or false"},
		{"DELETE", "/v1/ports/wire0/addresses", "", 400, "address="},
		{"DELETE", "/v1/routes", "", 400, "destination="},
		{"DELETE", "/v1/routes?destination=here", "", 400, "here"},
		{"PUT", "/v1/neighbors/here", `{"mac": "02:00:00:00:00:01"}`, 400, "here"},
		{"POST", "/v1/solicitations", `{"address": "10.0.0.2", "timeout_ms": -1}`, 400, "timeout_ms"},
		{"PUT", "/v1/routes", `{"destination": "10.9.0.0/16", "port": "wire0", "connected": true}`, 400, "connected"},
	} {
		body := tc.body[:min(len(tc.body), 60)]
		if status, text := r.raw(t, tc.method, tc.target, tc.body); status != tc.status || !strings.Contains(text, tc.say) || !strings.Contains(text, `"error"`) {
			t.Errorf("%s %s %s: got %d %s, want %d and %q", tc.method, tc.target, body, status, text, tc.status, tc.say)
		}
	}
}

// The kernel's verifier has its say in the answer, and leaves no file.
func TestVerifierLogReachesTheClient(t *testing.T) {
	text := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(text, []byte("R1 invalid mem access"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused := &filter.VerifierError{Log: []string{"0: (b7) r0 = 1", "R1 invalid mem access"}, File: text}
	r := newRig(t, &control.Config{Default: "bad", Openers: map[string]control.Opener{
		"bad": func(string) (link.Link, error) { return nil, refused },
	}})
	_, err := r.client.EnablePort(t.Context(), control.EnableRequest{Interface: "bad0"})
	var own *control.Error
	if !errors.As(err, &own) || own.Kind != "verifier" || len(own.Log) != 2 || !strings.Contains(err.Error(), "R1 invalid mem access") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(text); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the log is left behind: %v", err)
	}
}

// An opener that takes longer than a request may, and one whose client has
// gone: the link is closed again.
func TestLateLinkIsClosed(t *testing.T) {
	opened := make(chan struct{})
	l, err := loopback.New(&loopback.Config{Name: "late0"})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, &control.Config{Default: "late", Timeout: 50 * time.Millisecond, Openers: map[string]control.Opener{
		"late": func(string) (link.Link, error) {
			defer close(opened)
			time.Sleep(200 * time.Millisecond)
			return l, nil
		},
	}})
	_, err = r.client.EnablePort(t.Context(), control.EnableRequest{Interface: "late0"})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	<-opened
	if n := len(r.stack.Devices()); n != 0 {
		t.Errorf("%d devices", n)
	}
	if state := l.State(); state == link.Up {
		t.Errorf("the link is %v", state)
	}
}

// The time for a request to come ends one that does not, and none that is
// under way.
func TestTimeForBodies(t *testing.T) {
	cfg := &control.Config{}
	cfg.SetBodyTime(200 * time.Millisecond)
	r := newRig(t, cfg)
	r.enable(t, "wire0", addrA)
	if err := r.client.Solicit(t.Context(), control.SolicitRequest{Address: addrB.Addr().Next(), TimeoutMS: 1000}); !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("a request that waits: %v", err)
	}
	for _, part := range []string{"", "GET /v1/ports HTTP/1.1\r\n", "POST /v1/ports HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{"} {
		c, err := net.Dial("unix", r.path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, part); err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Errorf("%q: the connection is not ended: %v", part, err)
		}
	}
}

// Connections beyond the limit wait until another one ends.
func TestManyConnections(t *testing.T) {
	r := newRig(t, nil)
	var held []net.Conn
	for range control.MaxConns {
		c, err := net.Dial("unix", r.path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		held = append(held, c)
	}
	answered := make(chan error, 1)
	go func() {
		c, err := control.Dial(r.path)
		if err == nil {
			err = c.Close()
		}
		answered <- err
	}()
	for _, c := range held {
		c.Close()
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

func TestClosedStack(t *testing.T) {
	r := newRig(t, nil)
	if err := r.stack.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.client.EnablePort(t.Context(), control.EnableRequest{Interface: "wire0", Addresses: []netip.Prefix{addrA}}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
	if ports, err := r.client.Ports(t.Context()); err != nil || len(ports) != 0 {
		t.Errorf("got %v, %v", ports, err)
	}
}

func TestBadConfig(t *testing.T) {
	s, err := stack.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		path string
		cfg  control.Config
		want error
		say  string
	}{
		"timeout":   {"s", control.Config{Timeout: -1}, syscall.EINVAL, "timeout"},
		"default":   {"s", control.Config{Default: "afxdp"}, syscall.EINVAL, "afxdp"},
		"group":     {"s", control.Config{Group: "no-such-group"}, syscall.EINVAL, "no-such-group"},
		"no folder": {"nosuch/s", control.Config{}, fs.ErrNotExist, "nosuch"},
		"a file":    {"file", control.Config{}, syscall.EEXIST, "no socket"},
		"long path": {strings.Repeat("x", 120), control.Config{}, syscall.EINVAL, "xxx"},
	} {
		srv, err := control.ServeConfig(s, filepath.Join(folder, tc.path), &tc.cfg)
		if err == nil {
			srv.Close()
		}
		if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.say) {
			t.Errorf("%s: got %v, want %v and %q", name, err, tc.want, tc.say)
		}
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("a file that is no socket was taken away: %v", err)
	}
}
