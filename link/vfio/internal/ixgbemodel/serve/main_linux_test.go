package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/vfiouser"
	"github.com/oobnet/oobnet/link/vfio/internal/ixgbemodel"
)

// limit bounds each wait.
const limit = 30 * time.Second

// newCard makes a card whose server has no client.
func newCard(t *testing.T, chip ixgbemodel.Chip, w *bytes.Buffer) *card {
	t.Helper()
	c := &card{chip: chip, config: configSpace(chip), trace: newTrace(w)}
	memory := &later{}
	var err error
	c.model, err = ixgbemodel.New(ixgbemodel.Config{
		Chip: chip, MAC: [6]byte{2, 0, 0, 0, 0, 1}, Memory: memory,
		Trace: c.trace.access, Interrupt: c.interrupt, Line: c.line,
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.server, err = vfiouser.Listen(filepath.Join(t.TempDir(), "card"), c, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.server.Close() })
	memory.Memory = c.server.Memory()
	return c
}

func (c *card) word(t *testing.T, region int, offset uint64) uint32 {
	t.Helper()
	var b [4]byte
	if err := c.Read(region, offset, b[:]); err != nil {
		t.Fatal(err)
	}
	return binary.LittleEndian.Uint32(b[:])
}

func (c *card) set(t *testing.T, region int, offset uint64, v uint32) {
	t.Helper()
	if err := c.Write(region, offset, binary.LittleEndian.AppendUint32(nil, v)); err != nil {
		t.Fatal(err)
	}
}

// TestConfigSpace wants what drivers read at fixed offsets.
func TestConfigSpace(t *testing.T) {
	leaktest.Check(t)
	for chip, id := range map[ixgbemodel.Chip]uint32{ixgbemodel.Chip82599: 0x10fb8086, ixgbemodel.ChipX540: 0x15288086} {
		c := newCard(t, chip, new(bytes.Buffer))
		for _, want := range []struct {
			what       string
			offset     uint64
			mask, word uint32
		}{
			{"ID", 0, 0xffffffff, id},
			{"class", 8, 0xffffff00, 0x02000000},
			{"BAR 0", 0x10, 0xf, 0xc},
			{"first capability", 0x34, 0xff, atPM},
			{"PM", atPM, 0xffff, vfiouser.CapPM | atMSI<<8},
			{"MSI", atMSI, 0xffff, vfiouser.CapMSI | atMSIX<<8},
			{"MSI-X, 64 vectors", atMSIX, 0x7ffffff, vfiouser.CapMSIX | atPCIe<<8 | 63<<16},
			{"MSI-X table", atMSIX + 4, 7, msixBAR},
			{"PCIe", atPCIe, 0xffff, vfiouser.CapPCIe},
			{"function-level reset", atPCIe + 4, 1 << 28, 1 << 28},
		} {
			if got := c.word(t, vfiouser.ConfigRegion, want.offset); got&want.mask != want.word {
				t.Errorf("%#04x: %s: %#x, want %#x", uint16(chip), want.what, got&want.mask, want.word)
			}
		}
	}
}

// Registers that a reset changes.
const (
	hlreg0 = 0x04240
	links  = 0x042a4
)

// TestResets wants the model reset by each way that a bus has.
func TestResets(t *testing.T) {
	leaktest.Check(t)
	c := newCard(t, ixgbemodel.Chip82599, new(bytes.Buffer))
	before := c.word(t, 0, hlreg0)
	for what, reset := range map[string]func(){
		"by the server": func() {
			if err := c.Reset(); err != nil {
				t.Fatal(err)
			}
		},
		"of the function":    func() { c.set(t, vfiouser.ConfigRegion, pcieFlags, 0x8000) },
		"by the power state": func() { c.set(t, vfiouser.ConfigRegion, pmStatus, 3); c.set(t, vfiouser.ConfigRegion, pmStatus, 0) },
	} {
		c.set(t, 0, hlreg0, before^4)
		if c.word(t, 0, hlreg0) == before {
			t.Fatal("HLREG0 is not changed")
		}
		reset()
		if got := c.word(t, 0, hlreg0); got != before {
			t.Errorf("reset %s: HLREG0 is %#x, want %#x", what, got, before)
		}
	}
}

// TestKinds wants interrupts of the kind that is switched on.
func TestKinds(t *testing.T) {
	leaktest.Check(t)
	c := newCard(t, ixgbemodel.Chip82599, new(bytes.Buffer))
	for _, step := range []struct {
		offset uint64
		word   uint32
		want   vfiouser.IRQ
	}{{atMSIX, 1 << 31, vfiouser.MSIX}, {atMSIX, 0, vfiouser.INTx}, {atMSI, 1 << 16, vfiouser.MSI}, {atMSI, 0, vfiouser.INTx}} {
		c.set(t, vfiouser.ConfigRegion, step.offset, step.word)
		if got := vfiouser.IRQ(c.kind.Load()); got != step.want {
			t.Errorf("%#x written to %#x: interrupts of kind %d, want %d", step.word, step.offset, got, step.want)
		}
	}
}

// TestAccesses wants registers in words, and the table of MSI-X as memory.
func TestAccesses(t *testing.T) {
	leaktest.Check(t)
	var log bytes.Buffer
	c := newCard(t, ixgbemodel.Chip82599, &log)
	if err := c.Read(0, 2, make([]byte, 4)); err == nil {
		t.Error("a register was read that is not aligned")
	}
	if err := c.Write(0, 0, make([]byte, 2)); err == nil {
		t.Error("half a register was written")
	}
	c.set(t, msixBAR, 16, 0xabcd)
	if got := c.word(t, msixBAR, 16); got != 0xabcd {
		t.Errorf("the table of MSI-X holds %#x, want 0xabcd", got)
	}
	c.set(t, vfiouser.ConfigRegion, atMark, 7)
	var two [8]byte
	if err := c.Read(0, links-4, two[:]); err != nil {
		t.Fatal(err)
	}
	c.set(t, 0, 0x5c00, 5)
	if err := c.trace.end(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 4 || lines[0] != "# task 7" || !strings.HasPrefix(lines[1], "r 0x042a0 0x") ||
		!strings.HasPrefix(lines[2], "r 0x042a4 0x") || lines[3] != "w 0x05c00 0x00000005" {
		t.Errorf("trace %q", lines)
	}
}

// TestServe runs the program: a frame on its wire, its cable, and its report.
func TestServe(t *testing.T) {
	leaktest.Check(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var out bytes.Buffer
	done := make(chan error, 1)
	go func() {
		done <- serve(ctx, options{socket: at("card"), chip: "x540", mac: "02:00:00:00:00:01", wire: at("own") + "," + at("peer"), trace: at("trace")}, &out)
	}()
	for end := time.Now().Add(limit); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(at("own")); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("no wire")
		}
	}
	peer, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: at("own"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	if _, err := peer.Write(make([]byte, 60)); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "count reads 0\ncount writes 0\ncount lost 0\n" {
		t.Errorf("report %q", got)
	}
	for _, name := range []string{"card", "own"} {
		if _, err := os.Stat(at(name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("socket %s is left: %v", name, err)
		}
	}
}

// TestWire wants frames in order, and a far end that takes none to lose them.
func TestWire(t *testing.T) {
	leaktest.Check(t)
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	got := make(chan string, 2)
	w, err := newWire(a, b, func(f []byte) { got <- string(f) })
	if err != nil {
		t.Fatal(err)
	}
	w.send([]byte("nobody is there"))
	for end := time.Now().Add(limit); w.lost.Load() != 1; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a frame to nobody is not counted as lost")
		}
	}
	other, err := newWire(b, a, func(f []byte) { got <- string(f) })
	if err != nil {
		t.Fatal(err)
	}
	w.send([]byte("one"))
	w.send([]byte("two"))
	for _, want := range []string{"one", "two"} {
		if f := <-got; f != want {
			t.Errorf("frame %q, want %q", f, want)
		}
	}
	other.send([]byte("back"))
	if f := <-got; f != "back" {
		t.Errorf("frame %q, want %q", f, "back")
	}
	if err := errors.Join(w.close(a), other.close(b)); err != nil {
		t.Error(err)
	}
}

// TestBadOptions wants each refused, with nothing left behind.
func TestBadOptions(t *testing.T) {
	leaktest.Check(t)
	good := options{socket: filepath.Join(t.TempDir(), "card"), chip: "82599", mac: "02:00:00:00:00:01", wire: "a,b"}
	for what, spoil := range map[string]func(*options){
		"chip":    func(o *options) { o.chip = "x710" },
		"address": func(o *options) { o.mac = "02:00" },
		"wire":    func(o *options) { o.wire = "a" },
		"socket":  func(o *options) { o.socket = "/no/such/folder/card" },
		"trace":   func(o *options) { o.trace = "/no/such/folder/trace" },
	} {
		o := good
		spoil(&o)
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		if err := serve(ctx, o, new(bytes.Buffer)); err == nil {
			t.Errorf("%s: served", what)
		}
		cancel()
	}
}

// TestCounted folds what differs by the register alone.
func TestCounted(t *testing.T) {
	got := counted("violation", []ixgbemodel.Violation{
		{Offset: 0x1028, Section: "1.2", What: "a"}, {Offset: 0x1068, Section: "1.2", What: "a"}, {Offset: 0x1028, Section: "1.3", What: "a"},
	})
	if len(got) != 2 || !strings.HasPrefix(got[0], "violation register 0x01028: a") || !strings.HasSuffix(got[0], "(2 times)") || !strings.HasSuffix(got[1], "(1 times)") {
		t.Errorf("%q", got)
	}
}
