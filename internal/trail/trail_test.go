package trail

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/index"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/query"
)

var update = flag.Bool("update", false, "write the golden files anew")

// tape is a log in memory.
type tape struct {
	name    string
	entries []ledger.Entry
}

func (l *tape) Origin() string { return "aver.test/" + l.name }

func (l *tape) Head() (uint64, tlog.Hash) { return uint64(len(l.entries)), tlog.Hash{} }

func (l *tape) Leaf(i uint64) ([]byte, error) { return l.entries[i].Leaf, nil }

func (l *tape) Entry(i uint64) (ledger.Entry, error) {
	if l.entries[i].Erased {
		return l.entries[i], ledger.ErrErased
	}
	return l.entries[i], nil
}

func (l *tape) Entries(from, to uint64) iter.Seq2[ledger.Indexed, error] {
	return func(yield func(ledger.Indexed, error) bool) {
		for i := from; i < to; i++ {
			if !yield(ledger.Indexed{Index: i, Entry: l.entries[i]}, nil) {
				return
			}
		}
	}
}

// story writes both logs, a second for each entry.
type story struct {
	t                    *testing.T
	now                  aver.Time
	decisions, authority tape
}

func (s *story) tick() (aver.Time, string) {
	s.now += 1000
	return s.now, fmt.Sprintf("%08x-%04x-7000-8000-%012d", uint64(s.now)>>16, uint64(s.now)&0xffff, len(s.decisions.entries)+len(s.authority.entries))
}

func (s *story) event(typ aver.EventType, data any, reason, decision string) uint64 {
	s.t.Helper()
	e, err := aver.NewEvent(typ, data)
	if err != nil {
		s.t.Fatal(err)
	}
	e.Time, e.ID = s.tick()
	e.By, e.Reason, e.Decision, e.Salt = aver.By{Name: "desk", Method: "bearer", Subject: aver.Ref{Type: "user", ID: "carol"}}, reason, decision, "s"
	payload, err := e.Canonical()
	if err != nil {
		s.t.Fatal(err)
	}
	leaf := aver.NewLeaf(e.Kind, e.ID, e.Time, payload)
	leaf.Type = string(typ)
	s.authority.entries = append(s.authority.entries, ledger.Entry{Leaf: leaf.AppendCanonical(nil), Payload: payload})
	return uint64(len(s.authority.entries) - 1)
}

type asked struct {
	actor            aver.Ref
	via              []aver.Ref
	action, resource string
	grants           []string
	outcome          aver.Outcome
	reason           aver.ReasonCode
	context          map[string]any
}

func (s *story) decide(q asked) (id string, at uint64) {
	s.t.Helper()
	request := aver.Request{Subject: aver.Party{Ref: q.actor}, Action: aver.Action{Name: q.action},
		Resource: aver.Party{Ref: aver.Ref{Type: "payment", ID: q.resource}}, Context: q.context}
	if len(q.via) > 0 {
		q.context["on_behalf_of"] = map[string]any{"type": q.via[0].Type, "id": q.via[0].ID}
		grants := []any{}
		for _, g := range q.grants {
			grants = append(grants, g)
		}
		q.context["delegation"] = grants
	}
	r := &aver.Record{Kind: aver.KindDecision, Semantics: aver.Semantics, Engine: "e", Authority: aver.TreeHead{Root: "r", Size: uint64(len(s.authority.entries))},
		Policies: "p", PEP: aver.PEP{Credential: "gw"}, Full: "d", Salt: "s"}
	r.Time, r.ID = s.tick()
	r.Request = request.AppendCanonical(nil)
	r.Decision.Outcome = q.outcome
	r.Decision.Actor = aver.Actor{Ref: q.actor, Kind: aver.KindOfType(q.actor.Type)}
	r.Decision.Frames = []aver.Frame{{As: aver.FrameActor, Allowed: true, Policies: []string{"pay/agents"}}}
	for _, v := range slices.Backward(q.via) {
		r.Decision.Frames = append(r.Decision.Frames, aver.Frame{As: aver.FrameDelegator, Entity: v, Allowed: true, Policies: []string{"pay/agents"}})
	}
	for _, g := range q.grants {
		r.Decision.Frames = append(r.Decision.Frames, aver.Frame{As: aver.FrameGrant, Grant: g, Allowed: true})
	}
	if q.reason != "" {
		r.Decision.Reasons = []aver.Reason{{Code: q.reason, Policy: "pay/large"}}
	}
	payload := r.AppendCanonical(nil)
	leaf := aver.NewLeaf(r.Kind, r.ID, r.Time, payload)
	leaf.Outcome = &r.Decision.Outcome
	s.decisions.entries = append(s.decisions.entries, ledger.Entry{Leaf: leaf.AppendCanonical(nil), Payload: payload})
	return r.ID, uint64(len(s.decisions.entries) - 1)
}

