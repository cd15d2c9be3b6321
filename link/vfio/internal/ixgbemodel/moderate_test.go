package ixgbemodel

import (
	"slices"
	"testing"
	"time"
)

// moderated is a rig with a timer of its own. Its queue 0 has vector 3.
type moderated struct {
	*rig
	waits []time.Duration
	wakes []func()
}

func newModerated(t *testing.T, chip Chip) *moderated {
	m := &moderated{}
	m.rig = newRigOf(t, Config{Chip: chip, After: func(wait time.Duration, f func()) {
		m.waits, m.wakes = append(m.waits, wait), append(m.wakes, f)
	}})
	m.start()
	m.Write32(regGPIE, gpieMSIX)
	m.Write32(regIVAR, ivarValid|3)
	m.Write32(regIVARMisc, (ivarValid|40)<<8)
	m.Write32(regEIAC, queueCauses)
	m.Write32(regEIMSEX, 1<<3)
	m.Write32(regEIMS, causeLSC)
	m.vectors = nil
	return m
}

// pass lets time go by, and calls who waits for that.
func (m *moderated) pass(d time.Duration) {
	m.now += d
	wakes := m.wakes
	m.wakes = nil
	for _, f := range wakes {
		f()
	}
}

// want compares what has come since the last call.
func (m *moderated) want(what string, vectors ...int) {
	m.t.Helper()
	if !slices.Equal(m.vectors, vectors) {
		m.t.Errorf("%s: interrupts %v, want %v", what, m.vectors, vectors)
	}
	m.vectors = nil
}

// TestInterval holds interrupts back as EITR says: one comes when the interval is over,
// for all that has happened.
func TestInterval(t *testing.T) {
	m := newModerated(t, Chip82599)
	m.Receive(datagram(30))
	m.Receive(datagram(30))
	m.want("interval 0", 3, 3)

	m.Write32(regEITR+4*3, 50<<3)
	const gap = 50 * 2048 * time.Nanosecond
	m.now += time.Second
	m.Receive(datagram(30))
	m.want("the first of an interval", 3)
	m.now += gap / 4
	m.Receive(datagram(30))
	m.Receive(datagram(30))
	m.want("within it")
	if !slices.Equal(m.waits, []time.Duration{gap * 3 / 4}) {
		t.Errorf("looked at again after %v, want %v", m.waits, gap*3/4)
	}
	m.pass(gap * 3 / 4)
	m.want("at its end", 3)
	m.pass(10 * gap)
	m.want("later")

	// What is masked when the interval is over waits until it is not.
	m.Receive(datagram(30))
	m.Receive(datagram(30))
	m.Write32(regEIMCEX, 1<<3)
	m.want("before the mask", 3)
	m.pass(gap)
	m.want("masked")
	m.Write32(regEIMSEX, 1<<3)
	m.want("unmasked", 3)

	// Others have intervals of their own, also vectors behind the 24th.
	m.Write32(regEITR24+4*(40-24), 1<<3)
	m.SetLink(false)
	m.SetLink(true)
	m.want("other causes", 40)
	m.pass(2048 * time.Nanosecond)
	m.want("other causes at the end", 40)
	m.clean()
}

// TestIntervalChanges: one that is made longer holds, one that is made 0 lets go, and
// a reset forgets.
func TestIntervalChanges(t *testing.T) {
	m := newModerated(t, Chip82599)
	const gap = 10 * 2048 * time.Nanosecond
	hold := func() {
		t.Helper()
		m.pass(time.Second)
		m.vectors = nil
		m.Write32(regEITR+4*3, 10<<3)
		m.Receive(datagram(30))
		m.Receive(datagram(30))
		m.want("held", 3)
	}
	hold()
	m.Write32(regEITR+4*3, 30<<3)
	m.pass(gap)
	m.want("made longer")
	m.pass(2 * gap)
	m.want("at its end", 3)
	hold()
	m.Write32(regEITR+4*3, 0)
	m.want("made 0", 3)
	m.pass(gap)
	m.want("once")
	hold()
	m.Write32(regCTRL, ctrlRST)
	m.pass(gap)
	m.want("after a reset")
}

// TestIntervalUnit: on a slow link it is ten times as long.
func TestIntervalUnit(t *testing.T) {
	m := newModerated(t, ChipX540)
	m.phy[an10G], m.phy[an1G] = 0, 0
	m.Write32(regEITR+4*3, 1<<3)
	m.Receive(datagram(30))
	m.Receive(datagram(30))
	m.want("held", 3)
	if !slices.Equal(m.waits, []time.Duration{20480 * time.Nanosecond}) {
		t.Errorf("at 100 Mbit/s it is %v", m.waits)
	}
}

// TestIntervalOfTheLine: INTx goes up again when the interval of vector 0 is over, and
// without a timer when the device is looked at then.
func TestIntervalOfTheLine(t *testing.T) {
	r := newRig(t, Chip82599)
	r.start()
	r.Read32(regEICR)
	r.Write32(regIVAR, ivarValid)
	r.Write32(regEIMS, 1)
	r.Write32(regEITR, 2<<3)
	r.Receive(datagram(30))
	r.Read32(regEICR)
	r.Receive(datagram(30))
	if !slices.Equal(r.lines, []bool{true, false}) {
		t.Errorf("line %v, want it down within the interval", r.lines)
	}
	r.now += 4096 * time.Nanosecond
	r.Read32(regSTATUS)
	if !slices.Equal(r.lines, []bool{true, false, true}) || !slices.Equal(r.vectors, []int{0, 0}) {
		t.Errorf("line %v, want it up at the end; vectors %v, want 0 twice, as MSI has it", r.lines, r.vectors)
	}
	r.clean()
}

// TestRealIntervals has the clock and the timer of the process.
func TestRealIntervals(t *testing.T) {
	came := make(chan int, 10)
	memory := make(dram, 1<<16)
	d, err := New(Config{Chip: Chip82599, MAC: [6]byte{2, 0, 0, 0, 0, 1}, Memory: Flat(memory), Interrupt: func(v int) { came <- v }})
	if err != nil {
		t.Fatal(err)
	}
	d.Write32(regGPIE, gpieMSIX)
	d.Write32(regIVARMisc, (ivarValid|1)<<8)
	d.Write32(regEIMS, causeLSC)
	d.Write32(regEITR+4, eitrInterval)
	begin := time.Now()
	d.SetLink(true)
	d.SetLink(false)
	for range 2 {
		select {
		case <-came:
		case <-time.After(30 * time.Second):
			t.Fatal("no interrupt")
		}
	}
	if gap := time.Since(begin); gap < 511*2048*time.Nanosecond {
		t.Errorf("two interrupts in %v", gap)
	}
}
