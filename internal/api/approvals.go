package api

import (
	"crypto/rand"
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
	"github.com/aver-authz/aver/internal/why"
)

// The paths of the OpenID Access Request & Approval Profile (ARAP, a working draft). What PEPs use of it is in this
// file: access requests and their status. The profile leaves what approvers use to the product.
const accessRequestsPath = "/v1/access-requests"

// arap is a problem of a type that the profile names.
func arap(status int, slug, format string, args ...any) error {
	return &problem{Type: "urn:openid:authzen:access-request:error:" + slug, Slug: slug, Status: status, Detail: fmt.Sprintf(format, args...)}
}

// accessTask is a request for approval as the profile shows it.
type accessTask struct {
	ID             string            `json:"id"`
	Status         string            `json:"status"` // pending, approved, denied, expired or cancelled
	StatusEndpoint string            `json:"status_endpoint"`
	Expires        aver.Time         `json:"expires_at"`
	Links          map[string]string `json:"links,omitempty"`
	// Approval is what to send as context.approval, once it is approved.
	Approval *citedApproval `json:"approval,omitempty"`
	Reason   string         `json:"reason,omitempty"` // of the refusal
}

type citedApproval struct {
	ID         string    `json:"id"`
	ApprovedAt aver.Time `json:"approved_at"`
	Until      aver.Time `json:"approved_until"`
}

// now is the time for what depends on it outside of decisions. It never falls behind the authority log.
func (a *API) now() aver.Time { return max(aver.TimeOf(a.o.Now()), a.state().Time()) }

func (a *API) task(c *call, p *authority.Approval) map[string]accessTask {
	t := accessTask{
		ID: p.ID, Status: p.State(a.now()), Expires: p.Deadline,
		StatusEndpoint: a.baseURL(c) + accessRequestsPath + "/" + url.PathEscape(p.ID),
	}
	switch t.Status {
	case "approved":
		t.Expires = p.Until
		t.Approval = &citedApproval{ID: p.ID, ApprovedAt: p.Votes[len(p.Votes)-1].Time, Until: p.Until}
		fallthrough
	case "pending":
		t.Links = map[string]string{"cancel": t.StatusEndpoint + "/cancel"}
	case "denied":
		t.Reason = p.Ended.Reason
	}
	return map[string]accessTask{"task": t}
}

// requestAccess asks for the approvals that a decision found missing. Asking again for the same decision, or with the
// same Idempotency-Key, gives the same task.
func (a *API) requestAccess(c *call) error {
	v, err := a.readJSON(c, a.o.MaxBody)
	if err != nil {
		return err
	}
	req, err := aver.ParseRequest(v)
	if err == nil {
		err = req.Validate()
	}
	if err != nil {
		return err
	}
	body := v.(map[string]any)
	for _, name := range []string{"items", "callback"} {
		if body[name] != nil {
			return &aver.RequestError{Pointer: "/" + name, Reason: "is not supported here: ask for one request at a time, and look at its status_endpoint"}
		}
	}
	denial, _ := body["denial"].(map[string]any)
	evaluation, _ := denial["evaluation_id"].(string)
	if evaluation == "" {
		return &aver.RequestError{Pointer: "/denial/evaluation_id", Reason: "is required: the evaluation_id of the decision that escalated"}
	}
	reason, _ := body["reason"].(string)
	key := c.Header.Get("Idempotency-Key")
	if key != "" {
		if old, ok := a.state().ApprovalWithKey(c.caller.name, key); ok && old.Evaluation != evaluation {
			return arap(http.StatusConflict, "duplicate_request", "the Idempotency-Key was used for another request, approval %s", old.ID)
		}
	}
	record, err := a.requestable(c, evaluation)
	if err != nil {
		return err
	}
	req.Token = record.Token // as it was verified then: the token is not shown again
	if old, ok := a.state().ApprovalOf(evaluation); ok {
		if req.Binding() != old.Binding {
			return arap(http.StatusBadRequest, "invalid_denial_binding", "decision %s was about another request", evaluation)
		}
		return c.writeJSON(http.StatusOK, a.task(c, old))
	}
	asked, err := pdp.NewApprovalRequest(a.state(), record, req, a.now())
	switch {
	case errors.Is(err, pdp.ErrOtherRequest):
		return arap(http.StatusBadRequest, "invalid_denial_binding", "decision %s was about another request: send subject, action, resource and context as they were", evaluation)
	case errors.Is(err, pdp.ErrNotRequestable):
		return arap(http.StatusBadRequest, "not_requestable", "decision %s, %s, lacks nothing that somebody could approve", evaluation, record.Decision.Outcome)
	case err != nil:
		return arap(http.StatusGone, "expired_denial", "%v", err)
	}
	asked.ID, asked.Key = "ap-"+strings.ToLower(rand.Text()[:16]), key // 80 random bits
	if _, err := a.do(c, reason, aver.EventApprovalRequested, asked); err != nil {
		if old, ok := a.state().ApprovalOf(evaluation); ok && old.Binding == asked.Binding { // somebody else was faster
			return c.writeJSON(http.StatusOK, a.task(c, old))
		}
		return err
	}
	made, _ := a.state().Approval(asked.ID)
	c.w.Header().Set("Location", accessRequestsPath+"/"+url.PathEscape(asked.ID))
	return c.writeJSON(http.StatusCreated, a.task(c, made))
}

