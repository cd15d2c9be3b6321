package vm

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
	"github.com/google/go-cmp/cmp"
	"github.com/oobnet/oobnet/internal/leaktest"
	"golang.org/x/sys/unix"
)

// onFirstCPU keeps the test's thread on CPU 0, so that the kernel counts in
// that CPU's values, and skips where the kernel cannot be asked.
func onFirstCPU(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("BPF_PROG_TEST_RUN needs root: run the test as root to compare with the kernel")
	}
	if err := rlimit.RemoveMemlock(); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	var before, first unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	first.Set(0)
	if err := unix.SchedSetaffinity(0, &first); err != nil {
		t.Skipf("cannot stay on CPU 0: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.SchedSetaffinity(0, &before); err != nil {
			t.Error(err)
		}
	})
}

// kernelObject is an object in the kernel.
type kernelObject struct {
	*ebpf.Collection
	entry  *ebpf.Program
	socket bool
}

func newKernelObject(t *testing.T, o object) kernelObject {
	t.Helper()
	spec := loadSpec(t, o.file)
	c, err := ebpf.NewCollection(spec)
	var verifier *ebpf.VerifierError
	if errors.As(err, &verifier) {
		t.Fatalf("%+v", verifier)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	for _, e := range o.fill {
		if err := c.Maps[e.name].Update(bytesOf(t, e.key), bytesOf(t, e.value), ebpf.UpdateAny); err != nil {
			t.Fatal(err)
		}
	}
	return kernelObject{c, c.Programs[o.entry], spec.Programs[o.entry].Type == ebpf.SocketFilter}
}

// run runs a frame and returns the code and the frame after it. A socket
// filter finds the frame behind a header that the kernel takes off.
func (k kernelObject) run(t *testing.T, frame []byte) (uint32, []byte) {
	t.Helper()
	in := frame
	if k.socket {
		in = append(append(make([]byte, 12), frame[12:14]...), frame...)
	}
	opts := ebpf.RunOptions{Data: in, DataOut: make([]byte, len(in)+512)}
	code, err := k.entry.Run(&opts)
	if err != nil {
		t.Fatalf("%x: %v", in, err)
	}
	if k.socket {
		return code, frame
	}
	return code, opts.DataOut
}

// kernelContents are what contents returns of the same map in the kernel.
func kernelContents(t *testing.T, m *ebpf.Map, cpus int) []string {
	t.Helper()
	var list []string
	key := make([]byte, m.KeySize())
	if m.Type() == ebpf.PerCPUArray || m.Type() == ebpf.PerCPUHash {
		// Values of all CPUs come as a slice, element by element.
		values := reflect.New(reflect.SliceOf(reflect.ArrayOf(int(m.ValueSize()), reflect.TypeFor[byte]())))
		for it := m.Iterate(); it.Next(&key, values.Interface()); {
			var b []byte
			for i := range values.Elem().Len() {
				one := make([]byte, roundUp8(int(m.ValueSize())))
				reflect.Copy(reflect.ValueOf(one), values.Elem().Index(i))
				b = append(b, one...)
			}
			list = append(list, fmt.Sprintf("%x: %x", key, b[:cpus*roundUp8(int(m.ValueSize()))]))
		}
	} else {
		value := make([]byte, m.ValueSize())
		it := m.Iterate()
		for it.Next(&key, &value) {
			list = append(list, fmt.Sprintf("%x: %x", key, value))
		}
		if err := it.Err(); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(list)
	return list
}

// TestObjectsAsInKernel: each program of testdata, over the same frames, gives
// the same return codes, frames and contents of maps here and in the kernel.
func TestObjectsAsInKernel(t *testing.T) {
	for _, o := range objects {
		t.Run(o.file, func(t *testing.T) {
			leaktest.Check(t)
			onFirstCPU(t)
			k := newKernelObject(t, o)
			cpus := ebpf.MustPossibleCPU()
			v := newObject(t, o, cpus)
			r := v.Runner(0)
			codes := map[uint32]int{}
			for i, frame := range frames(7, 400) {
				if k.socket && len(frame) < 40 {
					continue // the kernel's test run of socket filters wants whole IP headers
				}
				want, out := k.run(t, frame)
				c := newContext(frame)
				got, fault := r.Run(c)
				if fault != 0 {
					t.Fatalf("frame %d (%x): %v at %s", i, frame, fault, r.Where())
				}
				if got != want {
					t.Fatalf("frame %d (%x): returned %#x, the kernel %#x", i, frame, got, want)
				}
				if !bytes.Equal(c.Buffer[c.Off:][:c.Len], out) {
					t.Fatalf("frame %d: left\n%x, the kernel\n%x", i, c.Buffer[c.Off:][:c.Len], out)
				}
				codes[got]++
			}
			if len(codes) < 2 {
				t.Errorf("all frames gave the same code, %v: they try too little", codes)
			}
			for name, m := range k.Maps {
				if m.Type() == ebpf.ProgramArray || m.Type() == ebpf.XSKMap {
					continue // hold the kernel's own numbers
				}
				if v.Map(name) == nil {
					t.Logf("map %s is not used", name)
					continue
				}
				if diff := cmp.Diff(kernelContents(t, m, cpus), contents(t, v.Map(name))); diff != "" {
					t.Errorf("map %s: the kernel's (-) and ours (+):\n%s", name, diff)
				}
			}
		})
	}
}