func (s *story) report(id string, at uint64, status aver.ActivityStatus, change func(*aver.Activity)) {
	s.t.Helper()
	a := &aver.Activity{Kind: aver.KindActivity, Semantics: aver.Semantics, EvaluationID: id, Decision: &at, Status: status, Report: "r", Salt: "s",
		Continuity: &aver.Continuity{State: aver.Held}}
	a.Time, a.ID = s.tick()
	if change != nil {
		change(a)
	}
	payload, err := a.Canonical()
	if err != nil {
		s.t.Fatal(err)
	}
	leaf := aver.NewLeaf(a.Kind, a.ID, a.Time, payload)
	leaf.Type = string(status)
	s.decisions.entries = append(s.decisions.entries, ledger.Entry{Leaf: leaf.AppendCanonical(nil), Payload: payload})
}

var (
	ann          = aver.Ref{Type: "user", ID: "ann"}
	orchestrator = aver.Ref{Type: "ai_agent", ID: "orchestrator"}
	payer        = aver.Ref{Type: "ai_agent", ID: `pay"er <1>`} // a name that wants to be more than text
)

const trace = "4bf92f3577b34da6a3ce929d0e0e4736"

// tell writes a payment of two agents that needs an approval, and is overtaken by a revocation.
func tell(t *testing.T) *story {
	s := &story{t: t, now: 1_790_000_000_000, decisions: tape{name: "decisions"}, authority: tape{name: "authority"}}
	s.event(aver.EventGrantIssued, aver.Grant{ID: "g-1", From: ann, To: orchestrator, Actions: []string{"*"}, Resources: []aver.ResourceScope{{Type: "*"}}}, "quarter end", "")
	s.event(aver.EventGrantIssued, aver.Grant{ID: "g-2", From: orchestrator, To: payer, Parent: "g-1", Actions: []string{"payment.*"}, Resources: []aver.ResourceScope{{Type: "payment"}}}, "", "")
	s.event(aver.EventGrantIssued, aver.Grant{ID: "g-9", From: ann, To: payer, Actions: []string{"x"}, Resources: []aver.ResourceScope{{Type: "payment"}}}, "", "")
	s.event(aver.EventPolicyActivated, aver.PolicyRef{Name: "before", Digest: "d"}, "", "")
	in := func(more ...any) map[string]any {
		c := map[string]any{"trace": trace, "session": "s-7"}
		for i := 0; i < len(more); i += 2 {
			c[more[i].(string)] = more[i+1]
		}
		return c
	}
	id, at := s.decide(asked{actor: orchestrator, via: []aver.Ref{ann}, grants: []string{"g-1"}, action: "workflow.start", resource: "run", outcome: aver.Permitted, context: in()})
	s.report(id, at, aver.ActivityStarted, nil)
	chain, grants := []aver.Ref{ann, orchestrator}, []string{"g-1", "g-2"}
	escalated, _ := s.decide(asked{actor: payer, via: chain, grants: grants, action: "payment.approve", resource: "p-1", outcome: aver.Escalated, reason: aver.ReasonEscalate, context: in()})
	s.event(aver.EventApprovalRequested, aver.ApprovalRequest{ID: "ap-1", Evaluation: escalated, Request: []byte("{}")}, "", "")
	s.event(aver.EventApprovalRequested, aver.ApprovalRequest{ID: "ap-2", Evaluation: "another", Request: []byte("{}")}, "", "")
	s.event(aver.EventApprovalGranted, aver.ApprovalVote{ID: "ap-1", Approver: aver.Ref{Type: "user", ID: "carol"}}, "checked the invoice", "")
	s.event(aver.EventPolicyActivated, aver.PolicyRef{Name: "payments", Digest: "d"}, "", "")
	s.decide(asked{actor: payer, action: "payment.read", resource: "p-2", outcome: aver.Permitted, context: map[string]any{"trace": "another"}})
	id, at = s.decide(asked{actor: payer, via: chain, grants: grants, action: "payment.approve", resource: "p-1", outcome: aver.Permitted, context: in("approval", map[string]any{"id": "ap-1"})})
	s.report(id, at, aver.ActivityStarted, nil)
	revoked := s.event(aver.EventGrantRevoked, aver.GrantRef{ID: "g-2"}, "the agent misbehaves\n\x1b[31m", "")
	s.event(aver.EventIdentitySuspended, payer, "", "")
	s.event(aver.EventIdentitySuspended, aver.Ref{Type: "user", ID: "somebody"}, "", "")
	s.report(id, at, aver.ActivityCompleted, func(a *aver.Activity) {
		a.Result = "booked"
		a.Findings = []aver.Finding{{Code: aver.FindingMissingDuty}}
		a.Continuity = &aver.Continuity{State: aver.Lapsed, Lapse: &aver.Lapse{At: a.Time - 2000, Cause: aver.LapseEvent, Event: &revoked, Type: aver.EventGrantRevoked}}
	})
	s.decide(asked{actor: payer, via: chain, grants: grants, action: "payment.approve", resource: "p-3", outcome: aver.Denied, reason: aver.ReasonGrantRevoked, context: in("challenge", map[string]any{"evaluation_id": escalated})})
	return s
}

