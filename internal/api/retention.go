package api

import (
	"context"
	"net/http"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
)

// Retention is what the API uses of whoever erases evidence.
type Retention struct {
	Run    func(context.Context) (SweepReport, error) // erases what is due, now
	Kick   func()                                     // lets that begin soon
	Status func() SweepStatus
}

// SweepReport says what was erased by one sweep.
type SweepReport struct {
	Payloads    uint64   `json:"payloads"`
	Disclosures uint64   `json:"disclosures"` // entries of which disclosures were erased
	Held        uint64   `json:"held"`        // entries that are due, and are held
	Events      []uint64 `json:"events"`      // of the authority log
}

// SweepStatus says what was erased since the start.
type SweepStatus struct {
	Payloads    uint64    `json:"payloads"`
	Disclosures uint64    `json:"disclosures"`
	Held        uint64    `json:"held"` // at the last sweep
	LastSweep   aver.Time `json:"last_sweep,omitzero"`
	Failed      bool      `json:"failed"` // the last sweep
}

// erasedMark says by which event something of an entry was erased.
type erasedMark struct {
	Event   uint64           `json:"event"`
	Time    aver.Time        `json:"time"`
	Kind    aver.ErasureKind `json:"kind"`
	Class   string           `json:"class,omitempty"`
	Erasure string           `json:"erasure,omitempty"`
	Why     string           `json:"why"`
}

func newErasedMark(e *authority.Erased) erasedMark {
	return erasedMark{e.Event, e.Time, e.Kind, e.Class, e.Erasure, e.Why()}
}

// erasedOf lists what was erased of an entry of the decision log.
func erasedOf(st *authority.State, index uint64) []erasedMark {
	var out []erasedMark
	if e, ok := st.PayloadErased(index); ok {
		out = append(out, newErasedMark(e))
	}
	for _, e := range st.DisclosuresErased(index) {
		out = append(out, newErasedMark(e))
	}
	return out
}

func (a *API) listRetention(c *call) error {
	classes := a.state().RetentionClasses()
	if classes == nil {
		classes = []*authority.RetentionClass{}
	}
	return c.writeJSON(http.StatusOK, struct {
		Classes []*authority.RetentionClass `json:"classes"`
		Status  SweepStatus                 `json:"status"`
	}{classes, a.o.Retention.Status()})
}

func (a *API) setRetention(c *call) error {
	var body struct {
		Period  int64    `json:"period"`
		Actions []string `json:"actions,omitempty"`
		withReason
	}
	if err := a.decode(c, a.o.MaxBody, &body); err != nil {
		return err
	}
	made, err := a.do(c, body.Reason, aver.EventRetentionSet, aver.RetentionRule{Class: c.PathValue("class"), Period: body.Period, Actions: body.Actions})
	if err != nil {
		return err
	}
	return c.writeJSON(http.StatusOK, made)
}

func (a *API) approveRetention(c *call) error {
	var body struct {
		Proposed *uint64 `json:"proposed"`
		withReason
	}
	if err := a.decode(c, a.o.MaxBody, &body); err != nil {
		return err
	}
	if body.Proposed == nil {
		return &aver.RequestError{Pointer: "/proposed", Reason: "is required: the event that proposed what you approve"}
	}
	made, err := a.do(c, body.Reason, aver.EventRetentionApproved, aver.RetentionApproval{Class: c.PathValue("class"), Proposed: *body.Proposed})
	if err != nil {
		return err
	}
	a.o.Retention.Kick()
	return c.writeJSON(http.StatusOK, made)
}

// runRetention erases what is due. What takes longer than a request may goes on behind it.
func (a *API) runRetention(c *call) error {
	type result struct {
		report SweepReport
		err    error
	}
	done := make(chan result, 1)
	go func() {
		report, err := a.o.Retention.Run(context.WithoutCancel(c.Context()))
		done <- result{report, err}
	}()
	wait := a.o.Timeout - a.o.Timeout/8
	select {
	case r := <-done:
		if r.err != nil {
			return r.err
		}
		if r.report.Events == nil {
			r.report.Events = []uint64{}
		}
		return c.writeJSON(http.StatusOK, r.report)
	case <-time.After(wait):
		return c.writeJSON(http.StatusAccepted, a.o.Retention.Status())
	case <-c.Context().Done():
		return c.Context().Err()
	}
}

type holdView struct {
	*authority.Hold
	State string `json:"state"`
}

func viewHold(h *authority.Hold) holdView {
	if h.Released != nil {
		return holdView{h, "released"}
	}
	return holdView{h, "placed"}
}

func (a *API) listHolds(c *call) error {
	key := func(h *authority.Hold) string { return indexKey(h.Event) }
	return writePage(c, "holds", a.state().Holds(), key, viewHold)
}

func (a *API) placeHold(c *call) error {
	var body struct {
		aver.LegalHold
		withReason
	}
	if err := a.decode(c, a.o.MaxBody, &body); err != nil {
		return err
	}
	if body.ID == "" {
		body.ID = randomID("h-")
	}
	if _, ok := a.state().Hold(body.ID); ok {
		return conflict("a hold %q was placed already", body.ID)
	}
	made, err := a.do(c, body.Reason, aver.EventHoldPlaced, body.LegalHold)
	if err != nil {
		return err
	}
	return c.writeJSON(http.StatusCreated, made)
}

func (a *API) releaseHold(c *call) error {
	if _, ok := a.state().Hold(c.PathValue("id")); !ok {
		return notFound("there is no hold %q", c.PathValue("id"))
	}
	err := a.doRef(c, aver.EventHoldReleased, aver.HoldRef{ID: c.PathValue("id")})
	if err == nil {
		a.o.Retention.Kick()
	}
	return err
}

type erasureView struct {
	*authority.Erasure
	State string `json:"state"`
}

func viewErasure(e *authority.Erasure) erasureView { return erasureView{e, e.State()} }

func (a *API) listErasures(c *call) error {
	key := func(e *authority.Erasure) string { return indexKey(e.Event) }
	return writePage(c, "erasures", a.state().Erasures(), key, viewErasure)
}

func (a *API) requestErasure(c *call) error {
	var body struct {
		aver.ErasureRequest
		withReason
	}
	if err := a.decode(c, a.o.MaxBody, &body); err != nil {
		return err
	}
	if body.ID == "" {
		body.ID = randomID("e-")
	}
	if _, ok := a.state().Erasure(body.ID); ok {
		return conflict("an erasure %q was requested already", body.ID)
	}
	made, err := a.do(c, body.Reason, aver.EventErasureRequested, body.ErasureRequest)
	if err != nil {
		return err
	}
	return c.writeJSON(http.StatusCreated, made)
}

func (a *API) answerErasure(c *call, typ aver.EventType) error {
	if _, ok := a.state().Erasure(c.PathValue("id")); !ok {
		return notFound("there is no erasure %q", c.PathValue("id"))
	}
	return a.doRef(c, typ, aver.ErasureRef{ID: c.PathValue("id")})
}

func (a *API) approveErasure(c *call) error {
	err := a.answerErasure(c, aver.EventErasureApproved)
	if err == nil {
		a.o.Retention.Kick()
	}
	return err
}

func (a *API) refuseErasure(c *call) error { return a.answerErasure(c, aver.EventErasureRefused) }

// listErased lists what was erased of the decision log.
func (a *API) listErased(c *call) error {
	key := func(e *authority.Erased) string { return indexKey(e.Event) }
	return writePage(c, "erased", a.state().ErasedEvidence(), key, same[*authority.Erased])
}
