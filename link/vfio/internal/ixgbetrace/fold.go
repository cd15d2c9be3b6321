package ixgbetrace

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Step is what a driver did to a register, or to a run of registers of a table.
type Step struct {
	Write       bool
	Register    string
	First, Last int    // indices; -1: the register stands alone
	Value       uint32 // of a poll: the last
	Any         bool   // the value means nothing: an address, a time, a random key
	Times       int    // in a row; of a poll: reads
}

// Folded is a task in short.
type Folded struct {
	Name  string
	Steps []Step
}

// anyValue are registers whose values differ from run to run.
var anyValue = map[string]bool{
	"RDBAL": true, "RDBAH": true, "TDBAL": true, "TDBAH": true, "RDT": true, "TDT": true, "RAL": true, "RAH": true,
	"RSSRK": true, "SYSTIML": true, "SYSTIMH": true, "FDIRHASH": true, "FDIRHKEY": true, "FDIRSKEY": true, "SAQF": true,
	"EICR": true, "EIMS": true, "EIMS_EX": true, "EICS_EX": true, "I2CCTL": true, "RTTDQSEL": true, "IPSTXIDX": true, "IPSRXIDX": true, "SWSM": true, "SW_FW_SYNC": true,
	"TSAUXC": true, "TRGTTIML0": true, "FDIRCMD": true, "EERD": true, "MSCA": true, "MSRWD": true, "FLEX_MNG": true,
	counterName: true,
}

// requests are registers by which others are reached: the words of the EEPROM,
// registers of the PHY, the module in the cage. Their writes and reads fold into
// writes of no value.
var requests = map[string]bool{"EERD": true, "MSCA": true, "MSRWD": true, "I2CCTL": true}

// flush is the register that drivers read to have their writes arrive: its reads
// are left out.
const flush = "STATUS"

// together are registers whose accesses in a task are told once, where the first
// is: other threads of a driver use them at any time, and their values mean nothing.
var together = map[string]bool{"EERD": true, "MSCA": true, "I2CCTL": true, "SWSM": true, "SW_FW_SYNC": true, counterName: true}

// Fold makes tasks short.
func Fold(tasks []Task) []Folded {
	var all []Folded
	for _, t := range tasks {
		f := Folded{Name: t.Name}
		for _, a := range t.Accesses {
			if s := step(a); s.Write || s.Register != flush {
				f.add(s)
			}
		}
		all = append(all, f)
	}
	return all
}

func step(a Access) Step {
	n, i := name(a.Offset)
	s := Step{Write: a.Write, Register: n, First: i, Last: i, Value: a.Value, Any: anyValue[n], Times: 1}
	if requests[n] || s.Any {
		s.Value = 0
	}
	if requests[n] {
		s.Write = true
		if n == "MSRWD" {
			s.Register = "MSCA"
		}
	}
	return s
}

// add folds a step into the last, or appends it.
func (f *Folded) add(s Step) {
	if together[s.Register] {
		for i := range f.Steps {
			if l := &f.Steps[i]; l.Register == s.Register && l.Write == s.Write {
				l.Times++
				return
			}
		}
	}
	if n := len(f.Steps); n > 0 && f.Steps[n-1].fold(s) {
		return
	}
	f.Steps = append(f.Steps, s)
	for k := 2; k <= longestLoop && 2*k <= len(f.Steps); k++ {
		last := f.Steps[len(f.Steps)-k:]
		if before := f.Steps[len(f.Steps)-2*k:][:k]; turns(before, last) {
			f.Steps = f.Steps[:len(f.Steps)-k]
			return
		}
	}
}

// longestLoop is how many steps a loop may have that folds into one turn:
// semaphores round each word of the EEPROM, registers of each queue.
const longestLoop = 24

// turns folds a turn of a loop into those before, if it is one: the same steps,
// or those of the next registers of tables.
func turns(before, turn []Step) bool {
	for i := range before {
		x, y := before[i], turn[i]
		again := x.First == y.First && x.Last == y.Last
		next := x.Last >= 0 && y.First == x.Last+1 && x.Times == y.Times
		if x.Write != y.Write || x.Register != y.Register || x.Value != y.Value || !again && !next {
			return false
		}
	}
	for i := range before {
		if before[i].First == turn[i].First {
			before[i].Times += turn[i].Times
		} else {
			before[i].Last = turn[i].Last
		}
	}
	return true
}

