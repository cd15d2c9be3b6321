package vm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// mapSpec makes a collection whose program returns 2 and has a use for maps.
func mapSpec(maps map[string]*ebpf.MapSpec) *ebpf.CollectionSpec {
	var code asm.Instructions
	for name := range maps {
		code = append(code, asm.LoadMapPtr(asm.R1, 0).WithReference(name))
	}
	return &ebpf.CollectionSpec{Maps: maps, Programs: map[string]*ebpf.ProgramSpec{
		"main": {Type: ebpf.XDP, Instructions: append(code, asm.Mov.Imm(asm.R0, 2), asm.Return())}}}
}

func oneMap(t *testing.T, spec *ebpf.MapSpec, cpus int) *Map {
	t.Helper()
	v, err := New(mapSpec(map[string]*ebpf.MapSpec{"m": spec}), "main", &Config{CPUs: cpus})
	if err != nil {
		t.Fatal(err)
	}
	return v.Map("m")
}

func le32(n uint32) []byte { return binary.LittleEndian.AppendUint32(nil, n) }

func le64(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }

// TestHashAgainstModel: a hash does what a Go map does, and says when it is
// full.
func TestHashAgainstModel(t *testing.T) {
	for _, kind := range []ebpf.MapType{ebpf.Hash, ebpf.LRUHash} {
		m := oneMap(t, &ebpf.MapSpec{Type: kind, KeySize: 4, ValueSize: 8, MaxEntries: 50}, 2)
		r, model := rand.New(rand.NewPCG(1, 2)), map[uint32]uint64{}
		for range 20000 {
			k, value := r.Uint32N(45), r.Uint64()
			switch r.IntN(3) {
			case 0:
				if err := m.Update(le32(k), le64(value)); err != nil {
					t.Fatal(err)
				}
				model[k] = value
			case 1:
				err := m.Delete(le32(k))
				if _, ok := model[k]; ok != (err == nil) || !ok && !errors.Is(err, ebpf.ErrKeyNotExist) {
					t.Fatalf("%v: delete %d: %v, in the model %v", kind, k, err, ok)
				}
				delete(model, k)
			case 2:
				b, err := m.Lookup(le32(k))
				want, ok := model[k]
				if ok != (err == nil) || ok && binary.LittleEndian.Uint64(b) != want {
					t.Fatalf("%v: lookup %d: %x, %v, in the model %x, %v", kind, k, b, err, want, ok)
				}
			}
		}
		if got := len(contents(t, m)); got != len(model) {
			t.Errorf("%v: %d entries, in the model %d", kind, got, len(model))
		}
		full := 0
		for k := range uint32(200) {
			if m.Update(le32(k+1000), le64(1)) != nil {
				full++
			}
		}
		if wantFull := kind == ebpf.Hash; (full > 0) != wantFull {
			t.Errorf("%v: %d of 200 updates beyond the size failed", kind, full)
		}
		if got := len(contents(t, m)); got != 50 {
			t.Errorf("%v: full with %d entries of 50", kind, got)
		}
	}
}

