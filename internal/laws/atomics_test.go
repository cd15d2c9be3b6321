package laws

import (
	"fmt"
	"go/ast"
	"go/token"
	"regexp"
)

// sides are the words by which a type's comment says who works on its atomics.
var sides = regexp.MustCompile(`(?i)\b((written|read|moved|set|changed|counted|kept|used) by|reads|writes|moves|counts)\b`)

// atomicsNameTheOtherSide wants a comment on every atomic field and package
// variable, or on the block of adjoining ones that it stands in, or on the
// type if that one says who writes or reads. That the comment is a good one is
// for the reviewer.
func atomicsNameTheOtherSide(t *tree) (found []finding) {
	for _, f := range t.files {
		if f.test {
			continue
		}
		names := f.names(isAtomic)
		if len(names) == 0 {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch x := n.(type) {
			case *ast.StructType:
				found = append(found, t.silentFields(x, names)...)
			case *ast.GenDecl:
				found = append(found, t.silentVars(x, names)...)
				return !sides.MatchString(typeDoc(x))
			}
			return true
		})
	}
	return found
}

// typeDoc is the comment of a declaration of one type.
func typeDoc(d *ast.GenDecl) string {
	if d.Tok != token.TYPE || len(d.Specs) != 1 {
		return ""
	}
	return d.Doc.Text()
}

func isAtomic(p string) bool { return p == "sync/atomic" }

// silentFields lists the atomic fields without a comment. A comment holds for
// the fields under it up to the next empty line.
func (t *tree) silentFields(s *ast.StructType, names map[string]bool) (found []finding) {
	said, last := false, 0
	for _, field := range s.Fields.List {
		first := t.fset.Position(field.Pos()).Line
		if field.Doc != nil {
			first = t.fset.Position(field.Doc.Pos()).Line
		}
		if first > last+1 {
			said = false
		}
		said = said || field.Doc != nil
		last = t.fset.Position(field.End()).Line
		if !said && field.Comment == nil && holdsAtomic(field.Type, names) {
			name := "embedded field"
			if len(field.Names) > 0 {
				name = field.Names[0].Name
			}
			found = append(found, finding{t.at(field.Pos()), name + " has no comment"})
		}
	}
	return found
}

func (t *tree) silentVars(d *ast.GenDecl, names map[string]bool) (found []finding) {
	if d.Tok != token.VAR || d.Doc != nil {
		return nil
	}
	for _, spec := range d.Specs {
		v, ok := spec.(*ast.ValueSpec)
		if ok && v.Type != nil && v.Doc == nil && v.Comment == nil && holdsAtomic(v.Type, names) {
			found = append(found, finding{t.at(v.Pos()), v.Names[0].Name + " has no comment"})
		}
	}
	return found
}

// holdsAtomic says whether a type is one of sync/atomic's, or an array, slice
// or pointer of them.
func holdsAtomic(e ast.Expr, names map[string]bool) bool {
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.ArrayType:
			e = x.Elt
		case *ast.IndexExpr:
			e = x.X
		default:
			pkg, _ := selector(e)
			return names[pkg]
		}
	}
}

// atomicsOnly: a field whose address goes to a function of sync/atomic is not
// read or written any other way in its package. It goes by the field's name,
// so two types of one package cannot use a name in both ways. Setting it in a
// composite literal, before anyone else sees it, is fine.
func atomicsOnly(t *tree) (found []finding) {
	pointer, value := t.atomicFields()
	for _, f := range t.files {
		if f.test {
			continue
		}
		addressed := map[ast.Expr]bool{}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch x := n.(type) {
			case *ast.UnaryExpr:
				if x.Op == token.AND {
					addressed[x.X] = true
				}
			case *ast.StarExpr:
				if s, ok := x.X.(*ast.SelectorExpr); ok && pointer[[2]string{f.dir, s.Sel.Name}] {
					found = append(found, finding{t.at(x.Pos()), fmt.Sprintf("*%s without sync/atomic", s.Sel.Name)})
				}
			case *ast.SelectorExpr:
				if value[[2]string{f.dir, x.Sel.Name}] && !addressed[x] {
					found = append(found, finding{t.at(x.Pos()), x.Sel.Name + " without sync/atomic"})
				}
			}
			return true
		})
	}
	return found
}

// atomicFields collects, by folder and name, the fields given to functions of
// sync/atomic: as pointers (x.f), or by their address (&x.f).
func (t *tree) atomicFields() (pointer, value map[[2]string]bool) {
	pointer, value = map[[2]string]bool{}, map[[2]string]bool{}
	for _, f := range t.files {
		if f.test {
			continue
		}
		names := f.names(isAtomic)
		ast.Inspect(f.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			if pkg, _ := selector(call.Fun); !names[pkg] {
				return true
			}
			switch arg := call.Args[0].(type) {
			case *ast.SelectorExpr:
				pointer[[2]string{f.dir, arg.Sel.Name}] = true
			case *ast.UnaryExpr:
				if s, ok := arg.X.(*ast.SelectorExpr); ok && arg.Op == token.AND {
					value[[2]string{f.dir, s.Sel.Name}] = true
				}
			}
			return true
		})
	}
	return pointer, value
}
