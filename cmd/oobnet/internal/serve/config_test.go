package serve

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/afxdp"
	"github.com/oobnet/oobnet/stack"
)

const whole = `
socket: /run/app.sock
group: netops
objects: filters
timeout: 20s
devices:
  eth1:
    pool_size: 4096
    buffer_size: 2048
    rx_buffers: 512
    queues: 2
    mode: native
    zero_copy: "off"
    queueing: priority
    poll: 5ms
    priority: 50
    rx_cpus: [2, 3]
    tx_cpus: [3]
    lock_memory: true
    prefault: true
    watchdog: 100us
    filter: {object: verdict.o, section: oobnet}
  0000:02:00.0: {queues: 4, max_pool_size: 8192, max_rx_buffers: 4096}
ports:
  eth1: {addresses: [192.0.2.1/24, 192.0.2.7/24]}
  eth1.42: {addresses: [198.51.100.1/24], mtu: 1400, enable: false}
  0000:02:00.0: {addresses: [203.0.113.1/24]}
routes:
  - {to: 10.0.0.0/8, via: 192.0.2.254, port: eth1}
neighbors:
  - {address: 192.0.2.9, mac: "02:00:00:00:00:09", port: eth1}
neighbor_table: neighbors.txt
vlans: 42-45,100
services: {echo: 7, discard: 9, latmus: 59059}
`

