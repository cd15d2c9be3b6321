package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// maxAnswer bounds what a client reads: a full front cache of 4096 entries
// takes some 2 MiB, one of a million 500.
const maxAnswer = 1 << 30

// connectTime is how long a server on the same machine may take to accept.
const connectTime = 5 * time.Second

// Client manages a process through its control socket. Its methods may be
// called by any goroutine; each is one request, and bounded by its context and
// by the server's own timeout. Errors of the server are an *[Error], which
// wraps what the call returned there.
type Client struct {
	path string
	http http.Client
}

// Dial connects to a control socket, and so finds out whether a server is
// there and admits the caller. Errors wrap ENOENT where there is no such
// socket, ECONNREFUSED where nobody listens, EACCES for one that the caller
// may not use.
func Dial(socketPath string) (*Client, error) {
	c := &Client{path: socketPath}
	c.http.Transport = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			d := net.Dialer{Timeout: connectTime}
			return d.DialContext(ctx, "unix", socketPath)
		},
		MaxIdleConns: 1, MaxIdleConnsPerHost: 1, IdleConnTimeout: idleTime / 2,
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectTime)
	defer cancel()
	if _, err := c.Status(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Close closes the client's idle connections. Requests under way go on.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// explain adds the way out to what the operating system says.
func (c *Client) explain(err error) error {
	why := err
	var of *url.Error
	if errors.As(err, &of) {
		why = of.Err // without the address, which is made up
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		why = fmt.Errorf("%w: is the program running, and this its socket?", why)
	case errors.Is(err, syscall.ECONNREFUSED):
		why = fmt.Errorf("%w: nobody listens: the program that made it has ended", why)
	case errors.Is(err, fs.ErrPermission):
		why = fmt.Errorf("%w: only the program's user, root and its group may connect", why)
	}
	return fmt.Errorf("control: %s: %w", c.path, why)
}

// do is one request. in and out are for JSON; nil: there is none.
func (c *Client) do(ctx context.Context, method, path string, query url.Values, in, out any) error {
	answer, err := c.ask(ctx, method, path, query, in)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return c.explain(err)
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("control: %s: answer to %s %s: %w", c.path, method, path, err)
	}
	return nil
}

// ask sends a request. What it returns is an answer without an error in it.
func (c *Client) ask(ctx context.Context, method, path string, query url.Values, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("control: %w", err)
		}
		body = bytes.NewReader(text)
	}
	// The host stands for the socket; the server does not look at it.
	u := url.URL{Scheme: "http", Host: "oobnet", Path: path, RawQuery: query.Encode()}
	r, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, c.explain(err)
	}
	if answer.StatusCode == http.StatusOK {
		return answer, nil
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return nil, c.explain(err)
	}
	e := &Error{Status: answer.StatusCode}
	if json.Unmarshal(text, e) != nil || e.Message == "" {
		return nil, fmt.Errorf("control: %s: answered %s, and is no control socket of ours", c.path, answer.Status)
	}
	return nil, e
}

// get and send: the shapes of most calls.
func get[Out any](ctx context.Context, c *Client, path string) (*Out, error) {
	return send[Out](ctx, c, http.MethodGet, path, nil, nil)
}

func send[Out any](ctx context.Context, c *Client, method, path string, query url.Values, in any) (*Out, error) {
	out := new(Out)
	if err := c.do(ctx, method, path, query, in, out); err != nil {
		return nil, err
	}
	return out, nil
}

// Status says what is being managed.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	return get[Status](ctx, c, "/v1/status")
}

// OpenAPI returns the server's description of its protocol.
func (c *Client) OpenAPI(ctx context.Context) (map[string]any, error) {
	out, err := get[map[string]any](ctx, c, "/v1/openapi.json")
	if err != nil {
		return nil, err
	}
	return *out, nil
}

// Devices returns the attached devices, oldest first.
func (c *Client) Devices(ctx context.Context) ([]Device, error) {
	out, err := get[Devices](ctx, c, "/v1/devices")
	if err != nil {
		return nil, err
	}
	return out.Devices, nil
}

// Device returns one, by its name or that of a port on it; ENODEV.
func (c *Client) Device(ctx context.Context, name string) (*Device, error) {
	return get[Device](ctx, c, "/v1/devices/"+name)
}

// DeviceState returns the threads and queues of a device.
func (c *Client) DeviceState(ctx context.Context, name string) (*DeviceState, error) {
	return get[DeviceState](ctx, c, "/v1/devices/"+name+"/state")
}

// Filter returns what selects a device's frames.
func (c *Client) Filter(ctx context.Context, device string) (*Filter, error) {
	return get[Filter](ctx, c, "/v1/devices/"+device+"/filter")
}

// SetFilter installs a filter, or replaces the one there is. The path of an
// object is the server's. Errors wrap EINVAL for rules, filter.ErrNotObject and
// filter.ErrNoProgram for objects, fs.ErrNotExist, EACCES for one outside the
// server's folder; Error.Log is what the kernel's verifier says.
func (c *Client) SetFilter(ctx context.Context, device string, f Filter) (*Filter, error) {
	return send[Filter](ctx, c, http.MethodPut, "/v1/devices/"+device+"/filter", nil, f)
}

