package aver

import (
	"encoding/json"
	"fmt"
	"slices"
)

// ApprovalRequest asks for the approvals that a decision found missing, so that
// the same request can be allowed when it is decided again. It is a task of the
// OpenID Access Request & Approval Profile.
type ApprovalRequest struct {
	ID         string `json:"id"`
	Evaluation string `json:"evaluation_id"` // the decision that escalated it
	Key        string `json:"key,omitempty"` // Idempotency-Key of who asked; used once by each credential
	// Binding is [Request.Binding] of what was asked. An approval is worth nothing
	// for a request with another one.
	Binding string `json:"binding"`
	// Request is the canonical request as it was sent, its sensitive values
	// withheld (RFC 9901).
	Request json.RawMessage `json:"request"`
	// Parties are those that the request comes from: the subject, the originating
	// user, and all who delegated. None of them may approve.
	Parties  []Ref          `json:"parties"`
	Gates    []ApprovalGate `json:"gates"`    // the escalate gates that stood in the way
	Deadline Time           `json:"deadline"` // until when it can be approved

	Batch    *ApprovalBatch    `json:"batch,omitempty"`    // that it was asked for in (ARAP Bulk); nil: by itself
	Callback *ApprovalCallback `json:"callback,omitempty"` // where who asked wants to be told what became of it
}

// ApprovalBatch is the place of a request for approval among those that were
// asked for together.
type ApprovalBatch struct {
	ID   string `json:"id"`
	Item int    `json:"item"` // from 0
	Of   int    `json:"of"`
}

// ApprovalCallback is the callback of an access request (ARAP Callback).
type ApprovalCallback struct {
	Endpoint string   `json:"endpoint"`         // URL that the server's configuration allows the caller
	State    string   `json:"state,omitempty"`  // opaque; handed back
	Events   []string `json:"events,omitempty"` // of [CallbackEvents]; none: all
}

// CallbackEvents lists what a callback can tell of: the ends of a request. Of
// these, "failed" does not happen here.
func CallbackEvents() []string {
	return []string{"approved", "denied", "expired", "cancelled", "failed", "partial"}
}

// MaxBatch bounds how many approvals are asked for together.
const MaxBatch = 100

const maxCallbackText = 2048 // bytes of a callback's endpoint or state

// Validate checks what can be checked of the callback alone.
func (c *ApprovalCallback) Validate() error {
	if c.Endpoint == "" || len(c.Endpoint) > maxCallbackText || len(c.State) > maxCallbackText {
		return fmt.Errorf("endpoint and state have at most %d bytes, and the endpoint is needed", maxCallbackText)
	}
	for i, e := range c.Events {
		if !slices.Contains(CallbackEvents(), e) || slices.Contains(c.Events[:i], e) {
			return fmt.Errorf("events: %q is none of %q, or stands twice", brief(e), CallbackEvents())
		}
	}
	return nil
}

// ApprovalGate is a gate that an approval is to meet.
type ApprovalGate struct {
	Policy    string   `json:"policy"`
	Bundle    string   `json:"bundle"`    // digest of the version of the policy's bundle: with another one the approval is void
	Approvers []string `json:"approvers"` // see [ApproverRef]
	Approvals int      `json:"approvals"` // how many different approvers it takes
	Within    int64    `json:"within"`    // seconds that it stays open, and that an approval stays good
}

// ApprovalVote is one approver's yes or no.
type ApprovalVote struct {
	ID       string `json:"id"` // of the approval
	Approver Ref    `json:"approver"`
	Seen     string `json:"seen"` // digest of what the approver was shown
	// Duty is the id of the [DutyDelegation] by which the approver answers on
	// somebody's behalf; "": in their own right.
	Duty string `json:"duty,omitempty"`
}

// ApprovalRef names an approval.
type ApprovalRef struct {
	ID string `json:"id"`
}

// DefaultWithin is how long, in seconds, a request for approval stays open, and
// an approval good, where the gate does not say.
const DefaultWithin = 24 * 60 * 60

// RequestableFor is how long after a decision its approval can be asked for, in
// milliseconds.
const RequestableFor = 60 * 60 * 1000

const (
	maxApprovalGates   = 100
	maxApprovalParties = 100
	maxIdempotencyKey  = 256 // bytes
)