func TestLPMTrie(t *testing.T) {
	m := oneMap(t, &ebpf.MapSpec{Type: ebpf.LPMTrie, KeySize: 20, ValueSize: 4, MaxEntries: 200}, 1)
	r := rand.New(rand.NewPCG(3, 4))
	type prefix struct {
		length int
		data   [16]byte
	}
	covers := func(p prefix, data [16]byte, n int) bool {
		if p.length > n {
			return false
		}
		for i := range p.length {
			if (p.data[i/8]^data[i/8])>>(7-i%8)&1 != 0 {
				return false
			}
		}
		return true
	}
	address := func() (a [16]byte) { // few bits differ, so that prefixes nest
		for range 3 {
			a[r.IntN(16)] = byte(1 << r.IntN(8))
		}
		return a
	}
	key := func(n int, data [16]byte) []byte { return append(le32(uint32(n)), data[:]...) }
	var list []prefix
	for i := range 150 {
		p := prefix{[]int{0, 1, 8, 31, 32, 33, 63, 64, 65, 96, 127, 128}[r.IntN(12)], address()}
		if err := m.Update(key(p.length, p.data), le32(uint32(i))); err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	for range 5000 {
		data, n, best, want := address(), 128, -1, -1
		if r.IntN(4) == 0 {
			n = r.IntN(129)
		}
		for i, p := range list {
			if covers(p, data, n) && p.length >= best {
				best, want = p.length, i
			}
		}
		b, err := m.Lookup(key(n, data))
		got := -1
		if err == nil {
			got = int(binary.LittleEndian.Uint32(b))
		}
		if got != want {
			t.Fatalf("%x/%d: %d (%v), want %d", data, n, got, err, want)
		}
	}
	if err := m.Update(key(129, address()), le32(1)); err == nil {
		t.Error("a prefix of 129 bits was taken")
	}
	for _, p := range list {
		if err := m.Delete(key(p.length, p.data)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			t.Fatal(err)
		}
	}
	if left := contents(t, m); len(left) != 0 {
		t.Errorf("left after deleting all: %v", left)
	}
}

func TestMapErrors(t *testing.T) {
	array := oneMap(t, &ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 6, MaxEntries: 3}, 1)
	if _, err := array.Lookup(le32(3)); !errors.Is(err, ebpf.ErrKeyNotExist) {
		t.Errorf("lookup beyond the end: %v", err)
	}
	for name, err := range map[string]error{
		"short key":       array.Update([]byte{1}, make([]byte, 6)),
		"long value":      array.Update(le32(1), make([]byte, 8)),
		"beyond the end":  array.Update(le32(3), make([]byte, 6)),
		"delete of array": array.Delete(le32(1)),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	constant := oneMap(t, &ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1, Flags: readOnlyProg}, 1)
	if err := constant.Update(le32(0), le32(1)); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("update of a constant map: %v", err)
	}
	targets := oneMap(t, &ebpf.MapSpec{Type: ebpf.XSKMap, MaxEntries: 4}, 1)
	if err := targets.Update(le32(2), le32(7)); err != nil {
		t.Error(err)
	}
	if got := contents(t, targets); fmt.Sprint(got) != "[02000000: 07000000]" {
		t.Errorf("targets: %v", got)
	}
	if err := targets.Delete(le32(2)); err != nil {
		t.Error(err)
	}
	if err := targets.Delete(le32(2)); !errors.Is(err, ebpf.ErrKeyNotExist) {
		t.Errorf("deleted twice: %v", err)
	}
	percpu := oneMap(t, &ebpf.MapSpec{Type: ebpf.PerCPUHash, KeySize: 4, ValueSize: 4, MaxEntries: 4}, 3)
	value := []byte{1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0}
	if err := percpu.Update(le32(9), value); err != nil {
		t.Fatal(err)
	}
	if b, err := percpu.Lookup(le32(9)); err != nil || string(b) != string(value) {
		t.Errorf("per CPU: %x, %v", b, err)
	}
}

