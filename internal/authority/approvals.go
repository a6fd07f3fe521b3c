package authority

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/policy"
)

// ApprovalStatus is where a request for approval stands, whatever the time.
type ApprovalStatus string

// The statuses of a request for approval. That its time is over, or that it was
// used, does not show here: the first depends on the clock, the second on the
// decision log.
const (
	ApprovalPending   ApprovalStatus = "pending"
	ApprovalApproved  ApprovalStatus = "approved"
	ApprovalRefused   ApprovalStatus = "refused"
	ApprovalCancelled ApprovalStatus = "cancelled"
)

// Approval is a request for approval and what became of it.
type Approval struct {
	aver.ApprovalRequest
	Mark                  // of the event that requested it
	Status ApprovalStatus `json:"status"`
	Votes  []Vote         `json:"votes,omitempty"` // in their order; a refusal is the last
	Until  aver.Time      `json:"until,omitzero"`  // until when it can be used, once approved
	Ended  *Mark          `json:"ended,omitempty"` // of what refused or cancelled it
}

// Vote is what an approver answered.
type Vote struct {
	Approver aver.Ref `json:"approver"`
	Refused  bool     `json:"refused,omitempty"`
	Seen     string   `json:"seen"` // digest of what the approver was shown
	// OnBehalfOf is whose duty the approver did, and Duty the id of its delegation;
	// zero: they answered in their own right.
	OnBehalfOf aver.Ref `json:"on_behalf_of,omitzero"`
	Duty       string   `json:"duty,omitempty"`
	Mark
}

// As is whose answer it counts as: that of the approver, or of whose duty they
// did.
func (v *Vote) As() aver.Ref {
	if v.Duty != "" {
		return v.OnBehalfOf
	}
	return v.Approver
}

// Who tells who answered, in words.
func (v *Vote) Who() string {
	if v.Duty != "" {
		return fmt.Sprintf("%s on behalf of %s", v.Approver, v.OnBehalfOf)
	}
	return v.Approver.String()
}

// From tells whether somebody is one of those that the request comes from: of its
// chain, or who asked for the approval.
func (a *Approval) From(who aver.Ref) bool {
	return slices.Contains(a.Parties, who) || a.By.Principal() == who
}

// State is where the request stands at a time, in the words of the OpenID Access
// Request & Approval Profile: pending, approved, denied, expired or cancelled.
func (a *Approval) State(now aver.Time) string {
	switch {
	case a.Status == ApprovalRefused:
		return "denied"
	case a.Status == ApprovalPending && now >= a.Deadline, a.Status == ApprovalApproved && now >= a.Until:
		return "expired"
	}
	return string(a.Status)
}

// Completed is the event by which the last approval that it took came; false:
// there is none.
func (a *Approval) Completed() (uint64, bool) {
	if a.Until == 0 {
		return 0, false
	}
	return a.Votes[len(a.Votes)-1].Event, true
}

// AsOf is where the request stood after an event of the log, at a time: pending,
// approved, denied, expired (without having been approved) or cancelled.
func (a *Approval) AsOf(event uint64, at aver.Time) string {
	if a.Ended != nil && a.Ended.Event <= event {
		if a.Status == ApprovalRefused {
			return "denied"
		}
		return "cancelled"
	}
	switch done, ok := a.Completed(); {
	case ok && done <= event:
		return "approved"
	case at >= a.Deadline:
		return "expired"
	}
	return "pending"
}

// BatchState is where a batch stands whose items stand like this (ARAP Bulk):
// pending while one is, the state that all have, or partial.
func BatchState(items []string) string {
	all := items[0]
	for _, s := range items {
		switch {
		case s == "pending":
			return s
		case s != all:
			all = "partial"
		}
	}
	return all
}

// Approval returns a request for approval, whatever became of it.
func (s *State) Approval(id string) (*Approval, bool) { return s.approvals.get(id) }

// Approvals lists all requests for approval, in the order in which they were made.
func (s *State) Approvals() []*Approval {
	all := s.approvals.values()
	slices.SortFunc(all, func(a, b *Approval) int { return cmp.Compare(a.Event, b.Event) })
	return all
}

// ApprovalOf returns the request for approval that was made for a decision.
func (s *State) ApprovalOf(evaluation string) (*Approval, bool) {
	id, ok := s.approvalIDs.get("evaluation " + evaluation)
	if !ok {
		return nil, false
	}
	return s.approvals.get(id)
}