// Validate checks what can be checked of the request alone. The error is one
// plain sentence.
func (a *ApprovalRequest) Validate() error {
	switch {
	case !isGrantID(a.ID):
		return fmt.Errorf("id %q: an approval's id has 1 to %d visible ASCII characters, without slashes or quotes", brief(a.ID), maxGrantID)
	case a.Evaluation == "":
		return fmt.Errorf("evaluation_id: it names the decision that escalated")
	case len(a.Key) > maxIdempotencyKey:
		return fmt.Errorf("key: longer than %d bytes", maxIdempotencyKey)
	case len(a.Binding) != 43:
		return fmt.Errorf("binding: not a SHA-256 in base64url")
	case len(a.Request) == 0:
		return fmt.Errorf("request: it is missing")
	case len(a.Parties) == 0 || len(a.Parties) > maxApprovalParties:
		return fmt.Errorf("parties: from 1 to %d", maxApprovalParties)
	case len(a.Gates) == 0 || len(a.Gates) > maxApprovalGates:
		return fmt.Errorf("gates: from 1 to %d", maxApprovalGates)
	case a.Batch != nil && (!isGrantID(a.Batch.ID) || a.Batch.Of < 1 || a.Batch.Of > MaxBatch || a.Batch.Item < 0 || a.Batch.Item >= a.Batch.Of):
		return fmt.Errorf("batch: it has an id, and an item from 0 up to one less than of, which is at most %d", MaxBatch)
	}
	if a.Callback != nil {
		if err := a.Callback.Validate(); err != nil {
			return fmt.Errorf("callback: %w", err)
		}
	}
	for _, p := range a.Parties {
		if err := p.validate(); err != nil {
			return fmt.Errorf("parties: %w", err)
		}
	}
	for _, g := range a.Gates {
		if g.Policy == "" || g.Bundle == "" || len(g.Approvers) == 0 || g.Approvals < 1 || g.Within < 1 {
			return fmt.Errorf("gates: each has a policy, a bundle, approvers, approvals and within")
		}
	}
	return nil
}

// ApproverRef is the entity that a name in @approvers stands for: an approver is
// that entity, or a member of it. `type::"id"` names any entity, anything else
// the group of that name.
func ApproverRef(name string) Ref {
	if r, ok := parseRef(name); ok {
		return r
	}
	return Ref{Type: "group", ID: name}
}

// parseRef reads what [Ref.String] writes.
func parseRef(text string) (Ref, bool) {
	for i := 0; i+2 < len(text); i++ {
		if text[i:i+2] != "::" || text[i+2] != '"' {
			continue
		}
		id, err := ParseJSON([]byte(text[i+2:]), Limits{})
		name, ok := id.(string)
		return Ref{Type: text[:i], ID: name}, err == nil && ok && i > 0 && name != ""
	}
	return Ref{}, false
}

// unbound are the context members that an approval does not bind: how the
// caller proves that it may, not what it asks for.
var unbound = []string{"approval", "challenge", "authentication"}

// Binding is the digest of what a request asks for (ARAP's binding hash): of its
// canonical form, its context without approval, challenge and authentication,
// and of those whom a token names when it names more than the subject.
func (r *Request) Binding() string {
	bound := *r
	bound.Context = nil
	for name, v := range r.Context {
		if slices.Contains(unbound, name) {
			continue
		}
		if bound.Context == nil {
			bound.Context = make(map[string]any, len(r.Context))
		}
		bound.Context[name] = v
	}
	if r.Token == nil || len(r.Token.Actors) == 0 {
		return bound.Digest()
	}
	text := bound.AppendCanonical(nil)
	for _, party := range r.Token.Parties() {
		text = append(append(text, '\n'), party.String()...)
	}
	return Digest(text)
}

// Approval returns the id of the approval that the caller cites in
// context.approval, "" when it cites none.
func (r *Request) Approval() string { return r.contextMember("approval", "id") }

// Challenged returns the evaluation id of the decision whose challenge the caller
// says it has met, from context.challenge; "" when it names none.
func (r *Request) Challenged() string { return r.contextMember("challenge", "evaluation_id") }

func (r *Request) contextMember(object, name string) string {
	o, _ := r.Context[object].(map[string]any)
	s, _ := o[name].(string)
	return s
}

// checkCited refuses context.approval and context.challenge without the id that
// they are there for.
func (r *Request) checkCited() error {
	for _, m := range []struct{ object, name string }{{"approval", "id"}, {"challenge", "evaluation_id"}} {
		v, ok := r.Context[m.object]
		if !ok || v == nil {
			continue
		}
		pointer := "/context/" + m.object
		object, ok := v.(map[string]any)
		if !ok {
			return &RequestError{pointer, fmt.Sprintf("must be an object with %q", m.name)}
		}
		if _, err := checkCase(pointer, object, m.name); err != nil {
			return err
		}
		id, err := parseName(pointer, object, m.name)
		if err != nil {
			return err
		}
		if id == "" {
			return &RequestError{pointer + "/" + m.name, "is required"}
		}
	}
	return nil
}

// AccessRequest tells that, and where, the approvals that a decision found
// missing can be asked for (ARAP).
type AccessRequest struct {
	Endpoint string `json:"endpoint,omitempty"` // URL
	Expires  Time   `json:"expires_at"`
}

// accessRequest returns what a requestable denial says, nil when the decision is
// none. The endpoint is the server's to fill in.
func (a *Answer) accessRequest() *AccessRequest {
	if a.Outcome.Allowed() || !slices.ContainsFunc(a.Requirements, func(q Requirement) bool { return q.Gate == GateEscalate }) {
		return nil
	}
	return &AccessRequest{Endpoint: a.AccessRequestEndpoint, Expires: a.Time + RequestableFor}
}
