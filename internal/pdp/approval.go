package pdp

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/policy"
)

// approvalName is the name of the counter of an approval's single use.
const approvalName = "approval"

// citedApproval is the approval that a request cites.
type citedApproval struct {
	*authority.Approval
	fault *aver.Reason // why it meets no gate; nil: it meets those that it was given for
}

// resolveApproval looks up the approval that the caller cites and checks whether
// it is worth anything for this request at this time. What is bound is the whole
// request, so the record keeps all of it.
func (d *decider) resolveApproval() {
	id := d.q.Request.Approval()
	if id == "" {
		return
	}
	d.evidence.everything = true
	cited := &citedApproval{}
	d.approval = cited
	fault := func(code aver.ReasonCode, detail string) {
		cited.fault = &aver.Reason{Code: code, Detail: strings.TrimSpace(id + " " + detail)}
	}
	a, ok := d.st.Approval(id)
	if !ok {
		fault(aver.ReasonApprovalUnknown, "")
		return
	}
	cited.Approval = a
	d.evidence.cited = append(d.evidence.cited, a.Event)
	for _, v := range a.Votes {
		d.evidence.cited = append(d.evidence.cited, v.Event)
		if duty, ok := d.st.Duty(v.Duty); ok {
			d.evidence.cited = append(d.evidence.cited, duty.Event)
		}
	}
	before := d.used[LimitKey{a.ID, approvalName}]
	d.counters = append(d.counters, counting{Counter: aver.Counter{Grant: a.ID, Name: approvalName, Before: before, After: before, Max: 1}})
	switch {
	case a.Binding != d.q.Request.Binding():
		fault(aver.ReasonApprovalScope, "")
	case before > 0:
		fault(aver.ReasonApprovalUsed, "")
	case a.Status == authority.ApprovalRefused || a.Status == authority.ApprovalCancelled:
		fault(aver.ReasonApprovalRefused, string(a.Status))
	case a.Status == authority.ApprovalPending && d.now >= a.Deadline:
		fault(aver.ReasonApprovalExpired, a.Deadline.String())
	case a.Status == authority.ApprovalPending:
		fault(aver.ReasonApprovalPending, "")
	case d.now >= a.Until && !d.inFlight: // it was used in time by what is under way
		fault(aver.ReasonApprovalExpired, a.Until.String())
	}
}

// approved tells whether the cited approval meets an escalate gate, and says so,
// or why not; nil when none is cited.
func (d *decider) approved(rule *policy.Rule) (met bool, reason *aver.Reason) {
	a := d.approval
	switch {
	case a == nil:
		return false, nil
	case a.fault != nil:
		r := because(a.fault.Code, nil, "", a.fault.Detail)
		return false, &r
	}
	_, bundle, _ := d.st.Gate(rule.ID)
	for _, g := range a.Gates {
		if g.Policy == rule.ID && g.Bundle == bundle {
			var by []string
			for _, v := range a.Votes {
				by = append(by, v.Who())
			}
			r := because(aver.ReasonApproved, rule, "", a.ID+" by "+strings.Join(by, ", "))
			return true, &r
		}
	}
	r := because(aver.ReasonApprovalScope, nil, "", a.ID)
	return false, &r
}

// useApproval counts the use of the approval by a part that it let through.
func (d *decider) useApproval() {
	for i := range d.counters {
		if c := &d.counters[i]; c.Name == approvalName {
			c.After, c.used = c.Max, true
		}
	}
}

// ErrNotRequestable says why the approvals that a decision lacks can't be asked
// for.
var ErrNotRequestable = errors.New("nothing can be approved here")

// ErrOtherRequest says that a request is not the one that was decided.
var ErrOtherRequest = errors.New("this is not the request that was decided")

// NewApprovalRequest makes the request for the approvals that a recorded decision
// found missing. The request must be the one that was decided, to the byte of its
// canonical form. The caller gives it an id.
//
// The error is [ErrNotRequestable], [ErrOtherRequest], or that the policies have
// changed since, so that a decision has to be asked for again.
func NewApprovalRequest(st *authority.State, record *aver.Record, req *aver.Request, now aver.Time) (*aver.ApprovalRequest, error) {
	if record.Full != req.Digest() {
		return nil, ErrOtherRequest
	}
	with := *req
	with.Token = record.Token // as it was verified then
	req = &with
	out := &aver.ApprovalRequest{Evaluation: record.ID, Binding: req.Binding(), Deadline: now}
	shortest := int64(0)
	if !record.Decision.Outcome.Allowed() {
		for _, q := range record.Decision.Requirements {
			if q.Gate != aver.GateEscalate {
				continue
			}
			_, bundle, ok := st.Gate(q.Policy)
			if !ok {
				return nil, fmt.Errorf("policy %s, which asked for an approval, is not active any more: ask for a decision again", q.Policy)
			}
			within := q.Within
			if within == 0 {
				within = aver.DefaultWithin
			}
			if shortest == 0 || within < shortest {
				shortest = within
			}
			out.Gates = append(out.Gates, aver.ApprovalGate{
				Policy: q.Policy, Bundle: bundle, Approvers: q.Approvers, Approvals: q.Approvals, Within: within,
			})
		}
	}
	if len(out.Gates) == 0 {
		return nil, ErrNotRequestable
	}
	out.Deadline += aver.Time(shortest * 1000)
	out.Parties = parties(st, req)
	var err error
	if out.Request, _, err = withhold(req.AppendCanonical(nil), st.Policies().Sensitive(), rand.Reader); err != nil {
		return nil, err
	}
	return out, nil
}

// parties lists those that a request comes from: the subject, whom it says it
// acts for, and all in the chain.
func parties(st *authority.State, req *aver.Request) []aver.Ref {
	refs := []aver.Ref{req.Subject.Ref}
	if origin, ok := req.OnBehalfOf(); ok {
		refs = append(refs, origin)
	}
	for _, id := range req.Delegation() {
		if g, ok := st.Grant(id); ok {
			refs = append(refs, g.From, g.To)
		}
	}
	if req.Token != nil {
		refs = append(refs, req.Token.Parties()...)
	}
	aver.SortRefs(refs)
	out := refs[:1]
	for _, r := range refs[1:] {
		if r != out[len(out)-1] {
			out = append(out, r)
		}
	}
	return out
}
