package control_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/control"
	"github.com/oobnet/oobnet/internal/stacktest"
)

// stream is what a client has got of a capture.
type stream struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *stream) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *stream) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// capturing starts a capture of wire0, and returns when it runs.
func capturing(ctx context.Context, t *testing.T, r *rig, in control.CaptureRequest, w io.Writer) (done chan error) {
	t.Helper()
	before, err := r.client.Captures(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	done = make(chan error, 1)
	go func() { done <- r.client.Capture(ctx, "wire0", in, w) }()
	stacktest.Eventually(t, "the capture runs", func() bool {
		now, err := r.client.Captures(t.Context())
		return err == nil && len(now) > len(before)
	})
	return done
}

func wait(t *testing.T, done chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(30 * time.Second):
		t.Fatal("the capture goes on")
		return nil
	}
}

// A capture ends in good order when its reader has enough, and when another
// client ends it: what was captured comes, with the statistics.
func TestCapture(t *testing.T) {
	r := newRig(t, nil)
	r.enable(t, "wire0", addrA)
	ctx, enough := context.WithCancel(t.Context())
	defer enough()
	var text, file stream
	done := capturing(ctx, t, r, control.CaptureRequest{Format: "text", Filter: "arp"}, &text)
	other := capturing(t.Context(), t, r, control.CaptureRequest{}, &file)
	if err := r.client.Solicit(t.Context(), control.SolicitRequest{Address: addrB.Addr()}); err != nil {
		t.Fatal(err)
	}
	stacktest.Eventually(t, "the exchange is there", func() bool {
		return strings.Contains(text.String(), "Out ARP, Request") && strings.Contains(text.String(), "In  ARP, Reply 10.0.0.2")
	})
	list, err := r.client.Captures(t.Context())
	if err != nil || len(list) != 2 || list[0].Filter != "arp" || list[0].Written < 2 || list[1].Format != "pcapng" {
		t.Errorf("%+v, %v", list, err)
	}
	enough()
	if err := wait(t, done); err != nil || !strings.Contains(text.String(), " lost by the capture") {
		t.Errorf("%v, and at the end no statistics: %s", err, text.String())
	}
	ended, err := r.client.EndCapture(t.Context(), list[1].ID)
	if err != nil || ended.Written < 2 || ended.Written != ended.Received {
		t.Errorf("%+v, %v", ended, err)
	}
	if err := wait(t, other); err != nil || uint64(len(file.String())) != ended.Bytes || !strings.HasPrefix(file.String(), "\n\r\r\n") {
		t.Errorf("%v, %d bytes of %d", err, len(file.String()), ended.Bytes)
	}
	if _, err := r.client.EndCapture(t.Context(), list[1].ID); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("ended twice: %v", err)
	}
	var one stream
	three := capturing(t.Context(), t, r, control.CaptureRequest{Count: 1}, &one)
	// Nobody has this address: what counts is that somebody asks for it.
	asking, asked := context.WithTimeout(t.Context(), time.Second)
	defer asked()
	if err := r.client.Solicit(asking, control.SolicitRequest{Address: addrB.Addr().Next()}); err == nil {
		t.Error("an address that nobody has was found")
	}
	if err := wait(t, three); err != nil {
		t.Errorf("a capture of one: %v", err)
	}
}

// A capture whose device goes says so; one whose server goes ends, too, and so
// does one whose reader goes.
func TestCaptureEnds(t *testing.T) {
	r := newRig(t, nil)
	r.enable(t, "wire0", addrA)
	gone, goes := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	abandoned := capturing(gone, t, r, control.CaptureRequest{}, writer)
	if err := reader.CloseWithError(errors.New("the disk is full")); err != nil {
		t.Fatal(err)
	}
	if err := r.client.Solicit(t.Context(), control.SolicitRequest{Address: addrB.Addr()}); err != nil {
		t.Fatal(err)
	}
	if err := wait(t, abandoned); err == nil || !strings.Contains(err.Error(), "the disk is full") {
		t.Errorf("the reader is gone: %v", err)
	}
	goes()
	stacktest.Eventually(t, "the server has noticed", func() bool {
		list, err := r.client.Captures(t.Context())
		return err == nil && len(list) == 0
	})
	var out stream
	done := capturing(t.Context(), t, r, control.CaptureRequest{}, &out)
	if _, err := r.client.DisablePort(t.Context(), "wire0", false); err != nil {
		t.Fatal(err)
	}
	if err := wait(t, done); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("the device is closed: %v", err)
	}
	r.renew(t)
	r.enable(t, "wire0", addrA)
	done = capturing(t.Context(), t, r, control.CaptureRequest{}, &out)
	if err := r.server.Close(); err != nil {
		t.Fatal(err)
	}
	if err := wait(t, done); err != nil {
		t.Errorf("the server has closed: %v", err)
	}
}

func TestCaptureRefused(t *testing.T) {
	r := newRig(t, nil)
	if err := r.client.Capture(t.Context(), "wire0", control.CaptureRequest{}, io.Discard); !errors.Is(err, syscall.ENODEV) {
		t.Errorf("no such device: %v", err)
	}
	r.enable(t, "wire0", addrA)
	for name, in := range map[string]control.CaptureRequest{
		"filter": {Filter: "nonsense"}, "format": {Format: "xml"}, "snap": {Snap: 10}, "slots": {Slots: 1 << 20},
	} {
		if err := r.client.Capture(t.Context(), "wire0", in, io.Discard); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, enough := context.WithCancel(t.Context())
	var ends []chan error
	for range 4 {
		var file stream
		ends = append(ends, capturing(ctx, t, r, control.CaptureRequest{}, &file))
		// The server lists a capture before its client knows of it, and to end
		// one that has not begun is an error.
		stacktest.Eventually(t, "the file begins", func() bool { return file.String() != "" })
	}
	if err := r.client.Capture(t.Context(), "wire0", control.CaptureRequest{}, io.Discard); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("one more than may run: %v", err)
	}
	enough()
	for _, done := range ends {
		if err := wait(t, done); err != nil {
			t.Error(err)
		}
	}
}

func TestStatistics(t *testing.T) {
	r := newRig(t, nil)
	r.enable(t, "wire0", addrA)
	if err := r.client.Solicit(t.Context(), control.SolicitRequest{Address: addrB.Addr()}); err != nil {
		t.Fatal(err)
	}
	s, err := r.client.Statistics(t.Context(), true)
	if err != nil || len(s.Devices) != 1 || s.Devices[0].Name != "wire0" || s.Devices[0].RX.Demoted.Total() == 0 || s.Stack.FrontCache.Learned == 0 {
		t.Errorf("%+v, %v", s, err)
	}
}
