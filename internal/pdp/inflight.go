package pdp

import (
	"slices"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
)

// DecideInFlight decides again for work that is under way since an earlier
// decision (B5). It is [Decide], but for grants that were revoked meanwhile and
// let work under way complete: their revocation does not count.
func DecideInFlight(st *authority.State, q *Query, now aver.Time, used Usage) (aver.Decision, *Evidence) {
	return decide(&decider{st: st, q: q, now: now, used: used, inFlight: true, evidence: &Evidence{}})
}

// Completing lists the grants of the chain that are revoked in a state and let
// work under way complete, in the order of the chain.
func Completing(st *authority.State, q *Query) []string {
	var out []string
	for _, id := range q.chain {
		if g, ok := st.Grant(id); ok && g.Revoked != nil && g.InFlight == aver.InFlightComplete {
			out = append(out, id)
		}
	}
	return out
}

// Expiry is a moment at which something that a decision rests on expires.
type Expiry struct {
	At        aver.Time
	Grant     string   // or
	Exception string   // of the acting party, or
	Party     aver.Ref // whose registration expires
}

// Expiries lists, in the order of time, what expires after a moment: of the grants
// and parties that a decision was made with, and of the acting party's exceptions.
func Expiries(st *authority.State, d *aver.Decision, after aver.Time) []Expiry {
	var out []Expiry
	add := func(e Expiry) {
		if e.At > after && !slices.Contains(out, e) {
			out = append(out, e)
		}
	}
	for _, f := range Frames(d) {
		party := d.Actor.Ref
		switch f.As {
		case aver.FrameGrant:
			if g, ok := st.Grant(f.Grant); ok {
				add(Expiry{At: g.Expires, Grant: f.Grant})
			}
			continue
		case aver.FrameDelegator:
			party = f.Entity
		}
		if id, ok := st.Identity(party); ok {
			add(Expiry{At: id.Expires, Party: party})
		}
	}
	for _, x := range st.ExceptionsOf(d.Actor.Ref, after) {
		add(Expiry{At: x.Until, Exception: x.ID})
	}
	slices.SortStableFunc(out, func(a, b Expiry) int { return int(a.At - b.At) })
	return out
}

// Frames returns the frames of a decision; of one in parts, those of the first
// part: all have the same parties and grants.
func Frames(d *aver.Decision) []aver.Frame {
	if len(d.Parts) > 0 {
		return d.Parts[0].Frames
	}
	return d.Frames
}

// ReadsTime tells whether the decision can depend on the time as such, besides
// on what expires.
func (e *Evidence) ReadsTime() bool {
	return e.mayRead("context.aver.now")
}
