//go:build race

package policy

// The race detector makes the corpus take a minute, and has nothing to find in
// it: with it, every twentieth file has to do.
const corpusShare = 20
