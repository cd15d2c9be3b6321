package latmus

import (
	"strconv"
	"strings"
)

// inRanges tells whether a CPU is in a list as the kernel writes them: "1-3,5".
func inRanges(cpu int, list string) bool {
	for _, part := range strings.Split(strings.TrimSpace(list), ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, err1 := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		if err1 == nil && err2 == nil && cpu >= from && cpu <= to {
			return true
		}
	}
	return false
}
