// Package pdp is the policy decision point: the only code that answers, and the
// place where no answer is released before its record is durable.
//
// [Decide] is a pure function of the authority state, the query, the time and
// the usage of limits that count. It does no I/O, reads no clock and keeps
// nothing; everything it returns has a fixed order.
package pdp

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/policy"
)

// Usage is how much of the limits that count has been used.
type Usage map[LimitKey]int64

// LimitKey names one limit: a grant and "uses", or a grant and the attribute
// that is summed.
type LimitKey struct{ Grant, Name string }

// Decide decides a query at an authority state and a time (design: frames,
// gates, parts, limits that count). The evidence tells what was looked up on the
// way; it is what makes a record sufficient to decide again.
func Decide(st *authority.State, q *Query, now aver.Time, used Usage) (aver.Decision, *Evidence) {
	return decide(&decider{st: st, q: q, now: now, used: used, evidence: &Evidence{}})
}

func decide(d *decider) (aver.Decision, *Evidence) {
	q := d.q
	d.actor = d.actorOf(q.Request.Subject.Ref)
	var out aver.Decision
	out.Actor = d.actor
	if q.err != nil {
		out.Reasons = []aver.Reason{because(aver.ReasonInvalid, nil, "", q.err.Error())}
		d.evidence.everything = true
		return out, d.evidence
	}
	d.evidence.facts = make([]Fact, 0, 8) // of subject, resource and groups, in most cases
	d.resolveChain()
	d.evidence.results = make([]policy.Result, 0, len(q.parts)*(len(d.links)+1))
	d.evidence.twoParts = q.subject == q.resource
	for _, l := range d.links {
		d.evidence.twoParts = d.evidence.twoParts || uid(l.from) == q.resource
	}
	d.startCounters()
	d.resolveApproval()
	if q.parts[0].id == "" {
		out.Ruling = d.rule(q.parts[0])
	} else {
		for _, part := range q.parts {
			out.Parts = append(out.Parts, aver.PartDecision{ID: part.id, Ruling: d.rule(part)})
		}
		out.Ruling = combine(out.Parts)
	}
	out.Counters = d.finishCounters(out.Outcome.Allowed())
	return out, d.evidence
}

// decider holds one decision in the making.
type decider struct {
	st       *authority.State
	q        *Query
	now      aver.Time
	used     Usage
	inFlight bool // for work that is under way, see [DecideInFlight]
	evidence *Evidence

	actor       aver.Actor
	chain       []*authority.Grant // the grants that were found, from the originating user on
	links       []link             // the hops of the chain: those of the grants, or of the token
	chainFaults []aver.Reason      // what is wrong with the chain or the token, whatever is asked
	counters    []counting
	approval    *citedApproval // nil: the caller cites none
	heeds       bool           // signals can count
	inSessions  []session
	onDevice    aver.Ref

	whole      bool // evaluations get all of the context, for those who look at them from outside
	byPolicies reader
	byGrants   reader
	apart      bool               // grants read what the others do not, so that their requests are made apart
	reads      policy.AverMembers // of either
	action     types.Record       // context.aver.action; empty: not made yet
	spare      types.RecordMap    // see members
}

// actorOf says what is known of the acting party.
func (d *decider) actorOf(r aver.Ref) aver.Actor {
	if id, ok := d.st.Identity(r); ok {
		return aver.Actor{Ref: r, Kind: id.Kind, Event: &id.Event}
	}
	return aver.Actor{Ref: r, Kind: aver.KindOfType(r.Type)}
}

// resolveChain finds out by whose authority the request is made: by the grants
// that the caller cites, or by the token that came with it. All faults are
// listed, not only the first.
func (d *decider) resolveChain() {
	d.resolveGrants()
	d.links = grantLinks(d.chain)
	d.resolveToken()
	d.readContext()
	d.resolveSignals()
}

