package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/latmus"
)

func TestLatmusBadInputIsOneLineWithTheWayOut(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"-i nosuch0 --addr 192.0.2.1/24 -E 192.0.2.2", "nosuch0"},
		{"-L lo -E 192.0.2.2", "--addr"},
		{"-i lo --addr 192.0.2.1/24", "-E"},
		{"-E 192.0.2.2", "-i"},
		{"-p 1", "50µs to 1s"},
		{"-p soon", "500us"},
		{"-T xd", "-T"},
		{"-S 20", "21 to 1472"},
		{"-H 1001", "1 to 1000"},
		{"-P 100", "1 to 99"},
		{"--vs windows", "kernel"},
		{"--vs kernel", "--rtt"},
		{"--stress hail", "gc, memory, flood"},
		{"--poll manual", "-P 0"},
		{"--veth -i lo --addr 192.0.2.1/24 -E 192.0.2.2", "leave -i out"},
		{"-i 0000:ff:1f.7 --addr 192.0.2.1/24 -E 192.0.2.2", "0000:ff:1f.7"},
		{"-i lo --addr 192.0.2.1/24 --echo --stress flood", "nobody to flood"},
		{"-i lo --addr 192.0.2.1/24 --echo --rtt", "--echo"},
	} {
		stdout, _, err := command(t.Context(), append([]string{"latmus"}, strings.Fields(c.args)...)...)
		switch {
		case err == nil:
			t.Errorf("%s: no error", c.args)
		case !strings.Contains(err.Error(), c.want):
			t.Errorf("%s: %q, want %q in it", c.args, err, c.want)
		case strings.Contains(err.Error(), "\n") || stdout != "":
			t.Errorf("%s: more than one line: %q, %q", c.args, err, stdout)
		}
	}
}

func TestLatmusWritesItsFiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	out, _, err := command(t.Context(), "latmus", "-P", "0", "-T", "300ms", "-p", "2ms", "--rtt", "--json",
		"-g", file("plot"), "--hdr", file("hdr"), "--svg", file("svg"), "--html", file("html"))
	if err != nil {
		t.Fatal(err)
	}
	var r latmus.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || r.Sent == 0 || len(r.Figures) != 6 {
		t.Errorf("%v in %s", err, out)
	}
	for name, want := range map[string]string{"plot": "# cell rx-sched rx-user tx-sched tx-user rx-read rtt\n", "hdr": "Tag=rx_sched,", "svg": "</svg>", "html": "</html>"} {
		b, err := os.ReadFile(file(name))
		if err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s: %v, no %q in\n%s", name, err, want, b)
		}
	}
}

func TestLatmusExitCodes(t *testing.T) {
	for _, c := range []struct {
		args string
		want int
	}{{"latmus -P 0 -T 10s -A 0.001", latmus.ExitAbort}, {"latmus -S 1", exitFailed}, {"latmus -P 0 -T 100ms --json", 0}} {
		if code := run(strings.Fields(c.args)); code != c.want {
			t.Errorf("%s: exit code %d, want %d", c.args, code, c.want)
		}
	}
}
