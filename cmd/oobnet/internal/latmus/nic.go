package latmus

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/doctor"
)

// nicFiles are the settings of an interface that latency depends on, and that
// sysfs alone tells. A namespace other than the process's own has none here.
var nicFiles = []string{"operstate", "speed", "duplex", "gro_flush_timeout", "napi_defer_hard_irqs", "threaded"}

// nicSettings reads what an interface is set to; nil: there is none.
func nicSettings(ifname string) map[string]string {
	card, err := doctor.LookAtCard(ifname)
	if err != nil {
		return nil // a NIC of link/vfio, which the kernel does not know
	}
	out := map[string]string{"mtu": fmt.Sprint(card.MTU), "queues": fmt.Sprint(card.Queues)}
	if card.Driver != "" {
		out["driver"] = card.Driver
	}
	if card.CoalescingError == nil {
		out["rx-usecs"] = fmt.Sprint(card.Coalescing.RX)
		out["adaptive-rx"] = fmt.Sprint(card.Coalescing.Adaptive)
	}
	if card.RingsError == nil {
		out["rings"] = fmt.Sprintf("rx %d of %d, tx %d of %d", card.Rings.RX, card.Rings.MaxRX, card.Rings.TX, card.Rings.MaxTX)
	}
	dir := filepath.Join("/sys/class/net", filepath.Base(ifname))
	for _, name := range nicFiles {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			out[name] = strings.TrimSpace(string(b))
		}
	}
	return out
}
