package afxdp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/filter"
)

// odd is a filter that is whatever it is made of.
type odd struct {
	x   *filter.XDP
	err error
}

func (o odd) XDP() (*filter.XDP, error)             { return o.x, o.err }
func (o odd) Instance(int) (filter.Instance, error) { return nil, errors.ErrUnsupported }

// TestSetFilterErrors: what cannot be set leaves what there was.
func TestSetFilterErrors(t *testing.T) {
	r := newFilterRig(t, nil, nil)
	r.setFilter(program(t, "always"))
	wrongMap := &ebpf.CollectionSpec{
		Maps:     map[string]*ebpf.MapSpec{"xsks_map": {Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1}},
		Programs: map[string]*ebpf.ProgramSpec{"p": {Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}}},
	}
	for _, c := range []struct {
		name string
		f    filter.Filter
		is   error
		says string
	}{
		{"a socket filter", program(t, "socket"), errors.ErrUnsupported, `change SEC("socket") to SEC("oobnet")`},
		{"reads past the end", program(t, "bad"), unix.EACCES, "invalid access to packet"},
		{"no form", odd{}, nil, "no programs"},
		{"its own error", odd{err: os.ErrInvalid}, os.ErrInvalid, ""},
		{"no such entry", odd{x: &filter.XDP{Spec: wrongMap.Copy(), Entry: "q"}}, nil, `"q"`},
		{"no such map", odd{x: &filter.XDP{Spec: wrongMap.Copy(), Entry: "p", Actions: true, SocketMap: "none"}}, nil, `"none"`},
		{"a map of another type", odd{x: &filter.XDP{Spec: wrongMap.Copy(), Entry: "p", Actions: true, SocketMap: "xsks_map"}}, errors.ErrUnsupported, "BPF_MAP_TYPE_XSKMAP"},
	} {
		err := r.SetFilter(c.f)
		if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), "afxdp: "+r.Name()+": set a filter: ") {
			t.Errorf("%s: %v", c.name, err)
		}
		var refused *filter.VerifierError
		if errors.As(err, &refused) != (c.name == "reads past the end") {
			t.Errorf("%s: an error of the verifier: %v", c.name, refused != nil)
		}
		if refused != nil {
			checkLog(t, refused)
		}
	}
	if got := r.comes(saying(0, 0)); got != "us" {
		t.Errorf("after refused filters a frame comes to %s, want what the former says: us", got)
	}
}

// checkLog wants the whole log in the file, and its head in the message.
func checkLog(t *testing.T, e *filter.VerifierError) {
	t.Helper()
	defer os.Remove(e.File)
	whole, err := os.ReadFile(e.File)
	if err != nil {
		t.Fatal(err)
	}
	if string(whole) != strings.Join(e.Log, "\n")+"\n" || len(e.Log) < 5 {
		t.Errorf("the file holds %d bytes of %d lines:\n%s", len(whole), len(e.Log), whole)
	}
	if info, err := os.Stat(e.File); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info.Mode(), err)
	}
	for _, want := range []string{e.File, e.Log[0], e.Log[1]} {
		if !strings.Contains(e.Error(), want) {
			t.Errorf("%q is not in %v", want, e)
		}
	}
}

// TestFilterClosed: after Close, and of a filter that was replaced.
func TestFilterClosed(t *testing.T) {
	r := newFilterRig(t, nil, nil)
	if _, err := r.FilterMap("seen"); !errors.Is(err, filter.ErrNoMap) {
		t.Errorf("a map without a filter: %v", err)
	}
	r.setFilter(program(t, "verdict"))
	if _, err := r.FilterMap("none"); !errors.Is(err, filter.ErrNoMap) {
		t.Errorf("a map that is not there: %v", err)
	}
	m, err := r.FilterMap("seen")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Lookup([]byte{1, 0, 0, 0}); !errors.Is(err, filter.ErrKeyNotExist) {
		t.Errorf("look up what is not there: %v", err)
	}
	if r.comes(saying(1, 0)) != "us" {
		t.Fatal("the filter does not work")
	}
	if v, err := m.Lookup([]byte{1, 0, 0, 0}); err != nil || !bytes.Equal(v, binary.NativeEndian.AppendUint64(nil, 1)) {
		t.Errorf("looked up % x, %v", v, err)
	}
	if err := m.Delete([]byte{1, 0, 0, 0}); err != nil {
		t.Error(err)
	}
	r.setFilter(nil)
	for what, err := range map[string]error{
		"Update": m.Update(make([]byte, 4), make([]byte, 8)),
		"Delete": m.Delete(make([]byte, 4)),
		"Each":   m.Each(func(_, _ []byte) bool { return true }),
	} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s on a map of a filter that is gone: %v", what, err)
		}
	}
	before := r.FilterStats()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = r.FilterMap("seen")
	for what, err := range map[string]error{"SetFilter": r.SetFilter(nil), "Divert": r.Divert(true), "FilterMap": err} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
	if after := r.FilterStats(); !sameStats(before, after) || after.Verdicts[filter.Accept] != 1 {
		t.Errorf("counters %+v before Close, %+v after", before, after)
	}
}

// TestDriverCounters: a driver's counters are recognised by name, and those of
// its queues are not added to their sum.
func TestDriverCounters(t *testing.T) {
	for _, c := range []struct {
		names        []string
		tx, redirect []int
	}{
		{[]string{"peer_ifindex", "rx_queue_0_xdp_tx", "rx_queue_0_xdp_tx_errors", "rx_queue_1_xdp_tx_errors", "tx_queue_0_xdp_xmit_errors"}, []int{2, 3}, nil},
		{[]string{"rx_xdp_tx_err", "rx0_xdp_tx_err", "rx1_xdp_tx_err"}, []int{1, 2}, nil},
		{[]string{"rx_packets", "rx_xdp_tx_err"}, []int{1}, nil},
		{[]string{"rx_queue_0_drops", "rx_queue_0_xdp_redirect", "rx_queue_0_xdp_drops"}, nil, nil},
		{[]string{"rx_xdp_drop", "rx_xdp_redirect", "rx_xdp_redirect_fail", "rx_xdp_tx", "rx_xdp_tx_full"}, nil, []int{2}},
		{[]string{"rx_xdp_tx_errors[0]", "rx_xdp_redirect_errors[0]", "rx_xdp_alloc_fails[0]", "rx_xdp_tx_errors[1]", "rx_xdp_redirect_errors[1]"}, []int{0, 3}, []int{1, 4}},
		{[]string{"Rx ring  0 redirects", "Rx ring  0 redirect failures", "Rx ring  1 redirect failures", "Tx ring  0 XDP drops"}, nil, []int{1, 2}},
		{[]string{"rx_xdp_redirect_errors", "rx_queue_0_xdp_redirect_errors"}, nil, []int{1}},
		{nil, nil, nil},
	} {
		if got := pickCounters(c.names, txErrorNames); !slices.Equal(got, c.tx) {
			t.Errorf("failed transmissions of %q: %v, want %v", c.names, got, c.tx)
		}
		if got := pickCounters(c.names, redirectErrorNames); !slices.Equal(got, c.redirect) {
			t.Errorf("failed redirects of %q: %v, want %v", c.names, got, c.redirect)
		}
	}
}
