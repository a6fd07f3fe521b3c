package gaps

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/pdp"
)

// exceptions takes a decision in for the rules of I5.
func (s *Scanner) exceptions(d *decided) {
	actor := d.Decision.Actor.Ref
	if d.allowed {
		for _, f := range pdp.Frames(&d.Decision) {
			if f.As == aver.FrameException && f.Allowed {
				s.usedException(d, f.Exception)
			}
		}
		return
	}
	if d.Decision.Outcome != aver.Denied || s.excepted[actor] == nil {
		return
	}
	for _, id := range s.excepted[actor] {
		x, ok := s.st.Exception(id)
		if !ok || x.Activated == nil || x.Activated.Event >= d.Authority.Size {
			continue
		}
		inside, end := within(x, d), x.Ended()
		switch {
		case inside && d.Time >= end && d.Time < end+aver.Time(s.t.Exceptions.AttemptsAfter):
			s.note(usedAfterExpiry, exceptionSubject(id, x.Subject), aver.SeverityLow, d.place,
				fmt.Sprintf("%s tried again what exception %s had allowed, after its end, and was refused.", actor, id))
		case !inside && x.Activated.Time <= d.Time && d.Time < end:
			s.note(outOfScope, exceptionSubject(id, x.Subject), aver.SeverityMedium, d.place,
				fmt.Sprintf("While exception %s was active, %s asked for what it does not cover, and was refused.", id, actor), d.req.Action.Name)
		}
	}
}

// usedException looks at an exception that let something through. Aver lets
// nothing through by one that has ended or does not cover it, so what is found
// here is a fault of the log.
func (s *Scanner) usedException(d *decided, id string) {
	x, ok := s.st.Exception(id)
	if !ok {
		return
	}
	if x.Activated == nil || d.Time < x.Activated.Time || d.Time >= x.Ended() && (x.Closed == nil || x.Closed.Event < d.Authority.Size) {
		s.note(usedAfterExpiry, exceptionSubject(id, x.Subject), aver.SeverityHigh, d.place,
			fmt.Sprintf("Exception %s let something through while it was not active.", id))
	}
	if !within(x, d) {
		s.note(outOfScope, exceptionSubject(id, x.Subject), aver.SeverityCritical, d.place,
			fmt.Sprintf("Exception %s let something through that it does not cover.", id), d.req.Action.Name)
	}
}

// within tells whether an exception covers what was asked.
func within(x *authority.Exception, d *decided) bool {
	return aver.Covers(x.Actions, d.req.Action.Name) && slices.ContainsFunc(x.Resources, func(r aver.ResourceScope) bool {
		return r.Type == "*" || r.Type == d.req.Resource.Type && (r.ID == "" || r.ID == d.req.Resource.ID)
	})
}

// ownDuty finds people who tried to approve or review their own exception or
// request, by the denial of the administration.
func (s *Scanner) ownDuty(d *decided) {
	for _, reason := range d.Decision.Reasons {
		if reason.Policy != "administration/own-exception" && reason.Policy != "administration/own-escalation" {
			continue
		}
		s.note(selfApproval, identitySubject(d.Decision.Actor.Ref), aver.SeverityMedium, d.place,
			fmt.Sprintf("%s tried to answer for what comes from themselves, and was refused.", d.Decision.Actor.Ref),
			d.req.Action.Name+" "+d.req.Resource.ID)
	}
}

// standingExceptions finds what holds of the exceptions at the moment, for I5.
func (r *reporter) standingExceptions() {
	t := &r.t.Exceptions
	type line struct {
		who  aver.Ref
		kind aver.ExceptionKind
	}
	lines := map[line][]*authority.Exception{}
	var order []line
	for _, x := range r.st.Exceptions() {
		r.exception(x)
		if x.Activated == nil {
			continue
		}
		key := line{x.Subject, x.Kind}
		if lines[key] == nil {
			order = append(order, key)
		}
		lines[key] = append(lines[key], x)
	}
	for _, key := range order {
		list := lines[key]
		slices.SortStableFunc(list, func(a, b *authority.Exception) int { return cmp.Compare(a.Activated.Time, b.Activated.Time) })
		if row := longestRow(list, t.RenewedGap); len(row) >= t.Renewed {
			r.several(renewed, aver.SeverityHigh, key.who, row, fmt.Sprintf("%s had %d exceptions of the kind %s in a row: that is standing access.", key.who, len(row), key.kind))
			continue
		}
		if row := mostWithin(list, t.RepeatedWithin); len(row) >= t.Repeated {
			r.several(repeated, aver.SeverityMedium, key.who, row, fmt.Sprintf("%s used %d exceptions of the kind %s within %s.", key.who, len(row), key.kind, t.RepeatedWithin))
		}
	}
}

