package filter

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

//go:generate testdata/build.sh

func object(name string) string { return filepath.Join("testdata", name+".o") }

// TestLoad: by default the first program of the object that fits, an option
// chooses another.
func TestLoad(t *testing.T) {
	for _, c := range []struct {
		object        string
		options       []LoadOption
		name, section string
		kind          kind
	}{
		{"verdict", nil, "verdict", "oobnet", verdictProgram},
		{"xsk", nil, "actions", "xdp", actionProgram},
		{"redirect", nil, "redirect", "xdp.frags", actionProgram},
		{"socket", nil, "filter", "socket", socketProgram},
		{"tail", nil, "decide", "oobnet", verdictProgram},
		{"tail", []LoadOption{Section("xdp/skip")}, "skip_tail", "xdp/skip", actionProgram},
		{"always", nil, "accept_all", "oobnet", verdictProgram},
		{"always", []LoadOption{Section("oobnet/skip")}, "skip_all", "oobnet/skip", verdictProgram},
		{"always", []LoadOption{Function("vlan_all")}, "vlan_all", "oobnet/vlan", verdictProgram},
		{"always", []LoadOption{Function("drop_all"), Section("oobnet/drop")}, "drop_all", "oobnet/drop", verdictProgram},
	} {
		p, err := LoadFile(object(c.object), c.options...)
		if err != nil {
			t.Errorf("%s: %v", c.object, err)
			continue
		}
		if p.Name() != c.name || p.Section() != c.section || p.kind != c.kind {
			t.Errorf("%s: loaded %v of kind %d, want %s in %s of kind %d", c.object, p, p.kind, c.name, c.section, c.kind)
		}
	}
	b, err := os.ReadFile(object("verdict"))
	if err != nil {
		t.Fatal(err)
	}
	if p, err := LoadProgram(bytes.NewReader(b)); err != nil || p.Name() != "verdict" {
		t.Errorf("from memory: %v, %v", p, err)
	}
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	whole, err := os.ReadFile(object("verdict"))
	if err != nil {
		t.Fatal(err)
	}
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	huge := write("huge.o", nil)
	if err := os.Truncate(huge, MaxObjectSize+1); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, path string
		options    []LoadOption
		is         error
		says       string
	}{
		{"no such file", filepath.Join(dir, "none.o"), nil, fs.ErrNotExist, "give the path"},
		{"a folder", dir, nil, syscall.EISDIR, dir},
		{"an empty file", write("nothing.o", nil), nil, ErrNotObject, "clang"},
		{"text", write("text.o", []byte("int main(void)")), nil, ErrNotObject, "clang"},
		{"half an object", write("half.o", whole[:len(whole)/2]), nil, ErrNotObject, "clang"},
		{"a program of this machine", executable, nil, nil, ""}, // too large or no eBPF: either is said
		{"oversize", huge, nil, syscall.EFBIG, "16777216"},
		{"no program", object("empty"), nil, ErrNoProgram, "none"},
		{"other sections", object("other"), nil, ErrNoProgram, `misspelt in SEC("oobnets")`},
		{"no such section", object("always"), []LoadOption{Section("oobnet/all")}, ErrNoProgram, `accept_all in SEC("oobnet")`},
		{"no such function", object("always"), []LoadOption{Function("none")}, ErrNoProgram, "of the name none"},
		{"a function that does not filter", object("always"), []LoadOption{Function("first")}, ErrNoProgram, "of the name first"},
	} {
		_, err := LoadFile(c.path, c.options...)
		if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), "filter: ") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestProgramXDP: what is handed to a link is complete, without what need not
// load, and of a copy.
func TestProgramXDP(t *testing.T) {
	for _, c := range []struct {
		object, entry, sockets string
		actions                bool
		programs               []string
	}{
		{"verdict", "verdict", "", false, []string{"verdict"}},
		{"xsk", "actions", "xsks_map", true, []string{"actions"}},
		{"always", "accept_all", "", false, []string{"accept_all"}},
		{"tail", "decide", "", false, []string{"decide", "skip_tail"}},
	} {
		p, err := LoadFile(object(c.object))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			x, err := p.XDP()
			if err != nil {
				t.Fatal(err)
			}
			var programs []string
			for name := range x.Spec.Programs {
				programs = append(programs, name)
			}
			slices.Sort(programs)
			if x.Entry != c.entry || x.SocketMap != c.sockets || x.Actions != c.actions || !slices.Equal(programs, c.programs) {
				t.Errorf("%s: entry %q, actions %v by %q, programs %v", c.object, x.Entry, x.Actions, x.SocketMap, programs)
			}
			clear(x.Spec.Programs[x.Entry].Instructions)
			clear(x.Spec.Maps)
		}
	}
	p, err := LoadFile(object("socket"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.XDP()
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Fatalf("a socket filter as XDP: %v", err)
	}
	for _, want := range []string{`SEC("oobnet")`, "struct xdp_md", "2 (skip)"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v: it does not say %q", err, want)
		}
	}
}

// FuzzLoad: no file makes the loader panic, and what loads has a form.
func FuzzLoad(f *testing.F) {
	objects, err := filepath.Glob(object("*"))
	if err != nil || len(objects) == 0 {
		f.Fatal(objects, err)
	}
	for _, path := range objects {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := LoadProgram(bytes.NewReader(b))
		if err != nil {
			return
		}
		if x, err := p.XDP(); err == nil && x.Spec.Programs[x.Entry] == nil {
			t.Errorf("%v is not in its own object", p)
		}
	})
}
