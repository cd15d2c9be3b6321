package ixgbetrace

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Access is one access of a driver to BAR 0.
type Access struct {
	Write         bool
	Offset, Value uint32
}

// Task is what a driver did while it was at something.
type Task struct {
	Name     string
	Accesses []Access
}

// Tasks are the names of the tasks that are compared, by the number under which
// a guest marks them; 0 begins what is not compared.
var Tasks = [...]string{1: "init", 2: "up", 3: "down", 4: "reset", 5: "mtu"}

// Read reads a trace. A task may be named or numbered; what comes before the
// first, and under number 0, is left out. A task that comes twice is one.
func Read(r io.Reader) ([]Task, error) {
	var tasks []Task
	now := -1 // index in tasks
	s := bufio.NewScanner(r)
	for line := 1; s.Scan(); line++ {
		f := strings.Fields(s.Text())
		switch {
		case len(f) == 0:
		case len(f) == 3 && f[0] == "#" && f[1] == "task":
			tasks, now = begin(tasks, f[2])
		case len(f) == 3 && (f[0] == "r" || f[0] == "w"):
			a, err := access(f)
			if err != nil {
				return nil, fmt.Errorf("ixgbetrace: line %d: %w", line, err)
			}
			if now >= 0 {
				tasks[now].Accesses = append(tasks[now].Accesses, a)
			}
		default:
			return nil, fmt.Errorf("ixgbetrace: line %d: %q is no access and no task", line, s.Text())
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("ixgbetrace: %w", err)
	}
	return tasks, nil
}

// begin finds a task by name or number, or appends it.
func begin(tasks []Task, name string) ([]Task, int) {
	if n, err := strconv.ParseUint(name, 0, 16); err == nil {
		if n == 0 {
			return tasks, -1
		}
		if n < uint64(len(Tasks)) {
			name = Tasks[n]
		}
	}
	for i := range tasks {
		if tasks[i].Name == name {
			return tasks, i
		}
	}
	return append(tasks, Task{Name: name}), len(tasks)
}

func access(f []string) (Access, error) {
	offset, err := strconv.ParseUint(f[1], 0, 32)
	if err != nil {
		return Access{}, fmt.Errorf("offset: %w", err)
	}
	value, err := strconv.ParseUint(f[2], 0, 32)
	if err != nil {
		return Access{}, fmt.Errorf("value: %w", err)
	}
	return Access{f[0] == "w", uint32(offset), uint32(value)}, nil
}
