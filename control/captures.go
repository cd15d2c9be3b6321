package control

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/capture"
	"github.com/oobnet/oobnet/stats"
)

const (
	// maxCaptures at a time: each copies every frame of its device.
	maxCaptures = 4
	// writeTime is how long a client may take to read what waits for it.
	writeTime = 10 * time.Second
	// hurryTime is what is left of that when the server closes.
	hurryTime = time.Second
)

// A capture's answer has its number in a header, and in a trailer what ended
// it, if it was nobody's wish.
const (
	captureHeader  = "Oobnet-Capture"
	captureTrailer = "Oobnet-Capture-Error"
)

type captureIn struct {
	Device string `path:"device" json:"-" doc:"its name, or that of a port on it"`
	CaptureRequest
}

// CaptureRequest says what to capture, and how.
type CaptureRequest struct {
	Filter string `query:"filter" json:"-" doc:"an expression: see package capture; none: all frames"`
	Format string `query:"format" json:"-" doc:"pcapng or text; none: pcapng"`
	Snap   int    `query:"snap" json:"-" doc:"bytes of a frame that are kept; 0: all"`
	Slots  int    `query:"slots" json:"-" doc:"frames that wait for the client; 0: the default"`
	Count  uint64 `query:"count" json:"-" doc:"end after so many frames; 0: go on"`
}

// Capture is one that runs.
type Capture struct {
	ID       int       `json:"id"`
	Device   string    `json:"device"`
	Filter   string    `json:"filter,omitempty"`
	Format   string    `json:"format" enum:"pcapng,text"`
	Started  time.Time `json:"started"`
	Received uint64    `json:"received" doc:"frames that the device received and sent"`
	Rejected uint64    `json:"rejected" doc:"frames that the filter did not want"`
	Lost     uint64    `json:"lost" doc:"frames for which there was no room"`
	Written  uint64    `json:"written" doc:"frames"`
	Bytes    uint64    `json:"bytes" doc:"written"`
}

// Captures is a list of them.
type Captures struct {
	Captures []Capture `json:"captures" doc:"oldest first"`
}

// running is a capture and the way to end it. Under the server's mu, but for
// about.
type running struct {
	about   Capture
	session *capture.Session // nil: about to begin
	end     chan struct{}    // closes when somebody wants its end
	ending  bool
}

// state is a capture as clients see it.
func (c *running) state() Capture {
	out, st := c.about, c.session.Stats()
	out.Received, out.Rejected, out.Lost, out.Written, out.Bytes = st.Received, st.Rejected, st.Lost, st.Written, st.Bytes
	return out
}

// capture streams frames until the client goes, somebody ends it, or it has
// enough.
func (s *Server) capture(w http.ResponseWriter, r *http.Request, in *captureIn) error {
	d, err := s.deviceOf(in.Device)
	if err != nil {
		return err
	}
	if in.Format == "" {
		in.Format = "pcapng"
	}
	format, ok := map[string]capture.Format{"pcapng": capture.PCAPNG, "text": capture.Text}[in.Format]
	if !ok {
		return badRequest("format %q: want pcapng or text", in.Format)
	}
	c, err := s.place(Capture{Device: d.Name(), Filter: in.Filter, Format: in.Format, Started: time.Now()})
	if err != nil {
		return err
	}
	defer s.leave(c)
	out := &stream{w: w, control: http.NewResponseController(w), capture: &c.about}
	// Nothing is written before the capture can be found by its number.
	out.mu.Lock()
	session, err := capture.Start(d, out, &capture.Config{Filter: in.Filter, Format: format, Snap: in.Snap, Slots: in.Slots, Count: in.Count})
	if err != nil {
		out.mu.Unlock()
		return err
	}
	s.mu.Lock()
	c.session = session
	s.mu.Unlock()
	out.head()
	out.mu.Unlock()
	select {
	case <-session.Done():
	case <-c.end:
	case <-r.Context().Done(): // the client has gone, or the server closes
		out.hurry()
	}
	// Stop's own error is Err's, or that the client is slow; the answer is the
	// session's until it is done, which the deadline of its writes bounds.
	_ = session.Stop()
	<-session.Done()
	if err := session.Err(); err != nil {
		w.Header().Set(captureTrailer, err.Error())
	}
	return nil
}

// place makes room for a capture that is about to begin.
func (s *Server) place(about Capture) (*running, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.captures) >= maxCaptures {
		return nil, fmt.Errorf("control: %d captures run: %w: end one", maxCaptures, syscall.EBUSY)
	}
	s.lastCapture++
	about.ID = s.lastCapture
	c := &running{about: about, end: make(chan struct{})}
	s.captures[about.ID] = c
	return c, nil
}

func (s *Server) leave(c *running) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.captures, c.about.ID)
}

func (s *Server) listCaptures(context.Context, *struct{}) (*Captures, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := &Captures{Captures: []Capture{}}
	for _, id := range slices.Sorted(maps.Keys(s.captures)) {
		if c := s.captures[id]; c.session != nil {
			out.Captures = append(out.Captures, c.state())
		}
	}
	return out, nil
}

type endIn struct {
	ID int `path:"id" json:"-"`
}

func (s *Server) endCapture(ctx context.Context, in *endIn) (*Capture, error) {
	s.mu.Lock()
	c := s.captures[in.ID]
	if c == nil || c.session == nil || c.ending {
		s.mu.Unlock()
		return nil, fmt.Errorf("control: capture %d: %w: see the list of captures", in.ID, syscall.ESRCH)
	}
	c.ending = true
	close(c.end)
	s.mu.Unlock()
	select {
	case <-c.session.Done():
	case <-ctx.Done():
		return nil, fmt.Errorf("control: capture %d: its client does not read: %w", in.ID, context.Cause(ctx))
	}
	out := c.state()
	return &out, nil
}

type statisticsIn struct {
	Sockets bool `query:"sockets" json:"-" doc:"of each socket as well"`
}

func (s *Server) statistics(_ context.Context, in *statisticsIn) (*stats.Snapshot, error) {
	if in.Sockets {
		return stats.Take(s.stack), nil
	}
	return stats.Summary(s.stack), nil
}

// stream is an answer that goes on: each write reaches the client at once, or
// fails in bounded time.
type stream struct {
	mu       sync.Mutex
	w        http.ResponseWriter
	control  *http.ResponseController
	capture  *Capture
	hurrying bool
}

// head tells the client that frames will come. Under mu.
func (o *stream) head() {
	h := o.w.Header()
	h.Set("Content-Type", "application/x-pcapng")
	if o.capture.Format == "text" {
		h.Set("Content-Type", "text/plain")
	}
	h.Set(captureHeader, strconv.Itoa(o.capture.ID))
	h.Set("Trailer", captureTrailer)
	o.w.WriteHeader(http.StatusOK)
	// A client that has gone is seen by the next write.
	_ = o.control.Flush()
}

// Write implements io.Writer, for the session's goroutine.
func (o *stream) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	limit := writeTime
	if o.hurrying {
		limit = hurryTime
	}
	if err := o.control.SetWriteDeadline(time.Now().Add(limit)); err != nil {
		return 0, err
	}
	n, err := o.w.Write(b)
	if err == nil {
		err = o.control.Flush()
	}
	return n, err
}

// hurry shortens the write that is under way, and those that come. The
// deadline is the connection's, so it needs no lock, which a write holds.
func (o *stream) hurry() {
	// One that fails has no connection to wait for.
	_ = o.control.SetWriteDeadline(time.Now().Add(hurryTime))
	o.mu.Lock()
	defer o.mu.Unlock()
	o.hurrying = true
}
