package afxdp

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/netdev"
	"github.com/oobnet/oobnet/internal/offheap"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
)

// What is asked for a frame to send stands before it in its buffer, at a distance
// that the UMEM was registered with, and a bit in the descriptor says so
// (Documentation/networking/xsk-tx-metadata.rst). In copy mode the kernel sees to
// checksums, as it does for its own packets; all else is for drivers in zero copy.

// Offsets in struct xsk_tx_metadata (linux/if_xdp.h), bytes, and its size: without
// the launch time, which Linux 6.14 has added, and with it.
const (
	requestFlags         = 0
	requestChecksumStart = 8
	requestChecksumAt    = 10 // from the start
	requestSent          = 8  // the time, when the frame has left, in the place of the checksum
	requestLaunch        = 16
	requestShort         = 16
	requestLong          = 24
)

// txRequests is what can be asked for frames to send.
type txRequests struct {
	flags link.Flags // of frames, those that are honoured
	room  int        // before each frame, bytes; 0: nothing can be asked
}

// newTXRequests finds out whether what the config wants can be had.
func newTXRequests(d *device, with Features, zeroCopy bool) (r txRequests, err error) {
	if with&(TXChecksum|TXTime|LaunchTime) == 0 {
		return r, nil
	}
	var driver netdev.XSKFeatures
	if zeroCopy {
		info, err := netdev.Features(d.index)
		if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return r, err
		}
		driver = info.XSK
	}
	size := requestShort
	for _, w := range []struct {
		feature Features
		what    string
		needs   netdev.XSKFeatures
		copied  bool // in copy mode, too, whatever the driver
		flag    link.Flags
		size    int
	}{
		{TXChecksum, "checksums of frames to send", netdev.XSKTXChecksum, true, link.FlagChecksumOffload, requestShort},
		{TXTime, "times of frames sent", netdev.XSKTXTimestamp, false, link.FlagTXTime, requestShort},
		{LaunchTime, "launch times", netdev.XSKLaunchTime, false, link.FlagLaunchTime, requestLong},
	} {
		switch {
		case with&w.feature == 0:
			continue
		case !zeroCopy && !w.copied:
			return r, fmt.Errorf("%s need zero copy, and the driver (%s) or the config has none: %w", w.what, d.driver, link.ErrNotSupported)
		case zeroCopy && driver&w.needs == 0:
			return r, fmt.Errorf("%s: the driver (%s) has none in zero copy (it has: %v): open without: %w", w.what, d.driver, driver, link.ErrNotSupported)
		}
		r.flags |= w.flag
		size = max(size, w.size)
	}
	r.room, err = probeRequests(size)
	return r, err
}

// probeRequests registers a region for a moment, to see whether the kernel knows
// requests. It may want the room for all of them.
func probeRequests(size int) (int, error) {
	region, err := offheap.Map(maxChunk)
	if err != nil {
		return 0, err
	}
	defer region.Close()
	for ; size <= requestLong; size += requestLong - requestShort {
		fd, err := newSocket()
		if err != nil {
			return 0, err
		}
		err = registerUMEM(fd, region.Bytes()[:maxChunk], maxChunk, size)
		unix.Close(fd)
		if !errors.Is(err, unix.EINVAL) {
			return size, err
		}
	}
	return 0, fmt.Errorf("the kernel takes no requests for frames to send: Linux 6.11 and later do: open without TXChecksum, TXTime and LaunchTime: %w", link.ErrNotSupported)
}

// needed are the flags that mean something to be done to a frame.
const needed = link.FlagVLANStripped | link.FlagChecksumOffload | link.FlagLaunchTime

// putRequests is put where frames have room for requests.
//
//oobnet:hot
func (q *queue) putRequests(frames []link.Frame) (taken, put int) {
	mark := uint16(q.slot*2 + markSend)
	for taken = range frames {
		f := &frames[taken]
		exists := int(f.Index) < len(q.held)
		if exists && q.held[f.Index] != 0 {
			continue
		}
		if !exists || !q.carries(f, needed&^q.txFlags) || !q.possible(f) {
			if !q.refuse(f.Index, mark) {
				return taken, put
			}
			if int(f.Index) < len(q.sentAt) {
				q.sentAt[f.Index] = 0
			}
			continue
		}
		q.held[f.Index] = mark
		off, options := q.request(f)
		*q.tx.slot(q.tx.prod + uint32(put)) = unix.XDPDesc{Addr: uint64(f.Index)<<q.shift + uint64(off), Len: uint32(f.Len), Options: options}
		put++
	}
	return len(frames), put
}

