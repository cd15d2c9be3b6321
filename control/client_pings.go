package control

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
)

// RemoveNeighbor forgets a neighbour: its entries in the front cache, permanent
// and learned. iface is the port that it has to be on, or "". ESRCH if it is not
// known.
func (c *Client) RemoveNeighbor(ctx context.Context, addr netip.Addr, iface string) error {
	var query url.Values
	if iface != "" {
		query = url.Values{"interface": {iface}}
	}
	_, err := send[Nothing](ctx, c, http.MethodDelete, "/v1/neighbors/"+addr.String(), query, nil)
	return err
}

// Ping sees whether a peer answers the server's stack; what is not answered is
// no error. Errors wrap EINVAL for bounds and addresses, ENETUNREACH where no
// route leads there, EHOSTUNREACH for ARP through a gateway, EBUSY while as many
// as may be are under way.
func (c *Client) Ping(ctx context.Context, in PingRequest) (*Ping, error) {
	return send[Ping](ctx, c, http.MethodPost, "/v1/pings", nil, in)
}
