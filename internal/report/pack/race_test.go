//go:build race

package pack_test

// The race detector is slow, and the demo alone is enough for it.
const (
	raceDetector   = true
	randomRequests = 0
	leastDecisions = 500
)
