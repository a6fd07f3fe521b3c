package pdp

import (
	"slices"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/policy"
)

// A sieve takes out of a search what is sure to be denied, so that 10,000
// entities don't cost 10,000 decisions: what is known is evaluated once, and
// what remains of the policies is evaluated for each. It may let through what
// [Decide] denies, never the other way round. Not safe for concurrent use.
type sieve struct {
	d       *decider // over a query of its own, whose open party is set for each candidate
	subject bool     // subjects are searched for, else resources
	closed  bool     // nothing passes, whoever it is
	only    string   // the one that passes, unless ""
	open    bool     // the context depends on the candidate
	parties []screen // what must allow, and not hold back: actor and delegators
	grants  []screen // and grants, from the originating user on
}

// screen is what remains to be evaluated of one frame.
type screen struct {
	ordinary *policy.Residual
	gates    *policy.Residual // nil for grants
	request  types.Request    // the frame's, of which the open party is not set
}

// newSieve makes the sieve of a search for subjects or resources; nil if all are
// better decided at once.
func newSieve(st *authority.State, model *Query, searched Searched, now aver.Time) *sieve {
	if searched == Actions || len(model.parts) != 1 || model.parts[0].id != "" {
		return nil // few, or several answers each
	}
	q := *model
	req := *model.Request
	q.Request = &req
	s := &sieve{subject: searched == Subjects, d: &decider{st: st, q: &q, now: now, evidence: &Evidence{}}}
	s.set("") // nothing is called that
	s.d.resolveChain()
	if s.subject {
		if n := len(q.chain); n > 0 { // who is not at its end is denied
			if len(s.d.chain) < n || s.d.chain[n-1].To.Type != req.Subject.Type {
				s.closed = true
			} else {
				s.only = s.d.chain[n-1].To.ID
			}
			return s
		}
		s.open = true
	} else {
		s.closed = len(s.d.chainFaults) > 0
		// Of the context, these depend on the resource.
		s.open = req.Resource.Type == "tool" || req.Approval() != ""
	}
	unknown := policy.Unknown{Principal: s.subject, Context: s.open}
	set, entities, part := st.Policies(), s.d.world(q.parts[0]), q.parts[0]
	principals := s.d.principals(part)
	for _, p := range principals {
		s.parties = append(s.parties, screen{
			ordinary: set.Residual(entities, p.request, unknown),
			gates:    set.GateResidual(entities, p.request, unknown, s.blocks),
			request:  p.request,
		})
	}
	for i, g := range s.d.chain {
		r := s.d.grantRequest(i, principals, part)
		s.grants = append(s.grants, screen{ordinary: g.Permit.Residual(entities, r, unknown), request: r})
	}
	return s
}

// blocks tells whether a gate, when it matches, is sure to hold back.
func (s *sieve) blocks(g *policy.Gate) bool {
	switch g.Kind {
	case policy.Challenge:
		return true
	case policy.Escalate:
		return s.d.q.Request.Approval() == ""
	case policy.Restrict:
		return !slices.Contains(s.d.q.supported, g.Obligation.Type)
	}
	return false
}

// set makes a candidate the open party.
func (s *sieve) set(id string) {
	q := s.d.q
	if s.subject {
		q.Request.Subject.ID = id
		q.subject = uid(q.Request.Subject.Ref)
	} else {
		q.Request.Resource.ID = id
		q.resource = uid(q.Request.Resource.Ref)
		q.tool = q.Request.Tool()
	}
	s.d.evidence.facts = s.d.evidence.facts[:0] // nobody asks for them
	s.d.byPolicies.same, s.d.byGrants.same = types.Record{}, types.Record{}
}

// passes tells whether a candidate might be allowed.
func (s *sieve) passes(id string) bool {
	if s.closed {
		return false
	}
	if s.only != "" {
		return s.only == id
	}
	s.set(id)
	q := s.d.q
	candidate := q.resource
	if s.subject {
		candidate = q.subject
	}
	if s.seen(candidate) {
		return true // what the caller says of it may have changed what was seen
	}
	part := q.parts[0]
	entities := s.d.world(part)
	if s.open {
		s.rebuild(part)
	}
	complete := func(r types.Request) types.Request {
		if !s.open {
			r.Resource = candidate
		}
		return r
	}
	for i := range s.parties {
		if i == 0 && len(s.d.st.ExceptionsOf(q.Request.Subject.Ref, s.d.now)) > 0 {
			continue // they may allow the acting party what the policies don't
		}
		if p := &s.parties[i]; !p.ordinary.Possible(entities, complete(p.request)) {
			return false
		}
	}
	for i := range s.grants {
		if g := &s.grants[i]; !g.ordinary.Possible(entities, complete(g.request)) {
			return false
		}
	}
	for i := range s.parties {
		if p := &s.parties[i]; p.gates.Holds(entities, complete(p.request)) {
			return false
		}
	}
	return true
}

// rebuild builds the requests of the frames for the candidate that is set.
func (s *sieve) rebuild(part queryPart) {
	principals := s.d.principals(part)
	for i, p := range principals {
		s.parties[i].request = p.request
	}
	for i := range s.grants {
		s.grants[i].request = s.d.grantRequest(i, principals, part)
	}
}

// seen tells whether making the sieve has looked at an entity.
func (s *sieve) seen(candidate types.EntityUID) bool {
	for _, p := range s.parties {
		if p.ordinary.Seen(candidate) || p.gates.Seen(candidate) {
			return true
		}
	}
	return slices.ContainsFunc(s.grants, func(g screen) bool { return g.ordinary.Seen(candidate) })
}
