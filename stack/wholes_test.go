package stack

import (
	"slices"
	"testing"

	"github.com/oobnet/oobnet/link"
)

// TestWholes: of frames that were sent just when somebody began to look, those are
// shown in which nothing was left to the device, in their order.
func TestWholes(t *testing.T) {
	for _, c := range []struct {
		flags []link.Flags
		want  [][]uint32 // indexes of the frames that are shown together
	}{
		{nil, nil},
		{[]link.Flags{0, link.FlagTimed, 0}, [][]uint32{{0, 1, 2}}},
		{[]link.Flags{link.FlagChecksumOffload}, nil},
		{[]link.Flags{link.FlagVLANStripped, 0, 0}, [][]uint32{{1, 2}}},
		{[]link.Flags{0, link.FlagChecksumOffload, link.FlagTimed | link.FlagVLANStripped, 0}, [][]uint32{{0}, {3}}},
	} {
		var frames []link.Frame
		for i, f := range c.flags {
			frames = append(frames, link.Frame{Index: uint32(i), Meta: link.Meta{Flags: f}})
		}
		var got [][]uint32
		for whole := range wholes(frames) {
			var shown []uint32
			for _, f := range whole {
				shown = append(shown, f.Index)
			}
			got = append(got, shown)
		}
		if !slices.EqualFunc(got, c.want, slices.Equal) {
			t.Errorf("%v: shown %v, want %v", c.flags, got, c.want)
		}
		for range wholes(frames) {
			break // whoever has seen enough may stop
		}
	}
}
