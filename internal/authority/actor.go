package authority

import (
	"sync/atomic"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/aver-authz/aver"
)

// actorRecords are what policies see of an identity as context.aver.actor,
// before and after it expires. They are made when first needed, since most
// decisions are about few identities, and then serve all.
type actorRecords [2]atomic.Pointer[types.Record]

// putIdentity takes an identity over into the state.
func (s *State) putIdentity(i *Identity) {
	i.actor = new(actorRecords)
	s.identities.put(i.Ref, i)
}

// Actor is what policies see of the identity as context.aver.actor at a time.
func (i *Identity) Actor(now aver.Time) types.Record {
	expired := i.Expires != 0 && now >= i.Expires
	slot := &i.actor[0]
	if expired {
		slot = &i.actor[1]
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
