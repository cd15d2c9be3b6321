//go:build !race

package filter

// raceFactor: see rules_race_test.go.
const raceFactor = 1
