package main

import "encoding/binary"

// EtherCAT on the wire (ETG.1000.4, IEC 61158-4-12), numbers little-endian:
//
//	Ethernet, 0x88a4: │ length 11 bits, 0, type 4 bits: 1 │ datagram │ datagram ...
//	datagram: command 8, index 8, address 32, length 11, 0, more follow 1,
//	          interrupt 16, data, working counter 16
//
// A frame goes through all slaves and back to where it came from. Each does what
// is for it while the bytes pass, and adds to the working counter.
const (
	etherType  = 0x88a4
	typePDUs   = 1 << 12
	lengthMask = 0x07ff
	more       = 1 << 15
	overhead   = 10 + 2 // bytes of a datagram's header and working counter
	aprd       = 1      // read of the slave at a position: each adds 1 to it, who gets 0 is meant
	lrw        = 12     // read and write of the image that all slaves share
	both       = 1 + 2  // what a slave counts that has read (1) and written (2) the image
	alStatus   = 0x0130 // the register of a slave's state, 16 bits
	alOp       = 8      // the state in which it takes part
)

// pdu is a datagram in place, from its header to its working counter.
type pdu []byte

func (d pdu) command() byte    { return d[0] }
func (d pdu) index() byte      { return d[1] }
func (d pdu) data() []byte     { return d[10 : len(d)-2] }
func (d pdu) counter() uint16  { return binary.LittleEndian.Uint16(d[len(d)-2:]) }
func (d pdu) count(add uint16) { binary.LittleEndian.PutUint16(d[len(d)-2:], d.counter()+add) }

// pass adds 1 to the position, and reports whether it was 0.
func (d pdu) pass() bool {
	at := binary.LittleEndian.Uint16(d[2:])
	binary.LittleEndian.PutUint16(d[2:], at+1)
	return at == 0
}

// position is the address of a register of the slave at a place in the line.
func position(place int, register uint16) uint32 {
	return uint32(register)<<16 | uint32(uint16(-place))
}

// datagrams are what stands behind the header of a frame's payload, without
// padding; nil: that is not EtherCAT, or cut off.
func datagrams(payload []byte) []byte {
	if len(payload) < 2 {
		return nil
	}
	h := binary.LittleEndian.Uint16(payload)
	if n := int(h & lengthMask); h&^lengthMask == typePDUs && len(payload) >= 2+n {
		return payload[2 : 2+n]
	}
	return nil
}

// first cuts the first datagram off; nil: there is none, or not all of it.
func first(b []byte) (d pdu, rest []byte) {
	if len(b) < overhead {
		return nil, nil
	}
	length := binary.LittleEndian.Uint16(b[6:])
	n := overhead + int(length&lengthMask)
	if len(b) < n {
		return nil, nil
	}
	if length&more == 0 {
		return b[:n], nil
	}
	return b[:n], b[n:]
}

// add puts a datagram of n zero bytes at the end of a frame's payload, which is
// made by two zero bytes: all but the last one with the flag more.
func add(payload []byte, command byte, address uint32, n, flags uint16) []byte {
	payload = binary.LittleEndian.AppendUint32(append(payload, command, 0), address)
	payload = binary.LittleEndian.AppendUint16(payload, n|flags)
	payload = append(payload, make([]byte, 2+n+2)...) // interrupt, data, working counter
	binary.LittleEndian.PutUint16(payload, uint16(len(payload)-2)|typePDUs)
	return payload
}
