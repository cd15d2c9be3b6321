package ixgbemodel

import "encoding/binary"

// Fields of MRQC that choose what is hashed, and the types that a descriptor
// names (7.1.2.8, 7.1.6.2).
const (
	mrqcTCP4 = 1 << 16
	mrqcIPv4 = 1 << 17
	mrqcIPv6 = 1 << 20
	mrqcTCP6 = 1 << 21
	mrqcUDP4 = 1 << 22
	mrqcUDP6 = 1 << 23
	rssTCP4  = 1
	rssIPv4  = 2
	rssTCP6  = 3
	rssIPv6  = 5
	rssUDP4  = 7
	rssUDP6  = 8
)

// destination is where a frame goes and what its descriptor says of that.
type destination struct {
	queue, hash, kind uint32
	status            uint32
}

// steer finds it: EtherType filters first, then RSS (7.1.2).
func (d *Device) steer(f []byte) destination {
	if to, ok := d.filterType(f); ok {
		return to
	}
	p := parse(f)
	to := destination{kind: p.kind, status: p.checked(d.config.Chip)}
	if *d.reg(regMRQC)&mrqcMode != mrqcRSS || p.addresses == nil {
		return to
	}
	rss, ports := chooseHash(*d.reg(regMRQC), p)
	if rss == 0 {
		return to
	}
	input := append([]byte{}, p.addresses...)
	if ports {
		input = append(input, p.payload[:4]...)
	}
	hash := d.toeplitz(input)
	entry := hash & 127
	to.queue = *d.reg(regRETA + entry&^3) >> (8 * (entry & 3)) & 15
	if *d.reg(regRXCSUM)&rxcsumPCSD != 0 {
		to.hash, to.kind = hash, to.kind|rss
	}
	return to
}

// filterType applies ETQF and ETQS to a frame (7.1.2.3).
func (d *Device) filterType(f []byte) (destination, bool) {
	at := 12 + vlanRoom(f)
	kind := uint32(binary.BigEndian.Uint16(f[at:]))
	for i := range uint32(8) {
		filter, steer := *d.reg(regETQF + 4*i), *d.reg(regETQS + 4*i)
		if filter&etqfOn == 0 || filter&0xffff != kind {
			continue
		}
		to := destination{kind: packetETQF | i<<4}
		if steer&etqsOn != 0 {
			to.queue = steer >> 16 & 0x7f
		}
		return to, true
	}
	return destination{}, false
}

// chooseHash says which hash a packet gets, by the most that MRQC allows.
func chooseHash(control uint32, p parsed) (rss uint32, ports bool) {
	four := p.header != nil
	for _, c := range []struct {
		fields   uint32
		four     bool
		protocol byte
		rss      uint32
	}{
		{mrqcTCP4, true, tcp, rssTCP4}, {mrqcUDP4, true, udp, rssUDP4}, {mrqcIPv4, true, 0, rssIPv4},
		{mrqcTCP6, false, tcp, rssTCP6}, {mrqcUDP6, false, udp, rssUDP6}, {mrqcIPv6, false, 0, rssIPv6},
	} {
		if c.four == four && control&c.fields != 0 && (c.protocol == 0 || c.protocol == p.protocol) {
			return c.rss, c.protocol != 0
		}
	}
	return 0, false
}

// toeplitz is the hash of 7.1.2.8.1, by the key in RSSRK.
func (d *Device) toeplitz(input []byte) uint32 {
	var key [40]byte
	for i := range uint32(10) {
		binary.LittleEndian.PutUint32(key[4*i:], *d.reg(regRSSRK + 4*i))
	}
	window := binary.BigEndian.Uint64(key[:])
	var hash uint32
	for i, b := range input {
		for bit := 7; bit >= 0; bit-- {
			if b>>bit&1 != 0 {
				hash ^= uint32(window >> 32)
			}
			window <<= 1
		}
		if i+8 < len(key) {
			window |= uint64(key[i+8])
		}
	}
	return hash
}
