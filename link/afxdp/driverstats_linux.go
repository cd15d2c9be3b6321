package afxdp

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What becomes of a frame that a program sends back or redirects is the
// driver's to say, in the statistics that `ethtool -S` shows. Their names are
// the driver's own; these are the endings that are in use. There is one for
// each queue, one for the device, or both. Some write the queue's number behind
// the ending, as "[0]": gve.
var (
	txErrorNames       = []string{"xdp_tx_errors", "xdp_tx_err", "xdp_tx_drops"}
	redirectErrorNames = []string{
		"xdp_redirect_errors", "xdp_redirect_err", "xdp_redirect_fails",
		"xdp_redirect_fail",  // mlx4
		" redirect failures", // enetc: "Rx ring  0 redirect failures"
	}
)

const (
	// statisticSet is ETH_SS_STATS, nameLength ETH_GSTRING_LEN of
	// linux/ethtool.h.
	statisticSet = 1
	nameLength   = 32
	// maxStatistics bounds what is asked for: drivers have up to some thousand.
	maxStatistics = 1 << 16
	// newcomers is room for statistics that are added, with a queue, between
	// the question how many there are and the next: the kernel writes them all.
	newcomers = 1 << 10
	// Sizes of struct ethtool_sset_info with one size, of struct
	// ethtool_gstrings and of struct ethtool_stats without their contents, bytes.
	setInfoSize, stringsSize, statsSize = 20, 12, 8
)

// driverErrors reads counters that a driver has of failed transmissions and
// redirects. The zero value is of a driver that has none.
type driverErrors struct {
	count        int   // of all statistics of the device
	tx, redirect []int // which of them count
	// The sums at Open, and the last that were read.
	txWas, redirectWas, txNow, redirectNow uint64
}

// newDriverErrors finds the counters, and begins to count.
func newDriverErrors(d *device) *driverErrors {
	e := &driverErrors{}
	names := d.names(statisticSet)
	e.count = len(names)
	e.tx, e.redirect = pickCounters(names, txErrorNames), pickCounters(names, redirectErrorNames)
	e.read(d)
	e.txWas, e.redirectWas = e.txNow, e.redirectNow
	return e
}

// pickCounters prefers the queues' counters, whose names have a number, to the
// device's, which may be their sum.
func pickCounters(names, endings []string) []int {
	var ofQueues, ofDevice []int
	for i, name := range names {
		bare, _, _ := strings.Cut(name, "[")
		for _, ending := range endings {
			switch {
			case !strings.HasSuffix(bare, ending):
			case strings.ContainsAny(name, "0123456789"):
				ofQueues = append(ofQueues, i)
			default:
				ofDevice = append(ofDevice, i)
			}
		}
	}
	if ofQueues != nil {
		return ofQueues
	}
	return ofDevice
}

// since returns the errors since Open.
func (e *driverErrors) since(d *device) (tx, redirect uint64) {
	e.read(d)
	return e.txNow - e.txWas, e.redirectNow - e.redirectWas
}

// read asks the driver. One that does not answer, or counts anew after a
// reset, leaves the former numbers.
func (e *driverErrors) read(d *device) {
	if e.tx == nil && e.redirect == nil {
		return
	}
	values := d.statistics(e.count)
	if values == nil {
		return
	}
	total := func(at []int) (n uint64) {
		for _, i := range at {
			n += values[i]
		}
		return n
	}
	e.txNow, e.redirectNow = max(e.txNow, total(e.tx)), max(e.redirectNow, total(e.redirect))
}

// count is how many strings a set has now: a statistic has one each.
func (d *device) count(set uint32) int {
	info := make([]byte, setInfoSize)
	binary.NativeEndian.PutUint32(info, unix.ETHTOOL_GSSET_INFO)
	binary.NativeEndian.PutUint64(info[8:], 1<<set)
	if d.ethtool(unsafe.Pointer(&info[0])) != nil || binary.NativeEndian.Uint64(info[8:]) == 0 {
		return 0
	}
	if n := binary.NativeEndian.Uint32(info[16:]); n <= maxStatistics {
		return int(n)
	}
	return 0
}

// names lists the strings of a set.
func (d *device) names(set uint32) []string {
	names := make([]string, d.count(set))
	b := make([]byte, stringsSize+nameLength*(len(names)+newcomers))
	binary.NativeEndian.PutUint32(b, unix.ETHTOOL_GSTRINGS)
	binary.NativeEndian.PutUint32(b[4:], set)
	if len(names) == 0 || d.ethtool(unsafe.Pointer(&b[0])) != nil || int(binary.NativeEndian.Uint32(b[8:])) != len(names) {
		return nil
	}
	for i := range names {
		name, _, _ := bytes.Cut(b[stringsSize+nameLength*i:][:nameLength], []byte{0})
		names[i] = string(name)
	}
	return names
}

// statistics returns so many numbers, nil if the driver has more or fewer.
func (d *device) statistics(count int) []uint64 {
	if d.count(statisticSet) != count {
		return nil
	}
	b := make([]byte, statsSize+8*(count+newcomers))
	binary.NativeEndian.PutUint32(b, unix.ETHTOOL_GSTATS)
	if d.ethtool(unsafe.Pointer(&b[0])) != nil || int(binary.NativeEndian.Uint32(b[4:])) != count {
		return nil
	}
	values := make([]uint64, count)
	for i := range values {
		values[i] = binary.NativeEndian.Uint64(b[statsSize+8*i:])
	}
	return values
}
