package vm_test

import (
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/oobnet/oobnet/filter/vm"
)

// A program that accepts VLAN 100, run on a frame.
func Example() {
	spec, err := ebpf.LoadCollectionSpec("testdata/netrx.o")
	if err != nil {
		fmt.Println(err)
		return
	}
	machine, err := vm.New(spec, "netrx", &vm.Config{CPUs: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	word := binary.LittleEndian.AppendUint32(nil, 100/64)
	set := binary.LittleEndian.AppendUint64(nil, 1<<(100%64))
	if err := machine.Map("vlans").Update(word, set); err != nil {
		fmt.Println(err)
		return
	}
	frame := make([]byte, 64)
	copy(frame[12:], []byte{0x81, 0, 0, 100, 8, 0})
	verdict, fault := machine.Runner(0).Run(&vm.Context{Buffer: frame, Len: len(frame)})
	fmt.Println(verdict, fault == 0)
	// Output: 1 true
}
