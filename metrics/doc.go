// Package metrics shows a stack to Prometheus.
//
//	registry.MustRegister(metrics.New(s, nil))    // beside a program's own metrics
//	http.Handle("/metrics", page.Handler(s, nil)) // or on a page of its own: package page
//
// Names begin with oobnet_, counters end in _total, units are packets, bytes and
// seconds. What belongs together has one name and a label:
//
//	oobnet_device_*     device, and queue, reason, priority, cause or verdict
//	oobnet_thread_*     device, thread, step: histograms of the watchdog
//	oobnet_port_*       port
//	oobnet_protocol_*   protocol: the sums over sockets, closed ones too
//	oobnet_socket_*     each socket, with Config.Sockets
//	oobnet_in_band_*, oobnet_front_cache_*, oobnet_faults_total
//
// A scrape takes a snapshot (package stats) and stops nothing: the fast stage
// does not notice. With a thousand sockets open it takes at most a millisecond, a
// limit that a test keeps, as long as it tells of their sums alone: 0.35 ms by the
// library of Prometheus and 0.17 ms by package page, on two cores of a virtual
// machine. Config.Sockets lifts the limit: with each of the thousand, 7 ms and
// 1.6 ms there. Rates are for Prometheus to make. What was received and did not
// come out is always the sum of its reasons:
//
//	rate(oobnet_device_receive_packets_total) =
//	    delivered - copied + forwarded + demoted by reason + dropped by reason
//
// The step histograms are there while the device's watchdog is on
// (stack.DeviceConfig.Watchdog, or Device.SetWatchdog).
//
// Package page is for programs that do without the library of Prometheus. The file
// examples/appliance/dashboard.json is a dashboard for Grafana.
package metrics
