package serve

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxFile bounds a config file, bytes: some ten thousand lines.
const maxFile = 1 << 20

// ConfigError is what is wrong in a config file. It wraps syscall.EINVAL, or
// what the value's own check says.
type ConfigError struct {
	File string
	Line int    // from 1; 0: the file as a whole
	Key  string // "devices.eth1.pool_size"; "": none
	Err  error
}

func (e *ConfigError) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	if e.Key != "" {
		fmt.Fprintf(&b, ": %s", e.Key)
	}
	return b.String() + ": " + e.Err.Error()
}

// Unwrap returns what is wrong.
func (e *ConfigError) Unwrap() error { return e.Err }

// file is the tree of a config file, for the lines of errors.
type file struct {
	name string
	tree *ast.File
}

// Load reads a config file, checks it, and reads the files that it names. Errors
// are a *ConfigError, or the operating system's.
func Load(name string) (*Config, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFile {
		return nil, &ConfigError{File: name, Err: fmt.Errorf("longer than %d bytes: %w", maxFile, syscall.EFBIG)}
	}
	c, err := Parse(name, text)
	if err != nil {
		return nil, err
	}
	return c, c.look()
}

// Parse is Load for a text, and opens no files; name is for its errors.
func Parse(name string, text []byte) (*Config, error) {
	tree, err := parser.ParseBytes(text, 0)
	c := &Config{file: &file{name: name, tree: tree}}
	if err != nil {
		return nil, c.file.explain(err)
	}
	if len(tree.Docs) > 1 {
		return nil, &ConfigError{File: name, Err: fmt.Errorf("%d documents, with --- between them: want one: %w", len(tree.Docs), syscall.EINVAL)}
	}
	if len(tree.Docs) == 1 && tree.Docs[0].Body != nil {
		if err := yaml.NodeToValue(tree.Docs[0].Body, c, yaml.Strict()); err != nil {
			return nil, c.file.explain(err)
		}
	}
	return c, c.check()
}

// explain says where the parser or the decoder has a problem.
func (f *file) explain(err error) error {
	e := &ConfigError{File: f.name, Err: fmt.Errorf("%w: %w", err, syscall.EINVAL)}
	var where yaml.Error
	if !errors.As(err, &where) {
		return e
	}
	e.Err = fmt.Errorf("%s: %w", where.GetMessage(), syscall.EINVAL)
	t := where.GetToken()
	if t == nil || t.Position == nil {
		return e
	}
	e.Line = t.Position.Line
	if f.tree != nil {
		// The value at that place, or the key, knows its way from the root.
		for _, doc := range f.tree.Docs {
			ast.Walk(finder{t.Position.Offset, &e.Key}, doc)
		}
	}
	return e
}

// finder finds the key of what stands at an offset.
type finder struct {
	offset int
	key    *string
}

// Visit implements ast.Visitor.
func (v finder) Visit(n ast.Node) ast.Visitor {
	if t := n.GetToken(); t != nil && t.Position != nil && t.Position.Offset == v.offset && n.GetPath() != "" {
		*v.key = plainKey(n.GetPath())
	}
	return v
}

// plainKey is a path without the signs of a query.
func plainKey(path string) string {
	return strings.ReplaceAll(strings.TrimPrefix(strings.TrimPrefix(path, "$"), "."), "'", "")
}

// wrong says that a value is wrong: a step is a key, or a number in a list.
func (f *file) wrong(err error, steps ...any) error {
	b := (&yaml.PathBuilder{}).Root()
	var key strings.Builder
	for _, s := range steps {
		switch s := s.(type) {
		case int:
			b = b.Index(uint(s))
			fmt.Fprintf(&key, "[%d]", s)
		case string:
			b = b.Child(s)
			if key.Len() > 0 {
				key.WriteByte('.')
			}
			key.WriteString(s)
		}
	}
	e := &ConfigError{File: f.name, Key: key.String(), Err: err}
	if n, missing := b.Build().FilterFile(f.tree); missing == nil && n.GetToken() != nil {
		e.Line = n.GetToken().Position.Line
		return e
	}
	// What is missing is missing from something.
	var outer *ConfigError
	if len(steps) > 1 && errors.As(f.wrong(err, steps[:len(steps)-1]...), &outer) {
		e.Line = outer.Line
	}
	return e
}
