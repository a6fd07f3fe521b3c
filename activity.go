package aver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// ActivityStatus is what happened to what a decision allowed.
type ActivityStatus string

// The statuses of activities. All but the first end it.
const (
	ActivityStarted   ActivityStatus = "started"
	ActivityCompleted ActivityStatus = "completed"
	ActivityFailed    ActivityStatus = "failed"
	ActivityCancelled ActivityStatus = "cancelled"
)

// ActivityStatuses lists all statuses.
func ActivityStatuses() []ActivityStatus {
	return []ActivityStatus{ActivityStarted, ActivityCompleted, ActivityFailed, ActivityCancelled}
}

// Ends tells whether nothing more is to come of the activity.
func (s ActivityStatus) Ends() bool { return s != ActivityStarted }

// FindingCode names what is not as it should be about an activity.
type FindingCode string

// The codes of findings.
const (
	FindingNoDecision      FindingCode = "no_decision"             // no decision has this evaluation id: an orphan
	FindingAfterDeny       FindingCode = "after_deny"              // the decision did not allow it
	FindingAfterExpiry     FindingCode = "after_expiry"            // it began after something it rests on had expired
	FindingAfterWithdrawal FindingCode = "after_withdrawal"        // it began after an event had ended what allows it
	FindingParameters      FindingCode = "parameters_differ"       // the request is not the one that was decided
	FindingSecondUse       FindingCode = "second_use"              // one decision was used more than once
	FindingOutOfOrder      FindingCode = "out_of_order"            // it comes before what was reported earlier
	FindingLate            FindingCode = "late"                    // it was reported long after it happened
	FindingFuture          FindingCode = "from_the_future"         // it says that it is still to happen
	FindingBeforeDecision  FindingCode = "before_decision"         // it says that it happened before the decision
	FindingUnknownDuty     FindingCode = "unknown_obligation"      // an obligation that the decision did not set
	FindingMissingDuty     FindingCode = "obligation_not_reported" // an obligation that nobody says was carried out
)

// FindingCodes lists all codes.
func FindingCodes() []FindingCode {
	return []FindingCode{
		FindingNoDecision, FindingAfterDeny, FindingAfterExpiry, FindingAfterWithdrawal, FindingParameters, FindingSecondUse,
		FindingOutOfOrder, FindingLate, FindingFuture, FindingBeforeDecision, FindingUnknownDuty, FindingMissingDuty,
	}
}

// Finding is something that is not as it should be.
type Finding struct {
	Code   FindingCode `json:"code"`
	Detail string      `json:"detail,omitempty"` // values: a time, an index, an id
}

// ContinuityState tells whether an authorization stayed valid (B5, G6).
type ContinuityState string

// The states of continuity.
const (
	Held   ContinuityState = "held"
	Lapsed ContinuityState = "lapsed"
	// ContinuityUnknown: a policy that came later reads something that the record does not hold, so neither was shown.
	ContinuityUnknown ContinuityState = "undetermined"
)

// LapseCause is what ended an authorization.
type LapseCause string

// The causes of a lapse.
const (
	LapseEvent  LapseCause = "event"  // of the authority log
	LapseExpiry LapseCause = "expiry" // of a grant, an exception or an identity
	LapseTime   LapseCause = "time"   // a policy that reads the time; found at the end, so it may have been earlier
)

// Continuity says whether what a decision allowed would have been allowed at
// each moment until the activity ended.
type Continuity struct {
	State      ContinuityState `json:"state"`
	Until      Time            `json:"until"`                // up to when it was followed
	Lapse      *Lapse          `json:"lapse,omitempty"`      // of a lapsed one
	Completing []string        `json:"completing,omitempty"` // grants that were revoked meanwhile and let work under way complete
	Missing    []string        `json:"missing,omitempty"`    // of an undetermined one: what deciding again needs and the record lacks
}

// Lapse is the moment at which an authorization ended.
type Lapse struct {
	At        Time       `json:"at"`
	Cause     LapseCause `json:"cause"`
	Event     *uint64    `json:"event,omitempty"`      // index in the authority log
	Type      EventType  `json:"event_type,omitempty"` //
	Grant     string     `json:"grant,omitempty"`      // that expired
	Exception string     `json:"exception,omitempty"`  // that expired
	Party     *Ref       `json:"party,omitempty"`      // whose registration expired
	Outcome   Outcome    `json:"outcome"`              // of deciding again at that moment
	Reasons   []Reason   `json:"reasons,omitempty"`    // why
	RanOn     int64      `json:"ran_on_ms,omitempty"`  // how long it went on afterwards, in milliseconds
}

