package gaps

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aver-authz/aver"
)

// delegation takes a decision in for the rules of I3.
func (s *Scanner) delegation(d *decided) {
	actor := d.Decision.Actor
	user, forSomebody := d.req.OnBehalfOf()
	byToken := d.Token != nil && d.Token.Fault == "" && len(d.Token.Actors) > 0
	switch {
	case len(d.grants) > 0 || byToken:
	case forSomebody && user != actor.Ref && actor.Kind.Machine():
		s.note(hopWithout, identitySubject(actor.Ref), d.worse(aver.SeverityCritical, aver.SeverityMedium), d.place,
			fmt.Sprintf("%s says that it acts for somebody and shows no grant; it %s.", actor.Ref, d.did()), "for "+user.String())
	case actor.Kind == aver.AIAgent:
		s.note(noChain, identitySubject(actor.Ref), d.worse(aver.SeverityHigh, aver.SeverityLow), d.place,
			fmt.Sprintf("%s acts on nobody's authority but its own; it %s.", actor.Ref, d.did()))
	}
	s.refused(d)
	if d.allowed {
		s.chainOf(d)
	}
}

// refused finds what the chain of a request was refused for. However much is wrong with it, it was one request.
func (s *Scanner) refused(d *decided) {
	actor := d.Decision.Actor.Ref
	var missing, tooLong, beyond []string
	for _, reason := range s.chainReasons(d) {
		switch reason.Code {
		case aver.ReasonChainBroken, aver.ReasonGrantUnknown, aver.ReasonChainLoop:
			missing = append(missing, strings.TrimSpace(string(reason.Code)+" "+reason.Grant))
		case aver.ReasonChainTooLong:
			tooLong = append(tooLong, reason.Grant)
		case aver.ReasonGrantExpired:
			s.note(expiredGrant, grantSubject(reason.Grant), aver.SeverityLow, d.place,
				fmt.Sprintf("Grant %s was shown after its end, and refused.", reason.Grant), "by "+actor.String())
		case aver.ReasonGrantRevoked:
			s.note(revokedGrant, grantSubject(reason.Grant), aver.SeverityMedium, d.place,
				fmt.Sprintf("Grant %s was shown after its revocation, and refused.", reason.Grant), "by "+actor.String())
		case aver.ReasonGrantScope:
			beyond = append(beyond, "grant "+reason.Grant)
		}
	}
	if missing != nil {
		s.note(hopWithout, identitySubject(actor), aver.SeverityMedium, d.place,
			fmt.Sprintf("%s showed a chain of which a link is missing, and was refused.", actor), missing...)
	}
	if tooLong != nil {
		s.note(chainTooDeep, identitySubject(actor), aver.SeverityMedium, d.place,
			fmt.Sprintf("%s showed a chain that is longer than it may be, and was refused.", actor), tooLong...)
	}
	if beyond != nil {
		s.note(beyondGrant, identitySubject(actor), aver.SeverityLow, d.place,
			fmt.Sprintf("%s asked again and again for what its grants do not give, and was refused.", actor), beyond...)
	}
}

// chainReasons are the reasons of a decision, and of its parts, each once.
func (s *Scanner) chainReasons(d *decided) []aver.Reason {
	if d.allowed {
		return nil
	}
	list := slices.Clone(d.Decision.Reasons)
	for _, p := range d.Decision.Parts {
		list = append(list, p.Reasons...)
	}
	var out []aver.Reason
	for _, r := range list {
		short := aver.Reason{Code: r.Code, Grant: r.Grant}
		if !slices.Contains(out, short) {
			out = append(out, short)
		}
	}
	return out
}

// chainOf looks at the grants that a permit rests on. Aver permits nothing by a
// grant that does not stand, so what is found here is a fault of the log.
func (s *Scanner) chainOf(d *decided) {
	for n, id := range d.grants {
		g, ok := s.st.Grant(id)
		switch {
		case !ok || g.Event >= d.Authority.Size:
			s.note(hopWithout, identitySubject(d.Decision.Actor.Ref), aver.SeverityCritical, d.place,
				fmt.Sprintf("%s was allowed to act by a grant that nobody had issued.", d.Decision.Actor.Ref), "grant "+id)
			continue
		case g.Expires != 0 && g.Expires <= d.Time:
			s.note(expiredGrant, grantSubject(id), aver.SeverityCritical, d.place, fmt.Sprintf("Grant %s was used after its end.", id))
		case g.Revoked != nil && g.Revoked.Event < d.Authority.Size:
			s.note(revokedGrant, grantSubject(id), aver.SeverityCritical, d.place, fmt.Sprintf("Grant %s was used after its revocation.", id))
		}
		if n >= aver.MaxChain || len(d.grants)-1-n > g.Depth {
			s.note(chainTooDeep, identitySubject(d.Decision.Actor.Ref), aver.SeverityMedium, d.place,
				fmt.Sprintf("%s was allowed to act by a chain that is longer than grant %s may have.", d.Decision.Actor.Ref, id))
		}
	}
}

// standingDelegation finds what holds of the grants at the moment, for I3.
func (r *reporter) standingDelegation() {
	for _, g := range r.st.Grants() {
		if !g.Stands(r.now) {
			continue
		}
		if g.Purpose == "" {
			r.holds(purposeMissing, grantSubject(g.ID), aver.SeverityMedium, g.Time, []uint64{g.Event},
				fmt.Sprintf("Grant %s from %s to %s does not say what it is for.", g.ID, g.From, g.To))
		}
		if g.Parent == "" {
			continue
		}
		parent, ok := r.st.Grant(g.Parent)
		if !ok {
			continue // it could not be issued
		}
		if why := g.Widens(&parent.Grant); why != "" {
			r.holds(beyondGrant, grantSubject(g.ID), aver.SeverityCritical, g.Time, []uint64{g.Event, parent.Event},
				fmt.Sprintf("Grant %s reaches further than grant %s, under which it is.", g.ID, g.Parent), why)
		}
	}
}
