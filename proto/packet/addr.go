package packet

import (
	"fmt"
	"net"

	"github.com/oobnet/oobnet/link"
)

// All stands for every EtherType, in Listen.
const All uint16 = link.AllEtherTypes

// minEtherType: what is below stands in its place for a length (IEEE 802.3, 3.2.6).
const minEtherType = 0x0600

// Addr is an Ethernet address with what stands beside it in the header.
type Addr struct {
	// MAC is the sender's, or the destination's.
	MAC link.MAC
	// EtherType of the payload; 0 of a destination: the socket's.
	EtherType uint16
	// VLAN id; 0: untagged. A destination's is the port's, or 0 for the same.
	VLAN uint16
	// PCP is the priority code point of the tag, 0 to 7; 0 of a destination:
	// the socket's priority. Without a VLAN it is not sent.
	PCP uint8
}

var _ net.Addr = (*Addr)(nil)

// Network is "packet".
func (a *Addr) Network() string { return network }

// String is like "02:00:00:00:00:01 0x88a4", and with a tag like
// "02:00:00:00:00:01 0x88a4 vlan 100 pcp 6".
func (a *Addr) String() string {
	if a == nil {
		return "<nil>"
	}
	s := fmt.Sprintf("%v 0x%04x", net.HardwareAddr(a.MAC[:]), a.EtherType)
	if a.VLAN != 0 || a.PCP != 0 {
		s += fmt.Sprintf(" vlan %d pcp %d", a.VLAN, a.PCP)
	}
	return s
}

// network is what net.Addr and net.OpError call the sockets.
const network = "packet"

// copied is an address for an error: only then it is on the heap.
func copied(a Addr) *Addr { return &a }
