package ixgbetrace

// Bits that the orders are about.
const (
	ctrlMaster  = 1 << 2
	ctrlRST     = 1<<26 | 1<<3
	statusMDA   = 1 << 19
	eecARD      = 1 << 9
	rdrxDone    = 1 << 3
	rxEN        = 1 << 0
	queueEN     = 1 << 25
	dmatxTE     = 1 << 0
	arbDIS      = 1 << 6
	secDIS      = 1 << 1
	secReady    = 1 << 0
	maskedFirst = "EIMC before CTRL.RST"
)

// verdict says how a driver treats an order in a task.
type verdict string

// Verdicts.
const (
	absent verdict = "does not come to it"
	kept   verdict = "kept"
	broken verdict = "not kept"
)

// order is a sequence that the datasheet asks for.
type order struct {
	name  string
	check func([]Step) verdict
}

// orders, with the sections of the 82599's datasheet that ask for them.
var orders = []order{
	{maskedFirst + " (4.6.3.1)", before(write("EIMC", 0), write("CTRL", ctrlRST))},
	{"CTRL.PCIe master disable, and STATUS says that it is, before CTRL.RST (5.2.5.3.2)", before(write("CTRL", ctrlMaster), write("CTRL", ctrlRST))},
	{"CTRL.RST until it reads as 0 (4.2.1.7)", after(write("CTRL", ctrlRST), readClear("CTRL", ctrlRST))},
	{"EEC.ARD after CTRL.RST (4.6.3)", after(write("CTRL", ctrlRST), read("EEC", eecARD))},
	{"RDRXCTL.DMAIDONE after CTRL.RST (4.6.3)", after(write("CTRL", ctrlRST), read("RDRXCTL", rdrxDone))},
	{"FCTRL with RXCTRL.RXEN clear (8.2.3.7.1)", whileOff("FCTRL", "RXCTRL", rxEN)},
	{"RXDCTL.ENABLE reads as 1 before RDT (4.6.7)", enabledBeforeTail},
	{"ring and SRRCTL before RXDCTL.ENABLE (4.6.7)", before(write("SRRCTL", 0), write("RXDCTL", queueEN))},
	{"RXCTRL.RXEN after the last RXDCTL.ENABLE (4.6.7)", last(write("RXDCTL", queueEN), write("RXCTRL", rxEN))},
	{"DMATXCTL.TE before TXDCTL.ENABLE (4.6.8)", before(write("DMATXCTL", dmatxTE), write("TXDCTL", queueEN))},
	{"MTQC with RTTDCS.ARBDIS set (8.2.3.9.15)", whileOn("MTQC", "RTTDCS", arbDIS)},
	{"SECRXCTRL.RX_DIS, and SECRXSTAT ready, before RXCTRL.RXEN (4.6.7)", before(read("SECRXSTAT", secReady), write("RXCTRL", rxEN))},
	{"RXDCTL.ENABLE off reads as 0 before the rings go (4.6.7.1)", disabledReadBack},
}

// match says whether a step is of a kind.
type match func(Step) bool

func write(register string, mask uint32) match {
	return func(s Step) bool { return s.Write && s.Register == register && (mask == 0 || s.Value&mask != 0) }
}

func read(register string, mask uint32) match {
	return func(s Step) bool { return !s.Write && s.Register == register && s.Value&mask != 0 }
}

func readClear(register string, mask uint32) match {
	return func(s Step) bool { return !s.Write && s.Register == register && s.Value&mask == 0 }
}

// before: there is a first in the task ahead of the first of the second.
func before(first, second match) func([]Step) verdict {
	return func(steps []Step) verdict {
		seen := false
		for _, s := range steps {
			if second(s) {
				return map[bool]verdict{true: kept, false: broken}[seen]
			}
			seen = seen || first(s)
		}
		return absent
	}
}

// after: there is a second behind each of the first.
func after(first, second match) func([]Step) verdict {
	return func(steps []Step) verdict {
		v := absent
		for _, s := range steps {
			switch {
			case first(s):
				v = broken
			case second(s) && v == broken:
				v = kept
			}
		}
		return v
	}
}

// last: no first comes behind the last of the second.
func last(first, second match) func([]Step) verdict {
	return func(steps []Step) verdict {
		v, pending := absent, false
		for _, s := range steps {
			switch {
			case first(s):
				pending = true
			case second(s) && (pending || v != absent):
				v, pending = kept, false
			}
		}
		if v == kept && pending {
			return broken
		}
		return v
	}
}

// whileOff: a register is written while the bit of another is, as far as the
// task shows, clear.
func whileOff(register, control string, mask uint32) func([]Step) verdict {
	return during(register, control, func(v uint32) bool { return v&mask == 0 })
}

func whileOn(register, control string, mask uint32) func([]Step) verdict {
	return during(register, control, func(v uint32) bool { return v&mask != 0 })
}

func during(register, control string, good func(uint32) bool) func([]Step) verdict {
	return func(steps []Step) verdict {
		v, known, state := absent, false, uint32(0)
		for _, s := range steps {
			switch {
			case s.Register == control:
				known, state = true, s.Value
			case s.Write && s.Register == register && known && v != broken:
				v = map[bool]verdict{true: kept, false: broken}[good(state)]
			}
		}
		return v
	}
}

// disabledReadBack looks at each queue by itself, too: what was not on, as far as
// the task shows, need not be seen to be off.
func disabledReadBack(steps []Step) verdict {
	v := absent
	on, waiting := map[int]bool{}, map[int]bool{}
	for _, s := range steps {
		for q := s.First; q <= s.Last && s.Register == "RXDCTL"; q++ {
			switch enabled := s.Value&queueEN != 0; {
			case enabled && !s.Write && waiting[q]: // it takes its time
			case enabled:
				on[q] = true
			case s.Write && on[q]:
				on[q], waiting[q] = false, true
			case !s.Write && waiting[q]:
				delete(waiting, q)
				v = kept
			}
		}
	}
	if len(waiting) > 0 {
		return broken
	}
	return v
}

// enabledBeforeTail looks at each queue by itself.
func enabledBeforeTail(steps []Step) verdict {
	v := absent
	waiting := map[int]bool{} // enabled, and not yet seen to be
	for _, s := range steps {
		for q := s.First; q <= s.Last; q++ {
			switch {
			case write("RXDCTL", queueEN)(s):
				waiting[q] = true
			case read("RXDCTL", queueEN)(s):
				waiting[q] = false
			case s.Write && s.Register == "RDT":
				off, was := waiting[q]
				if was && off {
					return broken
				}
				if was {
					v = kept
				}
			}
		}
	}
	return v
}
