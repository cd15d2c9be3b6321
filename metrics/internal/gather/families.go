package gather

// Kind of a family.
type Kind int

// Kinds.
const (
	Counter Kind = iota
	Gauge
	Histogram
)

// Family is one name with its labels.
type Family struct {
	// Number counts from 0, in the order of Families.All.
	Number     int
	Kind       Kind
	Name, Help string
	// Labels stand in the order in which values are given.
	Labels []string
}

// namespace of all names.
const namespace = "oobnet_"

// families are all that there are.
type families struct {
	info, up *Family

	rxPackets, rxBytes, delivered, copied, forwarded, partial *Family
	demoted, dropped                                          *Family

	txPackets, txBytes, txErrors     *Family
	txQueued, txDropped, txWait      *Family
	txLength, txLimit, txPeak        *Family
	txInBandNoBuffer, txAstray       *Family
	linkLost, linkWakeups            *Family
	poolSize, poolFree, poolEmpty    *Family
	rxSize, rxHeld, excess, memory   *Family
	bufferSize                       *Family
	filterPackets, filterRules       *Family
	step, stepLongest, stepOver      *Family
	stepRunning                      *Family
	portRXPackets, portRXBytes       *Family
	portTXPackets, portTXBytes       *Family
	open, received, lost, truncated  *Family
	inBand, errors, sentInBand, held *Family
	outgoing, timesLost              *Family
	socketReceived, socketLost       *Family
	socketHeld, socketQuota          *Family
	stageDemoted, stageLost          *Family
	stageDropped, stage, reassembly  *Family
	cacheEntries, cachePermanent     *Family
	cacheNeighbors, cacheCapacity    *Family
	cacheEvents, eventsLost, faults  *Family
}

// list makes them all.
func (f *families) list() (all []*Family) {
	add := func(to **Family, kind Kind, name, help string, labels ...string) {
		*to = &Family{len(all), kind, namespace + name, help, labels}
		all = append(all, *to)
	}
	counter := func(to **Family, name, help string, labels ...string) { add(to, Counter, name, help, labels...) }
	gauge := func(to **Family, name, help string, labels ...string) { add(to, Gauge, name, help, labels...) }
	const device, queue, reason, priority, port = "device", "queue", "reason", "priority", "port"

	gauge(&f.info, "device_info", "The driver behind a device, and how it moves frames. Always 1.", device, "driver", "mode")
	gauge(&f.up, "device_up", "Whether the device can send: 0 while its link is down or has failed.", device)

	counter(&f.rxPackets, "device_receive_packets_total", "Frames received.", device, queue)
	counter(&f.rxBytes, "device_receive_bytes_total", "Bytes of the frames received, without the check sequence.", device, queue)
	counter(&f.delivered, "device_receive_delivered_packets_total", "Frames delivered to sockets and other protocols, copies among them.", device, queue)
	counter(&f.copied, "device_receive_copied_packets_total", "Copies of frames made for raw sockets.", device, queue)
	counter(&f.forwarded, "device_receive_forwarded_packets_total", "Frames sent as they came, by order of the filter.", device, queue)
	counter(&f.partial, "device_receive_partial_checksum_packets_total", "Packets of a virtual peer that left the checksum to a device.", device, queue)
	counter(&f.demoted, "device_receive_demoted_packets_total", "Frames handed to the in-band stage, by reason.", device, reason)
	counter(&f.dropped, "device_receive_dropped_packets_total", "Frames dropped, by reason.", device, reason)

	counter(&f.txPackets, "device_transmit_packets_total", "Frames that the link took.", device, queue)
	counter(&f.txBytes, "device_transmit_bytes_total", "Bytes of the frames that the link took.", device, queue)
	counter(&f.txErrors, "device_transmit_errors_total", "Doorbells that failed.", device, queue)
	counter(&f.txQueued, "device_transmit_queued_packets_total", "Frames that had to wait, by priority; in_band is the in-band stage's.", device, priority)
	counter(&f.txDropped, "device_transmit_dropped_packets_total", "Frames that found the queue full, or that a discipline dropped, by priority.", device, priority)
	gauge(&f.txWait, "device_transmit_longest_wait_seconds", "The longest that a frame of a priority has waited.", device, priority)
	gauge(&f.txLength, "device_transmit_queue_packets", "Frames of sockets that wait.", device, queue)
	gauge(&f.txLimit, "device_transmit_queue_limit_packets", "How many may.", device, queue)
	gauge(&f.txPeak, "device_transmit_queue_peak_packets", "The most that ever did.", device, queue)
	counter(&f.txInBandNoBuffer, "device_transmit_in_band_no_buffer_packets_total", "Frames of the in-band stage that found no buffer.", device)
	counter(&f.txAstray, "device_transmit_astray_packets_total", "Frames that a discipline returned without having them.", device, queue)

	counter(&f.linkLost, "device_link_lost_packets_total", "Frames that the link lost, by cause.", device, queue, "cause")
	counter(&f.linkWakeups, "device_link_wakeups_total", "Doorbells and waits that went to the kernel.", device, queue)

	gauge(&f.poolSize, "device_pool_buffers", "Buffers of the TX pool.", device)
	gauge(&f.poolFree, "device_pool_free_buffers", "Those of them that are free.", device)
	counter(&f.poolEmpty, "device_pool_empty_total", "Times that a sender found no buffer.", device)
	gauge(&f.rxSize, "device_receive_buffers", "Receive buffers of all queues.", device)
	gauge(&f.rxHeld, "device_receive_held_buffers", "Those of them that sockets and applications hold.", device)
	gauge(&f.excess, "device_excess_buffers", "Buffers that are to go, and are still out.", device)
	gauge(&f.memory, "device_memory_bytes", "Memory behind the buffers.", device)
	gauge(&f.bufferSize, "device_buffer_size_bytes", "Size of a buffer.", device)

	counter(&f.filterPackets, "device_filter_packets_total", "Frames by what the device's filter decided.", device, "verdict")
	counter(&f.filterRules, "device_filter_rule_hits_total", "Frames that a rule decided on, by its place from 0; the last is the default's.", device, "rule")

	add(&f.step, Histogram, "thread_step_duration_seconds", "Durations of the steps of a device's threads.", device, "thread", "step")
	gauge(&f.stepLongest, "thread_step_longest_seconds", "The longest step.", device, "thread", "step")
	counter(&f.stepOver, "thread_step_over_total", "Steps that took longer than the watchdog's threshold.", device, "thread", "step")
	gauge(&f.stepRunning, "thread_step_running_seconds", "For how long the step has been under way; 0: it is not.", device, "thread", "step")

	counter(&f.portRXPackets, "port_receive_packets_total", "Frames that came in for a port, whatever became of them.", port)
	counter(&f.portRXBytes, "port_receive_bytes_total", "Bytes of the frames that came in for a port.", port)
	counter(&f.portTXPackets, "port_transmit_packets_total", "Frames that sockets sent on a port.", port)
	counter(&f.portTXBytes, "port_transmit_bytes_total", "Bytes of the frames that sockets sent on a port.", port)

	f.sockets(counter, gauge)
	f.stack(counter, gauge)
	return all
}

