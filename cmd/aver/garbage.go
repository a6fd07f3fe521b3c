package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// collectSeldom is for commands that decide, which make much garbage: collecting a quarter as often costs some tens of megabytes,
// and saves a twentieth of a server's processor time (measured: 13 % of it at 100, 5 % at 400) and a fifth of a replay's.
// Where much is kept, that would cost gigabytes: then it is collected sooner, and at the most as often as Go does by itself. Who sets GOGC has it otherwise.
func collectSeldom() {
	if os.Getenv("GOGC") != "" {
		return
	}
	debug.SetGCPercent(mostGarbage)
	adaptGarbage(mostGarbage)
}

const (
	mostGarbage  = 400       // percent of what is kept, which Go then lets the garbage grow to
	leastGarbage = 100       // Go's own
	someGarbage  = 512 << 20 // bytes that are always worth it
)

// garbagePercent is how much garbage there may be, in percent of the bytes that are kept.
func garbagePercent(kept uint64) int {
	return int(max(leastGarbage, min(mostGarbage, 100*someGarbage/max(kept, 1))))
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
