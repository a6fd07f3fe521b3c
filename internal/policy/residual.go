package policy

import (
	"iter"
	"slices"

	"github.com/cedar-policy/cedar-go"
	publicast "github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/eval"
)

// Unknown is what of a request isn't known yet when a [Residual] is made: the id
// of one party, whose type is known, and perhaps the context.
type Unknown struct {
	Principal bool // else it is the resource whose id isn't known
	Context   bool // the context isn't known either
}

// A Residual is what remains of policies when all of a request but one party
// is known: each was evaluated as far as that goes, once, and those that can't
// match any more are gone. It answers only whether a request might be allowed.
// Not safe for concurrent use.
//
// It errs on one side. [Residual.Possible] may let a request through that the
// policies deny, but never the other way round, so whoever wants to be sure
// evaluates in full what it lets through. The reason is that Cedar's partial
// evaluation drops a policy of which one condition is false, while in the full
// evaluation an earlier condition may fail, which is a denial for Aver.
type Residual struct {
	unknown Unknown
	rules   []residual
	// By the unknown party in their scope: places in rules.
	byScope level[[]int32]
	climbs  bool // some scope has a group in it
	seen    map[types.EntityUID]bool
	hits    []int32
	chosen  []*cedar.Policy
}

type residual struct {
	policy *cedar.Policy
	permit bool
}

// Residual evaluates the ordinary policies as far as it can. What is unknown
// means nothing in req.
func (s *Set) Residual(entities types.EntityGetter, req types.Request, unknown Unknown) *Residual {
	rules := s.ordinary.rules
	if !unknown.Principal {
		// The index asks for nothing of the resource but its type.
		rules = s.ordinary.find(entities, req).rules
	}
	return newResidual(rules, entities, req, unknown)
}

// GateResidual evaluates as far as it can those gates that blocking names. Its
// [Residual.Holds] tells whether one of them might hold a request back.
func (s *Set) GateResidual(entities types.EntityGetter, req types.Request, unknown Unknown, blocking func(*Gate) bool) *Residual {
	var rules []*Rule
	for _, r := range s.gates.rules {
		if blocking(r.Gate) {
			rules = append(rules, r)
		}
	}
	return newResidual(rules, entities, req, unknown)
}

// Residual evaluates the permit as far as it can, as [Set.Residual] does.
func (p *Permit) Residual(entities types.EntityGetter, req types.Request, unknown Unknown) *Residual {
	return newResidual([]*Rule{p.rule}, entities, req, unknown)
}

func newResidual(rules []*Rule, entities types.EntityGetter, req types.Request, unknown Unknown) *Residual {
	res := &Residual{unknown: unknown, seen: map[types.EntityUID]bool{}}
	res.byScope.is = map[types.EntityType][]int32{}
	res.byScope.exact = map[types.EntityUID][]int32{}
	res.byScope.group = map[types.EntityUID][]int32{}
	env := eval.Env{
		Entities:  noting{entities, res.seen},
		Principal: req.Principal, Action: req.Action, Resource: req.Resource, Context: req.Context,
	}
	typ := req.Resource.Type
	if unknown.Principal {
		typ = req.Principal.Type
		env.Principal = eval.Variable("principal")
	} else {
		env.Resource = eval.Variable("resource")
	}
	if unknown.Context {
		env.Context = eval.Variable("context")
	}
	for _, r := range rules {
		partial, keep := eval.PartialPolicy(env, spelledOut(r.ast))
		if !keep {
			continue
		}
		var scope ast.IsScopeNode = partial.Resource
		if unknown.Principal {
			scope = partial.Principal
		}
		if res.place(scope, typ, int32(len(res.rules))) {
			res.rules = append(res.rules, residual{
				cedar.NewPolicyFromAST((*publicast.Policy)(partial)), r.Effect == EffectPermit,
			})
		}
	}
	return res
}

// spelledOut writes each "x is T in y" of a policy as "x is T && x in y". They
// mean the same, but cedar-go's partial evaluation fails on a y that its full
// evaluation doesn't look at, where x is no T.
func spelledOut(p *ast.Policy) *ast.Policy {
	isIn := func(n ast.IsNode) bool { _, ok := n.(ast.NodeTypeIsIn); return ok }
	if !anyNode(p, isIn) {
		return p
	}
	out := *p
	out.Conditions = make([]ast.ConditionType, len(p.Conditions))
	for i, c := range p.Conditions {
		out.Conditions[i] = ast.ConditionType{Condition: c.Condition, Body: spellOut(c.Body)}
	}
	return &out
}

