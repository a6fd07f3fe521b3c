package client

import (
	"context"
	"iter"
	"net/http"

	"github.com/aver-authz/aver"
)

// Retention is for how long classes of records are kept, and what was erased since the server started.
type Retention struct {
	Classes []RetentionClass `json:"classes"`
	Status  SweepStatus      `json:"status"`
}

// RetentionClass is a class of records.
type RetentionClass struct {
	Class    string            `json:"class"`
	InForce  *RetentionVersion `json:"in_force,omitempty"` // nil: kept for ever
	Proposed *RetentionVersion `json:"proposed,omitempty"` // waits for a second person
}

// RetentionVersion is a rule, with who proposed and who approved it.
type RetentionVersion struct {
	aver.RetentionRule
	Mark
	Approved *Mark `json:"approved,omitempty"`
}

// SweepStatus says what was erased since the server started.
type SweepStatus struct {
	Payloads    uint64    `json:"payloads"`
	Disclosures uint64    `json:"disclosures"` // entries of which disclosures were erased
	Held        uint64    `json:"held"`        // entries that were due at the last sweep, and are held
	LastSweep   aver.Time `json:"last_sweep,omitzero"`
	Failed      bool      `json:"failed"` // the last sweep
}

// Sweep says what [Client.RunRetention] erased.
type Sweep struct {
	Payloads    uint64   `json:"payloads"`
	Disclosures uint64   `json:"disclosures"`
	Held        uint64   `json:"held"`
	Events      []uint64 `json:"events"` // indexes in the authority log; nil: it goes on
}

// Hold is a legal hold.
type Hold struct {
	aver.LegalHold
	Mark
	Released *Mark  `json:"released,omitempty"`
	State    string `json:"state"` // placed or released
}

// Erasure is a request for erasure and what became of it.
type Erasure struct {
	aver.ErasureRequest
	Mark
	Approved  *Mark  `json:"approved,omitempty"`
	Refused   *Mark  `json:"refused,omitempty"`
	Completed *Mark  `json:"completed,omitempty"`
	State     string `json:"state"` // requested, approved, refused or completed
}

// Erased is evidence that was erased, by the event that says so.
type Erased struct {
	aver.ErasedEvidence
	Kind aver.ErasureKind `json:"kind"`
	Mark
	Completed *Mark `json:"completed,omitempty"` // nil while some of it may still be there
}

// ErasedMark says by which event something of an entry was erased.
type ErasedMark struct {
	Event   uint64           `json:"event"`
	Time    aver.Time        `json:"time"`
	Kind    aver.ErasureKind `json:"kind"`
	Class   string           `json:"class,omitempty"`
	Erasure string           `json:"erasure,omitempty"`
	Why     string           `json:"why"`
}

// Retention returns the classes of records for which there is a rule.
func (c *Client) Retention(ctx context.Context) (*Retention, error) {
	var r Retention
	if err := c.get(ctx, "/v1/retention", nil, &r); err != nil {
		return nil, err
	}
	return &r, nil
}

// SetRetention proposes for how long a class of records is kept; it counts once another person has approved it.
func (c *Client) SetRetention(ctx context.Context, r aver.RetentionRule, reason string) (*Change, error) {
	return c.change(ctx, http.MethodPut, at("retention", r.Class), struct {
		Period  int64    `json:"period"`
		Actions []string `json:"actions,omitempty"`
		reasonBody
	}{r.Period, r.Actions, reasonBody{reason}})
}

// ApproveRetention approves a rule, by the event that proposed it.
func (c *Client) ApproveRetention(ctx context.Context, class string, proposed uint64, reason string) (*Change, error) {
	return c.change(ctx, http.MethodPost, at("retention", class, "approve"), struct {
		Proposed uint64 `json:"proposed"`
		reasonBody
	}{proposed, reasonBody{reason}})
}

// RunRetention erases what is due, now.
func (c *Client) RunRetention(ctx context.Context) (*Sweep, error) {
	var s Sweep
	if err := c.doJSON(ctx, call{method: http.MethodPost, path: "/v1/retention/run"}, &s); err != nil {
		return nil, err
	}
	return &s, nil
}

// Holds lists the legal holds in the order in which they were placed, released ones included.
func (c *Client) Holds(ctx context.Context) iter.Seq2[Hold, error] {
	return pages[Hold](ctx, c, "/v1/holds", "holds", "after", nil)
}

// PlaceHold keeps records from being erased. An empty scope holds everything.
func (c *Client) PlaceHold(ctx context.Context, h aver.LegalHold, reason string) (*Change, error) {
	return c.change(ctx, http.MethodPost, "/v1/holds", struct {
		aver.LegalHold
		reasonBody
	}{h, reasonBody{reason}})
}

// ReleaseHold ends a hold.
func (c *Client) ReleaseHold(ctx context.Context, id, reason string) (*Change, error) {
	return c.change(ctx, http.MethodPost, at("holds", id, "release"), reasonBody{reason})
}

// Erasures lists the requests for erasure in the order in which they were made.
func (c *Client) Erasures(ctx context.Context) iter.Seq2[Erasure, error] {
	return pages[Erasure](ctx, c, "/v1/erasures", "erasures", "after", nil)
}

// RequestErasure asks that evidence be erased; it is once another person has approved it.
func (c *Client) RequestErasure(ctx context.Context, r aver.ErasureRequest, reason string) (*Change, error) {
	return c.change(ctx, http.MethodPost, "/v1/erasures", struct {
		aver.ErasureRequest
		reasonBody
	}{r, reasonBody{reason}})
}

// ApproveErasure approves an erasure, as another person than asked for it.
func (c *Client) ApproveErasure(ctx context.Context, id, reason string) (*Change, error) {
	return c.change(ctx, http.MethodPost, at("erasures", id, "approve"), reasonBody{reason})
}

// RefuseErasure refuses an erasure, or takes it back.
func (c *Client) RefuseErasure(ctx context.Context, id, reason string) (*Change, error) {
	return c.change(ctx, http.MethodPost, at("erasures", id, "refuse"), reasonBody{reason})
}

// Erased lists what was erased of the decision log, in the order of the events.
func (c *Client) Erased(ctx context.Context) iter.Seq2[Erased, error] {
	return pages[Erased](ctx, c, "/v1/erased", "erased", "after", nil)
}