// possible says whether there is what the frame's flags ask something for.
func (q *queue) possible(f *link.Frame) bool {
	if f.Flags&link.FlagChecksumOffload == 0 {
		return true
	}
	_, _, ok := datagram(q.memory.Bytes(*f))
	return ok
}

// request writes what a frame's flags ask for before the frame, and returns
// where the frame starts now and the descriptor's options. One that stands too
// close to the start of its buffer moves: the kernel takes no frame without the
// room, asked or not. Frames are shorter than buffers by more than that: see
// Link.checkLayout.
//
//oobnet:hot
func (q *queue) request(f *link.Frame) (off uint16, options uint32) {
	b := q.memory.Buffer(f.Index)
	off = f.Off
	if off < q.txRoom {
		off = q.txRoom
		copy(b[off:], b[f.Off:][:f.Len])
	}
	if q.sentAt != nil {
		q.sentAt[f.Index] = 0
	}
	if f.Flags&q.txFlags == 0 {
		return off, 0
	}
	var flags uint64
	r := b[off-q.txRoom : off]
	binary.NativeEndian.PutUint64(r[requestSent:], 0)
	if f.Flags&q.txFlags&link.FlagTXTime != 0 {
		flags |= unix.XDP_TXMD_FLAGS_TIMESTAMP
		q.sentAt[f.Index] = sentAwaited
	}
	if f.Flags&link.FlagChecksumOffload != 0 && requestChecksum(b[off:][:f.Len], r) {
		flags |= unix.XDP_TXMD_FLAGS_CHECKSUM
	}
	if f.Flags&link.FlagLaunchTime != 0 {
		binary.NativeEndian.PutUint64(r[requestLaunch:], uint64(f.Time))
		flags |= unix.XDP_TXMD_FLAGS_LAUNCH_TIME
	}
	binary.NativeEndian.PutUint64(r[requestFlags:], flags)
	return off, unix.XDP_TX_METADATA
}

// sentAwaited stands for the time of a frame that the device has and whose time
// was asked for. noTime bounds what cannot be a time, ns: where the device has
// none, the place of the time still holds the request for a checksum.
const (
	sentAwaited = -1
	noTime      = 1 << 32
)

// takeSent notes the times of n completed frames, which stand before them as
// requests did. The buffers are the caller's; their completions are in the ring.
//
//oobnet:hot
func (q *queue) takeSent(n uint32) {
	mask := uint64(1)<<q.shift - 1
	for i := range n {
		at := *q.done.slot(q.done.cons + i)
		index, off := uint32(at>>q.shift), uint16(at&mask)
		if int(index) >= len(q.sentAt) || q.sentAt[index] != sentAwaited || off < q.txRoom {
			continue
		}
		r := q.memory.Buffer(index)[off-q.txRoom:]
		q.sentAt[index] = 0
		if t := binary.NativeEndian.Uint64(r[requestSent:]); t >= noTime {
			q.sentAt[index] = int64(t)
		}
	}
}

// SentAt implements link.TXTimer.
//
//oobnet:hot
func (l *Link) SentAt(bufs []uint32, times []int64) {
	for i, index := range bufs {
		times[i] = 0
		if int(index) < len(l.sentAt) {
			times[i] = max(l.sentAt[index], 0)
		}
	}
}

// requestChecksum asks for the frame's UDP checksum. Whoever completes it sums up
// to the end of the frame: where something stands behind the datagram it is
// completed here, and false returned.
//
//oobnet:hot
func requestChecksum(frame, request []byte) bool {
	start, end, ok := datagram(frame)
	switch {
	case !ok:
		return false // see possible
	case end == len(frame):
		binary.NativeEndian.PutUint16(request[requestChecksumStart:], uint16(start))
		binary.NativeEndian.PutUint16(request[requestChecksumAt:], wire.UDPChecksumAt)
		return true
	}
	// The field holds the pseudo-header's sum, and counts with the rest. 0 would
	// say that there is no checksum (RFC 768).
	sum := ^wire.Fold(wire.Sum(frame[start:end], 0))
	if sum == 0 {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(frame[start+wire.UDPChecksumAt:], sum)
	return false
}

// datagram finds the UDP header of a frame and the end of its payload.
//
//oobnet:hot
func datagram(frame []byte) (start, end int, ok bool) {
	start, ok = wire.UDPStart(frame)
	if !ok {
		return 0, 0, false
	}
	h, ok := wire.ParseUDP(frame[start:])
	return start, start + h.Len, ok
}
