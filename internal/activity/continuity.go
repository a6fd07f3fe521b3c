package activity

import (
	"slices"
	"strings"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/pdp"
)

// Run follows one authorization through what comes after its decision. It is
// decided again, with the usage of limits that its record has, at each event
// that can change the answer and at each moment at which something it rests on
// expires. A run that has lapsed stays so.
type Run struct {
	decision *aver.Decision
	omitted  []string // attribute paths that the request is without
	q        *pdp.Query
	used     pdp.Usage

	st      *authority.State // as of the last event
	at      aver.Time        // followed up to here
	facts   map[aver.Ref]bool
	timed   bool // the answer can depend on the time as such, so every event is looked at
	lapse   *aver.Lapse
	missing []string
}

// NewRun begins at a decision that allowed something, with the state that it was
// made at.
func NewRun(st *authority.State, record *aver.Record, req *aver.Request) *Run {
	r := resume(st, record.Time, req, &record.Decision, record.Omitted, map[aver.Ref]bool{}, false)
	// What it looks up, and whether time matters, shows when it is decided again.
	_, evidence := pdp.DecideInFlight(st, r.q, record.Time, r.used)
	r.saw(evidence)
	return r
}

// resume goes on at a moment until which nothing has changed the answer. Facts
// and timed tell what deciding looked up until then.
func resume(st *authority.State, at aver.Time, req *aver.Request, d *aver.Decision, omitted []string, facts map[aver.Ref]bool, timed bool) *Run {
	r := &Run{decision: d, omitted: omitted, q: pdp.NewQuery(req), used: pdp.Usage{}, st: st, at: at, facts: facts, timed: timed}
	for _, c := range d.Counters {
		r.used[pdp.LimitKey{Grant: c.Grant, Name: c.Name}] = c.Before
	}
	return r
}

func (r *Run) saw(e *pdp.Evidence) {
	for _, f := range e.Facts() {
		r.facts[f.Ref] = true
	}
	for _, ref := range e.Watched() {
		r.facts[ref] = true
	}
	r.timed = r.timed || e.ReadsTime()
}

// Lapse is when and why the authorization ended; nil while it holds.
func (r *Run) Lapse() *aver.Lapse { return r.lapse }

// Pass follows the run to a moment at which nothing happens but time.
func (r *Run) Pass(until aver.Time) {
	for _, e := range pdp.Expiries(r.st, r.decision, r.at) {
		if r.lapse != nil || e.At > until {
			break
		}
		l := aver.Lapse{Cause: aver.LapseExpiry, Grant: e.Grant, Exception: e.Exception}
		if !e.Party.IsZero() {
			l.Party = &e.Party
		}
		r.check(e.At, l)
	}
	r.at = max(r.at, until)
}

// Step follows the run over an event.
func (r *Run) Step(s Step) {
	r.Pass(s.Event.Time)
	r.st = s.After
	if r.lapse == nil && r.concernedBy(s.Event) {
		r.check(r.at, aver.Lapse{Cause: aver.LapseEvent, Event: &s.Index, Type: s.Event.Type})
	}
}

// End follows the run to its end, and looks once more there if time matters.
func (r *Run) End(until aver.Time) *aver.Continuity {
	r.Pass(until)
	if r.lapse == nil && r.timed {
		r.check(r.at, aver.Lapse{Cause: aver.LapseTime})
	}
	out := &aver.Continuity{State: aver.Held, Until: r.at, Completing: pdp.Completing(r.st, r.q)}
	switch {
	case r.lapse != nil:
		l := *r.lapse
		l.RanOn = int64(r.at - l.At)
		out.State, out.Lapse = aver.Lapsed, &l
	case len(r.missing) > 0:
		out.State, out.Missing = aver.ContinuityUnknown, r.missing
	}
	return out
}

// concernedBy tells whether an event can change the answer.
func (r *Run) concernedBy(e *aver.Event) bool {
	if r.timed {
		return true
	}
	return concerns(e, func(ref aver.Ref) bool { return r.facts[ref] }, r.decision)
}

