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

func (e *Evidence) evaluated(result policy.Result) {
	if len(result.Candidates) > 0 { // else nothing was read
		e.results = append(e.results, result)
	}
}

func (e *Evidence) read(reads policy.ReadSet) { e.others = append(e.others, reads) }

// mayRead tells whether what stands at a path can have been read.
func (e *Evidence) mayRead(path policy.Path) bool { return e.mayReadAt(path.Elements()) }

// mayReadAt is mayRead of a path that was split into its elements.
func (e *Evidence) mayReadAt(path []string) bool {
	return slices.ContainsFunc(e.others, func(s policy.ReadSet) bool { return s.ContainsElements(path) }) ||
		slices.ContainsFunc(e.results, func(r policy.Result) bool { return r.Reads().ContainsElements(path) })
}

// Fact is an entity that was looked up in the authority state. Event is the index
// of the event that last set it; nil: nothing is registered about it.
type Fact struct {
	aver.Ref
	Event *uint64

	known authority.Known
}

// look looks up an entity in the state, once, and notes that. There are few, so a
// list does.
func (d *decider) look(uid types.EntityUID) authority.Known {
	e := d.evidence
	for i := range e.facts {
		if f := &e.facts[i]; f.ID == string(uid.ID) && f.Type == string(uid.Type) {
			return f.known
		}
	}
	known := d.st.Look(uid)
	e.facts = append(e.facts, Fact{Ref: ref(uid), Event: known.Event, known: known})
	return known
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
		known := w.d.look(uid)
		if known.Entity == nil {
			return types.Entity{}, false
		}
		return *known.Entity, true
	}
	if !c.seen {
		c.entity, c.seen = types.Entity{UID: uid}, true
		if known := w.d.look(uid); known.Entity != nil {
			c.entity = *known.Entity
		}
		c.entity.Attributes = overlay(c.entity.Attributes, c.claims)
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
