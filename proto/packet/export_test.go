package packet

import (
	"golang.org/x/net/bpf"

	"github.com/oobnet/oobnet/stack"
)

// Watched is what the sockets of a device want together.
func Watched(d *stack.Device) *stack.Watch {
	t, err := tapOf(d.Stack())
	if err != nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.watch(d)
}

// Program is a compiled program.
type Program = program

// Compile compiles a program.
func Compile(raw []bpf.RawInstruction) (*Program, error) { return compile(raw) }

// Run runs it on a frame that has nothing but bytes.
func (p *program) Run(data []byte) uint32 { return p.run(&subject{data: data}) }

// RunBeside runs it on a frame with what programs may ask of it beside its bytes.
func (p *program) RunBeside(data []byte, etherType, tci uint16, stripped bool, kind uint8) uint32 {
	return p.run(&subject{data: data, etherType: etherType, tci: tci, stripped: stripped, kind: kind})
}

// Batching makes the socket believe that a WriteBatch is under way until end.
func Batching(c *Conn) (end func()) {
	c.batching.Store(true)
	return func() { c.batching.Store(false) }
}
