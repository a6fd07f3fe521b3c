package aver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// EventType names what an authority event changes.
type EventType string

// The types of authority events, each with the Go type of its data.
const (
	EventPolicyPublished    EventType = "policy.published"    // PolicyPublished
	EventPolicyActivated    EventType = "policy.activated"    // PolicyRef
	EventPolicyRetired      EventType = "policy.retired"      // PolicyRef
	EventIdentityRegistered EventType = "identity.registered" // Identity
	EventIdentityUpdated    EventType = "identity.updated"    // Identity
	EventIdentitySuspended  EventType = "identity.suspended"  // Ref
	EventIdentityResumed    EventType = "identity.resumed"    // Ref
	EventIdentityRetired    EventType = "identity.retired"    // Ref
	EventEntityPut          EventType = "entity.put"          // Entity
	EventEntityRemoved      EventType = "entity.removed"      // Ref
	EventGrantIssued        EventType = "grant.issued"        // Grant
	EventGrantRevoked       EventType = "grant.revoked"       // GrantRef
	EventCredentialIssued   EventType = "credential.issued"   // Credential
	EventCredentialRevoked  EventType = "credential.revoked"  // CredentialRef
	EventApprovalRequested  EventType = "approval.requested"  // ApprovalRequest
	EventApprovalGranted    EventType = "approval.granted"    // ApprovalVote
	EventApprovalRefused    EventType = "approval.refused"    // ApprovalVote
	EventApprovalCancelled  EventType = "approval.cancelled"  // ApprovalRef
	EventExceptionRequested EventType = "exception.requested" // ExceptionRequest
	EventExceptionApproved  EventType = "exception.approved"  // ExceptionVote
	EventExceptionRejected  EventType = "exception.rejected"  // ExceptionVote
	EventExceptionActivated EventType = "exception.activated" // ExceptionRef
	EventExceptionClosed    EventType = "exception.closed"    // ExceptionRef
	EventExceptionReviewed  EventType = "exception.reviewed"  // ExceptionReview
	EventSignalReceived     EventType = "signal.received"     // Signal
	EventGapAccepted        EventType = "gap.accepted"        // GapAcceptance
	EventGapClosed          EventType = "gap.closed"          // GapClosing
	EventDutyDelegated      EventType = "duty.delegated"      // DutyDelegation
	EventDutyRevoked        EventType = "duty.revoked"        // DutyRef
	EventPopulationFixed    EventType = "population.fixed"    // Population
	EventSampleDrawn        EventType = "sample.drawn"        // SampleDrawn
	EventReviewOpened       EventType = "review.opened"       // ReviewOpened
	EventReviewDecided      EventType = "review.decided"      // ReviewDecided
	EventReviewAcknowledged EventType = "review.acknowledged" // ReviewAcknowledged
	EventReviewClosed       EventType = "review.closed"       // ReviewRef
	EventReviewRecorded     EventType = "review.recorded"     // ReviewRecorded
	EventRetentionSet       EventType = "retention.set"       // RetentionRule
	EventRetentionApproved  EventType = "retention.approved"  // RetentionApproval
	EventHoldPlaced         EventType = "hold.placed"         // LegalHold
	EventHoldReleased       EventType = "hold.released"       // HoldRef
	EventErasureRequested   EventType = "erasure.requested"   // ErasureRequest
	EventErasureApproved    EventType = "erasure.approved"    // ErasureRef
	EventErasureRefused     EventType = "erasure.refused"     // ErasureRef
	EventPayloadErased      EventType = "payload.erased"      // ErasedEvidence
	EventDisclosureErased   EventType = "disclosure.erased"   // ErasedEvidence
	EventErasureCompleted   EventType = "erasure.completed"   // ErasedRef
)

// Event is one entry of the authority log: a change of what may be done, with
// who made it and why. Its canonical form is the payload.
type Event struct {
	ID   string    `json:"id"` // a UUIDv7
	Kind string    `json:"kind"`
	Type EventType `json:"type"`
	Time Time      `json:"time"`
	By   By        `json:"by"`
	// Decision is the evaluation id of the decision that allowed the change; "" for
	// what needs none, see [By.Decided].
	Decision string          `json:"decision,omitempty"`
	Reason   string          `json:"reason,omitempty"` // why, in the words of who did it
	Review   string          `json:"review,omitempty"` // id of the access review that the change carries out
	Data     json.RawMessage `json:"data"`             // see [EventType]
	Salt     string          `json:"salt"`
}

// By is who made a change and how they were authenticated.
type By struct {
	Name    string `json:"name"`             // of the credential, [Self] for what the first start does, the user of the machine for MethodLocal
	Method  string `json:"method"`           // "bearer", "oidc", "spiffe", "none" (--insecure-no-auth), MethodInternal or MethodLocal
	Subject Ref    `json:"subject,omitzero"` // whom the credential belongs to, if to anybody in particular

	Authentication *Authentication `json:"authentication,omitempty"` // of "oidc" and "spiffe"
}

// The methods of those who showed a token of an issuer, or a JWT-SVID.
const (
	MethodOIDC   = "oidc"
	MethodSPIFFE = "spiffe"
)

// ByToken reports whether the party showed a token of an issuer.
func (b By) ByToken() bool { return b.Method == MethodOIDC || b.Method == MethodSPIFFE }

// The methods of changes that no decision precedes.
const (
	MethodInternal = "internal" // what Aver does by itself, such as at its first start
	MethodLocal    = "local"    // break-glass: done on the data directory itself, while no server ran
)

// Decided reports whether a change by this party has to name the decision that
// allowed it.
func (b By) Decided() bool { return b.Method != MethodInternal && b.Method != MethodLocal }