// requestable returns the record of a decision whose approval the caller may still ask for.
func (a *API) requestable(c *call, evaluation string) (*aver.Record, error) {
	index, err := a.o.FindDecision(evaluation)
	if errors.Is(err, pdp.ErrNotFound) {
		return nil, arap(http.StatusBadRequest, "invalid_denial_binding", "there is no decision %q", evaluation)
	}
	if err != nil {
		return nil, err
	}
	_, payload, err := a.o.Decisions.Entry(index)
	if err != nil {
		return nil, err
	}
	record, err := aver.ParseRecord(payload)
	if err != nil {
		return nil, err
	}
	switch {
	case c.caller.role == aver.RolePEP && record.PEP.Credential != c.caller.name:
		return nil, arap(http.StatusBadRequest, "invalid_denial_binding", "decision %s was not made for %s", evaluation, c.caller.name)
	case a.now() > record.Time+aver.RequestableFor:
		return nil, arap(http.StatusGone, "expired_denial", "decision %s is older than an hour: ask for a decision again", evaluation)
	}
	return record, nil
}

// ownTask returns the request for approval that the path names, if it is the caller's or the caller is an administrator.
func (a *API) ownTask(c *call) (*authority.Approval, error) {
	p, ok := a.state().Approval(c.PathValue("id"))
	if !ok || c.caller.role == aver.RolePEP && p.By.Name != c.caller.name {
		return nil, arap(http.StatusNotFound, "unknown_task", "there is no access request %q of yours", c.PathValue("id"))
	}
	return p, nil
}

func (a *API) getAccessRequest(c *call) error {
	p, err := a.ownTask(c)
	if err != nil {
		return err
	}
	return c.writeJSON(http.StatusOK, a.task(c, p))
}

func (a *API) cancelAccessRequest(c *call) error {
	p, err := a.ownTask(c)
	if err != nil {
		return err
	}
	var body withReason
	if err := a.decodeOptional(c, &body); err != nil {
		return err
	}
	switch status := p.State(a.now()); status {
	case "pending", "approved":
	case "expired":
		return arap(http.StatusGone, "task_expired", "access request %s has expired", p.ID)
	default:
		return arap(http.StatusConflict, "invalid_task_state", "access request %s is %s already", p.ID, status)
	}
	if _, err := a.do(c, body.Reason, aver.EventApprovalCancelled, aver.ApprovalRef{ID: p.ID}); err != nil {
		return err
	}
	p, _ = a.state().Approval(p.ID)
	return c.writeJSON(http.StatusOK, a.task(c, p))
}

// approval is a request for approval as approvers and auditors see it.
type approval struct {
	*authority.Approval
	State string `json:"state"` // as in the profile; unlike status it tells what the clock has ended
	Shown *shown `json:"shown,omitempty"`
	Seen  string `json:"seen,omitempty"` // digest of shown
}

// shown is what an approver decides on.
type shown struct {
	Reason   string              `json:"reason,omitempty"` // why it was asked for
	Request  json.RawMessage     `json:"request"`
	Parties  []aver.Ref          `json:"parties"`
	Gates    []aver.ApprovalGate `json:"gates"`
	Decision *why.Explanation    `json:"decision"` // policies, chain, values and who vouches for them
}

// sees tells whether the caller may see a request for approval. An approver sees those that are theirs to answer, and
// those that they have answered.
func (a *API) sees(c *call, p *authority.Approval) bool {
	if c.caller.role != aver.RoleApprover {
		return true
	}
	who := c.caller.person
	return who != nil && (a.state().MayApprove(p, *who, a.now()) == nil ||
		slices.ContainsFunc(p.Votes, func(v authority.Vote) bool { return v.Approver == *who || v.OnBehalfOf == *who }))
}