func (r *reporter) several(rule Rule, severity aver.Severity, who aver.Ref, list []*authority.Exception, text string) {
	s := r.sighting(rule, identitySubject(who))
	for _, x := range list {
		s.see(severity, place{at: x.Activated.Time, events: []uint64{x.Event, x.Activated.Event}}, text, x.ID)
	}
}

// longestRow is the longest row of exceptions that follow each other closely.
func longestRow(list []*authority.Exception, gap Duration) []*authority.Exception {
	var longest []*authority.Exception
	from := 0
	for i := range list {
		if i > 0 && list[i].Activated.Time > list[i-1].Ended()+aver.Time(gap) {
			from = i
		}
		if i+1-from > len(longest) {
			longest = list[from : i+1]
		}
	}
	return longest
}

// mostWithin are the most exceptions that were activated within a time.
func mostWithin(list []*authority.Exception, d Duration) []*authority.Exception {
	var most []*authority.Exception
	from := 0
	for i := range list {
		for list[i].Activated.Time-list[from].Activated.Time > aver.Time(d) {
			from++
		}
		if i+1-from > len(most) {
			most = list[from : i+1]
		}
	}
	return most
}

// exception looks at one exception.
func (r *reporter) exception(x *authority.Exception) {
	t, subject := &r.t.Exceptions, exceptionSubject(x.ID, x.Subject)
	at := func(events ...uint64) place { return place{at: x.Time, events: append([]uint64{x.Event}, events...)} }
	see := func(rule Rule, severity aver.Severity, p place, text string, details ...string) {
		r.sighting(rule, subject).see(severity, p, text, details...)
	}
	var missing []string
	if utf8.RuneCountInString(strings.TrimSpace(x.Justification)) < t.Justification {
		missing = append(missing, fmt.Sprintf("justification: fewer than %d characters", t.Justification))
	}
	if x.IdentityConfirmed == "" {
		missing = append(missing, "identity_confirmed")
	}
	if x.Approver.IsZero() {
		missing = append(missing, "approver")
	}
	if x.Duration == 0 {
		missing = append(missing, "duration")
	}
	if len(missing) > 0 {
		see(missingField, aver.SeverityMedium, at(), fmt.Sprintf("Exception %s lacks what somebody needs to answer for it.", x.ID), missing...)
	}
	if longest := t.Longest[x.Kind]; x.Duration*1000 > int64(longest) {
		see(overLong, aver.SeverityMedium, at(), fmt.Sprintf("Exception %s is for %s; %s is the most for the kind %s.", x.ID, Duration(x.Duration*1000), longest, x.Kind))
	}
	if x.Activated != nil && x.Approved == nil && x.Rejected == nil && x.Activated.Time+aver.Time(t.ApproveWithin) <= r.now {
		r.holds(unapproved, subject, aver.SeverityHigh, x.Activated.Time+aver.Time(t.ApproveWithin), []uint64{x.Activated.Event},
			fmt.Sprintf("Exception %s was used, and %s has not answered for it within %s.", x.ID, x.Approver, t.ApproveWithin))
	}
	if a := x.Approved; a != nil {
		if a.Time-x.Time < aver.Time(t.Instant) {
			see(instantApproval, aver.SeverityMedium, at(a.Event), fmt.Sprintf("Exception %s was approved by %s within %s of being asked for.", x.ID, a.Approver, t.Instant))
		}
		if a.Approver == x.Subject || a.Approver == x.By.Principal() {
			see(selfApproval, aver.SeverityCritical, at(a.Event), fmt.Sprintf("Exception %s was approved by %s, who asked for it.", x.ID, a.Approver))
		}
	}
	if v := x.Reviewed; v != nil && (v.Reviewer == x.Subject || v.Reviewer == x.By.Principal() || x.Approved != nil && v.Reviewer == x.Approved.Approver) {
		see(selfApproval, aver.SeverityCritical, at(v.Event), fmt.Sprintf("Exception %s was reviewed by %s, who asked for it or answered for it.", x.ID, v.Reviewer))
	}
	if x.Overdue(r.now) {
		r.holds(reviewOverdue, subject, aver.SeverityHigh, x.ReviewDue(), []uint64{x.Activated.Event},
			fmt.Sprintf("The review of exception %s of %s was due %s.", x.ID, x.Subject, x.ReviewDue()))
	}
}
