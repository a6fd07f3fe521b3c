package pdp

import (
	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
)

// exceptions lists the active exceptions that can help the acting party. One is a
// person's own: it neither reaches the administration of Aver, nor passes along a
// chain.
func (d *decider) exceptions() []*authority.Exception {
	if d.q.administrative || d.q.actingFor {
		return nil
	}
	return d.st.ExceptionsOf(d.q.Request.Subject.Ref, d.now)
}

// excepted asks the active exceptions of the acting party, in the order in which
// they were requested, where the policies do not allow: an exception that covers
// the request stands in for a permit, and sets aside the forbids that may be
// overridden by its kind. It lifts nothing unless it lifts all. The first that
// does ends the list; lifted says what it did, nil if there is none. None helps
// where a policy could not be evaluated.
func (d *decider) excepted(actor aver.Frame, p *principal, entities *world) (frames []aver.Frame, lifted []aver.Reason) {
	if len(actor.Errors) > 0 {
		return nil, nil
	}
	for _, x := range d.exceptions() {
		result := x.Permit.Authorize(entities, p.request)
		d.evidence.read(result.Reads())
		d.evidence.cited = append(d.evidence.cited, x.Event, x.Activated.Event)
		covers := bool(result.Decision) && len(result.Errors) == 0
		frames = append(frames, aver.Frame{
			As: aver.FrameException, Exception: x.ID, Allowed: covers, Errors: policyErrors(result.Errors),
		})
		if !covers {
			continue
		}
		var reasons []aver.Reason
		for _, id := range actor.Policies { // forbids, since it does not allow
			rule, ok := d.st.Policies().Rule(id)
			if !ok || rule.Overridable != string(x.Kind) {
				reasons = nil
				break
			}
			reasons = append(reasons, because(aver.ReasonException, rule, "", x.ID))
		}
		if len(actor.Policies) == 0 {
			reasons = []aver.Reason{because(aver.ReasonException, nil, "", x.ID)}
		}
		if reasons != nil {
			return frames, reasons
		}
	}
	return frames, nil
}
