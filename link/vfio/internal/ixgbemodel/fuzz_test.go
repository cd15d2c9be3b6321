package ixgbemodel

import (
	"encoding/binary"
	"testing"
)

// FuzzDevice lets a driver gone mad and a wire do what they like: in six bytes a
// register and a value; the last registers stand for a frame.
func FuzzDevice(f *testing.F) {
	op := func(offset, value uint32) []byte {
		return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint16(nil, uint16(offset/4)), value)
	}
	f.Add(byte(0), op(regCTRL, ctrlRST))
	f.Add(byte(1), append(op(regMSCA, mscaCommand|mdioRead<<26), op(regTIMINCA, 7)...))
	f.Add(byte(0), append(op(txBlock+qTail, 5), op(regFDIRCMD, fdirAdd)...))
	f.Add(byte(0), append(op(regHLREG0, hlreg0Loopback), op(txBlock+qTail, 2)...))
	f.Add(byte(1), append(op(regMRQC, 0xffff0001), op(Size-4, 60)...))
	f.Fuzz(func(t *testing.T, chip byte, ops []byte) {
		r := newRig(t, []Chip{Chip82599, ChipX540}[chip&1])
		r.trace = nil
		r.start()
		copy(r.memory, ops) // rings of nonsense
		for ; len(ops) >= 6 && len(r.trace) < 100; ops = ops[6:] {
			offset, value := uint32(binary.LittleEndian.Uint16(ops))*4, binary.LittleEndian.Uint32(ops[2:])
			switch {
			case offset >= Size-64:
				r.Receive(append(datagram(int(value>>8)%40), ops...))
			case value&1 == 0:
				r.Read32(offset)
			}
			r.Write32(offset, value)
		}
		if len(r.Violations()) > maxViolations {
			t.Error("violations have no bound")
		}
	})
}
