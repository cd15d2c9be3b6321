package control_test

import (
	"context"
	"fmt"
	"log"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/oobnet/oobnet/control"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/stack"
)

// An application that can be managed while it runs, and who manages it. The
// openers are the application's choice; "memory" is for this example.
func Example() {
	s, err := stack.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	dir, err := os.MkdirTemp("", "app")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "app.sock")
	server, err := control.ServeConfig(s, path, &control.Config{
		Openers: map[string]control.Opener{
			// "afxdp": func(name string) (link.Link, error) { return afxdp.Open(name, nil) },
			"memory": func(name string) (link.Link, error) {
				return loopback.New(&loopback.Config{Name: name})
			},
		},
	})
	if err != nil {
		fmt.Println(err) // not on Linux
		return
	}
	defer server.Close()

	client, err := control.Dial(path)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	port, err := client.EnablePort(context.Background(), control.EnableRequest{
		Interface: "memory:wire.42",
		Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s: %v, %d buffers of %d bytes\n", port.Name, port.Addresses, port.PoolSize, port.BufferSize)
	// Output: wire.42: [192.0.2.1/24], 2048 buffers of 4096 bytes
}
