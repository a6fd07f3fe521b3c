package authority

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/policy"
)

// Exception is an exception and what became of it. It is replaced, never changed.
type Exception struct {
	aver.ExceptionRequest
	Mark                             // of the event that requested it
	Rule      policy.ExceptionRule   `json:"rule"` // that enabled it, as it was then
	Approved  *ExceptionAnswer       `json:"approved,omitempty"`
	Rejected  *ExceptionAnswer       `json:"rejected,omitempty"`
	Activated *Mark                  `json:"activated,omitempty"`
	Until     aver.Time              `json:"until,omitzero"` // of one that was activated
	Closed    *Mark                  `json:"closed,omitempty"`
	Reviewed  *ExceptionReviewRecord `json:"reviewed,omitempty"`

	Permit *policy.Permit `json:"-"` // compiled from [ExceptionPolicy]
}

// ExceptionAnswer is an approval or a rejection.
type ExceptionAnswer struct {
	Approver aver.Ref `json:"approver"`
	Mark
}

// ExceptionReviewRecord is the review of an exception.
type ExceptionReviewRecord struct {
	aver.ExceptionReview
	Mark
}

// Ended is when an activated exception ended or will end.
func (x *Exception) Ended() aver.Time {
	end := x.Until
	for _, m := range []*Mark{x.Closed, x.rejection()} {
		if m != nil {
			end = min(end, m.Time)
		}
	}
	return end
}

func (x *Exception) rejection() *Mark {
	if x.Rejected == nil {
		return nil
	}
	return &x.Rejected.Mark
}

// Active tells whether the exception counts at a time.
func (x *Exception) Active(now aver.Time) bool { return x.Activated != nil && now < x.Ended() }

// ReviewDue is until when an activated exception is to be reviewed.
func (x *Exception) ReviewDue() aver.Time { return x.Ended() + aver.Time(x.Rule.ReviewWithin*1000) }

// Overdue tells whether the review is missing at a time though it was due.
func (x *Exception) Overdue(now aver.Time) bool {
	return x.Activated != nil && x.Reviewed == nil && now >= x.ReviewDue()
}

// State is where the exception stands at a time: requested, approved, rejected,
// active, to_review, overdue or reviewed; closed if it ended before it was
// activated.
func (x *Exception) State(now aver.Time) string {
	switch {
	case x.Reviewed != nil:
		return "reviewed"
	case x.Overdue(now):
		return "overdue"
	case x.Active(now):
		return "active"
	case x.Activated != nil:
		return "to_review"
	case x.Rejected != nil:
		return "rejected"
	case x.Closed != nil:
		return "closed"
	case x.Approved != nil:
		return "approved"
	}
	return "requested"
}

// Exception returns an exception, whatever became of it.
func (s *State) Exception(id string) (*Exception, bool) { return s.exceptions.get(id) }

// Exceptions lists all exceptions, in the order in which they were requested.
func (s *State) Exceptions() []*Exception {
	all := s.exceptions.values()
	slices.SortFunc(all, func(a, b *Exception) int { return cmp.Compare(a.Event, b.Event) })
	return all
}

// ExceptionsOf lists the exceptions of somebody that are active at a time, in the
// order in which they were requested.
func (s *State) ExceptionsOf(who aver.Ref, now aver.Time) []*Exception {
	if s.exceptions.len == 0 {
		return nil
	}
	ids, _ := s.activated.get(who)
	var out []*Exception
	for _, id := range ids {
		if x, _ := s.exceptions.get(id); x.Active(now) {
			out = append(out, x)
		}
	}
	slices.SortFunc(out, func(a, b *Exception) int { return cmp.Compare(a.Event, b.Event) })
	return out
}

// ExceptionRule is what enables a kind of exceptions: the first active bundle, by
// name, that has it.
func (s *State) ExceptionRule(kind aver.ExceptionKind) (policy.ExceptionRule, bool) {
	for _, v := range s.active.versions {
		for _, r := range v.Bundle.Meta().Exceptions {
			if r.Kind == string(kind) {
				return r, true
			}
		}
	}
	return policy.ExceptionRule{}, false
}

// among tells whether somebody is one of those whom names stand for, or a member.
func (s *State) among(who aver.Ref, names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return s.isIn(who, aver.ApproverRef(name)) })
}

