package stats

import (
	"encoding/json"
	"fmt"

	"github.com/oobnet/oobnet/stack"
)

// Var is a stack's snapshot as a variable of package expvar, which it does not
// import: that would put a page on the program's own HTTP server.
//
//	expvar.Publish("oobnet", stats.Var{Stack: s})
type Var struct {
	Stack *stack.Stack
	// Sockets lists each socket, too.
	Sockets bool
}

// String takes a snapshot and returns it in JSON.
func (v Var) String() string {
	take := Summary
	if v.Sockets {
		take = Take
	}
	b, err := json.Marshal(take(v.Stack))
	if err != nil {
		return fmt.Sprintf("{\"error\":%q}", err)
	}
	return string(b)
}