// Activity is one entry of the decision log: what a PEP says happened to what a
// decision allowed (G5), and what Aver found about it (B5, G6). Its canonical
// form is the payload.
type Activity struct {
	ID           string         `json:"id"`   // a UUIDv7
	Kind         string         `json:"kind"` // "activity"
	Time         Time           `json:"time"` // when it was recorded
	Semantics    string         `json:"semantics"`
	Authority    TreeHead       `json:"authority"` // the prefix of the authority log up to which continuity was followed
	PEP          PEP            `json:"pep"`
	EvaluationID string         `json:"evaluation_id"`
	Decision     *uint64        `json:"decision,omitempty"` // index of the decision's record in this log; nil: an orphan
	Previous     *uint64        `json:"previous,omitempty"` // index of the activity before this one of the same decision
	Status       ActivityStatus `json:"status"`
	EventTime    Time           `json:"event_time,omitzero"`         // when it happened, as the PEP says
	Parameters   string         `json:"parameters_digest,omitempty"` // [Request.Digest] of what was carried out
	Result       string         `json:"result,omitempty"`
	Obligations  []string       `json:"obligations,omitempty"` // ids of those carried out
	TraceParent  string         `json:"traceparent,omitempty"` // W3C Trace Context
	Report       string         `json:"report_digest"`         // of the report's content, by which a repetition is known
	Key          string         `json:"key_digest,omitempty"`  // of the idempotency key
	Findings     []Finding      `json:"findings,omitempty"`
	Continuity   *Continuity    `json:"continuity,omitempty"` // nil where nothing was allowed
	Salt         string         `json:"salt"`
}

// Happened is when the activity took place: as the PEP says, if that can be;
// else when it was reported.
func (a *Activity) Happened() Time {
	if a.EventTime != 0 && a.EventTime < a.Time {
		return a.EventTime
	}
	return a.Time
}

// Canonical returns the activity's canonical bytes, its payload.
func (a *Activity) Canonical() ([]byte, error) { return CanonicalJSON(a) }

// ParseActivity reads an activity's payload and refuses one that is not in
// canonical form.
func ParseActivity(payload []byte) (*Activity, error) {
	d := json.NewDecoder(bytes.NewReader(payload))
	d.DisallowUnknownFields()
	var a Activity
	if err := d.Decode(&a); err != nil {
		return nil, fmt.Errorf("activity: %w", err)
	}
	if a.Kind != KindActivity {
		return nil, fmt.Errorf("activity: kind %q is not known to this version", a.Kind)
	}
	again, err := a.Canonical()
	if err != nil {
		return nil, fmt.Errorf("activity: %w", err)
	}
	if !bytes.Equal(again, payload) {
		return nil, fmt.Errorf("activity: it is not in the canonical form")
	}
	return &a, nil
}

// ActivityReport is what a PEP says about what it did with a decision. The
// parameters are the AuthZEN request that was carried out: equal to the one that
// was decided, by its digest, or found to differ.
type ActivityReport struct {
	EvaluationID string          `json:"evaluation_id"`
	Status       ActivityStatus  `json:"status"`
	Request      json.RawMessage `json:"request,omitempty"`           // the request that was carried out, or
	Parameters   string          `json:"parameters_digest,omitempty"` // its digest, see [Request.Digest]
	Result       string          `json:"result,omitempty"`            // a short text or code, without personal data
	Obligations  []string        `json:"obligations,omitempty"`       // ids of those carried out
	TraceParent  string          `json:"traceparent,omitempty"`       // W3C Trace Context, version 00
	EventTime    Time            `json:"event_time,omitzero"`         // when it happened; missing: now
	Key          string          `json:"idempotency_key,omitempty"`   // the same key names the same report
}

// Bounds of a report.
const (
	maxResult      = 256 // bytes
	maxKey         = 128 // bytes
	maxObligations = 100
)

