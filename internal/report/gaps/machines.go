package gaps

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
)

// machines takes a decision in for the rules of I1.
func (s *Scanner) machines(d *decided) {
	t := &s.t.Machines
	actor := d.Decision.Actor
	from := map[string]string{}
	if v, ok := firstAt(d.req, t.Workload); ok {
		from["workload"] = v
		s.has.workload = true
	}
	if v, ok := firstAt(d.req, t.Environment); ok {
		from["environment"] = v
		s.has.workload = true
	}
	if v := from["environment"]; v != "" { // what a gateway forwards comes from many workloads, but from one environment
		s.shared(sharedCredential, credentialSubject(d.PEP.Credential), &s.credentials.at(d.PEP.Credential).from, "environment", v, d.place)
	}
	if !actor.Kind.Machine() {
		return
	}
	if actor.Event == nil {
		s.note(noOwner, identitySubject(actor.Ref), d.worse(aver.SeverityHigh, aver.SeverityMedium), d.place,
			fmt.Sprintf("%s is not registered, so nobody answers for it; it %s.", actor.Ref, d.did()))
	}
	identity := s.identities.at(actor.Ref)
	for _, sort := range []string{"workload", "environment"} {
		if v := from[sort]; v != "" {
			s.shared(sharedIdentity, identitySubject(actor.Ref), &identity.from, sort, v, d.place)
		}
	}
	if id, ok := firstAt(d.req, t.Credential); ok {
		from["identity"] = actor.Ref.String()
		used := s.credentials.at(id)
		used.use(d.Time)
		for _, sort := range []string{"identity", "workload", "environment"} {
			if v := from[sort]; v != "" {
				s.shared(sharedCredential, credentialSubject(id), &used.from, sort, v, d.place)
			}
		}
	}
	if id, ok := firstAt(d.req, t.Session); ok {
		s.has.session = true
		if other, overlap := identity.sessions.saw(id, d.place, t.SharedWithin); overlap {
			s.note(overlapping, identitySubject(actor.Ref), aver.SeverityMedium, d.place,
				fmt.Sprintf("Sessions of %s overlap, so it is used in more than one place at a time.", actor.Ref),
				fmt.Sprintf("%q went on after %q had begun", id, other.id))
		}
	}
	s.human(d)
}

// did says what became of what was asked, in words.
func (d *decided) did() string {
	if d.allowed {
		return "was allowed to act"
	}
	return "asked, and was refused"
}

func (s *Scanner) shared(r Rule, subject aver.GapSubject, from *sources, sort, value string, p place) {
	other, at, shared := from.saw(sort, value, p, s.t.Machines.SharedWithin)
	if !shared {
		return
	}
	both := []string{other, value}
	slices.Sort(both)
	x := s.note(r, subject, aver.SeverityHigh, p,
		fmt.Sprintf("%s was used from more than one %s within %s.", subject.ID, sort, s.t.Machines.SharedWithin),
		fmt.Sprintf("%s %s", sort, strings.Join(both, " and ")))
	x.first = min(x.first, at.at)
	x.evidence.Decisions = keepSome(x.evidence.Decisions, *at.decision) // where the other one was seen
}

// human finds people who sign in on a machine identity, by the methods with which
// it was authenticated.
func (s *Scanner) human(d *decided) {
	actor := d.Decision.Actor.Ref
	check := func(methods []string, severity aver.Severity, who string) {
		if len(methods) > 0 {
			s.has.methods = true
		}
		for _, m := range methods {
			if slices.Contains(s.t.Machines.HumanMethods, m) {
				s.note(humanOnMachine, identitySubject(actor), severity, d.place,
					fmt.Sprintf("A person signed in as %s: it was authenticated in a way that only people are.", actor), m+", as "+who)
			}
		}
	}
	if t := d.Token; t != nil && t.Fault == "" && t.Actor() == actor && len(t.Actors) == 0 {
		check(t.AMR, aver.SeverityHigh, "its token of "+t.Issuer+" says")
	}
	if _, forSomebody := d.req.OnBehalfOf(); forSomebody {
		return // what the enforcement point says is then how that person was authenticated
	}
	for _, path := range s.t.Machines.Methods {
		check(textsAt(d.req, path), aver.SeverityMedium, "the enforcement point says")
	}
}

