package trail

import (
	"cmp"
	"slices"

	"github.com/aver-authz/aver"
)

// Why a step follows from another.
const (
	whyActivity  = "what became of it"
	whyNext      = "and then"
	whyDelegated = "on its authority"
	whyChallenge = "challenge met"
	whyApproved  = "approval"
	whyEscalated = "approval asked for"
	whyGrant     = "grant"
	whyException = "exception"
	whyChange    = "and then"
	whyLapse     = "ended its authorization"
	whyDecided   = "allowed by"
)

// link finds out what each step follows from. The steps are in their order.
func (b *builder) link() {
	decided := map[string]int{}     // evaluation id :: step
	reported := map[string]int{}    // evaluation id :: its last activity so far
	changed := map[string]int{}     // what an event is about :: the last event so far
	events := map[uint64]int{}      // index :: step
	acted := map[aver.Ref][]*Step{} // by actor: what was allowed so far
	used := map[string]bool{}       // grants that a decision was linked to
	for i := range b.Steps {
		s := &b.Steps[i]
		after := func(step int, why string) {
			if step != 0 && !slices.ContainsFunc(s.After, func(l Link) bool { return l.Step == step }) {
				s.After = append(s.After, Link{step, why})
			}
		}
		switch {
		case s.Event != nil:
			after(changed[s.Event.subject], whyChange)
			if s.Event.Type == aver.EventApprovalRequested {
				after(decided[s.Event.allowed], whyEscalated)
			} else {
				after(decided[s.Event.allowed], whyDecided)
			}
			changed[s.Event.subject], events[s.Index] = s.Number, s.Number
		case s.Activity != nil:
			id := s.Activity.EvaluationID
			if last := reported[id]; last != 0 {
				after(last, whyNext)
			} else {
				after(decided[id], whyActivity)
			}
			if l := s.Activity.Lapse; l != nil && l.Event != nil {
				after(events[*l.Event], whyLapse)
			}
			reported[id] = s.Number
		case s.Decision != nil:
			d := s.Decision
			after(decided[d.Challenge], whyChallenge)
			if d.Approval != "" {
				after(changed["approval "+d.Approval], whyApproved)
			}
			for _, x := range d.Exceptions {
				after(changed["exception "+x], whyException)
			}
			for _, g := range d.Grants {
				if !used[g] || !d.Outcome.Allowed() { // else every use would hang on it
					after(changed["grant "+g], whyGrant)
				}
				used[g] = true
			}
			b.delegated(s, acted, reported, after)
			decided[d.EvaluationID] = s.Number
			if d.Outcome.Allowed() && !d.Erased {
				acted[d.Actor] = append(acted[d.Actor], s)
			}
		}
	}
}

// delegated links a decision to what the party did that delegated to its actor,
// else to what the actor did itself before, in the same trace or session.
func (b *builder) delegated(s *Step, acted map[aver.Ref][]*Step, reported map[string]int, after func(int, string)) {
	d := s.Decision
	link := func(who aver.Ref, why string) bool {
		before := acted[who]
		for i := len(before) - 1; i >= 0; i-- {
			if joined(before[i].Decision, d) {
				after(cmp.Or(reported[before[i].Decision.EvaluationID], before[i].Number), why)
				return true
			}
		}
		return false
	}
	for i := len(d.Via) - 1; i >= 0; i-- {
		if d.Via[i] != d.Actor && link(d.Via[i], whyDelegated) {
			return
		}
	}
	link(d.Actor, whyNext)
}

// joined tells whether two decisions share a trace or a session.
func joined(a, b *Decision) bool {
	share := func(x, y []string) bool {
		return slices.ContainsFunc(x, func(s string) bool { return slices.Contains(y, s) })
	}
	return share(a.Traces, b.Traces) || share(a.Sessions, b.Sessions)
}