// isMachine tells whether somebody is software: as registered, or else by the type.
func (s *State) isMachine(who aver.Ref) bool {
	if i, ok := s.identities.get(who); ok {
		return i.Kind.Machine()
	}
	return aver.KindOfType(who.Type).Machine()
}

// asPerson checks that somebody is no machine, and that a credential that acts for
// them is theirs.
func (s *State) asPerson(who aver.Ref, m Mark) error {
	if s.isMachine(who) {
		return fmt.Errorf("%s is a machine, and only a person answers for this", who)
	}
	if m.By.ByToken() && m.By.Subject != who {
		return fmt.Errorf("the token was that of %s, not of %s", m.By.Subject, who)
	}
	if m.By.Method != "bearer" {
		return nil
	}
	c, ok := s.credentialNames.get(m.By.Name)
	if !ok || c.Subject == nil || *c.Subject != who {
		return fmt.Errorf("credential %q is not that of %s", m.By.Name, who)
	}
	return nil
}

func (s *State) exceptionRequested(r *aver.ExceptionRequest, m Mark) error {
	if err := r.Validate(); err != nil {
		return err
	}
	if old, ok := s.exceptions.get(r.ID); ok {
		return fmt.Errorf("the id %q was already used, by event %d", r.ID, old.Event)
	}
	rule, ok := s.ExceptionRule(r.Kind)
	if !ok {
		return fmt.Errorf("no active bundle enables exceptions of the kind %s", r.Kind)
	}
	i, ok := s.identities.get(r.Subject)
	switch {
	case !ok || i.Kind != aver.HumanUser || i.Status != aver.Active:
		return fmt.Errorf("subject: %s is not an active, registered human user, so nobody in particular would answer for what is done", r.Subject)
	case r.Duration > rule.Max:
		return fmt.Errorf("duration: %d seconds is more than the %d that are allowed", r.Duration, rule.Max)
	case s.isMachine(r.Approver):
		return fmt.Errorf("approver: %s is a machine, and only a person answers for an exception", r.Approver)
	case !s.among(r.Approver, rule.Approvers):
		return fmt.Errorf("approver: %s is none of those who approve exceptions of the kind %s", r.Approver, r.Kind)
	}
	if rule.BlockOverdue {
		for _, x := range s.Exceptions() {
			if x.Overdue(m.Time) {
				return fmt.Errorf("the review of exception %q was due %s, and until it is done there are no further exceptions", x.ID, x.ReviewDue())
			}
		}
	}
	x := &Exception{ExceptionRequest: *r, Mark: m, Rule: rule}
	for _, scope := range r.Resources {
		if scope.Type == "*" {
			continue
		}
		if _, err := cedarUID(aver.Ref{Type: scope.Type, ID: scope.ID}); err != nil {
			return fmt.Errorf("resource: %w", err)
		}
	}
	return s.setException(x)
}

// ExceptionPolicy returns the Cedar permit that an exception is: that of a grant
// to its subject, with its actions and resources.
func ExceptionPolicy(r *aver.ExceptionRequest) string {
	return GrantPolicy(&aver.Grant{To: r.Subject, Actions: r.Actions, Resources: r.Resources})
}

func (s *State) setException(x *Exception) error {
	permit, err := policy.CompilePermit(x.ID, ExceptionPolicy(&x.ExceptionRequest))
	if err != nil {
		return fmt.Errorf("exception %q cannot be written as a Cedar policy: %w", x.ID, err)
	}
	x.Permit = permit
	s.exceptions.put(x.ID, x)
	if x.Activated != nil {
		if ids, _ := s.activated.get(x.Subject); !slices.Contains(ids, x.ID) {
			s.activated.put(x.Subject, append(slices.Clip(ids), x.ID))
		}
	}
	return nil
}

// changeException lets change a copy of an exception.
func (s *State) changeException(id string, change func(*Exception) error) error {
	x, ok := s.exceptions.get(id)
	if !ok {
		return fmt.Errorf("there is no exception %q", id)
	}
	next := *x
	if err := change(&next); err != nil {
		return err
	}
	return s.setException(&next)
}

