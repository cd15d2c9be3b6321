package control

import (
	"net/http"
	"time"

	"github.com/oobnet/oobnet/stack"
)

// Wrap puts something between a client and its socket.
func (c *Client) Wrap(f func(http.RoundTripper) http.RoundTripper) {
	c.http.Transport = f(c.http.Transport)
}

// Calls returns the method and path of each call.
func Calls() (calls []string) {
	for _, e := range endpoints() {
		calls = append(calls, e.method+" "+e.path)
	}
	return calls
}

// MaxBody of a request, bytes, MaxConns and MaxPings at a time.
const (
	MaxBody  = maxBody
	MaxConns = maxConns
	MaxPings = maxPings
)

// SetBodyTime sets how long a request may take to come.
func (c *Config) SetBodyTime(d time.Duration) { c.bodyTime = d }

// Handler is a server without its socket.
func Handler(st *stack.Stack, cfg *Config) http.Handler {
	c := *cfg
	if _, err := c.complete(); err != nil {
		panic(err) // the config is a test's
	}
	return newServer(st, c, nil).handler()
}
