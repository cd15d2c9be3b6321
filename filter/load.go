package filter

import (
	"bytes"
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/cilium/ebpf"
)

// MaxObjectSize is the largest eBPF object file that is read, bytes: the
// kernel's limit of a million instructions takes half of it.
const MaxObjectSize = 16 << 20

// Errors of LoadFile and LoadProgram, wrapped with what was found instead.
var (
	// ErrNotObject: the file is not an eBPF object, or a damaged one.
	ErrNotObject = errors.New("not an eBPF object")
	// ErrNoProgram: the object has no program, or none that filters.
	ErrNoProgram = errors.New("no program to filter with")
)

// LoadOption chooses among the programs of an object.
type LoadOption func(*choice)

// choice is what a program has to be; empty strings stand for any.
type choice struct{ section, function string }

// Section chooses the first program of a section: "oobnet/drop".
func Section(name string) LoadOption { return func(c *choice) { c.section = name } }

// Function chooses the program whose C function has this name.
func Function(name string) LoadOption { return func(c *choice) { c.function = name } }

// LoadFile reads an eBPF object file, as `clang -O2 -g -target bpf -c` makes
// it. Without options it takes, as EVL does, the first program of the object
// that fits: see [Program] for what fits. Nothing is given to the kernel yet.
//
// Errors: fs.ErrNotExist and fs.ErrPermission wrapped for a file that is not
// there or not readable, syscall.EFBIG for one over MaxObjectSize, ErrNotObject
// and ErrNoProgram for its content.
func LoadFile(path string, options ...LoadOption) (*Program, error) {
	object, err := readObject(path)
	if err != nil {
		return nil, fmt.Errorf("filter: %w", err)
	}
	p, err := load(object, options)
	if err != nil {
		return nil, fmt.Errorf("filter: %s: %w", path, err)
	}
	return p, nil
}

// LoadProgram is LoadFile for an object that lies elsewhere, such as in the
// executable (go:embed).
func LoadProgram(object io.ReaderAt, options ...LoadOption) (*Program, error) {
	b, err := readAll(io.NewSectionReader(object, 0, math.MaxInt64))
	if err == nil {
		var p *Program
		if p, err = load(b, options); err == nil {
			return p, nil
		}
	}
	return nil, fmt.Errorf("filter: eBPF object: %w", err)
}

func readObject(path string) ([]byte, error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: give the path of an eBPF object file", err)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w: make it readable for this user", err)
	case err != nil:
		return nil, err
	}
	defer f.Close()
	b, err := readAll(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}

func readAll(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxObjectSize+1))
	if err != nil {
		return nil, fmt.Errorf("read it: %w", err)
	}
	if len(b) > MaxObjectSize {
		return nil, fmt.Errorf("over %d bytes, more than any eBPF object needs: %w", MaxObjectSize, syscall.EFBIG)
	}
	return b, nil
}

// load picks the program.
func load(object []byte, options []LoadOption) (*Program, error) {
	spec, order, err := parse(object)
	if err != nil {
		return nil, fmt.Errorf("%w: make one with `clang -O2 -g -target bpf -c`: %w", ErrNotObject, err)
	}
	var want choice
	for _, o := range options {
		o(&want)
	}
	for _, name := range order {
		p := spec.Programs[name]
		if want.section != "" && p.SectionName != want.section || want.function != "" && name != want.function {
			continue
		}
		if kind, ok := kindOf(p); ok {
			return &Program{name: name, section: p.SectionName, kind: kind, spec: spec}, nil
		}
	}
	return nil, noProgram(spec, order, want)
}

// noProgram says what there was to choose from.
func noProgram(spec *ebpf.CollectionSpec, order []string, want choice) error {
	if len(order) == 0 {
		return fmt.Errorf("%w: the object has none: mark it with SEC(\"%s\")", ErrNoProgram, verdictSection)
	}
	var have []string
	for _, name := range order {
		have = append(have, fmt.Sprintf("%s in SEC(\"%s\")", name, spec.Programs[name].SectionName))
	}
	what := ""
	if want.function != "" {
		what += " of the name " + want.function
	}
	if want.section != "" {
		what += fmt.Sprintf(" in SEC(\"%s\")", want.section)
	}
	return fmt.Errorf("%w%s: the object has %s: want SEC(\"%s\") for a program that returns a verdict, SEC(\"xdp\") for one that returns XDP's actions, or SEC(\"socket\")",
		ErrNoProgram, what, strings.Join(have, ", "), verdictSection)
}

// parse returns the object's programs and maps, and the names of the programs
// in the order of the file. debug/elf and its users are hardened against odd
// files, and yet not proved to be: what panics is no object.
func parse(object []byte) (spec *ebpf.CollectionSpec, order []string, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("damaged: %v", r)
		}
	}()
	if spec, err = ebpf.LoadCollectionSpecFromReader(bytes.NewReader(object)); err != nil {
		return nil, nil, err
	}
	file, err := elf.NewFile(bytes.NewReader(object))
	if err != nil {
		return nil, nil, err
	}
	symbols, err := file.Symbols()
	if err != nil {
		return nil, nil, err
	}
	slices.SortStableFunc(symbols, func(a, b elf.Symbol) int {
		return cmp.Or(cmp.Compare(a.Section, b.Section), cmp.Compare(a.Value, b.Value))
	})
	for _, s := range symbols {
		if spec.Programs[s.Name] != nil && !slices.Contains(order, s.Name) {
			order = append(order, s.Name)
		}
	}
	return spec, order, nil
}
