package pdp

import (
	"github.com/cedar-policy/cedar-go/types"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/policy"
)

// View is one frame of a decision with what the policy engine saw in it, for
// explaining the decision, or for having another engine decide it again.
type View struct {
	As        aver.FrameKind
	Entity    aver.Ref
	Grant     string             // of a grant frame
	Exception string             // of an exception frame
	Permit    *policy.Permit     // of a grant or exception frame, the only policy evaluated in it
	Part      string             // the part of the request, "" for the whole
	Request   types.Request      // as evaluated
	Entities  types.EntityGetter // what policies could look up; safe for one goroutine
	// Signals are those in context.aver.signals; of several of one name, the last.
	Signals []*authority.Signal
}

// Views returns the frames of the decision on a query, part by part, in the
// order in which [Decide] evaluates them. It is empty for a query that has an
// error.
func Views(st *authority.State, q *Query, now aver.Time) []View {
	if q.err != nil {
		return nil
	}
	d := &decider{st: st, q: q, now: now, evidence: &Evidence{}, whole: true}
	d.resolveChain()
	var views []View
	for _, part := range q.parts {
		entities := d.world(part)
		principals := d.principals(part)
		for _, p := range principals {
			views = append(views, View{
				As: p.as, Entity: ref(p.request.Principal), Part: part.id,
				Request: p.request, Entities: entities, Signals: d.signalsOf(p.request.Principal),
			})
		}
		if frame, _ := d.authorize(&principals[0], entities); !frame.Allowed {
			frames, _ := d.excepted(frame, &principals[0], entities)
			for _, f := range frames {
				x, _ := st.Exception(f.Exception)
				views = append(views, View{
					As: f.As, Entity: q.Request.Subject.Ref, Exception: f.Exception, Permit: x.Permit, Part: part.id,
					Request: principals[0].request, Entities: entities,
				})
			}
		}
		for i, g := range d.chain {
			views = append(views, View{
				As: aver.FrameGrant, Entity: g.To, Grant: g.ID, Permit: g.Permit, Part: part.id,
				Request: d.grantRequest(i, principals, part), Entities: entities,
			})
		}
	}
	return views
}
