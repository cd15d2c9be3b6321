package check

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio"
)

// openClose does so some times: each begins with a reset of the NIC, and ends with
// one.
func openClose(_ context.Context, open Opener) (string, error) {
	const turns = 5
	var mac link.MAC
	var longest time.Duration
	for i := range turns {
		begin := time.Now()
		n, err := open(&vfio.Config{})
		if err != nil {
			return "", err
		}
		if i == 0 {
			mac = n.MAC()
		}
		now := n.MAC()
		if err := n.Close(); err != nil {
			return "", err
		}
		longest = max(longest, time.Since(begin))
		if now != mac || mac == (link.MAC{}) || mac[0]&1 != 0 {
			return "", fmt.Errorf("the NIC's address is %x, and was %x", now, mac)
		}
	}
	return fmt.Sprintf("address %x, %d times alike, at most %v", mac, turns, longest.Round(time.Millisecond)), nil
}

// wireUp waits for the wire, which needs a cable.
func wireUp(_ context.Context, open Opener) (string, error) {
	r, err := newRigOnWire(open, vfio.Config{Queues: 1})
	if err != nil {
		return "", err
	}
	begin := time.Now()
	if !r.awaitUp() {
		if err := r.end(nil); err != nil {
			return "", err
		}
		return "", skipped(fmt.Sprintf("no link in %v: is there a cable, and somebody at its other end?", wireWait))
	}
	took := time.Since(begin)
	speed, full := r.Speed()
	return fmt.Sprintf("%d Mbit/s, full duplex %v, after %v", speed, full, took.Round(10*time.Millisecond)), r.end(nil)
}

// frames sends frames of many lengths, and compares them and the NIC's counters.
func frames(_ context.Context, open Opener) (string, error) {
	r, err := newRig(open, vfio.Config{Queues: 1})
	if err != nil {
		return "", err
	}
	before := r.Statistics()
	n, size := 0, 0
	for length := shortest; length <= longest; length += 13 {
		f := pattern(r.MAC(), length, byte(n))
		a, err := r.echo(0, f, link.Meta{})
		if err == nil && !bytes.Equal(a.bytes, f) {
			err = fmt.Errorf("a frame of %d bytes came back as one of %d, and not the same", len(f), len(a.bytes))
		}
		if err != nil {
			return "", r.end(err)
		}
		n, size = n+1, size+length+4
	}
	after := r.Statistics()
	for _, c := range []struct {
		name string
		got  uint64
		want int
	}{
		{"frames sent", after.TXPackets - before.TXPackets, n}, {"frames received", after.RXPackets - before.RXPackets, n},
		{"bytes sent", after.TXBytes - before.TXBytes, size}, {"bytes received", after.RXBytes - before.RXBytes, size},
		{"errors and losses", after.RXErrors + after.RXMissed + after.TXErrors - before.RXErrors - before.RXMissed - before.TXErrors, 0},
	} {
		if c.got != uint64(c.want) {
			return "", r.end(fmt.Errorf("the NIC counts %d %s, want %d", c.got, c.name, c.want))
		}
	}
	return fmt.Sprintf("%d frames of %d to %d bytes came back whole; the NIC's counters agree", n, shortest, longest), r.end(nil)
}

// queues sends on each queue that there is.
func queues(_ context.Context, open Opener) (string, error) {
	r, err := newRig(open, vfio.Config{})
	if err != nil {
		return "", err
	}
	const each = 20
	for q := range r.Queues() {
		for i := range each {
			f := pattern(r.MAC(), 200, byte(q*each+i))
			if a, err := r.echo(q, f, link.Meta{}); err != nil || !bytes.Equal(a.bytes, f) {
				return "", r.end(errors.Join(err, fmt.Errorf("queue %d: frame %d is not what was sent", q, i)))
			}
		}
	}
	rx, tx := r.Depths()
	return fmt.Sprintf("%d queues of %d and %d descriptors, %d frames on each", r.Queues(), rx, tx, each), r.end(nil)
}

