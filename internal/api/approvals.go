package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/why"
)

// now is the time for what depends on it outside of decisions. It never falls behind the authority log.
func (a *API) now() aver.Time { return max(aver.TimeOf(a.o.Now()), a.state().Time()) }

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

// readApprovals records that requests for approval are read by who does not answer them: what was asked for stands in
// them with its values and its explanation, as in the record of the decision. Approvers see what they have to answer.
func (a *API) readApprovals(c *call) error {
	if c.caller.role == aver.RoleApprover {
		return nil
	}
	return a.recordEvidenceAccess(c, readsEvidence, c.URL.Query().Encode())
}

func (a *API) listApprovals(c *call) error {
	if err := a.readApprovals(c); err != nil {
		return err
	}
	want := c.URL.Query().Get("state")
	var list []*authority.Approval
	for _, p := range a.state().Approvals() {
		if (want == "" || want == p.State(a.now())) && a.sees(c, p) {
			list = append(list, p)
		}
	}
	key := func(p *authority.Approval) string { return indexKey(p.Event) }
	return writePage(c, "approvals", list, key, func(p *authority.Approval) approval {
		return approval{Approval: p, State: p.State(a.now())}
	})
}

func (a *API) visibleApproval(c *call) (*authority.Approval, error) {
	p, ok := a.state().Approval(c.PathValue("id"))
	if !ok || !a.sees(c, p) {
		return nil, notYours(c)
	}
	return p, nil
}

func notYours(c *call) error {
	return notFound("there is no request for approval %q that is yours to see", c.PathValue("id"))
}

func (a *API) getApproval(c *call) error {
	if err := a.readApprovals(c); err != nil {
		return err
	}
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
	p, ok := a.state().Approval(c.PathValue("id"))
	if own := ok && c.caller.person != nil && p.From(*c.caller.person); !ok || !own && !a.sees(c, p) {
		return notYours(c)
	}
	who, err := c.person(body.Approver)
	if err != nil {
		return err
	}
	duty, err := a.state().Capacity(p, who, body.OnBehalfOf, a.now())
	if err != nil {
		if typ == aver.EventApprovalGranted {
			a.o.PAP.Attempted(c.Context(), c.who(), typ, aver.ApprovalVote{ID: p.ID, Approver: who})
		}
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
