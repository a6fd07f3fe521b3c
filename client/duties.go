package client

import (
	"context"
	"iter"
	"net/http"

	"github.com/aver-authz/aver"
)

// Duty is a delegation of an approver's duty of answering requests for approval.
type Duty struct {
	aver.DutyDelegation
	Mark           // of the event that delegated it
	State   string `json:"state"` // pending, active, expired or revoked
	Revoked *Mark  `json:"revoked,omitempty"`
}

// Duties lists the delegations of duty that the caller may see, in the order in which they were made.
func (c *Client) Duties(ctx context.Context) iter.Seq2[Duty, error] {
	return pages[Duty](ctx, c, "/v1/duties", "duties", "after", nil)
}

// DelegateDuty lets somebody answer requests for approval for somebody else, for a while: for the person whom the token
// belongs to, if from is not set. Without an id it gets one, which stands in the event's data.
func (c *Client) DelegateDuty(ctx context.Context, d aver.DutyDelegation, reason string) (*Change, error) {
	body := struct {
		ID        string    `json:"id,omitempty"`
		From      aver.Ref  `json:"from,omitzero"`
		To        aver.Ref  `json:"to"`
		NotBefore aver.Time `json:"not_before,omitzero"`
		Expires   aver.Time `json:"expires"`
		reasonBody
	}{d.ID, d.From, d.To, d.NotBefore, d.Expires, reasonBody{reason}}
	return c.change(ctx, http.MethodPost, "/v1/duties", body)
}

// RevokeDuty ends a delegation of duty before its time.
func (c *Client) RevokeDuty(ctx context.Context, id, reason string) (*Change, error) {
	return c.change(ctx, http.MethodPost, at("duties", id, "revoke"), reasonBody{reason})
}

// Webhook is how a receiver of webhooks, or of the callbacks of a PEP, is doing.
type Webhook struct {
	Kind          string    `json:"kind"` // webhook or callback
	Name          string    `json:"name"` // of a callback: of the PEP's credential
	URLs          []string  `json:"urls"`
	Events        []string  `json:"events,omitempty"` // what it is told of; none: all
	State         string    `json:"state"`            // idle, sending, retrying or gone
	Next          uint64    `json:"next"`             // index of the event that it comes to next
	Behind        uint64    `json:"behind"`           // events of the authority log that it has not come to
	Delivered     uint64    `json:"delivered"`        // messages since the start of the server, as the following
	Failed        uint64    `json:"failed"`           // attempts
	GivenUp       uint64    `json:"given_up"`
	Missed        uint64    `json:"missed"`
	Failures      uint64    `json:"failures,omitempty"` // attempts that failed since the last one that did not
	LastError     string    `json:"last_error,omitempty"`
	LastDelivered aver.Time `json:"last_delivered,omitzero"`
	NextAttempt   aver.Time `json:"next_attempt,omitzero"`
}

// Webhooks lists how the receivers of webhooks and callbacks are doing.
func (c *Client) Webhooks(ctx context.Context) ([]Webhook, error) {
	var answer struct {
		Webhooks []Webhook `json:"webhooks"`
	}
	err := c.get(ctx, "/v1/webhooks", nil, &answer)
	return answer.Webhooks, err
}
