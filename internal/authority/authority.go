// Package authority holds the state that decisions are made from: which policies are active, who is registered, what is
// known about entities, which grants and credentials stand. A [State] is the fold of a prefix of the authority log and
// of nothing else.
//
// The package is pure: no clock, no I/O, no randomness, nothing that depends on the order of a map. Whoever folds the
// same events gets the same state. docs/formats-authority.md describes the events, their rules and all that is derived
// from them.
package authority

import (
	"fmt"
	"iter"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/policy"
)

// State is the authority as of the first [State.Size] events of the log. It never changes, so any number of goroutines
// may read it while others make new ones from it.
type State struct {
	size uint64
	time aver.Time // of the last event

	bundles    table[string, *bundleVersions] // by bundle name
	active     *activePolicies
	identities table[aver.Ref, *Identity]
	entities   table[aver.Ref, *Entity]
	grants     table[string, *Grant]
	// Credentials are kept twice: by digest for looking up, by name for administration.
	credentials     table[string, *Credential]
	credentialNames table[string, *Credential]
	approvals       table[string, *Approval]
	approvalIDs     table[string, string] // by evaluation id, and by credential and key
	exceptions      table[string, *Exception]
	activated       table[aver.Ref, []string] // ids of exceptions, by subject
	signals         signals
	gaps            table[string, *GapAnswer] // by finding
	duties          table[string, *Duty]
	dutiesTo        table[aver.Ref, []string] // ids of duties, by whom they are delegated to
	populations     table[string, *Population]
	reviews         table[string, *Review]
	reviewed        table[string, *ReviewRecord] // by what was reviewed
	retention       retention
}

// New returns the empty state, that of no events.
func New() *State { return &State{active: newActivePolicies(nil)} }

// Size is how many events were folded, so the next event has this index.
func (s *State) Size() uint64 { return s.size }

// Time is the time of the last event, 0 if there was none. The next one must not be earlier.
func (s *State) Time() aver.Time { return s.time }

// Mark says by which event something was set, and by whom, when and why.
type Mark struct {
	Event  uint64    `json:"event"` // its index in the authority log
	Time   aver.Time `json:"time"`
	By     aver.By   `json:"by"`
	Reason string    `json:"reason,omitempty"`
}

// InvalidEventError says why an event cannot follow the ones before it.
type InvalidEventError struct {
	Type   aver.EventType
	Reason string // one plain sentence, without a full stop
}

func (e *InvalidEventError) Error() string { return fmt.Sprintf("%s: %s", e.Type, e.Reason) }

// Apply returns the state after one more event; s stays as it is. An event that cannot follow is an
// [*InvalidEventError].
func (s *State) Apply(e *aver.Event) (*State, error) {
	next := *s
	if err := next.apply(e); err != nil {
		return nil, err
	}
	next.freeze()
	return &next, nil
}

// Fold applies events in order until there are no more. It is faster than Apply for many, and gives the same state
// however the events are cut into batches. After an error there is no state.
func Fold(s *State, events iter.Seq2[*aver.Event, error]) (*State, error) {
	next := *s
	for e, err := range events {
		if err == nil {
			err = next.apply(e)
		}
		if err != nil {
			return nil, fmt.Errorf("authority log, event %d: %w", next.size, err)
		}
	}
	next.freeze()
	return &next, nil
}

// freeze ends the time in which s may be changed in place.
func (s *State) freeze() {
	s.bundles.freeze()
	s.identities.freeze()
	s.entities.freeze()
	s.grants.freeze()
	s.credentials.freeze()
	s.credentialNames.freeze()
	s.approvals.freeze()
	s.approvalIDs.freeze()
	s.exceptions.freeze()
	s.activated.freeze()
	s.signals.freeze()
	s.gaps.freeze()
	s.duties.freeze()
	s.dutiesTo.freeze()
	s.populations.freeze()
	s.reviews.freeze()
	s.reviewed.freeze()
	s.retention.freeze()
}

// apply changes s in place, or leaves it as it is and says why. Every rule is checked before anything is set.
func (s *State) apply(e *aver.Event) error {
	refuse := func(err error) error { return &InvalidEventError{Type: e.Type, Reason: err.Error()} }
	if err := checkEnvelope(e); err != nil {
		return refuse(err)
	}
	if e.Time < s.time {
		return refuse(fmt.Errorf("its time %s is before that of the event before it, %s", e.Time, s.time))
	}
	rule, ok := rules[e.Type]
	if !ok {
		return refuse(fmt.Errorf("this version of Aver does not know events of this type"))
	}
	review, item, carried, err := s.remediation(e)
	if err != nil {
		return refuse(err)
	}
	mark := Mark{Event: s.size, Time: e.Time, By: e.By, Reason: e.Reason}
	if err := rule(s, e, mark); err != nil {
		return refuse(err)
	}
	if item != nil {
		next := *item
		if carried {
			next.Remediated = &mark
		} else {
			next.Replaced = &mark
		}
		s.reviews.put(review.ID, review.with(&next))
	}
	s.size++
	s.time = e.Time
	return nil
}

