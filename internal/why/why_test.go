package why_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/policy"
	"github.com/aver-authz/aver/internal/why"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// start is when the first event happens; each comes a minute after the one before.
const start = aver.Time(1_790_000_000_000) // 2026-09-21T14:13:20Z

const minute = aver.Time(60_000)

// now is when requests are decided.
const now = start + 240*minute + 318

func ref(typ, id string) aver.Ref { return aver.Ref{Type: typ, ID: id} }

// company makes the authority state of a treasury, by real events.
func company(t testing.TB) *authority.State {
	t.Helper()
	st := authority.New()
	do := func(by, reason string, typ aver.EventType, data any) {
		t.Helper()
		e, err := aver.NewEvent(typ, data)
		if err != nil {
			t.Fatal(err)
		}
		n := st.Size()
		e.ID = fmt.Sprintf("019a0000-0000-7000-8000-%012d", n)
		e.Time, e.Salt, e.Reason = start+aver.Time(n)*minute, strings.Repeat("A", 22), reason
		e.By = aver.By{Name: by, Method: "bearer"}
		if st, err = st.Apply(&e); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"guard", "payments"} {
		b, err := policy.LoadDir(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		files := map[string]string{}
		for name, text := range b.Files() {
			files[name] = string(text)
		}
		do("carol", "", aver.EventPolicyPublished, aver.PolicyPublished{Name: b.Name(), Digest: b.Digest(), Files: files})
		do("dave", "change CHG-118", aver.EventPolicyActivated, aver.PolicyRef{Name: b.Name(), Digest: b.Digest()})
	}
	analysts := ref("group", "treasury-analysts")
	do("admin", "", aver.EventEntityPut, aver.Entity{Ref: analysts})
	for _, user := range []aver.Identity{
		{Ref: ref("user", "alice"), Name: "Alice Moreau", Parents: []aver.Ref{analysts}},
		{Ref: ref("user", "bert"), Properties: aver.Properties{"travelling": true}, Parents: []aver.Ref{analysts}},
	} {
		user.Kind = aver.HumanUser
		do("hr-sync", "", aver.EventIdentityRegistered, user)
	}
	for _, id := range []string{"orchestrator", "payments-agent"} {
		do("admin", "ticket AI-7", aver.EventIdentityRegistered, aver.Identity{
			Ref: ref("ai_agent", id), Kind: aver.AIAgent, Owner: "treasury", Purpose: "settle invoices",
		})
	}
	grant := func(id string, from, to aver.Ref, edit func(*aver.Grant)) {
		g := aver.Grant{
			ID: id, From: from, To: to, Purpose: "settle invoices",
			Actions: []string{"payment.prepare", "payment.approve"}, Resources: []aver.ResourceScope{{Type: "payment"}},
		}
		edit(&g)
		do("admin", "", aver.EventGrantIssued, g)
	}
	agent := ref("ai_agent", "payments-agent")
	grant("g-alice", ref("user", "alice"), ref("ai_agent", "orchestrator"), func(g *aver.Grant) {
		g.Depth, g.Expires, g.Revokers = 1, start+600*minute, []aver.Ref{ref("group", "treasury-leads")}
	})
	grant("g-agent", ref("ai_agent", "orchestrator"), agent, func(g *aver.Grant) {
		g.Parent, g.Expires = "g-alice", start+480*minute
		g.Condition = `resource.amount <= 50000 && (context.aver.now < datetime("2026-10-01") || resource has urgent)`
		g.Limits = &aver.GrantLimits{Uses: 10, Sums: []aver.SumLimit{{Attribute: "resource.amount", Max: 100_000}}}
	})
	grant("g-short", ref("user", "alice"), agent, func(g *aver.Grant) { g.Expires = start + 120*minute })
	grant("g-bert", ref("user", "bert"), agent, func(*aver.Grant) {})
	grant("g-gone", ref("user", "alice"), agent, func(*aver.Grant) {})
	do("alice", "the project ended", aver.EventGrantRevoked, aver.GrantRef{ID: "g-gone"})
	do("erp", "", aver.EventEntityPut, aver.Entity{Ref: ref("payment", "p-77"), Properties: aver.Properties{"amount": int64(48_200)}})
	return st
}

type decided struct {
	st          *authority.State
	record      *aver.Record
	disclosures []string
}

// decide makes the record of a decision, the way the decision point does.
func decide(t testing.TB, st *authority.State, used pdp.Usage, request string) decided {
	t.Helper()
	v, err := aver.ParseJSON([]byte(request), aver.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	req, err := aver.ParseRequest(v)
	if err != nil {
		t.Fatal(err)
	}
	q := pdp.NewQuery(req)
	d, evidence := pdp.Decide(st, q, now, used)
	record, disclosures, err := pdp.NewRecord(st, q, d, evidence, pdp.Circumstances{
		ID: "019a0000-0001-7000-8000-000000000077", Time: now,
		Head:   aver.TreeHead{Size: st.Size(), Root: "HvDWoEo4Yb0fTPZCPGoZvqXkd6KSM4U0X8Di7MnfIM8="},
		PEP:    aver.PEP{Credential: "sap-gateway", RequestID: "r-1"},
		Random: rand.NewChaCha8([32]byte{}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return decided{st, record, disclosures}
}

var place = why.Place{Origin: "aver.example/decisions", Index: 1_284_117, LeafHash: "XR8IrnfCS5Dlq6m3zW8ICnHcQYSCqCNHu0mbI2o8kU8="}

func (d decided) explain(t testing.TB) *why.Explanation {
	t.Helper()
	e, err := why.Explain(d.st, d.record, d.disclosures, place)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

const (
	agent = `"subject":{"type":"ai_agent","id":"payments-agent"},"action":{"name":"payment.approve"}`
	alice = `"subject":{"type":"user","id":"alice"}`
	chain = `"delegation":["g-alice","g-agent"]`
	p77   = `"resource":{"type":"payment","id":"p-77","properties":{"amount":1,"iban":"DE02 1203 0000 0000 2020 51"}}`
)

func payment(id, properties string) string {
	return fmt.Sprintf(`"resource":{"type":"payment","id":%q,"properties":{%s}}`, id, properties)
}

// cases are decisions whose explanations are pinned. Each says what its text has
// to say at the least, whatever its words.
var cases = []struct {
	name    string
	request string
	used    pdp.Usage
	outcome aver.Outcome
	says    []string
}{
	{
		name: "permitted", outcome: aver.Permitted, used: pdp.Usage{{Grant: "g-agent", Name: "uses"}: 3, {Grant: "g-agent", Name: "resource.amount"}: 41_000},
		request: `{` + agent + `,` + payment("p-12", `"amount":9000,"iban":"DE02","noise":{"a":1}`) + `,"context":{` + chain + `,"on_behalf_of":{"type":"user","id":"alice"},"note":"INV-9","trace":"t"}}`,
		says: []string{"payments-agent (AI agent) asked to approve payment p-12 for alice: PERMITTED", "limit on uses: 3 of 10 before, 4 after",
			"resource.amount: 41000 of 100000 before, 50000 after", "Sent and not kept, since no policy that could match reads it: context.trace, resource.noise"},
	},
	{
		name: "denied", outcome: aver.Denied,
		request: `{` + agent + `,` + payment("p-13", `"amount":200000,"iban":"DE02"`) + `,"context":{"delegation":["g-bert"]}}`,
		says:    []string{"Policy payments/travelling forbids it for bert, for whom it is asked", "principal.travelling false (was true)"},
	},
	{
		name: "not-permitted", outcome: aver.Denied,
		request: `{"subject":{"type":"user","id":"mallory"},"action":{"name":"payment.approve"},` + payment("p-14", `"amount":200000,"iban":"DE02"`) + `}`,
		says:    []string{"mallory (human user, not registered)", "No policy permits it", `principal in group::"treasury-analysts" and resource.amount <= 100000 (not known: resource.amount was not kept), by policy payments/analysts`, "claimed by the caller (PEP sap-gateway)"},
	},
	{
		name: "challenged", outcome: aver.Challenged,
		request: `{` + alice + `,"action":{"name":"payment.approve"},` + payment("p-15", `"amount":20000,"iban":"DE02","new_beneficiary":true`) + `,"context":{"authentication":{"acr":"pwd"}}}`,
		says:    []string{"authenticated again with acr phr or phrh, no more than 5 minutes before", "approved by one of treasury-leads or cfo, within 1 hour", `context.authentication.acr: "pwd"`},
	},
	{
		name: "escalated", outcome: aver.Escalated,
		request: `{` + agent + `,` + p77 + `,"context":{` + chain + `,"on_behalf_of":{"type":"user","id":"alice"}}}`,
		says: []string{"payments-agent (AI agent) asked to approve payment p-77 for alice: ESCALATED", "approved by one of treasury-leads or cfo",
			"Payments of 10,000 and more need a second pair of eyes.", "48200", "registered (event 15, by erp", "payments.cedar:11", "change CHG-118",
			"resource.amount below 10000 (was 48200)", "AI-02", "g-alice", "g-agent", "revocable by alice or treasury-leads"},
	},
	{
		name: "restricted", outcome: aver.Restricted,
		request: `{` + alice + `,"action":{"name":"payment.read"},` + p77 + `,"context":{"ip":{"__extn":{"fn":"ip","arg":"192.0.2.7"}},"supported_obligations":["redact"]}}`,
		says:    []string{`carry out the obligation redact {"fields":["iban"]}`, `context.ip in the range 10.0.0.0/8 (was 192.0.2.7)`},
	},
	{
		name: "unsupported", outcome: aver.Denied,
		request: `{` + alice + `,"action":{"name":"payment.read"},` + p77 + `,"context":{}}`,
		says:    []string{`a PEP that declares it can carry out "redact"`, "context.ip present"},
	},
	{
		name: "partially-authorized", outcome: aver.PartiallyAuthorized,
		request: `{` + alice + `,"action":{"name":"payment.approve"},"resource":{"type":"payment","id":"batch-3","properties":{"iban":"DE02"}},"context":{"parts":[{"id":"i-1","properties":{"amount":900}},{"id":"i-2","properties":{"amount":12000}},{"id":"i-3","properties":{"amount":7,"frozen":true}}]}}`,
		says:    []string{"in 3 parts", "part i-1 may go ahead: permitted", "part i-2 may not go ahead: escalated", "part i-3 may not go ahead: denied", "resource.amount in part i-2"},
	},
	{
		name: "chain-broken", outcome: aver.Denied,
		request: `{` + agent + `,` + payment("p-16", `"amount":5,"iban":"DE02"`) + `,"context":{"delegation":["g-agent"],"on_behalf_of":{"type":"user","id":"alice"}}}`,
		says:    []string{"The chain of delegation is broken at grant g-agent", "showed 1 grant: orchestrator > payments-agent. That chain does not hold", "joins the one before it"},
	},
	{
		name: "grant-expired", outcome: aver.Denied,
		request: `{` + agent + `,` + payment("p-17", `"amount":5,"iban":"DE02"`) + `,"context":{"delegation":["g-short"]}}`,
		says:    []string{"grant g-short not expired (it expired 2026-09-21 16:13:20 UTC)", "The chain of grants has to hold as well, and it does not."},
	},
	{
		name: "grant-revoked", outcome: aver.Denied,
		request: `{` + agent + `,` + payment("p-17", `"amount":5,"iban":"DE02"`) + `,"context":{"delegation":["g-gone"]}}`,
		says:    []string{`grant g-gone not revoked (it was, event 14, by alice, 2026-09-21 14:27:20 UTC: "the project ended")`},
	},
	{
		name: "grant-too-narrow", outcome: aver.Denied,
		request: `{"subject":{"type":"ai_agent","id":"payments-agent"},"action":{"name":"payment.cancel"},` + payment("p-18", `"amount":60000,"iban":"DE02"`) + `,"context":{` + chain + `}}`,
		says:    []string{"a grant that covers payment.cancel (g-agent covers payment.prepare and payment.approve) and resource.amount at most 50000 (was 60000)"},
	},
	{
		name: "limit-exhausted", outcome: aver.Denied, used: pdp.Usage{{Grant: "g-agent", Name: "uses"}: 3, {Grant: "g-agent", Name: "resource.amount"}: 99_000},
		request: `{` + agent + `,` + payment("p-19", `"amount":9000,"iban":"DE02"`) + `,"context":{` + chain + `}}`,
		says:    []string{"grant g-agent with enough of its limit left", "resource.amount at most 1000 (that much was left)", "The limits of the grants have to suffice as well, and they do not."},
	},
	{
		name: "policy-error", outcome: aver.Denied,
		request: `{` + alice + `,"action":{"name":"payment.approve"},` + payment("p-20", `"amount":5`) + `}`,
		says:    []string{"Policy payments/frozen-accounts could not be evaluated", `values with which resource.iban like "XX*" can be evaluated (resource.iban: absent)`},
	},
	{
		name: "unregistered-agent", outcome: aver.Denied,
		request: `{"subject":{"type":"ai_agent","id":"ghost"},"action":{"name":"payment.approve"},` + payment("p-21", `"amount":5,"iban":"DE02"`) + `}`,
		says:    []string{"ghost (AI agent, not registered)", "context.aver.actor.registered true (was false)", "Aver, from its registry, where nothing stands of ghost"},
	},
	{
		name: "invalid-request", outcome: aver.Denied,
		request: `{` + alice + `,"action":{"name":"payment.approve"}}`,
		says:    []string{"/resource/type: is required"},
	},
}

// An explanation reads as a person would tell it, and names actor, chain, policy
// and version, values, who vouches for each, and what would have changed it.
func TestExplanations(t *testing.T) {
	st := company(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := decide(t, st, c.used, c.request)
			if d.record.Decision.Outcome != c.outcome {
				t.Fatalf("outcome %s, want %s: %+v", d.record.Decision.Outcome, c.outcome, d.record.Decision.Reasons)
			}
			e := d.explain(t)
			if e.Again.Verdict != "match" {
				t.Errorf("decided again: %+v", e.Again)
			}
			pin(t, c.name, e, c.says)
		})
	}
}

// What was withheld is said to be withheld; nothing is guessed from its absence.
func TestWithheldValue(t *testing.T) {
	st := company(t)
	d := decide(t, st, nil, `{`+agent+`,`+p77+`,"context":{`+chain+`}}`)
	d.disclosures = nil
	e := d.explain(t)
	if e.Again.Verdict != "undetermined" {
		t.Errorf("decided again: %+v", e.Again)
	}
	pin(t, "withheld", e, []string{"undetermined, since this is missing", "Withheld from this page: /resource/properties/_sd/"})
	if text := e.String(); strings.Contains(text, "DE02") || strings.Contains(text, "resource.iban: absent") {
		t.Errorf("the text betrays or denies the value:\n%s", text)
	}

	denied := decide(t, st, nil, `{`+alice+`,"action":{"name":"payment.approve"},`+payment("p-9", `"amount":5,"iban":"XX1"`)+`}`)
	denied.disclosures = nil
	e = denied.explain(t)
	pin(t, "withheld-denied", e, []string{`resource.iban like "XX*"`, "resource.iban: withheld", "not known: resource.iban is withheld", "Policy payments/frozen-accounts forbids it",
		"claimed by the caller (PEP sap-gateway); withheld, the record holds its digest"})
}

// A record that does not follow from its state is explained as it stands, and
// the explanation says that it does not follow.
func TestMismatchIsSaid(t *testing.T) {
	d := decide(t, company(t), nil, `{`+agent+`,`+p77+`,"context":{`+chain+`}}`)
	d.record.Decision.Outcome = aver.Permitted
	d.record.Decision.Requirements = nil
	e := d.explain(t)
	if e.Again.Verdict != "mismatch" || e.Again.Outcome != "escalated" {
		t.Errorf("decided again: %+v", e.Again)
	}
	pin(t, "mismatch", e, []string{"NOT THE SAME, it came out escalated", "CAREFUL"})
}

// A record of semantics that this build does not have is told from what it says
// itself.
func TestUnknownSemantics(t *testing.T) {
	d := decide(t, company(t), nil, `{`+agent+`,`+p77+`,"context":{`+chain+`}}`)
	d.record.Semantics = "aver/9"
	pin(t, "unknown-semantics", d.explain(t), []string{"semantics aver/9", "ESCALATED", "payments/four-eyes"})
}

// The state has to be the one that the record cites.
func TestAnotherState(t *testing.T) {
	d := decide(t, company(t), nil, `{`+agent+`,`+p77+`}`)
	d.st = authority.New()
	if _, err := why.Explain(d.st, d.record, d.disclosures, place); err == nil || !strings.Contains(err.Error(), "the state holds 0") {
		t.Errorf("error %v", err)
	}
	if _, err := why.Explain(company(t), d.record, []string{"!"}, place); err == nil {
		t.Error("a disclosure that can't be read is no error")
	}
}

// The same record gives the same bytes.
func TestStableBytes(t *testing.T) {
	for _, c := range cases {
		first := decide(t, company(t), c.used, c.request).explain(t).String()
		for range 5 {
			if again := decide(t, company(t), c.used, c.request).explain(t).String(); again != first {
				t.Fatalf("%s differs:\n%s\n%s", c.name, first, again)
			}
		}
	}
}

// Records are read from logs that somebody may have tampered with. Whatever they
// say, there is an explanation or an error.
func TestHostileRecords(t *testing.T) {
	st := company(t)
	r := rand.New(rand.NewPCG(3, 4))
	explained := 0
	for i := range 800 {
		c := cases[i%len(cases)]
		d := decide(t, st, c.used, c.request)
		payload, err := aver.ParseJSON(d.record.AppendCanonical(nil), aver.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		var nodes []any // to take values from
		var collect func(any)
		collect = func(v any) {
			nodes = append(nodes, v)
			switch v := v.(type) {
			case map[string]any:
				for _, name := range slices.Sorted(maps.Keys(v)) {
					collect(v[name])
				}
			case []any:
				for _, e := range v {
					collect(e)
				}
			}
		}
		collect(payload)
		for range 1 + r.IntN(3) {
			switch at := nodes[r.IntN(len(nodes))].(type) {
			case map[string]any:
				names := slices.Sorted(maps.Keys(at))
				if len(names) == 0 {
					break
				}
				name := names[r.IntN(len(names))]
				switch r.IntN(4) {
				case 0:
					delete(at, name)
				case 1:
					at["_sd"] = []any{"x/_sd/y", ""}
				default:
					at[name] = nodes[r.IntN(len(nodes))]
				}
			case []any:
				if len(at) > 0 {
					at[r.IntN(len(at))] = nodes[r.IntN(len(nodes))]
				}
			}
		}
		text, err := json.Marshal(payload)
		if err != nil {
			continue // it holds itself
		}
		var record aver.Record
		if json.Unmarshal(text, &record) != nil {
			continue
		}
		if e, err := why.Explain(st, &record, d.disclosures, place); err == nil {
			explained++
			if e.String() == "" {
				t.Error("an empty explanation")
			}
		}
	}
	if explained < 200 {
		t.Errorf("only %d of the records could be explained", explained)
	}
}

// pin compares an explanation with its golden files, and both forms with what
// they have to say.
func pin(t *testing.T, name string, e *why.Explanation, says []string) {
	t.Helper()
	text := e.String()
	for _, want := range says {
		if !strings.Contains(text, want) {
			t.Errorf("the text does not say %q:\n%s", want, text)
		}
	}
	var written strings.Builder
	if err := e.WriteText(&written); err != nil || written.String() != text {
		t.Errorf("WriteText: %v", err)
	}
	js, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	for file, got := range map[string]string{name + ".txt": text, name + ".json": string(js) + "\n"} {
		file = filepath.Join("testdata", file)
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s differs (run with -update and read the diff); got\n%s", file, got)
		}
	}
}
