package pdp

import (
	"maps"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/policy"
)

// Evidence is what a decision rested on.
type Evidence struct {
	facts      []Fact           // what was looked up, once each
	results    []policy.Result  // of evaluations of the policy set
	others     []policy.ReadSet // what was read besides: by grants, exceptions, and Aver itself
	grants     []*authority.Grant
	cited      []uint64 // events of approvals and exceptions
	twoParts   bool     // the resource is also a principal, so what is read of one is read of the other
	everything bool     // the request could not be read, so all of it is evidence
	signals    []seenSignal
	watched    []aver.Ref // the sessions and the device of the request
}

func (e *Evidence) evaluated(result policy.Result) { e.results = append(e.results, result) }

func (e *Evidence) read(reads policy.ReadSet) { e.others = append(e.others, reads) }

// mayRead tells whether what stands at a path can have been read.
func (e *Evidence) mayRead(path policy.Path) bool {
	return slices.ContainsFunc(e.others, func(s policy.ReadSet) bool { return s.Contains(path) }) ||
		slices.ContainsFunc(e.results, func(r policy.Result) bool { return r.Reads().Contains(path) })
}

func (e *Evidence) grant(g *authority.Grant) { e.grants = append(e.grants, g) }

// fact notes that an entity was looked up. There are few, so a list does.
func (e *Evidence) fact(uid types.EntityUID, event uint64, known bool) {
	for i := range e.facts {
		if f := &e.facts[i]; f.ID == string(uid.ID) && f.Type == string(uid.Type) {
			return
		}
	}
	f := Fact{Ref: ref(uid)}
	if known {
		f.Event = &event
	}
	e.facts = append(e.facts, f)
}

// Fact is an entity that was looked up in the authority state. Event is the index
// of the event that last set it; nil: nothing is registered about it.
type Fact struct {
	aver.Ref
	Event *uint64
}

// Cite says what was looked up as a record does. What is not registered is left
// out where the record, or what it cites, names it already.
func (e *Evidence) Cite(st *authority.State, q *Query, d *aver.Decision) aver.Facts {
	var out aver.Facts
	var few [16]uint64
	events := append(few[:0], e.cited...)
	for _, f := range e.Facts() {
		switch {
		case f.Event != nil:
			events = append(events, *f.Event)
		case !named(q, d, f.Ref) && !e.isParent(st, f.Ref):
			out.Absent = append(out.Absent, f.Ref)
		}
	}
	events = e.citeSignals(events)
	slices.Sort(events)
	out.Events = append(out.Events, slices.Compact(events)...)
	return out
}

// named tells whether a record names an entity besides what it cites.
func named(q *Query, d *aver.Decision, r aver.Ref) bool {
	if r == q.Request.Subject.Ref || r == q.Request.Resource.Ref || r == ref(q.action) {
		return true
	}
	return slices.ContainsFunc(Frames(d), func(f aver.Frame) bool { return f.As == aver.FrameDelegator && f.Entity == r })
}

// isParent tells whether an entity is a parent of a registered one that was
// looked up.
func (e *Evidence) isParent(st *authority.State, r aver.Ref) bool {
	return slices.ContainsFunc(e.facts, func(f Fact) bool {
		if f.Event == nil {
			return false
		}
		entity, _, _ := st.Entity(uid(f.Ref))
		return entity.Parents.Contains(uid(r))
	})
}

// Facts lists what was looked up in the state, sorted by type and id.
func (e *Evidence) Facts() []Fact {
	slices.SortFunc(e.facts, func(a, b Fact) int {
		if a.Type != b.Type {
			return strings.Compare(a.Type, b.Type)
		}
		return strings.Compare(a.ID, b.ID)
	})
	return e.facts
}

// world is the entities as one part of a request sees them: the registered ones,
// and for the subject and the resource what the caller says of them beneath. It
// notes what was asked for. Nothing a caller says reaches other entities.
type world struct {
	d                 *decider
	subject, resource claimed
}

// claimed is an entity about which the caller may say something.
type claimed struct {
	uid    types.EntityUID
	claims types.Record
	entity types.Entity // once it was looked up: claims beneath what is registered
	seen   bool
}

func (d *decider) world(part queryPart) *world {
	w := &world{d: d, subject: claimed{uid: d.q.subject, claims: d.q.subjectClaims}, resource: claimed{uid: d.q.resource}}
	w.resource.claims = overlay(part.claims, d.q.resourceClaims)
	if w.subject.uid == w.resource.uid {
		w.resource.claims = overlay(w.resource.claims, w.subject.claims)
		w.subject.claims = w.resource.claims
	}
	return w
}

