package main

import (
	"fmt"
	"math/rand/v2"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/bench/report"
	"github.com/aver-authz/aver/internal/ledger"
)

// records makes up decisions as a company with many agents has them, and what was reported about some.
type records struct {
	random *rand.Rand
	zipf   *rand.Zipf // of actors: few do much
	now    aver.Time
	first  aver.Time
	n      uint64 // entries that were made
	traces []string
}

// spacing is the mean time between two decisions while the log is made, in milliseconds: a million take a month.
const spacing = 2600

func newRecords(seed uint64) *records {
	random := rand.New(rand.NewPCG(seed, 7))
	first := aver.Time(1_793_491_200_000) // 2026-11-01
	return &records{random: random, zipf: rand.NewZipf(random, 1.2, 4, 1999), now: first, first: first}
}

var (
	benchWorkflows = []string{"payments", "customer-data", "cloud", "identity", "partners", "platform", "ai", "security", "fraud"}
	benchVerbs     = []string{"read", "approve", "update", "export", "start"}
	benchKinds     = []aver.Kind{aver.AIAgent, aver.AIAgent, aver.AIAgent, aver.ServiceAccount, aver.Workload, aver.HumanUser}
)

func (r *records) uuid() string {
	ms := uint64(r.now)
	return fmt.Sprintf("%08x-%04x-7%03x-%04x-%012x", ms>>16, ms&0xffff, r.n&0xfff, 0x8000|r.random.IntN(0x4000), r.random.Uint64()&0xffffffffffff)
}

func (r *records) trace() string {
	if len(r.traces) == 0 || r.random.IntN(6) == 0 { // about six decisions of one trace
		r.traces = append(r.traces, fmt.Sprintf("%016x%016x", r.random.Uint64(), r.random.Uint64()))
		if len(r.traces) > 64 {
			r.traces = r.traces[1:]
		}
		return r.traces[len(r.traces)-1]
	}
	return r.traces[r.random.IntN(len(r.traces))]
}

func (r *records) outcome() aver.Outcome {
	switch n := r.random.IntN(1000); {
	case n < 70:
		return aver.Denied
	case n < 80:
		return aver.Challenged
	case n < 95:
		return aver.Escalated
	case n < 100:
		return aver.PartiallyAuthorized
	case n < 120:
		return aver.Restricted
	}
	return aver.Permitted
}

// next makes a decision, and for one in five an activity that completes it.
func (r *records) next() (ledger.Entry, *ledger.Entry, error) {
	r.now += aver.Time(r.random.IntN(2 * spacing))
	record := r.record()
	at := r.n
	payload := record.AppendCanonical(make([]byte, 0, 1536))
	leaf := aver.NewLeaf(record.Kind, record.ID, record.Time, payload)
	leaf.Outcome = &record.Decision.Outcome
	entry := ledger.Entry{Leaf: leaf.AppendCanonical(nil), Payload: payload}
	r.n++
	if !record.Decision.Outcome.Allowed() || r.random.IntN(5) > 0 {
		return entry, nil, nil
	}
	a := &aver.Activity{
		Kind: aver.KindActivity, Time: r.now, Semantics: aver.Semantics, Authority: record.Authority, PEP: record.PEP,
		EvaluationID: record.ID, Decision: &at, Status: aver.ActivityCompleted, Report: aver.Digest(nil), Salt: record.Salt,
		Continuity: &aver.Continuity{State: aver.Held, Until: r.now},
	}
	a.ID = r.uuid()
	payload, err := a.Canonical()
	if err != nil {
		return entry, nil, err
	}
	leaf = aver.NewLeaf(a.Kind, a.ID, a.Time, payload)
	leaf.Type = string(a.Status)
	r.n++
	return entry, &ledger.Entry{Leaf: leaf.AppendCanonical(nil), Payload: payload}, nil
}

