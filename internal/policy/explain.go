package policy

import (
	"cmp"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/eval"
)

// A State is what became of a clause, or of a policy as a whole.
type State string

// The states. A clause holds if it lets its policy match; for an unless, that
// is if its condition is false.
const (
	Held       State = "held"
	Failed     State = "failed"
	Errored    State = "errored"
	NotReached State = "not_reached" // an earlier clause had settled it
)

// An Explanation says why a policy matched a request, or did not.
type Explanation struct {
	Rule    *Rule    `json:"-"`
	Policy  string   `json:"policy"` // the policy's id
	State   State    `json:"state"`  // held if the policy matched; never not_reached
	Error   string   `json:"error,omitempty"`
	Clauses []Clause `json:"clauses,omitempty"` // all of which have to hold
}

// A Clause is one thing that a policy asks for.
type Clause struct {
	Kind  string `json:"kind"` // principal, action, resource, when or unless
	Text  string `json:"text"` // Cedar text of the clause
	State State  `json:"state"`
	// Alone is what the clause is by itself, even if the evaluation did not
	// reach it: held, failed or errored.
	Alone State  `json:"alone"`
	Error string `json:"error,omitempty"`
	Seen  []Seen `json:"seen,omitempty"` // the values that the clause looks at
	// Change is what would turn the clause: of a permit, one that does not
	// hold; of a forbid, one that does. Words without a capital or a full
	// stop, such as "resource.amount below 10000 (was 48200)".
	Change string `json:"change,omitempty"`
	// Alternatives are the parts of an "or": the clause holds if all clauses
	// of one alternative do.
	Alternatives [][]Clause `json:"alternatives,omitempty"`

	presence string // the path, if the clause only asks whether it is there
}

// Seen is a value that a clause looks at.
type Seen struct {
	Path   string `json:"path"`            // as in resource.amount
	Value  string `json:"value,omitempty"` // Cedar text
	Absent bool   `json:"absent,omitempty"`
}

// Explain evaluates a policy clause by clause, also past the clause at which
// the evaluation stops. It is for readers, not for the path of a decision.
func Explain(r *Rule, entities types.EntityGetter, req types.Request) Explanation {
	if entities == nil {
		entities = types.EntityMap(nil)
	}
	x := explainer{env: envOf(entities, req), effect: r.Effect}
	e := Explanation{Rule: r, Policy: r.ID}
	e.Clauses, e.State = x.all(requirements(r.ast))
	if e.State == Errored {
		e.Error = firstError(e.Clauses)
	}
	return e
}

func firstError(clauses []Clause) string {
	for _, c := range clauses {
		if c.State != Errored {
			continue
		}
		if c.Error != "" {
			return c.Error
		}
		for _, alt := range c.Alternatives {
			if msg := firstError(alt); msg != "" {
				return msg
			}
		}
	}
	return ""
}

// Failing counts the clauses that do not hold by themselves.
func (e Explanation) Failing() int {
	n := 0
	for _, c := range e.Clauses {
		if c.Alone != Held {
			n++
		}
	}
	return n
}

// Changes is what would turn the policy: for a permit that did not match, all
// of the changes together would make it match; for a forbid that did, any one
// of them would stop it.
func (e Explanation) Changes() []string {
	var out []string
	for i, c := range e.Clauses {
		if c.Change == "" || c.presence != "" && asksForMore(c.presence, e.Clauses[i+1:]) {
			continue
		}
		if !slices.Contains(out, c.Change) {
			out = append(out, c.Change)
		}
	}
	return out
}

// asksForMore tells whether a later clause looks at the value that is not
// there, so that its own change says all.
func asksForMore(path string, later []Clause) bool {
	return slices.ContainsFunc(later, func(c Clause) bool {
		return c.Change != "" && slices.ContainsFunc(c.Seen, func(s Seen) bool { return s.Path == path && s.Absent })
	})
}

// NearMisses explains the permits that are about the action and the type of
// resource of a request, but did not match. Those with the fewest clauses that
// fail come first, else in the order of the set.
func (s *Set) NearMisses(entities types.EntityGetter, req types.Request) []Explanation {
	if entities == nil {
		entities = types.EntityMap(nil)
	}
	env := envOf(entities, req)
	var out []Explanation
	for _, r := range s.ordinary.rules {
		if r.Effect != EffectPermit || !concerns(r.ast, env, req) {
			continue
		}
		if e := Explain(r, entities, req); e.State != Held {
			out = append(out, e)
		}
	}
	slices.SortStableFunc(out, func(a, b Explanation) int { return cmp.Compare(a.Failing(), b.Failing()) })
	return out
}

