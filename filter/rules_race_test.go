//go:build race

package filter

// raceFactor is how much slower the race detector may make what is timed.
const raceFactor = 20
