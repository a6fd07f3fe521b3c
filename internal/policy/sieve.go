package policy

import (
	"slices"

	"github.com/aver-authz/aver"
)

// A Sieve keeps of a JSON object the members that some [ReadSet] reads at one
// of several places. It is what makes a record minimal. It looks into the read
// sets as they are, since merging them for each decision would cost more than
// the decision.
type Sieve struct {
	nodes []*readNode
	names []string // kept whole, whatever is read
}

// NewSieve makes a sieve of what the sets read at the given places, each a
// variable or a path below one ("resource", "context" "aver" "part"). With
// behind, what is read behind entity references is kept as well: say so for
// objects that are the attributes of an entity.
func NewSieve(sets []ReadSet, behind bool, places ...[]string) Sieve {
	s := Sieve{nodes: make([]*readNode, 0, 2*len(sets))}
	for i, set := range sets {
		if set.roots == nil || slices.ContainsFunc(sets[:i], func(other ReadSet) bool { return other.behind == set.behind }) {
			continue // empty, or seen already
		}
		for _, place := range places {
			at := set.roots[place[0]]
			for _, name := range place[1:] {
				if at == nil || at.whole {
					break
				}
				at = at.kids[name]
			}
			s.add(at)
		}
		if behind {
			s.add(set.behind)
		}
	}
	return s
}

func (s *Sieve) add(n *readNode) {
	if n != nil && (n.whole || len(n.kids) > 0) {
		s.nodes = append(s.nodes, n)
	}
}

// With keeps the named members as well, each with all below it.
func (s Sieve) With(names ...string) Sieve {
	s.names = names
	return s
}

// Append appends the canonical JSON of what the sieve keeps of object, with
// some members replaced (nil: none), and tells whether that is
// anything. Members that are null are left out, since to Cedar null is absent.
// The paths of what else it leaves out, which begin with those in at, are
// appended to omitted.
func (s Sieve) Append(dst []byte, object, instead map[string]any, omitted *[]Path, at ...string) (out []byte, some bool) {
	start := len(dst)
	dst = append(dst, '{')
	whole := slices.ContainsFunc(s.nodes, func(n *readNode) bool { return n.whole })
	for _, name := range aver.MemberNames(object) {
		value := object[name]
		if other, ok := instead[name]; ok {
			value = other
		}
		undo := len(dst)
		if dst[undo-1] != '{' {
			dst = append(dst, ',')
		}
		dst = append(aver.AppendString(dst, name), ':')
		_, replaced := instead[name]
		switch sub, read := s.below(name); {
		case whole || replaced:
			dst = aver.AppendCanonical(dst, value)
		case value == nil:
			dst = dst[:undo]
		case slices.Contains(s.names, name):
			dst = aver.AppendCanonical(dst, value)
		case !read:
			dst = dst[:undo]
			*omitted = append(*omitted, joinPath(append(slices.Clone(at), name)))
		default:
			if inner, ok := value.(map[string]any); ok && !isEscape(inner) {
				dst, _ = sub.Append(dst, inner, nil, omitted, append(slices.Clone(at), name)...)
			} else {
				dst = aver.AppendCanonical(dst, value)
			}
		}
	}
	return append(dst, '}'), len(dst) > start+1
}

// below is the sieve for the member of that name, and whether it is read.
func (s Sieve) below(name string) (sub Sieve, read bool) {
	for _, n := range s.nodes {
		if kid := n.kids[name]; kid != nil {
			read = true
			sub.add(kid)
		}
	}
	return sub, read
}

// isEscape tells Cedar's JSON escapes, which are values and not records.
func isEscape(object map[string]any) bool {
	_, entity := object["__entity"]
	_, extension := object["__extn"]
	return (entity || extension) && len(object) == 1
}

// Keeps tells whether the sieve keeps a member of that name, or some of it.
func (s Sieve) Keeps(name string) bool {
	_, read := s.below(name)
	return read || slices.Contains(s.names, name) || slices.ContainsFunc(s.nodes, func(n *readNode) bool { return n.whole })
}
