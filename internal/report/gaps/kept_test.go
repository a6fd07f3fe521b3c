package gaps

import (
	"slices"
	"testing"
)

// What was not asked for the longest is let go of, and counted.
func TestKeptIsBounded(t *testing.T) {
	k := newKept[string, int](2)
	var dropped []string
	k.drop = func(key string, _ *int) { dropped = append(dropped, key) }
	*k.at("a") = 1
	*k.at("b") = 2
	*k.at("a") += 10 // asked for again, so that b is the oldest
	*k.at("c") = 3
	if k.find("b") != nil || *k.find("a") != 11 || k.dropped != 1 || !slices.Equal(dropped, []string{"b"}) {
		t.Errorf("kept %v, dropped %v", k.items, dropped)
	}
	k.delete("a")
	var left []string
	k.each(func(key string, _ *int) { left = append(left, key) })
	if !slices.Equal(left, []string{"c"}) || k.dropped != 1 {
		t.Errorf("left %v", left)
	}
}

// Where uses were let go of, nothing is said to be unused.
func TestNothingIsUnusedOfWhatWasForgotten(t *testing.T) {
	s := New(nil, nil, Defaults())
	s.grants.dropped, s.identities.dropped, s.credentials.dropped = 3, 2, 1
	r := &reporter{Scanner: s, found: map[sightingKey]*sighting{}}
	r.standingExcess()
	r.forgotten()
	if len(r.found) != 0 || len(r.unknowns) != 3 {
		t.Errorf("found %v, unknown %v", r.found, r.unknowns)
	}
}
