package pdp_test

import (
	"crypto/rand"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/policy"
)

// fuzzBundle has policies of every kind: they read values of all types, fail, climb groups, gate, retain and withhold.
var fuzzBundle = map[string][]byte{
	"bundle.yaml": []byte("name: test\nretain: [context.ticket, resource.note]\nsensitive: [resource.iban, context.who.name, principal.email]\n"),
	"main.cedar": []byte(`
@id("pay") permit (principal, action == Action::"pay", resource is payment) when { resource.amount <= 1000 };
@id("read") permit (principal, action == Action::"read", resource);
@id("group") permit (principal in group::"clerks", action, resource) when { context has ticket };
@id("odd") forbid (principal, action, resource) when { context has odd && {a: context.odd.a, b: context.odd.b.c, d: principal.e} == {a: 1, b: 2, d: 3} };
@id("in") forbid (principal, action, resource) when { context has groups && principal in context.groups };
@id("decimal") forbid (principal, action, resource) when { context has score && context.score.lessThan(decimal("0.5")) };
@id("iban") forbid (principal, action, resource) when { resource has iban && resource.iban like "XX*" };
@id("name") forbid (principal, action, resource) when { context has who && context.who has name && context.who.name == "Mallory" };
@id("owner") forbid (principal, action, resource) when { resource has owner && resource.owner has blocked && resource.owner.blocked };
@id("mfa") @gate("challenge") @acr_values("mfa") forbid (principal, action == Action::"pay", resource) when { resource.amount > 100 } unless { context has mfa && context.mfa };
@id("eyes") @gate("escalate") @approvers("leads") forbid (principal, action == Action::"pay", resource) when { resource.amount > 500 };
@id("mask") @gate("restrict") @obligation("mask") forbid (principal, action, resource) when { resource has secret && resource.secret };
@id("part") forbid (principal, action, resource) when { context.aver has part && context.aver.part.id == "no" };`),
}

// Whatever is asked: the decision and its evidence are the same each time, nothing that was sent is changed, and the
// record decides to the same bytes again.
func FuzzDecide(f *testing.F) {
	for _, seed := range []string{
		pay(aliceJSON, 50, ""), pay(aliceJSON, 600, `"mfa":true`), pay(botJSON, 200, `"delegation":["g"]`), pay(subJSON, 20, `"delegation":["g","g2"],"mfa":true`),
		pay(aliceJSON, 5, `"parts":["a",{"id":"no","properties":{"amount":-1,"iban":"DE"}}],"supported_obligations":["mask"]`),
		pay(aliceJSON, 5, `"odd":{"a":1,"b":{"__entity":{"type":"t","id":"i"}}},"groups":[{"__entity":{"type":"group","id":"clerks"}},1,"x"]`),
		pay(aliceJSON, 5, `"score":{"__extn":{"fn":"decimal","arg":"0.25"}},"who":{"name":"Mallory","n":null},"ticket":[1,1,[]],"on_behalf_of":{"type":"user","id":"bob"}`),
		`{"subject":{"type":"payment","id":"p","properties":{"email":"e"}},"action":{"name":"read","properties":{"tool":"t","name":"x"}},"resource":{"type":"payment","id":"p","properties":{"owner":{"__entity":{"type":"user","id":"alice"}},"secret":true,"iban":{"a":1},"note":{}}}}`,
		`{"subject":{"type":"user"}}`, `{"subject":{"type":"user","id":"a","properties":{"__entity":1,"b":2}},"action":{"name":"x"},"resource":{"type":"t","id":"i"}}`,
	} {
		f.Add(seed)
	}
	w, used := fuzzWorld(f)
	f.Fuzz(func(t *testing.T, text string) { checkDecision(t, w, used, text) })
}

