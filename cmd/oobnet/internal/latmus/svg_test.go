package latmus

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// known is a report whose figures are given.
func known() *Report {
	o := short()
	o.RTT, o.Kernel = true, true
	y := newTally(&o)
	for i := range nFigures {
		for n := range int64(1000) {
			y.record(i, (n*n/3000+2)*int64(i+1)*100)
		}
	}
	r := &Report{Mode: "round trips", started: time.Unix(0, 0), Worst: []*Exchange{path("in", 7, 100, 1, point{"device to queuing", 5100})}}
	r.Worst[0].Causes = []string{"preempted <twice>"}
	r.addFigures(y, &o)
	return r
}

func TestSVGIsWellFormedAndDrawsEachFigure(t *testing.T) {
	for name, r := range map[string]*Report{"known": known(), "empty": {Figures: []Figure{{Name: "rx sched", hist: &newTally(&Options{Cells: 1}).figures[0]}}}} {
		var b strings.Builder
		if err := r.WriteSVG(&b); err != nil {
			t.Fatal(err)
		}
		d := xml.NewDecoder(strings.NewReader(b.String()))
		filled := 0
		for {
			tok, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v in\n%s", name, err, b.String())
			}
			if e, ok := tok.(xml.StartElement); ok && e.Name.Local == "path" && strings.Contains(b.String(), "fill-opacity") {
				for _, a := range e.Attr {
					if a.Name.Local == "fill-opacity" {
						filled++
					}
				}
			}
		}
		if want := len(r.Figures); name == "known" && filled != want || name == "empty" && filled != 0 {
			t.Errorf("%s: %d outlines of %d figures", name, filled, want)
		}
		if strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "Inf") {
			t.Errorf("%s: no number in\n%s", name, b.String())
		}
	}
}

func TestHTMLStandsAlone(t *testing.T) {
	var b strings.Builder
	if err := known().WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, want := range []string{"<svg ", "kernel rtt", "device to queuing", "preempted &lt;twice&gt;", "</html>"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in the page", want)
		}
	}
	for _, bad := range []string{"src=", "href=", "@import", "url("} {
		if strings.Contains(text, bad) {
			t.Errorf("the page asks for something outside: %q", bad)
		}
	}
}
