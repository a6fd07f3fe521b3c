package policy

import (
	"maps"
	"slices"
)

// A Sieve keeps of a JSON object the members that a [ReadSet] reads at one or
// more places. It is what makes a record minimal.
type Sieve struct{ node *readNode }

// Sieve merges what is read at the given places, each a variable or a path
// below one ("resource", "context.aver.part"). With behind, what is read behind
// entity references is kept as well: say so for objects that are the attributes
// of an entity.
func (rs ReadSet) Sieve(behind bool, places ...[]string) Sieve {
	n := &readNode{}
	for _, place := range places {
		at := rs.roots[place[0]]
		for _, name := range place[1:] {
			if at == nil || at.whole {
				break
			}
			at = at.kids[name]
		}
		n.merge(at)
	}
	if behind {
		n.merge(rs.behind)
	}
	return Sieve{n}
}

// Prune returns the members of object that are read, without those that are
// null, and the sorted paths of those that are not, which begin with prefix.
// The object itself is left as it is.
func (s Sieve) Prune(object map[string]any, prefix ...string) (kept map[string]any, omitted []Path) {
	kept = s.node.pruneJSON(object, prefix, &omitted)
	slices.Sort(omitted)
	return kept, omitted
}

func (n *readNode) pruneJSON(object map[string]any, at []string, omitted *[]Path) map[string]any {
	if n.whole {
		return object
	}
	kept := make(map[string]any, len(n.kids))
	for _, name := range slices.Sorted(maps.Keys(object)) {
		value := object[name]
		if value == nil {
			continue // to Cedar, null is absent
		}
		here := append(slices.Clone(at), name)
		kid := n.kids[name]
		if kid == nil {
			*omitted = append(*omitted, joinPath(here))
			continue
		}
		if sub, ok := value.(map[string]any); ok && !isEscape(sub) {
			value = kid.pruneJSON(sub, here, omitted)
		}
		kept[name] = value
	}
	return kept
}

// isEscape tells Cedar's JSON escapes, which are values and not records.
func isEscape(object map[string]any) bool {
	_, entity := object["__entity"]
	_, extension := object["__extn"]
	return (entity || extension) && len(object) == 1
}

// With keeps the named members as well, each with all below it.
func (s Sieve) With(names ...string) Sieve {
	n := s.node.clone()
	for _, name := range names {
		n.mark([]string{name}, true)
	}
	return Sieve{n}
}
