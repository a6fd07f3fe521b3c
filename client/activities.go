package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/aver-authz/aver"
)

// ReportActivity reports what became of a decision. When the error is nil the report is recorded, and durable. At an end
// the answer says whether the authorization held until then. A repetition gives the answer of the first time, so the call
// is repeated like reading. Errors: [*Problem] for a report that is wrong, [*UnavailableError].
func (c *Client) ReportActivity(ctx context.Context, r *aver.ActivityReport) (*aver.ActivityAnswer, error) {
	var answer aver.ActivityAnswer
	in := call{method: http.MethodPost, path: "/v1/activities", body: r, numbered: true, repeat: true}
	if err := c.doJSON(ctx, in, &answer); err != nil {
		return nil, err
	}
	if answer.ID == "" || answer.Receipt.LeafHash == "" {
		return nil, errors.New("the answer has no activity id or no receipt, so nothing shows that it was recorded")
	}
	return &answer, nil
}

// Activities lists what was reported about a decision, oldest first.
func (c *Client) Activities(ctx context.Context, evaluationID string) ([]*aver.Activity, error) {
	var in struct {
		Activities []Entry `json:"activities"`
	}
	if err := c.get(ctx, at("decisions", evaluationID, "activities"), nil, &in); err != nil {
		return nil, err
	}
	out := make([]*aver.Activity, len(in.Activities))
	for i, e := range in.Activities {
		a, err := aver.ParseActivity(e.Payload)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", e.Index, err)
		}
		out[i] = a
	}
	return out, nil
}

// Withdrawals tells which of the caller's open authorizations have ended, as they end, until ctx does. After is the cursor
// of the last one that is known; "" begins with all that have ended and of whose use no end was reported. After a restart
// of the server those come again. While the server is away it asks again every second; any other error ends it.
func (c *Client) Withdrawals(ctx context.Context, after string) iter.Seq2[aver.Withdrawal, error] {
	return func(yield func(aver.Withdrawal, error) bool) {
		for ctx.Err() == nil {
			var in struct {
				Withdrawals []aver.Withdrawal `json:"withdrawals"`
				Cursor      string            `json:"cursor"`
			}
			query := url.Values{"wait": {(min(c.timeout, time.Minute) / 2).String()}}
			if after != "" {
				query.Set("after", after)
			}
			err := c.get(ctx, "/v1/withdrawals", query, &in)
			var away *UnavailableError
			switch {
			case errors.As(err, &away):
				if !wait(ctx, time.Second) {
					return
				}
				continue
			case err != nil:
				yield(aver.Withdrawal{}, err)
				return
			}
			for _, w := range in.Withdrawals {
				if !yield(w, nil) {
					return
				}
			}
			after = in.Cursor
		}
	}
}

// Heartbeat says that the client's instance lives, and which number it gave to its last request. The client must have an
// instance, see [Options].
func (c *Client) Heartbeat(ctx context.Context, counts map[string]int64) error {
	beat := aver.Heartbeat{Instance: c.instance, Sequence: c.sequence.Load(), Counts: counts}
	_, err := c.do(ctx, call{method: http.MethodPost, path: "/v1/pep/heartbeat", body: beat, accept: "application/json", repeat: true})
	return err
}

// Reconciliation says what is missing between decisions and activities. Permits that are older are counted as without
// outcome.
func (c *Client) Reconciliation(ctx context.Context, older time.Duration) (*aver.Reconciliation, error) {
	var r aver.Reconciliation
	query := url.Values{"older_than": {strconv.FormatInt(int64(older/time.Second), 10)}}
	if err := c.get(ctx, "/v1/reconciliation", query, &r); err != nil {
		return nil, err
	}
	return &r, nil
}