// changesNoAnswer tells whether events of a type are only what people say of
// findings, and do with records.
func changesNoAnswer(t aver.EventType) bool {
	switch t {
	case aver.EventGapAccepted, aver.EventGapClosed, aver.EventPopulationFixed, aver.EventSampleDrawn,
		aver.EventReviewOpened, aver.EventReviewDecided, aver.EventReviewAcknowledged, aver.EventReviewClosed, aver.EventReviewRecorded:
		return true
	}
	return t.AboutEvidence()
}

// concerns tells whether an event can change the answer to a request whose
// deciding looked up these facts, and does not depend on the time as such.
func concerns(e *aver.Event, fact func(aver.Ref) bool, d *aver.Decision) bool {
	if changesNoAnswer(e.Type) {
		return false
	}
	switch e.Type {
	case aver.EventPolicyPublished, aver.EventGrantIssued, aver.EventCredentialIssued, aver.EventCredentialRevoked,
		aver.EventDutyDelegated, aver.EventDutyRevoked: // who may approve counts when they approve
		return false // a chain that was allowed has all its grants
	case aver.EventGrantRevoked:
		var ref aver.GrantRef
		return e.DecodeData(&ref) != nil || slices.ContainsFunc(pdp.Frames(d), func(f aver.Frame) bool { return f.Grant == ref.ID })
	case aver.EventIdentityRegistered, aver.EventIdentityUpdated, aver.EventIdentitySuspended, aver.EventIdentityResumed,
		aver.EventIdentityRetired, aver.EventEntityPut, aver.EventEntityRemoved:
		ref, ok := subjectOf(e)
		return !ok || fact(ref)
	case aver.EventSignalReceived:
		var s aver.Signal
		return e.DecodeData(&s) != nil || fact(s.About)
	}
	if strings.HasPrefix(string(e.Type), "approval.") {
		return slices.ContainsFunc(d.Counters, func(c aver.Counter) bool { return c.Name == "approval" })
	}
	return true
}

// subjectOf returns whom an event about an identity or an entity is about.
func subjectOf(e *aver.Event) (aver.Ref, bool) {
	v, err := aver.ParseJSON(e.Data, aver.Limits{Bytes: len(e.Data)})
	object, _ := v.(map[string]any)
	typ, ok1 := object["type"].(string)
	id, ok2 := object["id"].(string)
	return aver.Ref{Type: typ, ID: id}, err == nil && ok1 && ok2
}

// check decides again at a moment, and notes the lapse if it is not allowed any
// more.
func (r *Run) check(at aver.Time, l aver.Lapse) {
	again, evidence := pdp.DecideInFlight(r.st, r.q, at, r.used)
	r.saw(evidence)
	if lacks := evidence.Lacks(r.omitted); len(lacks) > 0 {
		for _, m := range lacks {
			if !slices.Contains(r.missing, m) {
				r.missing = append(r.missing, m)
			}
		}
		return // what it says is not about the request that was decided
	}
	if stillAllows(r.decision, &again) {
		return
	}
	l.At, l.Outcome = at, again.Outcome
	for _, reason := range again.Reasons {
		reason.Text = "" // it follows from the rest
		l.Reasons = append(l.Reasons, reason)
	}
	r.lapse = &l
}

// stillAllows tells whether everything that was allowed is allowed again.
func stillAllows(was, again *aver.Decision) bool {
	if !again.Outcome.Allowed() || len(was.Parts) != len(again.Parts) {
		return false
	}
	for i, p := range was.Parts {
		if p.Outcome.Allowed() && !again.Parts[i].Outcome.Allowed() {
			return false
		}
	}
	return true
}

// Follow returns the continuity of an authorization from its decision to a
// moment, over the events of the authority log below a size. Missing says what
// the request lacks, so that nothing can be decided again.
func Follow(h *History, record *aver.Record, req *aver.Request, missing []string, size uint64, until aver.Time) (*aver.Continuity, error) {
	until = max(until, record.Time)
	if len(missing) > 0 {
		return &aver.Continuity{State: aver.ContinuityUnknown, Until: until, Missing: missing}, nil
	}
	st, steps, err := h.Between(record.Authority.Size, size)
	if err != nil {
		return nil, err
	}
	run := NewRun(st, record, req)
	for _, s := range steps {
		if s.Event.Time > until {
			break
		}
		run.Step(s)
	}
	return run.End(until), nil
}
