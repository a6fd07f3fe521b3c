package why

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/policy"
)

// Role is what a policy did in a decision.
type Role string

// The roles, in the order in which they are told.
const (
	Failed    Role = "error"     // it could not be evaluated
	Forbids   Role = "forbids"   //
	Outside   Role = "outside"   // a grant that does not cover what is asked
	Challenge Role = "challenge" // a gate
	Escalate  Role = "escalate"  // a gate
	Restrict  Role = "restrict"  // a gate
	Permits   Role = "permits"   //
	Missed    Role = "missed"    // a permit that came close to matching
)

var roles = []Role{Failed, Forbids, Outside, Challenge, Escalate, Restrict, Permits, Missed}

// Policy is a policy that counted, with the version that was active, who is
// behind it, and its conditions with the values that they saw.
type Policy struct {
	ID         string      `json:"id"`
	Role       Role        `json:"role"`
	As         []string    `json:"as,omitempty"`    // as whom it was evaluated
	Parts      []string    `json:"parts,omitempty"` // in which parts
	Reason     string      `json:"reason,omitempty"`
	Error      string      `json:"error,omitempty"`
	File       string      `json:"file,omitempty"`
	Line       int         `json:"line,omitempty"`
	Version    *Version    `json:"version,omitempty"`
	Conditions []Condition `json:"conditions,omitempty"` // all of which had to hold
}

// Version is the version of a bundle that was active.
type Version struct {
	Bundle    string   `json:"bundle"`
	Digest    string   `json:"digest"`
	Published *Event   `json:"published"`
	Activated *Event   `json:"activated,omitempty"`
	Owner     string   `json:"owner,omitempty"`
	Review    string   `json:"review,omitempty"`         // the date of the next one
	Overdue   bool     `json:"review_overdue,omitempty"` // that date had passed when it was decided
	Reviewed  *Event   `json:"reviewed,omitempty"`       // the last review of this version until then
	Verdict   string   `json:"verdict,omitempty"`        // of that review: current or outdated
	Controls  []string `json:"controls,omitempty"`
}

// Unknown is the state of a condition that needs a value which was withheld, or
// not kept since no policy that could match reads it.
const Unknown policy.State = "unknown"

// Condition is one thing that a policy asks for.
type Condition struct {
	Kind  string       `json:"kind"` // principal, action, resource, when or unless
	Text  string       `json:"text"` // as Cedar
	State policy.State `json:"state"`
	Alone policy.State `json:"alone,omitempty"` // of one that was not reached, what it is by itself
	Error string       `json:"error,omitempty"`
	Seen  []Seen       `json:"seen,omitempty"`
	// Alternatives are the parts of an "or", each a list of which all have to hold.
	Alternatives [][]Condition `json:"alternatives,omitempty"`
}

// Seen is a value that a condition looks at.
type Seen struct {
	Path     string `json:"path"`
	Value    string `json:"value,omitempty"` // as Cedar
	Absent   bool   `json:"absent,omitempty"`
	Withheld bool   `json:"withheld,omitempty"` // only its digest is here
	NotKept  bool   `json:"not_kept,omitempty"` // it was sent, and the decision could not depend on it
}

func (p Policy) order() int { return slices.Index(roles, p.Role) }

