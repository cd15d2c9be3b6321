package stack

import (
	"errors"
	"net"
	"syscall"
	"testing"
)

// TestFinalFault: what a device died of is neither taken back by the keeper,
// which had looked at the link just before, nor replaced by less; Close has
// the last word.
func TestFinalFault(t *testing.T) {
	d := &Device{name: "eth9"}
	d.linkFailed(syscall.ENETDOWN)
	if d.setFault(nil); d.Fault() != nil {
		t.Fatalf("the wire is back, and the fault is %v", d.Fault())
	}
	d.died(syscall.EIO)
	d.setFault(nil)
	d.linkFailed(syscall.ENETDOWN)
	if err := d.Fault(); !errors.Is(err, syscall.EIO) {
		t.Errorf("the fault of a dead device is %v, want EIO", err)
	}
	d.setFault(&fault{error: net.ErrClosed, final: true})
	d.died(syscall.EIO)
	if err := d.Fault(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the fault of a closed device is %v", err)
	}
}
