package packet

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// WriteToAddr sends b as the payload of one frame, from the port's own address;
// a short one is padded with zeros to 60 bytes. With Config.Raw, b is a whole
// frame, and of to only the PCP counts, and the VLAN where an analyser sends, which
// puts in a tag by it: see WriteFrame. It waits for a buffer if the TX pool is
// empty, until the write deadline (or fails, see Config.NoWait). It allocates
// nothing. Errors: EMSGSIZE (over the port's MTU), EDESTADDRREQ (no MAC, or no
// EtherType on a socket for all), EINVAL (EtherType, VLAN, PCP), ENOBUFS (no
// buffer, or no room in the device's queue: then the frame is lost), ENETDOWN,
// os.ErrDeadlineExceeded, net.ErrClosed.
//
//oobnet:hot
func (c *Conn) WriteToAddr(b []byte, to Addr) (int, error) { return c.writeTo(b, to, nil) }

// writeTo sends b, and leaves the number of the send in id, unless that is nil or
// no times of sends are taken.
//
//oobnet:hot
func (c *Conn) writeTo(b []byte, to Addr, id *uint64) (int, error) {
	if c.cfg.Raw {
		return c.writeFrame(b, to, id)
	}
	if c.attention.Load()&(gone|writeExpired) != 0 {
		if err := c.writable(); err != nil {
			return 0, err
		}
	}
	h, err := c.headerFor(to)
	if err == nil && len(b) > c.mtu {
		err = over("payload", len(b), c.mtu)
	}
	if err != nil {
		return 0, c.opError("write", copied(to), err)
	}
	f, err := c.alloc()
	if err != nil {
		return 0, c.opError("write", copied(to), err)
	}
	if sends := c.times.Sends(); sends != nil {
		f.Flags |= link.FlagTimed
		tell(id, sends.Begin(c.dev, f.Index, stack.Now()))
	}
	copy(c.dev.Memory().Buffer(f.Index)[f.Off:], b)
	if err := c.finish(f, len(b), h); err != nil {
		return 0, err
	}
	return len(b), nil
}

// WriteTo is WriteToAddr for an *Addr, which with Config.Raw may be nil.
func (c *Conn) WriteTo(b []byte, addr net.Addr) (int, error) {
	to, ok := addr.(*Addr)
	switch {
	case addr == nil || ok && to == nil:
		if c.cfg.Raw {
			return c.writeFrame(b, Addr{}, nil)
		}
		return 0, c.opError("write", nil, syscall.EDESTADDRREQ)
	case !ok:
		return 0, c.opError("write", addr, fmt.Errorf("address is a %T, want *packet.Addr: %w", addr, syscall.EINVAL))
	}
	return c.WriteToAddr(b, *to)
}

// WriteFrame sends a whole frame, from the destination address on, as it is:
// its source is the one given. On a VLAN port the port's tag is put in front of
// what stands behind the addresses, so that a frame with a tag of its own leaves
// with two. A short frame is padded with zeros to 60 bytes. EMSGSIZE for one
// that is longer than its header, the MTU and one tag, its own or the one that is
// put in front; EINVAL for one without a header; else errors as WriteToAddr has them.
func (c *Conn) WriteFrame(b []byte) (int, error) { return c.writeFrame(b, Addr{}, nil) }

//oobnet:hot
func (c *Conn) writeFrame(b []byte, to Addr, id *uint64) (int, error) {
	if c.attention.Load()&(gone|writeExpired) != 0 {
		if err := c.writable(); err != nil {
			return 0, err
		}
	}
	sends, begun := c.begin()
	f, tci, err := c.build(b, to)
	if err != nil {
		return 0, c.opError("write", nil, err)
	}
	if sends != nil {
		f.Flags |= link.FlagTimed
		tell(id, sends.Begin(c.dev, f.Index, begun))
	}
	if err := c.finishFrame(f, len(b), tci); err != nil {
		return 0, err
	}
	return len(b), nil
}

