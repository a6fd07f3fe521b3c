package main

import "testing"

// Little is kept: 256 MB of garbage are worth it. More: four times as much, but not over 512 MB. Much: no more than as much again.
func TestGarbageIsBoundedByWhatIsKept(t *testing.T) {
	for _, c := range []struct {
		kept uint64
		want int
	}{{0, 6400}, {32 << 20, 800}, {64 << 20, 400}, {128 << 20, 400}, {256 << 20, 200}, {512 << 20, 100}, {8 << 30, 100}} {
		if got := garbagePercent(c.kept); got != c.want {
			t.Errorf("%d MB kept: %d percent, want %d", c.kept>>20, got, c.want)
		}
	}
}
