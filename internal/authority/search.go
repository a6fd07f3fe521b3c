package authority

import (
	"maps"
	"slices"
	"strings"

	"github.com/aver-authz/aver"
)

// RefsOfType lists the registered identities and entities of a type whose id
// comes after the given one, by id. All ids come after "".
func (s *State) RefsOfType(typ, after string) []aver.Ref {
	var out []aver.Ref
	add := func(r aver.Ref) {
		if r.Type == typ && r.ID > after {
			out = append(out, r)
		}
	}
	s.identities.each(func(r aver.Ref, _ *Identity) { add(r) })
	s.entities.each(func(r aver.Ref, _ *Entity) { add(r) })
	slices.SortFunc(out, func(a, b aver.Ref) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// Types lists the types of what is registered, in order.
func (s *State) Types() []string {
	seen := map[string]bool{}
	s.identities.each(func(r aver.Ref, _ *Identity) { seen[r.Type] = true })
	s.entities.each(func(r aver.Ref, _ *Entity) { seen[r.Type] = true })
	return slices.Sorted(maps.Keys(seen))
}