// Validate checks the report. The error is a [*RequestError].
func (r *ActivityReport) Validate() error {
	bad := func(pointer, format string, args ...any) error {
		return &RequestError{pointer, fmt.Sprintf(format, args...)}
	}
	switch {
	case r.EvaluationID == "":
		return bad("/evaluation_id", "is required")
	case !isUUID(r.EvaluationID):
		return bad("/evaluation_id", "is not an evaluation id: a UUID in lower case, as the answer has it")
	case r.Status == "":
		return bad("/status", "is required")
	case !slices.Contains(ActivityStatuses(), r.Status):
		return bad("/status", "must be one of %q", ActivityStatuses())
	case r.Parameters != "" && !isDigest(r.Parameters):
		return bad("/parameters_digest", "is not a SHA-256 in base64url without padding")
	case r.TraceParent != "" && !isTraceParent(r.TraceParent):
		return bad("/traceparent", "is not a traceparent of W3C Trace Context, version 00")
	case len(r.Key) > maxKey || strings.ContainsFunc(r.Key, notVisible):
		return bad("/idempotency_key", "has at most %d visible ASCII characters", maxKey)
	case len(r.Obligations) > maxObligations:
		return bad("/obligations", "has more than %d entries", maxObligations)
	case len(r.Result) > maxResult:
		return bad("/result", "is longer than %d bytes: a short text or a code is enough", maxResult)
	}
	if err := validateText("result", r.Result); err != nil {
		return bad("/result", "%v", err)
	}
	for i, o := range r.Obligations {
		at := fmt.Sprintf("/obligations/%d", i)
		if err := validateName("id of an obligation", o); err != nil {
			return bad(at, "%v", err)
		}
		if slices.Contains(r.Obligations[:i], o) {
			return bad(at, "stands twice")
		}
	}
	if len(r.Request) == 0 {
		return nil
	}
	req, err := r.request()
	if err != nil {
		return err
	}
	if r.Parameters != "" && r.Parameters != req.Digest() {
		return bad("/parameters_digest", "is not that of the request beside it; one of them is enough")
	}
	return nil
}

func (r *ActivityReport) request() (*Request, error) {
	v, err := ParseJSON(r.Request, Limits{})
	if err != nil {
		return nil, &RequestError{"/request", err.Error()}
	}
	req, err := ParseRequest(v)
	if bad, ok := err.(*RequestError); ok {
		return nil, &RequestError{"/request" + bad.Pointer, bad.Reason}
	}
	return req, err
}

// Activity returns what the report says, for Aver to add what it found. The
// report must be valid.
func (r *ActivityReport) Activity(pep PEP) (*Activity, error) {
	parameters := r.Parameters
	if parameters == "" && len(r.Request) > 0 {
		req, err := r.request()
		if err != nil {
			return nil, err
		}
		parameters = req.Digest()
	}
	a := &Activity{
		Kind: KindActivity, PEP: pep, EvaluationID: r.EvaluationID, Status: r.Status, EventTime: r.EventTime,
		Parameters: parameters, Result: r.Result, Obligations: r.Obligations, TraceParent: r.TraceParent,
	}
	said, err := CanonicalJSON(ActivityReport{
		EvaluationID: a.EvaluationID, Status: a.Status, Parameters: a.Parameters, Result: a.Result,
		Obligations: a.Obligations, TraceParent: a.TraceParent, EventTime: a.EventTime,
	})
	if err != nil {
		return nil, err
	}
	// Whose report it is belongs to it; its number does not, since a repetition has another.
	a.Report = Digest(append(AppendString(AppendString(nil, pep.Credential), pep.Instance), said...))
	if r.Key != "" {
		a.Key = Digest(AppendString(AppendString(nil, pep.Credential), r.Key))
	}
	return a, nil
}

// ActivityAnswer is what a PEP is told about its report once it is durable.
type ActivityAnswer struct {
	ID           string          `json:"activity_id"`
	EvaluationID string          `json:"evaluation_id"`
	Status       ActivityStatus  `json:"status"`
	Time         Time            `json:"recorded_at"`
	Continuity   ContinuityState `json:"continuity,omitempty"`         // missing where nothing was allowed
	Details      *Continuity     `json:"continuity_details,omitempty"` //
	Findings     []Finding       `json:"findings"`
	Repeated     bool            `json:"repeated,omitempty"` // the report was recorded before; this is the answer of then
	Receipt      Receipt         `json:"receipt"`
}

// Answer returns what is said about a recorded activity.
func (a *Activity) Answer(receipt Receipt) *ActivityAnswer {
	out := &ActivityAnswer{
		ID: a.ID, EvaluationID: a.EvaluationID, Status: a.Status, Time: a.Time, Details: a.Continuity,
		Findings: append([]Finding{}, a.Findings...), Receipt: receipt,
	}
	if a.Continuity != nil {
		out.Continuity = a.Continuity.State
	}
	return out
}

