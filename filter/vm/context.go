package vm

import "math/bits"

// Context is a frame on its way through a program: the input of a run, and
// what the run has made of it. The caller owns it and may use it again and
// again; so nothing is allocated for a frame.
type Context struct {
	// Buffer is the whole buffer. The program sees the frame's bytes, Len of
	// them at Off, and may move its ends within the buffer; Off and Len then
	// say where they are. It reads and writes no byte beyond the frame as it is.
	Buffer   []byte
	Off, Len int
	// Queue is rx_queue_index, and queue_mapping, which counts from 1.
	Queue uint32
	// IfIndex is ingress_ifindex and ifindex; Egress egress_ifindex.
	IfIndex, Egress uint32
	// TCI is the tag that the device stripped, if Stripped. Only socket
	// filters can see it.
	TCI      uint16
	Stripped bool
	// PacketType is pkt_type (PACKET_HOST 0 and so on), Mark, Priority and Hash
	// the fields of these names. Programs of XDP's type have none of them.
	PacketType, Mark, Priority, Hash uint32
	// Time is what the clocks of the program show, nanoseconds; 0: they are
	// read when the program asks.
	Time uint64
	// Redirect is set by Run: where the last bpf_redirect or bpf_redirect_map
	// of the program leads, which counts if the program returns XDP_REDIRECT.
	Redirect Redirect
}

// Redirect is the target of a frame that a program redirects.
type Redirect struct {
	Kind RedirectKind
	// Value is the device's index for RedirectDevice; what the map holds for
	// the others: a socket's number, a device's index.
	Value uint32
	// Map and Key tell where the value comes from; nil for RedirectDevice.
	Map *Map
	Key uint32
}

// RedirectKind says what a frame is redirected to.
type RedirectKind uint8

// Kinds of targets.
const (
	RedirectNone    RedirectKind = iota // none: an XDP_REDIRECT is an error
	RedirectDevice                      // bpf_redirect
	RedirectSocket                      // bpf_redirect_map, an XSKMAP
	RedirectMapping                     // bpf_redirect_map, a DEVMAP or DEVMAP_HASH
)

// Frames as the kernel's programs know them.
const (
	etherLen = 14 // an Ethernet header, bytes
	// EtherTypes in network byte order, as __sk_buff has them.
	tpid8021Q = 0x0081
)

// Offsets in struct xdp_md, bytes (linux/bpf.h). All fields are 32-bit words.
const (
	xdpData    = 0
	xdpDataEnd = 4
	xdpMeta    = 8
	xdpIfIndex = 12
	xdpQueue   = 16
	xdpEgress  = 20
)

// Offsets in struct __sk_buff, bytes (linux/bpf.h): those that a socket filter
// may read.
const (
	skbLen         = 0
	skbPacketType  = 4
	skbMark        = 8
	skbQueue       = 12
	skbProtocol    = 16
	skbVLANPresent = 20
	skbVLANTCI     = 24
	skbVLANProto   = 28
	skbPriority    = 32
	skbIngress     = 36
	skbIfIndex     = 40
	skbTCIndex     = 44
	skbCB          = 48 // five words, the only ones that may be written
	skbCBEnd       = 68
	skbHash        = 68
	skbNAPI        = 84
	skbGSOSegs     = 164
	skbGSOSize     = 176
)

// contextSize is that of the longer context, bytes. An address beyond is no
// field, but most likely one just below the frame.
const contextSize = 192

// loadField reads a field of the context: what a load falls back to that finds
// no memory at its address.
//
//oobnet:hot
func (r *Runner) loadField(a, size uint64) (uint64, bool) {
	if a>>regionShift != regionContext {
		return 0, false
	}
	at := a & offsetMask
	if at >= contextSize {
		return 0, false
	}
	if at%size != 0 {
		r.fault = FaultContext
		return 0, false
	}
	var v uint64
	var ok bool
	switch {
	case r.vm.socket && size == 8: // the words of cb alone are a field of that width
		if ok = at >= skbCB && at+8 <= skbCBEnd; ok {
			v = uint64(r.cb[(at-skbCB)/4]) | uint64(r.cb[(at-skbCB)/4+1])<<32
		}
	case r.vm.socket: // a part of a word is its bytes, the first the lowest
		var word uint32
		word, ok = r.skbWord(at &^ 3)
		v = uint64(word) >> (8 * (at & 3)) & (1<<(8*size) - 1)
	case size == 4:
		v, ok = r.xdpWord(at)
	}
	if !ok {
		r.fault = FaultContext
	}
	return v, ok
}

// xdpWord: the three pointers are words in C, and addresses of 64 bits in the
// program, as the kernel makes them too.
func (r *Runner) xdpWord(at uint64) (uint64, bool) {
	const packet = regionPacket << regionShift
	switch at {
	case xdpData:
		return packet | uint64(r.data-r.meta), true
	case xdpDataEnd:
		return packet | uint64(r.end-r.meta), true
	case xdpMeta:
		return packet, true
	case xdpIfIndex:
		return uint64(r.ctx.IfIndex), true
	case xdpQueue:
		return uint64(r.ctx.Queue), true
	case xdpEgress:
		return uint64(r.ctx.Egress), true
	}
	return 0, false
}

func (r *Runner) skbWord(at uint64) (uint32, bool) {
	c := r.ctx
	switch at {
	case skbLen:
		return uint32(c.Len), true
	case skbPacketType:
		return c.PacketType, true
	case skbMark:
		return c.Mark, true
	case skbQueue:
		return c.Queue + 1, true
	case skbProtocol:
		return r.protocol(), true
	case skbVLANPresent, skbVLANTCI, skbVLANProto:
		if !c.Stripped {
			return 0, true
		}
		return [3]uint32{1, uint32(c.TCI), tpid8021Q}[(at-skbVLANPresent)/4], true
	case skbPriority:
		return c.Priority, true
	case skbIngress, skbIfIndex:
		return c.IfIndex, true
	case skbHash:
		return c.Hash, true
	case skbTCIndex, skbNAPI, skbGSOSegs, skbGSOSize:
		return 0, true // nothing here has one
	}
	if at >= skbCB && at < skbCBEnd {
		return r.cb[(at-skbCB)/4], true
	}
	return 0, false
}

// protocol is the EtherType in network byte order: 802.2 frames, whose length
// stands there, are ETH_P_802_2, as in the kernel.
func (r *Runner) protocol() uint32 {
	const least8023, ethP8022 = 0x0600, 4
	if len(r.frame) < etherLen {
		return 0
	}
	t := uint16(r.frame[12])<<8 | uint16(r.frame[13])
	if t < least8023 {
		t = ethP8022
	}
	return uint32(bits.ReverseBytes16(t))
}

// storeField writes a field of the context: cb of a socket filter.
//
//oobnet:hot
func (r *Runner) storeField(a, v, size uint64) bool {
	if a>>regionShift != regionContext {
		return false
	}
	at := a & offsetMask
	if at >= contextSize {
		return false
	}
	if !r.vm.socket || at%size != 0 || at < skbCB || at+size > skbCBEnd {
		r.fault = FaultContext
		return false
	}
	word := &r.cb[(at-skbCB)/4]
	switch size {
	case 8:
		r.cb[(at-skbCB)/4+1] = uint32(v >> 32)
		fallthrough
	case 4:
		*word = uint32(v)
	default:
		shift, mask := 8*(at&3), uint32(1)<<(8*size)-1
		*word = *word&^(mask<<shift) | uint32(v)&mask<<shift
	}
	return true
}
