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
	r.Write32(rxBlock+qDCTL, r.Read32(rxBlock+qDCTL)&^dctlEN)
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
