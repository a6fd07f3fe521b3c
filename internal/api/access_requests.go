package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/pdp"
)

// The paths of the OpenID Access Request & Approval Profile (ARAP, a working draft), with its companions for bulk
// requests and callbacks. What PEPs use of them is in this file and submission.go; docs/approvals.md has each of their
// requirements. The profile leaves what approvers use to the product.
const accessRequestsPath = "/v1/access-requests"

// arap is a problem of a type that the profile names.
func arap(status int, slug, format string, args ...any) error {
	return &problem{Type: "urn:openid:authzen:access-request:error:" + slug, Slug: slug, Status: status, Detail: fmt.Sprintf(format, args...)}
}

// taskAnswer is what is told of an access request: of one approval, or of a batch of them.
type taskAnswer struct {
	Task   accessTask  `json:"task"`
	Result *taskResult `json:"result,omitempty"`
}

type accessTask struct {
	ID             string            `json:"id"`
	Status         string            `json:"status"` // pending, approved, denied, expired, cancelled or, of a batch, partial
	StatusEndpoint string            `json:"status_endpoint"`
	Expires        aver.Time         `json:"expires_at"`
	Links          map[string]string `json:"links,omitempty"`
	Display        *taskDisplay      `json:"display,omitempty"`
	Items          []taskItem        `json:"items,omitempty"`
}

type taskDisplay struct {
	Title       string `json:"title"`
	Description string `json:"description,omitempty"`
}

// taskItem is an item of a batch. Resource and action are as they were sent; sensitive values stand in _sd as digests.
type taskItem struct {
	Resource json.RawMessage `json:"resource"`
	Action   json.RawMessage `json:"action"`
	Status   string          `json:"status"`
	Result   *taskResult     `json:"result,omitempty"`
}

// taskResult says how an approval is made use of: by deciding again.
type taskResult struct {
	Mode     string        `json:"mode"`
	Approval citedApproval `json:"approval"`
}

// citedApproval is what to send as context.approval.
type citedApproval struct {
	ID         string    `json:"id"`
	ApprovedAt aver.Time `json:"approved_at"`
	Until      aver.Time `json:"approved_until"`
}

// result is what an approval that stands is worth; nil: nothing.
func result(p *authority.Approval, status string) *taskResult {
	if status != "approved" {
		return nil
	}
	return &taskResult{Mode: "reevaluate", Approval: citedApproval{ID: p.ID, ApprovedAt: p.Votes[len(p.Votes)-1].Time, Until: p.Until}}
}

// expires is when something ends by time next, or ended.
func expires(p *authority.Approval) aver.Time {
	if p.Until != 0 {
		return p.Until
	}
	return p.Deadline
}

// task renders an access request: one approval, or all of a batch.
func (a *API) task(c *call, of []*authority.Approval, batch bool) (*taskAnswer, error) {
	first, now := of[0], a.now()
	out := &taskAnswer{Task: accessTask{ID: first.ID, Status: first.State(now), Expires: expires(first)}}
	t := &out.Task
	if batch {
		t.ID = first.Batch.ID
		states := make([]string, len(of))
		for i, p := range of {
			states[i] = p.State(now)
			t.Expires = max(t.Expires, expires(p))
			var sent struct {
				Resource json.RawMessage `json:"resource"`
				Action   json.RawMessage `json:"action"`
			}
			if err := json.Unmarshal(p.Request, &sent); err != nil {
				return nil, fmt.Errorf("the request of approval %s: %w", p.ID, err)
			}
			t.Items = append(t.Items, taskItem{sent.Resource, sent.Action, states[i], result(p, states[i])})
		}
		t.Status = authority.BatchState(states)
		if len(of) < first.Batch.Of { // the submission broke off; sent again, it goes on
			t.Status = "pending"
		}
	} else {
		out.Result = result(first, t.Status)
	}
	t.StatusEndpoint = a.baseURL(c) + accessRequestsPath + "/" + url.PathEscape(t.ID)
	if slices.ContainsFunc(of, func(p *authority.Approval) bool { return cancellable(p, now, batch) }) {
		t.Links = map[string]string{"cancel": t.StatusEndpoint + "/cancel"}
	}
	if t.Status == "denied" && first.Ended != nil {
		t.Display = &taskDisplay{Title: "refused", Description: first.Ended.Reason}
	}
	return out, nil
}

// cancellable tells whether a request for approval can be taken back: while it is pending, and, if it was asked for by
// itself, as long as the approval is good.
func cancellable(p *authority.Approval, now aver.Time, batch bool) bool {
	state := p.State(now)
	return state == "pending" || state == "approved" && !batch
}

func (a *API) writeTask(c *call, status int, of []*authority.Approval, batch bool) error {
	answer, err := a.task(c, of, batch)
	if err != nil {
		return err
	}
	if status == http.StatusCreated {
		c.w.Header().Set("Location", answer.Task.StatusEndpoint)
	}
	return c.writeJSON(status, answer)
}