// policies explains the policies that decided a scene.
func (x *explainer) policies(s scene) {
	passed := true // the frames
	for i, f := range s.Frames {
		if f.As == aver.FrameException {
			continue
		}
		passed = passed && (f.Allowed || s.excepted())
		failed := map[string]bool{}
		for _, e := range f.Errors {
			failed[e.Policy] = true
			x.policy(s, i, e.Policy, Failed)
		}
		switch {
		case f.Allowed || len(failed) > 0:
		case f.As == aver.FrameGrant:
			x.policy(s, i, f.Grant, Outside)
		case len(f.Policies) == 0:
			for _, miss := range x.closest(s, i) {
				x.add(s, i, miss.Rule, miss, Missed)
			}
		default:
			for _, id := range f.Policies {
				x.policy(s, i, id, Forbids)
			}
		}
	}
	if !passed {
		return
	}
	gated := false
	for _, r := range s.Reasons {
		role := Role(r.Code)
		switch r.Code {
		case aver.ReasonUnsupported:
			role = Restrict
		case aver.ReasonPolicyError:
			role = Failed
		case aver.ReasonChallenge, aver.ReasonEscalate, aver.ReasonRestrict:
		default:
			continue
		}
		gated = true
		x.gate(s, r.Policy, role)
	}
	if s.Outcome == aver.Denied && !gated {
		return // whatever permits it was not what decided
	}
	for i, f := range s.Frames {
		for _, id := range f.Policies {
			if !f.Allowed {
				continue // set aside by an exception
			}
			x.policy(s, i, id, Permits)
		}
	}
}

// gate explains a gate as each of the parties for whom it stood in the way.
func (x *explainer) gate(s scene, id string, role Role) {
	found := false
	for i, f := range s.Frames {
		if alone(f) {
			continue
		}
		if e, ok := x.explain(s, i, id); ok && e.State != policy.Failed {
			x.policy(s, i, id, role)
			found = true
		}
	}
	if !found {
		x.policy(s, 0, id, role)
	}
}

// rule finds a policy of the frame.
func (x *explainer) rule(s scene, frame int, id string) (*policy.Rule, bool) {
	if frame < len(s.views) && s.views[frame].Permit != nil {
		return s.views[frame].Permit.Rule(), true
	}
	return x.query.Policies(x.st).Rule(id)
}

func (x *explainer) explain(s scene, frame int, id string) (policy.Explanation, bool) {
	rule, ok := x.rule(s, frame, id)
	if !ok || frame >= len(s.views) {
		return policy.Explanation{}, false
	}
	v := s.views[frame]
	return policy.Explain(rule, v.Entities, v.Request), true
}

// mostMisses bounds how many of the permits that came closest are told.
const mostMisses = 3

// closest are the permits that failed by the fewest of their conditions, as far
// as those are known.
func (x *explainer) closest(s scene, frame int) []policy.Explanation {
	if frame >= len(s.views) {
		return nil
	}
	v := s.views[frame]
	failing := func(e policy.Explanation) int {
		return e.Failing() - len(x.unknown(s, v, e.Clauses))
	}
	misses := x.query.Policies(x.st).NearMisses(v.Entities, v.Request)
	slices.SortStableFunc(misses, func(a, b policy.Explanation) int { return failing(a) - failing(b) })
	for i, m := range misses {
		if i == mostMisses || failing(m) > failing(misses[0]) {
			return misses[:i]
		}
	}
	return misses
}

// unknown are the conditions among the clauses whose state is not known.
func (x *explainer) unknown(s scene, v pdp.View, clauses []policy.Clause) []Condition {
	return slices.DeleteFunc(x.conditions(s, v, clauses), func(c Condition) bool { return c.State != Unknown })
}

// policy explains a policy of one frame.
func (x *explainer) policy(s scene, frame int, id string, role Role) {
	rule, ok := x.rule(s, frame, id)
	if !ok || frame >= len(s.Frames) {
		x.out.Policies = append(x.out.Policies, Policy{ID: id, Role: role}) // the record names what its state does not have
		return
	}
	e, _ := x.explain(s, frame, id)
	x.add(s, frame, rule, e, role)
}