// ApprovalWithKey returns the request for approval that a credential made with an
// Idempotency-Key.
func (s *State) ApprovalWithKey(credential, key string) (*Approval, bool) {
	id, ok := s.approvalIDs.get("key " + credential + " " + key)
	if !ok {
		return nil, false
	}
	return s.approvals.get(id)
}

// MayApprove says why somebody may not answer the request at all, nil if they
// may.
func (s *State) MayApprove(a *Approval, who aver.Ref, now aver.Time) error {
	_, err := s.Capacity(a, who, nil, now)
	return err
}

// approves tells whether somebody is an approver of a gate.
func (s *State) approves(g *aver.ApprovalGate, who aver.Ref) bool {
	return slices.ContainsFunc(g.Approvers, func(name string) bool { return s.isIn(who, aver.ApproverRef(name)) })
}

// isIn tells whether an entity is another, or a member of it.
func (s *State) isIn(who, in aver.Ref) bool {
	seen := map[aver.Ref]bool{}
	for queue := []aver.Ref{who}; len(queue) > 0; {
		at := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		if at == in {
			return true
		}
		if seen[at] {
			continue
		}
		seen[at] = true
		if i, ok := s.identities.get(at); ok {
			queue = append(queue, i.Parents...)
		} else if e, ok := s.entities.get(at); ok {
			queue = append(queue, e.Parents...)
		}
	}
	return false
}

// Gate returns the active escalate gate of that id and the digest of its
// bundle's version.
func (s *State) Gate(id string) (rule *policy.Rule, bundle string, ok bool) {
	rule, ok = s.Policies().Rule(id)
	if !ok || rule.Gate == nil || rule.Gate.Kind != policy.Escalate {
		return nil, "", false
	}
	bundle, _, ok = s.Active(rule.Bundle)
	return rule, bundle, ok
}

func (s *State) approvalRequested(a *aver.ApprovalRequest, m Mark) error {
	if err := a.Validate(); err != nil {
		return err
	}
	if old, ok := s.approvals.get(a.ID); ok {
		return fmt.Errorf("the id %q was already used, by event %d", a.ID, old.Event)
	}
	if old, ok := s.ApprovalOf(a.Evaluation); ok {
		return fmt.Errorf("approval %q was already requested for decision %s, by event %d", old.ID, a.Evaluation, old.Event)
	}
	if old, ok := s.ApprovalWithKey(m.By.Name, a.Key); a.Key != "" && ok {
		return fmt.Errorf("%s used the idempotency key for approval %q already, by event %d", m.By.Name, old.ID, old.Event)
	}
	if a.Batch != nil {
		if err := s.checkBatch(a.Batch, m); err != nil {
			return err
		}
	}
	if a.Deadline <= m.Time {
		return fmt.Errorf("its deadline %s is over", a.Deadline)
	}
	for _, g := range a.Gates {
		rule, bundle, ok := s.Gate(g.Policy)
		switch {
		case !ok:
			return fmt.Errorf("no active policy %q asks for an approval", g.Policy)
		case bundle != g.Bundle:
			return fmt.Errorf("bundle %q is active in the version %s, not in %s: ask for a decision again", rule.Bundle, bundle, g.Bundle)
		case !slices.Equal(rule.Gate.Approvers, g.Approvers) || rule.Gate.Approvals != g.Approvals:
			return fmt.Errorf("policy %q asks for other approvers", g.Policy)
		}
	}
	s.setApproval(&Approval{ApprovalRequest: *a, Mark: m, Status: ApprovalPending})
	return nil
}

// checkBatch checks that an item continues the batch that it says it is in.
func (s *State) checkBatch(b *aver.ApprovalBatch, m Mark) error {
	before := s.ApprovalBatch(b.ID)
	switch {
	case len(before) != b.Item:
		return fmt.Errorf("batch %q has %d items so far, so item %d is not its next", b.ID, len(before), b.Item)
	case b.Item > 0 && (before[0].Batch.Of != b.Of || before[0].By.Name != m.By.Name):
		return fmt.Errorf("batch %q is another one: of %d items, by %s", b.ID, before[0].Batch.Of, before[0].By.Name)
	}
	return nil
}

// ApprovalBatch lists the requests for approval of a batch, by item.
func (s *State) ApprovalBatch(id string) []*Approval {
	var out []*Approval
	for {
		at, ok := s.approvalIDs.get(batchKey(id, len(out)))
		if !ok {
			return out
		}
		a, _ := s.approvals.get(at)
		out = append(out, a)
	}
}

