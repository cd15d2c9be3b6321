//go:build !linux

package bench

import "context"

// packetReceive needs packet sockets.
func packetReceive(int) contender { return withoutPacketSockets() }

func packetSend(int) contender  { return withoutPacketSockets() }
func packetCycle(int) contender { return withoutPacketSockets() }

func withoutPacketSockets() contender {
	return contender{setUp: func(context.Context) (turn, func(), error) {
		return nil, nil, errSkip{"packet sockets need Linux"}
	}}
}
