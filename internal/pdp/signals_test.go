package pdp_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/policy"
)

func (w *world) signal(event string, about aver.Ref, issuer string, details map[string]any) uint64 {
	w.t.Helper()
	r := aver.SignalReport{ID: about.String() + event, Event: event, About: about, Issuer: issuer, Details: details}
	s, err := r.Signal(`credential::"admin"`, start)
	if err != nil {
		w.t.Fatal(err)
	}
	w.do(aver.EventSignalReceived, s)
	return w.st.Size() - 1
}

func recordOf(t *testing.T, w *world, text string) *aver.Record {
	t.Helper()
	q := pdp.NewQuery(request(t, text))
	d, e := pdp.Decide(w.st, q, start+10_000, nil)
	r, _, err := pdp.NewRecord(w.st, q, d, e, pdp.Circumstances{ID: "019a0000-0001-7000-8000-000000000001", Time: start + 10_000})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// D2: where policies read signals, a record keeps by what a session and a device are named, since a later signal may end
// what was allowed; and it cites the signals that could be read, no others. Where no policy reads any, it keeps nothing.
func TestRecordOfSignals(t *testing.T) {
	const text = `{"subject":{"type":"user","id":"alice"},"action":{"name":"pay"},"resource":{"type":"payment","id":"p"},
"context":{"session":{"id":"s-1","issuer":"idp","ip":"10.0.0.1"},"device":{"id":"d-1","os":"x"}}}`
	session, device := aver.Ref{Type: "session", ID: "s-1"}, aver.Ref{Type: "device", ID: "d-1"}
	w := newWorld(t, `permit (principal, action, resource) when { !(context.aver has signals.device_risk) };`)
	before := recordOf(t, w, text)
	if want := `"context":{"device":{"id":"d-1"},"session":{"id":"s-1","issuer":"idp"}}`; !strings.Contains(string(before.Request), want) {
		t.Errorf("it keeps %s, not %s", before.Request, want)
	}
	if want := []string{"context.device.os", "context.session.ip"}; !slices.Equal(before.Omitted, want) {
		t.Errorf("omitted: %q, want %q", before.Omitted, want)
	}
	if !before.Decision.Outcome.Allowed() {
		t.Fatalf("%+v", before.Decision)
	}
	assurance := w.signal("assurance-level-change", session, "idp", map[string]any{"current_level": "1"})
	risk := w.signal("risk-level-change", device, "", map[string]any{"current_level": "HIGH"})
	revoked := w.signal("session-revoked", session, "idp", nil)
	other := w.signal("session-revoked", aver.Ref{Type: "session", ID: "s-2"}, "idp", nil)
	after := recordOf(t, w, text)
	for event, want := range map[uint64]bool{risk: true, revoked: true, assurance: false, other: false} {
		if slices.Contains(after.Facts.Events, event) != want {
			t.Errorf("the record cites event %d: %v; it has %v", event, !want, after.Facts.Events)
		}
	}
	if after.Decision.Outcome.Allowed() {
		t.Error("permitted in a session that was revoked")
	}
	// What is recorded decides the same again, also at a later state.
	for _, record := range []*aver.Record{before, after} {
		req, _, err := pdp.Reopen(record.Request, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if d, _ := pdp.Decide(w.st, pdp.NewQuery(req), start+10_000, nil); d.Outcome.Allowed() {
			t.Errorf("decided again from %s: permitted", record.Request)
		}
	}

	plain := &world{t: t, st: authority.New()}
	b, err := policy.Load(map[string][]byte{"main.cedar": []byte(`permit (principal, action, resource);`)}, "test")
	if err != nil {
		t.Fatal(err)
	}
	plain.publish(b)
	plain.signal("session-revoked", session, "idp", nil)
	if r := recordOf(t, plain, text); strings.Contains(string(r.Request), "s-1") || len(r.Facts.Events) > 0 || !r.Decision.Outcome.Allowed() {
		t.Errorf("no policy reads signals, and the record has %s, citing %v", r.Request, r.Facts.Events)
	}
}

// A2, B6: what is said of anybody in the chain counts for what is done on their behalf, and an exception lifts none of it.
func TestSignalsAlongTheChain(t *testing.T) {
	const text = `{"subject":{"type":"ai_agent","id":"sub"},"action":{"name":"pay"},"resource":{"type":"payment","id":"p"},"context":{"delegation":["g1","g2"]}}`
	for who, want := range map[aver.Ref]bool{alice: false, bot: false, sub: false, {Type: "user", ID: "bob"}: true} {
		w := newWorld(t, `permit (principal, action, resource);`)
		w.agent("bot", nil)
		w.agent("sub", nil)
		w.grant(aver.Grant{ID: "g1", From: alice, To: bot, Depth: 1})
		w.grant(aver.Grant{ID: "g2", From: bot, To: sub, Parent: "g1"})
		if !w.decide(text).Outcome.Allowed() {
			t.Fatal("refused before anything was said")
		}
		w.signal("account-disabled", who, "", nil)
		if got := w.decide(text); got.Outcome.Allowed() != want {
			t.Errorf("%s is disabled: %s", who, got.Outcome)
		}
		// A delegator's own sessions are not those that the software works in.
		w.signal("account-enabled", who, "", nil)
		w.signal("session-revoked", alice, "", nil)
		if got := w.decide(text); !got.Outcome.Allowed() {
			t.Errorf("alice logged out: %s", got.Outcome)
		}
	}
}
