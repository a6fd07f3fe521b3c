package policy

import (
	"maps"
	"slices"
	"testing"
)

// What policies may read of context.aver, by its type, is what is made for them: a member that is missing here would
// never be there, whatever policies say.
func TestEveryMemberOfAverCanBeRead(t *testing.T) {
	var typed []string
	for name := range averType("user") {
		typed = append(typed, string(name))
	}
	slices.Sort(typed)
	if known := slices.Sorted(maps.Keys(averMembers)); !slices.Equal(typed, known) {
		t.Errorf("the type has %q, what can be read is %q", typed, known)
	}
	var all AverMembers
	for name, m := range averMembers {
		if all&m != 0 {
			t.Errorf("%s shares its place with another", name)
		}
		all |= m
	}
	if all != allAverMembers {
		t.Errorf("the members are %b, all of them %b", all, allAverMembers)
	}
}
