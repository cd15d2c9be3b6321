package control_test

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/control"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
)

// TestCarrierComesLate opens links as NICs are: the carrier comes some time after,
// and is waited for, but no longer than the request may take.
func TestCarrierComesLate(t *testing.T) {
	links := map[string]*loopback.Link{}
	for _, name := range []string{"late0", "never0"} {
		l, err := loopback.New(&loopback.Config{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		l.SetState(link.Down)
		links[name] = l
	}
	r := newRig(t, &control.Config{Default: "nic", Timeout: 8 * time.Second, Openers: map[string]control.Opener{
		"nic": func(name string) (link.Link, error) {
			if name == "late0" {
				time.AfterFunc(300*time.Millisecond, func() { links[name].SetState(link.Up) })
			}
			return links[name], nil
		},
	}})
	if p, err := r.client.EnablePort(t.Context(), control.EnableRequest{Interface: "late0"}); err != nil || p == nil {
		t.Errorf("a carrier that comes late: %v", err)
	}
	_, err := r.client.EnablePort(t.Context(), control.EnableRequest{Interface: "never0"})
	if !errors.Is(err, syscall.ENETDOWN) {
		t.Errorf("a carrier that never comes: %v, want ENETDOWN", err)
	}
	if s := links["never0"].State(); s == link.Up {
		t.Errorf("the link is %v: it was to be closed again", s)
	}
}