// build puts a whole frame into a buffer, and says which tag is to come in.
//
//oobnet:hot
func (c *Conn) build(b []byte, to Addr) (f link.Frame, tci uint16, err error) {
	if tci, err = c.tciFor(to); err != nil {
		return f, 0, err
	}
	if err = c.checkFrame(b, tci); err != nil {
		return f, 0, err
	}
	if f, err = c.alloc(); err != nil {
		return f, 0, err
	}
	f.Off -= maxHeader // what does not count against the MTU
	copy(c.dev.Memory().Buffer(f.Index)[f.Off:], b)
	return f, tci, nil
}

// checkFrame says what is wrong with the length of a whole frame that gets a tag,
// or none (0): one tag does not count against the MTU, be it that or the frame's own.
//
//oobnet:hot
func (c *Conn) checkFrame(b []byte, tci uint16) error {
	if len(b) < wire.EthernetHeaderLen {
		return tooShort(len(b))
	}
	most := wire.EthernetHeaderLen + c.mtu
	if tci == 0 && len(b) > most {
		if t := binary.BigEndian.Uint16(b[12:]); t == wire.TypeVLAN || t == wire.TypeQinQ {
			most += wire.VLANTagLen
		}
	}
	if len(b) > most {
		return over("frame", len(b), most)
	}
	return nil
}

func tooShort(n int) error {
	return fmt.Errorf("frame of %d bytes is shorter than its header: %w", n, syscall.EINVAL)
}

// header is what goes in front of a payload.
type header struct {
	dst            link.MAC
	tci, etherType uint16
}

// headerFor makes the header towards a destination.
//
//oobnet:hot
func (c *Conn) headerFor(to Addr) (header, error) {
	h := header{dst: to.MAC, etherType: to.EtherType}
	if h.etherType == 0 {
		h.etherType = c.proto
	}
	if to.MAC == (link.MAC{}) || h.etherType < minEtherType {
		return h, badDestination(to, h.etherType)
	}
	var err error
	h.tci, err = c.tciFor(to)
	return h, err
}

func badDestination(to Addr, etherType uint16) error {
	switch {
	case to.MAC == (link.MAC{}):
		return syscall.EDESTADDRREQ
	case etherType == 0:
		return fmt.Errorf("no EtherType: %w: the socket is for all, so each destination needs one", syscall.EDESTADDRREQ)
	}
	return fmt.Errorf("EtherType 0x%04x: %w: below 0x%04x stands a length: send a whole frame", etherType, syscall.EINVAL, minEtherType)
}

// tciFor makes the tag towards a destination; 0: none.
//
//oobnet:hot
func (c *Conn) tciFor(to Addr) (uint16, error) {
	vlan := c.vlan
	if c.port == nil {
		vlan = to.VLAN
	}
	if to.VLAN != vlan && to.VLAN != 0 || to.PCP > 7 || vlan >= wire.VIDMask {
		return 0, badTag(to, c.vlan)
	}
	if vlan == 0 {
		return 0, nil
	}
	pcp := uint16(to.PCP)
	if pcp == 0 {
		pcp = uint16(c.priority.Load())
	}
	return pcp<<wire.PCPShift | vlan, nil
}

func badTag(to Addr, vlan uint16) error {
	switch {
	case to.PCP > 7:
		return fmt.Errorf("PCP %d: %w: want 0 to 7", to.PCP, syscall.EINVAL)
	case to.VLAN >= wire.VIDMask:
		return fmt.Errorf("VLAN id %d: %w: want 1 to 4094", to.VLAN, syscall.EINVAL)
	}
	return fmt.Errorf("VLAN id %d: %w: the port's is %d (0: untagged)", to.VLAN, syscall.EINVAL, vlan)
}

// writable says why a write must not go on, nil if it may.
func (c *Conn) writable() error {
	switch attention := c.attention.Load(); {
	case attention&gone != 0:
		return c.opError("write", nil, c.whyGone())
	case attention&writeExpired != 0:
		return c.opError("write", nil, os.ErrDeadlineExceeded)
	}
	return nil
}

