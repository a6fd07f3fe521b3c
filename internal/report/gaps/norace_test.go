//go:build !race

package gaps_test

const raced = false