func (s *story) source(t *testing.T) Source {
	t.Helper()
	x, err := index.Open(context.Background(), index.Options{Dir: filepath.Join(t.TempDir(), "index"), Decisions: &s.decisions, Authority: &s.authority})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	if err := x.Refresh(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	return Source{Index: x, Decisions: &s.decisions, Authority: &s.authority}
}

func follow(t *testing.T, from Source, by Thing, value string, limit int) *Trail {
	t.Helper()
	q, err := QueryFor(by, value)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Follow(context.Background(), from, q, limit)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestTheStoryOfATrace: decision, activity, approval, the next agent's decision, revocation and lapse stand in their order, each linked to
// what it follows from (A2, G5).
func TestTheStoryOfATrace(t *testing.T) {
	from := tell(t).source(t)
	got := follow(t, from, ByTrace, trace, DefaultLimit)
	text, err := json.MarshalIndent(got, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"trace.txt": got.Render(Text), "trace.json": string(text) + "\n", "trace.mmd": got.Render(Mermaid), "trace.dot": got.Render(DOT)} {
		file := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if content != string(want) {
			t.Errorf("%s differs:\n%s", file, content)
		}
	}
}

func TestTheSameStoryByOtherThings(t *testing.T) {
	from := tell(t).source(t)
	for _, tt := range []struct {
		by        Thing
		value     string
		decisions int
	}{
		{BySession, "s-7", 4}, {ByActor, "user/ann", 4}, {ByActor, payer.ID, 4}, {ByGrant, "g-2", 3}, {ByGrant, "g-9", 0}, {ByTrace, "another", 1}, {ByTrace, "*", 0},
	} {
		if got := follow(t, from, tt.by, tt.value, DefaultLimit); got.Decisions != tt.decisions {
			t.Errorf("%s %s: %d decisions, want %d", tt.by, tt.value, got.Decisions, tt.decisions)
		}
	}
	// The latest decisions, when there are more.
	got := follow(t, from, BySession, "s-7", 2)
	if got.Decisions != 2 || !got.More || got.Steps[len(got.Steps)-1].Decision.Resource.ID != "p-3" || !strings.Contains(got.Render(Text), "left out") {
		t.Errorf("%+v", got)
	}
	if _, err := QueryFor("colour", "x"); err == nil {
		t.Error("a colour was taken")
	}
}

// TestErasedDecisionsStayInTheStory: what is gone is said to be gone (D3).
func TestErasedDecisionsStayInTheStory(t *testing.T) {
	s := tell(t)
	s.decisions.entries[0].Payload, s.decisions.entries[0].Erased = nil, true
	from := s.source(t)
	q, err := query.Parse("outcome:permitted")
	if err != nil {
		t.Fatal(err)
	}
	got, err := Follow(context.Background(), from, q, DefaultLimit)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(got.Steps, func(s Step) bool { return s.Decision != nil && s.Decision.Erased })
	if i < 0 || got.Steps[i].Decision.Outcome != aver.Permitted || !got.Steps[i].Decision.Actor.IsZero() || !strings.Contains(got.Render(Text), "the record was erased") {
		t.Errorf("%s", got.Render(Text))
	}
}
