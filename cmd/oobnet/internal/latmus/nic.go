package latmus

import (
	"os"
	"path/filepath"
	"strings"
)

// nicFiles are the settings of an interface that latency depends on, as sysfs
// names them. A namespace other than the process's own has none here.
var nicFiles = []string{"mtu", "operstate", "speed", "duplex", "tx_queue_len", "gro_flush_timeout", "napi_defer_hard_irqs", "threaded"}

// nicSettings reads them; nil: there is no interface, or nothing to read.
func nicSettings(ifname string) map[string]string {
	if ifname == "" {
		return nil
	}
	dir := filepath.Join("/sys/class/net", filepath.Base(ifname))
	var out map[string]string
	for _, name := range nicFiles {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			if out == nil {
				out = map[string]string{}
			}
			out[name] = strings.TrimSpace(string(b))
		}
	}
	return out
}
