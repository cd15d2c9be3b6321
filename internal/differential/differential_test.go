package differential

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
)

// perPair is how many frames two stacks see: both answer no more than 50 ICMP
// errors at once, and the next ones by a clock.
const perPair = 40

// pair is the two of them.
type pair struct {
	a *ours
	b *theirs
}

func newPair(t testing.TB) *pair { return &pair{newOurs(t), newTheirs(t)} }

func (p *pair) close() {
	p.a.close()
	p.b.close()
}

func (p *pair) run(frames ...[]byte) (ours, theirs outcome) {
	return p.a.run(frames...), p.b.run(frames...)
}

// TestGoodFrames: all of them have the same outcome, or one that is listed,
// whatever came before.
func TestGoodFrames(t *testing.T) {
	leaktest.Check(t)
	p := newPair(t)
	defer p.close()
	delivered, answered := 0, 0
	for i, f := range good() {
		a, b := p.run(f)
		if !a.equal(b) && listed(f, a, b) == nil {
			t.Errorf("frame %d, %x:\nours   %v\ntheirs %v", i, f, a, b)
		}
		delivered += len(a.delivered)
		answered += len(a.answers)
	}
	// Sizes, group, broadcasts, options, three headers, padding, fragments; port
	// and protocol unreachable, two more for fragments, echo, ARP.
	if delivered < 17 || answered < 5 {
		t.Errorf("%d datagrams delivered, %d answers: the frames are not what they are meant to be", delivered, answered)
	}
}

// TestMutatedFrames: damage has the same outcome, or one that is listed.
func TestMutatedFrames(t *testing.T) {
	leaktest.Check(t)
	frames := 8000
	if testing.Short() {
		frames = 800
	}
	const seed = 20240817
	r := rand.New(rand.NewPCG(seed, 0))
	from := good()
	same, met := 0, map[string]int{}
	for n := 0; n < frames; {
		func() {
			p := newPair(t)
			defer p.close()
			for range perPair {
				f := mutate(r, from[r.IntN(len(from))])
				n++
				a, b := p.run(f)
				d := listed(f, a, b)
				if a.equal(b) {
					same++
				} else if d != nil {
					met[d.name]++
				}
				if d != nil {
					// One of them may know something now that the other does
					// not: a fragment, a neighbour.
					return
				}
				if a.equal(b) {
					continue
				}
				t.Errorf("seed %d, frame %d, %x:\nours   %v\ntheirs %v", seed, n, f, a, b)
				return
			}
		}()
	}
	t.Logf("%d of %d frames had the same outcome; listed differences: %v", same, frames, met)
}

// TestListedDifferences: each has a frame that shows it, so that none is listed
// that is none any more.
func TestListedDifferences(t *testing.T) {
	leaktest.Check(t)
	for _, d := range differences {
		t.Run(d.name, func(t *testing.T) {
			p := newPair(t)
			defer p.close()
			frames := d.shown()
			for _, f := range frames[:len(frames)-1] {
				p.run(f)
			}
			last := frames[len(frames)-1]
			a, b := p.run(last)
			if a.equal(b) {
				t.Fatalf("there is no difference: %v", a)
			}
			if got := listed(last, a, b); got == nil || got.name != d.name {
				t.Errorf("it is not found in the list, but %v:\nours   %v\ntheirs %v", fmt.Sprint(got), a, b)
			}
		})
	}
}
