package laws

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// law is one law of the house with a small tree that breaks it and how often,
// and one that keeps it.
type law struct {
	name   string
	wayOut string
	check  func(*tree) []finding
	breaks map[string]string
	times  int
	keeps  map[string]string
}

func TestLaws(t *testing.T) {
	house := load(t)
	if len(house.files) < 10 {
		t.Fatalf("found %d files only: this is not the whole tree", len(house.files))
	}
	for _, l := range all {
		t.Run(strings.ReplaceAll(l.name, " ", "_"), func(t *testing.T) {
			for _, f := range l.check(house) {
				t.Errorf("law: %s: %s: %s\n\tway out: %s", l.name, f.where, f.what, l.wayOut)
			}
		})
	}
	for _, f := range house.files {
		if f.lines > linesAim {
			t.Logf("%s has %d lines; the aim is %d", f.path, f.lines, linesAim)
		}
	}
}

func TestEachLawCanFail(t *testing.T) {
	for _, l := range all {
		t.Run(strings.ReplaceAll(l.name, " ", "_"), func(t *testing.T) {
			bad, err := parse(l.breaks)
			if err != nil {
				t.Fatal(err)
			}
			if found := l.check(bad); len(found) != l.times {
				t.Errorf("found %d breaches, want %d: %v", len(found), l.times, found)
			}
			good, err := parse(l.keeps)
			if err != nil {
				t.Fatal(err)
			}
			if found := l.check(good); len(found) != 0 {
				t.Errorf("found %v where nothing is wrong", found)
			}
		})
	}
}

// Whoever breaks a law has to be able to read up on it.
func TestContributingNamesEachLaw(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root(t), "CONTRIBUTING.md"))
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Join(strings.Fields(string(text)), " ")
	for _, l := range all {
		if !strings.Contains(words, `"`+l.name+`"`) {
			t.Errorf("CONTRIBUTING.md does not name the law %q", l.name)
		}
	}
}

// importing is the source of a package that imports paths; those with a slash
// in front are ours.
func importing(pkg string, paths ...string) string {
	src := "package " + pkg + "\n"
	for _, p := range paths {
		if rest, ok := strings.CutPrefix(p, "/"); ok {
			p = module + "/" + rest
		}
		src += fmt.Sprintf("import %q\n", p)
	}
	return src
}

type src = map[string]string

