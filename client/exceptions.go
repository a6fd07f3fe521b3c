package client

import (
	"context"
	"iter"
	"net/http"

	"github.com/aver-authz/aver"
)

// Exception is an exception and what became of it.
type Exception struct {
	aver.ExceptionRequest
	Mark                       // of the event that requested it
	State     string           `json:"state"` // requested, approved, rejected, active, to_review, overdue, reviewed or closed
	Approved  *ExceptionAnswer `json:"approved,omitempty"`
	Rejected  *ExceptionAnswer `json:"rejected,omitempty"`
	Activated *Mark            `json:"activated,omitempty"`
	Until     aver.Time        `json:"until,omitzero"` // of one that was activated
	Closed    *Mark            `json:"closed,omitempty"`
	ReviewDue aver.Time        `json:"review_due,omitzero"` // of one that was activated
	Reviewed  *ExceptionReview `json:"reviewed,omitempty"`
}

// ExceptionAnswer is an approval or a rejection.
type ExceptionAnswer struct {
	Approver aver.Ref `json:"approver"`
	Mark
}

// ExceptionReview is the review of an exception.
type ExceptionReview struct {
	aver.ExceptionReview
	Mark
}

// Exceptions lists the exceptions in the order in which they were requested.
func (c *Client) Exceptions(ctx context.Context) iter.Seq2[Exception, error] {
	return pages[Exception](ctx, c, "/v1/exceptions", "exceptions", "after", nil)
}

// Exception returns an exception.
func (c *Client) Exception(ctx context.Context, id string) (*Exception, error) {
	var x Exception
	if err := c.get(ctx, at("exceptions", id), nil, &x); err != nil {
		return nil, err
	}
	return &x, nil
}

// RequestException asks for an exception. With activate, break-glass is used at once, and the change returned is its
// activation.
func (c *Client) RequestException(ctx context.Context, x aver.ExceptionRequest, activate bool, reason string) (*Change, error) {
	return c.change(ctx, http.MethodPost, "/v1/exceptions", struct {
		aver.ExceptionRequest
		Activate bool `json:"activate,omitempty"`
		reasonBody
	}{x, activate, reasonBody{reason}})
}

type answerBody struct {
	Approver *aver.Ref `json:"approver,omitempty"`
	reasonBody
}

// ApproveException approves as the person whom the token belongs to. Approver is needed only where the server
// authenticates nobody.
func (c *Client) ApproveException(ctx context.Context, id string, approver *aver.Ref, reason string) (*Change, error) {
	return c.change(ctx, http.MethodPost, at("exceptions", id, "approve"), answerBody{approver, reasonBody{reason}})
}

// RejectException rejects, and ends one that is active; see [Client.ApproveException].
func (c *Client) RejectException(ctx context.Context, id string, approver *aver.Ref, reason string) (*Change, error) {
	return c.change(ctx, http.MethodPost, at("exceptions", id, "reject"), answerBody{approver, reasonBody{reason}})
}

// ActivateException begins to use an exception.
func (c *Client) ActivateException(ctx context.Context, id, reason string) (*Change, error) {
	return c.change(ctx, http.MethodPost, at("exceptions", id, "activate"), reasonBody{reason})
}

// CloseException ends an exception.
func (c *Client) CloseException(ctx context.Context, id, reason string) (*Change, error) {
	return c.change(ctx, http.MethodPost, at("exceptions", id, "close"), reasonBody{reason})
}

// ReviewException reviews an exception after its end. The reviewer is whom the token belongs to; it is sent only where
// the server authenticates nobody.
func (c *Client) ReviewException(ctx context.Context, id string, reviewer *aver.Ref, verdict aver.Verdict, followUp, reason string) (*Change, error) {
	return c.change(ctx, http.MethodPost, at("exceptions", id, "review"), struct {
		Reviewer *aver.Ref    `json:"reviewer,omitempty"`
		Verdict  aver.Verdict `json:"verdict"`
		FollowUp string       `json:"follow_up,omitempty"`
		reasonBody
	}{reviewer, verdict, followUp, reasonBody{reason}})
}
