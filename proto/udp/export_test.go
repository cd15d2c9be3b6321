package udp

// TCI is the VLAN tag that a datagram came with, 0 for what is on the heap.
func TCI(d *Datagram) uint16 {
	if d.r.dev == nil {
		return 0
	}
	return d.r.dev.Packet(d.r.index).TCI
}
