package authority

import (
	"sync/atomic"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/policy"
)

// actorRecords are what policies see of an identity as context.aver.actor,
// before and after it expires, and the context of which they saw nothing else.
// They are made when first needed, since most decisions are about few identities,
// and then serve all.
type actorRecords struct {
	actor   [2]atomic.Pointer[types.Record]
	context atomic.Pointer[roleContext] // as was asked for last
}

// Role is what context.aver says besides about a party that acts.
type Role struct{ ActingFor, Delegated bool }

type roleContext struct {
	role    Role
	reads   policy.AverMembers
	expired bool
	context types.Record
}

// Context is the context of a request of which policies read nothing but the
// actor and its role: context.aver with those of these members that are in reads.
// Most direct requests have no other.
func (i *Identity) Context(now aver.Time, role Role, reads policy.AverMembers) types.Record {
	expired := i.expired(now)
	c := i.records.context.Load()
	if c != nil && c.role == role && c.reads == reads && c.expired == expired {
		return c.context
	}
	m := types.RecordMap{}
	if reads.Has(policy.AverActor) {
		m["actor"] = i.Actor(now)
	}
	role.Put(m, reads)
	context := types.NewRecord(types.RecordMap{"aver": types.NewRecord(m)})
	i.records.context.Store(&roleContext{role, reads, expired, context})
	return context
}

// Put puts the members of context.aver that say the role and are in reads.
func (r Role) Put(m types.RecordMap, reads policy.AverMembers) {
	if reads.Has(policy.AverActingFor) {
		m["acting_for"] = types.Boolean(r.ActingFor)
	}
	if reads.Has(policy.AverDelegated) {
		m["delegated"] = types.Boolean(r.Delegated)
	}
}

// putIdentity takes an identity over into the state.
func (s *State) putIdentity(i *Identity) {
	i.records = new(actorRecords)
	s.identities.put(i.Ref, i)
}

func (i *Identity) expired(now aver.Time) bool { return i.Expires != 0 && now >= i.Expires }

// Actor is what policies see of the identity as context.aver.actor at a time.
func (i *Identity) Actor(now aver.Time) types.Record {
	expired := i.expired(now)
	slot := &i.records.actor[0]
	if expired {
		slot = &i.records.actor[1]
	}
	if r := slot.Load(); r != nil {
		return *r
	}
	m := types.RecordMap{
		"kind":       types.String(i.Kind),
		"machine":    types.Boolean(i.Kind.Machine()),
		"registered": types.True,
		"status":     types.String(i.Status),
		"expired":    types.Boolean(expired),
	}
	if i.Purpose != "" {
		m["purpose"] = types.String(i.Purpose)
	}
	if i.Owner != "" {
		m["owner"] = types.String(i.Owner)
	}
	if i.Tools != nil {
		tools := make([]types.Value, len(*i.Tools))
		for n, t := range *i.Tools {
			tools[n] = types.String(t)
		}
		m["tools"] = types.NewSet(tools...)
	}
	r := types.NewRecord(m)
	slot.Store(&r)
	return r
}