// fold lets a step stand for the next one, too, if it can.
func (s *Step) fold(next Step) bool {
	switch {
	case s.Write != next.Write || s.Register != next.Register:
		return false
	case !next.Write && s.First == next.First && s.Last == next.Last:
		s.Value = next.Value // a poll
		s.Times++
		return true
	case s.Value != next.Value:
		return false
	case s.First == next.First && s.Last == next.Last:
		s.Times++
		return true
	case s.Times == next.Times && s.Last >= 0 && next.First == s.Last+1:
		s.Last = next.Last
		return true
	}
	return false
}

// String is the line of a step: "w MTA[0..127] 0x00000000", "r EEC 0x00000200 x3".
func (s Step) String() string {
	var b strings.Builder
	b.WriteString(map[bool]string{true: "w ", false: "r "}[s.Write] + s.Register)
	switch {
	case s.First >= 0 && s.First == s.Last:
		fmt.Fprintf(&b, "[%d]", s.First)
	case s.First >= 0:
		fmt.Fprintf(&b, "[%d..%d]", s.First, s.Last)
	}
	if s.Any {
		b.WriteString(" *")
	} else {
		fmt.Fprintf(&b, " 0x%08x", s.Value)
	}
	if s.Times > 1 {
		fmt.Fprintf(&b, " x%d", s.Times)
	}
	return b.String()
}

// foldedMark is the first line of a folded trace.
const foldedMark = "# folded"

// Write writes folded tasks as text, which ReadFolded reads.
func Write(w io.Writer, tasks []Folded) error {
	b := bufio.NewWriter(w)
	fmt.Fprintln(b, foldedMark)
	for _, t := range tasks {
		fmt.Fprintf(b, "# task %s\n", t.Name)
		for _, s := range t.Steps {
			fmt.Fprintln(b, s)
		}
	}
	return b.Flush()
}

// Load reads a trace, folded or not, and folds it.
func Load(r io.Reader) ([]Folded, error) {
	b := bufio.NewReader(r)
	if first, err := b.Peek(len(foldedMark)); err == nil && string(first) == foldedMark {
		return readFolded(b)
	}
	tasks, err := Read(b)
	return Fold(tasks), err
}

func readFolded(r io.Reader) ([]Folded, error) {
	var tasks []Folded
	sc := bufio.NewScanner(r)
	for line := 1; sc.Scan(); line++ {
		text := sc.Text()
		if line == 1 && text == foldedMark {
			continue
		}
		if n, ok := strings.CutPrefix(text, "# task "); ok {
			tasks = append(tasks, Folded{Name: n})
			continue
		}
		s, err := parseStep(text)
		if err != nil || len(tasks) == 0 {
			return nil, fmt.Errorf("ixgbetrace: line %d: %q is no step of a task", line, text)
		}
		t := &tasks[len(tasks)-1]
		t.Steps = append(t.Steps, s)
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("ixgbetrace: %w", err)
	}
	return tasks, nil
}

func parseStep(text string) (s Step, err error) {
	f := strings.Fields(text)
	if len(f) < 3 || len(f) > 4 || f[0] != "r" && f[0] != "w" {
		return s, strconv.ErrSyntax
	}
	s = Step{Write: f[0] == "w", Register: f[1], First: -1, Last: -1, Any: f[2] == "*", Times: 1}
	if base, index, ok := strings.Cut(f[1], "["); ok {
		s.Register = base
		first, last, run := strings.Cut(strings.TrimSuffix(index, "]"), "..")
		if !run {
			last = first
		}
		if s.First, err = strconv.Atoi(first); err != nil {
			return s, err
		}
		if s.Last, err = strconv.Atoi(last); err != nil {
			return s, err
		}
	}
	if !s.Any {
		v, err := strconv.ParseUint(f[2], 0, 32)
		if err != nil {
			return s, err
		}
		s.Value = uint32(v)
	}
	if len(f) == 4 {
		s.Times, err = strconv.Atoi(strings.TrimPrefix(f[3], "x"))
	}
	return s, err
}