// resolveGrants looks up the grants that the caller cites and checks, apart from
// what is asked, that they join into a chain that holds now.
func (d *decider) resolveGrants() {
	ids := d.q.chain
	fault := func(code aver.ReasonCode, grant, detail string) {
		d.chainFaults = append(d.chainFaults, because(code, nil, grant, detail))
	}
	if len(ids) > aver.MaxChain {
		fault(aver.ReasonChainTooLong, "", fmt.Sprintf("%d grants, at most %d", len(ids), aver.MaxChain))
		return
	}
	d.chain = make([]*authority.Grant, 0, len(ids))
	seen := func(r aver.Ref) bool { // as one who gave a grant; a chain is short
		return slices.ContainsFunc(d.chain, func(g *authority.Grant) bool { return g.From == r })
	}
	var at aver.Ref // who holds the authority so far
	if origin, ok := d.q.Request.OnBehalfOf(); ok {
		at = origin
	}
	var before *authority.Grant
	for i, id := range ids {
		g, ok := d.st.Grant(id)
		if !ok {
			fault(aver.ReasonGrantUnknown, id, "")
			before, at = nil, aver.Ref{}
			continue
		}
		switch {
		case i > 0 && before == nil: // the link before is unknown, which is said already
		case !at.IsZero() && g.From != at:
			fault(aver.ReasonChainBroken, id, fmt.Sprintf("it was given by %s, not by %s", g.From, at))
		case i > 0 && g.Parent == "":
			// What somebody gives on their own authority does not pass on what others gave them.
			fault(aver.ReasonChainBroken, id, fmt.Sprintf("it does not delegate %s further: it was not issued under it", before.ID))
		case g.Parent != "" && (before == nil || g.Parent != before.ID):
			fault(aver.ReasonChainBroken, id, fmt.Sprintf("it delegates %s further, which does not stand before it", g.Parent))
		}
		if seen(g.From) {
			fault(aver.ReasonChainLoop, id, g.From.String())
		}
		d.chain = append(d.chain, g)
		if hops := len(ids) - 1 - i; hops > g.Depth {
			fault(aver.ReasonChainTooLong, id, fmt.Sprintf("%d further hops, at most %d", hops, g.Depth))
		}
		switch {
		case g.Revoked != nil && !(d.inFlight && g.InFlight == aver.InFlightComplete):
			fault(aver.ReasonGrantRevoked, id, g.Revoked.Time.String())
		case g.Expires != 0 && d.now >= g.Expires:
			fault(aver.ReasonGrantExpired, id, g.Expires.String())
		case d.now < g.NotBefore:
			fault(aver.ReasonGrantPending, id, g.NotBefore.String())
		}
		before, at = g, g.To
	}
	if len(ids) == 0 {
		return
	}
	d.evidence.grants = d.chain
	d.evidence.others = make([]policy.ReadSet, 0, len(ids))
	if before != nil && at != d.q.Request.Subject.Ref {
		fault(aver.ReasonChainBroken, before.ID, fmt.Sprintf("it was given to %s, not to %s", at, d.q.Request.Subject.Ref))
	}
	if seen(d.q.Request.Subject.Ref) {
		fault(aver.ReasonChainLoop, "", d.q.Request.Subject.Ref.String())
	}
}

// principal is one party as whom the request is authorized.
type principal struct {
	as      aver.FrameKind
	request types.Request // as it is evaluated for this party
}

// principals lists the acting party, then every delegator from the nearest up
// to the originating user, with the request as it is evaluated for each.
func (d *decider) principals(part queryPart) []principal {
	out := make([]principal, 0, len(d.links)+1)
	out = append(out, principal{aver.FrameActor, d.request(d.q.subject, d.links, part, &d.byPolicies)})
	for i := len(d.links) - 1; i >= 0; i-- {
		out = append(out, principal{aver.FrameDelegator, d.request(uid(d.links[i].from), d.links[:i], part, &d.byPolicies)})
	}
	return out
}

// grantRequest is the request as it is evaluated against the i-th grant of the
// chain. In a chain that joins it is that of the party the grant was given to,
// unless the grants read something else.
func (d *decider) grantRequest(i int, principals []principal, part queryPart) types.Request {
	to, reader := uid(d.chain[i].To), &d.byGrants
	if !d.apart {
		if p := principals[len(d.chain)-1-i]; p.request.Principal == to {
			return p.request
		}
		reader = &d.byPolicies
	}
	return d.request(to, d.links[:i+1], part, reader)
}