// requestAccess asks for the approvals that decisions found missing. Asking again for the same decisions gives the same
// task.
func (a *API) requestAccess(c *call) error {
	sub, err := a.readSubmission(c)
	if err != nil {
		return err
	}
	made, err := a.known(c, sub)
	if err != nil {
		return err
	}
	if len(made) == len(sub.items) {
		return a.writeTask(c, http.StatusAccepted, made, sub.batch)
	}
	asked := make([]*aver.ApprovalRequest, len(sub.items))
	for i := len(made); i < len(sub.items); i++ { // all are looked at before the first is asked for
		if asked[i], err = a.approvalRequest(sub, i); err != nil {
			return err
		}
	}
	if sub.batch {
		id := randomID("ab-")
		if len(made) > 0 {
			id = made[0].Batch.ID
		}
		for i := len(made); i < len(asked); i++ {
			asked[i].Batch = &aver.ApprovalBatch{ID: id, Item: i, Of: len(asked)}
		}
	}
	for i := len(made); i < len(asked); i++ {
		asked[i].ID, asked[i].Callback = randomID("ap-"), sub.callback
		if i == 0 {
			asked[i].Key = sub.key
		}
		if _, err := a.do(c, sub.reason, aver.EventApprovalRequested, asked[i]); err != nil {
			if again, err := a.known(c, sub); err == nil && len(again) == len(sub.items) { // somebody else was faster
				return a.writeTask(c, http.StatusAccepted, again, sub.batch)
			}
			return err
		}
		p, _ := a.state().Approval(asked[i].ID)
		made = append(made, p)
	}
	return a.writeTask(c, http.StatusCreated, made, sub.batch)
}

// known returns the requests for approval that a submission has made already: all, none, or, if it is a batch that broke
// off, the first of them.
func (a *API) known(c *call, sub *submission) ([]*authority.Approval, error) {
	st := a.state()
	if sub.key != "" {
		old, ok := st.ApprovalWithKey(c.caller.name, sub.key)
		if ok && (old.Evaluation != sub.items[0].record.ID || (old.Batch != nil) != sub.batch || sub.batch && old.Batch.Of != len(sub.items)) {
			return nil, arap(http.StatusConflict, "duplicate_request", "the Idempotency-Key was used for another request, approval %s", old.ID)
		}
	}
	var out []*authority.Approval
	for i, item := range sub.items {
		old, ok := st.ApprovalOf(item.record.ID)
		if !ok {
			continue
		}
		if item.request.Binding() != old.Binding {
			return nil, arap(http.StatusBadRequest, "invalid_denial_binding", "decision %s was about another request", item.record.ID)
		}
		if sub.batch && (old.Batch == nil || old.Batch.Item != i || old.Batch.Of != len(sub.items) || i != len(out) || i > 0 && old.Batch.ID != out[0].Batch.ID) {
			return nil, arap(http.StatusConflict, "duplicate_request", "the approval for decision %s was asked for already, as %s", item.record.ID, old.ID)
		}
		out = append(out, old)
	}
	return out, nil
}

// approvalRequest makes the request for approval of an item.
func (a *API) approvalRequest(sub *submission, i int) (*aver.ApprovalRequest, error) {
	record := sub.items[i].record
	asked, err := pdp.NewApprovalRequest(a.state(), record, sub.items[i].request, a.now())
	switch {
	case errors.Is(err, pdp.ErrOtherRequest):
		return nil, arap(http.StatusBadRequest, "invalid_denial_binding", "decision %s was about another request: send subject, action, resource and context as they were", record.ID)
	case errors.Is(err, pdp.ErrNotRequestable):
		return nil, arap(http.StatusBadRequest, "not_requestable", "decision %s, %s, lacks nothing that somebody could approve", record.ID, record.Decision.Outcome)
	case err != nil:
		return nil, arap(http.StatusGone, "expired_denial", "%v", err)
	}
	return asked, nil
}

// ownTask returns the requests for approval of the task that the path names, if it is the caller's or the caller is
// more than a PEP.
func (a *API) ownTask(c *call) (of []*authority.Approval, batch bool, err error) {
	id := c.PathValue("id")
	if p, ok := a.state().Approval(id); ok {
		of = []*authority.Approval{p}
	} else {
		of, batch = a.state().ApprovalBatch(id), true
	}
	if len(of) == 0 || c.caller.role == aver.RolePEP && of[0].By.Name != c.caller.name {
		return nil, false, arap(http.StatusNotFound, "unknown_task", "there is no access request %q of yours", id)
	}
	return of, batch, nil
}

func (a *API) getAccessRequest(c *call) error {
	of, batch, err := a.ownTask(c)
	if err != nil {
		return err
	}
	return a.writeTask(c, http.StatusOK, of, batch)
}

// cancelAccessRequest takes an access request back: of a batch, what is pending of it.
func (a *API) cancelAccessRequest(c *call) error {
	of, batch, err := a.ownTask(c)
	if err != nil {
		return err
	}
	var body struct {
		Comment string `json:"comment,omitempty"`
		withReason
	}
	if err := a.decodeOptional(c, &body); err != nil {
		return err
	}
	reason := strings.Trim(body.Reason+": "+body.Comment, ": ")
	now, done := a.now(), false
	for _, p := range of {
		if !cancellable(p, now, batch) {
			continue
		}
		if _, err := a.do(c, reason, aver.EventApprovalCancelled, aver.ApprovalRef{ID: p.ID}); err != nil {
			return err
		}
		done = true
	}
	if !done {
		if status := of[0].State(now); status == "expired" && !batch {
			return arap(http.StatusGone, "task_expired", "access request %s has expired", of[0].ID)
		}
		return arap(http.StatusConflict, "invalid_task_state", "access request %s has come to its end already", c.PathValue("id"))
	}
	if of, batch, err = a.ownTask(c); err != nil {
		return err
	}
	return a.writeTask(c, http.StatusOK, of, batch)
}
