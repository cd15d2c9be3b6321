package laws

import (
	"fmt"
	"go/ast"
	"go/token"
	"regexp"
	"strings"
)

// Lengths of a file, lines: over the first it is reported, over the second it fails.
const (
	linesAim = 400
	linesMax = 500
)

func filesAreShort(t *tree) (found []finding) {
	for _, f := range t.files {
		if f.lines > linesMax {
			found = append(found, finding{f.path, fmt.Sprintf("%d lines", f.lines)})
		}
	}
	return found
}

// unfinished are the words by which a comment says that the code beside it is
// not done.
var unfinished = regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b`)

func nothingUnfinished(t *tree) (found []finding) {
	for _, f := range t.files {
		for _, group := range f.ast.Comments {
			for _, c := range group.List {
				if word := unfinished.FindString(c.Text); word != "" {
					found = append(found, finding{t.at(c.Pos()), word})
				}
			}
		}
	}
	return found
}

// forbidden are calls that a library does not make, by package and name; an
// empty name stands for every function of the package.
var forbidden = map[string][]string{
	"log":      {""},
	"log/slog": {"Debug", "Info", "Warn", "Error", "Log", "LogAttrs", "DebugContext", "InfoContext", "WarnContext", "ErrorContext", "Default", "SetDefault"},
	"os":       {"Exit"},
	"fmt":      {"Print", "Printf", "Println"},
}

// allowedCalls are the exceptions, by folder and call, with the reason.
var allowedCalls = map[[2]string]string{
	{"internal/netns", "panic"}: "Do hands on a panic of the function it runs, and tests have no use for an error there",
}

// librariesKeepQuiet: no panic, no exit, no log, no print, except in programs,
// tests and test helpers.
func librariesKeepQuiet(t *tree) (found []finding) {
	used := map[[2]string]bool{}
	for _, f := range t.files {
		// A program is one wherever it stands.
		if f.test || program(f.dir) || testHelp(f.dir) || f.ast.Name.Name == "main" {
			continue
		}
		calls := map[string]bool{"panic": true, "print": true, "println": true}
		for pkg, names := range forbidden {
			for local := range f.names(func(p string) bool { return p == pkg }) {
				for _, name := range names {
					calls[local+"."+name] = true
				}
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			var name, whole string
			if id, ok := call.Fun.(*ast.Ident); ok {
				name = id.Name
			} else if x, sel := selector(call.Fun); x != "" {
				name, whole = x+"."+sel, x+"."
			}
			if !calls[name] && !calls[whole] {
				return true
			}
			if key := [2]string{f.dir, name}; allowedCalls[key] != "" {
				used[key] = true
			} else {
				found = append(found, finding{t.at(call.Pos()), "calls " + name})
			}
			return true
		})
	}
	for key := range allowedCalls {
		if !used[key] && t.has(key[0]) {
			found = append(found, finding{key[0], "the exception for " + key[1] + " is not needed any more"})
		}
	}
	return found
}

// has says whether the tree holds a folder.
func (t *tree) has(dir string) bool {
	for _, f := range t.files {
		if f.dir == dir {
			return true
		}
	}
	return false
}

// packagesAreDocumented wants a package comment that starts as godoc does.
func packagesAreDocumented(t *tree) (found []finding) {
	documented, seen := map[string]bool{}, map[string]bool{}
	var order []string
	for _, f := range t.files {
		if f.test {
			continue
		}
		if !seen[f.dir] {
			seen[f.dir] = true
			order = append(order, f.dir)
		}
		doc := f.ast.Doc.Text()
		if strings.HasPrefix(doc, "Package "+f.ast.Name.Name+" ") || f.ast.Name.Name == "main" && doc != "" {
			documented[f.dir] = true
		}
	}
	for _, dir := range order {
		if !documented[dir] {
			found = append(found, finding{dir, "no package comment"})
		}
	}
	return found
}

// publicPackagesShowAnExample wants one Example function in each package that
// other modules can import.
func publicPackagesShowAnExample(t *tree) (found []finding) {
	public, shown := map[string]bool{}, map[string]bool{}
	for _, f := range t.files {
		if !f.test {
			hidden := strings.Contains("/"+f.dir+"/", "/internal/")
			if !hidden && !program(f.dir) && !testHelp(f.dir) && f.dir != "." {
				public[f.dir] = true
			}
			continue
		}
		for _, decl := range f.ast.Decls {
			if d, ok := decl.(*ast.FuncDecl); ok && d.Recv == nil && strings.HasPrefix(d.Name.Name, "Example") {
				shown[f.dir] = true
			}
		}
	}
	for _, dir := range keys(public) {
		if !shown[dir] {
			found = append(found, finding{dir, "no Example function"})
		}
	}
	return found
}

// skipsSayWhy wants an argument to Skip and no SkipNow.
func skipsSayWhy(t *tree) (found []finding) {
	for _, f := range t.files {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if s, ok := call.Fun.(*ast.SelectorExpr); ok && len(call.Args) == 0 && (s.Sel.Name == "Skip" || s.Sel.Name == "SkipNow") {
					found = append(found, finding{t.at(call.Pos()), "skips without a reason"})
				}
			}
			return true
		})
	}
	return found
}

// linksArePassive: threads are the stack's, so a link starts no goroutine.
func linksArePassive(t *tree) (found []finding) {
	for _, f := range t.files {
		// A program beside a link, as one that plays a card, is none.
		if l := layerOf(f.dir); f.test || testHelp(f.dir) || f.ast.Name.Name == "main" || l == nil || l.name != "links" && l.name != "link" {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if g, ok := n.(*ast.GoStmt); ok {
				found = append(found, finding{t.at(g.Pos()), "starts a goroutine"})
			}
			return true
		})
	}
	return found
}

// hot marks a function of the packet path. What it stands for is checked as
// far as the syntax shows it; allocations are counted by tests.
const hot = "//oobnet:hot"

// hotPathsStayHot looks into marked functions, not into what they call.
func hotPathsStayHot(t *tree) (found []finding) {
	for _, f := range t.files {
		times := f.names(func(p string) bool { return p == "time" })
		for _, decl := range f.ast.Decls {
			d, ok := decl.(*ast.FuncDecl)
			if !ok || d.Body == nil || !marked(d.Doc) {
				continue
			}
			ast.Inspect(d.Body, func(n ast.Node) bool {
				if what := cold(n, times); what != "" {
					found = append(found, finding{t.at(n.Pos()), d.Name.Name + " " + what})
				}
				return true
			})
		}
	}
	return found
}

func marked(doc *ast.CommentGroup) bool {
	if doc == nil {
		return false
	}
	for _, c := range doc.List {
		if c.Text == hot {
			return true
		}
	}
	return false
}

// cold says what a node does that the packet path must not.
func cold(n ast.Node, times map[string]bool) string {
	switch x := n.(type) {
	case *ast.GoStmt:
		return "starts a goroutine"
	case *ast.DeferStmt:
		return "defers"
	case *ast.SelectStmt, *ast.SendStmt:
		return "uses a channel"
	case *ast.UnaryExpr:
		if x.Op == token.ARROW {
			return "uses a channel"
		}
	case *ast.FuncLit:
		return "makes a closure"
	case *ast.MapType:
		return "uses a map"
	case *ast.CallExpr:
		if id, ok := x.Fun.(*ast.Ident); ok && (id.Name == "make" || id.Name == "new" || id.Name == "append") {
			return "may allocate with " + id.Name
		}
		s, ok := x.Fun.(*ast.SelectorExpr)
		if !ok {
			break
		}
		if name, _ := selector(s); times[name] && (s.Sel.Name == "Now" || s.Sel.Name == "Since" || s.Sel.Name == "Sleep") {
			return "calls time." + s.Sel.Name
		}
		if s.Sel.Name == "Lock" || s.Sel.Name == "RLock" {
			return "takes a lock"
		}
	}
	return ""
}