// rule decides one part of the request, or all of it.
func (d *decider) rule(part queryPart) aver.Ruling {
	var r aver.Ruling
	entities := d.world(part)
	ok := len(d.chainFaults) == 0
	r.Reasons = append(r.Reasons, d.chainFaults...)
	var permits []aver.Reason
	var exceptions []aver.Frame
	principals := d.principals(part)
	r.Frames = make([]aver.Frame, 0, len(principals)+len(d.chain))
	for i := range principals {
		p := &principals[i]
		frame, reasons := d.authorize(p, entities)
		r.Frames = append(r.Frames, frame)
		if !frame.Allowed && p.as == aver.FrameActor {
			var lifted []aver.Reason
			if exceptions, lifted = d.excepted(frame, p, entities); lifted != nil {
				permits = lifted
				continue
			}
		}
		if !frame.Allowed {
			ok = false
			r.Reasons = append(r.Reasons, reasons...)
		} else if p.as == aver.FrameActor {
			permits = reasons
		}
	}
	r.Frames = append(r.Frames, exceptions...)
	for i, g := range d.chain {
		frame, reasons := d.authorizeGrant(g, d.grantRequest(i, principals, part), entities)
		r.Frames = append(r.Frames, frame)
		if !frame.Allowed {
			ok = false
			r.Reasons = append(r.Reasons, reasons...)
		}
	}
	if !d.covered(entities) {
		ok = false
		r.Reasons = append(r.Reasons, because(aver.ReasonTokenScope, nil, "", ""))
	}
	taken, reasons := d.take(entities)
	r.Reasons = append(r.Reasons, reasons...)
	if !ok || len(reasons) > 0 {
		return r // denied
	}
	approved, ok := d.gates(&r, principals, entities)
	if r.Outcome.Allowed() || len(exceptions) > 0 { // that an exception was used is said whatever comes of it
		r.Reasons = append(permits, r.Reasons...)
	}
	if ok && r.Outcome.Allowed() {
		d.commit(taken)
		if approved {
			d.useApproval()
		}
	}
	return r
}

// authorize evaluates the ordinary policies as one principal. The reasons are
// why it is allowed, or why it is not.
func (d *decider) authorize(p *principal, entities *world) (aver.Frame, []aver.Reason) {
	result := d.q.Policies(d.st).Authorize(entities, p.request)
	d.evidence.evaluated(result)
	frame := aver.Frame{
		As: p.as, Policies: ruleIDs(result.Reasons), Errors: policyErrors(result.Errors),
		Allowed: bool(result.Decision) && len(result.Errors) == 0,
	}
	if p.as == aver.FrameDelegator {
		frame.Entity = ref(p.request.Principal)
	}
	reasons, all := frame.AppendReasons(nil)
	if !all && !bool(result.Decision) {
		who := ""
		if p.as == aver.FrameDelegator {
			who = frame.Entity.String()
		}
		for _, p := range frame.Policies {
			reasons = append(reasons, aver.Reason{Code: aver.ReasonForbidden, Policy: p, Detail: who})
		}
	}
	for i := range reasons {
		reasons[i].Text = ReasonText(reasons[i], words(result, reasons[i].Policy))
	}
	return frame, reasons
}

// words are the @reason of a policy that was evaluated.
func words(result policy.Result, id string) string {
	for _, rule := range result.Reasons {
		if rule.ID == id {
			return rule.Reason
		}
	}
	for _, e := range result.Errors {
		if e.Rule.ID == id {
			return e.Rule.Reason
		}
	}
	return ""
}

// authorizeGrant evaluates one grant, which is itself a Cedar permit.
func (d *decider) authorizeGrant(g *authority.Grant, request types.Request, entities *world) (aver.Frame, []aver.Reason) {
	result := g.Permit.Authorize(entities, request)
	d.evidence.read(result.Reads())
	frame := aver.Frame{
		As: aver.FrameGrant, Grant: g.ID, Errors: policyErrors(result.Errors),
		Allowed: bool(result.Decision) && len(result.Errors) == 0,
	}
	reasons, _ := frame.AppendReasons(nil)
	for i := range reasons {
		reasons[i].Text = ReasonText(reasons[i], "")
	}
	return frame, reasons
}

