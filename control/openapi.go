package control

import (
	"context"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"github.com/oobnet/oobnet/stats"
)

// openAPI answers with the description.
func (s *Server) openAPI(context.Context, *struct{}) (*map[string]any, error) {
	doc := OpenAPI()
	return &doc, nil
}

// OpenAPI describes the protocol (OpenAPI 3.1), as the server does: made from
// the calls and their types. It is the caller's.
func OpenAPI() map[string]any {
	d := describer{schemas: map[string]any{}}
	paths := map[string]any{}
	for _, e := range endpoints() {
		at, _ := paths[e.path].(map[string]any)
		if at == nil {
			at = map[string]any{}
			paths[e.path] = at
		}
		at[strings.ToLower(e.method)] = d.operation(&e)
	}
	return map[string]any{
		"openapi": "3.1.0",
		"info": map[string]any{
			"title": "oobnet control", "version": "1",
			"description": "Manages an out-of-band network stack in a running process, over a Unix socket.",
		},
		"paths":      paths,
		"components": map[string]any{"schemas": d.schemas},
	}
}

// describer collects the schemas of named types.
type describer struct{ schemas map[string]any }

func (d *describer) operation(e *endpoint) map[string]any {
	content := media
	if e.out != nil {
		content = d.content(e.out)
	}
	op := map[string]any{
		"summary": e.summary,
		"responses": map[string]any{
			"200":     map[string]any{"description": "done", "content": content},
			"default": map[string]any{"description": "an error; nothing has changed, unless it says otherwise", "content": d.content(reflect.TypeFor[Error]())},
		},
	}
	params, body := parameters(e.in)
	var list []any
	for _, p := range params {
		described := map[string]any{"name": p.name, "in": p.in, "required": p.in == "path", "schema": d.schema(p.field.Type)}
		if p.doc != "" {
			described["description"] = p.doc
		}
		list = append(list, described)
	}
	if list != nil {
		op["parameters"] = list
	}
	if body {
		op["requestBody"] = map[string]any{"required": true, "content": d.content(bodyType(e.in))}
	}
	return op
}

// media of a capture.
var media = map[string]any{
	"application/x-pcapng": map[string]any{}, "text/plain": map[string]any{"schema": map[string]any{"type": "string"}},
}

// bodyType is the type of a request's body: of those with parameters beside
// it, what they embed.
func bodyType(t reflect.Type) reflect.Type {
	for i := range t.NumField() {
		if f := t.Field(i); f.Anonymous {
			return f.Type
		}
	}
	return t
}

func (d *describer) content(t reflect.Type) map[string]any {
	return map[string]any{"application/json": map[string]any{"schema": d.schema(t)}}
}

// schema of a type. Structs stand once, under their name.
func (d *describer) schema(t reflect.Type) map[string]any {
	switch t {
	case reflect.TypeFor[netip.Addr]():
		return map[string]any{"type": "string", "format": "ipv4"}
	case reflect.TypeFor[netip.AddrPort]():
		return map[string]any{"type": "string", "description": "IPv4 address and port, like 192.0.2.1:7"}
	case reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case reflect.TypeFor[stats.Reasons]():
		return map[string]any{"type": "object", "additionalProperties": d.schema(reflect.TypeFor[uint64]()), "description": "frames by reason, but for those at 0"}
	case reflect.TypeFor[netip.Prefix]():
		return map[string]any{"type": "string", "description": "IPv4 address with a prefix length, like 192.0.2.1/24"}
	}
	switch t.Kind() {
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return map[string]any{"type": "integer"}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return map[string]any{"type": "integer", "minimum": 0}
	case reflect.Float64, reflect.Float32:
		return map[string]any{"type": "number"}
	case reflect.Slice, reflect.Array:
		return map[string]any{"type": "array", "items": d.schema(t.Elem())}
	case reflect.Pointer:
		return d.schema(t.Elem())
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": d.schema(t.Elem())}
	case reflect.Struct:
		return d.object(t)
	}
	return map[string]any{} // anything: the description of the description
}

// object describes a struct, once.
func (d *describer) object(t reflect.Type) map[string]any {
	name := strings.TrimPrefix(t.PkgPath()[strings.LastIndexByte(t.PkgPath(), '/')+1:]+"."+t.Name(), "control.")
	ref := map[string]any{"$ref": "#/components/schemas/" + name}
	if d.schemas[name] != nil {
		return ref
	}
	properties := map[string]any{}
	object := map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
	d.schemas[name] = object
	required := []any{}
	for _, f := range reflect.VisibleFields(t) {
		key, always := jsonName(f)
		if key == "" {
			continue
		}
		s := d.schema(f.Type)
		if doc := f.Tag.Get("doc"); doc != "" {
			s["description"] = doc
		}
		if names := f.Tag.Get("enum"); names != "" {
			list := []any{}
			for n := range strings.SplitSeq(names, ",") {
				list = append(list, n)
			}
			s["enum"] = list
		}
		properties[key] = s
		if always {
			required = append(required, key)
		}
	}
	if len(required) > 0 {
		object["required"] = required
	}
	return ref
}