// concerns tells whether a policy's scope admits the action and the type of
// resource.
func concerns(p *ast.Policy, env eval.Env, req types.Request) bool {
	switch s := p.Resource.(type) {
	case ast.ScopeTypeEq:
		if s.Entity.Type != req.Resource.Type {
			return false
		}
	case ast.ScopeTypeIs:
		if s.Type != req.Resource.Type {
			return false
		}
	case ast.ScopeTypeIsIn:
		if s.Type != req.Resource.Type {
			return false
		}
	}
	n := scopeExpression(actionVar, p.Action)
	if n == nil {
		return true
	}
	ok, err := evaluateBool(n, env)
	return err == nil && ok
}

// A requirement is what a policy asks for, as a tree: a single expression that
// has to be true or false, or alternatives, each of which is a list.
type requirement struct {
	kind   string
	node   ast.IsNode
	want   bool
	either [][]requirement
}

// requirements are the clauses of a policy in the order of their evaluation.
func requirements(p *ast.Policy) []requirement {
	var out []requirement
	for _, s := range []struct {
		variable string
		scope    ast.IsScopeNode
	}{{principalVar, p.Principal}, {actionVar, p.Action}, {resourceVar, p.Resource}} {
		if n := scopeExpression(s.variable, s.scope); n != nil {
			out = append(out, requirement{kind: s.variable, node: n, want: true})
		}
	}
	for _, c := range p.Conditions {
		if c.Condition == ast.ConditionWhen {
			out = append(out, split("when", c.Body, true)...)
		} else {
			out = append(out, split("unless", c.Body, false)...)
		}
	}
	return out
}

// split takes an expression apart at && and ||, so that what has to be true (or
// false, if not want) becomes a list of requirements.
func split(kind string, n ast.IsNode, want bool) []requirement {
	var left, right ast.IsNode
	and := false
	switch v := n.(type) {
	case ast.NodeTypeAnd:
		left, right, and = v.Left, v.Right, true
	case ast.NodeTypeOr:
		left, right = v.Left, v.Right
	case ast.NodeTypeNot:
		switch v.Arg.(type) {
		case ast.NodeTypeAnd, ast.NodeTypeOr, ast.NodeTypeNot:
			return split(kind, v.Arg, !want)
		}
	}
	switch {
	case left == nil:
		return []requirement{{kind: kind, node: n, want: want}}
	case and == want:
		return append(split(kind, left, want), split(kind, right, want)...)
	}
	r := requirement{kind: kind, node: n, want: want}
	for _, side := range []ast.IsNode{left, right} {
		parts := split(kind, side, want)
		if len(parts) == 1 && parts[0].either != nil {
			r.either = append(r.either, parts[0].either...) // a || b || c
		} else {
			r.either = append(r.either, parts)
		}
	}
	return []requirement{r}
}

// scopeExpression writes a scope as an expression, nil if it admits all.
func scopeExpression(variable string, scope ast.IsScopeNode) ast.IsNode {
	v := ast.NodeTypeVariable{Name: types.String(variable)}
	value := func(uid types.EntityUID) ast.IsNode { return ast.NodeValue{Value: uid} }
	switch s := scope.(type) {
	case ast.ScopeTypeEq:
		return ast.NodeTypeEquals{BinaryNode: ast.BinaryNode{Left: v, Right: value(s.Entity)}}
	case ast.ScopeTypeIn:
		return ast.NodeTypeIn{BinaryNode: ast.BinaryNode{Left: v, Right: value(s.Entity)}}
	case ast.ScopeTypeInSet:
		set := ast.NodeTypeSet{}
		for _, uid := range s.Entities {
			set.Elements = append(set.Elements, value(uid))
		}
		return ast.NodeTypeIn{BinaryNode: ast.BinaryNode{Left: v, Right: set}}
	case ast.ScopeTypeIs:
		return ast.NodeTypeIs{Left: v, EntityType: s.Type}
	case ast.ScopeTypeIsIn:
		return ast.NodeTypeIsIn{NodeTypeIs: ast.NodeTypeIs{Left: v, EntityType: s.Type}, Entity: value(s.Entity)}
	}
	return nil
}

type explainer struct {
	env    eval.Env
	effect Effect
}

// all explains requirements which must all be met, and says whether they are.
func (x explainer) all(rs []requirement) ([]Clause, State) {
	out := make([]Clause, 0, len(rs))
	state := Held
	for _, r := range rs {
		c := x.one(r)
		if state != Held {
			c = notReached(c)
		} else {
			state = c.State
		}
		out = append(out, c)
	}
	return out, state
}

