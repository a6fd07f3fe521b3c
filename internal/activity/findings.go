package activity

import (
	"fmt"
	"slices"

	"github.com/aver-authz/aver"
)

// Bounds of what is taken as it is.
const (
	lateAfter = aver.Time(60_000) // a report that comes so much later than what it reports is late
	clockSkew = aver.Time(1_000)  // by which a PEP's clock may differ without a word
)

// Find says what is not as it should be about an activity, in the order of the
// codes. The record is nil for an orphan; prior are the earlier activities of the
// same decision, oldest first. The activity has everything but its findings.
func Find(record *aver.Record, prior []*aver.Activity, a *aver.Activity) []aver.Finding {
	var out []aver.Finding
	add := func(code aver.FindingCode, format string, args ...any) {
		out = append(out, aver.Finding{Code: code, Detail: fmt.Sprintf(format, args...)})
	}
	if record == nil {
		add(aver.FindingNoDecision, "")
	}
	if record != nil && !record.Decision.Outcome.Allowed() && a.Status != aver.ActivityCancelled {
		add(aver.FindingAfterDeny, "%s", record.Decision.Outcome)
	}
	started := firstOf(prior, func(p *aver.Activity) bool { return p.Status == aver.ActivityStarted })
	ended := firstOf(prior, func(p *aver.Activity) bool { return p.Status.Ends() })
	if a.Status == aver.ActivityStarted && a.Continuity != nil && a.Continuity.Lapse != nil {
		l := a.Continuity.Lapse
		code := aver.FindingAfterExpiry
		if l.Cause == aver.LapseEvent {
			code = aver.FindingAfterWithdrawal
		}
		add(code, "%s", l.At)
	}
	if record != nil && a.Parameters != "" && a.Parameters != record.Full {
		add(aver.FindingParameters, "%s was decided", record.Full)
	}
	happened := a.Happened()
	switch {
	case a.Status == aver.ActivityStarted && started != nil:
		add(aver.FindingSecondUse, "it started %s", started.Happened())
	case a.Status == aver.ActivityStarted && ended != nil && happened > ended.Happened() && a.EventTime != 0:
		add(aver.FindingSecondUse, "it was %s %s", ended.Status, ended.Happened())
	case a.Status.Ends() && ended != nil:
		add(aver.FindingSecondUse, "it was %s %s", ended.Status, ended.Happened())
	}
	switch {
	case a.Status == aver.ActivityStarted && started == nil && ended != nil:
		add(aver.FindingOutOfOrder, "it was %s %s", ended.Status, ended.Happened())
	case a.Status.Ends() && started != nil && happened < started.Happened():
		add(aver.FindingOutOfOrder, "it started %s", started.Happened())
	}
	if a.EventTime != 0 {
		switch {
		case a.EventTime+lateAfter < a.Time:
			add(aver.FindingLate, "%d ms", a.Time-a.EventTime)
		case a.EventTime > a.Time+clockSkew:
			add(aver.FindingFuture, "%d ms", a.EventTime-a.Time)
		}
		if record != nil && a.EventTime+clockSkew < record.Time {
			add(aver.FindingBeforeDecision, "%d ms", record.Time-a.EventTime)
		}
	}
	if record == nil {
		return out
	}
	carriedOut := slices.Clone(a.Obligations)
	for _, p := range prior {
		carriedOut = append(carriedOut, p.Obligations...)
	}
	set := record.Decision.Obligations
	for _, id := range a.Obligations {
		if !slices.ContainsFunc(set, func(o aver.Obligation) bool { return o.ID == id }) {
			add(aver.FindingUnknownDuty, "%s", id)
		}
	}
	if a.Status == aver.ActivityCompleted {
		for _, o := range set {
			if !slices.Contains(carriedOut, o.ID) {
				add(aver.FindingMissingDuty, "%s", o.ID)
			}
		}
	}
	return out
}

func firstOf(list []*aver.Activity, is func(*aver.Activity) bool) *aver.Activity {
	if i := slices.IndexFunc(list, is); i >= 0 {
		return list[i]
	}
	return nil
}
