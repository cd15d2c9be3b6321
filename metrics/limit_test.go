//go:build !race

package metrics_test

import "time"

// scrapeLimit with a thousand sockets open, and without Config.Sockets.
const scrapeLimit = time.Millisecond