func (x explainer) one(r requirement) Clause {
	c := Clause{Kind: r.kind, Text: clauseText(r)}
	if r.either != nil {
		c.State = Failed
		var changes []string
		for _, alt := range r.either {
			clauses, state := x.all(alt)
			if c.State != Failed {
				for i := range clauses {
					clauses[i] = notReached(clauses[i])
				}
			} else {
				c.State = state
			}
			c.Alternatives = append(c.Alternatives, clauses)
			changes = append(changes, x.changeOf(clauses))
		}
		c.Alone = c.State
		if x.turns(c.Alone) {
			c.Change = joinChanges(changes, x.effect == EffectPermit)
		}
		return c
	}
	ok, err := evaluateBool(r.node, x.env)
	switch {
	case err != nil:
		c.State, c.Error = Errored, err.Error()
	case ok == r.want:
		c.State = Held
	default:
		c.State = Failed
	}
	c.Alone = c.State
	c.Seen = x.seen(r.node)
	if has, ok := r.node.(ast.NodeTypeHas); ok && r.want && isChain(has.Arg) {
		c.presence = c.Seen[0].Path
	}
	if x.turns(c.Alone) && !x.given(r) {
		c.Change = hinter{x.env}.toward(r.node, r.want == (x.effect == EffectPermit))
	}
	return c
}

// turns tells whether a clause in this state is one to turn: of a permit those
// that do not hold, of a forbid those that do.
func (x explainer) turns(s State) bool {
	return (x.effect == EffectPermit) != (s == Held)
}

// given tells whether a clause of a forbid only says which requests it is
// about: another request is no change of this one. To leave a group is.
func (x explainer) given(r requirement) bool {
	if x.effect != EffectForbid || r.kind == "when" || r.kind == "unless" {
		return false
	}
	_, in := r.node.(ast.NodeTypeIn)
	return !in || r.kind == actionVar
}

// changeOf is what would turn one alternative: for a permit, all of its clauses
// that do not hold have to change; for a forbid, one that holds.
func (x explainer) changeOf(clauses []Clause) string {
	var changes []string
	for _, c := range clauses {
		if c.Change != "" {
			changes = append(changes, c.Change)
			continue
		}
		if x.effect == EffectForbid {
			return "" // this alternative does not hold anyway
		}
	}
	return joinChanges(changes, x.effect == EffectForbid)
}

// joinChanges joins with "or" if any of the changes will do.
func joinChanges(changes []string, any bool) string {
	changes = slices.DeleteFunc(slices.Clone(changes), func(s string) bool { return s == "" })
	if any {
		return strings.Join(changes, ", or ")
	}
	return strings.Join(changes, " and ")
}

func notReached(c Clause) Clause {
	c.State = NotReached
	for i, alt := range c.Alternatives {
		c.Alternatives[i] = slices.Clone(alt)
		for j := range alt {
			c.Alternatives[i][j] = notReached(alt[j])
		}
	}
	return c
}

// clauseText is the text as the policy has it: in an unless, the condition
// that must not be.
func clauseText(r requirement) string {
	if r.want == (r.kind != "unless") {
		return textOf(r.node)
	}
	return textOf(ast.NodeTypeNot{UnaryNode: ast.UnaryNode{Arg: r.node}})
}

// seen lists the attributes and variables that an expression looks at, in the
// order of the text.
func (x explainer) seen(n ast.IsNode) []Seen {
	var out []Seen
	note := func(n ast.IsNode) {
		s := Seen{Path: textOf(n)}
		if slices.ContainsFunc(out, func(o Seen) bool { return o.Path == s.Path }) {
			return
		}
		v, err := evaluate(n, x.env)
		if err != nil {
			s.Absent = true
		} else {
			s.Value = CedarText(v)
		}
		out = append(out, s)
	}
	var walk func(ast.IsNode)
	walk = func(n ast.IsNode) {
		if isChain(n) {
			note(n)
			return
		}
		if has, ok := n.(ast.NodeTypeHas); ok && isChain(has.Arg) {
			note(ast.NodeTypeAccess{StrOpNode: has.StrOpNode})
			return
		}
		if has, ok := n.(ast.NodeTypeHasTag); ok && isChain(has.Left) && len(chainsIn(has.Right)) == 0 {
			note(ast.NodeTypeGetTag{BinaryNode: has.BinaryNode})
			return
		}
		for _, kid := range children(n) {
			walk(kid)
		}
	}
	walk(n)
	return out
}

// isChain tells of a variable, possibly with attributes or tags after it.
func isChain(n ast.IsNode) bool {
	switch v := n.(type) {
	case ast.NodeTypeVariable:
		return true
	case ast.NodeTypeAccess:
		return isChain(v.Arg)
	case ast.NodeTypeGetTag:
		_, literal := v.Right.(ast.NodeValue)
		return literal && isChain(v.Left)
	}
	return false
}

// chainsIn finds the variables in an expression, with what follows them.
func chainsIn(n ast.IsNode) []ast.IsNode {
	if isChain(n) {
		return []ast.IsNode{n}
	}
	var out []ast.IsNode
	for _, kid := range children(n) {
		out = append(out, chainsIn(kid)...)
	}
	return out
}
