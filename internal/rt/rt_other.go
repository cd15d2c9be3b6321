//go:build !linux

package rt

import (
	"errors"
	"fmt"
)

// apply names nothing elsewhere, and says so only of what was asked for a
// reason: a name is a comfort, a core and a priority are not.
func apply(o Options) (refused []error) {
	if len(o.CPUs) > 0 || o.Priority > 0 {
		refused = append(refused, fmt.Errorf("rt: thread %q: CPUs and priorities: %w on this system", o.Name, errors.ErrUnsupported))
	}
	return refused
}
