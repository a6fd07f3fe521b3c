//go:build !race

package policy

const corpusShare = 1
