package sock

import "sync/atomic"

// heldBits of the books: more than any socket can hold.
const (
	heldBits = 24
	heldMask = 1<<heldBits - 1
	gotOne   = 1<<heldBits + 1
)

// Books count what a socket holds, waiting or leased, and what it ever got, in
// one word: RX threads add to both, readers take off what is held.
type Books struct {
	word atomic.Uint64 // RX threads and readers both write it
}

// Hold counts n more as held and got, or as many as stay within the limit, and
// returns how many.
//
//oobnet:hot
func (b *Books) Hold(n, limit int) int {
	held := int(b.word.Add(uint64(n)*gotOne) & heldMask)
	over := held - limit
	if over <= 0 {
		return n
	}
	over = min(over, n)
	b.word.Add(-uint64(over) * gotOne)
	return n - over
}

// Undo takes back one that was counted, and was not got after all.
func (b *Books) Undo() { b.word.Add(^uint64(gotOne - 1)) }

// Release counts one as no longer held.
//
//oobnet:hot
func (b *Books) Release() { b.word.Add(^uint64(0)) }

// Held is how many are held.
func (b *Books) Held() int { return int(b.word.Load() & heldMask) }

// Got is how many there ever were.
func (b *Books) Got() uint64 { return b.word.Load() >> heldBits }
