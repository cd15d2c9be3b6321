package control

import (
	"context"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// endpoint is one call of the protocol.
type endpoint struct {
	method, path string
	summary      string
	in, out      reflect.Type // out nil: a stream
	// serve writes the answer, or returns an error and has written nothing.
	serve func(*Server, http.ResponseWriter, *http.Request) error
}

// endpoints are all calls: the server's routes and the description are made of
// them.
func endpoints() []endpoint {
	return []endpoint{
		call("GET", "/v1/status", "What is being managed.", (*Server).status),
		call("GET", "/v1/devices", "All devices.", (*Server).listDevices),
		call("GET", "/v1/devices/{device}", "One device.", (*Server).getDevice),
		call("GET", "/v1/devices/{device}/state", "Threads and queues of a device.", (*Server).deviceState),
		call("GET", "/v1/devices/{device}/filter", "What selects a device's frames.", (*Server).getFilter),
		call("PUT", "/v1/devices/{device}/filter", "Install a filter, or replace the one there is; the former goes on if this fails.", (*Server).setFilter),
		call("DELETE", "/v1/devices/{device}/filter", "Restore the default: frames to the ports' addresses.", (*Server).removeFilter),
		call("PUT", "/v1/devices/{device}/diversion", "Switch the taking of frames off, and on again; all stays open.", (*Server).divert),
		call("PUT", "/v1/devices/{device}/memory", "Change how many buffers a device has, while frames flow.", (*Server).resize),
		call("GET", "/v1/ports", "All ports.", (*Server).listPorts),
		call("POST", "/v1/ports", "Enable a port, and open its device if need be. One that is there already is returned as it is.", (*Server).enablePort),
		call("GET", "/v1/ports/{port}", "One port.", (*Server).getPort),
		call("DELETE", "/v1/ports/{port}", "Disable a port, and close its device if the server opened it and this is its last port.", (*Server).disablePort),
		call("PUT", "/v1/ports/{port}/addresses", "Give a port another address.", (*Server).addAddress),
		call("DELETE", "/v1/ports/{port}/addresses", "Take an address from a port.", (*Server).removeAddress),
		call("GET", "/v1/routes", "The routing table.", (*Server).listRoutes),
		call("PUT", "/v1/routes", "Add a route, or replace the one to the same destination.", (*Server).addRoute),
		call("DELETE", "/v1/routes", "Remove a route that was added.", (*Server).removeRoute),
		call("GET", "/v1/front-cache", "Dump of the front cache.", (*Server).frontCache),
		call("POST", "/v1/solicitations", "Ask for a peer's address by ARP, and put it into the front cache.", (*Server).solicit),
		call("PUT", "/v1/neighbors/{address}", "Make a permanent entry by hand.", (*Server).setNeighbor),
		call("DELETE", "/v1/neighbors/{address}", "Forget a neighbour: its entries, permanent and learned.", (*Server).removeNeighbor),
		call("POST", "/v1/pings", "See whether a peer answers, and how soon, by UDP echo or ARP.", (*Server).ping),
		call("GET", "/v1/vlans", "VLANs whose IPv4 is taken, as evl net -n shows them.", (*Server).getVLANs),
		call("PUT", "/v1/vlans", "Replace that list, as evl net -N does.", (*Server).setVLANs),
		call("GET", "/v1/statistics", "All that was counted, by device, queue, port, protocol and reason.", (*Server).statistics),
		streamed("GET", "/v1/devices/{device}/capture", "Capture what a device receives and sends, until the client goes or the capture is ended.", (*Server).capture),
		call("GET", "/v1/captures", "Captures that are running.", (*Server).listCaptures),
		call("DELETE", "/v1/captures/{id}", "End a capture: whoever reads it gets the rest, and the statistics.", (*Server).endCapture),
		call("GET", "/v1/openapi.json", "This description.", (*Server).openAPI),
	}
}

// call makes an endpoint of a method of the server. Fields of In with a tag
// "path" or "query" are parameters, those with a name in JSON are the body.
func call[In, Out any](method, path, summary string, f func(*Server, context.Context, *In) (*Out, error)) endpoint {
	return endpoint{
		method: method, path: path, summary: summary, in: reflect.TypeFor[In](), out: reflect.TypeFor[Out](),
		serve: func(s *Server, w http.ResponseWriter, r *http.Request) error {
			in := new(In)
			if err := decode(r, reflect.ValueOf(in).Elem()); err != nil {
				return err
			}
			patient(w)
			ctx, cancel := context.WithTimeout(r.Context(), s.cfg.Timeout)
			defer cancel()
			out, err := f(s, ctx, in)
			if err != nil {
				return err
			}
			answer(w, http.StatusOK, out)
			return nil
		},
	}
}

// streamed makes an endpoint that writes its answer by itself, for as long as
// it likes. If it returns an error, it has written nothing.
func streamed[In any](method, path, summary string, f func(*Server, http.ResponseWriter, *http.Request, *In) error) endpoint {
	return endpoint{
		method: method, path: path, summary: summary, in: reflect.TypeFor[In](),
		serve: func(s *Server, w http.ResponseWriter, r *http.Request) error {
			in := new(In)
			if err := decode(r, reflect.ValueOf(in).Elem()); err != nil {
				return err
			}
			patient(w)
			return f(s, w, r, in)
		},
	}
}

// patient ends the time for the request, all of which has come: it would end a
// request under way as well.
func patient(w http.ResponseWriter) {
	// A connection that has none is no worse off.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
}

// handler serves all endpoints.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	for _, e := range endpoints() {
		mux.HandleFunc(e.method+" "+e.path, func(w http.ResponseWriter, r *http.Request) {
			if err := e.serve(s, w, r); err != nil {
				a := answerOf(err)
				answer(w, a.Status, a)
			}
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		answer(w, http.StatusNotFound, &Error{
			Message: fmt.Sprintf("control: there is no call %s %s: see GET /v1/openapi.json", r.Method, r.URL.Path),
		})
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err, ok := r.Context().Value(refusal{}).(error); ok && err != nil {
			a := answerOf(fmt.Errorf("control: %w", err))
			answer(w, a.Status, a)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		mux.ServeHTTP(w, r)
	})
}

func answer(w http.ResponseWriter, status int, v any) {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		status, text = http.StatusInternalServerError, []byte(`{"error": "control: an answer that JSON cannot have"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// A client that has gone away needs no answer.
	_, _ = w.Write(append(text, '\n'))
}

// parameter is a field of a request that stands in its path or query.
type parameter struct {
	name, in, doc string // in: "path" or "query"
	index         []int
	field         reflect.StructField
}

// parameters of a request's type, and whether it has a body as well.
func parameters(t reflect.Type) (params []parameter, body bool) {
	for _, f := range reflect.VisibleFields(t) {
		switch {
		case f.Anonymous || !f.IsExported():
		case f.Tag.Get("path") != "":
			params = append(params, parameter{f.Tag.Get("path"), "path", f.Tag.Get("doc"), f.Index, f})
		case f.Tag.Get("query") != "":
			params = append(params, parameter{f.Tag.Get("query"), "query", f.Tag.Get("doc"), f.Index, f})
		default:
			body = true
		}
	}
	return params, body
}

// decode reads a request into a struct.
func decode(r *http.Request, into reflect.Value) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return badRequest("query: %v", err)
	}
	params, body := parameters(into.Type())
	for _, p := range params {
		text := r.PathValue(p.name)
		if p.in == "query" {
			if text = query.Get(p.name); !query.Has(p.name) {
				continue
			}
			query.Del(p.name)
		}
		if err := setText(into.FieldByIndex(p.index), text); err != nil {
			return badRequest("%s %q: %v", p.name, text, err)
		}
	}
	for name := range query {
		return badRequest("query %q: there is no such parameter", name)
	}
	return decodeBody(r.Body, into, body)
}

// setText sets a parameter from text.
func setText(v reflect.Value, text string) error {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch v.Kind() {
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return errors.New("want true or false")
		}
		v.SetBool(b)
	case reflect.Int, reflect.Uint64:
		// What is below 0 has no meaning anywhere.
		n, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return errors.New("want a number up to 2147483647")
		}
		v.Set(reflect.ValueOf(n).Convert(v.Type()))
	default:
		v.SetString(text)
	}
	return nil
}

// decodeBody reads one JSON object with the keys that it has to have, and no
// others.
func decodeBody(r io.Reader, into reflect.Value, wanted bool) error {
	text, err := io.ReadAll(r)
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		return &Error{Status: http.StatusRequestEntityTooLarge, Message: fmt.Sprintf("control: the body is longer than %d bytes", tooLong.Limit)}
	case err != nil:
		return badRequest("body: %v", err)
	case !wanted && len(text) != 0:
		return badRequest("this call takes no body")
	case !wanted:
		return nil
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(text, &keys); err != nil || keys == nil {
		return badRequest("body: want one JSON object: %v", err)
	}
	for _, f := range reflect.VisibleFields(into.Type()) {
		name, required := jsonName(f)
		if _, there := keys[name]; required && !there {
			return badRequest("body: %q is missing", name)
		}
	}
	dec := json.NewDecoder(strings.NewReader(string(text)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into.Addr().Interface()); err != nil {
		return badRequest("body: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

// jsonName is a field's name in JSON, "" if it is not there, and whether it
// always is.
func jsonName(f reflect.StructField) (name string, required bool) {
	name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
	if f.Anonymous || !f.IsExported() || name == "-" || name == "" {
		return "", false
	}
	return name, !strings.Contains(options, "omitempty") && !strings.Contains(options, "omitzero")
}
