package client

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"

	"github.com/aver-authz/aver"
)

// AccessTask is a request for approval as a PEP sees it (OpenID Access Request & Approval Profile).
type AccessTask struct {
	ID      string    `json:"id"`
	Status  string    `json:"status"` // pending, approved, denied, expired, cancelled or, of a batch, partial
	Expires aver.Time `json:"expires_at"`
	// Approval is what to send as context.approval when the decision is asked for again; nil unless approved.
	Approval *CitedApproval `json:"approval,omitempty"`
	Reason   string         `json:"reason,omitempty"` // of a refusal
	Items    []AccessItem   `json:"items,omitempty"`  // of a batch, in the order in which they were asked for
}

// AccessItem is an item of a batch of requests for approval.
type AccessItem struct {
	Status   string         `json:"status"`
	Approval *CitedApproval `json:"approval,omitempty"` // as [AccessTask.Approval]
}

// CitedApproval is an approval that a request can cite.
type CitedApproval struct {
	ID         string    `json:"id"`
	ApprovedAt aver.Time `json:"approved_at"`
	Until      aver.Time `json:"approved_until"`
}

// Approval is a request for approval as approvers and auditors see it.
type Approval struct {
	aver.ApprovalRequest
	Mark                  // of the event that requested it
	State string          `json:"state"` // as [AccessTask.Status]
	Votes []Vote          `json:"votes,omitempty"`
	Until aver.Time       `json:"until,omitzero"` // until when it can be used, once approved
	Ended *Mark           `json:"ended,omitempty"`
	Shown json.RawMessage `json:"shown,omitempty"` // what an approver decides on; only of [Client.Approval]
	Seen  string          `json:"seen,omitempty"`  // digest of Shown
}

// Vote is what an approver answered.
type Vote struct {
	Approver aver.Ref `json:"approver"`
	Refused  bool     `json:"refused,omitempty"`
	Seen     string   `json:"seen"` // digest of what the approver was shown
	// OnBehalfOf is whose duty the approver did, by the delegation Duty; zero: they answered in their own right.
	OnBehalfOf aver.Ref `json:"on_behalf_of,omitzero"`
	Duty       string   `json:"duty,omitempty"`
	Mark
}

// RequestAccess asks for the approvals that a decision found missing. The request is the one that was decided. Asking
// again for the same decision gives the same task, so it is repeated like reading. A key, if it is not "", is an
// Idempotency-Key of the caller's.
func (c *Client) RequestAccess(ctx context.Context, req *aver.Request, evaluationID, key, reason string) (*AccessTask, error) {
	body := req.JSON()
	body["denial"] = map[string]any{"evaluation_id": evaluationID}
	if reason != "" {
		body["reason"] = reason
	}
	return c.task(ctx, call{method: http.MethodPost, path: "/v1/access-requests", body: body, key: key, repeat: true})
}

// AccessRequest returns where a request for approval stands.
func (c *Client) AccessRequest(ctx context.Context, id string) (*AccessTask, error) {
	return c.task(ctx, call{method: http.MethodGet, path: at("access-requests", id), repeat: true})
}

// CancelAccessRequest takes a request for approval back, approved or not.
func (c *Client) CancelAccessRequest(ctx context.Context, id, reason string) (*AccessTask, error) {
	return c.task(ctx, call{method: http.MethodPost, path: at("access-requests", id, "cancel"), body: reasonBody{reason}})
}

func (c *Client) task(ctx context.Context, in call) (*AccessTask, error) {
	type result struct {
		Mode     string        `json:"mode"`
		Approval CitedApproval `json:"approval"`
	}
	var answer struct {
		Task struct {
			ID      string    `json:"id"`
			Status  string    `json:"status"`
			Expires aver.Time `json:"expires_at"`
			Display struct {
				Description string `json:"description"`
			} `json:"display"`
			Items []struct {
				Status string  `json:"status"`
				Result *result `json:"result"`
			} `json:"items"`
		} `json:"task"`
		Result *result `json:"result"`
	}
	if err := c.doJSON(ctx, in, &answer); err != nil {
		return nil, err
	}
	// What is to be done in another way than by asking again is no approval here.
	cited := func(r *result) *CitedApproval {
		if r == nil || r.Mode != "reevaluate" {
			return nil
		}
		return &r.Approval
	}
	t := answer.Task
	out := &AccessTask{ID: t.ID, Status: t.Status, Expires: t.Expires, Approval: cited(answer.Result)}
	if t.Status == "denied" {
		out.Reason = t.Display.Description
	}
	for _, item := range t.Items {
		out.Items = append(out.Items, AccessItem{Status: item.Status, Approval: cited(item.Result)})
	}
	return out, nil
}

// Approvals lists the requests for approval that the caller may see, in the order in which they were made.
func (c *Client) Approvals(ctx context.Context) iter.Seq2[Approval, error] {
	return pages[Approval](ctx, c, "/v1/approvals", "approvals", "after", nil)
}

// Approval returns a request for approval, with what an approver decides on.
func (c *Client) Approval(ctx context.Context, id string) (*Approval, error) {
	var a Approval
	if err := c.get(ctx, at("approvals", id), nil, &a); err != nil {
		return nil, err
	}
	return &a, nil
}

type voteBody struct {
	Approver *aver.Ref `json:"approver,omitempty"`
	Seen     string    `json:"seen,omitempty"`
	reasonBody
}

// Approve approves as the person whom the token belongs to. Seen is [Approval.Seen] of what that person looked at: if
// something else is shown now the error is a [*Problem] with status 409. "" takes it as it is. Approver is needed only
// where the server authenticates nobody.
func (c *Client) Approve(ctx context.Context, id string, approver *aver.Ref, seen, reason string) (*Change, error) {
	return c.change(ctx, http.MethodPost, at("approvals", id, "approve"), voteBody{approver, seen, reasonBody{reason}})
}

// Refuse refuses, which ends the request for approval. It needs a reason; for the rest see [Client.Approve].
func (c *Client) Refuse(ctx context.Context, id string, approver *aver.Ref, seen, reason string) (*Change, error) {
	return c.change(ctx, http.MethodPost, at("approvals", id, "refuse"), voteBody{approver, seen, reasonBody{reason}})
}