// standingMachines finds what holds of the state at the moment, for I1.
func (r *reporter) standingMachines() {
	for _, i := range r.st.Identities() {
		if !i.Kind.Machine() || i.Status != aver.Active {
			continue
		}
		owner := r.ownerOf(i)
		if owner != nil && (owner.Status == aver.Retired || owner.Status == aver.Suspended || owner.Expires != 0 && owner.Expires <= r.now) {
			r.holds(noOwner, identitySubject(i.Ref), aver.SeverityHigh, max(owner.Time, i.Time), []uint64{i.Event, owner.Event},
				fmt.Sprintf("%s answers for %s and is %s.", owner.Ref, i.Ref, r.standing(owner)))
		}
	}
	for _, c := range r.st.Credentials() {
		if !givesAccess(c, r.now) {
			continue
		}
		kind := aver.KindUnknown
		if c.Subject != nil {
			kind = aver.KindOfType(c.Subject.Type)
			if i, ok := r.st.Identity(*c.Subject); ok {
				kind = i.Kind
			}
		}
		if c.Role == aver.RoleApprover && kind.Machine() {
			r.holds(humanOnMachine, identitySubject(*c.Subject), aver.SeverityHigh, c.Time, []uint64{c.Event},
				fmt.Sprintf("Credential %q lets %s answer as a person would.", c.Name, c.Subject))
		}
		if kind != aver.HumanUser && c.Time+aver.Time(r.t.Machines.RotateEvery) <= r.now {
			r.holds(noRotation, credentialSubject(c.Name), aver.SeverityMedium, c.Time+aver.Time(r.t.Machines.RotateEvery), []uint64{c.Event},
				fmt.Sprintf("Credential %q was issued %s and was not rotated for %s.", c.Name, day(c.Time), r.t.Machines.RotateEvery))
		}
	}
	r.keys.each(func(key [2]string, u *keyUse) {
		if u.first+aver.Time(r.t.Machines.RotateEvery) <= u.last {
			x := r.holds(noRotation, keySubject(key[0], key[1]), aver.SeverityMedium, u.first+aver.Time(r.t.Machines.RotateEvery), nil,
				fmt.Sprintf("Key %q of %s signed tokens from %s to %s.", key[1], key[0], day(u.first), day(u.last)))
			x.last = u.last
			x.evidence.Decisions = []aver.GapEntry{u.entry}
		}
	})
	if !r.has.workload {
		r.unknown(sharedIdentity, "No record says from which workload or environment a request came, so whether identities and credentials are shared is not known. "+
			"Send one of machines.workload or machines.environment, and let a bundle retain it.")
	}
	if !r.has.session {
		r.unknown(overlapping, "No record names a session of a machine identity, so whether sessions overlap is not known.")
	}
	if !r.has.methods {
		r.unknown(humanOnMachine, "No record says by which methods a machine identity was authenticated.")
	}
}

// ownerOf finds the identity that a machine's owner names: by its text form, or
// by its id alone if that is one person's. An owner that names a team is nil.
func (r *reporter) ownerOf(i *authority.Identity) *authority.Identity {
	if typ, id, ok := strings.Cut(i.Owner, ":"); ok {
		if owner, ok := r.st.Identity(aver.Ref{Type: typ, ID: id}); ok {
			return owner
		}
	}
	return r.people[i.Owner]
}

func (r *reporter) standing(i *authority.Identity) string {
	if i.Status == aver.Active {
		return "past the end of its registration"
	}
	return string(i.Status)
}

// day is the date of a time, for sentences.
func day(t aver.Time) string { return t.Std().Format("2006-01-02") }
