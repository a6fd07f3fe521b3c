package index

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/query"
)

// memory is a log in memory.
type memory struct {
	origin  string
	entries []ledger.Entry
	size    int // as far as it shows
}

func (m *memory) Origin() string { return m.origin }

func (m *memory) Head() (uint64, tlog.Hash) { return uint64(m.size), tlog.Hash{} }

func (m *memory) Leaf(i uint64) ([]byte, error) { return m.entries[i].Leaf, nil }

func (m *memory) Entries(from, to uint64) iter.Seq2[ledger.Indexed, error] {
	return func(yield func(ledger.Indexed, error) bool) {
		for i := from; i < min(to, uint64(m.size)); i++ {
			if !yield(ledger.Indexed{Index: i, Entry: m.entries[i]}, nil) {
				return
			}
		}
	}
}

// history is random logs and what is to be searched in them.
type history struct {
	random     *rand.Rand
	decisions  memory
	authority  memory
	facts      map[uint64]*query.Facts
	evaluation []uint64 // indexes of decisions
	reports    map[uint64][]uint64
	activities map[uint64]*aver.Activity
	asked      map[uint64][]*aver.ApprovalRequest
	now        aver.Time
}

func newHistory(seed uint64) *history {
	return &history{
		random: rand.New(rand.NewPCG(seed, seed)), decisions: memory{origin: "test/decisions"}, authority: memory{origin: "test/authority"},
		facts: map[uint64]*query.Facts{}, reports: map[uint64][]uint64{},
		activities: map[uint64]*aver.Activity{}, asked: map[uint64][]*aver.ApprovalRequest{}, now: 1_790_000_000_000,
	}
}

// grow adds entries, and shows them.
func (h *history) grow(t testing.TB, entries int) {
	t.Helper()
	for range entries {
		h.now += aver.Time(h.random.IntN(900))
		switch n := h.random.IntN(20); {
		case n < 14 || len(h.evaluation) == 0:
			h.decide(t)
		case n < 18:
			h.report(t)
		case n == 18:
			h.ask(t)
		default:
			h.event(t, aver.EventIdentitySuspended, aver.Ref{Type: "user", ID: "bo"})
		}
	}
	h.decisions.size, h.authority.size = len(h.decisions.entries), len(h.authority.entries)
}

func (h *history) pick(list ...string) string { return list[h.random.IntN(len(list))] }

func (h *history) decide(t testing.TB) {
	index := uint64(len(h.decisions.entries))
	r := h.record(index)
	payload := r.AppendCanonical(nil)
	leaf := aver.NewLeaf(r.Kind, r.ID, r.Time, payload)
	leaf.Outcome = &r.Decision.Outcome
	parsed, err := aver.ParseRecord(payload)
	if err != nil {
		t.Fatal(err)
	}
	h.facts[index] = query.FactsOf(index, parsed)
	h.evaluation = append(h.evaluation, index)
	h.decisions.entries = append(h.decisions.entries, ledger.Entry{Leaf: leaf.AppendCanonical(nil), Payload: payload})
}

func (h *history) uuid(index uint64) string {
	ms := uint64(h.now)
	return fmt.Sprintf("%08x-%04x-7%03x-8%03x-%012x", ms>>16, ms&0xffff, index&0xfff, h.random.IntN(4096), index)
}

