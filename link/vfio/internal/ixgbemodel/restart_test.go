package ixgbemodel

import "testing"

// TestQueueRestarts stops a receive queue by itself, and has it begin anew as
// DPDK does: the head is written when the queue is up, and then the tail.
func TestQueueRestarts(t *testing.T) {
	r := newRig(t, Chip82599)
	r.start()
	for range 3 {
		r.Receive(datagram(30))
	}
	r.disable(rxBlock)
	for i := range uint64(ringSize) {
		r.place(rxRing, uint32(i), buffers+i*2048, 0)
	}
	r.enable(rxBlock)
	if head := r.Read32(rxBlock + qHead); head != 3 {
		t.Errorf("the head is %d before it is written, want 3", head)
	}
	r.Write32(rxBlock+qHead, 0)
	r.Write32(rxBlock+qTail, ringSize-1)
	r.Receive(datagram(30))
	if _, status := r.get(rxRing, 0); status&rxDD == 0 {
		t.Error("the first descriptor has no frame")
	}
	r.tolerated("4.6.7.1", "before its first tail")
	r.Write32(rxBlock+qHead, 0)
	r.violated("4.6.7.1", "head written")
}

// TestQueueEnds: a queue that is switched off still reads as on for a while, and may
// not be switched on again meanwhile.
func TestQueueEnds(t *testing.T) {
	for _, c := range []struct {
		block   uint32
		section string
	}{{rxBlock, "4.6.7.1.2"}, {txBlock, "4.6.8.1.1"}} {
		r := newStrict(t, ChipX540)
		r.start()
		r.Write32(c.block+qDCTL, 0)
		if r.Read32(c.block+qDCTL)&dctlEN == 0 {
			t.Error("the queue is off at once")
		}
		r.disable(c.block)
		r.enable(c.block)
		r.clean()
		r.Write32(c.block+qDCTL, 0)
		r.Read32(c.block + qDCTL)
		r.Write32(c.block+qDCTL, dctlEN)
		r.violated(c.section, "enabled again")
		r = newRig(t, ChipX540)
		r.start()
		r.Write32(c.block+qDCTL, 0)
		r.Write32(c.block+qDCTL, dctlEN)
		r.tolerated(c.section, "enabled again")
	}
}

// TestTailAfterReset: a driver that resets the device on one processor may still ring
// a doorbell on another; that means nothing. Of a queue that was never up it is an
// error, and of one that has a ring again and is not up.
func TestTailAfterReset(t *testing.T) {
	r := newRig(t, Chip82599)
	r.start()
	r.Write32(regCTRL, ctrlRST)
	r.Write32(txBlock+qTail, 3)
	if tail := r.Read32(txBlock + qTail); tail != 0 {
		t.Errorf("the tail is %d", tail)
	}
	r.tolerated("4.6.8.1", "after its queue was disabled")
	r.Write32(txBlock+qLEN, ringSize*descriptorSize)
	r.Write32(txBlock+qTail, 3)
	r.violated("4.6.8.1", "before ENABLE")
	never := newRig(t, Chip82599)
	never.Write32(txBlock+qTail, 3)
	never.violated("7.2.3.4", "beyond the ring")
}