// define makes a family.
type define = func(to **Family, name, help string, labels ...string)

// sockets are the families of protocols, and of each socket.
func (f *families) sockets(counter, gauge define) {
	const protocol = "protocol"
	gauge(&f.open, "protocol_sockets", "Open sockets.", protocol)
	counter(&f.received, "protocol_received_packets_total", "Datagrams and frames that sockets got.", protocol)
	counter(&f.inBand, "protocol_received_in_band_packets_total", "Those of them that came from the in-band stage.", protocol)
	counter(&f.lost, "protocol_lost_packets_total", "What sockets were to get and did not, by cause.", protocol, "cause")
	counter(&f.truncated, "protocol_truncated_packets_total", "What did not fit the reader's slice.", protocol)
	counter(&f.errors, "protocol_errors_total", "ICMP errors about what was sent.", protocol)
	counter(&f.sentInBand, "protocol_demoted_packets_total", "Datagrams that were sent in-band.", protocol)
	counter(&f.outgoing, "protocol_outgoing_packets_total", "Frames of the device that analysers were shown.", protocol)
	counter(&f.timesLost, "protocol_transmit_times_lost_total", "Times of sends that found no room.", protocol)
	gauge(&f.held, "protocol_held_packets", "What waits for readers, or is leased.", protocol)

	labels := []string{protocol, "local", "remote"}
	counter(&f.socketReceived, "socket_received_packets_total", "Datagrams or frames that a socket got.", labels...)
	counter(&f.socketLost, "socket_lost_packets_total", "What it was to get and did not: its quota was used up, or there was no buffer.", labels...)
	gauge(&f.socketHeld, "socket_held_packets", "What waits for its readers, or is leased.", labels...)
	gauge(&f.socketQuota, "socket_quota_packets", "How many it may hold.", labels...)
}

// stack are the families of what belongs to no device.
func (f *families) stack(counter, gauge define) {
	counter(&f.stageDemoted, "in_band_demoted_packets_total", "Datagrams of sockets that were sent in-band.")
	counter(&f.stageLost, "in_band_lost_packets_total", "Datagrams of sockets that were to be sent in-band and were not, by cause.", "cause")
	counter(&f.stageDropped, "in_band_dropped_packets_total", "Datagrams that the in-band stage handed to a protocol, and that reached no socket, by reason.", "reason")
	counter(&f.stage, "in_band_events_total", "The in-band stage's own counters.", "event")
	gauge(&f.reassembly, "in_band_reassembly_memory_bytes", "What incomplete datagrams occupy.")
	gauge(&f.cacheEntries, "front_cache_entries", "Destinations that are known.")
	gauge(&f.cachePermanent, "front_cache_permanent_entries", "Those of them that are permanent.")
	gauge(&f.cacheNeighbors, "front_cache_neighbors", "Neighbours that they stand on.")
	gauge(&f.cacheCapacity, "front_cache_capacity_entries", "How many there may be.")
	counter(&f.cacheEvents, "front_cache_events_total", "What became of entries.", "event")
	counter(&f.eventsLost, "neighbor_events_lost_total", "Neighbour events that found no room: the front cache was checked whole.")
	counter(&f.faults, "faults_total", "Faults reported to the stack's OnError.")
}
