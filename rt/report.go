package rt

import (
	"errors"
	"fmt"
)

// Report says what became of a cycle's options.
type Report struct {
	// Thread is the name that was asked for.
	Thread string
	// Refused has one error for each option that the machine refused, with the
	// option, the reason and the way out in its text, and the system's error
	// wrapped: EPERM for a priority without the right to it, EINVAL for a CPU
	// that is not there, errors.ErrUnsupported for what this system cannot do.
	Refused []error
}

// Err joins what was refused; nil: nothing was.
func (r Report) Err() error { return errors.Join(r.Refused...) }

// Lines is the report as text.
func (r Report) Lines() []string {
	if len(r.Refused) == 0 {
		return []string{fmt.Sprintf("thread %s: all options granted", r.Thread)}
	}
	lines := make([]string, 0, len(r.Refused))
	for _, err := range r.Refused {
		lines = append(lines, "refused: "+err.Error())
	}
	return lines
}

// each takes joined errors apart.
func each(err error) []error {
	var joined interface{ Unwrap() []error }
	switch {
	case err == nil:
		return nil
	case errors.As(err, &joined):
		return joined.Unwrap()
	}
	return []error{err}
}