func spellOut(n ast.IsNode) ast.IsNode {
	kids := slices.Clone(children(n))
	for i := range kids {
		kids[i] = spellOut(kids[i])
	}
	switch v := n.(type) {
	case ast.NodeValue, ast.NodeTypeVariable:
		return n
	case ast.NodeTypeIsIn:
		return ast.NodeTypeAnd{BinaryNode: ast.BinaryNode{
			Left:  ast.NodeTypeIs{Left: kids[0], EntityType: v.EntityType},
			Right: ast.NodeTypeIn{BinaryNode: ast.BinaryNode{Left: kids[0], Right: kids[1]}},
		}}
	case ast.NodeTypeAnd:
		v.Left, v.Right = kids[0], kids[1]
		return v
	case ast.NodeTypeOr:
		v.Left, v.Right = kids[0], kids[1]
		return v
	case ast.NodeTypeIfThenElse:
		v.If, v.Then, v.Else = kids[0], kids[1], kids[2]
		return v
	case ast.NodeTypeRecord:
		v.Elements = slices.Clone(v.Elements)
		for i := range v.Elements {
			v.Elements[i].Value = kids[i]
		}
		return v
	}
	return withChildren(n, kids)
}

// place puts a policy where its scope says; false if no entity of the type can
// match it.
func (res *Residual) place(scope ast.IsScopeNode, typ types.EntityType, i int32) bool {
	l := &res.byScope
	group := func(uid types.EntityUID) {
		res.climbs = true
		l.group[uid] = append(l.group[uid], i)
	}
	switch s := scope.(type) {
	case ast.ScopeTypeEq:
		if s.Entity.Type != typ {
			return false
		}
		l.exact[s.Entity] = append(l.exact[s.Entity], i)
	case ast.ScopeTypeIs:
		if s.Type != typ {
			return false
		}
		l.is[s.Type] = append(l.is[s.Type], i)
	case ast.ScopeTypeIn:
		group(s.Entity)
	case ast.ScopeTypeIsIn:
		if s.Type != typ {
			return false
		}
		group(s.Entity)
	default:
		l.any = append(l.any, i)
	}
	return true
}

// Seen tells whether the evaluation that made the Residual asked for an entity.
// Of such a one it used what was known then: when what the caller says of it
// matters too, the Residual has nothing to say about it.
func (res *Residual) Seen(uid types.EntityUID) bool { return res.seen[uid] }

// Possible tells whether the policies might allow a request, which must be the
// one that the Residual was made for, completed.
func (res *Residual) Possible(entities types.EntityGetter, req types.Request) bool {
	permits := false
	for _, i := range res.find(entities, req) {
		permits = permits || res.rules[i].permit
	}
	if !permits {
		return false
	}
	decision, diagnostic := res.evaluate(entities, req)
	return decision == types.Allow && len(diagnostic.Errors) == 0
}

// Holds tells whether one of the policies matches a request or fails on it.
func (res *Residual) Holds(entities types.EntityGetter, req types.Request) bool {
	if len(res.find(entities, req)) == 0 {
		return false
	}
	_, diagnostic := res.evaluate(entities, req)
	return len(diagnostic.Reasons)+len(diagnostic.Errors) > 0
}

// find gives the places of the policies whose scope matches, in order.
func (res *Residual) find(entities types.EntityGetter, req types.Request) []int32 {
	party := req.Resource
	if res.unknown.Principal {
		party = req.Principal
	}
	l := &res.byScope
	hits := append(res.hits[:0], l.any...)
	hits = append(hits, l.is[party.Type]...)
	hits = append(hits, l.exact[party]...)
	if res.climbs {
		var buf [8]types.EntityUID
		for _, uid := range ancestors(append(buf[:0], party), entities) {
			hits = append(hits, l.group[uid]...)
		}
	}
	slices.Sort(hits)
	res.hits = hits
	return hits
}

// evaluate evaluates the policies that were found last.
func (res *Residual) evaluate(entities types.EntityGetter, req types.Request) (types.Decision, types.Diagnostic) {
	res.chosen = res.chosen[:0]
	for _, i := range res.hits {
		res.chosen = append(res.chosen, res.rules[i].policy)
	}
	return cedar.Authorize(unnamed(res.chosen), entities, req)
}

// unnamed are policies of which nobody asks which one it was.
type unnamed []*cedar.Policy

// All implements [cedar.PolicyIterator].
func (u unnamed) All() iter.Seq2[types.PolicyID, *cedar.Policy] {
	return func(yield func(types.PolicyID, *cedar.Policy) bool) {
		for _, p := range u {
			if !yield("", p) {
				return
			}
		}
	}
}

// noting remembers what was asked for.
type noting struct {
	entities types.EntityGetter
	seen     map[types.EntityUID]bool
}

// Get implements [types.EntityGetter].
func (n noting) Get(uid types.EntityUID) (types.Entity, bool) {
	n.seen[uid] = true
	return n.entities.Get(uid)
}
