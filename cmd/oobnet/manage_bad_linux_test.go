package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
)

// managing are command lines that need a socket.
var managing = []string{
	"status", "ping 10.0.0.2", "neigh", "neigh list", "neigh add 10.0.0.9 02:00:00:00:00:09", "neigh del 10.0.0.9", "neigh solicit 10.0.0.2",
	"route", "route list", "route add 198.51.100.0/24 dev eth1", "route del 198.51.100.0/24", "stats",
}

// Without a server that admits us, each says why, in a line with the way out.
func TestManagingNobody(t *testing.T) {
	leaktest.Check(t)
	dir := t.TempDir()
	stale, absent := filepath.Join(dir, "stale"), filepath.Join(dir, "absent")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	for _, line := range managing {
		for socket, want := range map[string]error{absent: syscall.ENOENT, stale: syscall.ECONNREFUSED} {
			t.Setenv(socketEnv, socket)
			out, _, err := command(t.Context(), strings.Fields(line)...)
			if !errors.Is(err, want) || !strings.Contains(err.Error(), socket+": ") || strings.Contains(err.Error(), "\n") || out != "" {
				t.Errorf("%s on %s: %v, %q", line, filepath.Base(socket), err, out)
			}
		}
	}
}

// Who may not manage is told so: root's socket, asked by nobody.
func TestManagingForbidden(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to ask as another user")
	}
	s := newSite(t)
	// The two folders of a test are their user's alone; here the server decides.
	own := filepath.Dir(s.socket)
	for _, dir := range []string{own, filepath.Dir(own)} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, mode := range []os.FileMode{0o600, 0o666} { // the second: made accessible by accident
		if err := os.Chmod(s.socket, mode); err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{"status", "neigh del 10.0.0.2", "stats"} {
			out, code := asNobody(t, append(strings.Fields(line), "--socket", s.socket)...)
			if code != 1 || !strings.HasPrefix(out, "oobnet: control: ") || !strings.Contains(out, "denied") && !strings.Contains(out, "not permitted") {
				t.Errorf("%s, mode %o: exit %d, %s", line, mode, code, out)
			}
		}
	}
}

func TestManagingBadInput(t *testing.T) {
	s := newSite(t)
	name := s.host.Port.Name()
	for _, c := range []struct {
		args string
		want string
	}{
		{"status extra", "extra"},
		{"status --watch=1ms", "100ms"},
		{"status --watch=often", "often"},
		{"ping", "arg"},
		{"ping printer", "192.0.2.2"},
		{"ping ::1", "IPv4"},
		{"ping 10.0.0.2 -c 0", "--count"},
		{"ping 10.0.0.2 -t 10us", "1ms to"},
		{"ping 10.0.0.2 -W 1h", "--timeout"},
		{"ping 10.0.0.2 -p 0", "65535"},
		{"ping 10.0.0.2 -p 70000", "70000"},
		{"ping 10.0.0.2 -s 0", "16 to 65507"},
		{"ping 10.0.0.2 -s 15", "16 to 65507"},
		{"ping 10.0.0.2 -i nosuch0", "nosuch0 is not enabled"},
		{"ping 203.0.113.1", "unreachable"},
		{"ping 10.0.0.1", "ping a peer"},
		{"ping 10.0.0.255", "ping one"},
		{"ping 224.0.0.1", "one station"},
		{"neigh extra", "extra"},
		{"neigh add 10.0.0.9", "arg"},
		{"neigh add ten 02:00:00:00:00:09", "IPv4"},
		{"neigh add 10.0.0.9 zero", "MAC address"},
		{"neigh add 10.0.0.9 01:00:5e:00:00:09", "one station"},
		{"neigh add 192.0.2.9 02:00:00:00:00:09", "no port is on its network"},
		{"neigh add 10.0.0.9 02:00:00:00:00:09 -i nosuch0", "nosuch0 is not enabled"},
		{"neigh del 10.0.0.9", "not known"},
		{"neigh del ten", "IPv4"},
		{"neigh solicit 10.0.0.77 -W 20ms", "no answer to ARP"},
		{"neigh solicit 10.0.0.2 -W 0s", "1ms"},
		{"neigh solicit 203.0.113.1", "no port leads there"},
		{"neigh solicit 10.0.0.2 -i nosuch0", "nosuch0 is not enabled"},
		{"route extra", "extra"},
		{"route add", "arg"},
		{"route add ten dev " + name, "198.51.100.0/24"},
		{"route add 2001:db8::/32 dev " + name, "198.51.100.0/24"},
		{"route add 198.51.100.0/24 via ten dev " + name, "via \"ten\""},
		{"route add 198.51.100.0/24 via 10.0.0.2", "which port"},
		{"route add 198.51.100.0/24 via 10.0.0.2 dev", "what follows it"},
		{"route add 198.51.100.0/24 over " + name, "\"over\""},
		{"route add 198.51.100.0/24 dev nosuch0", "nosuch0 is not enabled"},
		{"route add 198.51.100.0/24 via 192.0.2.254 dev " + name, "192.0.2.254"},
		{"route del 198.51.100.0/24", "no such process"},
		{"route del ten", "198.51.100.0/24"},
		{"stats -i nosuch0", "nosuch0"},
		{"stats extra", "extra"},
	} {
		out, err := s.run(c.args)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") || out != "" {
			t.Errorf("%s: %v, want %q; it printed %q", c.args, err, c.want, out)
		}
	}
	if routes, cache := s.host.Stack.Routes(), s.host.Stack.FrontCache().Dump(); len(routes) != 1 || len(cache) != 0 {
		t.Errorf("something has changed: %v, %v", routes, cache)
	}
}