func (r *records) record() *aver.Record {
	number := int(r.zipf.Uint64())
	kind := benchKinds[number%len(benchKinds)]
	actor := aver.Ref{Type: string(kind), ID: fmt.Sprintf("%s-%d", kind, number)}
	workflow := benchWorkflows[number%len(benchWorkflows)]
	action := workflow + "." + benchVerbs[r.random.IntN(len(benchVerbs))]
	outcome := r.outcome()
	request := aver.Request{
		Subject: aver.Party{Ref: actor}, Action: aver.Action{Name: action, Properties: aver.Properties{"tool": workflow + "-api"}},
		Resource: aver.Party{Ref: aver.Ref{Type: workflow, ID: fmt.Sprintf("r-%d", r.random.IntN(200_000))},
			Properties: aver.Properties{"amount": int64(r.random.IntN(1_000_000)), "region": []string{"EU", "US", "APAC"}[r.random.IntN(3)]}},
		Context: map[string]any{"workflow": workflow, "session": fmt.Sprintf("s-%d", r.n/40), "trace": r.trace()},
	}
	out := &aver.Record{
		ID: r.uuid(), Kind: aver.KindDecision, Time: r.now, Semantics: aver.Semantics, Engine: "cedar-go/v1.9.0",
		Authority: aver.TreeHead{Root: "FM4m2GWAuxcyJwZuh24FD+fuWgfEW8R4dcuDVdgva64=", Size: 214 + r.n/5000}, Policies: aver.Digest([]byte{byte(r.n / 100_000)}),
		PEP:  aver.PEP{Credential: workflow + "-gateway", RequestID: fmt.Sprintf("%016x%016x", r.random.Uint64(), r.random.Uint64())},
		Full: aver.Digest([]byte(action)), Salt: "MTYgcmFuZG9tIGJ5dGVzMQ",
	}
	d := &out.Decision
	d.Outcome = outcome
	d.Actor = aver.Actor{Ref: actor, Kind: kind}
	policies := []string{workflow + "/" + action, "baseline/registered"}
	d.Frames = []aver.Frame{{As: aver.FrameActor, Allowed: outcome != aver.Denied, Policies: policies}}
	if kind == aver.AIAgent {
		user := aver.Ref{Type: "user", ID: fmt.Sprintf("user-%d", r.random.IntN(5000))}
		grant := fmt.Sprintf("g-%s-%d", user.ID, number%10)
		request.Context["on_behalf_of"] = map[string]any{"type": user.Type, "id": user.ID}
		request.Context["delegation"] = []any{grant}
		d.Frames = append(d.Frames, aver.Frame{As: aver.FrameDelegator, Entity: user, Allowed: true, Policies: policies[:1]}, aver.Frame{As: aver.FrameGrant, Grant: grant, Allowed: true})
		d.Counters = []aver.Counter{{Grant: grant, Name: "uses", Before: 1, After: 2, Max: 100}}
	}
	switch outcome {
	case aver.Denied:
		d.Reasons = []aver.Reason{{Code: aver.ReasonForbidden, Policy: workflow + "/limits"}, {Code: aver.ReasonLimit, Grant: "g-1", Detail: fmt.Sprintf("uses: %d of 100 used, 1 asked", r.random.IntN(100))}}
	case aver.Escalated:
		d.Reasons = []aver.Reason{{Code: aver.ReasonEscalate, Policy: workflow + "/four-eyes"}}
		d.Requirements = []aver.Requirement{{Gate: aver.GateEscalate, Policy: workflow + "/four-eyes", Approvers: []string{"duty"}, Approvals: 1, Within: 3600}}
	case aver.Challenged:
		d.Reasons = []aver.Reason{{Code: aver.ReasonChallenge, Policy: workflow + "/fresh-login"}}
	}
	out.Request = request.AppendCanonical(nil)
	return out
}

// queries are ten that people would ask, and two counts.
func (r *records) queries() []report.SearchQuery {
	late := r.first + (r.now-r.first)*2/3
	trace := r.traces[len(r.traces)/2]
	list := []report.SearchQuery{}
	for _, q := range []string{
		"actor:ai_agent/ai_agent-12",
		"actor:ai_agent/ai_agent-12 outcome:denied",
		"outcome:escalated action:payments.* -policy:baseline/legacy after:" + late.String(),
		"resource:payments/r-1234*",
		"grant:g-user-17-* -outcome:permitted",
		"trace:" + trace,
		"kind:ai_agent allowed:true -activity:* workflow:cloud",
		"resource.amount:>995000 resource.region:EU outcome:denied",
		`"is used up" kind:service_account`,
		fmt.Sprintf("session:s-%d OR origin:user/user-77", r.n/80),
	} {
		list = append(list, report.SearchQuery{Query: q})
	}
	return append(list, report.SearchQuery{Query: "", Count: true}, report.SearchQuery{Query: "outcome:denied kind:ai_agent", Count: true})
}
