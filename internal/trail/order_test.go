package trail

import (
	"slices"
	"testing"
)

// Within one millisecond, an event of the authority log stands behind what did not know of it, and before what did.
func TestOrderWithinAMillisecond(t *testing.T) {
	want := []Step{
		{Time: 1, Log: decisionLog, Index: 9, known: 8},
		{Time: 2, Log: decisionLog, Index: 3, known: 5},
		{Time: 2, Log: authorityLog, Index: 5},
		{Time: 2, Log: decisionLog, Index: 1, known: 6},
		{Time: 2, Log: decisionLog, Index: 4, known: 6},
		{Time: 2, Log: authorityLog, Index: 6},
		{Time: 3, Log: authorityLog, Index: 7},
	}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, Step.compare)
	if !slices.EqualFunc(got, want, func(a, b Step) bool { return a.Log == b.Log && a.Index == b.Index }) {
		t.Errorf("%+v", got)
	}
}