// Withdrawal tells a PEP that an authorization it holds has ended: a decision
// that allowed something, of whose use no end was reported.
type Withdrawal struct {
	Cursor       string `json:"cursor"` // what to send to be told of what comes after
	EvaluationID string `json:"evaluation_id"`
	DecidedAt    Time   `json:"decided_at"`
	Instance     string `json:"instance,omitempty"` // of the PEP that asked
	Lapse
}

// Heartbeat is what an instance of a PEP says about itself now and then.
type Heartbeat struct {
	Instance string           `json:"instance"`
	Sequence uint64           `json:"sequence"`         // the last number that it gave to a request; 0: none yet
	Counts   map[string]int64 `json:"counts,omitempty"` // of requests it saw, by what it names them
}

// maxCounts bounds the counts of a heartbeat.
const maxCounts = 32

// Validate checks the heartbeat. The error is a [*RequestError].
func (h *Heartbeat) Validate() error {
	if err := ValidateInstance(h.Instance); err != nil {
		return &RequestError{"/instance", err.Error()}
	}
	if h.Sequence > MaxInteger {
		return &RequestError{"/sequence", fmt.Sprintf("is beyond %d", int64(MaxInteger))}
	}
	if len(h.Counts) > maxCounts {
		return &RequestError{"/counts", fmt.Sprintf("has more than %d members", maxCounts)}
	}
	for name, n := range h.Counts {
		if err := ValidateInstance(name); err != nil || n < 0 {
			return &RequestError{"/counts", "has names of 1 to 128 visible ASCII characters and numbers of 0 or more"}
		}
	}
	return nil
}

// Reconciliation says what is missing between decisions and activities (I4), as
// far as the server remembers.
type Reconciliation struct {
	Since          Time                      `json:"since"`           // the time of the first entry that is taken into account
	Open           int                       `json:"open"`            // allowed decisions without a reported end
	Withdrawn      int                       `json:"withdrawn"`       // of those: that ended meanwhile, as far as they are followed
	WithoutOutcome int                       `json:"without_outcome"` // of those: older than OlderThan
	OlderThan      int64                     `json:"older_than"`      // in seconds
	Examples       []string                  `json:"examples"`        // evaluation ids without outcome, the oldest first
	Dropped        uint64                    `json:"dropped"`         // allowed decisions that were not followed, there being too many
	Activities     map[ActivityStatus]uint64 `json:"activities"`
	Findings       map[FindingCode]uint64    `json:"findings"`
	Orphans        uint64                    `json:"orphans"` // activities without a decision
	Instances      []PEPInstance             `json:"instances"`
	Unlisted       int                       `json:"unlisted,omitempty"` // instances beyond those listed
}

// PEPInstance is a process of a PEP that numbers its requests.
type PEPInstance struct {
	Credential string           `json:"credential"`
	Instance   string           `json:"instance"`
	First      uint64           `json:"first"`   // number from which on it is followed
	Last       uint64           `json:"last"`    // the highest number that it gave, as far as is known
	Missing    uint64           `json:"missing"` // numbers in between that never arrived
	Gaps       [][2]uint64      `json:"gaps,omitempty"`
	LastSeen   Time             `json:"last_seen"`
	Silent     bool             `json:"silent"`
	Heartbeat  Time             `json:"heartbeat,omitzero"` // when the last one came
	Counts     map[string]int64 `json:"counts,omitempty"`   // what it said then
}

func notVisible(r rune) bool { return r <= ' ' || r >= 0x7f }

func isUUID(s string) bool {
	return len(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-' &&
		isHex(s[:8]) && isHex(s[9:13]) && isHex(s[14:18]) && isHex(s[19:23]) && isHex(s[24:])
}

func isHex(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'f') })
}

func isDigest(s string) bool {
	return len(s) == 43 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' && r != '_'
	})
}

// isTraceParent checks section 3.2 of https://www.w3.org/TR/trace-context-1/.
func isTraceParent(s string) bool {
	return len(s) == 55 && s[:3] == "00-" && s[35] == '-' && s[52] == '-' &&
		isHex(s[3:35]) && isHex(s[36:52]) && isHex(s[53:]) &&
		strings.Trim(s[3:35], "0") != "" && strings.Trim(s[36:52], "0") != ""
}

// MaxInstance bounds the name of an instance of a PEP, in bytes.
const MaxInstance = 128

// ValidateInstance checks the name under which an instance of a PEP numbers its
// requests.
func ValidateInstance(name string) error {
	if name == "" || len(name) > MaxInstance || strings.ContainsFunc(name, notVisible) {
		return fmt.Errorf("an instance's name has 1 to %d visible ASCII characters", MaxInstance)
	}
	return nil
}
