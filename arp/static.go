package arp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"

	"github.com/oobnet/oobnet/link"
)

// Static is a line of a static table: a neighbour whose MAC address is known
// beforehand, to become a permanent entry.
type Static struct {
	Addr netip.Addr // IPv4, unicast
	MAC  link.MAC
	Port string // "": the port that the route to Addr leads over
	Line int    // in the file, from 1, for errors
}

// ReadTable reads a static table. A line is
//
//	ADDR MAC [port]
//
// with blanks between; what follows a # is a comment; empty lines count for
// nothing. An address may stand once a port. Errors name the line and wrap
// EINVAL, EAFNOSUPPORT for an address that is not IPv4, ENOSPC for more than
// MaxCapacity lines, or what r returned.
func ReadTable(r io.Reader) ([]Static, error) {
	type place struct {
		addr netip.Addr
		port string
	}
	var table []Static
	seen := map[place]int{}
	lines := bufio.NewScanner(r)
	n := 0
	for lines.Scan() {
		n++
		text, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		s, err := parseStatic(fields)
		if err != nil {
			return nil, fmt.Errorf("arp: static table, line %d: %w", n, err)
		}
		if len(table) == MaxCapacity {
			return nil, fmt.Errorf("arp: static table, line %d: more than %d entries: %w", n, MaxCapacity, syscall.ENOSPC)
		}
		at := place{s.Addr, s.Port}
		if first := seen[at]; first != 0 {
			return nil, fmt.Errorf("arp: static table, line %d: %v stands in line %d already: %w", n, s.Addr, first, syscall.EINVAL)
		}
		seen[at] = n
		s.Line = n
		table = append(table, s)
	}
	err := lines.Err()
	if errors.Is(err, bufio.ErrTooLong) {
		err = fmt.Errorf("longer than %d bytes: %w", bufio.MaxScanTokenSize, syscall.EINVAL)
	}
	if err != nil {
		return nil, fmt.Errorf("arp: static table, line %d: %w", n+1, err)
	}
	return table, nil
}

// parseStatic reads the fields of one line.
func parseStatic(fields []string) (Static, error) {
	if len(fields) < 2 || len(fields) > 3 {
		return Static{}, fmt.Errorf("%d fields: want ADDR MAC [port]: %w", len(fields), syscall.EINVAL)
	}
	addr, err := netip.ParseAddr(fields[0])
	if err != nil {
		return Static{}, fmt.Errorf("%q is not an address: want ADDR MAC [port]: %w", fields[0], syscall.EINVAL)
	}
	if addr = addr.Unmap(); !addr.Is4() {
		return Static{}, fmt.Errorf("%v is not an IPv4 address: %w", addr, syscall.EAFNOSUPPORT)
	}
	if addr.IsUnspecified() || addr.IsMulticast() || addr == limitedBroadcast {
		return Static{}, fmt.Errorf("%v is not the address of one station: %w", addr, syscall.EINVAL)
	}
	mac, err := net.ParseMAC(fields[1])
	if err != nil || len(mac) != len(link.MAC{}) || !stationMAC(link.MAC(mac)) {
		return Static{}, fmt.Errorf("%q is not the MAC address of one station, such as 02:00:00:00:00:01: %w", fields[1], syscall.EINVAL)
	}
	s := Static{Addr: addr, MAC: link.MAC(mac)}
	if len(fields) == 3 {
		s.Port = fields[2]
	}
	return s, nil
}

var limitedBroadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})
