package stats

import (
	"encoding/json"
	"fmt"

	"github.com/oobnet/oobnet/stack"
)

// Reasons counts frames by stack.Reason. In JSON it is an object with the names
// of those that are not 0.
type Reasons stack.Reasons

// Total is the sum over all reasons.
func (r *Reasons) Total() uint64 { return (*stack.Reasons)(r).Total() }

// MarshalJSON makes the object.
func (r Reasons) MarshalJSON() ([]byte, error) { return json.Marshal(stack.Reasons(r).Map()) }

// UnmarshalJSON reads it; a name that this version does not know is an error.
func (r *Reasons) UnmarshalJSON(b []byte) error {
	var m map[string]uint64
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	*r = Reasons{}
	for name, n := range m {
		reason, ok := reasonsByName[name]
		if !ok {
			return fmt.Errorf("stats: reason %q is not known: another version of oobnet has counted it", name)
		}
		r[reason] = n
	}
	return nil
}

var reasonsByName = func() map[string]stack.Reason {
	m := make(map[string]stack.Reason)
	for i := range len(stack.Reasons{}) {
		m[stack.Reason(i).String()] = stack.Reason(i)
	}
	return m
}()
