package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"

	"github.com/oobnet/oobnet/filter"
	"github.com/oobnet/oobnet/link"
)

// Error is what a server answers to a request that failed. In a client it
// wraps the errors that the same call would return in the server's process:
// errors.Is(err, syscall.EBUSY), errors.Is(err, net.ErrClosed) hold.
type Error struct {
	// Status of the HTTP answer.
	Status int `json:"-"`
	// Message says what, where and the way out.
	Message string `json:"error"`
	// Errno is the name of a number of the operating system: "EBUSY".
	Errno string `json:"errno,omitempty" doc:"such as EBUSY"`
	// Kind names an error that is no number of the operating system's.
	Kind string `json:"kind,omitempty" enum:"closed,unsupported,not_object,no_program,verifier,forbidden,timeout"`
	// Log of the kernel's verifier.
	Log []string `json:"log,omitempty" doc:"of the kernel's verifier"`
}

func (e *Error) Error() string {
	if len(e.Log) == 0 {
		return e.Message
	}
	return e.Message + "\n" + strings.Join(e.Log, "\n")
}

// kinds are the errors that Error.Kind names.
var errorKinds = []struct {
	kind   string
	err    error
	status int
}{
	{"closed", net.ErrClosed, http.StatusServiceUnavailable},
	{"not_object", filter.ErrNotObject, http.StatusUnprocessableEntity},
	{"no_program", filter.ErrNoProgram, http.StatusUnprocessableEntity},
	{"unsupported", errors.ErrUnsupported, http.StatusNotImplemented},
	{"timeout", context.DeadlineExceeded, http.StatusGatewayTimeout},
	{"forbidden", fs.ErrPermission, http.StatusForbidden},
}

// statuses of HTTP by errno: what is not here and has an errno is a conflict
// with the state of things.
var statuses = map[syscall.Errno]int{
	syscall.EINVAL:        http.StatusBadRequest,
	syscall.EAFNOSUPPORT:  http.StatusBadRequest,
	syscall.EADDRNOTAVAIL: http.StatusBadRequest,
	syscall.EFBIG:         http.StatusRequestEntityTooLarge,
	syscall.ENODEV:        http.StatusNotFound,
	syscall.ENOENT:        http.StatusNotFound,
	syscall.ESRCH:         http.StatusNotFound,
	syscall.EPERM:         http.StatusForbidden,
	syscall.EACCES:        http.StatusForbidden,
	syscall.ETIMEDOUT:     http.StatusGatewayTimeout,
	syscall.ENOMEM:        http.StatusInsufficientStorage,
	syscall.ENOSPC:        http.StatusInsufficientStorage,
}

// answerOf is how an error goes over the wire. It takes the verifier's log and
// removes its file.
func answerOf(err error) *Error {
	var ready *Error
	if errors.As(err, &ready) {
		return ready
	}
	e := &Error{Status: http.StatusInternalServerError, Message: err.Error()}
	var refused *filter.VerifierError
	if errors.As(err, &refused) {
		e.Kind, e.Status = "verifier", http.StatusUnprocessableEntity
		// The log goes with the answer, so nobody needs the file.
		if e.Log = refused.Log; refused.File != "" {
			e.Message = strings.ReplaceAll(e.Message, refused.File, "the log")
			os.Remove(refused.File)
		}
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		e.Errno = errnoName(errno)
		if e.Kind == "" {
			e.Status = http.StatusConflict
			if status, ok := statuses[errno]; ok {
				e.Status = status
			}
		}
	}
	for _, k := range errorKinds {
		if e.Kind == "" && errors.Is(err, k.err) && (errno == 0 || !errors.Is(errno, k.err)) {
			e.Kind, e.Status = k.kind, k.status
		}
	}
	return e
}

// Unwrap returns the errors that the answer names.
func (e *Error) Unwrap() (errs []error) {
	if errno, ok := errnoByName(e.Errno); ok {
		errs = append(errs, errno)
	}
	for _, k := range errorKinds {
		if e.Kind == k.kind {
			errs = append(errs, k.err)
		}
	}
	if e.Kind == "unsupported" {
		errs = append(errs, link.ErrNotSupported)
	}
	return errs
}

// badRequest is an error of what the client sent, before any of it is done.
func badRequest(format string, args ...any) error {
	err := fmt.Errorf("control: "+format, args...)
	return &Error{Status: http.StatusBadRequest, Message: err.Error(), Errno: errnoName(syscall.EINVAL)}
}
