//go:build !linux

package rt

import (
	"errors"
	"fmt"
)

// apply names nothing elsewhere, and says so only of what was asked for a
// reason: a name is a comfort, a core, a priority and an exact timer are not.
func apply(o Options) (refused []error) {
	if len(o.CPUs) > 0 || o.Priority > 0 {
		refused = append(refused, fmt.Errorf("rt: thread %q: CPUs and priorities: %w on this system", o.Name, errors.ErrUnsupported))
	}
	if o.TimerSlack > 0 {
		refused = append(refused, fmt.Errorf("rt: thread %q: timer slack: %w on this system", o.Name, errors.ErrUnsupported))
	}
	return refused
}
