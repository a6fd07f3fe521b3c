package policy

import (
	"encoding/binary"
	"slices"
	"sync"

	"github.com/aver-authz/aver"
)

// RequestSieves keep of a request what evaluations can have read of it.
type RequestSieves struct{ Subject, Resource, Action, Context Sieve }

// Where read sets say what is read of each part of a request. An entity that is
// both principal and resource is read through either.
var (
	ofPrincipal = [][]string{{"principal"}}
	ofResource  = [][]string{{"resource"}, {"context", "aver", "part"}}
	ofEither    = [][]string{{"principal"}, {"resource"}, {"context", "aver", "part"}}
	ofAction    = [][]string{{"action"}}
	ofContext   = [][]string{{"context"}}
)

func newRequestSieves(sets []ReadSet, same bool) RequestSieves {
	subject, resource := ofPrincipal, ofResource
	if same {
		subject, resource = ofEither[:2], ofEither
	}
	return RequestSieves{
		Subject: NewSieve(sets, true, subject...), Resource: NewSieve(sets, true, resource...),
		Action: NewSieve(sets, true, ofAction...), Context: NewSieve(sets, false, ofContext...),
	}
}

// Sieves makes the sieves for what was read: by evaluations of the set (of which
// there are few combinations, so that they are remembered), and by others. What
// the set retains is kept as well. With same, subject and resource may be the
// same entity.
func (s *Set) Sieves(results []Result, others []ReadSet, same bool) RequestSieves {
	out := s.sieves.get(results, same, func() RequestSieves {
		sets := make([]ReadSet, 0, len(results)+1)
		for _, r := range results {
			sets = append(sets, r.Reads())
		}
		return newRequestSieves(append(sets, s.retained), same).merged()
	})
	if len(others) == 0 {
		return out
	}
	more := newRequestSieves(others, same)
	return RequestSieves{
		out.Subject.and(more.Subject), out.Resource.and(more.Resource), out.Action.and(more.Action), out.Context.and(more.Context),
	}
}

func (s RequestSieves) merged() RequestSieves {
	return RequestSieves{s.Subject.merged(), s.Resource.merged(), s.Action.merged(), s.Context.merged()}
}

// merged is a sieve that keeps the same, with one tree to look into.
func (s Sieve) merged() Sieve {
	if len(s.nodes) < 2 {
		return s
	}
	all := &readNode{}
	for _, n := range s.nodes {
		all.merge(n)
	}
	return Sieve{nodes: []*readNode{all}, names: s.names}
}

func (s Sieve) and(o Sieve) Sieve {
	if len(o.nodes) == 0 {
		return s
	}
	return Sieve{nodes: append(slices.Clip(s.nodes), o.nodes...), names: s.names}
}

// sieveCache remembers sieves by the groups of policies they are made for.
type sieveCache struct {
	mu sync.RWMutex
	of map[string]RequestSieves
}

func (c *sieveCache) get(results []Result, same bool, fresh func() RequestSieves) RequestSieves {
	// The parts and parties of a request meet the same few groups again and again,
	// in any order: each counts once.
	var few [16]uint64
	groups := few[:0]
	for _, r := range results {
		if r.group == 0 {
			return fresh()
		}
		if !slices.Contains(groups, r.group) {
			groups = append(groups, r.group)
		}
	}
	slices.Sort(groups)
	var buf [1 + 8*len(few)]byte
	key := append(buf[:0], 0)
	if same {
		key[0] = 1
	}
	for _, g := range groups {
		key = binary.NativeEndian.AppendUint64(key, g)
	}
	c.mu.RLock()
	found, ok := c.of[string(key)]
	c.mu.RUnlock()
	if ok {
		return found
	}
	made := fresh()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = map[string]RequestSieves{}
	}
	if len(c.of) < maxGroups {
		c.of[string(key)] = made
	}
	return made
}

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
	var s Sieve
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

// Append appends the canonical JSON of object to full, and to kept that of what
// the sieve keeps, with other canonical JSON instead of some members (nil: none);
// it tells whether that is anything. Members that are null are not kept, since to
// Cedar null is absent. The paths of what else is not, which begin with the
// variable, are appended to omitted.
func (s Sieve) Append(full, kept []byte, object map[string]any, instead map[string][]byte, omitted *[]string, variable string) (f, k []byte, some bool) {
	var room [64]byte
	return s.append(full, kept, object, instead, omitted, append(room[:0], variable...))
}

// append is Append for an object at a path.
func (s Sieve) append(full, kept []byte, object map[string]any, instead map[string][]byte, omitted *[]string, path []byte) (f, k []byte, some bool) {
	full, kept = append(full, '{'), append(kept, '{')
	begin := len(kept)
	whole := slices.ContainsFunc(s.nodes, func(n *readNode) bool { return n.whole })
	var few [16]string
	for i, name := range aver.AppendMemberNames(few[:0], object) {
		if i > 0 {
			full = append(full, ',')
		}
		member := len(full)
		full = append(aver.AppendString(full, name), ':')
		colon := len(full)

		value := object[name]
		other, replaced := instead[name]
		var inner map[string]any // if only some of the value is read
		switch {
		case whole, replaced:
		case value == nil:
			full = append(full, "null"...)
			continue
		case slices.Contains(s.names, name):
		case !s.reads(name):
			full = aver.AppendCanonical(full, value)
			*omitted = append(*omitted, string(appendElement(path, name)))
			continue
		default:
			if inner, _ = value.(map[string]any); isEscape(inner) {
				inner = nil
			}
		}
		if len(kept) > begin {
			kept = append(kept, ',')
		}
		if inner != nil {
			kept = append(kept, full[member:]...)
			full, kept, _ = s.below(name).append(full, kept, inner, nil, omitted, appendElement(path, name))
			continue
		}
		full = aver.AppendCanonical(full, value)
		if replaced {
			kept = append(append(kept, full[member:colon]...), other...)
		} else {
			kept = append(kept, full[member:]...)
		}
	}
	return append(full, '}'), append(kept, '}'), len(kept) > begin
}

// reads tells whether the member of that name, or some of it, is read.
func (s Sieve) reads(name string) bool {
	for _, n := range s.nodes {
		if n.kids[name] != nil {
			return true
		}
	}
	return false
}

// below is the sieve for the member of that name.
func (s Sieve) below(name string) (sub Sieve) {
	for _, n := range s.nodes {
		sub.add(n.kids[name])
	}
	return sub
}

// isEscape tells Cedar's JSON escapes, which are values and not records.
func isEscape(object map[string]any) bool {
	if len(object) != 1 {
		return false
	}
	_, entity := object["__entity"]
	_, extension := object["__extn"]
	return entity || extension
}

// Keeps tells whether the sieve keeps a member of that name, or some of it.
func (s Sieve) Keeps(name string) bool {
	return s.reads(name) || slices.Contains(s.names, name) || slices.ContainsFunc(s.nodes, func(n *readNode) bool { return n.whole })
}
