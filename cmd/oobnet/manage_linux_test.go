package main

import (
	"encoding/json"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/oobnet/oobnet/arp"
	"github.com/oobnet/oobnet/control"
	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stats"
)

// site is a stack that is managed, with a peer at the other end of a wire, which
// echoes.
type site struct {
	t          *testing.T
	host, peer *stacktest.Host
	socket     string
}

func newSite(t *testing.T) *site {
	t.Helper()
	leaktest.Check(t)
	s := &site{t: t, socket: filepath.Join(t.TempDir(), "s")}
	s.host, s.peer = stacktest.Pair(t, &stacktest.Options{Loopback: loopback.Config{Name: "wire"}})
	server, err := control.Serve(s.host.Stack, s.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	echo, err := udp.Listen(s.peer.Stack, s.peer.At(7), nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		echo.Close()
		<-done
	})
	go func() {
		defer close(done)
		b := make([]byte, 2048)
		for {
			n, from, err := echo.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			if _, err := echo.WriteToUDPAddrPort(b[:n], from); err != nil {
				t.Error(err)
			}
		}
	}()
	return s
}

// run runs a command line against the site's socket.
func (s *site) run(line string) (stdout string, err error) {
	s.t.Helper()
	stdout, stderr, err := command(s.t.Context(), append(strings.Fields(line), "--socket", s.socket)...)
	if stderr != "" {
		s.t.Errorf("%s: on stderr: %s", line, stderr)
	}
	return stdout, err
}

// want runs one that has to go well.
func (s *site) want(line string) string {
	s.t.Helper()
	out, err := s.run(line)
	if err != nil {
		s.t.Fatalf("%s: %v", line, err)
	}
	return out
}

// json runs one with --json, and reads what it prints.
func (s *site) json(line string, into any) {
	s.t.Helper()
	out := s.want(line + " --json")
	if err := json.Unmarshal([]byte(out), into); err != nil {
		s.t.Errorf("%s: %v in %s", line, err, out)
	}
}

// varying is what is different from run to run: durations, MAC addresses that
// were chosen, and the process.
var varying = regexp.MustCompile(`process \d+, oobnet \S+ up \S+;|\b\d+(\.\d+)?(ns|µs|us|ms|s)\b|\b02:6f:[0-9a-f:]+`)

// steady takes that out, and the spaces that go with it.
func steady(text string) string {
	text = varying.ReplaceAllString(text, "N")
	return regexp.MustCompile(` {2,}`).ReplaceAllString(text, "  ")
}

func TestStatus(t *testing.T) {
	s := newSite(t)
	golden(t, "status.txt", steady(strings.ReplaceAll(s.want("status"), s.host.Device.Name(), "IF")))
	var o overview
	s.json("status", &o)
	if len(o.Devices) != 1 || len(o.Ports) != 1 || o.Devices[0].Name != s.host.Device.Name() || o.Ports[0].MTU != s.host.Port.MTU() || o.PID == 0 {
		t.Errorf("%+v", o)
	}
}

func TestRoute(t *testing.T) {
	s := newSite(t)
	name := s.host.Port.Name()
	if out := s.want("route add 198.51.100.7/24 via 10.0.0.2 dev " + name); out != "" {
		t.Errorf("it says %q", out)
	}
	s.want("route add default via 10.0.0.2 dev " + name)
	s.want("route add 203.0.113.9 dev " + name)
	golden(t, "route.txt", steady(strings.ReplaceAll(s.want("route"), name, "IF")))
	if a, b := s.want("route"), s.want("route list"); a != b {
		t.Errorf("route says %s, and route list %s", a, b)
	}
	var added control.Route
	s.json("route add 198.51.101.0/24 dev "+name, &added)
	if added.Destination != netip.MustParsePrefix("198.51.101.0/24") {
		t.Errorf("%+v", added)
	}
	for _, dst := range []string{"198.51.100.0/24", "default", "203.0.113.9", "198.51.101.0/24"} {
		s.want("route del " + dst)
	}
	var routes []control.Route
	if s.json("route list", &routes); len(routes) != 1 || !routes[0].Connected {
		t.Errorf("%+v", routes)
	}
}

