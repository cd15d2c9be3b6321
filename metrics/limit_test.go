//go:build !race

package metrics_test

import "time"

// scrapeLimit for a thousand sockets.
const scrapeLimit = time.Millisecond