// Get implements Cedar's EntityGetter.
func (w *world) Get(uid types.EntityUID) (types.Entity, bool) {
	var c *claimed
	switch uid {
	case w.subject.uid:
		c = &w.subject
	case w.resource.uid:
		c = &w.resource
	default:
		e, event, known := w.d.st.Entity(uid)
		w.d.evidence.fact(uid, event, known)
		return e, known
	}
	if !c.seen {
		e, event, known := w.d.st.Entity(uid)
		w.d.evidence.fact(uid, event, known)
		if !known {
			e = types.Entity{UID: uid}
		}
		e.Attributes = overlay(e.Attributes, c.claims)
		c.entity, c.seen = e, true
	}
	return c.entity, true
}

// overlay returns under with the members of over in their place.
func overlay(over, under types.Record) types.Record {
	switch {
	case over.Len() == 0:
		return under
	case under.Len() == 0:
		return over
	}
	m := maps.Collect(under.All())
	maps.Insert(m, over.All())
	return types.NewRecord(m)
}

// request builds the Cedar request of a frame. What Aver vouches for stands in
// context.aver; docs/policies.md describes each member.
func (d *decider) request(principal types.EntityUID, chain []link, part queryPart) types.Request {
	origin := principal
	if len(chain) > 0 {
		origin = uid(chain[0].from)
	}
	isActor := principal == d.q.subject
	actor := d.identityRecord(principal) // looked up in any case: a record cites it
	vouched := make(types.RecordMap, 8)
	if d.reads.Has(policy.AverNow) {
		vouched["now"] = types.NewDatetimeFromMillis(int64(d.now))
	}
	if d.reads.Has(policy.AverAction) {
		vouched["action"] = d.q.actionRecord()
	}
	if d.reads.Has(policy.AverOrigin) {
		vouched["origin"] = origin
	}
	if d.reads.Has(policy.AverChain) {
		delegators := make([]types.Value, len(chain))
		for i, l := range chain {
			delegators[i] = uid(l.from)
		}
		vouched["chain"] = types.NewSet(delegators...)
	}
	if d.reads.Has(policy.AverHops) {
		vouched["hops"] = types.Long(len(chain))
	}
	if d.reads.Has(policy.AverActor) {
		vouched["actor"] = actor
	}
	if d.reads.Has(policy.AverActingFor) {
		vouched["acting_for"] = types.Boolean(len(chain) > 0 || isActor && d.q.actingFor)
	}
	if d.reads.Has(policy.AverDelegated) {
		vouched["delegated"] = types.Boolean(len(chain) > 0 || isActor && len(d.q.chain) > 0)
	}
	if len(chain) > 0 && chain[len(chain)-1].purpose != "" && d.reads.Has(policy.AverPurpose) {
		vouched["purpose"] = types.String(chain[len(chain)-1].purpose)
	}
	if t := d.q.token; t != nil && t.Fault == "" && d.reads.Has(policy.AverToken) {
		vouched["token"] = d.q.tokenRecord
	}
	if d.q.tool != "" && d.reads.Has(policy.AverTool) {
		vouched["tool"] = types.String(d.q.tool)
	}
	if part.id != "" && d.reads.Has(policy.AverPart) {
		vouched["part"] = overlay(types.NewRecord(types.RecordMap{"id": types.String(part.id)}), part.claims)
	}
	if d.reads.Has(policy.AverSignals) {
		if signals := d.signals(principal); signals.Len() > 0 {
			vouched["signals"] = signals
		}
	}
	context := make(types.RecordMap, len(d.context)+1)
	for _, m := range d.context {
		context[m.name] = m.value
	}
	context["aver"] = types.NewRecord(vouched)
	return types.Request{Principal: principal, Action: d.q.action, Resource: d.q.resource, Context: types.NewRecord(context)}
}

// readContext finds out what of the context evaluations can read, so that nothing
// else is made for them.
func (d *decider) readContext() {
	all := []policy.ContextReads{policy.AllOfContext}
	if !d.whole {
		all[0] = d.q.Policies(d.st).ContextReads()
		for _, g := range d.chain {
			all = append(all, g.Permit.ContextReads())
		}
		for _, x := range d.exceptions() {
			all = append(all, x.Permit.ContextReads())
		}
	}
	for _, reads := range all {
		d.reads |= reads.Aver()
	}
	for _, m := range d.q.context {
		if slices.ContainsFunc(all, func(reads policy.ContextReads) bool { return reads.Reads(string(m.name)) }) {
			d.context = append(d.context, m.made())
		}
	}
}

// identityRecord is context.aver.actor: what is registered about a principal.
func (d *decider) identityRecord(principal types.EntityUID) types.Record {
	id, ok := d.st.Identity(ref(principal))
	if !ok {
		_, event, known := d.st.Entity(principal)
		d.evidence.fact(principal, event, known)
		return unregistered[aver.KindOfType(string(principal.Type))]
	}
	d.evidence.fact(principal, id.Event, true)
	return id.Actor(d.now)
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