// RemoveFilter restores the default, and returns what is in force then.
func (c *Client) RemoveFilter(ctx context.Context, device string) (*Filter, error) {
	return send[Filter](ctx, c, http.MethodDelete, "/v1/devices/"+device+"/filter", nil, nil)
}

// Divert switches the taking of frames on or off: see stack.Device.Divert.
func (c *Client) Divert(ctx context.Context, device string, on bool) error {
	_, err := send[Diversion](ctx, c, http.MethodPut, "/v1/devices/"+device+"/diversion", nil, Diversion{on})
	return err
}

// Resize changes how many buffers a device has, while frames flow. Errors are
// those of stack.Device.ResizePool and ResizeRX; then nothing has changed.
func (c *Client) Resize(ctx context.Context, device string, in Resize) (*Memory, error) {
	return send[Memory](ctx, c, http.MethodPut, "/v1/devices/"+device+"/memory", nil, in)
}

// Ports returns the enabled ports, oldest first.
func (c *Client) Ports(ctx context.Context) ([]Port, error) {
	out, err := get[Ports](ctx, c, "/v1/ports")
	if err != nil {
		return nil, err
	}
	return out.Ports, nil
}

// Port returns one, by name; ENODEV if it is not enabled.
func (c *Client) Port(ctx context.Context, name string) (*Port, error) {
	return get[Port](ctx, c, "/v1/ports/"+name)
}

// EnablePort enables a port, and opens its device if need be. One that is
// enabled already is returned as it is. Errors are those of the opener,
// stack.Attach and Device.EnablePort; then nothing has changed.
func (c *Client) EnablePort(ctx context.Context, in EnableRequest) (*Port, error) {
	return send[Port](ctx, c, http.MethodPost, "/v1/ports", nil, in)
}

// DisablePort disables a port; with the last one of a device that the server
// opened, the device closes. It is EBUSY, and nothing changes, while sockets are
// bound to the port, or hold buffers of a device that would close, unless forced.
func (c *Client) DisablePort(ctx context.Context, name string, force bool) (*Disabled, error) {
	var query url.Values
	if force {
		query = url.Values{"force": {"true"}}
	}
	return send[Disabled](ctx, c, http.MethodDelete, "/v1/ports/"+name, query, nil)
}

// AddAddr gives a port another address.
func (c *Client) AddAddr(ctx context.Context, port string, addr netip.Prefix) (*Port, error) {
	return send[Port](ctx, c, http.MethodPut, "/v1/ports/"+port+"/addresses", nil, PortAddress{addr})
}

// RemoveAddr takes an address from a port.
func (c *Client) RemoveAddr(ctx context.Context, port string, addr netip.Prefix) (*Port, error) {
	return send[Port](ctx, c, http.MethodDelete, "/v1/ports/"+port+"/addresses", url.Values{"address": {addr.String()}}, nil)
}

// Routes returns the routing table, the most specific first.
func (c *Client) Routes(ctx context.Context) ([]Route, error) {
	out, err := get[Routes](ctx, c, "/v1/routes")
	if err != nil {
		return nil, err
	}
	return out.Routes, nil
}

// AddRoute adds a route, or replaces the one to the same destination.
func (c *Client) AddRoute(ctx context.Context, r Route) (*Route, error) {
	return send[Route](ctx, c, http.MethodPut, "/v1/routes", nil, r)
}

// RemoveRoute removes a route that was added; ESRCH if there is none.
func (c *Client) RemoveRoute(ctx context.Context, dst netip.Prefix) error {
	_, err := send[Nothing](ctx, c, http.MethodDelete, "/v1/routes", url.Values{"destination": {dst.String()}}, nil)
	return err
}

// FrontCache dumps the front cache.
func (c *Client) FrontCache(ctx context.Context) (*FrontCache, error) {
	return get[FrontCache](ctx, c, "/v1/front-cache")
}

// Solicit asks for a peer's address by ARP. Errors are stack.Solicit's.
func (c *Client) Solicit(ctx context.Context, in SolicitRequest) error {
	_, err := send[Nothing](ctx, c, http.MethodPost, "/v1/solicitations", nil, in)
	return err
}

// SetNeighbor makes a permanent entry by hand.
func (c *Client) SetNeighbor(ctx context.Context, addr netip.Addr, n Neighbor) error {
	_, err := send[Neighbor](ctx, c, http.MethodPut, "/v1/neighbors/"+addr.String(), nil, n)
	return err
}

// VLANs returns EVL's list of VLANs whose IPv4 is taken.
func (c *Client) VLANs(ctx context.Context) (*VLANs, error) {
	return get[VLANs](ctx, c, "/v1/vlans")
}

// SetVLANs replaces that list; "" ends it.
func (c *Client) SetVLANs(ctx context.Context, ids string) (*VLANs, error) {
	return send[VLANs](ctx, c, http.MethodPut, "/v1/vlans", nil, VLANs{IDs: ids})
}