// The same for requests that are all well-formed and hold what the policies read.
func TestDecideRandomRequests(t *testing.T) {
	w, used := fuzzWorld(t)
	names := []string{"amount", "owner", "secret", "iban", "note", "email", "e", "a", "b", "c", "name", "id", "ticket", "odd", "groups", "score", "who", "mfa", "blocked", "tool"}
	values := []any{int64(1), int64(-5), int64(50), int64(250), int64(1<<53 - 1), "", "XX1", "Mallory", true, false, nil, []any{}, []any{"x", int64(1), []any{}},
		map[string]any{"__entity": map[string]any{"type": "user", "id": "alice"}}, map[string]any{"__entity": map[string]any{"type": "group", "id": "staff"}},
		map[string]any{"__extn": map[string]any{"fn": "decimal", "arg": "0.25"}}, map[string]any{"__extn": map[string]any{"fn": "ip", "arg": "nonsense"}},
		[]any{map[string]any{"__entity": map[string]any{"type": "group", "id": "clerks"}}, map[string]any{"__entity": map[string]any{"type": "ai_agent", "id": "bot"}}}}
	rapid.Check(t, func(rt *rapid.T) {
		var object func(depth int) map[string]any
		object = func(depth int) map[string]any {
			out := map[string]any{}
			for range rapid.IntRange(0, 5).Draw(rt, "members") {
				name := rapid.SampledFrom(names).Draw(rt, "name")
				if depth > 0 && rapid.IntRange(0, 3).Draw(rt, "nested") == 0 {
					out[name] = object(depth - 1)
				} else {
					out[name] = rapid.SampledFrom(values).Draw(rt, "value")
				}
			}
			return out
		}
		party := func() map[string]any {
			ref := rapid.SampledFrom([]aver.Ref{alice, bot, sub, {Type: "payment", ID: "p"}, {Type: "group", ID: "clerks"}}).Draw(rt, "party")
			return map[string]any{"type": ref.Type, "id": ref.ID, "properties": object(2)}
		}
		context := object(2)
		if rapid.Bool().Draw(rt, "delegated") {
			context["delegation"] = rapid.SampledFrom([]any{[]any{"g"}, []any{"g", "g2"}, []any{"g2"}, []any{"g", "g"}, []any{"none", "g2"}}).Draw(rt, "chain")
		}
		if rapid.Bool().Draw(rt, "parts") {
			context["parts"] = []any{"x", map[string]any{"id": "no", "properties": object(2)}, map[string]any{"id": "y", "properties": object(1)}}
		}
		if rapid.Bool().Draw(rt, "supports") {
			context["supported_obligations"] = []any{"mask"}
		}
		if rapid.Bool().Draw(rt, "acts for") {
			context["on_behalf_of"] = party()
		}
		action := map[string]any{"name": rapid.SampledFrom([]string{"pay", "read"}).Draw(rt, "action"), "properties": object(1)}
		resource := party()
		if rapid.IntRange(0, 3).Draw(rt, "plain") > 0 { // else few get past what fails
			for _, name := range []string{"odd", "groups", "score", "who"} {
				delete(context, name)
			}
			context["mfa"] = rapid.Bool().Draw(rt, "mfa")
			properties := resource["properties"].(map[string]any)
			properties["amount"] = rapid.SampledFrom([]any{int64(5), int64(250), int64(600), "x"}).Draw(rt, "amount")
			properties["secret"] = rapid.Bool().Draw(rt, "secret")
			delete(properties, "owner")
			delete(properties, "iban")
			resource["type"] = "payment"
		}
		request := map[string]any{"subject": party(), "action": action, "resource": resource, "context": context}
		if list, _ := context["delegation"].([]any); len(list) > 0 && rapid.Bool().Draw(rt, "joined") { // else few chains hold
			last := map[any]aver.Ref{"g": bot, "g2": sub}[list[len(list)-1]]
			request["subject"].(map[string]any)["type"], request["subject"].(map[string]any)["id"] = last.Type, last.ID
			if _, ok := context["on_behalf_of"]; ok {
				context["on_behalf_of"] = rapid.SampledFrom([]any{map[string]any{"type": "user", "id": "alice"}, map[string]any{"type": "user", "id": "alice", "name": "A"}}).Draw(rt, "origin")
			}
		}
		checkDecision(rt, w, used, string(aver.AppendCanonical(nil, request)))
	})
}

func fuzzWorld(t testing.TB) (*world, pdp.Usage) {
	w := newWorld(t, "")
	b, err := policy.Load(fuzzBundle, "test")
	if err != nil {
		t.Fatal(err)
	}
	w.publish(b)
	w.agent("bot", nil)
	w.agent("sub", aver.Properties{"e": 3})
	w.do(aver.EventEntityPut, aver.Entity{Ref: aver.Ref{Type: "group", ID: "clerks"}, Parents: []aver.Ref{{Type: "group", ID: "staff"}, {Type: "group", ID: "paid"}}})
	w.do(aver.EventEntityPut, aver.Entity{Ref: alice, Parents: []aver.Ref{{Type: "group", ID: "clerks"}}, Properties: aver.Properties{"blocked": false}})
	w.grant(aver.Grant{ID: "g", From: alice, To: bot, Depth: 1, Condition: "resource.amount < 300", Limits: &aver.GrantLimits{Uses: 10, Sums: []aver.SumLimit{{Attribute: "resource.amount", Max: 1000}}}})
	w.grant(aver.Grant{ID: "g2", From: bot, To: sub, Parent: "g", Condition: "resource.amount < 300", Limits: &aver.GrantLimits{Uses: 10, Sums: []aver.SumLimit{{Attribute: "resource.amount", Max: 1000}}}})
	return w, pdp.Usage{{Grant: "g", Name: "uses"}: 9, {Grant: "g", Name: "resource.amount"}: 900}
}

