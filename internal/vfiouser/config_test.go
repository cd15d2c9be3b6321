package vfiouser

import (
	"bytes"
	"testing"
)

func TestConfigSpace(t *testing.T) {
	c := NewConfigSpace(0x8086, 0x10fb, 0x020000, 1)
	pm := c.AddCapability(CapPM, []byte{3, 0, 0, 0, 0, 0}, []byte{0, 0, 3})
	c.Skip(0x6e)
	msix := c.AddCapability(CapMSIX, make([]byte, 10), []byte{0, 0xc0})
	b := make([]byte, 256)
	c.Read(0, b)
	if !bytes.Equal(b[:12], []byte{0x86, 0x80, 0xfb, 0x10, 0, 0, 0x10, 0, 1, 0, 0, 2}) {
		t.Errorf("header %x", b[:12])
	}
	if pm != 0x40 || msix != 0x70 || int(b[0x34]) != pm || int(b[pm+1]) != msix || b[msix] != CapMSIX || b[msix+1] != 0 {
		t.Errorf("capabilities %x", b[0x34:0x80])
	}
	c.Write(0, bytes.Repeat([]byte{0xff}, 300))
	c.Write(1<<63, []byte{1})
	c.Read(0, b)
	if b[0] != 0x86 || b[4] != 0x47 || b[5] != 5 || b[pm+4] != 3 || b[msix+2] != 0 || b[msix+3] != 0xc0 {
		t.Errorf("after writes %x", b)
	}
	if c.AddCapability(CapPCIe, make([]byte, 256), nil) != 0 {
		t.Error("a capability that is too long was added")
	}
	c.Skip(1000)
	if c.AddCapability(CapMSI, nil, nil) != 0 {
		t.Error("a capability behind the end was added")
	}
	c.Read(255, b)
	if !bytes.Equal(b[1:], make([]byte, 255)) {
		t.Error("bytes outside are not 0")
	}
}
