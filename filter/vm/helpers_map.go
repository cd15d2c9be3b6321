package vm

import "github.com/cilium/ebpf"

// scratchSize is room for the longest key, bytes.
const scratchSize = maxKeySize

// mapAt is the map of a handle; nil after a fault.
//
//oobnet:hot
func (r *Runner) mapAt(handle uint64) *Map {
	if i := handle & offsetMask; handle>>regionShift == regionMap && i < uint64(len(r.vm.maps)) {
		return r.vm.maps[i]
	}
	r.fault = FaultHelper
	return nil
}

// keyAt reads a map's key; nil after a fault. It stays valid until the next.
//
//oobnet:hot
func (r *Runner) keyAt(m *Map, a uint64) []uint64 {
	b := r.bytes(r.read, a, uint64(m.keySize))
	if b == nil {
		return nil
	}
	k := r.key[:(m.keySize+7)/8]
	words(k, b)
	return k
}

// mapLookup returns the address of a value, 0 if there is none.
//
//oobnet:hot
func (r *Runner) mapLookup(handle, key uint64) uint64 {
	m := r.mapAt(handle)
	if m == nil {
		return 0
	}
	if m.table == nil {
		i, ok := load32(r.read, key)
		if !ok || m.kind == ebpf.ProgramArray {
			return r.bad()
		}
		if i >= uint64(m.max) || m.present != nil && m.present[i].Load() == 0 {
			return 0
		}
		return m.address() | i*uint64(m.stride)
	}
	k := r.keyAt(m, key)
	if k == nil {
		return 0
	}
	var slot uint32
	var ok bool
	if m.kind == ebpf.LPMTrie {
		var tries int
		slot, tries, ok = m.match(k)
		// Known only now, and at most 2049 of some ten nanoseconds each.
		if !r.charge(tries * (2 + len(k)>>1)) {
			return 0
		}
	} else {
		slot, ok = m.table.find(k, m.table.hash(k))
	}
	if !ok {
		return 0
	}
	return m.address() | uint64(slot)*uint64(m.stride)
}

//oobnet:hot
func (r *Runner) mapUpdate(handle, key, value, flags uint64) uint64 {
	m := r.mapAt(handle)
	if m == nil {
		return 0
	}
	k := r.keyAt(m, key)
	if k == nil {
		return 0
	}
	b := r.bytes(r.read, value, uint64(m.valueSize))
	switch {
	case b == nil:
		return 0
	case !m.plain() || m.readOnly:
		return errno(eOPNOTSUPP)
	case flags > exist:
		return errno(eINVAL)
	case m.table != nil && m.perCPU() && !r.charge(m.cpus*(1+m.stride>>4)): // an insertion clears the others' values
		return 0
	case m.lru() && !r.charge(maxVictims): // an insertion may look at so many entries, to evict one
		return 0
	case m.kind == ebpf.LPMTrie:
		return r.busy(m.updatePrefix(k, b, flags, r.cpu))
	case m.table != nil:
		return r.busy(m.table.update(k, b, flags, r.cpu))
	case k[0] >= uint64(m.max):
		return errno(e2BIG)
	case flags == noExist:
		return errno(eEXIST)
	}
	m.put(uint32(k[0]), b, r.cpu, false)
	return 0
}

//oobnet:hot
func (r *Runner) mapDelete(handle, key uint64) uint64 {
	m := r.mapAt(handle)
	if m == nil {
		return 0
	}
	k := r.keyAt(m, key)
	switch {
	case k == nil:
		return 0
	case !m.plain() || m.readOnly:
		return errno(eOPNOTSUPP)
	case m.table == nil:
		return errno(eINVAL)
	case m.kind == ebpf.LPMTrie && !m.cut(k):
		return errno(eINVAL)
	}
	return r.busy(m.table.remove(k, false))
}

// busy makes r0 of a result of the table's, and charges for the wait if it was
// in vain: a program that tries again and again must not outlast its budget.
//
//oobnet:hot
func (r *Runner) busy(result int64) uint64 {
	if result == -eBUSY {
		r.charge(maxSpins)
	}
	return uint64(result)
}

