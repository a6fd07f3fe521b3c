package aver

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"
	"slices"
	"strings"
)

// ClassStandard is the retention class of entries whose leaf names none, and
// ClassAdministration that of the decisions about Aver's own administration.
const (
	ClassStandard       = "standard"
	ClassAdministration = "administration"
)

// RetentionRule says how long the payloads of a class of entries of the decision
// log are kept (G7), and which decisions are of the class. It counts once a
// second person has approved it.
type RetentionRule struct {
	Class   string   `json:"class"`
	Period  int64    `json:"period"`            // seconds from the entry's time; 0: for ever
	Actions []string `json:"actions,omitempty"` // of the decisions that are of the class from then on, as those of a [Grant]; none: those of no other
}

// RetentionApproval approves a rule as it was proposed.
type RetentionApproval struct {
	Class    string `json:"class"`
	Proposed uint64 `json:"proposed"` // index of the event that proposed it
}

// EvidenceScope picks entries of the decision log: those for which every member
// that is given holds. An activity has the subject and the action of its
// decision.
type EvidenceScope struct {
	Class   string   `json:"class,omitempty"`   // of retention
	Subject Ref      `json:"subject,omitzero"`  // a party: who acts, for whom, on what, or by whose grant
	Actions []string `json:"actions,omitempty"` // as those of a [Grant]
	From    Time     `json:"from,omitzero"`     // not before
	Until   Time     `json:"until,omitzero"`    // before
	IDs     []string `json:"ids,omitempty"`     // evaluation ids, and of activities
}

// LegalHold keeps what it covers from being erased, whatever its class says.
type LegalHold struct {
	ID    string        `json:"id"`
	Scope EvidenceScope `json:"scope"` // empty: everything
}

// HoldRef names a hold.
type HoldRef struct {
	ID string `json:"id"`
}

// ErasureKind says what is to be erased of an entry.
type ErasureKind string

// The kinds of erasure.
const (
	ErasePayloads    ErasureKind = "payloads"    // the record, with its disclosures; the leaf stays
	EraseDisclosures ErasureKind = "disclosures" // the values of sensitive attributes; the record stays
)

// ErasureRequest asks that evidence be erased. A second person has to approve it.
type ErasureRequest struct {
	ID    string        `json:"id"`
	Kind  ErasureKind   `json:"kind"`
	Scope EvidenceScope `json:"scope"`
}

// ErasureRef names a request for erasure.
type ErasureRef struct {
	ID string `json:"id"`
}

// IndexRange is a range of indexes of a log.
type IndexRange struct {
	From uint64 `json:"from"`
	End  uint64 `json:"end"` // index after the last
}

// ErasedEvidence says what is erased of the decision log. It is recorded before
// anything goes, and [EventErasureCompleted] once all of it is gone.
type ErasedEvidence struct {
	ID      string       `json:"id"`
	Erasure string       `json:"erasure,omitempty"` // the approved request that it carries out, or
	Class   string       `json:"class,omitempty"`   // whose period is over
	Log     string       `json:"log"`               // origin
	Ranges  []IndexRange `json:"ranges"`            // ascending, apart from each other
	Count   uint64       `json:"count"`             // of entries
	Digest  string       `json:"digest"`            // of what goes: [ErasedDigest]
	// Authority is how many events of the authority log were known when this was
	// chosen. A hold that was placed since, or a rule that was changed, refuses it.
	Authority uint64 `json:"authority"`
	// Counters are how much of limits the records that go say was used, the last
	// of each: limits stay used up.
	Counters []Counter `json:"counters,omitempty"`
}

// ErasedRef names what is gone now: an [ErasedEvidence], or all that a request
// for erasure covers.
type ErasedRef struct {
	ID      string `json:"id,omitempty"`
	Erasure string `json:"erasure,omitempty"`
}

// Bounds of retention.
const (
	MaxErasedRanges = 10_000            // of one [ErasedEvidence]
	maxScopeIDs     = 10_000            // of an [EvidenceScope]
	maxPeriod       = 100 * 366 * 86400 // seconds
)

// ErasedDigest is the digest of what was erased: SHA-256 over a line for each
// payload, "<index> <its SHA-256 in hexadecimal>", which the leaf still has, or
// for each disclosure, "<index> <its digest>", which the record still has, in
// ascending order. So it can be made again when all of it is gone. The zero value
// is ready for use.
type ErasedDigest struct{ sum hash.Hash }

// Add takes in a payload, as its leaf names it, or a disclosure, by its digest.
func (d *ErasedDigest) Add(index uint64, what string) {
	if d.sum == nil {
		d.sum = sha256.New()
	}
	fmt.Fprintf(d.sum, "%d %s\n", index, what)
}

// String is the digest.
func (d *ErasedDigest) String() string {
	if d.sum == nil {
		return Digest(nil)
	}
	return base64.RawURLEncoding.EncodeToString(d.sum.Sum(nil))
}

// Validate checks what can be checked of the rule alone. The error is one plain
// sentence.
func (r *RetentionRule) Validate() error {
	if err := ValidateClass(r.Class); err != nil {
		return err
	}
	switch {
	case r.Period < 0 || r.Period > maxPeriod:
		return fmt.Errorf("period: %d seconds is not between 0 (for ever) and %d", r.Period, maxPeriod)
	case r.Class == ClassStandard && len(r.Actions) > 0:
		return fmt.Errorf("actions: %s is the class of whatever is of no other", ClassStandard)
	case r.Class == ClassAdministration && len(r.Actions) > 0:
		return fmt.Errorf("actions: %s is the class of decisions about Aver itself", ClassAdministration)
	}
	return validateActions(r.Actions)
}