func (h *history) record(index uint64) *aver.Record {
	actor := aver.Ref{Type: h.pick("user", "ai_agent", "service_account"), ID: h.pick("ann", "bo", "cy/1", "d*")}
	outcome := aver.Outcomes()[h.random.IntN(6)]
	r := &aver.Record{
		ID: h.uuid(index), Kind: aver.KindDecision, Time: h.now, Semantics: aver.Semantics, Engine: "x",
		Authority: aver.TreeHead{Root: "r", Size: uint64(len(h.authority.entries))}, Policies: h.pick("P1", "P2"), Full: "d", Salt: "s",
		PEP: aver.PEP{Credential: h.pick("gw", "mesh"), RequestID: fmt.Sprintf("req-%d.", index)},
	}
	request := aver.Request{
		Subject: aver.Party{Ref: actor}, Action: aver.Action{Name: h.pick("payment.approve", "payment.read", "export")},
		Resource: aver.Party{Ref: aver.Ref{Type: h.pick("payment", "account"), ID: fmt.Sprintf("r-%d", h.random.IntN(3000))},
			Properties: aver.Properties{"amount": int64(h.random.IntN(1000)), "region": h.pick("EU", "US", "7"), "deep": map[string]any{"open": h.random.IntN(2) == 0}}},
		Context: map[string]any{"workflow": h.pick("pay", "export"), "tags": []any{h.pick("a", "b"), "c"}},
	}
	if h.random.IntN(2) == 0 {
		request.Context["on_behalf_of"] = map[string]any{"type": "user", "id": h.pick("eve", "fay")}
		request.Context["delegation"] = []any{h.pick("g-1", "g-2", "h-1")}
		request.Context["session"] = fmt.Sprintf("s-%d", h.random.IntN(50))
	}
	r.Request = request.AppendCanonical(nil)
	r.Decision = aver.Decision{Actor: aver.Actor{Ref: actor, Kind: aver.KindOfType(actor.Type)}, Ruling: aver.Ruling{Outcome: outcome}}
	if outcome != aver.Permitted {
		r.Decision.Reasons = []aver.Reason{{Code: aver.ReasonForbidden, Policy: h.pick("base/a", "base/b")}, {Code: aver.ReasonLimit, Grant: "g-1", Detail: fmt.Sprintf("uses: %d of 9", h.random.IntN(9))}}
	}
	r.Decision.Frames = []aver.Frame{{As: aver.FrameActor, Allowed: true, Policies: []string{h.pick("pay/x", "pay/y"), "z"}}}
	if h.random.IntN(20) == 0 {
		r.Decision.Frames = append(r.Decision.Frames, aver.Frame{As: aver.FrameException, Exception: h.pick("x-1", "x-2"), Allowed: h.random.IntN(2) == 0})
	}
	return r
}

func (h *history) report(t testing.TB) {
	index := uint64(len(h.decisions.entries))
	// Often the latest, sometimes one of long ago.
	at := h.evaluation[max(0, len(h.evaluation)-1-h.random.IntN(30))]
	if h.random.IntN(10) == 0 {
		at = h.evaluation[h.random.IntN(len(h.evaluation))]
	}
	a := &aver.Activity{
		ID: h.uuid(index), Kind: aver.KindActivity, Time: h.now, Semantics: aver.Semantics, EvaluationID: h.facts[at].ID, Decision: &at, Salt: "s",
		Status: aver.ActivityStatuses()[h.random.IntN(4)], Result: h.pick("", "booked", "HTTP 500"), Report: "r",
		Continuity: &aver.Continuity{State: aver.ContinuityState(h.pick("held", "lapsed")), Until: h.now},
	}
	if h.random.IntN(5) == 0 {
		a.Decision = nil
		a.Findings = []aver.Finding{{Code: aver.FindingNoDecision}}
	} else if h.random.IntN(4) == 0 {
		a.Findings = []aver.Finding{{Code: aver.FindingLate}}
		a.TraceParent = fmt.Sprintf("00-%032x-00f067aa0ba902b7-01", 1+h.random.IntN(40))
	}
	payload, err := a.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	leaf := aver.NewLeaf(a.Kind, a.ID, a.Time, payload)
	leaf.Type = string(a.Status)
	h.decisions.entries = append(h.decisions.entries, ledger.Entry{Leaf: leaf.AppendCanonical(nil), Payload: payload})
	if a.Decision != nil {
		h.facts[at].Learn(query.Reported(a))
		h.reports[at] = append(h.reports[at], index)
		h.activities[index] = a
	}
}

func (h *history) ask(t testing.TB) {
	at := h.evaluation[max(0, len(h.evaluation)-1-h.random.IntN(2000))]
	asked := aver.ApprovalRequest{ID: h.pick("ap-1", "ap-2", "bp-3"), Evaluation: h.facts[at].ID, Request: []byte("{}")}
	h.event(t, aver.EventApprovalRequested, asked)
	h.facts[at].Learn(query.Asked(&asked))
	h.asked[at] = append(h.asked[at], &asked)
}

// erase takes payloads out of the decision log, and out of the facts what they said.
func (h *history) erase(t testing.TB, ranges ...aver.IndexRange) {
	t.Helper()
	for _, r := range ranges {
		for i := r.From; i < r.End; i++ {
			h.decisions.entries[i].Payload, h.decisions.entries[i].Erased = nil, true
		}
	}
	for _, at := range h.evaluation {
		e := ledger.Indexed{Index: at, Entry: h.decisions.entries[at]}
		facts, _, err := read(e)
		if err != nil {
			t.Fatal(err)
		}
		h.reports[at] = slices.DeleteFunc(h.reports[at], func(i uint64) bool { return h.decisions.entries[i].Erased })
		for _, i := range h.reports[at] {
			facts.Learn(query.Reported(h.activities[i]))
		}
		for _, a := range h.asked[at] {
			facts.Learn(query.Asked(a))
		}
		h.facts[at] = facts
	}
}

