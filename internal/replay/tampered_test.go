package replay_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/replay"
)

// Whatever a record says otherwise than it was decided, replay tells (G3): the record is
// altered and written again in canonical form, as somebody could who has the log's key.
func TestReplayTellsWhatWasAltered(t *testing.T) {
	l := newLogs(t)
	l.publish(load(t, "payments", map[string]string{
		"main.cedar": `
@id("pay") permit (principal, action == Action::"pay", resource is payment) when { resource.amount < 100 };
@id("agents") permit (principal is ai_agent, action == Action::"pay", resource);
@id("log") @gate("restrict") @obligation("log") forbid (principal, action, resource) when { context.loud };`,
	}))
	l.event(aver.EventIdentityRegistered, aver.Identity{Ref: aver.Ref{Type: "ai_agent", ID: "bot"}, Kind: aver.AIAgent, Owner: "ops", Purpose: "pay"})
	l.event(aver.EventGrantIssued, aver.Grant{
		ID: "g-1", From: aver.Ref{Type: "user", ID: "alice"}, To: aver.Ref{Type: "ai_agent", ID: "bot"}, Purpose: "invoices",
		Actions: []string{"pay"}, Resources: []aver.ResourceScope{{Type: "payment"}},
	})
	record := l.decide(`{"subject":{"type":"ai_agent","id":"bot"},"action":{"name":"pay"},
		"resource":{"type":"payment","id":"p-1","properties":{"amount":60}},
		"context":{"delegation":["g-1"],"supported_obligations":["log"],"loud":true,"trace":"x"}}`)
	if record.Decision.Outcome != aver.Restricted || len(record.Omitted) == 0 || len(record.Facts.Events) == 0 {
		t.Fatalf("the record shows less than is altered below: %+v", record)
	}
	again := func(t *testing.T, r *aver.Record, leaf aver.Leaf) replay.Result {
		t.Helper()
		e := &l.decisions.entries[0]
		e.Payload, e.Leaf = r.AppendCanonical(nil), leaf.AppendCanonical(nil)
		var got replay.Result
		_, err := replay.Run(t.Context(), &l.authority, &l.decisions, replay.Options{Each: func(r replay.Result) error { got = r; return nil }})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	leaf := aver.NewLeaf(record.Kind, record.ID, record.Time, l.decisions.entries[0].Payload)
	leaf.Outcome, leaf.Class = new(record.Decision.Outcome), l.st.RetentionClassOf("pay")
	if got := again(t, record, leaf); got.Verdict != replay.Match {
		t.Fatalf("as it was decided: %+v", got)
	}
	for name, c := range map[string]struct {
		alter   func(*aver.Record, *aver.Leaf)
		verdict replay.Verdict
		says    string
	}{
		"outcome":    {func(r *aver.Record, _ *aver.Leaf) { r.Decision.Outcome = aver.Permitted }, replay.Mismatch, "decision.outcome"},
		"frame":      {func(r *aver.Record, _ *aver.Leaf) { r.Decision.Frames[1].Policies = []string{"payments/x"} }, replay.Mismatch, "decision.frames"},
		"no frames":  {func(r *aver.Record, _ *aver.Leaf) { r.Decision.Frames = nil }, replay.Mismatch, "decision.frames"},
		"obligation": {func(r *aver.Record, _ *aver.Leaf) { r.Decision.Obligations = nil }, replay.Mismatch, "decision.obligations"},
		"reason":     {func(r *aver.Record, _ *aver.Leaf) { r.Decision.Reasons = nil }, replay.Mismatch, "decision.reasons"},
		"actor":      {func(r *aver.Record, _ *aver.Leaf) { r.Decision.Actor.Event = nil }, replay.Mismatch, "decision.actor"},
		"counter":    {func(r *aver.Record, _ *aver.Leaf) { r.Decision.Counters = []aver.Counter{{Grant: "g-1", Name: "uses"}} }, replay.Mismatch, "decision.counters"},
		"request": {func(r *aver.Record, _ *aver.Leaf) {
			r.Request = []byte(strings.Replace(string(r.Request), "bot", "bob", 1))
		}, replay.Mismatch, "decision"},
		"policies":       {func(r *aver.Record, _ *aver.Leaf) { r.Policies = "x" }, replay.Mismatch, "policies: recorded x"},
		"root":           {func(r *aver.Record, _ *aver.Leaf) { r.Authority.Root = strings.Repeat("x", 500) }, replay.Mismatch, "authority root"},
		"no root":        {func(r *aver.Record, _ *aver.Leaf) { r.Authority.Root = "" }, replay.Mismatch, "authority root"},
		"an earlier one": {func(r *aver.Record, _ *aver.Leaf) { r.Authority.Size-- }, replay.Mismatch, "decision"},
		"fact missing":   {func(r *aver.Record, _ *aver.Leaf) { r.Facts.Events = r.Facts.Events[1:] }, replay.Mismatch, "facts: recorded events"},
		"fact more": {func(r *aver.Record, _ *aver.Leaf) {
			r.Facts.Absent = append(r.Facts.Absent, aver.Ref{Type: "a", ID: "b"})
		}, replay.Mismatch, "facts: recorded events"},
		"class":     {func(_ *aver.Record, l *aver.Leaf) { l.Class = "other" }, replay.Mismatch, `retention class: recorded "other"`},
		"omitted":   {func(r *aver.Record, _ *aver.Leaf) { r.Omitted = append(r.Omitted, "resource.amount") }, replay.Undetermined, "resource.amount, which was sent and not kept"},
		"semantics": {func(r *aver.Record, _ *aver.Leaf) { r.Semantics = "aver/0" }, replay.Undetermined, "semantics aver/0"},
		"engine":    {func(r *aver.Record, _ *aver.Leaf) { r.Engine = "other" }, replay.Undetermined, "engine other"},
		"withheld": {func(r *aver.Record, _ *aver.Leaf) {
			r.Request = []byte(strings.Replace(string(r.Request), `"amount":60`, `"_sd":["x"],"amount":60`, 1))
		}, replay.Undetermined, "withheld value"},
	} {
		t.Run(name, func(t *testing.T) {
			altered, leaf := *record, leaf
			altered.Decision.Frames = slices.Clone(record.Decision.Frames)
			altered.Facts.Absent = slices.Clone(record.Facts.Absent)
			altered.Omitted = slices.Clone(record.Omitted)
			c.alter(&altered, &leaf)
			got := again(t, &altered, leaf)
			if said := strings.Join(append(got.Difference, got.Missing...), "; "); got.Verdict != c.verdict || !strings.Contains(said, c.says) {
				t.Errorf("%s: %s; want %s, with %q", got.Verdict, said, c.verdict, c.says)
			}
		})
	}
}