// Names come from the socket, and a shell that has none gets no files.
func TestCompletion(t *testing.T) {
	s := newSite(t)
	t.Setenv(socketEnv, s.socket)
	s.want("neigh add 10.0.0.9 02:00:00:00:00:09")
	name := s.host.Port.Name()
	for line, want := range map[string]string{
		"ping 10.0.0.2 -i ":                   name + "\n:4\n",
		"ping ":                               "10.0.0.9\t02:00:00:00:00:09\n:4\n",
		"neigh del ":                          "10.0.0.9\t02:00:00:00:00:09\n:4\n",
		"neigh del 10.0.0.9 ":                 ":4\n",
		"stats -i ":                           s.host.Device.Name() + "\n:4\n",
		"route add 198.51.100.0/24 ":          "via\ndev\n:4\n",
		"route add 198.51.100.0/24 dev ":      name + "\n:4\n",
		"status --socket /nosuch ":            ":4\n",
		"stats --socket /nosuch -i ":          ":4\n",
		"neigh solicit 10.0.0.2 --interface ": name + "\n:4\n",
		"man ":                                ":16\n",
	} {
		args := append([]string{"__complete"}, strings.Split(line, " ")...)
		if out, _, err := command(t.Context(), args...); err != nil || out != want {
			t.Errorf("%s: %q, want %q; %v", line, out, want, err)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if out, _, err := command(t.Context(), "completion", shell); err != nil || !strings.Contains(out, "__complete") {
			t.Errorf("%s: %v, %.100q", shell, err, out)
		}
	}
}

// --watch shows what has changed, until it is interrupted, which is no error.
func TestStatusWatch(t *testing.T) {
	s := newSite(t)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var out lines
	root := rootCommand()
	root.SetOut(&out)
	root.SetArgs([]string{"status", "--watch=100ms", "--socket", s.socket})
	ended := make(chan error, 1)
	go func() { ended <- root.ExecuteContext(ctx) }()
	out.wait(t, "10.0.0.1/24")
	if err := s.host.Port.AddAddr(netip.MustParsePrefix("192.0.2.1/24")); err != nil {
		t.Error(err)
	}
	out.wait(t, "192.0.2.1/24")
	interrupt()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it does not end")
	}
}

// lines is what a command has printed so far, and still prints.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) wait(t *testing.T, want string) {
	t.Helper()
	eventually(t, "it says "+want, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return strings.Contains(l.text.String(), want)
	})
}

// asNobody runs a command line in a process of another user.
func asNobody(t *testing.T, args ...string) (stderr string, code int) {
	t.Helper()
	const nobody = 65534
	// The test's own binary is in a folder that only its user may enter.
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	cmd := exec.CommandContext(t.Context(), "/proc/self/fd/3", args...)
	cmd.ExtraFiles = []*os.File{self}
	cmd.Dir = "/"
	cmd.Env = []string{commandEnv + "=1"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	var said bytes.Buffer
	cmd.Stderr = &said
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return said.String(), cmd.ProcessState.ExitCode()
}
