package pdp

import (
	"cmp"
	"maps"
	"slices"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/policy"
)

// Evidence is what a decision rested on.
type Evidence struct {
	facts      map[types.EntityUID]*uint64 // :: index of the event that last set it, nil: nothing registered
	sets       []policy.ReadSet            // of the policies that were evaluated
	grants     []*authority.Grant
	twoParts   bool // the resource is also a principal, so what is read of one is read of the other
	everything bool // the request could not be read, so all of it is evidence
}

func (e *Evidence) evaluated(result policy.Result) { e.sets = append(e.sets, result.Reads()) }

func (e *Evidence) grant(g *authority.Grant) { e.grants = append(e.grants, g) }

func (e *Evidence) fact(uid types.EntityUID, event *uint64) {
	if e.facts == nil {
		e.facts = make(map[types.EntityUID]*uint64, 8)
	}
	e.facts[uid] = event
}

// Facts lists what was looked up in the state, sorted by type and id.
func (e *Evidence) Facts() []aver.Fact {
	facts := make([]aver.Fact, 0, len(e.facts))
	for uid, event := range e.facts {
		facts = append(facts, aver.Fact{Ref: ref(uid), Event: event})
	}
	slices.SortFunc(facts, func(a, b aver.Fact) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.ID, b.ID))
	})
	return facts
}

// world is the entities as one part of a request sees them: the registered ones,
// and for the subject and the resource what the caller says of them beneath. It
// notes what was asked for. Nothing a caller says reaches other entities.
type world struct {
	d                 *decider
	subject, resource types.EntityUID
	claims            map[types.EntityUID]types.Record
	merged            map[types.EntityUID]types.Entity
}

func (d *decider) world(part queryPart) *world {
	w := &world{
		d: d, subject: d.q.subject, resource: d.q.resource,
		claims: make(map[types.EntityUID]types.Record, 2),
		merged: make(map[types.EntityUID]types.Entity, 2),
	}
	w.claims[w.subject] = d.q.subjectClaims
	w.claims[w.resource] = overlay(part.claims, overlay(d.q.resourceClaims, w.claims[w.resource]))
	return w
}

// Get implements Cedar's EntityGetter.
func (w *world) Get(uid types.EntityUID) (types.Entity, bool) {
	if e, ok := w.merged[uid]; ok {
		return e, true
	}
	registered, event, known := w.d.st.Entity(uid)
	if known {
		w.d.evidence.fact(uid, &event)
	} else {
		w.d.evidence.fact(uid, nil)
	}
	claims, asked := w.claims[uid]
	if !asked {
		return registered, known
	}
	if !known {
		registered = types.Entity{UID: uid}
	}
	registered.Attributes = overlay(registered.Attributes, claims)
	w.merged[uid] = registered
	return registered, true
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
func (d *decider) request(principal types.EntityUID, chain []*authority.Grant, part queryPart) types.Request {
	delegators := make([]types.Value, len(chain))
	origin := principal
	for i, g := range chain {
		delegators[i] = uid(g.From)
	}
	if len(chain) > 0 {
		origin = uid(chain[0].From)
	}
	isActor := principal == d.q.subject
	vouched := types.RecordMap{
		"now":        types.NewDatetimeFromMillis(int64(d.now)),
		"action":     d.q.actionRecord,
		"origin":     origin,
		"chain":      types.NewSet(delegators...),
		"hops":       types.Long(len(chain)),
		"actor":      d.identityRecord(principal),
		"acting_for": types.Boolean(len(chain) > 0 || isActor && d.q.actingFor),
		"delegated":  types.Boolean(len(chain) > 0 || isActor && len(d.q.chain) > 0),
	}
	if len(chain) > 0 && chain[len(chain)-1].Purpose != "" {
		vouched["purpose"] = types.String(chain[len(chain)-1].Purpose)
	}
	if d.q.tool != "" {
		vouched["tool"] = types.String(d.q.tool)
	}
	if part.id != "" {
		vouched["part"] = overlay(types.NewRecord(types.RecordMap{"id": types.String(part.id)}), part.claims)
	}
	return types.Request{
		Principal: principal,
		Action:    d.q.action,
		Resource:  d.q.resource,
		Context:   overlay(types.NewRecord(types.RecordMap{"aver": types.NewRecord(vouched)}), d.q.context),
	}
}

// identityRecord is context.aver.actor: what is registered about a principal.
func (d *decider) identityRecord(principal types.EntityUID) types.Record {
	who := ref(principal)
	id, ok := d.st.Identity(who)
	if !ok {
		kind := aver.KindOfType(who.Type)
		d.evidence.fact(principal, d.entityEvent(principal))
		return types.NewRecord(types.RecordMap{
			"kind":       types.String(kind),
			"machine":    types.Boolean(kind.Machine()),
			"registered": types.False,
			"status":     types.String(aver.Unregistered),
			"expired":    types.False,
		})
	}
	event := id.Event
	d.evidence.fact(principal, &event)
	m := types.RecordMap{
		"kind":       types.String(id.Kind),
		"machine":    types.Boolean(id.Kind.Machine()),
		"registered": types.True,
		"status":     types.String(id.Status),
		"expired":    types.Boolean(id.Expires != 0 && d.now >= id.Expires),
	}
	if id.Purpose != "" {
		m["purpose"] = types.String(id.Purpose)
	}
	if id.Owner != "" {
		m["owner"] = types.String(id.Owner)
	}
	if id.Tools != nil {
		tools := make([]types.Value, len(*id.Tools))
		for i, t := range *id.Tools {
			tools[i] = types.String(t)
		}
		m["tools"] = types.NewSet(tools...)
	}
	return types.NewRecord(m)
}

func (d *decider) entityEvent(uid types.EntityUID) *uint64 {
	if _, event, ok := d.st.Entity(uid); ok {
		return &event
	}
	return nil
}
