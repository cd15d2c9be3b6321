package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/report"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// The goals of the scale suite: times the cost of one.
var (
	goalSockets = report.Goal(1.5)
	goalPeers   = report.Goal(2)
)

// scaleSuite compares ours with itself: what more sockets and peers cost.
func scaleSuite() []contest {
	return []contest{
		scaleContest("sockets", socketsContender, []int{1, 100, 10_000}, goalSockets),
		idleSockets(),
		scaleContest("peers", peersContender, []int{1, 1_000, 64_000}, goalPeers),
	}
}

// scaleContest makes a row for each number but the first, against the first;
// the last row has the goal.
func scaleContest(what string, side func(n int) contender, numbers []int, goal *float64) contest {
	c := contest{suite: "scale", name: what}
	for i, n := range numbers {
		c.contenders = append(c.contenders, side(n))
		if i == 0 {
			continue
		}
		row := rowSpec{
			name: fmt.Sprintf("%s_%d", what, n), unit: "ns", metric: "ns",
			ours: scaleName(what, n), peer: scaleName(what, numbers[0]),
		}
		if i == len(numbers)-1 {
			row.goal = goal
		}
		c.rows = append(c.rows, row)
	}
	return c
}

// idleSockets is the part of the cost of 10 000 sockets that comes from their
// being open: the traffic goes to one of them.
func idleSockets() contest {
	return contest{suite: "scale", name: "sockets_idle",
		contenders: []contender{idleContender(1), idleContender(10_000)},
		rows:       []rowSpec{{name: "sockets_10000_idle", unit: "ns", metric: "ns", ours: "sockets_10000", peer: "sockets_1"}},
	}
}

func scaleName(what string, n int) string { return fmt.Sprintf("%s_%d", what, n) }

// shuffled returns 0 to n-1 in an order that no prefetcher follows, the same
// in each run.
func shuffled(n int) []int { return rand.New(rand.NewPCG(uint64(n), 1)).Perm(n) }

// socketsContender receives 64 B datagrams to n sockets, each as often as the
// others, in random order.
func socketsContender(n int) contender { return openSockets(n, n) }

// idleContender has n sockets open, and receives on the first.
func idleContender(n int) contender { return openSockets(n, 1) }

// openSockets opens n sockets and spreads the traffic over the first used.
func openSockets(n, used int) contender {
	return contender{name: scaleName("sockets", n), setUp: func(context.Context) (turn, func(), error) {
		m, err := openMemStack(nil)
		if err != nil {
			return nil, nil, err
		}
		conns := make([]*udp.Conn, n)
		for i := range conns {
			if conns[i], err = udp.Listen(m.stack, netip.AddrPortFrom(ownAddr, firstPort+uint16(i)), nil); err != nil {
				m.close()
				return nil, nil, err
			}
		}
		return m.spread(conns[:used]).turn, m.close, nil
	}}
}

// spread is a path that receives a datagram for one socket after the other.
func (m *memStack) spread(conns []*udp.Conn) path {
	order := shuffled(len(conns))
	frame, b := receivedFrame(64), make([]byte, 2048)
	next, first := 0, 0
	var armed error
	return path{
		before: func() {
			first = next
			armed = m.refill(frame, func() uint16 {
				port := firstPort + uint16(order[next])
				if next++; next == len(order) {
					next = 0
				}
				return port
			})
		},
		run: func() error {
			if armed != nil {
				return armed
			}
			at := first
			return m.receive(func(int) *udp.Conn {
				c := conns[order[at]]
				if at++; at == len(order) {
					at = 0
				}
				return c
			}, b, 64)
		},
		after: nothingErr,
	}
}

// peersContender sends 64 B datagrams to n neighbours, each as often as the
// others, in random order.
func peersContender(n int) contender {
	return contender{name: scaleName("peers", n), setUp: func(context.Context) (turn, func(), error) {
		m, err := openMemStack(&stack.Config{FrontCacheSize: max(n, 1024)})
		if err != nil {
			return nil, nil, err
		}
		peers := make([]netip.Addr, n)
		for i, p := range shuffled(n) {
			peers[i] = neighbour(p)
		}
		p, err := m.sender(64, peers)
		if err != nil {
			m.close()
			return nil, nil, err
		}
		return p.turn, m.close, nil
	}}
}

// neighbour is host i of 198.19.0.0/16, the upper half of the benchmark's
// network.
func neighbour(i int) netip.Addr {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], 198<<24|19<<16|uint32(i+1))
	return netip.AddrFrom4(a)
}
