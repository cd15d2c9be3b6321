package qtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of the conversation with QEMU.
const (
	// maxPosted is how many writes may be on their way without their replies
	// having been read. A Unix socket holds some 270 short messages; if ours
	// were full of replies QEMU would wait for us while we wait for it.
	maxPosted = 128
	// patience is how long QEMU may take to answer before it counts as hung.
	// It answers in microseconds, but two busy cores have other things to do.
	patience = 20 * time.Second
)

// session is the client's side of the qtest protocol: a line for each command,
// and for each a line that begins with OK or FAIL, in order. Lines that say
// "IRQ raise 20" come in between whenever an interrupt line changes. The
// descriptor blocks: a trip through the runtime's poller would double the time
// of a register read. Its methods may be called from any goroutine.
type session struct {
	mu     sync.Mutex
	fd     int
	out    []byte // the commands being sent
	in     []byte // what has been read and is no whole line yet
	posted int    // replies to come that nobody waits for
	lines  uint32 // interrupt lines that are high, bit by number
	err    error  // why there is nothing more to be had
}

func newSession(fd int) (*session, error) {
	tv := unix.NsecToTimeval(patience.Nanoseconds())
	for _, opt := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, opt, &tv); err != nil {
			return nil, fmt.Errorf("qtest: bounding the waits for QEMU: %w", err)
		}
	}
	return &session{fd: fd}, nil
}

// post sends commands, each ended by a newline, and does not wait.
func (s *session) post(commands ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.send(commands); err != nil {
		return err
	}
	s.posted += len(commands)
	for s.posted > maxPosted {
		if err := s.settle(); err != nil {
			return err
		}
	}
	return nil
}

// ask sends commands that answer a number each, and appends these to values.
func (s *session) ask(values []uint64, commands ...string) ([]uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(commands) > 0 {
		batch := commands[:min(len(commands), maxPosted)]
		commands = commands[len(batch):]
		if err := s.send(batch); err != nil {
			return values, err
		}
		for s.posted > 0 {
			if err := s.settle(); err != nil {
				return values, err
			}
		}
		for range batch {
			reply, err := s.reply()
			if err != nil {
				return values, err
			}
			v, err := strconv.ParseUint(string(bytes.TrimPrefix(reply, []byte("OK "))), 0, 64)
			if err != nil {
				return values, s.fail(fmt.Errorf("qtest: QEMU answered %q, not a number", reply))
			}
			values = append(values, v)
		}
	}
	return values, nil
}

// do sends a command and waits until QEMU has carried it out.
func (s *session) do(command string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.send([]string{command}); err != nil {
		return err
	}
	s.posted++
	for s.posted > 0 {
		if err := s.settle(); err != nil {
			return err
		}
	}
	return nil
}

// high says whether one of the interrupt lines in mask is high. It reads what
// QEMU has said, and does not wait.
func (s *session) high(mask uint32) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return false, s.err
	}
	for {
		switch err := s.fill(unix.MSG_DONTWAIT); {
		case errors.Is(err, unix.EAGAIN):
			return s.lines&mask != 0, nil
		case err != nil:
			return false, err
		}
		// Replies to posted writes may lie between the interrupts: all whole
		// lines are taken, which ask and do will then not wait for.
		for bytes.IndexByte(s.in, '\n') >= 0 {
			line, err := s.line()
			if err != nil {
				return false, err
			}
			if line == nil {
				continue
			}
			if s.posted == 0 {
				return false, s.fail(fmt.Errorf("qtest: QEMU answered %q to nothing", line))
			}
			s.posted--
		}
	}
}

func (s *session) send(commands []string) error {
	if s.err != nil {
		return s.err
	}
	s.out = s.out[:0]
	for _, c := range commands {
		s.out = append(append(s.out, c...), '\n')
	}
	for rest := s.out; len(rest) > 0; {
		// MSG_NOSIGNAL: a QEMU that died is an error, not a SIGPIPE.
		n, err := unix.SendmsgN(s.fd, rest, nil, nil, unix.MSG_NOSIGNAL)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return s.fail(fmt.Errorf("qtest: QEMU does not take commands: %w", err))
		}
		rest = rest[n:]
	}
	return nil
}

// settle takes the reply to a posted command.
func (s *session) settle() error {
	_, err := s.reply()
	s.posted--
	return err
}

// reply waits for the next line that is a reply.
func (s *session) reply() ([]byte, error) {
	for {
		for bytes.IndexByte(s.in, '\n') < 0 {
			if err := s.fill(0); err != nil {
				return nil, s.fail(fmt.Errorf("qtest: QEMU does not answer: %w", err))
			}
		}
		if line, err := s.line(); line != nil || err != nil {
			return line, err
		}
	}
}

// line takes a whole line off the input: a reply, which is valid until the
// next call, or nil for an interrupt, which it notes.
func (s *session) line() ([]byte, error) {
	end := bytes.IndexByte(s.in, '\n')
	line := bytes.TrimRight(s.in[:end], "\r")
	s.in = s.in[end+1:]
	var n uint
	switch {
	case bytes.HasPrefix(line, []byte("OK")):
		return line, nil
	case scan(line, "IRQ raise %d", &n):
		s.lines |= 1 << n
		return nil, nil
	case scan(line, "IRQ lower %d", &n):
		s.lines &^= 1 << n
		return nil, nil
	}
	return nil, s.fail(fmt.Errorf("qtest: QEMU said %q", line))
}

func scan(line []byte, format string, n *uint) bool {
	_, err := fmt.Sscanf(string(line), format, n)
	return err == nil
}

// fill reads what has come; flags are those of recvfrom.
func (s *session) fill(flags int) error {
	var buf [4096]byte
	for {
		n, _, err := unix.Recvfrom(s.fd, buf[:], flags)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return err
		case n == 0:
			return s.fail(fmt.Errorf("qtest: QEMU hung up: %w", io.EOF))
		}
		s.in = append(s.in, buf[:n]...)
		return nil
	}
}

// fail notes why the session is over; the first reason stays.
func (s *session) fail(err error) error {
	if s.err == nil {
		s.err = err
	}
	return s.err
}

// end makes all that follows return err, and closes the descriptor. Whoever is
// waiting for a reply gets it first or, if QEMU is gone, its end of file.
func (s *session) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	unix.Close(s.fd)
}