// tailCall returns where the run goes on, -1 if the call does not take place,
// upon which the program goes on behind it.
//
//oobnet:hot
func (r *Runner) tailCall(reg *[16]uint64) int {
	m := r.mapAt(reg[2])
	if m == nil {
		return -1
	}
	if m.kind != ebpf.ProgramArray || reg[1] != regionContext<<regionShift {
		r.fault = FaultHelper
		return -1
	}
	i := reg[3] & 0xffffffff
	if i >= uint64(m.max) || r.tailCalls >= maxTailCalls || m.present[i].Load() == 0 {
		return -1
	}
	r.tailCalls++
	number, _ := load32(m.slabs, i*uint64(m.stride))
	if number >= uint64(len(r.vm.programs)) {
		return -1
	}
	return r.vm.programs[number].first
}

// callback runs a function of the program inside a helper; false: the run has
// ended with a fault.
//
//oobnet:hot
func (r *Runner) callback(function uint64, depth int, args *[5]uint64) (uint64, bool) {
	if depth == MaxDepth {
		r.fault = FaultStack
		return 0, false
	}
	pc := function & offsetMask
	if function>>regionShift != regionFunction || pc >= uint64(len(r.vm.code)) {
		r.fault = FaultHelper
		return 0, false
	}
	if depth > r.deepest {
		r.deepen(depth)
	}
	r.budget, r.charged = r.budget-4, r.charged+4 // what starting it takes
	v := r.exec(int(pc), depth, args)
	r.depth = depth - 1
	return v, r.fault == 0
}

const maxLoops = 8 << 20 // BPF_MAX_LOOPS

// loop is bpf_loop: it returns how often the callback was run, which ends the
// loop by returning 1.
//
//oobnet:hot
func (r *Runner) loop(n, function, ctx, flags uint64) uint64 {
	n &= 0xffffffff
	if flags != 0 {
		return errno(eINVAL)
	}
	if n > maxLoops {
		return errno(e2BIG)
	}
	depth := r.depth + 1
	for i := range n {
		stop, ok := r.callback(function, depth, &[5]uint64{i, ctx})
		if !ok {
			return 0
		}
		if stop != 0 {
			return i + 1
		}
	}
	return n
}

// forEach is bpf_for_each_map_elem, on arrays and hashes: it returns how many
// entries the callback has seen.
//
//oobnet:hot
func (r *Runner) forEach(handle, function, ctx, flags uint64) uint64 {
	m := r.mapAt(handle)
	if m == nil {
		return 0
	}
	if !m.plain() || m.kind == ebpf.LPMTrie {
		return r.bad()
	}
	if flags != 0 {
		return errno(eINVAL)
	}
	depth, seen := r.depth+1, uint64(0)
	slots := uint32(m.max)
	if m.table != nil {
		slots = m.table.slots
	}
	key := regionScratch<<regionShift | uint64(r.depth)*scratchSize
	for i := uint32(0); i < slots; i++ {
		if !r.charge(1 + m.keySize>>4) {
			return 0
		}
		if !r.scratchKey(m, i) {
			continue
		}
		args := [5]uint64{handle, key, m.address() | uint64(i)*uint64(m.stride), ctx}
		stop, ok := r.callback(function, depth, &args)
		if !ok {
			return 0
		}
		if seen++; stop != 0 {
			break
		}
	}
	return seen
}

// scratchKey puts the key of an entry where the callback of forEach reads it:
// each depth of calls has a place of its own. False: there is no such entry.
//
//oobnet:hot
func (r *Runner) scratchKey(m *Map, i uint32) bool {
	to := uint64(r.depth) * scratchSize
	if m.table == nil {
		return store32([][]byte{r.scratch}, to, uint64(i))
	}
	k := r.key[:m.table.width]
	if _, ok := m.table.entry(i, k); !ok {
		return false
	}
	for j, w := range k {
		store64([][]byte{r.scratch}, to+uint64(j)*8, w)
	}
	return true
}