func (a *API) listApprovals(c *call) error {
	want := c.URL.Query().Get("state")
	var list []*authority.Approval
	for _, p := range a.state().Approvals() {
		if (want == "" || want == p.State(a.now())) && a.sees(c, p) {
			list = append(list, p)
		}
	}
	key := func(p *authority.Approval) string { return fmt.Sprintf("%020d", p.Event) }
	return writePage(c, "approvals", list, key, func(p *authority.Approval) approval {
		return approval{Approval: p, State: p.State(a.now())}
	})
}

func (a *API) visibleApproval(c *call) (*authority.Approval, error) {
	p, ok := a.state().Approval(c.PathValue("id"))
	if !ok || !a.sees(c, p) {
		return nil, notFound("there is no request for approval %q that is yours to see", c.PathValue("id"))
	}
	return p, nil
}

func (a *API) getApproval(c *call) error {
	p, err := a.visibleApproval(c)
	if err != nil {
		return err
	}
	shown, seen, err := a.show(c, p)
	if err != nil {
		return err
	}
	return c.writeJSON(http.StatusOK, approval{Approval: p, State: p.State(a.now()), Shown: shown, Seen: seen})
}

// show puts together what an approver decides on, and its digest.
func (a *API) show(c *call, p *authority.Approval) (*shown, string, error) {
	index, err := a.o.FindDecision(p.Evaluation)
	if err != nil {
		return nil, "", err
	}
	explanation, err := a.o.Why(c.Context(), index)
	if err != nil {
		return nil, "", err
	}
	s := &shown{Reason: p.Reason, Request: p.Request, Parties: p.Parties, Gates: p.Gates, Decision: explanation}
	text, err := aver.CanonicalJSON(s)
	if err != nil {
		return nil, "", fmt.Errorf("what is shown of approval %s: %w", p.ID, err)
	}
	return s, aver.Digest(text), nil
}

func (a *API) approve(c *call) error { return a.vote(c, aver.EventApprovalGranted) }

func (a *API) refuse(c *call) error { return a.vote(c, aver.EventApprovalRefused) }

// vote answers a request for approval as the person whom the caller's credential belongs to.
func (a *API) vote(c *call, typ aver.EventType) error {
	var body struct {
		Approver   *aver.Ref `json:"approver,omitempty"`
		OnBehalfOf *aver.Ref `json:"on_behalf_of,omitempty"`
		Seen       string    `json:"seen,omitempty"`
		withReason
	}
	if err := a.decodeOptional(c, &body); err != nil {
		return err
	}
	p, err := a.visibleApproval(c)
	if err != nil {
		return err
	}
	who, err := c.person(body.Approver)
	if err != nil {
		return err
	}
	duty, err := a.state().Capacity(p, who, body.OnBehalfOf, a.now())
	if err != nil {
		return &problem{Slug: "forbidden", Status: http.StatusForbidden, Detail: err.Error()}
	}
	reason := c.reason(body.Reason)
	if typ == aver.EventApprovalRefused && reason == "" {
		return &aver.RequestError{Pointer: "/reason", Reason: "is required: those who asked learn why it was refused"}
	}
	_, seen, err := a.show(c, p)
	if err != nil {
		return err
	}
	if body.Seen != "" && body.Seen != seen {
		return conflict("what was seen is not what is shown now: look at the request for approval again")
	}
	vote := aver.ApprovalVote{ID: p.ID, Approver: who, Seen: seen}
	if duty != nil {
		vote.Duty = duty.ID
	}
	made, err := a.do(c, reason, typ, vote)
	if err != nil {
		return err
	}
	return c.writeJSON(http.StatusOK, made)
}

// person is who acts by the caller's credential. Where nobody is authenticated it is whom the body names.
func (c *call) person(named *aver.Ref) (aver.Ref, error) {
	own := c.caller.person
	if c.caller.method == "none" && named != nil {
		own = named
	}
	switch {
	case own == nil:
		return aver.Ref{}, &problem{Slug: "forbidden", Status: http.StatusForbidden,
			Detail: "this credential belongs to nobody in particular, and only a person can do this: issue one with a subject"}
	case named != nil && *named != *own:
		return aver.Ref{}, &problem{Slug: "forbidden", Status: http.StatusForbidden,
			Detail: fmt.Sprintf("this credential is that of %s, not of %s", own, named)}
	}
	return *own, nil
}