func TestNeigh(t *testing.T) {
	s := newSite(t)
	name := s.host.Port.Name()
	if out := s.want("neigh"); !strings.HasPrefix(out, "no neighbours") {
		t.Error(out)
	}
	s.want("neigh add 10.0.0.9 02:00:00:00:00:09 -i " + name)
	out := s.want("neigh solicit 10.0.0.2")
	if want := "10.0.0.2 is at " + arpInfo(t, s).MAC + " on " + name + "\n"; out != want {
		t.Errorf("%q, want %q", out, want)
	}
	golden(t, "neigh.txt", steady(strings.ReplaceAll(s.want("neigh"), name, "IF")))
	for _, addr := range []string{"10.0.0.9", "10.0.0.2"} {
		s.want("neigh del " + addr)
	}
	var cache control.FrontCache
	if s.json("neigh list", &cache); len(cache.Entries) != 0 {
		t.Errorf("%+v", cache.Entries)
	}
	var n control.Neighbor
	if s.json("neigh add 10.0.0.9 02-00-00-00-00-09", &n); n.MAC != "02:00:00:00:00:09" {
		t.Errorf("%+v", n)
	}
	var e arp.Info
	if s.json("neigh solicit 10.0.0.2 --permanent", &e); !e.Permanent {
		t.Errorf("%+v", e)
	}
}

// arpInfo is the entry of the peer.
func arpInfo(t *testing.T, s *site) arp.Info {
	t.Helper()
	for _, e := range s.host.Stack.FrontCache().Dump() {
		if e.Dst == s.peer.Addr {
			return e
		}
	}
	t.Fatal("the peer is not known")
	return arp.Info{}
}

func TestPing(t *testing.T) {
	s := newSite(t)
	name := s.host.Port.Name()
	golden(t, "ping.txt", steady(strings.ReplaceAll(s.want("ping 10.0.0.2 -c 3 -t 1ms"), name, "IF")))
	var r pingReport
	s.json("ping 10.0.0.2 -c 25 -t 100ms -s 1000", &r) // three turns
	if r.Sent != 25 || r.Received != 25 || r.Lost != 0 || len(r.Echoes) != 25 || r.BestNS == 0 || r.WorstNS < r.MeanNS || r.MeanNS < r.BestNS {
		t.Errorf("%+v", r)
	}
	out := s.want("ping 10.0.0.2 --arp -q -c 2 -t 1ms")
	if mac := arpInfo(t, s).MAC; !strings.Contains(out, "10.0.0.2 is at "+mac+"\n") || strings.Contains(out, "1: ") {
		t.Error(out)
	}
}

func TestPingLost(t *testing.T) {
	s := newSite(t)
	out, err := s.run("ping 10.0.0.2 -p 9 -c 2 -W 200ms -i " + s.host.Port.Name())
	if err == nil || !strings.Contains(err.Error(), "2 of 2 were not answered") || !strings.Contains(err.Error(), "refused") || !strings.Contains(out, "100.0%") {
		t.Errorf("%v:\n%s", err, out)
	}
	out, err = s.run("ping 10.0.0.77 --arp -c 2 -W 10ms -t 1ms")
	if err == nil || !strings.Contains(out, "2: lost\n") {
		t.Errorf("%v:\n%s", err, out)
	}
	if out, err = s.run("ping 10.0.0.77 -c 1 -W 50ms"); err == nil || !strings.Contains(err.Error(), "no answer to ARP") {
		t.Errorf("%v:\n%s", err, out)
	}
}

func TestStats(t *testing.T) {
	s := newSite(t)
	s.want("ping 10.0.0.2 -c 3 -t 1ms")
	stacktest.AssertBooks(t, s.host.Device)
	out := strings.ReplaceAll(s.want("stats"), s.host.Device.Name(), "IF")
	for _, want := range []string{"DEVICE", "\nPORT", "\nPROTOCOL", "\nudp ", "\nIF  in-band  "} {
		if !strings.Contains(steady(out), want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	var picture stats.Snapshot
	s.json("stats -i "+s.host.Port.Name(), &picture)
	if len(picture.Devices) != 1 || picture.Devices[0].RX.Delivered < 3 || picture.Devices[0].RX.UnderWay() != 0 {
		t.Errorf("%+v", picture.Devices)
	}
	c, err := udp.Listen(s.host.Stack, s.host.At(4000), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if out := s.want("stats --sockets"); !strings.Contains(steady(out), "\nudp  10.0.0.1:4000  ") {
		t.Errorf("no socket in:\n%s", out)
	}
}