// alloc takes a TX buffer, waiting for one as the socket wants it.
//
//oobnet:hot
func (c *Conn) alloc() (link.Frame, error) {
	f, err := c.dev.AllocFor(int(c.priority.Load()))
	if err == nil {
		return f, nil
	}
	return c.allocAgain(err)
}

// allocAgain is for a sender that found no buffer: it waits for one, or fails.
func (c *Conn) allocAgain(err error) (link.Frame, error) {
	if c.cfg.NoWait {
		return link.Frame{}, err
	}
	f, err := c.dev.AllocWait(int(c.priority.Load()), c.write.Channel(), c.done)
	switch attention := c.attention.Load(); {
	case err == nil:
	case attention&gone != 0:
		err = c.whyGone()
	case attention&writeExpired != 0:
		err = os.ErrDeadlineExceeded
	}
	return f, err
}

// finish writes the header in front of a payload that stands at f.Off, and
// sends the frame. The buffer is the device's from then on.
//
//oobnet:hot
func (c *Conn) finish(f link.Frame, size int, h header) error {
	c.putHeader(&f, size, h)
	return c.send(f)
}

//oobnet:hot
func (c *Conn) putHeader(f *link.Frame, size int, h header) {
	if h.tci != 0 && c.leaveTag(f, h.tci) {
		h.tci = 0
	}
	f.Off -= wire.EthernetHeaderLen
	if h.tci != 0 {
		f.Off -= wire.VLANTagLen
	}
	b := c.dev.Memory().Buffer(f.Index)[f.Off:]
	n := wire.PutEthernet(b, h.dst, c.mac, h.tci, h.etherType) + size
	f.Len = pad(b, n)
}

// finishFrame sends a whole frame that stands at f.Off, with a tag if it gets one.
//
//oobnet:hot
func (c *Conn) finishFrame(f link.Frame, size int, tci uint16) error {
	c.putTag(&f, size, tci)
	return c.send(f)
}

//oobnet:hot
func (c *Conn) putTag(f *link.Frame, size int, tci uint16) {
	if tci != 0 && !c.leaveTag(f, tci) {
		f.Off -= wire.VLANTagLen
		size += wire.VLANTagLen
		insertTag(c.dev.Memory().Buffer(f.Index)[f.Off:], tci)
	}
	f.Len = pad(c.dev.Memory().Buffer(f.Index)[f.Off:], size)
}

// leaveTag leaves a frame's tag to the device, if it puts tags in.
//
//oobnet:hot
func (c *Conn) leaveTag(f *link.Frame, tci uint16) bool {
	if c.dev.Offloads()&link.FlagVLANStripped == 0 {
		return false
	}
	f.VLAN, f.Flags = tci, f.Flags|link.FlagVLANStripped
	return true
}

// insertTag moves the addresses of a frame, which begins VLANTagLen further on,
// to the front, and puts a tag behind them.
//
//oobnet:hot
func insertTag(b []byte, tci uint16) {
	copy(b[:2*6], b[wire.VLANTagLen:])
	binary.BigEndian.PutUint16(b[12:], wire.TypeVLAN)
	binary.BigEndian.PutUint16(b[14:], tci)
}

// pad fills a short frame up with zeros.
//
//oobnet:hot
func pad(b []byte, n int) uint16 {
	if n < wire.MinFrame {
		clear(b[n:wire.MinFrame])
		n = wire.MinFrame
	}
	return uint16(n)
}

//oobnet:hot
func (c *Conn) send(f link.Frame) error {
	var err error
	if c.port != nil {
		err = c.port.Send(f, c.flow, int(c.priority.Load()))
	} else {
		err = c.dev.Send(f, c.flow, int(c.priority.Load()))
	}
	if err != nil {
		return c.opError("write", nil, err)
	}
	return nil
}
