package authority

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/aver-authz/aver"
)

// Duty is a delegation of an approver's duty, and whether it was revoked.
type Duty struct {
	aver.DutyDelegation
	Mark          // of the event that delegated it
	Revoked *Mark `json:"revoked,omitempty"`
}

// State is where the delegation stands at a time: pending, active, expired or
// revoked.
func (d *Duty) State(now aver.Time) string {
	switch {
	case d.Revoked != nil:
		return "revoked"
	case now >= d.Expires:
		return "expired"
	case now < d.NotBefore:
		return "pending"
	}
	return "active"
}

// Duty returns a delegation of duty, whatever became of it.
func (s *State) Duty(id string) (*Duty, bool) { return s.duties.get(id) }

// Duties lists all delegations of duty, in the order in which they were made.
func (s *State) Duties() []*Duty {
	all := s.duties.values()
	slices.SortFunc(all, func(a, b *Duty) int { return cmp.Compare(a.Event, b.Event) })
	return all
}

// Capacity says in which capacity somebody may answer a request for approval at
// a time: in their own right (nil), or by the first of the duties delegated to
// them that allows it, or that is somebody's in particular. The error is why in
// none, one plain sentence.
func (s *State) Capacity(a *Approval, who aver.Ref, of *aver.Ref, now aver.Time) (*Duty, error) {
	var refused error
	if of == nil || *of == who {
		if refused = s.mayAnswer(a, who, nil, now); refused == nil {
			return nil, nil
		}
	}
	ids, _ := s.dutiesTo.get(who)
	for _, id := range ids { // as they were delegated
		d, _ := s.duties.get(id)
		if of != nil && d.From != *of {
			continue
		}
		err := s.mayAnswer(a, who, d, now)
		if err == nil {
			return d, nil
		}
		if of != nil {
			refused = err
		}
	}
	if refused == nil {
		refused = fmt.Errorf("%s delegated no duty to %s", of, who)
	}
	return nil, refused
}

// mayAnswer says why somebody may not answer a request by a duty that was
// delegated to them, or in their own right if it is nil.
func (s *State) mayAnswer(a *Approval, who aver.Ref, d *Duty, now aver.Time) error {
	if err := s.uninvolved(a, who, now); err != nil {
		return err
	}
	approver := who
	if d != nil {
		switch state := d.State(now); {
		case d.To != who:
			return fmt.Errorf("the duty %q was delegated to %s, not to %s", d.ID, d.To, who)
		case state != "active":
			return fmt.Errorf("the duty %q, by which %s would answer, is %s", d.ID, who, state)
		}
		// What the delegator may not answer, nobody answers for them.
		if err := s.uninvolved(a, d.From, now); err != nil {
			return err
		}
		approver = d.From
	}
	for _, g := range a.Gates {
		if s.approves(&g, approver) {
			return nil
		}
	}
	return fmt.Errorf("%s is none of the approvers of %s", approver, a.Gates[0].Policy)
}

// uninvolved says why somebody is too close to a request to answer it, or not in
// a position to answer any.
func (s *State) uninvolved(a *Approval, who aver.Ref, now aver.Time) error {
	if slices.Contains(a.Parties, who) {
		return fmt.Errorf("%s is one of those that the request comes from, so somebody else has to answer it", who)
	}
	if c, ok := s.credentialNames.get(a.By.Name); ok && c.Subject != nil && *c.Subject == who || a.By.Subject == who {
		return fmt.Errorf("%s asked for the approval, so somebody else has to answer it", who)
	}
	if s.isMachine(who) {
		return fmt.Errorf("%s is a machine, and only people approve", who)
	}
	if i, ok := s.identities.get(who); ok {
		switch {
		case i.Status != aver.Active:
			return fmt.Errorf("%s is %s, by event %d", who, i.Status, i.Event)
		case i.Expires != 0 && i.Expires <= now:
			return fmt.Errorf("%s expired %s", who, i.Expires)
		}
	}
	return nil
}

func (s *State) dutyDelegated(d *aver.DutyDelegation, m Mark) error {
	if err := d.Validate(); err != nil {
		return err
	}
	if old, ok := s.duties.get(d.ID); ok {
		return fmt.Errorf("the id %q was already used, by event %d", d.ID, old.Event)
	}
	i, ok := s.identities.get(d.To)
	switch begin := max(d.NotBefore, m.Time); {
	case !ok || i.Kind != aver.HumanUser || i.Status != aver.Active:
		return fmt.Errorf("%s is not an active, registered human user, and only people approve", d.To)
	case d.Expires <= m.Time:
		return fmt.Errorf("it expires %s, which is not after %s, the time of the event", d.Expires, m.Time)
	case d.Expires-begin > aver.MaxDuty:
		return fmt.Errorf("it lasts longer than %d days: who is away for longer is no approver", aver.MaxDuty/(24*60*60*1000))
	}
	s.setDuty(&Duty{DutyDelegation: *d, Mark: m})
	return nil
}

func (s *State) dutyRevoked(ref *aver.DutyRef, m Mark) error {
	d, ok := s.duties.get(ref.ID)
	switch {
	case !ok:
		return fmt.Errorf("there is no delegation of duty %q", ref.ID)
	case d.Revoked != nil:
		return fmt.Errorf("the delegation of duty %q is already revoked, by event %d", ref.ID, d.Revoked.Event)
	}
	next := *d
	next.Revoked = &m
	s.duties.put(d.ID, &next)
	return nil
}

// setDuty takes a delegation over, and remembers whom it is to.
func (s *State) setDuty(d *Duty) {
	s.duties.put(d.ID, d)
	ids, _ := s.dutiesTo.get(d.To)
	s.dutiesTo.put(d.To, append(slices.Clip(ids), d.ID))
}
