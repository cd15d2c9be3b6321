package latmus

import (
	"strings"
	"testing"
)

// TestText holds the report for people to its words.
func TestText(t *testing.T) {
	o := short()
	o.RTT, o.Kernel = true, true
	y := newTally(&o)
	for i := range nFigures {
		for range 4 {
			y.record(i, 1000)
		}
	}
	r := &Report{
		Sent: 10, Received: 9, Lost: 1, Demoted: 2, SendErrors: 1, FirstError: "refused", Overruns: 3, KernelSent: 4, Refused: []string{"latmus.tx: no"},
		Worst: []*Exchange{path("in", 7, 100, 0, point{"device to queuing", 1100}, point{"queuing to delivery", 5100})},
	}
	r.addFigures(y, &o)
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	const want = `          us  count    min   mean    p50    p99  p99.9    max
    rx sched      4  1.000  1.000  1.000  1.000  1.000  1.000
     rx user      4  1.000  1.000  1.000  1.000  1.000  1.000
    tx sched      4  1.000  1.000  1.000  1.000  1.000  1.000
     tx user      4  1.000  1.000  1.000  1.000  1.000  1.000
     rx read      4  1.000  1.000  1.000  1.000  1.000  1.000
         rtt      4  1.000  1.000  1.000  1.000  1.000  1.000
  kernel rtt      4  1.000  1.000  1.000  1.000  1.000  1.000
sent 10, received 9, lost 1, late 0, duplicates 0, bad CRC 0, in-band 0, demoted 2, overruns 3, collections 0
send errors 1, the first: refused
to kernel sockets: p99.9 1.00, worst 1.00; theirs sent 4, lost 0
refused: latmus.tx: no
worst: in 7 at 0.000 s: 5.000 us (device to queuing 1.000, queuing to delivery 4.000): no cause seen from here
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	b.Reset()
	r.Figures = r.Figures[:1]
	if err := r.WriteHistogram(&b); err != nil {
		t.Fatal(err)
	}
	if want := "rx sched, us\n     0.896 |" + strings.Repeat("#", barWidth) + " 4\n"; b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}
