package vm

// Return codes and flags of XDP (linux/bpf.h).
const (
	xdpAborted  = 0
	xdpRedirect = 4
	actionBits  = 3 // of the flags of bpf_redirect_map: what to return without a target
)

const (
	maxMetadata = 255    // bytes before the frame: the kernel's meta_len is a byte
	maxAccess   = 0xffff // offset and length of bpf_xdp_load_bytes and its like
)

// redirect is bpf_redirect of XDP: it knows no flags.
//
//oobnet:hot
func (r *Runner) redirect(ifindex uint32, flags uint64) uint64 {
	if flags != 0 {
		return xdpAborted
	}
	r.ctx.Redirect = Redirect{Kind: RedirectDevice, Value: ifindex}
	return xdpRedirect
}

// redirectMap remembers what the map holds for the key. Broadcast and the like
// are flags that the VM does not have: they give XDP_ABORTED, as unknown ones
// do in the kernel.
//
//oobnet:hot
func (r *Runner) redirectMap(handle uint64, key uint32, flags uint64) uint64 {
	m := r.mapAt(handle)
	if m == nil {
		return 0
	}
	kind := m.redirectKind()
	if kind == RedirectNone {
		return r.bad()
	}
	if flags&^actionBits != 0 {
		return xdpAborted
	}
	slot := key
	var ok bool
	if m.hashed() {
		k := r.key[:1]
		k[0] = uint64(key)
		slot, ok = m.table.find(k, m.table.hash(k))
	} else {
		ok = uint64(key) < uint64(m.max) && m.present[key].Load() != 0
	}
	if !ok {
		r.ctx.Redirect = Redirect{}
		return flags & actionBits
	}
	value, _ := load32(m.slabs, uint64(slot)*uint64(m.stride))
	r.ctx.Redirect = Redirect{Kind: kind, Value: uint32(value), Map: m, Key: key}
	return xdpRedirect
}

// adjustHead moves the start of the frame, and the metadata with it.
//
//oobnet:hot
func (r *Runner) adjustHead(by int) uint64 {
	metadata := r.data - r.meta
	data := r.data + by
	if data < metadata || data > r.end-etherLen {
		return errno(eINVAL)
	}
	if metadata != 0 {
		copy(r.ctx.Buffer[data-metadata:data], r.ctx.Buffer[r.meta:r.data])
	}
	r.data, r.meta = data, data-metadata
	r.window()
	return 0
}

// adjustTail moves the end of the frame; bytes that come in are zero.
//
//oobnet:hot
func (r *Runner) adjustTail(by int) uint64 {
	end := r.end + by
	if end > len(r.ctx.Buffer) || end < r.data+etherLen {
		return errno(eINVAL)
	}
	if by > 0 {
		if !r.charge(by >> 4) {
			return 0
		}
		clear(r.ctx.Buffer[r.end:end])
	}
	r.end = end
	r.window()
	return 0
}

// adjustMeta makes room for metadata before the frame.
//
//oobnet:hot
func (r *Runner) adjustMeta(by int) uint64 {
	meta := r.meta + by
	if meta < 0 || meta > r.data {
		return errno(eINVAL)
	}
	if n := r.data - meta; n&3 != 0 || n > maxMetadata {
		return errno(eACCES)
	}
	r.meta = meta
	r.window()
	return 0
}

// xdpBytes copies bytes of the frame to memory, or the other way.
//
//oobnet:hot
func (r *Runner) xdpBytes(at, to, n uint64, store bool) uint64 {
	side := r.write
	if store {
		side = r.read
	}
	b := r.bytes(side, to, n)
	if b == nil {
		return 0
	}
	if at > maxAccess || n > maxAccess {
		return errno(eFAULT)
	}
	if at+n > uint64(r.end-r.data) {
		return errno(eINVAL)
	}
	frame := r.ctx.Buffer[r.data:r.end][at:][:n]
	if store {
		copyShared(frame, b)
	} else {
		copyShared(b, frame)
	}
	return 0
}

// skbBytes is bpf_skb_load_bytes: what cannot be had becomes zero.
//
//oobnet:hot
func (r *Runner) skbBytes(at, to, n uint64) uint64 {
	b := r.bytes(r.write, to, n)
	if b == nil {
		return 0
	}
	if at > uint64(len(r.frame)) || n > uint64(len(r.frame))-at {
		clearShared(b)
		return errno(eFAULT)
	}
	copyShared(b, r.frame[at:][:n])
	return 0
}

// skbBytesRelative counts from a header: BPF_HDR_START_MAC or _NET.
//
//oobnet:hot
func (r *Runner) skbBytesRelative(at, to, n uint64, header uint32) uint64 {
	switch {
	case at > maxAccess || header > 1:
		at = maxAccess << 1 // beyond any frame
	case header == 1:
		at += etherLen
	}
	return r.skbBytes(at, to, n)
}