func checkDecision(t rapid.TB, w *world, used pdp.Usage, text string) {
	t.Helper()
	v, err := aver.ParseJSON([]byte(text), aver.Limits{})
	if err != nil {
		return
	}
	req, err := aver.ParseRequest(v)
	if err != nil {
		return
	}
	digest := req.Digest()
	decide := func(req *aver.Request) (aver.Decision, *pdp.Evidence, string) {
		d, e := pdp.Decide(w.st, pdp.NewQuery(req), start+10_000, used)
		var seen strings.Builder
		seen.Write(d.AppendCanonical(nil))
		for _, fact := range e.Facts() {
			seen.WriteString(fact.String())
		}
		return d, e, seen.String()
	}
	q := pdp.NewQuery(req)
	d, evidence, first := decide(req)
	if q.Err() != nil && d.Outcome != aver.Denied {
		t.Fatalf("%s: %v, and yet %s", text, q.Err(), d.Outcome)
	}
	if _, _, again := decide(req); again != first {
		t.Fatalf("%s: decided\n%s\nand then\n%s", text, first, again)
	}
	record, disclosures, err := pdp.NewRecord(w.st, q, d, evidence, pdp.Circumstances{ID: "id", Time: start + 10_000, Random: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	if req.Digest() != digest {
		t.Fatalf("%s: the request was changed to %s", text, aver.AppendCanonical(nil, req.JSON()))
	}
	checkReadsBack(t, record)
	kept, missing, err := pdp.Disclose(record.Request, disclosures)
	if err != nil || len(missing) > 0 {
		t.Fatalf("%s: kept as %s, missing %v, %v", text, record.Request, missing, err)
	}
	_, evidenceAgain, replayed := decide(kept)
	if replayed != first {
		t.Fatalf("%s: decided\n%s\nand from the record\n%s", text, first, replayed)
	}
	if lacks := evidenceAgain.Lacks(record.Omitted); len(lacks) > 0 {
		t.Fatalf("%s: the record lacks %q", text, lacks)
	}
}

// checkReadsBack checks that a record reads back as it was decided, though it does not say what follows from the rest.
func checkReadsBack(t rapid.TB, record *aver.Record) {
	t.Helper()
	payload := record.AppendCanonical(nil)
	back, err := aver.ParseRecord(payload)
	if err != nil {
		t.Fatalf("%s: %v", payload, err)
	}
	want := *record
	want.Decision.Reasons = withoutText(want.Decision.Reasons)
	want.Decision.Parts = slices.Clone(want.Decision.Parts)
	for i := range want.Decision.Parts {
		p := &want.Decision.Parts[i]
		p.Reasons = withoutText(p.Reasons)
	}
	if d := cmp.Diff(&want, back, cmpopts.EquateEmpty()); d != "" {
		t.Fatalf("%s reads back otherwise (-want +got):\n%s", payload, d)
	}
}

func withoutText(reasons []aver.Reason) []aver.Reason {
	out := slices.Clone(reasons)
	for i := range out {
		out[i].Text = ""
	}
	return out
}

// cedar-go evaluates the members of a record in the order of a map and stops at the first that fails. Neither the error
// nor the entities that a decision cites may depend on that.
func TestFailedPolicyCitesTheSameEachTime(t *testing.T) {
	w := newWorld(t, `
		@id("odd") permit (principal, action, resource)
		when { {a: context.absent, b: context.other.name, c: context.third.name} == {a: 1, b: "", c: ""} };`)
	req := request(t, `{"subject":{"type":"user","id":"ann"},"action":{"name":"read"},"resource":{"type":"document","id":"1"},
		"context":{"other":{"__entity":{"type":"thing","id":"o"}},"third":{"__entity":{"type":"thing","id":"t"}}}}`)
	seen := map[string]bool{}
	for range 200 {
		d, e := pdp.Decide(w.st, pdp.NewQuery(req), start+10_000, nil)
		text := d.Frames[0].Errors[0].Message
		for _, f := range e.Facts() {
			text += " " + f.String()
		}
		seen[text] = true
	}
	if len(seen) != 1 {
		t.Errorf("%d different sets of facts and errors for one request: %v", len(seen), seen)
	}
}
