package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// collectSeldom is for commands that decide, which make much garbage. To collect seldom saves a tenth of a server's processor time, and a
// fifth of a replay's; and of the answers that wait longest at 2,000 requests/s most were waiting for a collection (measured; p99 is a quarter less).
// Where much is kept that would cost gigabytes: then it is collected sooner, and at the most as often as Go does by itself. Who sets GOGC
// has it otherwise.
func collectSeldom() {
	if os.Getenv("GOGC") != "" {
		return
	}
	percent := garbagePercent(0)
	debug.SetGCPercent(percent)
	adaptGarbage(percent)
}

// Of garbage, in bytes.
const (
	someGarbage = 256 << 20 // always worth it
	mostGarbage = 512 << 20 // unless as much is kept
)

// garbagePercent is how much garbage there may be, in percent of the bytes that are kept.
func garbagePercent(kept uint64) int {
	kept = max(kept, 4<<20) // less than that Go takes for as much
	return int(100 * max(someGarbage, min(4*kept, mostGarbage), kept) / kept)
}

// adaptGarbage sets the percentage anew after each collection.
func adaptGarbage(percent int) {
	runtime.AddCleanup(new([16]byte), func(was int) {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(live)
		now := garbagePercent(live[0].Value.Uint64())
		if 8*max(now-was, was-now) > was { // each change stops the world for a moment
			debug.SetGCPercent(now)
		} else {
			now = was
		}
		adaptGarbage(now)
	}, percent)
}
