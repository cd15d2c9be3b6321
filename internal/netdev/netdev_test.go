package netdev

import "testing"

func TestNames(t *testing.T) {
	for want, got := range map[string]string{
		"none":                   XDPFeatures(0).String(),
		"basic, redirect, rx-sg": XDPFeatures(0x23).String(),
		"timestamp, vlan-tag":    (RXTimestamp | RXVLANTag).String(),
		"tx-timestamp, tx-launch-time-fifo, bit 40": (XSKTXTimestamp | XSKLaunchTime | 1<<40).String(),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
