package policy

import (
	"slices"

	"github.com/cedar-policy/cedar-go/types"
)

// prune keeps of rec, the attributes of the given variable (principal, action,
// resource or context), what can be read. It lists the paths of all that it
// left out, sorted.
//
// An evaluation over what is kept gives the same decision, reasons and errors.
// If principal and resource are the same entity, prune with same.
func (rs ReadSet) prune(rec types.Record, variable string) (kept types.Record, omitted []Path) {
	n := &readNode{}
	n.merge(rs.roots[variable])
	if variable != contextVar {
		n.merge(rs.behind)
	}
	kept = n.prune(rec, []string{variable}, &omitted)
	slices.Sort(omitted)
	return kept, omitted
}

func (n *readNode) prune(rec types.Record, at []string, omitted *[]Path) types.Record {
	if n.whole {
		return rec
	}
	m := make(types.RecordMap, len(n.kids))
	for name, value := range rec.All() {
		here := append(slices.Clone(at), string(name))
		kid := n.kids[string(name)]
		if kid == nil {
			*omitted = append(*omitted, joinPath(here))
			continue
		}
		// Anything but a record is kept as it is: an entity reference that
		// is followed, or a value of another type than the policy expects.
		if sub, ok := value.(types.Record); ok {
			value = kid.prune(sub, here, omitted)
		}
		m[name] = value
	}
	return types.NewRecord(m)
}

// same reads of each of the variables what it reads of any of them. It is for
// requests in which one entity plays several parts.
func (rs ReadSet) same(vars ...string) ReadSet {
	out := rs.Union()
	all := &readNode{}
	for _, v := range vars {
		all.merge(out.roots[v])
	}
	for _, v := range vars {
		out.root(v).merge(all)
	}
	return out
}
