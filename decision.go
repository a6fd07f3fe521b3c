package aver

import (
	"encoding/json"
	"fmt"
)

// Outcome is what was decided (requirement F1). The zero Outcome is Denied.
type Outcome int

// The outcomes, in the order in which the first that applies is taken.
const (
	Denied              Outcome = iota
	Challenged                  // allowed once the caller proves more
	Escalated                   // allowed once somebody approves
	PartiallyAuthorized         // some of the parts are allowed
	Restricted                  // allowed if the obligations are carried out
	Permitted
)

var outcomeNames = [...]string{"denied", "challenged", "escalated", "partially_authorized", "restricted", "permitted"}

// Outcomes lists all outcomes in the order of the constants.
func Outcomes() []Outcome {
	return []Outcome{Denied, Challenged, Escalated, PartiallyAuthorized, Restricted, Permitted}
}

func (o Outcome) String() string {
	if !o.valid() {
		return fmt.Sprintf("outcome(%d)", int(o))
	}
	return outcomeNames[o]
}

func (o Outcome) valid() bool { return o >= Denied && o <= Permitted }

// Allowed is AuthZEN's boolean decision: whether the caller may go forward.
func (o Outcome) Allowed() bool { return o >= PartiallyAuthorized && o.valid() }

// MarshalText implements encoding.TextMarshaler. It fails for what is not one
// of the constants.
func (o Outcome) MarshalText() ([]byte, error) {
	if !o.valid() {
		return nil, fmt.Errorf("%s is not an outcome", o)
	}
	return []byte(o.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (o *Outcome) UnmarshalText(text []byte) error {
	for i, name := range outcomeNames {
		if name == string(text) {
			*o = Outcome(i)
			return nil
		}
	}
	return fmt.Errorf("%q is not an outcome", text)
}

// Decision is what [Decider] found, before it becomes a record: a pure function
// of the authority state, the request and the time. The zero Decision denies.
type Decision struct {
	Ruling
	Actor    Actor          `json:"actor"`
	Parts    []PartDecision `json:"parts,omitempty"`    // in the order of the request; empty: decided as a whole
	Counters []Counter      `json:"counters,omitempty"` // one for each limit of each grant in the chain
}

// Ruling is the finding on a request, or on one part of it.
type Ruling struct {
	Outcome      Outcome       `json:"outcome"`
	Reasons      []Reason      `json:"reasons,omitempty"`
	Frames       []Frame       `json:"frames,omitempty"`
	Requirements []Requirement `json:"requirements,omitempty"` // what is still to be met: challenges, approvals
	Obligations  []Obligation  `json:"obligations,omitempty"`  // what the caller must do when it goes forward
}

// PartDecision is the ruling on one part.
type PartDecision struct {
	ID string `json:"id"`
	Ruling
}

// Actor is the acting party as Aver knows it (A1). Who it is, a record says in its
// request.
type Actor struct {
	Ref
	Kind  Kind    `json:"kind"`
	Event *uint64 `json:"event,omitempty"` // authority log index of its registration; nil: merely the caller's claim
}

// FrameKind says as whom a request was authorized in a frame.
type FrameKind string

// The kinds of frames. Every frame must allow (B6).
const (
	FrameActor     FrameKind = "actor"     // the acting party
	FrameDelegator FrameKind = "delegator" // somebody up the chain, as if they did it themselves
	FrameGrant     FrameKind = "grant"     // the grant by which authority was passed on
	FrameException FrameKind = "exception" // an active exception of the acting party; one that allows stands in for the actor's
)

// Frame is one authorization of the request by the policy engine. In a record it
// says only that it does not allow; the zero Frame does not.
type Frame struct {
	As        FrameKind     `json:"-"`                   // in JSON: a grant's if it has a grant, a delegator's if it has an entity, else the actor's
	Entity    Ref           `json:"entity,omitzero"`     // of a delegator frame: who
	Grant     string        `json:"grant,omitempty"`     // of a grant frame
	Exception string        `json:"exception,omitempty"` // of an exception frame
	Allowed   bool          `json:"allowed"`
	Policies  []string      `json:"policies,omitempty"` // the determining policies, sorted
	Errors    []PolicyError `json:"errors,omitempty"`
}

// UnmarshalJSON reads a frame of a record and finds its kind: it allows unless it
// says that it does not.
func (f *Frame) UnmarshalJSON(text []byte) error {
	type members Frame
	f.Allowed = true
	if err := json.Unmarshal(text, (*members)(f)); err != nil {
		return err
	}
	f.As = f.kind()
	return nil
}

// kind finds the kind of a frame by what it has.
func (f *Frame) kind() FrameKind {
	switch {
	case f.Grant != "":
		return FrameGrant
	case f.Exception != "":
		return FrameException
	case !f.Entity.IsZero():
		return FrameDelegator
	}
	return FrameActor
}

// PolicyError is an error met while evaluating a policy. Any makes the outcome
// Denied (F3).
type PolicyError struct {
	Policy  string `json:"policy"`
	Message string `json:"message"`
}

// ReasonCode says why in a form for programs.
type ReasonCode string

// The reason codes.
const (
	ReasonPermitted       ReasonCode = "permitted"              // every frame allows and nothing is left to be met
	ReasonForbidden       ReasonCode = "forbidden"              // a forbid policy matched
	ReasonNotPermitted    ReasonCode = "not_permitted"          // no permit policy matched
	ReasonPolicyError     ReasonCode = "policy_error"           // a policy could not be evaluated
	ReasonInvalid         ReasonCode = "invalid_request"        // a required member is missing, or a value Cedar can't hold
	ReasonChainBroken     ReasonCode = "chain_broken"           // a link does not join the next
	ReasonChainTooLong    ReasonCode = "chain_too_long"         // more hops than any chain, or a grant in it, may have
	ReasonChainLoop       ReasonCode = "chain_loop"             // somebody stands in the chain twice
	ReasonGrantUnknown    ReasonCode = "grant_unknown"          // no such grant was ever issued
	ReasonGrantRevoked    ReasonCode = "grant_revoked"          //
	ReasonGrantExpired    ReasonCode = "grant_expired"          //
	ReasonGrantPending    ReasonCode = "grant_not_yet_valid"    //
	ReasonGrantScope      ReasonCode = "grant_does_not_cover"   // the action, resource or condition lies outside of the grant
	ReasonTokenInvalid    ReasonCode = "token_invalid"          // the token that came with the request is not believed
	ReasonTokenExpired    ReasonCode = "token_expired"          //
	ReasonTokenPending    ReasonCode = "token_not_yet_valid"    //
	ReasonTokenMismatch   ReasonCode = "token_mismatch"         // it speaks for somebody else than the request
	ReasonTokenScope      ReasonCode = "token_does_not_cover"   // what is asked lies outside of its authorization_details
	ReasonLimit           ReasonCode = "limit_exhausted"        // a limit that counts is used up
	ReasonLimitUnread     ReasonCode = "limit_not_countable"    // the attribute to sum is missing or no whole number
	ReasonUnsupported     ReasonCode = "obligation_unsupported" // the caller did not declare that it can carry out an obligation
	ReasonChallenge       ReasonCode = "challenge"              // more has to be proved
	ReasonEscalate        ReasonCode = "escalate"               // somebody has to approve
	ReasonRestrict        ReasonCode = "restrict"               // allowed with an obligation
	ReasonException       ReasonCode = "exception"              // an exception lets it through where the policies do not
	ReasonApproved        ReasonCode = "approved"               // an approval met the gate
	ReasonApprovalUnknown ReasonCode = "approval_unknown"       // no such approval was ever asked for
	ReasonApprovalScope   ReasonCode = "approval_out_of_scope"  // it was for another request, gate or version of the policy
	ReasonApprovalPending ReasonCode = "approval_pending"       // it is not complete yet
	ReasonApprovalRefused ReasonCode = "approval_refused"       // it was refused, or cancelled
	ReasonApprovalExpired ReasonCode = "approval_expired"       //
	ReasonApprovalUsed    ReasonCode = "approval_used"          // it let one request through already
	ReasonPartsDiffer     ReasonCode = "parts_differ"           // some of the parts are allowed, some are not
	ReasonPartsNone       ReasonCode = "parts_not_allowed"      // none of the parts is allowed
)

// Reason says why, once for programs and once for people.
type Reason struct {
	Code   ReasonCode `json:"code"`
	Policy string     `json:"policy,omitempty"` // id of the determining policy
	Grant  string     `json:"grant,omitempty"`
	Detail string     `json:"detail,omitempty"` // values: a time, an attribute, an error
	Text   string     `json:"text,omitempty"`   // one plain sentence; not part of the record, since it follows from the rest
}

// Gate is the kind of a rule that says "not like this, but it could be".
type Gate string

// The gates.
const (
	GateChallenge Gate = "challenge"
	GateEscalate  Gate = "escalate"
	GateRestrict  Gate = "restrict"
)

// Requirement is a gate that matched and is not met.
type Requirement struct {
	Gate      Gate     `json:"gate"`
	Policy    string   `json:"policy"`
	ACRValues []string `json:"acr_values,omitempty"` // challenge: authentication contexts that would do (RFC 9470)
	AMRValues []string `json:"amr_values,omitempty"` // challenge: authentication methods that would do
	MaxAge    *int64   `json:"max_age,omitempty"`    // challenge: seconds since the authentication, at most; 0: authenticate now (RFC 9470)
	Present   string   `json:"present,omitempty"`    // challenge: what to present, in plain words
	Approvers []string `json:"approvers,omitempty"`  // escalate: who may approve
	Approvals int      `json:"approvals,omitempty"`  // escalate: how many of them
	Within    int64    `json:"within,omitempty"`     // escalate: seconds an approval stays good
}

// Obligation is what the caller must do when it lets the request through
// (AuthZEN obligations profile). ID is that of the policy that demands it.
type Obligation struct {
	ID         string     `json:"id"`
	Type       string     `json:"type"`
	Properties Properties `json:"properties,omitempty"`
}

// Counter is one limit of a grant around one decision, or the single use of an
// approval: then Grant is the approval's id, Name "approval" and Max 1. Before and After differ
// only when the outcome allows. For every grant and name the records form an
// unbroken chain: each Before is the After of the record that came before.
type Counter struct {
	Grant  string `json:"grant"`
	Name   string `json:"name"` // "uses", the attribute that is summed, or "approval"
	Before int64  `json:"before"`
	After  int64  `json:"after"`
	Max    int64  `json:"max"`
}

// Receipt proves by its strength "committed" that the record is durable in the
// log at Index. It is checked against the log's own tree by its leaf hash.
type Receipt struct {
	Origin   string         `json:"origin"`
	Index    uint64         `json:"index"`     // zero-based
	LeafHash string         `json:"leaf_hash"` // RFC 6962 leaf hash, standard base64
	Commit   *CommitReceipt `json:"commit,omitempty"`
}

// CommitReceipt is the log's signature over the commit group that the record
// was written in.
type CommitReceipt struct {
	Note string   `json:"note"` // C2SP signed note
	Path []string `json:"path"` // audit path from the leaf to the group's root, standard base64
}

// Answer is a released decision: its record is durable.
type Answer struct {
	Decision
	EvaluationID string
	Time         Time
	Receipt      Receipt
	// AccessRequestEndpoint is the URL at which missing approvals can be asked for;
	// the server sets it.
	AccessRequestEndpoint string
}

// JSON returns the AuthZEN answer in canonical form: the boolean decision, and in
// its context all that Aver adds.
func (a *Answer) JSON() []byte {
	size := 512
	if commit := a.Receipt.Commit; commit != nil {
		size += len(commit.Note) + len(commit.Path)*(len(a.Receipt.LeafHash)+len(`"",`))
	}
	o := object{dst: make([]byte, 0, size)}
	o.name("context")
	c := object{dst: o.dst}
	if r := a.accessRequest(); r != nil {
		c.name("access_request")
		m := object{dst: c.dst}
		if r.Endpoint != "" {
			m.string("endpoint", r.Endpoint)
		}
		m.time("expires_at", r.Expires)
		c.dst = m.close()
	}
	c.time("evaluated_at", a.Time)
	c.string("evaluation_id", a.EvaluationID)
	appendList(&c, "obligations", a.Obligations, Obligation.appendCanonical)
	c.string("outcome", a.Outcome.String())
	appendList(&c, "parts", a.Parts, func(p PartDecision, dst []byte) []byte {
		o := object{dst: dst}
		o.bool("decision", p.Outcome.Allowed())
		o.string("id", p.ID)
		appendList(&o, "obligations", p.Obligations, Obligation.appendCanonical)
		o.string("outcome", p.Outcome.String())
		appendList(&o, "reasons", p.Reasons, Reason.appendSpoken)
		appendList(&o, "requirements", p.Requirements, Requirement.appendCanonical)
		return o.close()
	})
	appendList(&c, "reasons", a.Reasons, Reason.appendSpoken)
	c.name("receipt")
	r := object{dst: c.dst}
	if commit := a.Receipt.Commit; commit != nil {
		r.name("commit")
		m := object{dst: r.dst}
		m.string("note", commit.Note)
		if m.strings("path", commit.Path); len(commit.Path) == 0 { // a group of one
			m.name("path")
			m.dst = append(m.dst, "[]"...)
		}
		r.dst = m.close()
	}
	r.uint("index", a.Receipt.Index)
	r.string("leaf_hash", a.Receipt.LeafHash)
	r.string("origin", a.Receipt.Origin)
	c.dst = r.close()
	appendList(&c, "requirements", a.Requirements, Requirement.appendCanonical)
	o.dst = c.close()
	o.bool("decision", a.Outcome.Allowed())
	return o.close()
}