// Principal is who made the change, as policies see them: the person whom the
// credential belongs to, else the credential.
func (b By) Principal() Ref {
	if !b.Subject.IsZero() {
		return b.Subject
	}
	return Ref{Type: "credential", ID: b.Name}
}

// Self is what Aver calls itself: in what it does without being asked, and as
// the PEP of its own administration. No credential can have this name.
const Self = "aver"

// ReservedPrefix begins the types of what Aver administers, such as Aver::Policy.
// Nothing can be registered under them, and a PEP can't ask about them: so what
// stands in a decision about them comes from Aver.
const ReservedPrefix = "Aver::"

// Reserved reports whether an entity type is one of Aver's own.
func Reserved(typ string) bool { return strings.HasPrefix(typ, ReservedPrefix) }

// Action is the action that a change of this type asks to be allowed: of
// "policy.activated" it is "policy.activate".
func (t EventType) Action() string {
	noun, verb, _ := strings.Cut(string(t), ".")
	if stem, ok := stems[verb]; ok {
		verb = stem
	}
	return noun + "." + verb
}

// stems are the verbs of the types of events.
var stems = map[string]string{
	"published": "publish", "activated": "activate", "retired": "retire", "registered": "register", "updated": "update",
	"suspended": "suspend", "resumed": "resume", "removed": "remove", "issued": "issue", "revoked": "revoke",
	"requested": "request", "granted": "approve", "approved": "approve", "refused": "refuse", "rejected": "reject",
	"cancelled": "cancel", "closed": "close", "reviewed": "review", "received": "receive", "recorded": "record",
	"enrolled": "enrol", "placed": "place", "released": "release", "erased": "erase", "opened": "open", "used": "use",
	"delegated": "delegate", "accepted": "accept", "fixed": "fix", "drawn": "draw", "decided": "decide",
	"acknowledged": "acknowledge",
}

// AboutEvidence reports whether events of this type are about what becomes of
// evidence: retention, holds, erasure. They change no answer.
func (t EventType) AboutEvidence() bool {
	noun, _, _ := strings.Cut(string(t), ".")
	switch noun {
	case "retention", "hold", "erasure", "payload", "disclosure":
		return true
	}
	return false
}

// PolicyPublished is a bundle that was made known; it decides nothing until it
// is activated.
type PolicyPublished struct {
	Name   string            `json:"name"`
	Digest string            `json:"digest"`
	Files  map[string]string `json:"files"` // path in the bundle :: its text
}

// PolicyRef names a version of a bundle.
type PolicyRef struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
}

// GrantRef names a grant.
type GrantRef struct {
	ID string `json:"id"`
}

// Role is what a credential may do.
type Role string

// The roles of credentials.
const (
	RolePEP      Role = "pep"      // ask for decisions and approvals
	RoleAdmin    Role = "admin"    // everything
	RoleAuditor  Role = "auditor"  // read everything, change nothing
	RoleApprover Role = "approver" // answer requests for approval, as the person it belongs to
)

// Roles lists all roles.
func Roles() []Role { return []Role{RolePEP, RoleAdmin, RoleAuditor, RoleApprover} }

// Credential is a bearer token as it is kept: by the digest of its 256 random
// bits, never itself.
type Credential struct {
	Name    string `json:"name"`
	Role    Role   `json:"role"`
	Digest  string `json:"digest"` // of the token
	Expires Time   `json:"expires,omitzero"`
	// Subject is the person whom the token belongs to; nil: it is a program's.
	// Only a person approves.
	Subject *Ref `json:"subject,omitempty"`
}

// CredentialRef names a credential.
type CredentialRef struct {
	Name string `json:"name"`
}

// NewEvent returns an event with its data in canonical form.
func NewEvent(typ EventType, data any) (Event, error) {
	text, err := CanonicalJSON(data)
	if err != nil {
		return Event{}, fmt.Errorf("event %s: %w", typ, err)
	}
	return Event{Kind: "event", Type: typ, Data: text}, nil
}

// DecodeData reads the event's data into the Go type named at its [EventType].
// Members that the type does not have are an error.
func (e *Event) DecodeData(into any) error {
	d := json.NewDecoder(bytes.NewReader(e.Data))
	d.DisallowUnknownFields()
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("event %s (%s): %w", e.ID, e.Type, err)
	}
	return nil
}

// Canonical returns the event's canonical bytes, its payload.
func (e *Event) Canonical() ([]byte, error) { return CanonicalJSON(e) }

// ParseEvent reads an event's payload and refuses one that is not in canonical
// form.
func ParseEvent(payload []byte) (*Event, error) {
	d := json.NewDecoder(bytes.NewReader(payload))
	d.DisallowUnknownFields()
	var e Event
	if err := d.Decode(&e); err != nil {
		return nil, fmt.Errorf("event: %w", err)
	}
	if e.Kind != "event" {
		return nil, fmt.Errorf("event: kind %q is not known to this version", e.Kind)
	}
	again, err := e.Canonical()
	if err != nil {
		return nil, fmt.Errorf("event: %w", err)
	}
	if !bytes.Equal(again, payload) {
		return nil, fmt.Errorf("event: it is not in the canonical form")
	}
	return &e, nil
}

// eventLimits are wide enough for a bundle of policies, and for a request within
// a record.
var eventLimits = Limits{Bytes: 64 << 20, Depth: 64, Members: 1_000_000}

// CanonicalJSON returns the canonical form (RFC 8785) of what v marshals to.
// The error says where a member or a number has no canonical form. Invalid
// UTF-8 in a string becomes U+FFFD, as encoding/json has it.
func CanonicalJSON(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	parsed, err := ParseJSON(text, eventLimits)
	if err != nil {
		return nil, err
	}
	return AppendCanonical(nil, parsed), nil
}