func batchKey(id string, item int) string { return fmt.Sprintf("batch %s %d", id, item) }

// setApproval takes a request over, and remembers by what it can be found.
func (s *State) setApproval(a *Approval) {
	s.approvals.put(a.ID, a)
	if a.Batch != nil {
		s.approvalIDs.put(batchKey(a.Batch.ID, a.Batch.Item), a.ID)
	}
	s.approvalIDs.put("evaluation "+a.Evaluation, a.ID)
	if a.Key != "" {
		s.approvalIDs.put("key "+a.By.Name+" "+a.Key, a.ID)
	}
}

func (s *State) approvalGranted(v *aver.ApprovalVote, m Mark) error {
	a, vote, err := s.answered(v, m)
	if err != nil {
		return err
	}
	a.Votes = append(slices.Clip(a.Votes), *vote)
	within, complete := a.Gates[0].Within, true
	for _, g := range a.Gates {
		votes := 0
		for _, v := range a.Votes {
			if s.approves(&g, v.As()) {
				votes++
			}
		}
		complete = complete && votes >= g.Approvals
		within = min(within, g.Within)
	}
	if complete {
		a.Status, a.Until = ApprovalApproved, m.Time+aver.Time(within*1000)
	}
	s.approvals.put(a.ID, a)
	return nil
}

func (s *State) approvalRefused(v *aver.ApprovalVote, m Mark) error {
	a, vote, err := s.answered(v, m)
	if err != nil {
		return err
	}
	if m.Reason == "" {
		return fmt.Errorf("a refusal needs a reason")
	}
	vote.Refused = true
	a.Votes = append(slices.Clip(a.Votes), *vote)
	a.Status, a.Ended = ApprovalRefused, &m
	s.approvals.put(a.ID, a)
	return nil
}

// answered returns a copy of the request that a vote is about, and the vote, if it counts.
func (s *State) answered(v *aver.ApprovalVote, m Mark) (*Approval, *Vote, error) {
	a, ok := s.approvals.get(v.ID)
	switch {
	case !ok:
		return nil, nil, fmt.Errorf("there is no request for approval %q", v.ID)
	case a.Status != ApprovalPending:
		return nil, nil, fmt.Errorf("approval %q is %s already", v.ID, a.Status)
	case m.Time >= a.Deadline:
		return nil, nil, fmt.Errorf("the deadline of approval %q was %s", v.ID, a.Deadline)
	case !credentialDigest.MatchString(v.Seen):
		return nil, nil, fmt.Errorf("seen: it is the digest of what the approver was shown")
	}
	if err := s.asPerson(v.Approver, m); err != nil {
		return nil, nil, err
	}
	for _, g := range a.Gates {
		if _, bundle, ok := s.Gate(g.Policy); !ok || bundle != g.Bundle {
			return nil, nil, fmt.Errorf("policy %s has changed since approval %q was requested, so a new decision has to be asked for", g.Policy, v.ID)
		}
	}
	vote := &Vote{Approver: v.Approver, Seen: v.Seen, Mark: m}
	var duty *Duty
	if v.Duty != "" {
		if duty, ok = s.duties.get(v.Duty); !ok {
			return nil, nil, fmt.Errorf("there is no delegation of duty %q", v.Duty)
		}
		vote.Duty, vote.OnBehalfOf = duty.ID, duty.From
	}
	if err := s.mayAnswer(a, v.Approver, duty, m.Time); err != nil {
		return nil, nil, err
	}
	// One person is one answer, whether by themselves or by somebody who does their duty.
	for _, earlier := range a.Votes {
		for _, who := range []aver.Ref{v.Approver, vote.As()} {
			switch who {
			case earlier.Approver:
				return nil, nil, fmt.Errorf("%s answered already, by event %d", who, earlier.Event)
			case earlier.As():
				return nil, nil, fmt.Errorf("%s answered already on behalf of %s, by event %d", earlier.Approver, who, earlier.Event)
			}
		}
	}
	next := *a
	return &next, vote, nil
}

func (s *State) approvalCancelled(ref *aver.ApprovalRef, m Mark) error {
	a, ok := s.approvals.get(ref.ID)
	switch {
	case !ok:
		return fmt.Errorf("there is no request for approval %q", ref.ID)
	case a.Status != ApprovalPending && a.Status != ApprovalApproved:
		return fmt.Errorf("approval %q is %s already", ref.ID, a.Status)
	}
	next := *a
	next.Status, next.Ended = ApprovalCancelled, &m
	s.approvals.put(a.ID, &next)
	return nil
}
