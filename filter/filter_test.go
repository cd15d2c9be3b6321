package filter_test

import (
	"testing"

	"github.com/oobnet/oobnet/filter"
)

// TestActionNames: verdicts are named alike as verdicts and as actions, and what
// only programs can say has a name of its own.
func TestActionNames(t *testing.T) {
	for action, want := range map[filter.Action]string{
		filter.ActionDrop: "drop", filter.ActionAccept: "accept", filter.ActionSkip: "skip", filter.ActionVLAN: "vlan",
		filter.ActionError: "error", filter.ActionTX: "tx", filter.ActionTXError: "tx_error",
		filter.ActionRedirect: "redirect", filter.ActionRedirectError: "redirect_error",
		filter.ActionRedirectError + 1: "action(9)", 255: "action(255)",
	} {
		if got := action.String(); got != want {
			t.Errorf("action %d is %q, want %q", uint8(action), got, want)
		}
	}
	for v := filter.Drop; v < filter.Verdicts; v++ {
		if got := filter.Action(v).String(); got != v.String() {
			t.Errorf("as an action %v is %q", v, got)
		}
	}
}