// checksums has the NIC make one, and judge good ones and bad ones.
func checksums(_ context.Context, open Opener) (string, error) {
	r, err := newRig(open, vfio.Config{Queues: 1})
	if err != nil {
		return "", err
	}
	if err := wants(r.NIC, vfio.RXChecksum|vfio.TXChecksum, "checksum offload"); err != nil {
		return "", r.endSkipped(err)
	}
	for payload := 18; payload < 1400; payload += 61 {
		a, err := r.echo(0, datagram(r.MAC(), 1000, payload, true), link.Meta{Flags: link.FlagChecksumOffload})
		switch {
		case err != nil:
		case !wire.UDPChecksumOK(udpOf(a.bytes), srcIP, dstIP):
			err = fmt.Errorf("a datagram of %d bytes left with a wrong checksum", payload)
		case a.Flags&(link.FlagChecksumGood|link.FlagChecksumBad) != link.FlagChecksumGood:
			err = fmt.Errorf("a right checksum was not called good: flags %#x", a.Flags)
		}
		if err != nil {
			return "", r.end(err)
		}
		f := datagram(r.MAC(), 1000, payload, false)
		f[len(f)-1] ^= 0x40
		if a, err = r.echo(0, f, link.Meta{}); err == nil && a.Flags&(link.FlagChecksumGood|link.FlagChecksumBad) != link.FlagChecksumBad {
			err = fmt.Errorf("a wrong checksum was not called bad: flags %#x", a.Flags)
		}
		if err != nil {
			return "", r.end(err)
		}
	}
	return "made, found good and found bad by the NIC", r.end(nil)
}

// tags has the NIC put VLAN tags in and take them out.
func tags(_ context.Context, open Opener) (string, error) {
	r, err := newRig(open, vfio.Config{Queues: 1})
	if err != nil {
		return "", err
	}
	if err := wants(r.NIC, vfio.VLANStrip|vfio.VLANInsert, "VLAN offload"); err != nil {
		return "", r.endSkipped(err)
	}
	if err := r.end(nil); err != nil {
		return "", err
	}
	if r, err = newRig(open, vfio.Config{Queues: 1, With: vfio.VLANStrip | vfio.VLANInsert}); err != nil {
		return "", err
	}
	// Frames of VLAN 0 carry a priority, and pass all filters.
	const tci = 5 << 13
	f := pattern(r.MAC(), 100, 1)
	a, err := r.echo(0, f, link.Meta{Flags: link.FlagVLANStripped, VLAN: tci})
	switch {
	case err != nil:
	case a.Flags&link.FlagVLANStripped == 0 || a.VLAN != tci:
		err = fmt.Errorf("the tag came back as %#x, flags %#x, want %#x", a.VLAN, a.Flags, tci)
	case !bytes.Equal(a.bytes, f):
		err = errors.New("the frame is not the same without its tag")
	}
	return "put in and taken out by the NIC", r.end(err)
}

// spread sends flows, and looks at which queue they come.
func spread(_ context.Context, open Opener) (string, error) {
	r, err := newRig(open, vfio.Config{})
	if err != nil {
		return "", err
	}
	if err := wants(r.NIC, vfio.RSS, "RSS"); err != nil {
		return "", r.endSkipped(err)
	}
	c, err := r.RSS()
	if err != nil {
		return "", r.end(err)
	}
	const flows = 128
	used := map[int]bool{}
	for port := range uint16(flows) {
		a, err := r.echo(0, datagram(r.MAC(), 1000+port, 64, false), link.Meta{})
		if want := int(c.Table[toeplitz(&c.Key, 1000+port)&127]); err == nil && a.queue != want {
			err = fmt.Errorf("the flow from port %d came on queue %d, want %d by the hash", 1000+port, a.queue, want)
		}
		if err != nil {
			return "", r.end(err)
		}
		used[a.queue] = true
	}
	return fmt.Sprintf("%d flows on %d queues, each where the hash says", flows, len(used)), r.end(nil)
}

// filter sends what is not for this NIC.
func filter(_ context.Context, open Opener) (string, error) {
	r, err := newRig(open, vfio.Config{Queues: 1})
	if err != nil {
		return "", err
	}
	foreign := r.MAC()
	foreign[5] ^= 1
	for _, to := range []struct {
		name string
		mac  link.MAC
	}{{"another station", foreign}, {"a group", link.MAC{1, 0, 0x5e, 1, 2, 3}}} {
		f := pattern(to.mac, 100, 0)
		if err := r.quiet(f); err != nil {
			return "", r.end(fmt.Errorf("a frame to %s: %w", to.name, err))
		}
		if err := r.SetPromiscuous(true); err != nil {
			return "", r.end(err)
		}
		if _, err := r.echo(0, f, link.Meta{}); err != nil {
			return "", r.end(fmt.Errorf("promiscuous, a frame to %s: %w", to.name, err))
		}
		if err := r.SetPromiscuous(false); err != nil {
			return "", r.end(err)
		}
	}
	if _, err := r.echo(0, pattern(wire.BroadcastMAC, 100, 0), link.Meta{}); err != nil {
		return "", r.end(fmt.Errorf("broadcast: %w", err))
	}
	return "own address and broadcast alone, all when promiscuous", r.end(nil)
}
