package laws

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
)

// layer is one floor of the house: the folders it is made of, and the layers
// below that it may use. Its own folders may use each other only where self
// says so. The first layer that a folder fits is the folder's.
type layer struct {
	name  string
	dirs  []string // a folder with all under it; "=" in front for the folder alone
	below []string
	self  bool
}

// layers is the plan of the house, top down.
var layers = []layer{
	{"root", []string{"=."}, nil, false}, // documentation only
	// For tests of any layer, which the law does not bind; no layer may use it.
	{"stacktest", []string{"internal/stacktest"}, []string{"links", "stack", "arp", "link", "internal"}, false},
	{"cmd", []string{"cmd", "examples", "bench", "hack"}, []string{"control", "proto", "links", "stack", "arp", "link", "filter", "rt", "internal"}, true},
	{"control", []string{"control", "metrics", "capture", "stats"}, []string{"proto", "stack", "arp", "link", "filter", "rt", "internal"}, true},
	{"proto", []string{"proto"}, []string{"stack", "arp", "link", "filter", "internal"}, true},
	{"inband", []string{"stack/internal"}, []string{"arp", "link", "filter", "internal"}, true},
	{"stack", []string{"stack"}, []string{"inband", "arp", "link", "filter", "internal"}, true},
	{"arp", []string{"arp"}, []string{"link", "filter", "internal"}, true},
	{"link", []string{"=link"}, []string{"filter", "internal"}, false},
	{"links", []string{"link"}, []string{"link", "filter", "internal"}, true},
	{"filter", []string{"filter"}, []string{"internal"}, true},
	// The application's own threads: it stands beside the stack, not below it.
	{"rt", []string{"rt"}, []string{"internal"}, false},
	{"internal", []string{"internal"}, nil, true},
}

func layerOf(dir string) *layer {
	for i, l := range layers {
		for _, d := range l.dirs {
			if alone, ok := strings.CutPrefix(d, "="); ok && dir == alone || !ok && within(dir, d) {
				return &layers[i]
			}
		}
	}
	return nil
}

// importsPointDown reads the files that are no tests: a test of a lower layer
// may well use a concrete link to have something to work on.
func importsPointDown(t *tree) (found []finding) {
	for _, f := range t.files {
		from := layerOf(f.dir)
		if from == nil {
			found = append(found, finding{f.path, "its folder has no layer"})
			continue
		}
		if f.test {
			continue
		}
		f.imports(func(spec *ast.ImportSpec, p, _ string) {
			dir, ok := own(p)
			if !ok {
				return
			}
			to := layerOf(dir)
			switch {
			case to == nil:
				found = append(found, finding{t.at(spec.Pos()), dir + " has no layer"})
			case to == from && from.self && !(from.name == "links" && family(f.dir) != family(dir)):
			case !slices.Contains(from.below, to.name):
				found = append(found, finding{t.at(spec.Pos()), fmt.Sprintf("%s (%s) imports %s (%s)", f.dir, from.name, dir, to.name)})
			}
		})
	}
	return found
}

// family is the concrete link that a folder under link/ belongs to: links do
// not use each other, but for the conformance suite that drives any of them.
func family(dir string) string {
	parts := strings.SplitN(dir, "/", 3)
	if len(parts) < 2 || parts[1] == "linktest" {
		return ""
	}
	return parts[1]
}

// gvisorHomes are the folders whose code that is no test may import gVisor,
// with the reason.
var gvisorHomes = map[string]string{
	"stack/internal/inband":     "the in-band stage is built on it",
	"cmd/oobnet/internal/bench": "measures it as a peer",
	"bench":                     "measures it as a peer",
}

func gvisorStaysInside(t *tree) (found []finding) {
	for _, f := range t.files {
		if f.test || slices.ContainsFunc(keys(gvisorHomes), func(home string) bool { return within(f.dir, home) }) {
			continue
		}
		f.imports(func(spec *ast.ImportSpec, p, _ string) {
			if within(p, gvisor) {
				found = append(found, finding{t.at(spec.Pos()), "imports " + p})
			}
		})
	}
	return found
}

func keys[V any](m map[string]V) []string {
	var k []string
	for key := range m {
		k = append(k, key)
	}
	slices.Sort(k)
	return k
}

// noGvisorInSignatures looks at what a package shows: functions, methods of
// exported types, exported fields, constants and variables.
func noGvisorInSignatures(t *tree) (found []finding) {
	for _, f := range t.files {
		if f.test || program(f.dir) {
			continue
		}
		names := f.names(func(p string) bool { return within(p, gvisor) })
		if len(names) == 0 {
			continue
		}
		report := func(what string, n ast.Node) {
			ast.Inspect(n, func(n ast.Node) bool {
				if e, ok := n.(*ast.SelectorExpr); ok {
					if x, sel := selector(e); names[x] {
						found = append(found, finding{t.at(e.Pos()), fmt.Sprintf("%s shows %s.%s", what, x, sel)})
					}
				}
				return true
			})
		}
		for _, decl := range f.ast.Decls {
			exported(decl, report)
		}
	}
	return found
}

// exported calls report with the visible types of a declaration.
func exported(decl ast.Decl, report func(what string, n ast.Node)) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && (d.Recv == nil || ast.IsExported(receiver(d))) {
			report(d.Name.Name, d.Type)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.ValueSpec:
				if s.Type != nil && slices.ContainsFunc(s.Names, (*ast.Ident).IsExported) {
					report(s.Names[0].Name, s.Type)
				}
			case *ast.TypeSpec:
				if s.Name.IsExported() {
					exportedType(s, report)
				}
			}
		}
	}
}

func exportedType(s *ast.TypeSpec, report func(what string, n ast.Node)) {
	var fields *ast.FieldList
	switch x := s.Type.(type) {
	case *ast.StructType:
		fields = x.Fields
	case *ast.InterfaceType:
		fields = x.Methods
	default:
		report(s.Name.Name, s.Type)
		return
	}
	for _, field := range fields.List {
		if len(field.Names) == 0 || slices.ContainsFunc(field.Names, (*ast.Ident).IsExported) {
			report(s.Name.Name, field.Type)
		}
	}
}

// receiver is the name of a method's type.
func receiver(d *ast.FuncDecl) string {
	e := d.Recv.List[0].Type
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.IndexListExpr:
			e = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

// testingStaysInTests keeps the testing package and our test helpers out of
// what programs link.
func testingStaysInTests(t *tree) (found []finding) {
	for _, f := range t.files {
		if f.test || testHelp(f.dir) {
			continue
		}
		f.imports(func(spec *ast.ImportSpec, p, _ string) {
			dir, ok := own(p)
			if p == "testing" || within(p, "testing") || ok && testHelp(dir) {
				found = append(found, finding{t.at(spec.Pos()), "imports " + p})
			}
		})
	}
	return found
}

func noCgo(t *tree) (found []finding) {
	for _, f := range t.files {
		f.imports(func(spec *ast.ImportSpec, p, _ string) {
			if p == "C" {
				found = append(found, finding{t.at(spec.Pos()), `imports "C"`})
			}
		})
	}
	return found
}
