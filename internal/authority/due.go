package authority

import (
	"cmp"
	"slices"
	"time"

	"github.com/aver-authz/aver"
)

// DueKind is what has to be reviewed.
type DueKind string

// The kinds of what has to be reviewed.
const (
	DueIdentity  DueKind = "identity"
	DuePolicy    DueKind = "policy"
	DueException DueKind = "exception"
	DueReview    DueKind = "review" // an access review that is not closed
)

// DueKinds lists all kinds.
func DueKinds() []DueKind { return []DueKind{DueIdentity, DuePolicy, DueException, DueReview} }

// Due is a review that has to be done.
type Due struct {
	Kind      DueKind         `json:"kind"`
	State     string          `json:"state"` // overdue, due, or unscheduled: nothing says when
	Due       aver.Time       `json:"due,omitzero"`
	Identity  *aver.Ref       `json:"identity,omitempty"` // one of these four, by the kind
	Policy    *aver.PolicyRef `json:"policy,omitempty"`
	Exception string          `json:"exception,omitempty"`
	Review    string          `json:"review,omitempty"`
	Owner     string          `json:"owner,omitempty"` // of an identity or a policy
	Last      *Mark           `json:"last,omitempty"`  // of its last review
}

// name orders what is due at one time.
func (d *Due) name() string {
	switch {
	case d.Identity != nil:
		return d.Identity.String()
	case d.Policy != nil:
		return d.Policy.Name
	}
	return d.Exception + d.Review
}

// ReviewsDue lists the reviews that are overdue at a time, those that will be due until another, and the machine
// identities and active policies of which nothing says when they are to be reviewed; in the order of time, those last.
func (s *State) ReviewsDue(now, until aver.Time) []Due {
	var out []Due
	add := func(d Due) {
		switch {
		case d.Due == 0:
			d.State = "unscheduled"
		case d.Due <= now:
			d.State = "overdue"
		case d.Due <= until:
			d.State = "due"
		default:
			return
		}
		out = append(out, d)
	}
	s.identities.each(func(ref aver.Ref, i *Identity) {
		due, last := s.identityDue(i)
		if i.Status != aver.Retired && (due != 0 || i.Kind.Machine()) {
			add(Due{Kind: DueIdentity, Due: due, Identity: &ref, Owner: i.Owner, Last: last})
		}
	})
	for _, v := range s.active.versions {
		due, last := s.policyDue(v)
		add(Due{Kind: DuePolicy, Due: due, Policy: &aver.PolicyRef{Name: v.Bundle.Name(), Digest: v.Bundle.Digest()}, Owner: v.Bundle.Meta().Owner, Last: last})
	}
	s.exceptions.each(func(id string, x *Exception) {
		if x.Activated != nil && x.Reviewed == nil {
			add(Due{Kind: DueException, Due: x.ReviewDue(), Exception: id})
		}
	})
	s.reviews.each(func(id string, r *Review) {
		if r.Closed == nil {
			add(Due{Kind: DueReview, Due: r.Deadline, Review: id})
		}
	})
	slices.SortFunc(out, func(a, b Due) int {
		return cmp.Or(cmp.Compare(uint64(a.Due-1), uint64(b.Due-1)), // 0 comes last
			cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.name(), b.name()))
	})
	return out
}

// identityDue is when an identity is next to be reviewed, 0 if nothing says so, and its last review. What the last review
// set counts until the identity is registered with another time.
func (s *State) identityDue(i *Identity) (due aver.Time, last *Mark) {
	r, ok := s.IdentityReview(i.Ref)
	switch {
	case !ok:
		return i.ReviewBy, nil
	case i.ReviewBy != r.Answered:
		return i.ReviewBy, &r.Mark
	}
	return r.Next, &r.Mark
}

// policyDue is when a version of a bundle is next to be reviewed, 0 if nothing says so, and its last review. The date in
// the bundle counts until a review of the version sets another time; it is met to its end, in UTC.
func (s *State) policyDue(v *BundleVersion) (due aver.Time, last *Mark) {
	if r, ok := s.PolicyReview(v.Bundle.Name(), v.Bundle.Digest()); ok {
		return r.Next, &r.Mark
	}
	day, err := time.Parse(time.DateOnly, v.Bundle.Meta().Review)
	if err != nil {
		return 0, nil
	}
	return aver.TimeOf(day.AddDate(0, 0, 1)), nil
}
