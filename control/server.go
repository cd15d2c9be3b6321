package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/oobnet/oobnet/stack"
)

// Bounds of what clients may cost.
const (
	// maxConns at a time: managers, dashboards and scrapers of one process.
	maxConns = 64
	// maxHeader bytes, maxBody bytes: 4096 rules of a filter are the longest text.
	maxHeader = 16 << 10
	maxBody   = 1 << 20
	// headerTime and bodyTime are for a peer on the same machine; idleTime is
	// how long a connection may be kept without a request.
	headerTime = 5 * time.Second
	bodyTime   = 10 * time.Second
	idleTime   = time.Minute
	// writeGrace is what an answer may take beyond the request's own time.
	writeGrace = 10 * time.Second
	// closePatience is how long Close waits for requests under way, whose
	// contexts have ended: a link that is being opened waits for its carrier.
	closePatience = 12 * time.Second
)

// Server answers on a control socket. Its methods may be called by any
// goroutine.
type Server struct {
	stack   *stack.Stack
	cfg     Config
	socket  *socket
	http    http.Server
	started time.Time
	cancel  context.CancelFunc
	done    chan struct{} // closes when nobody accepts any more

	// turn has the one token of those who change something.
	turn chan struct{}
	// pings has a token for each that is under way.
	pings chan struct{}
	// mu guards what the server itself remembers; no call of the stack is made
	// under it.
	mu      sync.Mutex
	devices map[*stack.Device]*device
	vlans   []uint16
	// captures that run, by number.
	captures    map[int]*running
	lastCapture int

	closeOnce sync.Once
	closeErr  error
}

// Serve makes the stack manageable on a Unix socket that only the process's
// own user and root may connect to. Devices cannot be opened: [ServeConfig]
// says by what, and everything else. The caller closes the server before the
// stack.
func Serve(s *stack.Stack, socketPath string) (*Server, error) {
	return ServeConfig(s, socketPath, nil)
}

// ServeConfig is Serve with a config; nil means the defaults. It returns when
// clients can connect. A socket file to which nobody listens is taken over.
//
// Errors wrap EADDRINUSE where another server listens, EEXIST where the path
// is another kind of file, EINVAL for a bad config, what the operating system
// says of the path, or link.ErrNotSupported on systems other than Linux.
func ServeConfig(s *stack.Stack, socketPath string, cfg *Config) (*Server, error) {
	fail := func(err error) (*Server, error) {
		return nil, fmt.Errorf("control: serve on %s: %w", socketPath, err)
	}
	var c Config
	if cfg != nil {
		c = *cfg
	}
	gid, err := c.complete()
	if err != nil {
		return fail(err)
	}
	l, err := listenSocket(socketPath, gid)
	if err != nil {
		return fail(err)
	}
	srv := newServer(s, c, l)
	ctx, cancel := context.WithCancel(context.Background())
	srv.cancel = cancel
	srv.http = http.Server{
		Handler:           srv.handler(),
		ReadHeaderTimeout: min(headerTime, c.bodyTime), ReadTimeout: c.bodyTime, IdleTimeout: idleTime,
		WriteTimeout: c.Timeout + writeGrace, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, refusal{}, c.(*guest).refused)
		},
		// A library does not log uninvited.
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	go func() {
		defer close(srv.done)
		// It ends by Close, and has nothing to say then.
		_ = srv.http.Serve(newGate(l))
	}()
	return srv, nil
}

// newServer makes a server that does not serve yet.
func newServer(s *stack.Stack, c Config, l *socket) *Server {
	return &Server{
		stack: s, cfg: c, socket: l, started: time.Now(),
		turn: make(chan struct{}, 1), pings: make(chan struct{}, maxPings), done: make(chan struct{}), devices: map[*stack.Device]*device{},
		captures: map[int]*running{},
	}
}

// refusal is the key of a connection's error, or nil.
type refusal struct{}

// Path of the socket.
func (s *Server) Path() string { return s.socket.path }

// Close ends the server: requests under way are told to end, and waited for,
// some seconds at most. The socket's file goes. Devices, ports and filters
// that clients have made stay, and are the stack's. Idempotent.
func (s *Server) Close() error {
	s.closeOnce.Do(func() {
		s.cancel()
		ctx, cancel := context.WithTimeout(context.Background(), closePatience)
		defer cancel()
		err := s.http.Shutdown(ctx)
		if err != nil {
			err = errors.Join(fmt.Errorf("requests are still under way: %w", err), s.http.Close())
		}
		<-s.done
		if err = errors.Join(err, s.socket.remove()); err != nil {
			s.closeErr = fmt.Errorf("control: close %s: %w", s.Path(), err)
		}
	})
	return s.closeErr
}

// change waits for the caller's turn to change something.
func (s *Server) change(ctx context.Context) (done func(), err error) {
	select {
	case s.turn <- struct{}{}:
		return func() { <-s.turn }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("control: other requests are still under way: try again: %w", context.Cause(ctx))
	}
}
