// Package doctor says what this machine, and a network interface of it, can give
// to the stage. It looks and changes nothing. What is to be looked at is gathered
// first (host.go, card.go), then judged by functions of that alone.
package doctor

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Level of a finding.
type Level string

// Levels.
const (
	// OK: nothing to do.
	OK Level = "ok"
	// Warn: it works, with a worse worst case or less speed than it could have.
	Warn Level = "warn"
	// Bad: something that oobnet offers does not work here.
	Bad Level = "bad"
)

// Finding is one line of the report.
type Finding struct {
	Area  string `json:"area"` // what part of the machine
	Name  string `json:"name"`
	Level Level  `json:"level"`
	Found string `json:"found"`
	// Why it is not OK: what it costs, or what does not work. Mend is the command,
	// or the setting, that changes it; where something failed that should not, the
	// command that shows the cause. Both are empty if it is OK, and only then.
	Why  string `json:"why,omitempty"`
	Mend string `json:"mend,omitempty"`
}

// list collects the findings of an area.
type list struct {
	area     string
	findings []Finding
}

func (l *list) ok(name, found string) {
	l.findings = append(l.findings, Finding{Area: l.area, Name: name, Level: OK, Found: found})
}

// judge adds a finding that is of the level unless good.
func (l *list) judge(good bool, level Level, name, found, why, mend string) {
	if good {
		l.ok(name, found)
		return
	}
	l.findings = append(l.findings, Finding{l.area, name, level, found, why, mend})
}

// Count returns how many findings are of a level.
func Count(findings []Finding, level Level) (n int) {
	for _, f := range findings {
		if f.Level == level {
			n++
		}
	}
	return n
}

// Write writes the findings for people: a table, and below each line that is not
// ok why, and the way out.
func Write(w io.Writer, findings []Finding, colour bool) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	area := ""
	for _, f := range findings {
		shown := f.Area
		if shown == area {
			shown = ""
		}
		area = f.Area
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", shown, mark(f.Level, colour), f.Name, f.Found)
		if f.Why != "" {
			fmt.Fprintf(tw, "\t%s\t\t%s\n", mark("", colour), f.Why)
		}
		if f.Mend != "" {
			fmt.Fprintf(tw, "\t%s\t\tmend: %s\n", mark("", colour), f.Mend)
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%d ok, %d warn, %d bad\n", Count(findings, OK), Count(findings, Warn), Count(findings, Bad))
	return err
}

// colours of levels; all are as long, so that columns stay straight.
var colours = map[Level]string{OK: "\x1b[32m", Warn: "\x1b[33m", Bad: "\x1b[31m", "": "\x1b[39m"}

func mark(l Level, colour bool) string {
	if !colour {
		return string(l)
	}
	return colours[l] + string(l) + "\x1b[0m"
}
