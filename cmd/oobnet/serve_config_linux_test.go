package main

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/latmus"
	"github.com/oobnet/oobnet/cmd/oobnet/internal/serve"
	"github.com/oobnet/oobnet/control"
	"github.com/oobnet/oobnet/internal/leaktest"
)

// A device whose ports wait has its filter when the first one comes, with what the
// file has for the port; what then cannot be done is said with its line, and leaves
// the port disabled.
func TestServeLater(t *testing.T) {
	leaktest.Check(t)
	w := testWire(t)
	socket := filepath.Join(t.TempDir(), "s")
	name := w.A.IfName
	end := serveOn(t, w.A, socket, strings.ReplaceAll(`
devices:
  IF: {filter: {rules: "accept ethertype ipv4,arp"}}
ports:
  IF: {addresses: [192.0.2.1/24], enable: false}
  IF.7: {addresses: [198.51.100.1/24], enable: false}
routes:
  - {to: 10.0.0.0/8, via: 192.0.2.254, port: IF}
  - {to: 10.7.0.0/16, via: 198.51.100.254, port: IF.7}
neighbors:
  - {address: 192.0.2.9, mac: "02:00:00:00:00:09"}
`, "IF", name))
	c, ctx := client(t, socket), t.Context()
	if out, _, err := command(ctx, "net", "--socket", socket, "-ei", name); err != nil {
		t.Fatalf("%q, %v", out, err)
	}
	if f, err := c.Filter(ctx, name); err != nil || f.Kind != "rules" {
		t.Errorf("filter %+v, %v", f, err)
	}
	if fc, err := c.FrontCache(ctx); err != nil || fc.Stats.Permanent != 1 {
		t.Errorf("front cache %+v, %v", fc, err)
	}
	taken := control.Route{Destination: netip.MustParsePrefix("10.7.0.0/16"), Port: name}
	if _, err := c.AddRoute(ctx, taken); err != nil {
		t.Fatal(err)
	}
	if _, _, err := command(ctx, "net", "--socket", socket, "-ei", name+".7"); err == nil || !strings.Contains(err.Error(), "oobnet.yaml:9: routes[1]: ") {
		t.Errorf("a route that is taken: %v", err)
	}
	if err := c.RemoveRoute(ctx, taken.Destination); err != nil {
		t.Fatal(err)
	}
	if out, _, err := command(ctx, "net", "--socket", socket, "-ei", name+".7"); err != nil {
		t.Errorf("%q, %v", out, err)
	}
	if routes, err := c.Routes(ctx); err != nil || len(routes) != 4 {
		t.Errorf("routes %+v, %v", routes, err)
	}
	if code, said := end(); code != 0 || said != "" {
		t.Errorf("serve ended with %d: %s", code, said)
	}
}

// An object that the kernel's verifier refuses is a problem of its line.
func TestServeFilterRefusedByVerifier(t *testing.T) {
	leaktest.Check(t)
	w := testWire(t)
	bad, err := filepath.Abs("../../filter/testdata/bad.o")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "oobnet.yaml")
	config := "ports: {IF: {}}\ndevices:\n  IF:\n    filter: {object: " + bad + "}\n"
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(config, "IF", w.A.IfName)), 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "serve", "--socket", filepath.Join(dir, "s"), "--config", file)
	cmd.Env = append(os.Environ(), commandEnv+"=1")
	var out []byte
	w.A.Do(func() { out, err = cmd.CombinedOutput() }) // the process is where the thread is
	if err == nil || !strings.Contains(string(out), file+":4: devices."+w.A.IfName+".filter: ") || !strings.Contains(string(out), "invalid access to packet") {
		t.Errorf("got %v, %s", err, out)
	}
}

// What the help shows is a config, and means what it says.
func TestServeHelp(t *testing.T) {
	leaktest.Check(t)
	_, text, ok := strings.Cut(serveCommand().Long, "A config is YAML:\n\n")
	text, _, more := strings.Cut(text, "\n\n")
	if !ok || !more {
		t.Fatal("the help has no example")
	}
	c, err := serve.Parse("/etc/oobnet.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if f := c.Devices["eth1"].Filter; f == nil || f.Object != "/etc/oobnet/filters/verdict.o" {
		t.Errorf("filter %+v", f)
	}
	if c.Services.Latmus != latmus.Port || len(c.Ports) != 2 || len(c.Routes) != 1 || len(c.Neighbors) != 1 {
		t.Errorf("%+v", c)
	}
}

// What goes wrong at the start names the line, and leaves nothing.
func TestServeFails(t *testing.T) {
	leaktest.Check(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "oobnet.yaml")
	socket := filepath.Join(dir, "s")
	for config, want := range map[string]string{
		"ports:\n  nosuch0: {addresses: [192.0.2.1/24]}\n": file + ":2: ports.nosuch0: ",
		"colour: red\n":          file + ":1: colour: unknown field",
		"vlans: 1\n":             file + ":1: vlans: ",
		"group: no-such-group\n": file + ":1: group: ",
		"objects: nosuch\n":      file + ":1: objects: ",
		"devices: {eth1: {filter: {rules: nonsense}}}\n":                   file + ":1: devices.eth1.filter.rules: ",
		"neighbor_table: nosuch\n":                                         file + ":1: neighbor_table: ",
		"neighbors:\n- {address: 192.0.2.9, mac: \"02:00:00:00:00:09\"}\n": file + ":2: neighbors[0].address: ",
	} {
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		flags := []string{"", "--check"}
		if strings.Contains(config, "nosuch0") {
			flags = flags[:1] // what is not there now may come
		}
		for _, flag := range flags {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			_, _, err := command(ctx, append([]string{"serve", "--socket", socket, "-c", file}, strings.Fields(flag)...)...)
			cancel()
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %s: got %v, want %q", config, flag, err, want)
			}
		}
		if _, err := os.Lstat(socket); err == nil {
			t.Errorf("%s: the socket is left behind", config)
		}
	}
	if err := os.WriteFile(file, []byte("services: {echo: 7}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, _, err := command(t.Context(), "serve", "--check", "-c", file); err != nil || out != file+": good\n" {
		t.Errorf("check: %q, %v", out, err)
	}
	if _, _, err := command(t.Context(), "serve", "--check"); err == nil || !strings.Contains(err.Error(), "--config") {
		t.Errorf("check of nothing: %v", err)
	}
	if _, _, err := command(t.Context(), "serve", "-c", filepath.Join(dir, "nosuch.yaml")); err == nil || !strings.Contains(err.Error(), "nosuch.yaml") {
		t.Errorf("no file: %v", err)
	}
}
