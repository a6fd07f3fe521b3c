package policy

import (
	"slices"

	"github.com/cedar-policy/cedar-go/types"
)

// A Recorder notes which entities an evaluation asks for, so that a record can
// cite the facts it rests on, absent ones included.
//
// With an entity, all that it is in counts as read, directly or not: cedar-go
// walks up in the order of a map and stops when it finds what it looks for, so
// what exactly it asks for on the way differs from one evaluation to the next.
//
// The zero value reads nothing; call Reset. Not safe for concurrent use.
type Recorder struct {
	entities types.EntityGetter
	seen     map[types.EntityUID]bool // :: entity -> present
	queue    []types.EntityUID
}

// A Read is an entity that was asked for, and whether there is one.
type Read struct {
	UID     types.EntityUID
	Present bool
}

// NewRecorder records what is asked of entities.
func NewRecorder(entities types.EntityGetter) *Recorder {
	r := new(Recorder)
	r.Reset(entities)
	return r
}

// Reset forgets what was read and goes on with other entities, so that a
// Recorder can be used again.
func (r *Recorder) Reset(entities types.EntityGetter) {
	if r.seen == nil {
		r.seen = map[types.EntityUID]bool{}
	}
	clear(r.seen)
	r.entities, r.queue = entities, r.queue[:0]
}

// Get implements [types.EntityGetter].
func (r *Recorder) Get(uid types.EntityUID) (types.Entity, bool) {
	if r.entities == nil {
		return types.Entity{}, false
	}
	e, ok := r.entities.Get(uid)
	if _, known := r.seen[uid]; known {
		return e, ok
	}
	r.seen[uid] = ok
	r.note(e)
	for len(r.queue) > 0 {
		next := r.queue[len(r.queue)-1]
		r.queue = r.queue[:len(r.queue)-1]
		above, ok := r.entities.Get(next)
		r.seen[next] = ok
		r.note(above)
	}
	return e, ok
}

func (r *Recorder) note(e types.Entity) {
	for parent := range e.Parents.All() {
		if _, known := r.seen[parent]; !known {
			r.seen[parent] = false // until it is looked at
			r.queue = append(r.queue, parent)
		}
	}
}

// Reads lists what was asked for, by type and id.
func (r *Recorder) Reads() []Read {
	out := make([]Read, 0, len(r.seen))
	for uid, present := range r.seen {
		out = append(out, Read{UID: uid, Present: present})
	}
	slices.SortFunc(out, func(a, b Read) int { return compareUIDs(a.UID, b.UID) })
	return out
}
