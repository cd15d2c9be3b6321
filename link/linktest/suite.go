package linktest

import "testing"

// Suite runs the contract of package link against wires that open makes, a new
// one for each test. open fails or skips t where it cannot; what it opened
// beside the link it closes in t.Cleanup, which runs after the link is closed.
//
// A link whose device is attached by the suite to a [Peer] that is slow to come
// up should wait for it in open: the first frame has Wire.Timeout to arrive.
func Suite(t *testing.T, open func(t *testing.T) Wire) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, open func(t *testing.T) Wire)
	}{
		{"Identity", testIdentity},
		{"LayoutErrors", testLayoutErrors},
		{"AttachOnce", testAttachOnce},
		{"Memory", testMemory},
		{"ReceiveSizes", testReceiveSizes},
		{"SendSizes", testSendSizes},
		{"EmptyBatches", testEmptyBatches},
		{"ReceiveTags", testReceiveTags},
		{"SendTags", testSendTags},
		{"Receive10000", testReceiveMany},
		{"Send10000", testSendMany},
		{"SmallRings", testSmallRings},
		{"FillExhaustion", testFillExhaustion},
		{"SendInvalid", testSendInvalid},
		{"SendChecksum", testSendChecksum},
		{"SendVLAN", testSendVLAN},
		{"SendRefused", testSendRefused},
		{"ReceiveChecksum", testReceiveChecksum},
		{"Forward", testForward},
		{"WaitReceive", testWaitReceive},
		{"WaitSend", testWaitSend},
		{"WaitStop", testWaitStop},
		{"Concurrent", testConcurrent},
		{"NoAllocation", testNoAllocation},
		{"Resize", testResize},
		{"Carrier", testCarrier},
		{"StopDrain", testStopDrain},
		{"StopUnderLoad", testStopUnderLoad},
		{"Close", testClose},
		{"Reopen", testReopen},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open) })
	}
}
