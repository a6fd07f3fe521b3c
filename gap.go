package aver

import (
	"fmt"
	"slices"
)

// Gaps lists the control gaps that are looked for, by the ids of requirements
// I1 to I5: shared machine identities, excess, missing delegation, decisions
// apart from activities, and exceptions that are governed badly.
func Gaps() []string { return []string{"I1", "I2", "I3", "I4", "I5"} }

// GapAcceptance accepts the risk of a control gap until a time. It stands for
// all that is found of the same rule about the same subject until then.
type GapAcceptance struct {
	ID      string `json:"id"`               // of the finding
	Gap     string `json:"gap"`              // I1 to I5
	Rule    string `json:"rule"`             // that found it
	Subject Ref    `json:"subject,omitzero"` // whom it is about, if that is an identity
	Until   Time   `json:"until"`
}

// GapClosing says that a control gap is mended. Evidence that comes later opens
// it again.
type GapClosing struct {
	ID      string `json:"id"` // of the finding
	Gap     string `json:"gap"`
	Rule    string `json:"rule"`
	Subject Ref    `json:"subject,omitzero"`
}

// Validate checks what can be checked of the acceptance alone. The error is one
// plain sentence.
func (a *GapAcceptance) Validate() error {
	if a.Until <= 0 {
		return fmt.Errorf("until: it is missing: a gap is accepted for a time, not for ever")
	}
	closing := GapClosing{a.ID, a.Gap, a.Rule, a.Subject}
	return closing.Validate()
}

// Validate checks what can be checked of the closing alone. The error is one
// plain sentence.
func (c *GapClosing) Validate() error {
	switch {
	case !isGrantID(c.ID):
		return fmt.Errorf("id %q: a finding's id has 1 to %d visible ASCII characters, without slashes or quotes", brief(c.ID), maxGrantID)
	case !slices.Contains(Gaps(), c.Gap):
		return fmt.Errorf("gap %q is not one of %q", brief(c.Gap), Gaps())
	}
	if err := validateName("rule", c.Rule); err != nil {
		return err
	}
	if c.Subject.IsZero() {
		return nil
	}
	if err := c.Subject.validate(); err != nil {
		return fmt.Errorf("subject: %w", err)
	}
	return nil
}

// Severity says how bad a control gap is.
type Severity string

// The severities, the least first.
const (
	SeverityLow      Severity = "low"
	SeverityMedium   Severity = "medium"
	SeverityHigh     Severity = "high"
	SeverityCritical Severity = "critical"
)

// Severities lists all severities, the least first.
func Severities() []Severity {
	return []Severity{SeverityLow, SeverityMedium, SeverityHigh, SeverityCritical}
}

// Compare orders severities: negative if s is less than o.
func (s Severity) Compare(o Severity) int {
	return slices.Index(Severities(), s) - slices.Index(Severities(), o)
}

// GapState is where a finding stands.
type GapState string

// The states of findings.
const (
	GapOpen     GapState = "open"
	GapAccepted GapState = "accepted" // until its acceptance ends
	GapClosed   GapState = "closed"   // until there is evidence that is later than the closing
)

// GapStates lists all states of findings.
func GapStates() []GapState { return []GapState{GapOpen, GapAccepted, GapClosed} }

// GapFinding is a control gap that was found (I1 to I5): all that one rule found
// about one subject.
type GapFinding struct {
	ID       string     `json:"id"`  // the same whenever the rule finds it about that subject
	Gap      string     `json:"gap"` // I1 to I5
	Rule     string     `json:"rule"`
	Severity Severity   `json:"severity"`
	Subject  GapSubject `json:"subject"`
	Text     string     `json:"text"`              // one plain sentence
	Details  []string   `json:"details,omitempty"` // values
	Unknown  []string   `json:"unknown,omitempty"` // what would be needed to say more, and no record has

	Count     uint64      `json:"count"` // how many times it was seen; 1 for what holds at the moment
	FirstSeen Time        `json:"first_seen"`
	LastSeen  Time        `json:"last_seen"`
	Evidence  GapEvidence `json:"evidence"`

	Owner    string       `json:"owner,omitempty"` // who answers for the subject, as far as is known
	State    GapState     `json:"state"`
	Answer   *GapAnswer   `json:"answer,omitempty"` // of whoever accepted or closed it last
	Proposal *GapProposal `json:"proposal,omitempty"`
}

// GapSubject is what a finding is about.
type GapSubject struct {
	Kind string `json:"kind"`         // "identity", "credential", "grant", "exception", "key" or "resource"
	ID   string `json:"id"`           // a name, or the text form of Ref
	Ref  Ref    `json:"ref,omitzero"` // of an identity, or whom an exception is for
}

// GapEvidence says by which entries of the logs something was found. Of many,
// the first and the last are kept.
type GapEvidence struct {
	Decisions  []GapEntry `json:"decisions,omitempty"`
	Activities []GapEntry `json:"activities,omitempty"`
	Events     []uint64   `json:"events,omitempty"` // indexes in the authority log
}

// GapEntry is an entry of the decision log.
type GapEntry struct {
	ID    string `json:"id"`
	Index uint64 `json:"index"`
}

// GapAnswer is what somebody decided about a finding.
type GapAnswer struct {
	State  GapState `json:"state"` // accepted or closed
	By     string   `json:"by"`
	Reason string   `json:"reason"`
	Time   Time     `json:"time"`
	Until  Time     `json:"until,omitzero"` // of an acceptance
	Event  uint64   `json:"event"`          // index in the authority log
}

// GapProposal is what would mend a gap, with what the past says about it.
type GapProposal struct {
	Text   string   `json:"text"`
	Grant  *Grant   `json:"grant,omitempty"`  // narrower, in place of the one of its id
	Revoke string   `json:"revoke,omitempty"` // id of a grant that nothing needs
	Proof  GapProof `json:"proof"`
}

// GapProof is what came of deciding the past with a proposal.
type GapProof struct {
	Verdict      GapVerdict `json:"verdict"`
	From         uint64     `json:"from"` // decision log indexes [From, To)
	To           uint64     `json:"to"`
	Decided      uint64     `json:"decided"` // decisions there that rest on the grant
	Same         uint64     `json:"same"`    // with the same outcome
	Undetermined uint64     `json:"undetermined,omitempty"`
	Changed      []string   `json:"changed,omitempty"` // evaluation ids of the first that would come out otherwise
}

// GapVerdict sums up a proof.
type GapVerdict string

// The verdicts of proofs.
const (
	ProofHarmless     GapVerdict = "harmless"     // every decision comes out as it did
	ProofChanges      GapVerdict = "changes"      // some would come out otherwise
	ProofUndetermined GapVerdict = "undetermined" // some could not be decided again, and none comes out otherwise
	ProofNotMade      GapVerdict = "not_made"     // the past was not decided again
)

// GapReport is all that was found at a time.
type GapReport struct {
	AsOf       Time         `json:"as_of"`
	Authority  uint64       `json:"authority_size"` // events that were read
	Decisions  uint64       `json:"decisions_size"` // entries of the decision log that were read
	From       Time         `json:"from,omitzero"`  // of the first entry of the decision log
	Thresholds string       `json:"thresholds"`     // digest of the thresholds
	Findings   []GapFinding `json:"findings"`       // by gap, severity (the worst first), rule and subject
	Unknown    []GapUnknown `json:"unknown"`        // what a rule can't tell
}

// GapUnknown says what a rule can't tell from this evidence, and why.
type GapUnknown struct {
	Gap  string `json:"gap"`
	Rule string `json:"rule"`
	Text string `json:"text"`
}
