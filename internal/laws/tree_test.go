package laws

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
)

const (
	module = "github.com/oobnet/oobnet"
	gvisor = "gvisor.dev/gvisor"
)

// tree is all Go files of the module, whatever platform they are for.
type tree struct {
	fset  *token.FileSet
	files []*file
}

// file is one parsed Go file.
type file struct {
	path  string // relative to the root, with slashes
	dir   string // of path; "." for the root
	test  bool   // a _test.go file
	lines int
	ast   *ast.File
}

// finding is one breach of a law.
type finding struct{ where, what string }

func (t *tree) at(pos token.Pos) string {
	p := t.fset.Position(pos)
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}

// parse makes a tree of sources by path.
func parse(sources map[string]string) (*tree, error) {
	t := &tree{fset: token.NewFileSet()}
	for p, src := range sources {
		f, err := parser.ParseFile(t.fset, p, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		t.files = append(t.files, &file{
			path: p, dir: path.Dir(p), test: strings.HasSuffix(p, "_test.go"),
			lines: strings.Count(src, "\n"), ast: f,
		})
	}
	sort.Slice(t.files, func(i, j int) bool { return t.files[i].path < t.files[j].path })
	return t, nil
}

// root is the module's folder.
func root(t *testing.T) string {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && bytes.HasPrefix(mod, []byte("module "+module+"\n")) {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod of " + module + " above the test's folder")
		}
		dir = filepath.Dir(dir)
	}
}

// load reads the module's own tree; folders that the go command ignores, and
// modules of their own, are left out.
func load(t *testing.T) *tree {
	top := root(t)
	sources := map[string]string{}
	err := filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && p != top {
			if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" || name == "vendor" {
				return filepath.SkipDir
			}
			if _, err := os.Stat(filepath.Join(p, "go.mod")); err == nil {
				return filepath.SkipDir
			}
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasPrefix(name, ".") {
			return nil
		}
		src, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, p)
		if err != nil {
			return err
		}
		sources[filepath.ToSlash(rel)] = string(src)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parse(sources)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// imports calls f for each import of the file; name is what the file calls the
// package, as far as that can be told without loading it.
func (f *file) imports(each func(spec *ast.ImportSpec, importPath, name string)) {
	for _, spec := range f.ast.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		name := path.Base(p)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		each(spec, p, name)
	}
}

// names returns what the file calls the packages whose path satisfies want.
func (f *file) names(want func(importPath string) bool) map[string]bool {
	names := map[string]bool{}
	f.imports(func(_ *ast.ImportSpec, p, name string) {
		if want(p) {
			names[name] = true
		}
	})
	return names
}

// own returns the folder of one of the module's packages, "." for the root.
func own(importPath string) (dir string, ok bool) {
	if importPath == module {
		return ".", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

// within says whether p is dir or under it.
func within(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// selector returns x and Sel of x.Sel if x is a plain name.
func selector(e ast.Expr) (x, sel string) {
	s, ok := e.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	id, ok := s.X.(*ast.Ident)
	if !ok {
		return "", ""
	}
	return id.Name, s.Sel.Name
}

// program says whether a folder holds commands, which may print, log and exit.
func program(dir string) bool {
	return within(dir, "cmd") || within(dir, "examples") || within(dir, "bench") || within(dir, "hack")
}

// testHelp says whether a package is there for tests only: its name ends in
// "test", as httptest's does, or it is this one.
func testHelp(dir string) bool {
	return strings.HasSuffix(dir, "test") || dir == "internal/laws"
}
