package policy

// AverMembers is a set of members of context.aver.
type AverMembers uint32

// The members of context.aver; docs/policies.md explains them.
const (
	AverNow AverMembers = 1 << iota
	AverAction
	AverOrigin
	AverChain
	AverHops
	AverActor
	AverActingFor
	AverDelegated
	AverPurpose
	AverToken
	AverTool
	AverPart
	AverSignals
	averEnd
	allAverMembers = averEnd - 1
)

var averMembers = map[string]AverMembers{
	"now": AverNow, "action": AverAction, "origin": AverOrigin, "chain": AverChain, "hops": AverHops, "actor": AverActor,
	"acting_for": AverActingFor, "delegated": AverDelegated, "purpose": AverPurpose, "token": AverToken, "tool": AverTool,
	"part": AverPart, "signals": AverSignals,
}

// ContextReads says which members of the context some evaluations can look for,
// and which of context.aver. The others need not be there: making them costs more
// than looking at those that are read. The zero value reads nothing.
type ContextReads struct {
	all     bool
	members map[string]bool
	aver    AverMembers
}

// AllOfContext reads everything.
var AllOfContext = ContextReads{all: true, aver: allAverMembers}

// contextReads is what the policies read.
func contextReads(rules []*Rule) ContextReads {
	out := ContextReads{members: map[string]bool{}}
	for _, r := range rules {
		n := r.reads.roots[contextVar]
		if n == nil {
			continue
		}
		if n.whole {
			return AllOfContext
		}
		for name, kid := range n.kids {
			out.members[name] = true
			if name != "aver" {
				continue
			}
			if kid.whole {
				out.aver = allAverMembers
			}
			for member := range kid.kids {
				out.aver |= averMembers[member]
			}
		}
	}
	return out
}

// Reads tells whether a member of the context, as it was sent, can be read.
func (c ContextReads) Reads(member string) bool { return c.all || c.members[member] }

// Aver is what of context.aver can be read.
func (c ContextReads) Aver() AverMembers { return c.aver }

// Has tells whether all the given members are in the set.
func (m AverMembers) Has(members AverMembers) bool { return m&members == members }
