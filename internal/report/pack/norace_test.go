//go:build !race

package pack_test

const (
	raceDetector   = false
	randomRequests = 400
	leastDecisions = 1000
)