func (h *history) event(t testing.TB, typ aver.EventType, data any) {
	e, err := aver.NewEvent(typ, data)
	if err != nil {
		t.Fatal(err)
	}
	e.ID, e.Time, e.Salt = h.uuid(uint64(len(h.authority.entries))), h.now, "s"
	payload, err := e.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	leaf := aver.NewLeaf(e.Kind, e.ID, e.Time, payload)
	leaf.Type = string(typ)
	h.authority.entries = append(h.authority.entries, ledger.Entry{Leaf: leaf.AppendCanonical(nil), Payload: payload})
}

func (h *history) open(t testing.TB, dir string, change func(*Options)) *Index {
	t.Helper()
	o := Options{Dir: dir, Decisions: &h.decisions, Authority: &h.authority, Partition: blockRows}
	if change != nil {
		change(&o)
	}
	x, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	return x
}

func (h *history) refresh(t testing.TB, x *Index) {
	t.Helper()
	if err := x.Refresh(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
}

// matching are the decisions that a query means, the newest first.
func (h *history) matching(q *query.Query) (out []uint64) {
	for i := len(h.evaluation) - 1; i >= 0; i-- {
		if q.Match(h.facts[h.evaluation[i]]) {
			out = append(out, h.evaluation[i])
		}
	}
	return out
}

// query makes a random query.
func (h *history) query(depth int) string {
	if depth > 0 && h.random.IntN(3) > 0 {
		a, b := h.query(depth-1), h.query(depth-1)
		return h.pick("("+a+" "+b+")", "("+a+" OR "+b+")", "-("+a+")", "("+a+" -"+b+")")
	}
	f := h.facts[h.evaluation[h.random.IntN(len(h.evaluation))]]
	switch h.random.IntN(12) {
	case 0:
		return h.pick("actor:ann", "actor:user/*", "actor:cy/1", `actor:ai_agent/cy/*`, `actor:d\*`, "actor:*/*", "actor:*", "hop:*y", "hop:user/?*", "-origin:*", "resource:account/r-1*", "resource:r-2*9", "resource:payment/*", "resource:*r-3/*")
	case 1:
		return h.pick("resource.amount:>500", "resource.amount:<=20", "resource.amount:77", "resource.amount:7*", "resource.amount:*", "resource.region:EU", "resource.region:7", "resource.region:*U*", "context.tags:a", "context.tags:*", "resource.deep.open:true", "resource.none:*", "authority:>=10", "authority:<300")
	case 2:
		return fmt.Sprintf("index:%s%d", h.pick("", "<", "<=", ">", ">="), h.random.IntN(len(h.decisions.entries)))
	case 3:
		return h.pick("after:", "before:") + (f.Time + aver.Time(h.random.IntN(3)-1)).String()
	case 4:
		return h.pick("id:"+f.ID, "id:"+f.ID[:9+h.random.IntN(20)]+"*", "id:*"+f.ID[30:], "id:0*f")
	case 5:
		return h.pick("forbids", "Uses", `"of 9"`, "booked", "for*z", `"uses: 3"`, "nothing")
	case 6:
		return h.pick("activity:completed", "activity:*", "finding:late", "continuity:lapsed", "approval:ap-1", "approval:*p*", "-approval:*", "trace:0*1", "exception:*", "exception:x-1")
	case 7:
		return h.pick("request:req-7*", fmt.Sprintf("request:req-%d.", h.random.IntN(5000)), "session:s-1*", "workflow:pay", "version:P1", "pep:*", "policy:pay/*", "policy:base/a", "grant:g-*", "grant:h-1", "reason:limit_exhausted", "action:payment.*", "action:*.read")
	default:
		t := f.Terms[h.random.IntN(len(f.Terms))]
		for t.Field == query.Word || t.Field == query.Attribute {
			t = f.Terms[h.random.IntN(len(f.Terms))]
		}
		if t.Field == query.Outcome || t.Field == query.Kind {
			return fmt.Sprintf("%s:%s", t.Field, t.Text)
		}
		return (query.Is{Field: t.Field, Pattern: query.Literal(t.Text)}).String()
	}
}
