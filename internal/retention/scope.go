package retention

import (
	"fmt"
	"slices"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pdp"
)

// subject is what of a decision scopes look at.
type subject struct {
	action  string
	parties []aver.Ref
}

// subjectOf reads whom and what a decision is about.
func subjectOf(r *aver.Record) (subject, error) {
	req, _, err := pdp.Disclose(r.Request, nil) // parties are never withheld
	if err != nil {
		return subject{}, fmt.Errorf("request: %w", err)
	}
	s := subject{action: req.Action.Name, parties: []aver.Ref{req.Subject.Ref, req.Resource.Ref}}
	if user, ok := req.OnBehalfOf(); ok {
		s.parties = append(s.parties, user)
	}
	for _, f := range pdp.Frames(&r.Decision) {
		s.parties = append(s.parties, f.Entity)
	}
	for _, p := range req.Parts() {
		s.parties = append(s.parties, aver.Ref{Type: req.Resource.Type, ID: p.ID})
	}
	if r.Token != nil {
		s.parties = append(s.parties, r.Token.Party)
		for _, a := range r.Token.Actors {
			s.parties = append(s.parties, a.Ref)
		}
	}
	return s, nil
}

// matches tells whether an entry whose leaf matches is in a scope. An activity is where its decision is. known is false
// if that can't be told any more, the decision having been erased.
func matches(log *ledger.Log, scope *aver.EvidenceScope, leaf *aver.Leaf, e ledger.Entry) (in, known bool, err error) {
	if !scope.NeedsRecord(leaf) {
		return true, true, nil
	}
	if leaf.Kind == aver.KindActivity {
		a, err := aver.ParseActivity(e.Payload)
		if err != nil {
			return false, false, err
		}
		if len(scope.IDs) > 0 && !slices.Contains(scope.IDs, a.ID) && !slices.Contains(scope.IDs, a.EvaluationID) {
			return false, true, nil
		}
		if scope.Subject.IsZero() && len(scope.Actions) == 0 {
			return true, true, nil
		}
		if a.Decision == nil {
			return false, true, nil
		}
		if e, err = log.Entry(*a.Decision); err != nil {
			return false, false, ignoreErased(err)
		}
	}
	r, err := aver.ParseRecord(e.Payload)
	if err != nil {
		return false, false, err
	}
	s, err := subjectOf(r)
	if err != nil {
		return false, false, err
	}
	in = (len(scope.Actions) == 0 || aver.Covers(scope.Actions, s.action)) &&
		(scope.Subject.IsZero() || slices.Contains(s.parties, scope.Subject))
	return in, true, nil
}

// disclosed lists the disclosures of an entry that an erasure takes away, and those that stay: all, if the person is a
// party of the decision; else those whose values name the person.
func disclosed(log *ledger.Log, scope *aver.EvidenceScope, leaf *aver.Leaf, e ledger.Entry) (gone, rest []string, err error) {
	all, err := pdp.ParseDisclosures(e.Private)
	if err != nil || len(all) == 0 || !scope.MatchesLeaf(leaf) {
		return nil, all, err
	}
	in, _, err := matches(log, scope, leaf, e)
	if err != nil {
		return nil, all, err
	}
	if in {
		return all, nil, nil
	}
	others := *scope
	others.Subject = aver.Ref{}
	if in, _, err := matches(log, &others, leaf, e); err != nil || !in {
		return nil, all, err
	}
	for _, d := range all {
		value, err := pdp.DisclosedValue(d)
		if err != nil {
			return nil, all, err
		}
		if names(value, scope.Subject) {
			gone = append(gone, d)
		} else {
			rest = append(rest, d)
		}
	}
	return gone, rest, nil
}

// names tells whether a value names somebody: it is or holds their id, or a reference to them.
func names(value any, who aver.Ref) bool {
	switch v := value.(type) {
	case string:
		return v == who.ID
	case []any:
		return slices.ContainsFunc(v, func(e any) bool { return names(e, who) })
	case map[string]any:
		for _, e := range v {
			if names(e, who) {
				return true
			}
		}
	}
	return false
}

// held tells whether a hold keeps an entry. One of which it can't be told whether it covers the entry does.
func held(log *ledger.Log, st *authority.State, leaf *aver.Leaf, e ledger.Entry) (bool, error) {
	for _, h := range st.Holds() {
		if h.Released != nil || !h.Scope.MatchesLeaf(leaf) {
			continue
		}
		in, known, err := matches(log, &h.Scope, leaf, e)
		if err != nil {
			return false, err
		}
		if in || !known {
			return true, nil
		}
	}
	return false, nil
}
