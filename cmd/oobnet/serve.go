package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/serve"
)

func serveCommand() *cobra.Command {
	var config string
	var check bool
	c := &cobra.Command{
		Use:   "serve [--config FILE]",
		Short: "Run a stack that is managed through its control socket",
		Long: `serve runs a stack in a process of its own, which "oobnet net" and any HTTP client
manage through a Unix socket, until it is interrupted. Without a config it has
no ports until somebody enables one. A config is YAML:

  socket: /run/oobnet.sock        # its owner, root and the group may connect
  group: netops
  objects: /etc/oobnet/filters    # eBPF objects from this folder only
  devices:
    eth1:                         # or 0000:02:00.0, for a NIC that VFIO has
      pool_size: 4096             # buffers; buffer_size, rx_buffers, max_pool_size,
      poll: adaptive              # max_rx_buffers, queues, mode, zero_copy, queueing,
      priority: 50                # rx_cpus, tx_cpus, lock_memory, prefault, watchdog
      filter: {object: verdict.o} # or {rules: "accept vlan 42"}
  ports:
    eth1: {addresses: [192.0.2.1/24]}
    eth1.42: {addresses: [198.51.100.1/24], mtu: 1400, enable: false}
  routes:
    - {to: 203.0.113.0/24, via: 192.0.2.254, port: eth1}
  neighbors:
    - {address: 192.0.2.9, mac: "02:00:00:00:00:09"}
  neighbor_table: neighbors.txt   # lines of ADDR MAC [port]
  vlans: 42-45,100                # as oobnet net -N has it
  services: {echo: 7, discard: 9, latmus: 59059}

A port with enable: false is not enabled at the start; what the config has for it
waits for "oobnet net -ei eth1.42". A device that is opened again has its filter
again, and a port its routes and neighbors. Paths are seen from the config's folder,
that of a filter's object from objects, if there is such a folder. mode and
zero_copy are AF_XDP's, max_pool_size and max_rx_buffers VFIO's. --check reads the
files that the config names, too; whether interfaces are there, the start sees.

No service answers what comes from a service's port, of these or below 1024: of
two that answer each other one forged datagram would make a flood.`,
		Example: `  sudo oobnet serve --config /etc/oobnet.yaml
  curl --unix-socket /run/oobnet.sock http://oobnet/v1/ports`,
		Args: cobra.NoArgs,
	}
	c.Flags().StringVarP(&config, "config", "c", "", "config file")
	c.Flags().BoolVar(&check, "check", false, "check the config and do nothing")
	socket := socketFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := serve.Parse("no config", nil)
		if config != "" {
			cfg, err = serve.Load(config)
		}
		if err != nil {
			return err
		}
		if check && config == "" {
			return errors.New("--check: there is nothing to check: add --config")
		}
		if check {
			_, err := fmt.Fprintf(c.OutOrStdout(), "%s: good\n", config)
			return err
		}
		if cfg.Socket == "" || c.Flags().Changed("socket") {
			cfg.Socket = *socket
		}
		return serve.Run(c.Context(), cfg, c.OutOrStdout())
	}
	return c
}
