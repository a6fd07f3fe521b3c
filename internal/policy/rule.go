package policy

import (
	"fmt"
	"path"
	"strings"

	"github.com/cedar-policy/cedar-go"
	publicast "github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// An Effect is what a policy does to the requests that it matches.
type Effect string

// The effects of Cedar.
const (
	EffectPermit Effect = "permit"
	EffectForbid Effect = "forbid"
)

// A Rule is one Cedar policy of a bundle. It does not change after loading.
type Rule struct {
	ID           string // <bundle>/<@id>, or <bundle>/<file stem>#<n> with n from 1
	Bundle       string // the bundle's name
	File         string // the file's name within the bundle
	Position     int    // the policy's place in its file, from 1
	Line, Column int    // where it begins in the file, from 1
	Effect       Effect
	Reason       string            // @reason: plain words for people, "" if none
	Gate         *Gate             // what makes this forbid a gate; nil for an ordinary policy
	Overridable  string            // @overridable: the kind of exception that may lift this forbid, "" if none may
	Annotations  map[string]string // all annotations as written, by name
	Text         string            // the policy as canonical Cedar text, annotations included

	policy *cedar.Policy
	ast    *ast.Policy
	reads  ReadSet
	// unstable marks conditions whose error message, in cedar-go, depends on
	// the order of a map; see stableError.
	unstable bool
	// climbs marks policies that look for groups that an entity is in.
	climbs bool

	inner       *cedar.Policy // what is left to evaluate once the index has found it; see [innerOf]
	innerClimbs bool
}

// Reads tells which attributes an evaluation of the policy can read.
func (r *Rule) Reads() ReadSet { return r.reads }

func newRule(id string, p *cedar.Policy) *Rule {
	tree := (*ast.Policy)(p.AST())
	pos := p.Position()
	r := &Rule{
		ID:          id,
		Line:        pos.Line,
		Column:      pos.Column,
		Effect:      EffectForbid,
		Annotations: make(map[string]string, len(tree.Annotations)),
		Text:        string(p.MarshalCedar()),
		policy:      p,
		ast:         tree,
		reads:       readsOf(tree),
		unstable:    anyNode(tree, isUnstable),
		climbs:      anyNode(tree, isMembership),
	}
	inner := innerOf(tree)
	r.inner, r.innerClimbs = cedar.NewPolicyFromAST((*publicast.Policy)(inner)), anyNode(inner, isMembership)
	if p.Effect() == types.Permit {
		r.Effect = EffectPermit
	}
	for _, a := range tree.Annotations {
		r.Annotations[string(a.Key)] = string(a.Value)
	}
	return r
}

// innerOf is the policy without what an [index] has made sure of when it finds
// it: the scopes of principal and action, and the type of the resource. It holds
// for the same of the requests for which it is found, and fails for the same,
// since scopes never fail.
func innerOf(tree *ast.Policy) *ast.Policy {
	inner := *tree
	inner.Action = ast.ScopeTypeAll{}
	inner.Principal = ast.ScopeTypeAll{}
	if s, ok := tree.Principal.(ast.ScopeTypeIsIn); ok { // found by the group alone
		inner.Principal = ast.ScopeTypeIs{Type: s.Type}
	}
	switch s := tree.Resource.(type) { // found by the type alone
	case ast.ScopeTypeIs:
		inner.Resource = ast.ScopeTypeAll{}
	case ast.ScopeTypeIsIn:
		inner.Resource = ast.ScopeTypeIn{Entity: s.Entity}
	}
	return &inner
}

// parseRules reads the policies of one .cedar file. If one of them is wrong,
// the others are still looked at, so that all mistakes are reported at once.
func parseRules(bundle, file string, content []byte, errs *Errors) []*Rule {
	var rules []*Rule
	stem := strings.TrimSuffix(path.Base(file), ".cedar")
	for i, st := range splitStatements(string(content)) {
		if len(*errs) > maxErrors {
			break
		}
		p, err := st.parse()
		if err != nil {
			errs.add(file, err.line, err.column, "cannot read the policy: %s", err.message)
			continue
		}
		r := newRule(fmt.Sprintf("%s/%s#%d", bundle, stem, i+1), p)
		r.Bundle, r.File, r.Position = bundle, file, i+1
		if id, ok := r.Annotations["id"]; ok {
			if !policyID.MatchString(id) {
				errs.add(file, r.Line, r.Column, "@id(%q) is not an id of 1-128 letters, digits, dots, underscores or hyphens", id)
			}
			r.ID = bundle + "/" + id
		}
		annotate(r, func(format string, args ...any) {
			errs.add(file, r.Line, r.Column, format, args...)
		})
		rules = append(rules, r)
	}
	return rules
}