// TestConcurrentRunners: Runners count flows in shared maps while Go code
// reads, writes and deletes. Nothing is lost that is counted by atomics or by
// CPU. It is for the race detector, too.
func TestConcurrentRunners(t *testing.T) {
	const runners, rounds = 4, 400
	flows := newObject(t, object{file: "flows", entry: "count"}, runners)
	globals := newObject(t, object{file: "globals", entry: "globals"}, runners)
	ports := newObject(t, object{file: "ports", entry: "ports"}, runners)
	firewall := newObject(t, objects[2], runners)
	callbacks := newObject(t, object{file: "callbacks", entry: "callbacks"}, runners)
	list := frames(21, 64)
	stop := make(chan struct{})
	var background, work sync.WaitGroup
	background.Go(func() {
		r := rand.New(rand.NewPCG(1, 1))
		for {
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Microsecond):
			}
			m := flows.Map("flows")
			var last []byte
			_ = m.Each(func(key, _ []byte) bool { last = key; return r.IntN(3) > 0 })
			if last != nil {
				_ = m.Update(last, le64(r.Uint64()))
				_ = m.Delete(last)
			}
			_ = firewall.Map("rules").Update([]byte{32, 0, 0, 0, 10, 0, 0, byte(r.IntN(4))}, make([]byte, 8))
			_ = callbacks.Map("lengths").Update(le64(r.Uint64N(2000)), le64(1))
			_ = globals.Map(".bss").Each(func(_, _ []byte) bool { return true })
		}
	})
	faults := make([]error, runners)
	for cpu := range runners {
		work.Go(func() {
			rs := []*Runner{flows.Runner(cpu), globals.Runner(cpu), ports.Runner(cpu), firewall.Runner(cpu), callbacks.Runner(cpu)}
			for i := range rounds {
				for _, r := range rs {
					if r == rs[4] && i%16 != 0 {
						continue // takes long
					}
					if _, fault := r.Run(newContext(list[(i+cpu*16)%len(list)])); fault != 0 {
						faults[cpu] = fmt.Errorf("%w at %s", fault, r.Where())
						return
					}
				}
			}
		})
	}
	work.Wait()
	close(stop)
	background.Wait()
	if err := errors.Join(faults...); err != nil {
		t.Fatal(err)
	}
	// The atomic counter has all frames, and starts at 1000 (globals.c).
	b, err := globals.Map(".data").Lookup(le32(0))
	if err != nil {
		t.Fatal(err)
	}
	if got := binary.LittleEndian.Uint64(b); got != 1000+runners*rounds {
		t.Errorf("counted %d frames, want %d", got-1000, runners*rounds)
	}
}

// TestTableUnderChurn: keys that stay are found, with a value of theirs, whatever
// happens around them and while they are updated. A key's values differ, and all
// of them name it; the map is small, so that chains are long and slots used again
// at once.
func TestTableUnderChurn(t *testing.T) {
	const stay, workers, words = 8, 3, 32
	m := oneMap(t, &ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 4 * words, MaxEntries: 32}, workers)
	key := func(n uint32) []uint64 { return []uint64{uint64(n)} }
	value := func(n, version uint32) []byte { return bytes.Repeat(le32(n<<16|version&0xffff), words) }
	for n := range uint32(stay) {
		if err := m.Update(le32(n), value(n, 0)); err != nil {
			t.Fatal(err)
		}
	}
	var work sync.WaitGroup
	lost, wrong := make([]int, workers), make([]int, workers)
	for w := range workers {
		work.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 9))
			for i := range uint32(20000) {
				n := stay + r.Uint32N(60)
				switch r.IntN(5) {
				case 0:
					_ = m.table.update(key(n), value(n, i), 0, w)
				case 1:
					_ = m.table.remove(key(n), false)
				case 2:
					_ = m.table.update(key(n%stay), value(n%stay, i), 0, w)
				case 3:
					if _, ok := m.table.find(key(n%stay), m.table.hash(key(n%stay))); !ok {
						lost[w]++
					}
				case 4:
					b, err := m.Lookup(le32(n % stay))
					if err != nil {
						lost[w]++
					} else if v := binary.LittleEndian.Uint32(b); v>>16 != n%stay || !bytes.Equal(b, bytes.Repeat(b[:4], words)) {
						wrong[w]++
					}
				}
			}
		})
	}
	work.Wait()
	for w := range workers {
		if lost[w] != 0 || wrong[w] != 0 {
			t.Errorf("worker %d: %d not found, %d with another's value, or with a torn one", w, lost[w], wrong[w])
		}
	}
	// All that is there can be deleted, and then all slots are free again.
	_ = m.Each(func(k, _ []byte) bool { return m.Delete(k) == nil })
	for n := range uint32(32) {
		if err := m.Update(le32(n), value(n, 0)); err != nil {
			t.Fatalf("entry %d of 32 after the churn: %v", n, err)
		}
	}
}