func TestWholeConfig(t *testing.T) {
	c, err := Parse("/etc/oobnet.yaml", []byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	d := c.Devices["eth1"]
	if d.Kind != "afxdp" || c.Devices["0000:02:00.0"].Kind != "vfio" || d.cfg.PoolSize != 4096 || d.cfg.Poll != link.BlockTimeout(5*time.Millisecond) ||
		d.cfg.Queueing != stack.StrictPriority || !slices.Equal(d.cfg.RXCPUs, []int{2, 3}) || d.cfg.Watchdog != 100*time.Microsecond || !d.cfg.LockMemory {
		t.Errorf("device %+v", d)
	}
	if d.afxdp != (afxdp.Config{Queues: 2, Mode: afxdp.Native, ZeroCopy: afxdp.ZeroCopyOff}) {
		t.Errorf("link %+v", d.afxdp)
	}
	nic := c.Devices["0000:02:00.0"]
	if got := nic.vfio(nil); got.Queues != 4 || nic.cfg.MaxPoolSize != 8192 || nic.cfg.MaxRXBuffers != 4096 {
		t.Errorf("NIC %+v, %+v", got, nic)
	}
	if p := c.Ports["eth1.42"]; p.cfg.VLAN != 42 || p.cfg.MTU != 1400 || p.atStart() || !slices.Equal(p.cfg.Addrs, []netip.Prefix{netip.MustParsePrefix("198.51.100.1/24")}) {
		t.Errorf("port %+v", p)
	}
	if c.Objects != "/etc/filters" || c.NeighborTable != "/etc/neighbors.txt" || d.Filter.Object != "/etc/filters/verdict.o" || c.Timeout != 20*time.Second {
		t.Errorf("paths %s, %s, %s, timeout %v", c.Objects, c.NeighborTable, d.Filter.Object, c.Timeout)
	}
	if _, err := Parse("", nil); err != nil {
		t.Errorf("an empty config: %v", err)
	}
}

// Each error names the line, the key and the way out.
func TestBadConfigs(t *testing.T) {
	for name, tc := range map[string]struct {
		text, at, say string
	}{
		"unknown key":        {"socket: /a\ncolour: red\n", ":2: colour: ", "unknown field"},
		"unknown inner key":  {"devices:\n  eth1:\n    pool: 3\n", ":3: devices.eth1.pool: ", "unknown field"},
		"wrong type":         {"devices:\n  eth1:\n    pool_size: many\n", ":3: devices.eth1.pool_size: ", "cannot unmarshal"},
		"twice":              {"socket: a\nsocket: b\n", ":2", "already"},
		"no YAML":            {"socket: [\n", ":1", "not found"},
		"a list":             {"- a\n", ":1", "mapping"},
		"two documents":      {"socket: a\n---\nsocket: b\n", "", "documents"},
		"timeout":            {"timeout: 20h\n", ":1: timeout: ", "at most"},
		"kind":               {"devices:\n  eth1: {kind: dpdk}\n", ":2: devices.eth1.kind: ", "afxdp or vfio"},
		"vfio by name":       {"devices:\n  eth1: {kind: vfio}\n", ":2: devices.eth1: ", "PCI"},
		"pool":               {"devices:\n  eth1:\n    poll: busy\n    pool_size: 32769\n", ":4: devices.eth1.pool_size: ", "32768"},
		"buffer":             {"devices:\n  eth1: {buffer_size: 3000}\n", ":2: devices.eth1.buffer_size: ", "power of two"},
		"buffers of 8 pages": {"devices:\n  eth1: {buffer_size: 32768}\n", ":2: devices.eth1.buffer_size: ", "16384"},
		"RX buffers":         {"devices:\n  eth1: {rx_buffers: 7}\n", ":2: devices.eth1.rx_buffers: ", "power of two"},
		"max pool":           {"devices:\n  eth1: {max_pool_size: 40000}\n", ":2: devices.eth1.max_pool_size: ", "32768"},
		"max RX":             {"devices:\n  eth1: {max_rx_buffers: 1000}\n", ":2: devices.eth1.max_rx_buffers: ", "power of two"},
		"queues":             {"devices:\n  eth1: {queues: -1}\n", ":2: devices.eth1.queues: ", "0 for all"},
		"priority":           {"devices:\n  eth1: {priority: 100}\n", ":2: devices.eth1.priority: ", "1 to 99"},
		"CPU":                {"devices:\n  eth1: {rx_cpus: [0, -2]}\n", ":2: devices.eth1.rx_cpus[1]: ", "no CPU"},
		"mode":               {"devices:\n  eth1: {mode: fast}\n", ":2: devices.eth1.mode: ", "native"},
		"zero copy":          {"devices:\n  eth1: {zero_copy: maybe}\n", ":2: devices.eth1.zero_copy: ", "require"},
		"generic zero copy":  {"devices:\n  eth1: {mode: generic, zero_copy: require}\n", ":2: devices.eth1.zero_copy: ", "copies"},
		"AF_XDP's memory":    {"devices:\n  eth1:\n    max_pool_size: 4096\n", ":3: devices.eth1.max_pool_size: ", "fixed"},
		"AF_XDP's RX memory": {"devices:\n  eth1:\n    max_rx_buffers: 4096\n", ":3: devices.eth1.max_rx_buffers: ", "fixed"},
		"AF_XDP's buffers":   {"devices:\n  eth1: {buffer_size: 8192}\n", ":2: devices.eth1.buffer_size: ", "4096"},
		"small buffers":      {"devices:\n  eth1: {buffer_size: 1024}\n", ":2: devices.eth1.buffer_size: ", "2048"},
		"less than at once":  {"devices:\n  0000:02:00.0: {max_pool_size: 1024}\n", ":2: devices.0000:02:00.0.max_pool_size: ", "2048"},
		"less RX":            {"devices:\n  0000:02:00.0: {max_rx_buffers: 512}\n", ":2: devices.0000:02:00.0.max_rx_buffers: ", "1024"},
		"NIC by AF_XDP":      {"devices:\n  0000:02:00.0: {kind: afxdp}\n", ":2: devices.0000:02:00.0.kind: ", "interfaces"},
		"NIC's mode":         {"devices:\n  0000:02:00.0:\n    queues: 1\n    mode: native\n", ":4: devices.0000:02:00.0.mode: ", "afxdp"},
		"NIC's zero copy":    {"devices:\n  0000:02:00.0: {zero_copy: \"off\"}\n", ":2: devices.0000:02:00.0.zero_copy: ", "afxdp"},
		"watchdog":           {"devices:\n  eth1: {watchdog: -1s}\n", ":2: devices.eth1.watchdog: ", "duration"},
		"rules":              {"devices:\n  eth1:\n    filter:\n      rules: accept nonsense\n", ":4: devices.eth1.filter.rules: ", "nonsense"},
		"rules' section":     {"devices:\n  eth1: {filter: {rules: accept, section: a}}\n", ":2: devices.eth1.filter.section: ", "no sections"},
		"rules' function":    {"devices:\n  eth1: {filter: {rules: accept, function: a}}\n", ":2: devices.eth1.filter.function: ", "no functions"},
		"VLANs":              {"socket: a\nvlans: 1\n", ":2: vlans: ", "2 to 4094"},
		"VLANs backwards":    {"vlans: 45-42\n", ":1: vlans: ", "42-45,100"},
		"group's MAC":        {"neighbors:\n- {address: 192.0.2.2, mac: \"01:00:5e:00:00:01\"}\n", ":2: neighbors[0].mac: ", "one station"},
		"no MAC":             {"neighbors:\n- {address: 192.0.2.2, mac: \"00:00:00:00:00:00\"}\n", ":2: neighbors[0].mac: ", "one station"},
		"group's address":    {"ports:\n  eth1: {addresses: [224.0.0.1/24]}\n", ":2: ports.eth1.addresses[0]: ", "one station"},
		"small MTU":          {"ports:\n  eth1: {mtu: 67}\n", ":2: ports.eth1.mtu: ", "68"},
		"poll":               {"devices:\n  eth1: {poll: manual}\n", ":2: devices.eth1.poll: ", "adaptive"},
		"queueing":           {"devices:\n  eth1: {queueing: fair}\n", ":2: devices.eth1.queueing: ", "fifo"},
		"filter":             {"devices:\n  eth1:\n    filter: {section: a}\n", ":3: devices.eth1.filter: ", "either"},
		"port's name":        {"ports:\n  eth1.1: {}\n", ":2: ports.eth1.1: ", "2 to 4094"},
		"address":            {"ports:\n  eth1:\n    addresses:\n    - 192.0.2.1/24\n    - 192.0.2.2\n", ":5: ports.eth1.addresses[1]: ", "prefix length"},
		"IPv6":               {"ports:\n  eth1: {addresses: [\"2001:db8::1/64\"]}\n", ":2: ports.eth1.addresses[0]: ", "IPv4"},
		"address twice":      {"ports:\n  eth1: {addresses: [192.0.2.1/24]}\n  eth2: {addresses: [192.0.2.1/24]}\n", ":3: ports.eth2.addresses[0]: ", "eth1"},
		"MTU":                {"ports:\n  eth1: {mtu: -1}\n", ":2: ports.eth1.mtu: ", "bytes"},
		"route":              {"routes:\n- {to: here, port: eth1}\n", ":2: routes[0].to: ", "198.51.100.0/24"},
		"gateway":            {"ports: {eth1: {}}\nroutes:\n- {to: 10.0.0.0/8, via: here, port: eth1}\n", ":3: routes[0].via: ", "IPv4"},
		"route's port":       {"ports:\n  eth1: {enable: false}\nroutes:\n- to: 10.0.0.0/8\n  port: eth2\n", ":5: routes[0].port: ", "under ports"},
		"route without":      {"routes:\n- to: 10.0.0.0/8\n", ":2: routes[0].port: ", "under ports"},
		"route twice":        {"ports:\n  eth1: {}\nroutes:\n- {to: 10.0.0.0/8, port: eth1}\n- {to: 10.1.0.0/8, port: eth1}\n", ":5: routes[1].to: ", "routes[0]"},
		"gateway elsewhere":  {"ports:\n  eth1: {addresses: [192.0.2.1/24]}\nroutes:\n- {to: 10.0.0.0/8, via: 192.0.3.1, port: eth1}\n", ":4: routes[0].via: ", "no network of port eth1"},
		"neighbour":          {"neighbors:\n- {address: here}\n", ":2: neighbors[0].address: ", "IPv4"},
		"MAC":                {"neighbors:\n- {address: 192.0.2.2, mac: here}\n", ":2: neighbors[0].mac: ", "02:00"},
		"neighbour's port":   {"neighbors:\n- {address: 192.0.2.2, mac: \"02:00:00:00:00:01\", port: eth7}\n", ":2: neighbors[0].port: ", "under ports"},
		"neighbour nowhere":  {"ports:\n  eth1: {addresses: [192.0.3.1/24]}\nneighbors:\n- {address: 192.0.2.2, mac: \"02:00:00:00:00:01\"}\n", ":4: neighbors[0].address: ", "no network"},
		"neighbour elsewhere": {"ports:\n  eth1: {addresses: [192.0.3.1/24]}\nneighbors:\n- {address: 192.0.2.2, mac: \"02:00:00:00:00:01\", port: eth1}\n",
			":4: neighbors[0].address: ", "port eth1"},
		"object elsewhere": {"objects: /etc/filters\ndevices:\n  eth1:\n    filter: {object: ../verdict.o}\n", ":4: devices.eth1.filter.object: ", "folder for objects"},
		"services":         {"services: {echo: 7, discard: 7}\n", ":1: services: ", "same UDP port"},
		"service's port":   {"services: {echo: 70000}\n", ":1: services.echo: ", ""},
	} {
		_, err := Parse("x.yaml", []byte(tc.text))
		var own *ConfigError
		if !errors.As(err, &own) {
			t.Errorf("%s: got %v", name, err)
			continue
		}
		if text := err.Error(); !strings.HasPrefix(text, "x.yaml"+tc.at) || !strings.Contains(text, tc.say) {
			t.Errorf("%s: got %q, want x.yaml%s and %q", name, text, tc.at, tc.say)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(filepath.Join(dir, "nosuch")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	long := filepath.Join(dir, "long.yaml")
	if err := os.WriteFile(long, []byte(strings.Repeat("# long\n", maxFile/7+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(long); !errors.Is(err, syscall.EFBIG) {
		t.Errorf("got %v", err)
	}
	good := filepath.Join(dir, "good.yaml")
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "filters"), 0o700), os.WriteFile(good, []byte("objects: filters\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if c, err := Load(good); err != nil || c.Objects != filepath.Join(dir, "filters") {
		t.Errorf("got %+v, %v", c, err)
	}
}

// What a config names has to be there, and right.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	object, err := os.ReadFile("../../../../filter/testdata/verdict.o")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"objects/verdict.o": string(object), "objects/text.o": "no object\n", "outside.o": string(object),
		"table": "192.0.2.8 02:00:00:00:00:08 # a drive\n", "elsewhere": "# one\n192.0.9.8 02:00:00:00:00:08\n",
		"group": "192.0.2.8 03:00:00:00:00:08\n", "port": "192.0.2.8 02:00:00:00:00:08 eth7\n",
	} {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../outside.o", filepath.Join(dir, "objects/link.o")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "x.yaml")
	const port = "ports: {eth1: {addresses: [192.0.2.1/24]}}\n"
	for text, want := range map[string]string{
		"objects: objects\ndevices: {eth1: {filter: {object: verdict.o}}}\n":                   "",
		"devices: {eth1: {filter: {object: outside.o, function: verdict}}}\n":                  "",
		port + "neighbor_table: table\n":                                                       "",
		"group: no-such-group\n":                                                               ":1: group: ",
		"objects: nosuch\n":                                                                    ":1: objects: ",
		"objects: table\n":                                                                     ":1: objects: ",
		"objects: objects\ndevices: {eth1: {filter: {object: nosuch.o}}}\n":                    ":2: devices.eth1.filter.object: ",
		"objects: objects\ndevices: {eth1: {filter: {object: text.o}}}\n":                      ":2: devices.eth1.filter.object: ",
		"objects: objects\ndevices: {eth1: {filter: {object: link.o}}}\n":                      ":2: devices.eth1.filter.object: ",
		"objects: objects\ndevices: {eth1: {filter: {object: verdict.o, function: nosuch}}}\n": ":2: devices.eth1.filter.object: ",
		"devices: {eth1: {filter: {object: objects}}}\n":                                       ":1: devices.eth1.filter.object: ",
		port + "neighbor_table: nosuch\n":                                                      ":2: neighbor_table: ",
		port + "neighbor_table: elsewhere\n":                                                   ":2: neighbor_table: line 2: ",
		port + "neighbor_table: group\n":                                                       ":2: neighbor_table: ",
		port + "neighbor_table: port\n":                                                        ":2: neighbor_table: line 1: ",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(file)
		var own *ConfigError
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", text, err)
		case want != "" && (!errors.As(err, &own) || !strings.HasPrefix(err.Error(), file+want)):
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

// Whatever the bytes are, there is a config or an error.
func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte("a: &a [*a]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if c, err := Parse("x.yaml", text); err == nil && c == nil || err != nil && err.Error() == "" {
			t.Error(fmt.Sprint(c, err))
		}
	})
}
