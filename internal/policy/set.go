package policy

import (
	"cmp"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/eval"
)

// A Set is the policies of all active bundles, compiled and indexed. It does
// not change and may be used concurrently. The zero value holds no policy and
// denies.
type Set struct {
	bundles []*Bundle
	rules   []*Rule // ordinary and gates, in the order of the set
	// The indexes hold ordinary rules and gates apart, since gates are only
	// asked once everything else allows.
	ordinary, gates index

	retained  ReadSet
	sensitive []Path
	context   ContextReads
	sieves    sieveCache
}

// NewSet compiles the policies of the given bundles, whose names must differ.
// Everywhere, policies are ordered by bundle name, file name and position.
func NewSet(bundles ...*Bundle) *Set {
	s := &Set{bundles: slices.Clone(bundles)}
	slices.SortStableFunc(s.bundles, func(a, b *Bundle) int { return strings.Compare(a.name, b.name) })
	for _, b := range s.bundles {
		s.rules = append(s.rules, b.rules...)
	}
	var ordinary, gates []*Rule
	for _, r := range s.rules {
		if r.Gate != nil {
			gates = append(gates, r)
		} else {
			ordinary = append(ordinary, r)
		}
	}
	s.ordinary, s.gates = newIndex(ordinary), newIndex(gates)
	s.context = contextReads(s.rules)
	var retained []Path
	for _, b := range s.bundles {
		retained = append(retained, b.meta.Retain...)
		s.sensitive = append(s.sensitive, b.meta.Sensitive...)
	}
	slices.Sort(s.sensitive)
	s.sensitive = slices.Compact(s.sensitive)
	if len(retained) > 0 {
		s.retained = ReadSet{}.With(retained...)
	}
	return s
}

// ContextReads tells what the policies of the set can read of the context.
func (s *Set) ContextReads() ContextReads { return s.context }

// Sensitive are the paths whose values the bundles call sensitive, sorted.
// Nobody may change the slice.
func (s *Set) Sensitive() []Path { return s.sensitive }

// Bundles are the bundles of the set, by name.
func (s *Set) Bundles() []*Bundle { return slices.Clone(s.bundles) }

// Rules are all policies of the set, ordinary ones and gates.
func (s *Set) Rules() []*Rule { return slices.Clone(s.rules) }

// Ordinary are the policies that are not gates.
func (s *Set) Ordinary() []*Rule { return slices.Clone(s.ordinary.rules) }

// GateRules are the policies that are gates.
func (s *Set) GateRules() []*Rule { return slices.Clone(s.gates.rules) }

// Rule finds a policy by its id.
func (s *Set) Rule(id string) (*Rule, bool) {
	for _, r := range s.rules {
		if r.ID == id {
			return r, true
		}
	}
	return nil, false
}

// A Result is what an evaluation found. All lists are in the order of the set.
type Result struct {
	// Decision is Cedar's: allow if a permit and no forbid holds.
	Decision types.Decision
	// Reasons are the determining policies: the forbids that hold, else the
	// permits that hold. The slice may be shared and must not be changed.
	Reasons []*Rule
	// Errors are the policies whose evaluation failed. Cedar passes over them.
	Errors []RuleError
	// Candidates are the policies that were evaluated: those whose action,
	// resource type and principal can match. All others can be neither reasons
	// nor errors. The slice is shared and must not be changed.
	Candidates []*Rule

	reads func() ReadSet
	group uint64 // of the candidates; 0: it is not remembered
}

// A RuleError says that the evaluation of a policy failed, and how.
type RuleError struct {
	Rule    *Rule
	Message string
}

// Reads is what the evaluation of the candidates can have read.
func (r Result) Reads() ReadSet {
	if r.reads == nil {
		return ReadSet{}
	}
	return r.reads()
}

func readsOfRules(rules []*Rule) ReadSet {
	sets := make([]ReadSet, len(rules))
	for i, r := range rules {
		sets[i] = r.reads
	}
	return ReadSet{}.Union(sets...)
}

// Authorize evaluates the policies that are not gates. Decision, reasons and
// errors are those of Cedar over the same policies.
func (s *Set) Authorize(entities types.EntityGetter, req types.Request) Result {
	return s.ordinary.authorize(entities, req)
}

// Gates evaluates the gates. Its reasons are those that hold the request back.
// Its decision means nothing, as there are only forbids.
func (s *Set) Gates(entities types.EntityGetter, req types.Request) Result {
	return s.gates.authorize(entities, req)
}

// All implements [cedar.PolicyIterator]: cedar-go evaluates the policies of the
// group in their order.
func (g *group) All() iter.Seq2[types.PolicyID, *cedar.Policy] { return g.seq }

func (g *group) walk(yield func(types.PolicyID, *cedar.Policy) bool) {
	for _, r := range g.rules {
		p := r.policy
		if g.found {
			p = r.inner
		}
		if !yield(types.PolicyID(r.ID), p) {
			return
		}
	}
}

var recorders = sync.Pool{New: func() any { return new(Recorder) }}

// authorize leaves the evaluation, and the rules by which permits, forbids and
// errors make a decision, to cedar-go.
//
// Which entities it asks for is the same each time, whatever the order of the
// maps that cedar-go walks over: see [Recorder].
func authorize(g *group, entities types.EntityGetter, req types.Request) Result {
	if len(g.rules) == 0 {
		return Result{reads: g.reads, group: g.id}
	}
	if g.climbs {
		r := recorders.Get().(*Recorder)
		r.Reset(entities)
		res := g.evaluate(r, req)
		r.Reset(nil)
		recorders.Put(r)
		return res
	}
	return g.evaluate(entities, req)
}

func (g *group) evaluate(entities types.EntityGetter, req types.Request) Result {
	rules := g.rules
	decision, diag := cedar.Authorize(g, entities, req)
	res := Result{Decision: decision, Candidates: rules, reads: g.reads, group: g.id}
	// Both lists of the diagnostic are in the order of the candidates.
	i := 0
	for _, reason := range diag.Reasons {
		for rules[i].ID != string(reason.PolicyID) {
			i++
		}
		i++
		if len(diag.Reasons) == 1 {
			res.Reasons = rules[i-1 : i : i]
		} else {
			res.Reasons = append(res.Reasons, rules[i-1])
		}
	}
	if len(diag.Errors) > 0 {
		res.Errors = make([]RuleError, 0, len(diag.Errors))
		i := 0
		for _, e := range diag.Errors {
			for rules[i].ID != string(e.PolicyID) {
				i++
			}
			r := rules[i]
			if r.unstable {
				e.Message = stableError(r, envOf(entities, req), e.Message)
			}
			res.Errors = append(res.Errors, RuleError{Rule: r, Message: e.Message})
			i++
		}
	}
	return res
}

func envOf(entities types.EntityGetter, req types.Request) eval.Env {
	return eval.Env{
		Entities:  entities,
		Principal: req.Principal,
		Action:    req.Action,
		Resource:  req.Resource,
		Context:   req.Context,
	}
}

// compareUIDs orders entity names by type, then id.
func compareUIDs(a, b types.EntityUID) int {
	if c := cmp.Compare(a.Type, b.Type); c != 0 {
		return c
	}
	return cmp.Compare(a.ID, b.ID)
}
