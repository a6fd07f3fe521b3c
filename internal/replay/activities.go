package replay

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/activity"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pdp"
)

// ActivityResult is the verdict on what is recorded about one activity: its
// place among the activities of its decision, its continuity and its findings.
type ActivityResult struct {
	Index      uint64   `json:"index"`
	ID         string   `json:"activity_id"`
	Evaluation string   `json:"evaluation_id"`
	Verdict    Verdict  `json:"verdict"`
	Missing    []string `json:"missing,omitempty"`     // of an undetermined one
	Difference []string `json:"differences,omitempty"` // of a mismatch
}

// ActivitySummary counts the verdicts on activities.
type ActivitySummary struct {
	Total        uint64           `json:"total"`
	Match        uint64           `json:"match"`
	Mismatch     uint64           `json:"mismatch"`
	Undetermined uint64           `json:"undetermined"`
	Problems     []ActivityResult `json:"problems,omitempty"` // the first that are not matches
}

// judged is a result with what the order of the log shows.
type judged struct {
	ActivityResult
	previous *uint64
	erased   bool
}

// isActivity tells the kind of an entry by its leaf.
func isActivity(e ledger.Entry) bool {
	return bytes.Contains(e.Leaf, []byte(`"kind":"`+aver.KindActivity+`"`))
}

// judge finds out again what is recorded about an activity.
func (r *run) judge(e ledger.Indexed) (*judged, error) {
	if e.Erased {
		return r.erasedActivity(e)
	}
	recorded, err := pdp.ParseActivityEntry(e.Entry)
	if err != nil {
		return nil, err
	}
	out := &judged{ActivityResult: ActivityResult{Index: e.Index, ID: recorded.ID, Evaluation: recorded.EvaluationID, Verdict: Match}, previous: recorded.Previous}
	differ := func(format string, args ...any) {
		out.Verdict = Mismatch
		out.Difference = append(out.Difference, fmt.Sprintf(format, args...))
	}
	if recorded.Semantics != aver.Semantics {
		out.Verdict, out.Missing = Undetermined, []string{fmt.Sprintf("semantics %s, which this build does not have", recorded.Semantics)}
		return out, nil
	}
	version, err := r.states.at(recorded.Authority.Size)
	if err != nil {
		return nil, err
	}
	if version.root != recorded.Authority.Root {
		differ("authority root at size %d: recorded %s, in the log %s", recorded.Authority.Size, recorded.Authority.Root, version.root)
	}
	decision, missing, err := r.decisionOf(e.Index, recorded, differ)
	if err != nil {
		return nil, err
	}
	prior, err := r.priorOf(e.Index, recorded, differ)
	if errors.Is(err, ledger.ErrErased) {
		missing, err = append(missing, "an earlier activity of the same decision, which was erased"), nil
	}
	if err != nil {
		return nil, err
	}
	if out.Verdict != Match {
		return out, nil
	}
	if len(missing) > 0 {
		out.Verdict, out.Missing = Undetermined, missing
		return out, nil
	}
	again := *recorded
	if err := activity.Judge(r.history, decision, prior, &again); err != nil {
		return nil, err
	}
	payload, err := again.Canonical()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(payload, e.Payload) {
		out.Verdict, out.Difference = Mismatch, differences("activity", e.Payload, payload)
	}
	return out, nil
}

// decisionOf reads the decision that an activity names, or checks that there is
// none. Missing names what following it again would need and nobody here has.
func (r *run) decisionOf(index uint64, a *aver.Activity, differ func(string, ...any)) (e ledger.Entry, missing []string, err error) {
	if a.Decision == nil {
		at, err := pdp.Find(leaves{r.decisions}, index, a.EvaluationID)
		if err == nil {
			differ("decision: recorded none, in the log entry %d", at)
		}
		if errors.Is(err, pdp.ErrNotFound) {
			err = nil
		}
		return ledger.Entry{}, nil, err
	}
	if *a.Decision >= index {
		differ("decision: entry %d does not stand before it", *a.Decision)
		return ledger.Entry{}, nil, nil
	}
	if e, err = r.decisions.Entry(*a.Decision); errors.Is(err, ledger.ErrErased) {
		why, err := r.states.whyErased(*a.Decision)
		return e, []string{"its decision: " + why}, err
	}
	if err != nil {
		return ledger.Entry{}, nil, err
	}
	if isActivity(e) {
		differ("decision: entry %d is no decision", *a.Decision)
		return e, nil, nil
	}
	record, _, missing, err := reopen(e)
	if err != nil {
		return e, nil, err
	}
	if record.ID != a.EvaluationID {
		differ("decision: entry %d is %s", *a.Decision, record.ID)
	}
	if !record.Decision.Outcome.Allowed() {
		missing = nil // nothing is decided again
	}
	return e, missing, nil
}

// priorOf reads the earlier activities of the same decision, oldest first.
func (r *run) priorOf(index uint64, a *aver.Activity, differ func(string, ...any)) ([]*aver.Activity, error) {
	var out []*aver.Activity
	for at := a; at.Previous != nil; {
		previous := *at.Previous
		if previous >= index || len(out) == activity.MaxActivities {
			differ("previous: entry %d can't stand before it", previous)
			return nil, nil
		}
		e, err := r.decisions.Entry(previous)
		if err != nil {
			return nil, err
		}
		if !isActivity(e) {
			differ("previous: entry %d is no activity", previous)
			return nil, nil
		}
		index = previous
		if at, err = pdp.ParseActivityEntry(e); err != nil {
			return nil, err
		}
		if at.EvaluationID != a.EvaluationID {
			differ("previous: entry %d is of another decision", previous)
			return nil, nil
		}
		out = append(out, at)
	}
	slices.Reverse(out)
	return out, nil
}

// leaves reads the leaves of a log by its entries.
type leaves struct{ Log }

func (l leaves) Leaf(i uint64) ([]byte, error) {
	e, err := l.Entry(i)
	if errors.Is(err, ledger.ErrErased) {
		err = nil
	}
	return e.Leaf, err
}

// collectActivity takes a result in the order of the log, and checks that the
// activities of every decision form an unbroken chain.
func (r *run) collectActivity(j *judged) error {
	if j.erased {
		r.lostActivity = true
		return r.countActivity(j)
	}
	last, known := r.chained[j.Evaluation]
	switch {
	case r.lostActivity: // one that is gone may stand between
	case known && (j.previous == nil || *j.previous != last):
		j.Verdict = Mismatch
		j.Difference = append(j.Difference, fmt.Sprintf("previous: the activity before it is entry %d", last))
	case !known && j.previous != nil && !r.partial:
		j.Verdict = Mismatch
		j.Difference = append(j.Difference, "previous: there is no activity before it")
	}
	r.chained[j.Evaluation] = j.Index
	return r.countActivity(j)
}

func (r *run) countActivity(j *judged) error {
	s := &r.out.Activities
	s.Total++
	var of *uint64
	switch j.Verdict {
	case Match:
		of = &s.Match
	case Mismatch:
		of = &s.Mismatch
	case Undetermined:
		of = &s.Undetermined
	}
	if *of++; j.Verdict != Match && *of <= uint64(r.o.Examples) {
		s.Problems = append(s.Problems, j.ActivityResult)
	}
	if r.o.EachActivity != nil {
		return r.o.EachActivity(j.ActivityResult)
	}
	return nil
}
