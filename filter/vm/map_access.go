package vm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/cilium/ebpf"
)

// encode makes bytes of a key or value as a collection holds them.
func encode(x any) ([]byte, error) {
	if b, ok := x.([]byte); ok {
		return b, nil
	}
	if x == nil { // of which package binary makes a panic
		return nil, errors.New("a key or a value is missing")
	}
	b, err := binary.Append(nil, binary.LittleEndian, x)
	if err != nil {
		return nil, fmt.Errorf("%T has no fixed size: %w", x, err)
	}
	return b, nil
}

// Lookup copies the value of a key; in an LPM trie, that of the longest prefix
// that fits. While programs update the key, it is the old value or the new; what
// a program writes through a pointer may be seen in part. The error wraps
// ebpf.ErrKeyNotExist if there is none.
func (m *Map) Lookup(key []byte) ([]byte, error) {
	if err := m.keyError(key); err != nil {
		return nil, err
	}
	if m.hashed() {
		return m.lookupHash(key)
	}
	i := binary.LittleEndian.Uint32(key)
	if uint64(i) >= uint64(m.max) || m.present != nil && m.present[i].Load() == 0 {
		return nil, m.missing(key)
	}
	return m.get(i), nil
}

// lookupHash copies values until one was left alone meanwhile. If a program
// updates the key all the time, it makes that wait for one copy.
func (m *Map) lookupHash(key []byte) ([]byte, error) {
	var k [maxKeyWords]uint64
	t := m.table
	for tries := 0; ; tries++ {
		w := k[:t.width]
		words(w, key)
		slot, ok := m.find(w)
		if !ok {
			return nil, m.missing(key)
		}
		if tries >= maxWalks {
			b := t.bucket(t.hash(w))
			t.hold(b, true)
			if slot, ok = t.own(b, w); ok {
				value := m.get(slot)
				t.release(b)
				return value, nil
			}
			t.release(b) // deleted at last; of a trie, another prefix may fit
			continue
		}
		seq, ok := t.copying(slot, w)
		if value := m.get(slot); ok && t.seq[slot].Load() == seq {
			return value, nil
		}
	}
}

// find looks a key up that is a hash's; of a trie, it cuts it to the prefix that
// it finds.
func (m *Map) find(key []uint64) (slot uint32, ok bool) {
	if m.kind == ebpf.LPMTrie {
		slot, _, ok = m.match(key)
		return slot, ok
	}
	return m.table.find(key, m.table.hash(key))
}

