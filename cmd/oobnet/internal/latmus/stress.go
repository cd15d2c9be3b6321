package latmus

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Stress is what disturbs a run, in the same process.
type Stress struct {
	// GC makes garbage, Memory walks through a block that no cache holds, Flood
	// sends to the near side what its in-band stage has to answer, or to a peer in
	// another process, whose answers the near side's in-band stage gets.
	GC, Memory, Flood bool
}

// ParseStress reads a list such as "gc,memory,flood", or "all".
func ParseStress(s string) (out Stress, err error) {
	for _, name := range strings.Split(s, ",") {
		switch name {
		case "":
		case "gc":
			out.GC = true
		case "memory":
			out.Memory = true
		case "flood":
			out.Flood = true
		case "all":
			out = Stress{true, true, true}
		default:
			return out, fmt.Errorf("--stress %q: want gc, memory, flood, with commas between them, or all", name)
		}
	}
	return out, nil
}

// String is the list that ParseStress reads.
func (s Stress) String() string {
	var names []string
	for _, n := range []struct {
		on   bool
		name string
	}{{s.GC, "gc"}, {s.Memory, "memory"}, {s.Flood, "flood"}} {
		if n.on {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, ",")
}

const (
	garbageRate = 200 << 20 // bytes a second
	garbageSize = 16 << 10
	stressTurn  = 5 * time.Millisecond // from one bout to the next
	// memoryBlock is larger than the caches of most machines.
	memoryBlock = 64 << 20
	memoryLine  = 64
	// floodPackets a turn and stage: 20 000 a second, which is far more than the
	// in-band stage has to do in quiet times.
	floodPackets = 100
)

// start disturbs until the returned function is called. Each of floods sends one
// packet to an in-band stage.
func (s Stress) start(floods []func()) (stop func()) {
	var ended atomic.Bool // set by who stops, read by the bouts
	var wg sync.WaitGroup
	every := func(on bool, bout func()) {
		if !on {
			return
		}
		wg.Go(func() {
			for !ended.Load() {
				bout()
				time.Sleep(stressTurn)
			}
		})
	}
	// What is kept for a while makes the collector work for it.
	kept := make([][]byte, 1024)
	i := 0
	every(s.GC, func() {
		for range garbageRate / garbageSize / int(time.Second/stressTurn) {
			kept[i%len(kept)] = make([]byte, garbageSize)
			i++
		}
	})
	var block []byte
	if s.Memory {
		block = make([]byte, memoryBlock)
	}
	every(s.Memory, func() {
		for at := 0; at < len(block); at += memoryLine {
			block[at]++
		}
	})
	every(len(floods) > 0, func() {
		for range floodPackets {
			for _, flood := range floods {
				flood()
			}
		}
	})
	return func() {
		ended.Store(true)
		wg.Wait()
	}
}
