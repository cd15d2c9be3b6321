//go:build race

package metrics_test

import "time"

// scrapeLimit under the race detector, which slows everything down tenfold or
// more: there it only shows that there is an end.
const scrapeLimit = time.Second
