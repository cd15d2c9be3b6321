//go:build !linux

package bench

import "context"

// xdp needs the kernel's own machine.
func (s ruleShape) xdp(n int) contender {
	return contender{name: scaleName("rules", n), setUp: func(context.Context) (turn, func(), error) {
		return nil, nil, errSkip{"XDP programs need Linux"}
	}}
}