// add takes a policy into the explanation, together with an earlier one that saw
// the same.
func (x *explainer) add(s scene, frame int, rule *policy.Rule, e policy.Explanation, role Role) {
	p := Policy{
		ID: rule.ID, Role: role, Reason: rule.Reason, File: rule.File, Line: rule.Line,
		As: []string{x.who(s.Frames[frame]).ID}, Version: x.version(rule.Bundle),
	}
	if s.part != "" {
		p.Parts = []string{s.part}
	}
	for _, failed := range s.Frames[frame].Errors {
		if role == Failed && failed.Policy == rule.ID {
			p.Error = failed.Message
		}
	}
	if role == Failed && p.Error == "" {
		p.Error = e.Error
	}
	if frame < len(s.views) {
		p.Conditions = x.conditions(s, s.views[frame], e.Clauses)
		x.values(s, s.views[frame], e.Clauses)
	}
	into := &x.out.Policies
	if role == Missed {
		into = &x.out.Closest
	}
	for i := range *into {
		if q := &(*into)[i]; q.same(p) {
			q.As, q.Parts = appendNew(q.As, p.As...), appendNew(q.Parts, p.Parts...)
			return
		}
	}
	*into = append(*into, p)
}

// same tells whether two policies differ only in as whom, and in which part,
// they were evaluated.
func (p Policy) same(q Policy) bool {
	p.As, q.As, p.Parts, q.Parts = nil, nil, nil, nil
	a, errA := json.Marshal(p)
	b, errB := json.Marshal(q)
	return errA == nil && errB == nil && string(a) == string(b)
}

func (x *explainer) version(bundle string) *Version {
	for _, v := range x.st.ActiveBundles() {
		if v.Bundle.Name() != bundle {
			continue
		}
		meta := v.Bundle.Meta()
		out := &Version{
			Bundle: bundle, Digest: v.Bundle.Digest(), Published: eventOf(v.Mark),
			Owner: meta.Owner, Review: meta.Review, Controls: meta.Controls,
			Overdue: meta.Review != "" && meta.Review < x.record.Time.Std().Format(time.DateOnly),
		}
		if n := len(v.History); n > 0 {
			out.Activated = eventOf(v.History[n-1].Mark)
		}
		if r, ok := x.st.PolicyReview(bundle, out.Digest); ok { // it set the next one
			out.Reviewed, out.Verdict = eventOf(r.Mark), string(r.Verdict)
			out.Review, out.Overdue = r.Next.Std().Format(time.DateOnly), r.Next <= x.record.Time
		}
		return out
	}
	return nil // a grant is no policy of a bundle
}

// conditions are the clauses as far as they can be shown: what needs a withheld
// value is unknown, and what comes after it stands for itself.
func (x *explainer) conditions(s scene, v pdp.View, clauses []policy.Clause) []Condition {
	var out []Condition
	unknown := false
	for _, c := range clauses {
		state := c.State
		if unknown {
			state = c.Alone
		}
		d := Condition{Kind: c.Kind, Text: c.Text, State: state, Error: c.Error}
		for _, seen := range c.Seen {
			w := x.see(s, v, seen)
			if w.Withheld || w.NotKept {
				d.State = Unknown
			}
			if w.Path != "principal" && w.Path != "action" && w.Path != "resource" { // who asks for what is known
				d.Seen = append(d.Seen, w)
			}
		}
		for _, alternative := range c.Alternatives {
			conditions := x.conditions(s, v, alternative)
			d.Alternatives = append(d.Alternatives, conditions)
			if c.Alone != policy.Held && slices.ContainsFunc(conditions, func(c Condition) bool { return c.State == Unknown }) {
				d.State = Unknown
			}
		}
		switch d.State {
		case Unknown:
			d.Error, unknown = "", true
		case policy.NotReached:
			d.Alone = c.Alone
		}
		out = append(out, d)
	}
	return out
}

// see tells a value that is absent from one that is not here.
func (x *explainer) see(s scene, v pdp.View, seen policy.Seen) Seen {
	out := Seen{Path: seen.Path, Value: seen.Value}
	switch {
	case seen.Absent && x.hidden(s, v, seen.Path):
		out.Withheld = true
	case seen.Absent && x.omitted(v, seen.Path):
		out.NotKept = true
	default:
		out.Absent = seen.Absent
	}
	return out
}
