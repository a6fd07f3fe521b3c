package gaps

import (
	"fmt"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
)

// openPermit is a permit of which no end was reported yet.
type openPermit struct {
	index      uint64
	at         aver.Time
	credential string
}

// activity takes an activity in for the rules of I3 and I4. What is wrong about
// it was found when it was recorded, and `aver replay` finds it again.
func (s *Scanner) activity(index uint64, a *aver.Activity) error {
	pep := s.credentials.at(a.PEP.Credential)
	pep.use(a.Time)
	pep.activities++
	if a.Status.Ends() {
		s.open.delete(a.EvaluationID)
	}
	p := place{at: a.Time, activity: &aver.GapEntry{ID: a.ID, Index: index}}
	if a.Decision != nil {
		p.decision = &aver.GapEntry{ID: a.EvaluationID, Index: *a.Decision}
	}
	subject := credentialSubject(a.PEP.Credential)
	for _, f := range a.Findings {
		switch f.Code {
		case aver.FindingNoDecision:
			s.note(orphanActivity, subject, aver.SeverityCritical, p,
				fmt.Sprintf("%s reported activities for which there is no decision.", a.PEP.Credential), "evaluation id "+a.EvaluationID)
		case aver.FindingAfterDeny:
			s.note(afterDenial, subject, aver.SeverityCritical, p,
				fmt.Sprintf("%s reported activities that were not allowed.", a.PEP.Credential), f.Detail+" "+a.EvaluationID)
		case aver.FindingParameters:
			s.note(parametersApart, subject, aver.SeverityHigh, p,
				fmt.Sprintf("%s did something else than what was decided.", a.PEP.Credential), a.EvaluationID)
		case aver.FindingSecondUse:
			s.note(reuse, subject, aver.SeverityHigh, p,
				fmt.Sprintf("%s used one decision more than once.", a.PEP.Credential), a.EvaluationID)
		case aver.FindingMissingDuty:
			s.note(dutyNotReported, subject, aver.SeverityMedium, p,
				fmt.Sprintf("%s completed work and did not say that the obligations were carried out.", a.PEP.Credential), f.Detail)
		}
	}
	return s.ended(a, p)
}

// ended finds work that was begun or completed after its authority had ended.
func (s *Scanner) ended(a *aver.Activity, p place) error {
	c := a.Continuity
	if c == nil || c.State != aver.Lapsed || c.Lapse == nil || a.Status != aver.ActivityCompleted && a.Status != aver.ActivityStarted || a.Decision == nil {
		return nil
	}
	e, err := s.decisions.Entry(*a.Decision)
	if err != nil {
		return err
	}
	if e.Erased {
		return nil // expired or erased; the report says that payloads are gone
	}
	r, err := aver.ParseRecord(e.Payload)
	if err != nil {
		return err
	}
	l := c.Lapse
	if l.Event != nil {
		p.events = []uint64{*l.Event}
	}
	verb := "completed"
	if a.Status == aver.ActivityStarted {
		verb = "began"
	}
	cause := fmt.Sprintf("%s: ended %s by %s", r.ID, l.At, l.Cause)
	if l.Exception != "" {
		x, _ := s.st.Exception(l.Exception)
		subject := exceptionSubject(l.Exception, r.Decision.Actor.Ref)
		if x != nil {
			subject = exceptionSubject(l.Exception, x.Subject)
		}
		s.note(usedAfterExpiry, subject, aver.SeverityHigh, p,
			fmt.Sprintf("%s %s work after the end of exception %s, by which it was allowed.", r.Decision.Actor.Ref, verb, l.Exception), cause)
		return nil
	}
	s.note(endedAuthority, identitySubject(r.Decision.Actor.Ref), aver.SeverityHigh, p,
		fmt.Sprintf("%s %s work after the authority for it had ended.", r.Decision.Actor.Ref, verb), cause)
	return nil
}

// standingActivities finds what is missing at the moment, for I4.
func (r *reporter) standingActivities() {
	t := &r.t.Activities
	type overdue struct {
		count       uint64
		first, last aver.Time
		examples    []aver.GapEntry
	}
	late := map[string]*overdue{}
	r.open.each(func(id string, p *openPermit) {
		if p.at+aver.Time(t.OutcomeWithin) > r.now {
			return
		}
		o := late[p.credential]
		if o == nil {
			o = &overdue{first: p.at}
			late[p.credential] = o
		}
		o.count++
		o.first, o.last = min(o.first, p.at), max(o.last, p.at)
		o.examples = keepSome(o.examples, aver.GapEntry{ID: id, Index: p.index})
	})
	r.credentials.each(func(name string, c *credentialUse) {
		if c.permits == 0 {
			return
		}
		o := late[name]
		subject := credentialSubject(name)
		if c.unfollowed > 0 {
			r.unknown(noOutcome, fmt.Sprintf("%d permits of %s were not followed to an outcome, there being too many open ones.", c.unfollowed, name))
		}
		switch {
		case c.activities == 0 && o != nil && o.count >= t.SilentPermits:
			x := r.holds(silentPEP, subject, aver.SeverityHigh, o.first, nil,
				fmt.Sprintf("%s was given %d permits and never reported what became of one.", name, c.permits))
			x.evidence.Decisions, x.count = o.examples, o.count
		case o != nil && c.activities > 0:
			x := r.holds(noOutcome, subject, aver.SeverityMedium, o.first, nil,
				fmt.Sprintf("Of %d permits of %s no end was reported within %s.", o.count, name, t.OutcomeWithin))
			x.evidence.Decisions, x.count, x.last = o.examples, o.count, o.last
		case c.permits >= t.SilentPermits && c.last+aver.Time(t.SilentAfter) <= r.now && r.valid(name):
			x := r.holds(silentPEP, subject, aver.SeverityMedium, c.last+aver.Time(t.SilentAfter), nil,
				fmt.Sprintf("%s asked often, and has sent nothing since %s: is it gone, or does it go around Aver?", name, day(c.last)))
			x.evidence.Decisions = []aver.GapEntry{c.entry}
		}
	})
}

// givesAccess tells whether a credential is neither revoked nor over at a time.
func givesAccess(c *authority.Credential, now aver.Time) bool {
	return c.Revoked == nil && (c.Expires == 0 || now < c.Expires)
}

// valid tells whether a credential still gives access, as far as is known.
func (r *reporter) valid(name string) bool {
	c, ok := r.st.CredentialNamed(name)
	if !ok {
		return true // a token's identity, or authentication was switched off
	}
	return givesAccess(c, r.now)
}