func (s *State) exceptionAnswered(v *aver.ExceptionVote, m Mark, set func(*Exception, *ExceptionAnswer)) error {
	return s.changeException(v.ID, func(x *Exception) error {
		switch {
		case x.Approved != nil || x.Rejected != nil:
			return fmt.Errorf("exception %q was answered already", x.ID)
		case x.Activated == nil && x.Closed != nil:
			return fmt.Errorf("exception %q was closed by event %d", x.ID, x.Closed.Event)
		case v.Approver == x.Subject:
			return fmt.Errorf("%s can't approve their own exception", v.Approver)
		case !s.among(v.Approver, x.Rule.Approvers):
			return fmt.Errorf("%s is none of those who approve exceptions of the kind %s", v.Approver, x.Kind)
		}
		if err := s.asPerson(v.Approver, m); err != nil {
			return err
		}
		set(x, &ExceptionAnswer{v.Approver, m})
		return nil
	})
}

func (s *State) exceptionApproved(v *aver.ExceptionVote, m Mark) error {
	return s.exceptionAnswered(v, m, func(x *Exception, a *ExceptionAnswer) { x.Approved = a })
}

func (s *State) exceptionRejected(v *aver.ExceptionVote, m Mark) error {
	if m.Reason == "" {
		return fmt.Errorf("a rejection needs a reason")
	}
	return s.exceptionAnswered(v, m, func(x *Exception, a *ExceptionAnswer) { x.Rejected = a })
}

func (s *State) exceptionActivated(ref *aver.ExceptionRef, m Mark) error {
	return s.changeException(ref.ID, func(x *Exception) error {
		switch {
		case x.Activated != nil:
			return fmt.Errorf("exception %q was activated already, by event %d: ask for another one", x.ID, x.Activated.Event)
		case x.Closed != nil:
			return fmt.Errorf("exception %q was closed by event %d", x.ID, x.Closed.Event)
		case x.Rejected != nil:
			return fmt.Errorf("exception %q was rejected by event %d", x.ID, x.Rejected.Event)
		case x.Approved == nil && x.Kind != aver.BreakGlass:
			return fmt.Errorf("exception %q is not approved yet", x.ID)
		}
		x.Activated, x.Until = &m, m.Time+aver.Time(x.Duration*1000)
		return nil
	})
}

func (s *State) exceptionClosed(ref *aver.ExceptionRef, m Mark) error {
	return s.changeException(ref.ID, func(x *Exception) error {
		if x.Closed != nil {
			return fmt.Errorf("exception %q was closed already, by event %d", x.ID, x.Closed.Event)
		}
		x.Closed = &m
		return nil
	})
}

func (s *State) exceptionReviewed(r *aver.ExceptionReview, m Mark) error {
	return s.changeException(r.ID, func(x *Exception) error {
		switch {
		case x.Activated == nil:
			return fmt.Errorf("exception %q was never used", x.ID)
		case x.Active(m.Time):
			return fmt.Errorf("exception %q is still active: close it first", x.ID)
		case x.Reviewed != nil:
			return fmt.Errorf("exception %q was reviewed already, by event %d", x.ID, x.Reviewed.Event)
		case x.Approved == nil && x.Rejected == nil:
			return fmt.Errorf("exception %q was used without an approval, and %s has not answered yet", x.ID, x.Approver)
		case r.Verdict != aver.Justified && r.Verdict != aver.Unjustified:
			return fmt.Errorf("verdict %q is not one of %q and %q", r.Verdict, aver.Justified, aver.Unjustified)
		case r.Verdict == aver.Unjustified && strings.TrimSpace(r.FollowUp) == "":
			return fmt.Errorf("follow_up: what is to be done about an exception that was not justified?")
		case r.Reviewer == x.Subject:
			return fmt.Errorf("%s used the exception, so somebody else has to review it", r.Reviewer)
		case x.Approved != nil && r.Reviewer == x.Approved.Approver, x.Rejected != nil && r.Reviewer == x.Rejected.Approver, r.Reviewer == x.Approver:
			return fmt.Errorf("%s answered for the exception, so somebody else has to review it", r.Reviewer)
		case !s.among(r.Reviewer, x.Rule.Reviewers):
			return fmt.Errorf("%s is none of those who review exceptions of the kind %s", r.Reviewer, x.Kind)
		}
		if err := s.asPerson(r.Reviewer, m); err != nil {
			return err
		}
		x.Reviewed = &ExceptionReviewRecord{*r, m}
		return nil
	})
}
