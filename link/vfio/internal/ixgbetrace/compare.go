package ixgbetrace

import (
	"fmt"
	"slices"
	"strings"
)

// Difference is something that two drivers do in different ways in a task.
type Difference struct {
	Task     string
	Register string // or the order's name
	A, B     string // what each does
}

// Compare compares the tasks that both have, in the order of a.
func Compare(a, b []Folded) []Difference {
	var all []Difference
	for _, x := range a {
		i := slices.IndexFunc(b, func(f Folded) bool { return f.Name == x.Name })
		if i >= 0 {
			all = append(all, compareTask(x, b[i])...)
		}
	}
	return all
}

func compareTask(a, b Folded) []Difference {
	var all []Difference
	x, y := finals(a.Steps), finals(b.Steps)
	for _, r := range union(x, y) {
		if p, q := x[r], y[r]; !p.equal(q) {
			all = append(all, Difference{a.Name, r, p.describe(r, q), q.describe(r, p)})
		}
	}
	for _, o := range orders {
		if p, q := o.check(a.Steps), o.check(b.Steps); p != q {
			all = append(all, Difference{a.Name, o.name, string(p), string(q)})
		}
	}
	return all
}

// final is what a driver has written to the registers of a table: the last value
// by index.
type final struct {
	values map[int]uint32
	any    bool
}

func (f *final) equal(o *final) bool {
	if f == nil || o == nil || len(f.values) != len(o.values) {
		return f == o
	}
	for i, v := range f.values {
		if w, ok := o.values[i]; !ok || v != w && !f.any {
			return false
		}
	}
	return true
}

func finals(steps []Step) map[string]*final {
	all := map[string]*final{}
	for _, s := range steps {
		if !s.Write {
			continue
		}
		f := all[s.Register]
		if f == nil {
			f = &final{values: map[int]uint32{}, any: s.Any}
			all[s.Register] = f
		}
		for i := s.First; i <= s.Last; i++ {
			f.values[i] = s.Value
		}
	}
	return all
}

// union returns the registers of both in the datasheet's order, as far as the
// table of names has it.
func union(a, b map[string]*final) []string {
	var names []string
	for r := range a {
		names = append(names, r)
	}
	for r := range b {
		if a[r] == nil {
			names = append(names, r)
		}
	}
	slices.SortFunc(names, func(x, y string) int {
		if d := rank(x) - rank(y); d != 0 {
			return d
		}
		return strings.Compare(x, y)
	})
	return names
}

func rank(register string) int {
	for i := range spans {
		if base, _, _ := strings.Cut(spans[i].name, "+"); base == register {
			return i
		}
	}
	return len(spans)
}

// most is how many runs of a table are told.
const most = 3

// describe says what was written, and what of it the other has not.
func (f *final) describe(register string, other *final) string {
	if f == nil {
		return "-"
	}
	var runs []string
	for _, r := range f.runs() {
		text := r.where()
		if !f.any {
			text = strings.TrimSpace(text + fmt.Sprintf(" %#x", r.value))
		}
		if w, ok := other.at(r.first); ok && !f.any {
			if e := explain(register, r.value, w); e != "" {
				text += " (" + e + ")"
			}
		}
		runs = append(runs, text)
	}
	if len(runs) > most {
		runs = append(runs[:most], fmt.Sprintf("and %d more", len(runs)-most))
	}
	if text := strings.Join(runs, "; "); text != "" {
		return text
	}
	return "written"
}

func (f *final) at(i int) (uint32, bool) {
	if f == nil {
		return 0, false
	}
	v, ok := f.values[i]
	return v, ok
}

// run is neighbours with one value.
type run struct {
	first, last int
	value       uint32
}

func (r run) where() string {
	switch {
	case r.first < 0:
		return ""
	case r.first == r.last:
		return fmt.Sprintf("[%d]", r.first)
	}
	return fmt.Sprintf("[%d..%d]", r.first, r.last)
}

func (f *final) runs() []run {
	var indices []int
	for i := range f.values {
		indices = append(indices, i)
	}
	slices.Sort(indices)
	var all []run
	for _, i := range indices {
		v := f.values[i]
		if n := len(all); n > 0 && all[n-1].last == i-1 && (f.any || all[n-1].value == v) {
			all[n-1].last = i
			continue
		}
		all = append(all, run{i, i, v})
	}
	return all
}