// rules says, for every type of event, what must hold for it and what it sets.
var rules = map[aver.EventType]func(*State, *aver.Event, Mark) error{
	aver.EventPolicyPublished:    rule((*State).policyPublished),
	aver.EventPolicyActivated:    rule((*State).policyActivated),
	aver.EventPolicyRetired:      rule((*State).policyRetired),
	aver.EventIdentityRegistered: rule((*State).identityRegistered),
	aver.EventIdentityUpdated:    rule((*State).identityUpdated),
	aver.EventIdentitySuspended:  rule((*State).identitySuspended),
	aver.EventIdentityResumed:    rule((*State).identityResumed),
	aver.EventIdentityRetired:    rule((*State).identityRetired),
	aver.EventEntityPut:          rule((*State).entityPut),
	aver.EventEntityRemoved:      rule((*State).entityRemoved),
	aver.EventGrantIssued:        rule((*State).grantIssued),
	aver.EventGrantRevoked:       rule((*State).grantRevoked),
	aver.EventCredentialIssued:   rule((*State).credentialIssued),
	aver.EventCredentialRevoked:  rule((*State).credentialRevoked),
	aver.EventApprovalRequested:  rule((*State).approvalRequested),
	aver.EventApprovalGranted:    rule((*State).approvalGranted),
	aver.EventApprovalRefused:    rule((*State).approvalRefused),
	aver.EventApprovalCancelled:  rule((*State).approvalCancelled),
	aver.EventExceptionRequested: rule((*State).exceptionRequested),
	aver.EventExceptionApproved:  rule((*State).exceptionApproved),
	aver.EventExceptionRejected:  rule((*State).exceptionRejected),
	aver.EventExceptionActivated: rule((*State).exceptionActivated),
	aver.EventExceptionClosed:    rule((*State).exceptionClosed),
	aver.EventExceptionReviewed:  rule((*State).exceptionReviewed),
	aver.EventSignalReceived:     rule((*State).signalReceived),
	aver.EventGapAccepted:        rule((*State).gapAccepted),
	aver.EventGapClosed:          rule((*State).gapClosed),
	aver.EventDutyDelegated:      rule((*State).dutyDelegated),
	aver.EventDutyRevoked:        rule((*State).dutyRevoked),
	aver.EventPopulationFixed:    rule((*State).populationFixed),
	aver.EventSampleDrawn:        rule((*State).sampleDrawn),
	aver.EventReviewOpened:       rule((*State).reviewOpened),
	aver.EventReviewDecided:      rule((*State).reviewDecided),
	aver.EventReviewAcknowledged: rule((*State).reviewAcknowledged),
	aver.EventReviewClosed:       rule((*State).reviewClosed),
	aver.EventReviewRecorded:     rule((*State).reviewRecorded),
	aver.EventRetentionSet:       rule((*State).retentionSet),
	aver.EventRetentionApproved:  rule((*State).retentionApproved),
	aver.EventHoldPlaced:         rule((*State).holdPlaced),
	aver.EventHoldReleased:       rule((*State).holdReleased),
	aver.EventErasureRequested:   rule((*State).erasureRequested),
	aver.EventErasureApproved:    rule((*State).erasureApproved),
	aver.EventErasureRefused:     rule((*State).erasureRefused),
	aver.EventPayloadErased:      rule((*State).payloadErased),
	aver.EventDisclosureErased:   rule((*State).disclosureErased),
	aver.EventErasureCompleted:   rule((*State).erasureCompleted),
}

// rule decodes an event's data for the rule that understands it.
func rule[Data any](f func(*State, *Data, Mark) error) func(*State, *aver.Event, Mark) error {
	return func(s *State, e *aver.Event, m Mark) error {
		data := new(Data)
		if err := decodeData(e, data); err != nil {
			return err
		}
		return f(s, data, m)
	}
}

// Policies is the set of all active bundles but the one that decides about administration, compiled at the first call
// after an activation or a retirement.
func (s *State) Policies() *policy.Set { return s.active.compiled() }

// Administration is the set that decides about changes of the authority itself: the active bundle
// [policy.AdministrationName] and nothing else.
func (s *State) Administration() *policy.Set { return s.active.administration() }