var all = []law{
	{
		"imports point down", "move the code down, pass it in from above, or register through stack's interface (ARCHITECTURE.md; layers_test.go)",
		importsPointDown,
		src{
			"stack/a.go":          importing("stack", "/link/loopback", "/proto/udp"),
			"arp/a.go":            importing("arp", "/stack"),
			"link/a.go":           importing("link", "/link/loopback"),
			"link/afxdp/a.go":     importing("afxdp", "/link/loopback", "/stack"),
			"filter/a.go":         importing("filter", "/link"),
			"internal/ring/a.go":  importing("ring", "/link"),
			"control/a.go":        importing("control", "/cmd/oobnet/internal/x"),
			"proto/udp/a.go":      importing("udp", "/link/afxdp"),
			"strange/a.go":        importing("strange"),
			"stack/internal/x.go": importing("internal", "/stack"),
		}, 12,
		src{
			"stack/a.go":                 importing("stack", "/stack/internal/inband", "/arp", "/link", "/filter", "/internal/ring"),
			"stack/a_test.go":            importing("stack_test", "/link/loopback", "/proto/udp"),
			"link/afxdp/a.go":            importing("afxdp", "/link", "/filter", "/internal/offheap", "os"),
			"link/vfio/a.go":             importing("vfio", "/link/vfio/e1000"),
			"cmd/oobnet/main.go":         importing("main", "/cmd/oobnet/internal/x", "/control", "/proto/udp", "/link/vfio"),
			"internal/netnstest/nt.go":   importing("netnstest", "/internal/netns"),
			"proto/udp/a.go":             importing("udp", "/stack"),
			"stack/internal/inband/a.go": importing("inband", "/arp", gvisor+"/pkg/tcpip"),
		},
	},
	{
		"gVisor stays inside the in-band stage", "speak bytes and netip to stack/internal/inband; peers of a benchmark are listed in gvisorHomes (layers_test.go)",
		gvisorStaysInside,
		src{
			"stack/a.go":     importing("stack", gvisor+"/pkg/tcpip"),
			"proto/udp/a.go": importing("udp", gvisor+"/pkg/buffer"),
		}, 2,
		src{
			"stack/internal/inband/a.go": importing("inband", gvisor+"/pkg/tcpip"),
			"stack/a_test.go":            importing("stack", gvisor+"/pkg/refs"),
		},
	},
	{
		"no gVisor type in an exported signature", "take or return bytes, netip values or types of our own",
		noGvisorInSignatures,
		src{"stack/internal/inband/a.go": importing("inband", gvisor+"/pkg/tcpip") + `
func Send(a tcpip.Address) {}
type Stage struct { S tcpip.Stats; hidden tcpip.Stats }
func (*Stage) Err() tcpip.Error { return nil }
var Last tcpip.Error
type Alias = tcpip.Address
`}, 5,
		src{"stack/internal/inband/a.go": importing("inband", gvisor+"/pkg/tcpip") + `
func send(a tcpip.Address) {}
type endpoint struct { S tcpip.Stats }
func (*endpoint) Err() tcpip.Error { return nil }
func Send(b []byte) { var a tcpip.Address; _ = a }
`},
	},
	{
		"testing stays in tests", "put it in a _test.go file, or in a package whose name ends in test that only tests import",
		testingStaysInTests,
		src{"stack/a.go": importing("stack", "testing", "/link/linktest")}, 2,
		src{
			"stack/a_test.go":    importing("stack", "testing", "/link/linktest"),
			"link/linktest/a.go": importing("linktest", "testing"),
		},
	},
	{
		"no cgo", "do it in Go, or in the assembly of the platform",
		noCgo,
		src{"link/vfio/a.go": importing("vfio", "C")}, 1,
		src{"link/vfio/a.go": importing("vfio", "unsafe")},
	},
	{
		"files are short", "split it where a second idea starts",
		filesAreShort,
		src{"stack/a.go": "package stack\n" + strings.Repeat("\n", linesMax)}, 1,
		src{"stack/a.go": "package stack\n" + strings.Repeat("\n", linesMax-1)},
	},
	{
		"nothing is left unfinished", "do it now, or open an issue and describe the limit in the doc comment",
		nothingUnfinished,
		src{"stack/a.go": "package stack\n// TODO: more\n/* FIXME */\n"}, 2,
		src{"stack/a.go": "package stack\n// What is to do.\nvar s = \"TODO\"\n"},
	},
	{
		"libraries do not panic, exit, log or print", "return an error or count it; a true exception goes in allowedCalls with its reason (style_test.go)",
		librariesKeepQuiet,
		src{
			"stack/a.go": importing("stack", "log", "os", "fmt", "log/slog") + `
func f() { panic(1); log.Printf(""); os.Exit(1); fmt.Println(); slog.Info(""); println() }`,
			"internal/netns/a.go": "package netns\n",
		}, 7,
		src{
			"stack/a.go": importing("stack", "fmt", "os", "log/slog") + `
func f(l *slog.Logger) error { l.Info(""); fmt.Fprintln(os.Stderr); return fmt.Errorf("") }`,
			"cmd/oobnet/main.go":  importing("main", "os") + "func main() { os.Exit(1) }",
			"internal/netns/a.go": "package netns\nfunc f() { panic(1) }",
		},
	},
	{
		"every package has a comment", "start a file, doc.go if it is long, with // Package name ...",
		packagesAreDocumented,
		src{"stack/a.go": "package stack\n", "arp/a.go": "// Copyright\npackage arp\n"}, 2,
		src{"stack/a.go": "// Package stack is it.\npackage stack\n", "stack/b.go": "package stack\n", "stack/c_test.go": "package stack_test\n"},
	},
	{
		"public packages show an example", "write an Example function in example_test.go",
		publicPackagesShowAnExample,
		src{"stack/a.go": "package stack\n", "stack/a_test.go": "package stack\nfunc TestX() {}\n"}, 1,
		src{
			"stack/a.go": "package stack\n", "stack/a_test.go": "package stack_test\nfunc Example() {}\n",
			"internal/ring/a.go": "package ring\n", "cmd/oobnet/main.go": "package main\n",
		},
	},
	{
		"skips say why", "t.Skip with the reason, and what would make the test run",
		skipsSayWhy,
		src{"stack/a_test.go": "package stack\nfunc f(t T) { t.Skip(); t.SkipNow() }\n"}, 2,
		src{"stack/a_test.go": "package stack\nfunc f(t T) { t.Skip(\"needs root\"); t.Skipf(\"%v\", 1) }\n"},
	},
	{
		"links are passive", "let the stack's threads do it: a link works when it is called",
		linksArePassive,
		src{"link/afxdp/a.go": "package afxdp\nfunc f() { go f() }\n"}, 1,
		src{"link/afxdp/a_test.go": "package afxdp\nfunc f() { go f() }\n", "stack/a.go": "package stack\nfunc f() { go f() }\n", "link/vfio/card/a.go": "package main\nfunc f() { go f() }\n"},
	},
	{
		"hot paths stay hot", "move it out of the function marked " + hot + ", to where it is done once a batch or once a socket",
		hotPathsStayHot,
		src{"stack/a.go": importing("stack", "time") + `
//oobnet:hot
func f(c chan int, m lock) {
	defer f(c, m)
	go f(c, m)
	<-c
	c <- 1
	_ = func() {}
	_ = append([]int{}, 1)
	_ = time.Now()
	m.Lock()
	_ = map[int]int{}
}`}, 9,
		src{"stack/a.go": importing("stack", "time") + `
// f is not marked, g keeps the law.
func f() { defer f(); _ = time.Now() }
//oobnet:hot
func g(a []int) int { return a[0] + len(a) }
`},
	},
	{
		"atomics name the other side", "say in a comment who else reads or writes it: the kernel, the device, which goroutine",
		atomicsNameTheOtherSide,
		src{"stack/a.go": importing("stack", "sync/atomic") + `
var n atomic.Uint64
type s struct {
	a atomic.Uint32
	b *atomic.Pointer[int]

	// c is commented, d is not.
	c [4]atomic.Int32

	d []atomic.Bool
}`}, 4,
		src{"stack/a.go": importing("stack", "sync/atomic") + `
// n is counted by all threads.
var n atomic.Uint64
type s struct {
	// Written by the kernel.
	a atomic.Uint32
	b *atomic.Pointer[int]

	c atomic.Bool // set by Close
	plain int
}

// counts is written by the owner alone, and read by Stats.
type counts struct { a, b atomic.Uint64 }`},
	},
	{
		"atomics only", "read and write it through sync/atomic everywhere, or make it an atomic type",
		atomicsOnly,
		src{"link/afxdp/a.go": importing("afxdp", "sync/atomic") + `
func f(r *ring) uint32 {
	atomic.StoreUint32(r.producer, 1)
	r.n++
	return atomic.AddUint32(&r.n, 1) + *r.producer
}`}, 2,
		src{
			"link/afxdp/a.go": importing("afxdp", "sync/atomic") + `
func f(r *ring) uint32 {
	atomic.StoreUint32(r.producer, 1)
	r.cached++
	return atomic.AddUint32(&r.n, 1)
}
func g(p *uint32) *ring { return &ring{producer: p, n: 1} }`,
			"link/vfio/a.go": "package vfio\nfunc f(r *x) int { return r.n }",
		},
	},
}
