// Package control makes a program that embeds the stack manageable while it
// runs: devices and ports, addresses and routes, neighbours, filters, diversion,
// counters. An application calls
//
//	srv, err := control.Serve(s, "/run/app.sock")
//
// and whoever may connect to that Unix socket manages it: by `oobnet net`, by
// [Client], or by anything that speaks HTTP:
//
//	curl --unix-socket /run/app.sock http://app/v1/devices
//
// # The protocol
//
// HTTP/1.1 with JSON. GET /v1/openapi.json describes all of it, and is made from
// the same table that the server runs by (api.go). A request with a key that is
// not in the description is refused. Errors are an [Error] in JSON, with the
// name of the errno that the call has in Go.
//
// # Who may
//
// The process's own user, root, and the members of [Config].Group. The socket's
// mode says so, and the kernel's word about the peer (SO_PEERCRED, SO_PEERGROUPS)
// is looked at for each connection as well: a socket that was made accessible
// by accident serves nobody else. Whoever may connect has the rights of the
// process in what the protocol offers: in particular, eBPF objects are opened by
// the server, as the server's user. [Config].Objects confines them to a folder.
//
// # What a request may cost
//
// Bodies, headers, connections and durations are bounded. Changes are made one
// at a time; a request that fails changes nothing, but where its error says
// otherwise. Nothing here runs on the packet path.
//
// Links are opened by [Config].Openers, which the application passes in: this
// package pulls in no driver.
package control
