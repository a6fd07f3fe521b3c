package authority

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/policy"
)

// remediation is the row whose decision an event carries out, if it names a review. carried tells whether nothing is
// left to be done for the row after it.
func (s *State) remediation(e *aver.Event) (r *Review, i *ReviewItem, carried bool, err error) {
	if e.Review == "" {
		return nil, nil, false, nil
	}
	r, ok := s.reviews.get(e.Review)
	if !ok {
		return nil, nil, false, fmt.Errorf("review: there is no review %q", e.Review)
	}
	want := []aver.ReviewDecision{aver.ReviewRevoke}
	var matches func(*ReviewItem) bool
	switch e.Type {
	case aver.EventGrantRevoked, aver.EventGrantIssued:
		var g aver.Grant // of the one the id, of the other all
		if err := json.Unmarshal(e.Data, &g); err != nil {
			return nil, nil, false, err
		}
		matches = func(i *ReviewItem) bool { return i.Grant == g.ID }
		want = append(want, aver.ReviewModify)
		if e.Type == aver.EventGrantIssued {
			want = []aver.ReviewDecision{aver.ReviewModify}
			matches = func(i *ReviewItem) bool {
				old, ok := s.grants.get(i.Grant)
				return ok && old.Revoked == nil && i.Replaced == nil && exceeds(&g, &old.Grant) == ""
			}
		}
	case aver.EventIdentitySuspended, aver.EventIdentityRetired, aver.EventIdentityUpdated:
		var ref aver.Ref
		if err := json.Unmarshal(e.Data, &ref); err != nil {
			return nil, nil, false, err
		}
		matches = func(i *ReviewItem) bool { return i.Identity != nil && *i.Identity == ref }
		if e.Type == aver.EventIdentityUpdated {
			want = []aver.ReviewDecision{aver.ReviewModify}
		}
	default:
		return nil, nil, false, fmt.Errorf("review: %s carries out nothing that a review decides", e.Type)
	}
	for _, i := range r.Items {
		if i.Decided != nil && i.Remediated == nil && slices.Contains(want, i.Decided.Decision) && matches(i) {
			return r, i, e.Type != aver.EventGrantIssued, nil
		}
	}
	return nil, nil, false, fmt.Errorf("review: no row of review %q was decided so that this is to be done", e.Review)
}

// RemediatedBy is who decided the row that an event carries out.
func (s *State) RemediatedBy(e *aver.Event) (reviewer aver.Ref, ok bool) {
	_, i, _, err := s.remediation(e)
	if err != nil || i == nil {
		return aver.Ref{}, false
	}
	return i.Decided.Reviewer, true
}

// exceeds says in what a grant that replaces another reaches further than it, "" if it does not.
func exceeds(g, old *aver.Grant) string {
	whole := *old
	whole.To, whole.Depth = g.From, old.Depth+1
	switch {
	case g.From != old.From || g.To != old.To || g.Parent != old.Parent:
		return "it is another delegation"
	case g.NotBefore < old.NotBefore:
		return "it begins earlier"
	case g.Purpose != old.Purpose:
		return "it is for another purpose"
	case old.InFlight != aver.InFlightComplete && g.InFlight == aver.InFlightComplete:
		return "work under way would go on when it is revoked"
	case slices.ContainsFunc(old.Revokers, func(r aver.Ref) bool { return !slices.Contains(g.Revokers, r) }):
		return "fewer may revoke it"
	case old.Condition != "" && g.Condition != old.Condition && !narrows(g.Condition, old.Condition):
		return "its condition does not hold that of the other"
	case old.Limits != nil && !limitsWithin(g.Limits, old.Limits):
		return "its limits are wider"
	}
	return g.Widens(&whole)
}

// narrows tells whether a condition is another one and something more: "(old) && (more)". Both are conditions by
// themselves, so that no bracket, comment or weaker operator of the one reaches into the other.
func narrows(condition, old string) bool {
	more, ok := strings.CutPrefix(condition, "("+old+") && (")
	if !ok {
		return false
	}
	more, ok = strings.CutSuffix(more, ")")
	return ok && policy.ValidateCondition(old) == nil && policy.ValidateCondition(more) == nil
}

func limitsWithin(l, old *aver.GrantLimits) bool {
	if l == nil || old.Uses != 0 && (l.Uses == 0 || l.Uses > old.Uses) {
		return false
	}
	for _, o := range old.Sums {
		if !slices.ContainsFunc(l.Sums, func(n aver.SumLimit) bool { return n.Attribute == o.Attribute && n.Max <= o.Max }) {
			return false
		}
	}
	return true
}
