package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"

	"github.com/aver-authz/aver"
)

// Signal is a signal in force: nothing newer was said of the same.
type Signal struct {
	aver.Signal
	Mark          // of the event that received it
	Member string `json:"member"` // under which policies find it in context.aver.signals
}

// ToldSignal is the answer to a signal that was told.
type ToldSignal struct {
	ID       string `json:"id"`
	InForce  bool   `json:"in_force"`           // false: something newer is known of the same
	Repeated bool   `json:"repeated,omitempty"` // it was received before, nothing was written, and Change is nil
	*Change
}

// Signals lists the signals in force, in the order in which they were received; if about is not zero, those about one
// party, session or device.
func (c *Client) Signals(ctx context.Context, about aver.Ref) iter.Seq2[Signal, error] {
	query := url.Values{}
	if !about.IsZero() {
		query = url.Values{"type": {about.Type}, "id": {about.ID}}
	}
	return pages[Signal](ctx, c, "/v1/signals", "signals", "after", query)
}

// TellSignal tells what has changed about a party, a session or a device. One with an id that the same caller used before
// changes nothing.
func (c *Client) TellSignal(ctx context.Context, r aver.SignalReport, reason string) (*ToldSignal, error) {
	var out ToldSignal
	err := c.doJSON(ctx, call{method: http.MethodPost, path: "/v1/signals", body: struct {
		aver.SignalReport
		reasonBody
	}{r, reasonBody{reason}}}, &out)
	if err != nil {
		return nil, err
	}
	return &out, nil
}