// gates evaluates the gate policies as every principal (an agent must not pass
// where the one it acts for would have to stop) and sets the outcome. It tells
// whether an approval met one, and returns false when the ruling became a denial.
func (d *decider) gates(r *aver.Ruling, principals []principal, entities *world) (approved, ok bool) {
	var matched []*policy.Rule
	for i := range principals {
		result := d.q.Policies(d.st).Gates(entities, principals[i].request)
		d.evidence.evaluated(result)
		for _, e := range result.Errors {
			r.Reasons = append(r.Reasons, because(aver.ReasonPolicyError, e.Rule, "", e.Message))
		}
		for _, rule := range result.Reasons {
			if !slices.Contains(matched, rule) {
				matched = append(matched, rule)
			}
		}
	}
	if len(r.Reasons) > 0 {
		return false, false
	}
	slices.SortFunc(matched, func(a, b *policy.Rule) int { return strings.Compare(a.ID, b.ID) })
	outcome := aver.Permitted
	for _, rule := range matched {
		switch g := rule.Gate; g.Kind {
		case policy.Challenge:
			outcome = min(outcome, aver.Challenged)
			r.Reasons = append(r.Reasons, because(aver.ReasonChallenge, rule, "", ""))
			r.Requirements = append(r.Requirements, requirement(rule))
		case policy.Escalate:
			met, reason := d.approved(rule)
			if reason != nil && !slices.Contains(r.Reasons, *reason) {
				r.Reasons = append(r.Reasons, *reason)
			}
			if met {
				approved = true
				continue
			}
			outcome = min(outcome, aver.Escalated)
			r.Reasons = append(r.Reasons, because(aver.ReasonEscalate, rule, "", ""))
			r.Requirements = append(r.Requirements, requirement(rule))
		case policy.Restrict:
			if !slices.Contains(d.q.supported, g.Obligation.Type) {
				outcome = aver.Denied
				r.Reasons = append(r.Reasons, because(aver.ReasonUnsupported, rule, "", g.Obligation.Type))
				continue
			}
			outcome = min(outcome, aver.Restricted)
			r.Reasons = append(r.Reasons, because(aver.ReasonRestrict, rule, "", ""))
			r.Obligations = append(r.Obligations, obligation(rule))
		}
	}
	r.Outcome = outcome
	if !outcome.Allowed() {
		r.Obligations = nil
	}
	return approved, outcome != aver.Denied
}

func requirement(rule *policy.Rule) aver.Requirement {
	g := rule.Gate
	out := aver.Requirement{
		Gate: aver.Gate(g.Kind), Policy: rule.ID,
		ACRValues: g.ACRValues, AMRValues: g.AMRValues, Present: g.Present,
		MaxAge: g.MaxAge, Approvers: g.Approvers, Approvals: g.Approvals, Within: int64(g.Within.Seconds()),
	}
	return out
}

func obligation(rule *policy.Rule) aver.Obligation {
	out := aver.Obligation{ID: rule.ID, Type: rule.Gate.Obligation.Type}
	if p := rule.Gate.Obligation.Properties; p != nil {
		// The bundle was refused on loading if this was not an object.
		if err := out.Properties.UnmarshalJSON(p); err != nil {
			panic(fmt.Sprintf("pdp: obligation of %s: %v", rule.ID, err))
		}
	}
	return out
}

// combine makes the ruling on a request of the rulings on its parts.
func combine(parts []aver.PartDecision) aver.Ruling {
	allowed := 0
	worst := aver.Permitted
	for _, p := range parts {
		if p.Outcome.Allowed() {
			allowed++
		}
		worst = min(worst, p.Outcome)
	}
	switch {
	case allowed == len(parts):
		out := aver.Ruling{Outcome: worst, Reasons: aver.PartReasons(parts)}
		for _, p := range parts {
			out.Obligations = appendObligations(out.Obligations, p.Obligations)
		}
		return out
	case allowed > 0:
		out := aver.Ruling{Outcome: aver.PartiallyAuthorized}
		out.Reasons = []aver.Reason{because(aver.ReasonPartsDiffer, nil, "", fmt.Sprintf("%d of %d", allowed, len(parts)))}
		for _, p := range parts {
			out.Obligations = appendObligations(out.Obligations, p.Obligations)
		}
		return out
	}
	out := aver.Ruling{Outcome: worst}
	out.Reasons = []aver.Reason{because(aver.ReasonPartsNone, nil, "", "")}
	for _, p := range parts {
		for _, req := range p.Requirements {
			if !slices.ContainsFunc(out.Requirements, func(x aver.Requirement) bool { return x.Policy == req.Policy }) {
				out.Requirements = append(out.Requirements, req)
			}
		}
	}
	return out
}

// appendObligations appends the obligations that are not in list yet.
func appendObligations(list, more []aver.Obligation) []aver.Obligation {
	for _, o := range more {
		if !slices.ContainsFunc(list, func(x aver.Obligation) bool { return x.ID == o.ID }) {
			list = append(list, o)
		}
	}
	return list
}

func ruleIDs(rules []*policy.Rule) []string {
	ids := make([]string, len(rules))
	for i, r := range rules {
		ids[i] = r.ID
	}
	slices.Sort(ids)
	return ids
}

func policyErrors(errs []policy.RuleError) []aver.PolicyError {
	out := make([]aver.PolicyError, len(errs))
	for i, e := range errs {
		out[i] = aver.PolicyError{Policy: e.Rule.ID, Message: e.Message}
	}
	slices.SortFunc(out, func(a, b aver.PolicyError) int { return strings.Compare(a.Policy, b.Policy) })
	return out
}
