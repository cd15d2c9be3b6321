package linktest

import (
	"testing"
	"time"

	"github.com/oobnet/oobnet/link"
)

// Wire is a link to be tested and what is at its other end. Only Link is
// needed: a link without a Peer is taken to be wired to itself, queue by queue.
type Wire struct {
	// Link under test, open and not attached. The suite attaches, stops and
	// closes it.
	Link link.Link
	// Peer is the other end of the wire. Whoever opened the wire closes it, in
	// t.Cleanup. nil: what Link sends comes back to it.
	Peer Peer
	// PeerMAC is where frames to the peer are addressed. Zero: Link's own address.
	PeerMAC link.MAC
	// Layout to attach with. Zero: 256 receive buffers a queue and 256 TX
	// buffers, of the smallest size that the MTU fits in.
	Layout link.Layout
	// MinBuffers is how many receive buffers a queue needs at least. Zero: 16.
	MinBuffers int
	// MinFrame is the shortest frame that the wire carries, bytes. Zero: 14, a
	// bare header.
	MinFrame int
	// PadTo is the length to which the wire may pad shorter frames, bytes: 60
	// for real Ethernet. Zero: it does not pad.
	PadTo int
	// Window is how many frames the suite keeps on the wire at most: no more
	// than peer and device can hold. Zero: 32.
	Window int
	// Timeout is how long a frame may take. Zero: 2 s.
	Timeout time.Duration
	// Shared: others send on this wire too. Their frames are ignored, and
	// counters are then lower bounds.
	Shared bool
	// LossUncounted: the device does not count every frame that it loses for
	// want of a buffer.
	LossUncounted bool
	// DeviceAllocates: calls of the link reach a device model that allocates,
	// so that allocations cannot be told apart here; the test is skipped. The
	// link's package has a test of its own, then.
	DeviceAllocates bool
	// Tags of the frames that the tests of VLANs send, outermost first, each
	// test frame with the next of these stacks. nil: none, priority tags, C-tags
	// and an S-tag. A device that is shared must have been asked to take them.
	Tags [][]Tag
	// TagsHidden: the peer does not show the tags of what the link sends.
	TagsHidden bool
	// ChecksumsHidden: the peer does not show what the device has made of checksums
	// that were left to it. A virtual device hands them on as they are, and a
	// packet socket is bound to one EtherType.
	ChecksumsHidden bool
	// SetCarrier takes the wire away and brings it back; nil: the test that
	// needs it is skipped.
	SetCarrier func(up bool)
	// Reopen opens the same device again right after Close, with the same
	// peer; nil: the test opens a new wire instead.
	Reopen func(t *testing.T) link.Link
}

// Peer is the far end of a wire: a raw socket, a device model, another link.
// Send and Receive may be called by one goroutine each, at the same time.
type Peer interface {
	// Send puts a frame on the wire, destination address first, no frame check
	// sequence. It keeps nothing of the slice.
	Send(frame []byte) error
	// Receive returns the next frame from the wire, valid until the next
	// Receive. After timeout its error wraps os.ErrDeadlineExceeded.
	Receive(timeout time.Duration) ([]byte, error)
}

// settled returns the wire with the defaults in place.
func (w Wire) settled() Wire {
	if w.PeerMAC == (link.MAC{}) {
		w.PeerMAC = w.Link.MAC()
	}
	if w.Layout == (link.Layout{}) {
		w.Layout = defaultLayout(w.Link)
	}
	if w.MinBuffers == 0 {
		w.MinBuffers = fewBuffers
	}
	if w.MinFrame == 0 {
		w.MinFrame = headerLen
	}
	if w.Tags == nil {
		w.Tags = usualTags()
	}
	if w.Window == 0 {
		w.Window = 32
	}
	if w.Timeout == 0 {
		w.Timeout = 2 * time.Second
	}
	return w
}

// defaultLayout fits the link's frames with room for an offset.
func defaultLayout(l link.Link) link.Layout {
	size := link.MinBufferSize
	for size < l.Capabilities().RXHeadroom+l.MTU()+headerLen+tagLen+maxOffset && size < link.MaxBufferSize {
		size *= 2
	}
	return link.Layout{BufferSize: size, Queues: l.Queues(), RXBuffers: 256, TXBuffers: 256}
}

// fewBuffers is the number of receive buffers that every device should do with.
const fewBuffers = 16

// Lengths of Ethernet, bytes.
const (
	headerLen = 14
	tagLen    = 4
	// maxOffset is the largest offset at which the suite places a frame that
	// it sends: more than any header that a stack would strip in place.
	maxOffset = 64
)
