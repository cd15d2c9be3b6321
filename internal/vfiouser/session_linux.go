package vfiouser

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"
)

// Flags of region and device information: Linux, vfio.h.
const (
	deviceReset = 1
	devicePCI   = 2

	regionRead  = 1
	regionWrite = 2
	regionMmap  = 4
	regionCaps  = 8

	capSparse = 1 // VFIO_REGION_INFO_CAP_SPARSE_MMAP

	dmaReadable = 1
	dmaWritable = 2
	unmapAll    = 2 // VFIO_DMA_UNMAP_FLAG_ALL
)

// session is one client's time with the server.
type session struct {
	s       *Server
	client  capabilities
	greeted bool
	reply   []byte // the last; used again
	data    []byte // of the last read; used again
}

// run answers until the client goes, which is no error.
func (e *session) run(c *conn) error {
	defer c.close()
	if err := c.hurry(true); err != nil { // the version has to come in time
		return err
	}
	for {
		h, payload, fds, err := c.receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !e.greeted {
			if err := c.hurry(false); err != nil {
				closeAll(fds)
				return err
			}
		}
		reply, give, err := e.answer(h, payload, fds)
		closeAll(fds)
		if h.flags&flagNoReply == 0 {
			if err := c.send(reply, give); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}

// answer does a command. Descriptors that it keeps become -1 in fds; those of
// the reply are the device's. An error ends the session, after the reply.
func (e *session) answer(h header, p []byte, fds []int) (reply []byte, give []int, err error) {
	if e.greeted == (h.command == cmdVersion) {
		return h.fail(e.reply[:0], syscall.EINVAL), nil, fmt.Errorf("vfiouser: command %d, where the version comes first and once: %w", h.command, syscall.EPROTO)
	}
	body, give, err := e.do(h.command, p, fds)
	if err != nil {
		errno := syscall.EIO
		errors.As(err, &errno)
		if e.greeted {
			err = nil // the command's, not the session's
		}
		return h.fail(e.reply[:0], errno), nil, err
	}
	e.greeted = true
	e.reply = h.reply(e.reply[:0], body)
	return e.reply, give, nil
}

// fixed is how long the payload of a command is at least, by command.
var fixed = map[uint16]int{
	cmdDMAMap: 32, cmdDMAUnmap: 24, cmdGetInfo: 16, cmdGetRegionInfo: 32, cmdGetIRQInfo: 16,
	cmdSetIRQs: 20, cmdRegionRead: 16, cmdRegionWrite: 16, cmdWriteMulti: 8,
}

func (e *session) do(command uint16, p []byte, fds []int) (body []byte, give []int, err error) {
	if len(p) < fixed[command] {
		return nil, nil, syscall.EINVAL
	}
	switch command {
	case cmdVersion:
		body, e.client, err = negotiate(p, e.s.memory.max)
	case cmdDMAMap:
		err = e.mapDMA(p, fds)
	case cmdDMAUnmap:
		body, err = e.unmapDMA(p)
	case cmdGetInfo:
		body = words(16, deviceReset|devicePCI, Regions, uint32(irqTypes))
	case cmdGetRegionInfo:
		return e.regionInfo(p)
	case cmdGetIRQInfo:
		index := native.Uint32(p[8:])
		if index >= uint32(irqTypes) {
			return nil, nil, syscall.EINVAL
		}
		body = words(16, irqFlags(IRQ(index)), index, uint32(len(e.s.irqs.lines[index])))
	case cmdSetIRQs:
		err = e.s.irqs.configure(p, fds)
	case cmdRegionRead:
		body, err = e.read(p)
	case cmdRegionWrite:
		body, err = p[:16:16], e.write(native.Uint32(p[8:]), native.Uint64(p), native.Uint32(p[12:]), p[16:])
	case cmdWriteMulti:
		body, err = e.writeMulti(p)
	case cmdReset:
		err = e.s.dev.Reset()
	default:
		err = syscall.ENOTSUP
	}
	return body, nil, err
}

func words(w ...uint32) []byte {
	b := make([]byte, 0, 4*len(w))
	for _, v := range w {
		b = native.AppendUint32(b, v)
	}
	return b
}

func (e *session) mapDMA(p []byte, fds []int) error {
	flags := native.Uint32(p[4:])
	if len(fds) > 1 || flags&^(dmaReadable|dmaWritable) != 0 {
		return syscall.EINVAL
	}
	fd := -1
	if len(fds) == 1 {
		fd = fds[0] // a mapping outlives its descriptor, which run closes
	}
	r := mapping{addr: native.Uint64(p[16:]), size: native.Uint64(p[24:]), readable: flags&dmaReadable != 0, writable: flags&dmaWritable != 0}
	return e.s.memory.add(r, fd, native.Uint64(p[8:]))
}

func (e *session) unmapDMA(p []byte) ([]byte, error) {
	addr, size := native.Uint64(p[8:]), native.Uint64(p[16:])
	switch native.Uint32(p[4:]) {
	case 0:
		return p[:24:24], e.s.memory.remove(addr, size)
	case unmapAll:
		if addr != 0 || size != 0 {
			return nil, syscall.EINVAL
		}
		return p[:24:24], e.s.memory.clear()
	}
	return nil, syscall.ENOTSUP // dirty bitmaps
}

// regionInfo describes a region. Where the reply would be longer than the
// client has room for, it gets the fixed part, which says how long.
func (e *session) regionInfo(p []byte) ([]byte, []int, error) {
	room, index := native.Uint32(p), native.Uint32(p[8:])
	if room < 32 || index >= Regions {
		return nil, nil, syscall.EINVAL
	}
	r := e.s.region(index)
	var flags, caps uint32
	if r.Readable {
		flags |= regionRead
	}
	if r.Writable {
		flags |= regionWrite
	}
	var list []byte
	var give []int
	if r.File != nil {
		flags |= regionMmap
		if n := len(r.Areas); n > 0 {
			flags |= regionCaps
			caps = 32
			// Two fields of 16 bits, id and version, both 1: the same in either byte order.
			list = words(capSparse|1<<16, 0, uint32(n), 0)
			for _, a := range r.Areas {
				list = native.AppendUint64(native.AppendUint64(list, a.Offset), a.Size)
			}
		}
	}
	size := uint32(32 + len(list))
	if size > room {
		list, caps = nil, 0
	} else if r.File != nil {
		give = []int{int(r.File.Fd())}
	}
	b := words(size, flags, index, caps)
	b = native.AppendUint64(native.AppendUint64(b, r.Size), r.Offset)
	return append(b, list...), give, nil
}

func (e *session) read(p []byte) ([]byte, error) {
	offset, index, count := native.Uint64(p), native.Uint32(p[8:]), native.Uint32(p[12:])
	if r := e.s.region(index); !r.Readable || !r.holds(offset, count) || int(count) > min(maxData, e.client.MaxData) {
		return nil, syscall.EINVAL
	}
	e.data = slices.Grow(append(e.data[:0], p[:16]...), int(count))[:16+count]
	clear(e.data[16:])
	return e.data, e.s.dev.Read(int(index), offset, e.data[16:])
}

func (e *session) write(index uint32, offset uint64, count uint32, data []byte) error {
	if r := e.s.region(index); !r.Writable || !r.holds(offset, count) || uint64(count) != uint64(len(data)) {
		return syscall.EINVAL
	}
	return e.s.dev.Write(int(index), offset, data)
}

func (e *session) writeMulti(p []byte) ([]byte, error) {
	const entry = 24 // offset, region, count, 8 bytes of data
	n, rest := native.Uint64(p), p[8:]
	if len(rest)%entry != 0 || n != uint64(len(rest)/entry) {
		return nil, syscall.EINVAL
	}
	for ; len(rest) > 0; rest = rest[entry:] {
		count := native.Uint32(rest[12:])
		if count > 8 {
			return nil, syscall.EINVAL
		}
		if err := e.write(native.Uint32(rest[8:]), native.Uint64(rest), count, rest[16:16+count]); err != nil {
			return nil, err
		}
	}
	return p[:8:8], nil
}

// holds says whether an access lies inside the region.
func (r *Region) holds(offset uint64, count uint32) bool {
	return count > 0 && offset < r.Size && uint64(count) <= r.Size-offset
}
