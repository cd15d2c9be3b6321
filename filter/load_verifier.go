package filter

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf"
)

// VerifierError says that the kernel's verifier refused a program. It wraps
// the system call's error.
type VerifierError struct {
	// Log is what the verifier says, line by line. The reason is near the end.
	Log []string
	// File holds the whole log: a temporary file (os.CreateTemp in os.TempDir,
	// readable by this user alone) that was written for this error, and is the
	// caller's to remove. "" if it could not be written.
	File string

	cause error // an *ebpf.VerifierError or what wraps one
}

// Lines of the log that an error's text shows: where it begins, which names the
// function, and how it ends, which names the reason and counts instructions.
const (
	firstLogLines = 8
	lastLogLines  = 3
)

// Error shows the first lines of the log and the last ones, and names the file.
func (e *VerifierError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the kernel's verifier refuses the program: %v", errnoOf(e.cause))
	if e.File != "" {
		fmt.Fprintf(&b, ": its log is in %s", e.File)
	}
	b.WriteString(": it says")
	lines := e.Log
	if left := len(lines) - firstLogLines - lastLogLines; left > 0 {
		lines = append(append(append([]string{}, lines[:firstLogLines]...), fmt.Sprintf("(%d lines more)", left)), lines[len(lines)-lastLogLines:]...)
	}
	for _, l := range lines {
		b.WriteString("\n\t" + l)
	}
	return b.String()
}

func (e *VerifierError) Unwrap() error { return e.cause }

// errnoOf is the error without the log that the loader's text repeats.
func errnoOf(err error) error {
	var refused *ebpf.VerifierError
	if errors.As(err, &refused) {
		return refused.Cause
	}
	return err
}

// ExplainLoad is for those who load a filter into the kernel: it makes a
// *VerifierError of an error that comes from the verifier, with its log in a
// file, and returns any other as it is.
func ExplainLoad(err error) error {
	var refused *ebpf.VerifierError
	if !errors.As(err, &refused) || len(refused.Log) == 0 {
		return err
	}
	return &VerifierError{Log: refused.Log, File: keepLog(refused.Log), cause: err}
}

// keepLog returns the name of the file it wrote, "" if it could not.
func keepLog(log []string) string {
	f, err := os.CreateTemp("", "oobnet-verifier-*.log")
	if err != nil {
		return ""
	}
	_, err = f.WriteString(strings.Join(log, "\n") + "\n")
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(f.Name())
		return ""
	}
	return f.Name()
}
