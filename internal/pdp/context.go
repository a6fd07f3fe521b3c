package pdp

import (
	"github.com/cedar-policy/cedar-go/types"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/policy"
)

// reader is what some evaluations can read of the context, so that nothing else
// is made for them.
type reader struct {
	aver policy.AverMembers
	sent []types.Value // what they can read of the query's context, each in its place there; nil: nothing
	same types.Record  // the context, where they can read nothing that differs between frames; empty: not made yet
}

// Members of context.aver: what depends on the principal and its role alone, and
// all that differs from frame to frame or from part to part.
const (
	ofActor = policy.AverActor | policy.AverActingFor | policy.AverDelegated
	differs = ofActor | policy.AverOrigin | policy.AverChain | policy.AverHops | policy.AverPurpose | policy.AverPart | policy.AverSignals
)

// add adds what other evaluations can read. Callers may send thousands of members,
// so each is found by its place.
func (r *reader) add(q *Query, reads policy.ContextReads) {
	r.aver |= reads.Aver()
	for i, m := range q.context {
		if !reads.Reads(string(m.name)) || r.has(i) {
			continue
		}
		if r.sent == nil {
			r.sent = make([]types.Value, len(q.context))
		}
		r.sent[i] = m.made()
	}
}

// has tells whether a reader can read the i-th member of what was sent.
func (r *reader) has(i int) bool { return r.sent != nil && r.sent[i] != nil }

// covers tells whether a reader can read all that another can.
func (r *reader) covers(other *reader) bool {
	for i := range other.sent {
		if other.has(i) && !r.has(i) {
			return false
		}
	}
	return r.aver.Has(other.aver)
}

// readContext finds out what of the context evaluations can read: those of the
// policy set and of exceptions, which have their requests in common, and those of
// grants.
func (d *decider) readContext() {
	if d.whole {
		d.byPolicies.add(d.q, policy.AllOfContext)
	} else {
		d.byPolicies.add(d.q, d.q.Policies(d.st).ContextReads())
		for _, x := range d.exceptions() {
			d.byPolicies.add(d.q, x.Permit.ContextReads())
		}
		for _, g := range d.chain {
			d.byGrants.add(d.q, g.Permit.ContextReads())
		}
	}
	d.reads = d.byPolicies.aver | d.byGrants.aver
	d.apart = !d.byPolicies.covers(&d.byGrants)
}

// request builds the Cedar request of a frame, with what a reader can read.
func (d *decider) request(principal types.EntityUID, chain []link, part queryPart, r *reader) types.Request {
	known := d.look(principal) // in any case: a record cites it
	var signals types.Record
	if d.reads.Has(policy.AverSignals) { // so are they, whichever of the frames can read them
		signals = d.signals(principal)
	}
	req := types.Request{Principal: principal, Action: d.q.action, Resource: d.q.resource}
	if req.Context = r.same; req.Context.Len() == 0 {
		req.Context = d.context(principal, known.Identity, chain, part, signals, r)
		if r.aver&differs == 0 {
			r.same = req.Context
		}
	}
	return req
}

// context builds the context of a frame. What Aver vouches for stands in
// context.aver; docs/policies.md describes each member.
func (d *decider) context(principal types.EntityUID, identity *authority.Identity, chain []link, part queryPart,
	signals types.Record, r *reader,
) types.Record {
	vouched := d.vouched(principal, chain, part, signals, r)
	isActor := principal == d.q.subject
	role := authority.Role{
		ActingFor: len(chain) > 0 || isActor && d.q.actingFor,
		Delegated: len(chain) > 0 || isActor && len(d.q.chain) > 0,
	}
	var inAver types.Value
	if identity != nil && len(vouched) == 0 {
		context := identity.Context(d.now, role, r.aver&ofActor)
		if len(r.sent) == 0 {
			return context
		}
		inAver, _ = context.Get("aver")
	} else {
		if vouched == nil {
			vouched = d.members()
		}
		if r.aver.Has(policy.AverActor) {
			vouched["actor"] = d.actorRecord(principal, identity)
		}
		role.Put(vouched, r.aver)
		inAver = d.record(vouched)
	}
	m := d.members()
	for i, value := range r.sent {
		if value != nil {
			m[d.q.context[i].name] = value
		}
	}
	m["aver"] = inAver
	return d.record(m)
}

// members returns an empty map for the members of a record.
func (d *decider) members() types.RecordMap {
	m := d.spare
	if d.spare = nil; m == nil {
		m = make(types.RecordMap, fewMembers)
	}
	return m
}

// record makes a record, which copies the map: it serves again, unless it has
// grown, since then each copy would be as large.
func (d *decider) record(m types.RecordMap) types.Record {
	r := types.NewRecord(m)
	if len(m) <= fewMembers {
		clear(m)
		d.spare = m
	}
	return r
}

// fewMembers is how many members a map of Go holds at its smallest.
const fewMembers = 8

// vouched is what a reader can read in context.aver besides the actor and its
// role; nil if nothing.
func (d *decider) vouched(principal types.EntityUID, chain []link, part queryPart, signals types.Record, r *reader) types.RecordMap {
	var m types.RecordMap
	put := func(name types.String, value types.Value) {
		if m == nil {
			m = d.members()
		}
		m[name] = value
	}
	if r.aver.Has(policy.AverNow) {
		put("now", types.NewDatetimeFromMillis(int64(d.now)))
	}
	if r.aver.Has(policy.AverAction) {
		if d.action.Len() == 0 {
			d.action = d.q.actionRecord()
		}
		put("action", d.action)
	}
	if r.aver.Has(policy.AverOrigin) {
		origin := principal
		if len(chain) > 0 {
			origin = uid(chain[0].from)
		}
		put("origin", origin)
	}
	if r.aver.Has(policy.AverChain) {
		delegators := make([]types.Value, len(chain))
		for i, l := range chain {
			delegators[i] = uid(l.from)
		}
		put("chain", types.NewSet(delegators...))
	}
	if r.aver.Has(policy.AverHops) {
		put("hops", types.Long(len(chain)))
	}
	if len(chain) > 0 && chain[len(chain)-1].purpose != "" && r.aver.Has(policy.AverPurpose) {
		put("purpose", types.String(chain[len(chain)-1].purpose))
	}
	if t := d.q.token; t != nil && t.Fault == "" && r.aver.Has(policy.AverToken) {
		put("token", d.q.tokenRecord)
	}
	if d.q.tool != "" && r.aver.Has(policy.AverTool) {
		put("tool", types.String(d.q.tool))
	}
	if part.id != "" && r.aver.Has(policy.AverPart) {
		put("part", overlay(types.NewRecord(types.RecordMap{"id": types.String(part.id)}), part.claims))
	}
	if signals.Len() > 0 && r.aver.Has(policy.AverSignals) {
		put("signals", signals)
	}
	return m
}

// actorRecord is context.aver.actor: what is registered about a principal.
func (d *decider) actorRecord(principal types.EntityUID, identity *authority.Identity) types.Record {
	if identity == nil {
		return unregistered[aver.KindOfType(string(principal.Type))]
	}
	return identity.Actor(d.now)
}

// unregistered is context.aver.actor of those that nobody registered, by kind.
var unregistered = func() map[aver.Kind]types.Record {
	records := map[aver.Kind]types.Record{}
	for _, kind := range append(aver.Kinds(), aver.KindUnknown) {
		records[kind] = types.NewRecord(types.RecordMap{
			"kind":       types.String(kind),
			"machine":    types.Boolean(kind.Machine()),
			"registered": types.False,
			"status":     types.String(aver.Unregistered),
			"expired":    types.False,
		})
	}
	return records
}()
