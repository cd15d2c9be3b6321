package control_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/oobnet/oobnet/control"
)

// seen notes the calls that any test has made, by method and path of the
// description.
var seen sync.Map

// description is the description as a client sees it.
func description(t testing.TB) map[string]any {
	text, err := json.Marshal(control.OpenAPI())
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// checker compares what goes over the wire with the description.
type checker struct {
	t    *testing.T
	doc  map[string]any
	next http.RoundTripper
}

func described(t *testing.T) func(http.RoundTripper) http.RoundTripper {
	return func(next http.RoundTripper) http.RoundTripper { return &checker{t, description(t), next} }
}

func (c *checker) RoundTrip(r *http.Request) (*http.Response, error) {
	op := c.operation(r.Method, r.URL.Path)
	if op == nil {
		c.t.Errorf("%s %s is not described", r.Method, r.URL.Path)
		return c.next.RoundTrip(r)
	}
	var sent []byte
	if r.Body != nil {
		sent, _ = io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(sent))
	}
	answer, err := c.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if media := path(op, "responses", "200", "content"); answer.StatusCode == http.StatusOK && media["application/json"] == nil {
		kind, _, _ := strings.Cut(answer.Header.Get("Content-Type"), ";")
		if media[kind] == nil {
			c.t.Errorf("%s %s: an answer of type %q is not described", r.Method, r.URL.Path, kind)
		}
		return answer, nil // a stream
	}
	text, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	answer.Body = io.NopCloser(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	key := "default"
	if answer.StatusCode == http.StatusOK {
		key = "200"
		c.compare(r.Method+" "+r.URL.Path+" request", sent, path(op, "requestBody"))
	}
	c.compare(r.Method+" "+r.URL.Path+" answer "+key, text, path(op, "responses", key))
	return answer, nil
}

// operation finds the description of a call, whose path may have parameters.
func (c *checker) operation(method, at string) map[string]any {
	for template, ops := range c.doc["paths"].(map[string]any) {
		want, got := strings.Split(template, "/"), strings.Split(at, "/")
		if slices.EqualFunc(want, got, func(w, g string) bool { return w == g || strings.HasPrefix(w, "{") && g != "" }) {
			if op, ok := ops.(map[string]any)[strings.ToLower(method)].(map[string]any); ok {
				seen.Store(method+" "+template, true)
				return op
			}
		}
	}
	return nil
}

// path walks into a description; nil: it is not there.
func path(v any, keys ...string) map[string]any {
	for _, k := range keys {
		m, _ := v.(map[string]any)
		v = m[k]
	}
	m, _ := v.(map[string]any)
	return m
}

// compare compares a body with what is described of it.
func (c *checker) compare(where string, text []byte, content map[string]any) {
	schema := path(content, "content", "application/json", "schema")
	if schema == nil {
		if len(text) != 0 {
			c.t.Errorf("%s: a body that is not described: %s", where, text)
		}
		return
	}
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		c.t.Errorf("%s: %v: %s", where, err, text)
		return
	}
	for _, problem := range mismatch(c.doc, schema, v, "") {
		c.t.Errorf("%s: %s", where, problem)
	}
}

// mismatch says where a value is not what a schema says.
func mismatch(doc, schema map[string]any, v any, at string) (problems []string) {
	if ref, ok := schema["$ref"].(string); ok {
		target := path(doc, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
		if target == nil {
			return []string{at + ": no schema " + ref}
		}
		return mismatch(doc, target, v, at)
	}
	wrong := func(format string, args ...any) { problems = append(problems, at+": "+fmt.Sprintf(format, args...)) }
	if names, ok := schema["enum"].([]any); ok && !slices.Contains(names, v) {
		wrong("%v is none of %v", v, names)
	}
	switch schema["type"] {
	case "object":
		object, ok := v.(map[string]any)
		if !ok {
			wrong("%T is no object", v)
			return
		}
		required, _ := schema["required"].([]any)
		for _, name := range required {
			if _, there := object[name.(string)]; !there {
				wrong("%s is missing", name)
			}
		}
		for key, value := range object {
			of := path(schema, "properties", key)
			if of == nil {
				if of = path(schema, "additionalProperties"); of == nil {
					wrong("%s is not described", key)
					continue
				}
			}
			problems = append(problems, mismatch(doc, of, value, at+"."+key)...)
		}
	case "array":
		list, ok := v.([]any)
		if !ok {
			wrong("%T is no array", v)
		}
		for i, value := range list {
			problems = append(problems, mismatch(doc, path(schema, "items"), value, fmt.Sprintf("%s[%d]", at, i))...)
		}
	case "string":
		if _, ok := v.(string); !ok {
			wrong("%T is no string", v)
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			wrong("%T is no boolean", v)
		}
	case "integer":
		n, ok := v.(float64)
		if !ok || n != float64(int64(n)) || schema["minimum"] == 0.0 && n < 0 {
			wrong("%v is no integer, or too small", v)
		}
	}
	return problems
}

// The description is valid in itself: each reference leads somewhere, each
// call of the table is there, and each name in a path is a parameter.
func TestDescriptionIsWhole(t *testing.T) {
	doc := description(t)
	if !strings.HasPrefix(doc["openapi"].(string), "3.1") || path(doc, "info")["title"] == "" {
		t.Errorf("no head: %v", doc["info"])
	}
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok && path(doc, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...) == nil {
				t.Errorf("%s: %s leads nowhere", at, ref)
			}
			for k, inner := range v {
				walk(at+"/"+k, inner)
			}
		case []any:
			for _, inner := range v {
				walk(at, inner)
			}
		}
	}
	walk("", doc)
	for _, call := range control.Calls() {
		method, template, _ := strings.Cut(call, " ")
		op := path(doc, "paths", template, strings.ToLower(method))
		if op["summary"] == "" || path(op, "responses", "200") == nil || path(op, "responses", "default") == nil {
			t.Errorf("%s is not described: %v", call, op)
		}
		var names []string
		list, _ := op["parameters"].([]any)
		for _, p := range list {
			if p := p.(map[string]any); p["in"] == "path" {
				names = append(names, "{"+p["name"].(string)+"}")
			}
		}
		for part := range strings.SplitSeq(template, "/") {
			if strings.HasPrefix(part, "{") && !slices.Contains(names, part) {
				t.Errorf("%s: %s is no parameter", call, part)
			}
		}
	}
}

// The checker finds what it is there to find.
func TestMismatchIsFound(t *testing.T) {
	doc := description(t)
	schema := map[string]any{"$ref": "#/components/schemas/Route"}
	for text, want := range map[string]string{
		`{"destination": "10.0.0.0/8", "port": "eth0"}`:                   "",
		`{"destination": "10.0.0.0/8"}`:                                   "port is missing",
		`{"destination": 1, "port": "eth0"}`:                              "no string",
		`{"destination": "10.0.0.0/8", "port": "eth0", "metric": 1}`:      "metric is not described",
		`{"destination": "10.0.0.0/8", "port": "eth0", "connected": "x"}`: "no boolean",
	} {
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(mismatch(doc, schema, v, ""), "; "); (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

// What the server answers is what the package says.
func TestDescriptionIsServed(t *testing.T) {
	r := newRig(t, nil)
	got, err := r.client.OpenAPI(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, description(t)) {
		t.Error("the server describes something else")
	}
}
