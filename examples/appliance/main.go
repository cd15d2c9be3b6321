// Appliance is a DNS server for the names of a machine hall, in one static binary:
// github.com/miekg/dns on a socket of ours, a control socket, and a page for
// Prometheus. It is what an embedded product does with the stage; see README.md
// for how it is installed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/miekg/dns"

	"github.com/oobnet/oobnet/control"
	"github.com/oobnet/oobnet/link/afxdp"
	"github.com/oobnet/oobnet/metrics/page"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// options are the command line.
type options struct {
	ifname, hosts, socket, group, metrics string
	addr                                  netip.Prefix
	gateway                               netip.Addr
}

const (
	// queueLength is how many questions may wait while one is answered.
	queueLength = 512
	// pageTimeout bounds a scrape of the metrics, by a slow reader too.
	pageTimeout = 5 * time.Second
)

func main() {
	var o options
	flag.StringVar(&o.ifname, "i", "", "interface to answer on")
	flag.TextVar(&o.addr, "addr", netip.Prefix{}, "address of its own there, as 192.0.2.53/24; the kernel must not have it")
	flag.TextVar(&o.gateway, "gateway", netip.Addr{}, "router to everywhere else; without one it answers its neighbours")
	flag.StringVar(&o.hosts, "hosts", "/etc/hosts", "file of addresses and names")
	flag.StringVar(&o.socket, "socket", "", "control socket, for oobnet net and oobnet status; without it there is none")
	flag.StringVar(&o.group, "group", "", "group that may use it, beside this user and root")
	flag.StringVar(&o.metrics, "metrics", "", "address of the page for Prometheus, as 127.0.0.1:9153; without it there is none")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, &o); err != nil {
		log.Fatalf("appliance: %v", err)
	}
}

// run serves until ctx ends, or something fails.
func run(ctx context.Context, o *options) (err error) {
	zone, err := readHosts(o.hosts)
	if err != nil {
		return err
	}
	s, err := stack.New(nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	conn, err := attach(s, o)
	if err != nil {
		return err
	}
	failed := make(chan error, 3)
	if o.socket != "" {
		srv, err := control.ServeConfig(s, o.socket, &control.Config{Group: o.group})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, srv.Close()) }()
	}
	if o.metrics != "" {
		web := http.Server{Addr: o.metrics, Handler: page.Handler(s, nil), ReadTimeout: pageTimeout, WriteTimeout: pageTimeout}
		go func() { failed <- web.ListenAndServe() }()
		defer web.Close()
	}
	server := &dns.Server{PacketConn: conn, Handler: zone, NotifyStartedFunc: func() {
		log.Printf("answering on %v of %s, %d names", conn.LocalAddr(), o.ifname, len(zone))
	}}
	go func() { failed <- server.ActivateAndServe() }()
	select {
	case <-ctx.Done():
		return server.Shutdown()
	case err := <-failed:
		return err
	}
}

// attach makes the socket: link, device, port and route.
func attach(s *stack.Stack, o *options) (net.PacketConn, error) {
	if !o.addr.IsValid() || o.ifname == "" {
		return nil, errors.New("-i and -addr are needed: see -help")
	}
	l, err := afxdp.Open(o.ifname, nil)
	if err != nil {
		return nil, err
	}
	d, err := s.Attach(l, nil)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	p, err := d.EnablePort(&stack.PortConfig{Addrs: []netip.Prefix{o.addr}})
	if err != nil {
		return nil, err
	}
	if o.gateway.IsValid() {
		if err := s.AddRoute(netip.MustParsePrefix("0.0.0.0/0"), o.gateway, p); err != nil {
			return nil, fmt.Errorf("-gateway: %w", err)
		}
	}
	return udp.Listen(s, netip.AddrPortFrom(o.addr.Addr(), 53), &udp.Config{Queue: queueLength})
}
