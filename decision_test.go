package aver

import (
	"encoding/json"
	"testing"
)

func TestOutcomes(t *testing.T) {
	want := []struct {
		outcome Outcome
		name    string
		allowed bool
	}{
		{Denied, "denied", false},
		{Challenged, "challenged", false},
		{Escalated, "escalated", false},
		{PartiallyAuthorized, "partially_authorized", true},
		{Restricted, "restricted", true},
		{Permitted, "permitted", true},
	}
	if len(Outcomes()) != len(want) {
		t.Fatalf("%d outcomes, want %d", len(Outcomes()), len(want))
	}
	for i, w := range want {
		if o := Outcomes()[i]; o != w.outcome || int(o) != i || o.String() != w.name || o.Allowed() != w.allowed {
			t.Errorf("outcome %d is %v, allowed %v", i, o, o.Allowed())
		}
		var back Outcome
		text, err := w.outcome.MarshalText()
		if err != nil || string(text) != w.name {
			t.Errorf("%v: %s, %v", w.outcome, text, err)
		}
		if err := back.UnmarshalText(text); err != nil || back != w.outcome {
			t.Errorf("%s: %v, %v", text, back, err)
		}
	}
}

func TestWhatIsNoOutcomeIsNotAllowed(t *testing.T) {
	for _, o := range []Outcome{-1, 6, 1 << 20} {
		if o.Allowed() {
			t.Errorf("%v allows", o)
		}
		if text, err := o.MarshalText(); err == nil {
			t.Errorf("%v is written %s", o, text)
		}
	}
	if got := Outcome(6).String(); got != "outcome(6)" {
		t.Errorf("String() = %q", got)
	}
	for _, name := range []string{"", "Permitted", "permit", "outcome(6)"} {
		o := Challenged
		if err := o.UnmarshalText([]byte(name)); err == nil || o != Challenged {
			t.Errorf("%q is read as %v, %v", name, o, err)
		}
	}
}

func TestTheZeroDecisionDenies(t *testing.T) {
	var d Decision
	var a Answer
	var p PartDecision
	if d.Outcome.Allowed() || a.Outcome.Allowed() || p.Outcome.Allowed() || d.Outcome != Denied {
		t.Error("a zero value allows")
	}
	text := a.JSON()
	var got struct{ Decision *bool }
	if err := json.Unmarshal(text, &got); err != nil || got.Decision == nil || *got.Decision {
		t.Errorf("%s, %v", text, err)
	}
}

// Its bytes are pinned as a golden file; here is what AuthZEN defines of them.
func TestAnswerJSONIsAuthZEN(t *testing.T) {
	for _, r := range sampleRecords() {
		a := Answer{Decision: r.Decision, EvaluationID: r.ID, Time: r.Time}
		text := a.JSON()
		var got struct {
			Decision *bool
			Context  struct {
				Outcome      Outcome
				EvaluationID string `json:"evaluation_id"`
				EvaluatedAt  Time   `json:"evaluated_at"`
			}
		}
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		if got.Decision == nil || *got.Decision != r.Decision.Outcome.Allowed() || got.Context.Outcome != r.Decision.Outcome ||
			got.Context.EvaluationID != r.ID || got.Context.EvaluatedAt != r.Time {
			t.Errorf("%s: %s", r.Decision.Outcome, text)
		}
	}
}

func TestAnswerJSONCarriesRequirements(t *testing.T) {
	a := Answer{Decision: sampleRecords()[4].Decision}
	a.Receipt.Commit = &CommitReceipt{Note: "a note\n", Path: []string{hashOf("a")}}
	var got struct {
		Decision bool
		Context  struct {
			Requirements []Requirement
			Receipt      Receipt
		}
	}
	if err := json.Unmarshal(a.JSON(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Decision || len(got.Context.Requirements) != 1 || got.Context.Requirements[0].MaxAge == nil || *got.Context.Requirements[0].MaxAge != 300 || got.Context.Receipt.Commit.Path[0] != hashOf("a") {
		t.Errorf("%+v", got)
	}
}

func must(text []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return text
}