// Update sets the value of a key.
func (m *Map) Update(key, value []byte) error {
	if err := m.keyError(key); err != nil {
		return err
	}
	want := m.valueSize
	if m.perCPU() {
		want = m.cpus * m.stride
	}
	if len(value) != want {
		return fmt.Errorf("vm: map %s: value of %d bytes: it has values of %d", m.name, len(value), want)
	}
	if m.frozen {
		return m.frozenError()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.hashed() {
		return m.updateHash(key, value)
	}
	i := binary.LittleEndian.Uint32(key)
	if uint64(i) >= uint64(m.max) {
		return fmt.Errorf("vm: map %s: index %d: there are %d", m.name, i, m.max)
	}
	if m.kind == ebpf.ProgramArray && uint64(binary.LittleEndian.Uint32(value)) >= uint64(m.programs) {
		return fmt.Errorf("vm: map %s: %d: %w: VM.Program tells their numbers", m.name, binary.LittleEndian.Uint32(value), errProgram)
	}
	m.put(i, value, m.goSide(), false)
	if m.present != nil {
		m.present[i].Store(1)
	}
	return nil
}

func (m *Map) updateHash(key, value []byte) error {
	var k [maxKeyWords]uint64
	w := k[:m.table.width]
	words(w, key)
	var result int64
	if m.kind == ebpf.LPMTrie {
		result = m.updatePrefix(w, value, 0, m.goSide())
	} else {
		result = m.table.update(w, value, 0, m.goSide())
	}
	switch result {
	case 0:
		return nil
	case -eINVAL:
		return fmt.Errorf("vm: map %s: the key's prefix is longer than its %d bits", m.name, m.prefixBits())
	}
	return fmt.Errorf("vm: map %s: %w: it has room for %d entries", m.name, errFull, m.max)
}

// Delete deletes a key; the error wraps ebpf.ErrKeyNotExist if it is not
// there. Entries of arrays cannot be deleted.
func (m *Map) Delete(key []byte) error {
	if err := m.keyError(key); err != nil {
		return err
	}
	if m.isArray() {
		return fmt.Errorf("vm: map %s: entries of arrays cannot be deleted: update it with zeros: %w", m.name, ErrUnsupported)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.hashed() {
		i := binary.LittleEndian.Uint32(key)
		if uint64(i) >= uint64(m.max) || m.present[i].Swap(0) == 0 {
			return m.missing(key)
		}
		return nil
	}
	var k [maxKeyWords]uint64
	w := k[:m.table.width]
	words(w, key)
	if m.kind == ebpf.LPMTrie && !m.cut(w) || m.table.remove(w, true) != 0 {
		return m.missing(key)
	}
	return nil
}

// Each calls f for each entry, in any order, until it returns false. What
// changes meanwhile may be seen or not.
func (m *Map) Each(f func(key, value []byte) bool) error {
	if !m.hashed() {
		for i := range m.max {
			if m.present != nil && m.present[i].Load() == 0 {
				continue
			}
			if !f(binary.LittleEndian.AppendUint32(nil, uint32(i)), m.get(uint32(i))) {
				break
			}
		}
		return nil
	}
	t := m.table
	k := make([]uint64, t.width)
	for slot := range t.slots {
		seq, ok := t.entry(slot, k)
		if !ok {
			continue
		}
		value := m.get(slot)
		if t.seq[slot].Load() != seq {
			continue // deleted meanwhile
		}
		var key []byte
		for _, w := range k {
			key = binary.LittleEndian.AppendUint64(key, w)
		}
		if !f(key[:m.keySize], value) {
			break
		}
	}
	return nil
}

// LPM tries: a hash with one look-up for each prefix length in use, from the
// longest down. The key is the length, 32 bits, then the data with all bits
// beyond the length zero.

// prefixBits is the longest prefix of an LPM trie.
func (m *Map) prefixBits() int { return 8 * (m.keySize - 4) }

// cut clears the bits beyond the key's length; false if that is too long.
//
//oobnet:hot
func (m *Map) cut(key []uint64) bool {
	n := uint32(key[0])
	if uint64(n) > uint64(m.prefixBits()) {
		return false
	}
	cutTo(key, int(n))
	return true
}

// cutTo sets the key's length to n bits and clears those beyond. Data bits
// count from the most significant of each byte, bytes from the lowest of a word.
//
//oobnet:hot
func cutTo(key []uint64, n int) {
	first := 4 + n/8 // the byte that the first bit to clear is in
	w, b := first/8, first%8
	if w < len(key) {
		keep := uint64(1)<<(8*b) - 1
		keep |= uint64(uint8(uint16(0xff00)>>(n%8))) << (8 * b)
		key[w] &= keep
	}
	for w++; w < len(key); w++ {
		key[w] = 0
	}
	key[0] = key[0]&^math.MaxUint32 | uint64(n)
}

// match finds the longest prefix of a key, which it uses up, and says how many
// lengths it tried.
//
//oobnet:hot
func (m *Map) match(key []uint64) (slot uint32, tries int, ok bool) {
	if !m.cut(key) {
		return 0, 0, false
	}
	for n := m.longest(int(uint32(key[0]))); n >= 0; n = m.longest(n - 1) {
		cutTo(key, n)
		tries++
		if slot, ok = m.table.find(key, m.table.hash(key)); ok || n == 0 {
			break
		}
	}
	return slot, tries, ok
}

// updatePrefix is update for LPM tries.
//
//oobnet:hot
func (m *Map) updatePrefix(key []uint64, value []byte, flags uint64, who int) int64 {
	if !m.cut(key) {
		return -eINVAL
	}
	n := uint32(key[0])
	m.lengths[n/64].Or(1 << (n % 64)) // before the entry: a look-up in between tries in vain
	if result := m.table.update(key, value, flags, who); result != -e2BIG {
		return result
	}
	return -eNOSPC
}