// ValidateClass checks the name of a retention class.
func ValidateClass(name string) error {
	if name == "" || len(name) > 64 || strings.ContainsFunc(name, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_'
	}) {
		return fmt.Errorf("class %q: the name of a class has 1 to 64 of the characters a-z, 0-9, - and _", brief(name))
	}
	return nil
}

func validateActions(actions []string) error {
	for i, a := range actions {
		if name, _ := strings.CutSuffix(a, "*"); a == "" || len(a) > maxNameSize || strings.Contains(name, "*") {
			return fmt.Errorf("actions/%d: %q is neither the name of an action nor a beginning followed by *", i, brief(a))
		}
	}
	if len(actions) > 1000 {
		return fmt.Errorf("actions: more than 1000")
	}
	return nil
}

// ClassName is the name of the retention class of a leaf.
func (l *Leaf) ClassName() string {
	if l.Class == "" {
		return ClassStandard
	}
	return l.Class
}

// IsZero reports whether the scope is that of everything.
func (s EvidenceScope) IsZero() bool {
	return s.Class == "" && s.Subject.IsZero() && len(s.Actions) == 0 && s.From == 0 && s.Until == 0 && len(s.IDs) == 0
}

// Validate checks the scope. The error is one plain sentence.
func (s *EvidenceScope) Validate() error {
	if s.Class != "" {
		if err := ValidateClass(s.Class); err != nil {
			return err
		}
	}
	if !s.Subject.IsZero() {
		if err := s.Subject.validate(); err != nil {
			return fmt.Errorf("subject: %w", err)
		}
	}
	if err := validateActions(s.Actions); err != nil {
		return err
	}
	switch {
	case s.From < 0 || s.Until < 0 || s.Until != 0 && s.Until <= s.From:
		return fmt.Errorf("until: it is not after from")
	case len(s.IDs) > maxScopeIDs:
		return fmt.Errorf("ids: %d are more than %d", len(s.IDs), maxScopeIDs)
	}
	for i, id := range s.IDs {
		if !isGrantID(id) {
			return fmt.Errorf("ids/%d: %q is no id", i, brief(id))
		}
	}
	return nil
}

// NeedsRecord tells whether the leaf alone does not say whether its entry is in
// the scope. An activity is in it by the id of its decision, too, which stands in
// its payload.
func (s *EvidenceScope) NeedsRecord(l *Leaf) bool {
	return !s.Subject.IsZero() || len(s.Actions) > 0 || len(s.IDs) > 0 && l.Kind == KindActivity
}

// MatchesLeaf tells whether the leaf is in the scope as far as leaves can say.
func (s *EvidenceScope) MatchesLeaf(l *Leaf) bool {
	return (s.Class == "" || s.Class == l.ClassName()) && (s.From == 0 || l.Time >= s.From) && (s.Until == 0 || l.Time < s.Until) &&
		(len(s.IDs) == 0 || l.Kind == KindActivity || slices.Contains(s.IDs, l.ID))
}

// Validate checks what can be checked of the hold alone.
func (h *LegalHold) Validate() error {
	if !isGrantID(h.ID) {
		return fmt.Errorf("id %q: a hold's id has 1 to %d visible ASCII characters, without slashes or quotes", brief(h.ID), maxGrantID)
	}
	return h.Scope.Validate()
}

// Validate checks what can be checked of the request alone.
func (r *ErasureRequest) Validate() error {
	switch {
	case !isGrantID(r.ID):
		return fmt.Errorf("id %q: an erasure's id has 1 to %d visible ASCII characters, without slashes or quotes", brief(r.ID), maxGrantID)
	case r.Kind != ErasePayloads && r.Kind != EraseDisclosures:
		return fmt.Errorf("kind %q is neither %s nor %s", brief(string(r.Kind)), ErasePayloads, EraseDisclosures)
	case r.Scope.IsZero():
		return fmt.Errorf("scope: it is empty: what is to be erased?")
	case r.Kind == EraseDisclosures && r.Scope.Subject.IsZero():
		return fmt.Errorf("scope: disclosures are erased for a subject: whose?")
	}
	return r.Scope.Validate()
}

// Validate checks what can be checked of the event's data alone.
func (e *ErasedEvidence) Validate() error {
	switch {
	case !isGrantID(e.ID):
		return fmt.Errorf("id %q is none", brief(e.ID))
	case (e.Erasure == "") == (e.Class == ""):
		return fmt.Errorf("either an erasure or a class says why")
	case e.Log == "":
		return fmt.Errorf("log: it is missing")
	case len(e.Ranges) == 0 || len(e.Ranges) > MaxErasedRanges:
		return fmt.Errorf("ranges: there are 1 to %d", MaxErasedRanges)
	case !isDigest(e.Digest):
		return fmt.Errorf("digest: it is no digest")
	}
	var count uint64
	for i, r := range e.Ranges {
		if r.End <= r.From || i > 0 && r.From < e.Ranges[i-1].End {
			return fmt.Errorf("ranges/%d: it is empty, or not after the one before", i)
		}
		count += r.End - r.From
	}
	if count != e.Count {
		return fmt.Errorf("count: %d, and the ranges hold %d", e.Count, count)
	}
	return nil
}
