package afxdp

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	xlink "github.com/cilium/ebpf/link"

	"github.com/oobnet/oobnet/filter"
	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/netnstest"
	"github.com/oobnet/oobnet/link"
)

// tagBesideFrames has a host's device send all frames with a tag beside them, as
// the kernel does for a device that inserts tags.
func tagBesideFrames(t *testing.T, h *netnstest.Host, etherType uint16, tci int32) (off func()) {
	t.Helper()
	const tcxNext = -1 // go on
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS,
		Instructions: asm.Instructions{
			asm.Mov.Imm(asm.R2, be16(etherType)),
			asm.Mov.Imm(asm.R3, tci),
			asm.FnSkbVlanPush.Call(),
			asm.Mov.Imm(asm.R0, tcxNext),
			asm.Return(),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close() // the hook has it
	var hook xlink.Link
	h.Do(func() {
		hook, err = xlink.AttachTCX(xlink.TCXOptions{Interface: h.IfIndex, Program: p, Attach: ebpf.AttachTCXEgress})
	})
	if errors.Is(err, ebpf.ErrNotSupported) {
		t.Skipf("to tag frames on their way out: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := hook.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestRXVLAN: a tag beside a frame counts for claims, and for the verdict VLAN, as
// one in it does, and Receive puts it there.
func TestRXVLAN(t *testing.T) {
	needsFeatures(t, RXVLAN)
	leaktest.Check(t)
	w := netnstest.NewPair(t, &netnstest.Config{Offloads: netnstest.OffloadsOn})
	needsVeth(t, w, "a card inserts tags that are beside frames")
	takeAll(t, w)
	b := newBench(t, w.A, &Config{With: RXVLAN}, nil)
	peer := newPacketPeer(t, w.B, suiteType)
	claim := func(vlan, etherType uint16) *link.Claims {
		return &link.Claims{EtherTypes: []link.ClaimEtherType{{VLAN: vlan, EtherType: etherType}}, VLANs: []uint16{5}}
	}
	const verdict = byte(filter.VLAN)
	body := saying(verdict, 77)[ethernetHeader:]
	plain, tagged := ethernet(suiteType, body), ethernet(suiteType, body, ctag(9))
	const pcp = 3 << 13
	for _, c := range []struct {
		name   string
		claims *link.Claims
		filter filter.Filter
		beside uint32 // the tag, 0 for none
		frame  []byte
		want   []byte // nil: it is the kernel's
	}{
		{"no tag", claim(0, suiteType), nil, 0, plain, plain},
		{"a tag", claim(5, suiteType), nil, ctag(pcp | 5), plain, ethernet(suiteType, body, ctag(pcp|5))},
		{"all of a VLAN", claim(5, link.AllEtherTypes), nil, ctag(5), plain, ethernet(suiteType, body, ctag(5))},
		{"a tag and untagged claims", claim(0, suiteType), nil, ctag(5), plain, nil},
		{"another VLAN", claim(5, suiteType), nil, ctag(6), plain, nil},
		{"a tag in the frame", claim(9, suiteType), nil, 0, tagged, tagged},
		{"one in it and one beside it", claim(5, etherTypeVLAN), nil, ctag(5), tagged, ethernet(suiteType, body, ctag(5), ctag(9))},
		{"the inner one", claim(9, suiteType), nil, ctag(5), tagged, nil},
		{"a provider's tag", claim(0, suiteSTag), nil, stag(5), plain, ethernet(suiteType, body, stag(5))},
		{"a provider's tag and a VLAN", claim(5, suiteType), nil, stag(5), plain, nil},
		{"the verdict", claim(0, 0xffff), program(t, "verdict"), ctag(5), plain, ethernet(suiteType, body, ctag(5))},
		{"the verdict on another VLAN", claim(0, 0xffff), program(t, "verdict"), ctag(6), plain, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := errors.Join(b.Select(c.claims), b.SetFilter(c.filter)); err != nil {
				t.Fatal(err)
			}
			if c.beside != 0 {
				defer tagBesideFrames(t, w.B, uint16(c.beside>>16), int32(c.beside&0xffff))()
			}
			if err := peer.Send(c.frame); err != nil {
				t.Fatal(err)
			}
			wait := 2 * time.Second
			if c.want == nil {
				wait = silence
			}
			if got := b.receive(wait); !bytes.Equal(got, c.want) {
				t.Errorf("received % x, want % x", got, c.want)
			}
		})
	}
}
