package policy

import (
	"maps"
	"slices"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// Actions lists the actions that the set knows of, sorted: those that the
// schemas declare and those that the policies name in their scopes, except for
// what a schema declares as a mere group of actions.
func (s *Set) Actions() []string {
	known, groups := map[string]bool{}, map[string]bool{}
	for _, b := range s.bundles {
		if b.schema == nil || b.schema.resolved == nil {
			continue
		}
		for uid, action := range b.schema.resolved.Actions {
			switch {
			case uid.Type != actionType:
			case action.AppliesTo == nil:
				groups[string(uid.ID)] = true
			default:
				known[string(uid.ID)] = true
			}
		}
	}
	for _, r := range s.rules {
		for _, uid := range namedActions(r.ast.Action) {
			if uid.Type == actionType && !groups[string(uid.ID)] {
				known[string(uid.ID)] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(known))
}

// actionType is the type of the actions of AuthZEN requests.
const actionType types.EntityType = "Action"

func namedActions(scope ast.IsActionScopeNode) []types.EntityUID {
	switch s := scope.(type) {
	case ast.ScopeTypeEq:
		return []types.EntityUID{s.Entity}
	case ast.ScopeTypeIn:
		return []types.EntityUID{s.Entity}
	case ast.ScopeTypeInSet:
		return s.Entities
	}
	return nil
}
