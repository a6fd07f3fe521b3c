package pdp_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/policy"
)

// readers are policies that read the context in all ways in which they can, most
// for some requests only, so that there are many groups of them.
var readers = []string{
	`@id("a") forbid (principal, action == Action::"a", resource) when { context has x && context.x == 1 };`,
	`@id("b") forbid (principal, action == Action::"b", resource) when { context has deep && context.deep has x && context.deep.x == 1 };`,
	`@id("ab") forbid (principal, action in [Action::"a", Action::"b"], resource is doc) when { resource has secret && resource.secret };`,
	`@id("user") forbid (principal, action, resource is user) when { resource has secret && resource.secret };`,
	`@id("whole") forbid (principal, action == Action::"a", resource) when { context == {aver: context.aver} };`,
	`@id("vouched") forbid (principal, action == Action::"b", resource) when { context.aver == {} || context.aver.hops == 2 };`,
	`@id("built") forbid (principal, action == Action::"a", resource) when { {c: context}.c has y && {c: context}.c.y == "no" };`,
	`@id("if") forbid (principal, action == Action::"b", resource) when { (if resource has secret then context else {x: 0}) has x };`,
	`@id("either") forbid (principal, action == Action::"c", resource) when { (if context has x then context.aver else {hops: 9}).hops == 1 };`,
	`@id("late") forbid (principal, action == Action::"c", resource) when { context.aver.now > datetime("2030-01-01") };`,
	`@id("signal") forbid (principal is user, action == Action::"c", resource) when { context.aver has signals && context.aver.signals has session };`,
	`@id("token") forbid (principal, action == Action::"c", resource) when { context.aver has token && context.aver.token.issuer like "https://bad*" };`,
	`@id("origin") forbid (principal is ai_agent, action, resource) when { context.aver.origin has y && context.aver.origin.y == "no" };`,
	`@id("chain") forbid (principal is ai_agent, action, resource) when { context.aver.chain.contains(resource) };`,
	`@id("part") forbid (principal, action, resource is batch) when { context.aver has part && context.aver.part has secret && context.aver.part.secret };`,
	`@id("asked") forbid (principal, action, resource) when { context.aver.action has y && context.aver.action.y == "no" };`,
	`@id("fails") forbid (principal, action == Action::"d", resource) when { context.x > 0 };`,
	`@id("tool") forbid (principal, action == Action::"d", resource) when { context.aver has tool && context.aver.tool == "hammer" };`,
	`@id("phr") @gate("challenge") @acr_values("phr") forbid (principal, action, resource is doc) unless { context has auth && context.auth.acr == "phr" };`,
	`@id("ask") @gate("escalate") @approvers("leads") forbid (principal, action == Action::"c", resource) when { context has x };`,
	`@id("o") @gate("restrict") @obligation("o") forbid (principal, action, resource is user) when { resource has y };`,
	`@id("sealed") @overridable("break_glass") forbid (principal, action == Action::"x", resource) when { context has deep };`,
}

// conditions are those of grants.
var conditions = []string{
	`context has limit && [context].contains(context) && context.limit < 5`, `!(context.aver has signals.device_risk)`,
	`(if context has limit then context else {limit: 0}).limit < 5`, `context.aver.hops < 2`, `!(resource has secret)`, `true`,
}

// readersWorld is a state with such policies, built anew.
func readersWorld(t testing.TB, policies, conditions []string) *world {
	w := &world{t: t, st: authority.New()}
	w.bundle("name: test\nretain: [context.ticket]\nsensitive: [resource.iban]\n"+
		"exceptions: [{kind: break_glass, max: 1h, approvers: [leads], reviewers: [leads], review_within: 24h}]\n", `@id("all") permit (principal, action, resource);`+strings.Join(policies, "\n"))
	w.agent("bot", nil)
	w.agent("sub", nil)
	w.exception()
	actions := []string{"a", "b", "c", "d", "x"}
	everything := []aver.ResourceScope{{Type: "doc"}, {Type: "batch"}, {Type: "user"}}
	w.grant(aver.Grant{ID: "g", From: alice, To: bot, Actions: actions, Resources: everything, Depth: 1, Condition: conditions[0]})
	w.grant(aver.Grant{ID: "h", From: bot, To: sub, Parent: "g", Actions: actions, Resources: everything, Condition: conditions[1]})
	w.grant(aver.Grant{
		ID: "n", From: alice, To: bot, Actions: actions, Resources: everything,
		Limits: &aver.GrantLimits{Sums: []aver.SumLimit{{Attribute: "context.amounts.eur", Max: 100}}},
	})
	w.signal("session-revoked", aver.Ref{Type: "session", ID: "s-1"}, "", nil)
	w.signal("risk-level-change", aver.Ref{Type: "device", ID: "d-1"}, "", map[string]any{"current_level": "HIGH"})
	return w
}

// exception gives eve an exception for documents.
func (w *world) exception() {
	w.t.Helper()
	for _, p := range [][2]string{{"alice", "staff"}, {"eve", "staff"}, {"boss", "leads"}} {
		w.do(aver.EventIdentityRegistered, aver.Identity{
			Ref: aver.Ref{Type: "user", ID: p[0]}, Kind: aver.HumanUser, Parents: []aver.Ref{{Type: "group", ID: p[1]}},
		})
	}
	w.do(aver.EventExceptionRequested, aver.ExceptionRequest{
		ID: "x-1", Kind: aver.BreakGlass, Subject: aver.Ref{Type: "user", ID: "eve"}, Actions: []string{"x"}, Resources: []aver.ResourceScope{{Type: "doc"}},
		Justification: "a patient in danger", IdentityConfirmed: "in person", Approver: aver.Ref{Type: "user", ID: "boss"}, Duration: 3600,
	})
	w.do(aver.EventExceptionActivated, aver.ExceptionRef{ID: "x-1"})
}

// readersRequest draws a request that such policies find something in.
func readersRequest(t *rapid.T) string {
	members := func(label string, of map[string][]string) string {
		var out []string
		for _, name := range sortedNames(of) {
			if v := rapid.SampledFrom(append([]string{"", "", ""}, of[name]...)).Draw(t, label+name); v != "" {
				out = append(out, fmt.Sprintf("%q:%s", name, v))
			}
		}
		return "{" + strings.Join(out, ",") + "}"
	}
	attributes := map[string][]string{"secret": {"true", "false"}, "y": {`"no"`, `"yes"`}, "iban": {`"DE1"`}, "junk": {`{"a":[1]}`}}
	context := map[string][]string{
		"x": {"1", "2", `"text"`}, "y": {`"no"`}, "deep": {`{"x":1,"z":2}`, `{"x":{"__entity":{"type":"user","id":"alice"}}}`, "3"},
		"auth": {`{"acr":"phr","x":1}`}, "limit": {"3", "7"}, "amounts": {`{"eur":3,"usd":4}`, `{"eur":101}`}, "ticket": {`"T-1"`}, "junk": {`{"a":{"b":[1,2]}}`},
		"session": {`{"id":"s-1","ip":"10.0.0.1"}`, `"s-2"`}, "device": {`{"id":"d-1","os":"x"}`, `{"id":"d-2"}`},
		"delegation": {`["g"]`, `["g","h"]`, `["n"]`}, "supported_obligations": {`["o"]`}, "null": {"null"},
		"parts": {`["p1","p2"]`, `["p1",{"id":"p2","properties":{"secret":true,"iban":"DE2","junk":1}}]`},
	}
	subject := rapid.SampledFrom([]string{`"user","id":"alice"`, `"user","id":"eve"`, `"ai_agent","id":"bot"`, `"ai_agent","id":"sub"`}).Draw(t, "subject")
	resource := rapid.SampledFrom([]string{`"doc","id":"1"`, `"batch","id":"1"`, `"user","id":"alice"`, `"user","id":"eve"`}).Draw(t, "resource")
	return fmt.Sprintf(`{"subject":{"type":%s,"properties":%s},"action":{"name":%q,"properties":%s},"resource":{"type":%s,"properties":%s},"context":%s}`,
		subject, members("s", attributes), rapid.SampledFrom([]string{"a", "b", "c", "d", "x"}).Draw(t, "action"),
		members("a", map[string][]string{"y": {`"no"`}, "tool": {`"hammer"`}}), resource, members("r", attributes), members("c", context))
}

func sortedNames(m map[string][]string) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// What is made of the context for policies is what they can read, and no less:
// aliases, records that a policy builds, conditions of grants, exceptions, gates,
// tokens and signals included. And what a record keeps does not depend on which
// requests came before, though the sieves are remembered (D2, G3).
func TestDecisionsAndRecordsDoNotDependOnWhatIsRemembered(t *testing.T) {
	outcomes := map[aver.Outcome]int{}
	checkRapid(t, func(rt *rapid.T) {
		policies := rapid.SliceOfNDistinct(rapid.SampledFrom(readers), 1, 6, rapid.ID).Draw(rt, "policies")
		conditions := []string{rapid.SampledFrom(conditions).Draw(rt, "g"), rapid.SampledFrom(conditions).Draw(rt, "h")}
		warm := readersWorld(t, policies, conditions)
		for range 4 {
			text := readersRequest(rt)
			var tok *aver.Token
			if issuer := rapid.SampledFrom([]string{"", "", "https://good.example", "https://bad.example"}).Draw(rt, "issuer"); issuer != "" {
				tok = token(start+10_000, nil, func(t *aver.Token) { t.Issuer, t.Session = issuer, "s-1" })
			}
			record := func(st *authority.State, text string) (*aver.Record, []string) {
				req := request(t, text)
				req.Token = tok
				q := pdp.NewQuery(req)
				d, e := pdp.Decide(st, q, start+10_000, nil)
				if whole := pdp.DecideWhole(st, q, start+10_000, nil); !bytes.Equal(whole.AppendCanonical(nil), d.AppendCanonical(nil)) {
					rt.Fatalf("%s\nwith what policies read:\n%s\nwith everything:\n%s", text, d.AppendCanonical(nil), whole.AppendCanonical(nil))
				}
				r, disclosures, err := pdp.NewRecord(st, q, d, e, pdp.Circumstances{Random: zeros{}})
				if err != nil {
					rt.Fatal(err)
				}
				r.Salt = ""
				return r, disclosures
			}
			got, disclosures := record(warm.st, text)
			outcomes[got.Decision.Outcome]++
			want, _ := record(readersWorld(t, policies, conditions).st, text)
			if !bytes.Equal(got.AppendCanonical(nil), want.AppendCanonical(nil)) {
				rt.Fatalf("%s\nafter others:\n%s\nby itself:\n%s", text, got.AppendCanonical(nil), want.AppendCanonical(nil))
			}
			kept, missing, err := pdp.Reopen(got.Request, got.Token, disclosures)
			if err != nil || len(missing) > 0 {
				rt.Fatal(missing, err)
			}
			d, e := pdp.Decide(warm.st, pdp.NewQuery(kept), start+10_000, nil)
			if !bytes.Equal(d.AppendCanonical(nil), got.Decision.AppendCanonical(nil)) {
				rt.Fatalf("%s\nkept %s\ndecided\n%s\nagain\n%s", text, got.Request, got.Decision.AppendCanonical(nil), d.AppendCanonical(nil))
			}
			if lacks := e.Lacks(got.Omitted); len(lacks) > 0 {
				rt.Fatalf("%s\nthe record omits %q, which its own policies read", text, lacks)
			}
			again, _, err := pdp.NewRecord(warm.st, pdp.NewQuery(kept), d, e, pdp.Circumstances{Random: zeros{}})
			if err != nil || !bytes.Equal(again.Request, got.Request) { // what is minimal is not reduced further
				rt.Fatalf("%s\nkept %s\nof which is kept %s, %v", text, got.Request, again.Request, err)
			}
		}
	})
	if len(outcomes) < 4 {
		t.Errorf("only these outcomes came about: %v", outcomes)
	}
}

// zeros are the salts of disclosures, so that records can be compared.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// Evaluations and what is remembered of them are shared by all requests at once.
func TestRecordsOfManyAtOnce(t *testing.T) {
	w := readersWorld(t, readers, conditions)
	texts := make([]string, 200)
	for i := range texts {
		texts[i] = rapid.Custom(readersRequest).Example(i)
	}
	payload := func(st *authority.State, text string) string {
		q := pdp.NewQuery(request(t, text))
		d, e := pdp.Decide(st, q, start+10_000, nil)
		r, _, err := pdp.NewRecord(st, q, d, e, pdp.Circumstances{Random: zeros{}})
		if err != nil {
			t.Error(err)
			return ""
		}
		r.Salt = ""
		return string(r.AppendCanonical(nil))
	}
	want := make([]string, len(texts))
	for i, text := range texts {
		want[i] = payload(w.st, text)
	}
	fresh := readersWorld(t, readers, conditions)
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for k := range texts {
				i := (k + n*len(texts)/4) % len(texts)
				if got := payload(fresh.st, texts[i]); got != want[i] {
					t.Errorf("%s:\n%s\nby itself:\n%s", texts[i], got, want[i])
					return
				}
			}
		})
	}
	wg.Wait()
}

// D2: where no policy reads signals, a record does not keep by what a session and
// a device are named, for those who have an exception no more than for others.
func TestRecordOfWhoHasAnException(t *testing.T) {
	w := &world{t: t, st: authority.New()}
	w.bundle("exceptions: [{kind: break_glass, max: 1h, approvers: [leads], reviewers: [leads], review_within: 24h}]\n", `@id("sealed") @overridable("break_glass") forbid (principal, action, resource) when { context has deep };`)
	w.exception()
	r := recordOf(t, w, `{"subject":{"type":"user","id":"eve"},"action":{"name":"x"},"resource":{"type":"doc","id":"1"},
"context":{"deep":{"x":1},"session":{"id":"s-9"},"device":{"id":"d-9"},"junk":1}}`)
	if r.Decision.Outcome != aver.Permitted {
		t.Fatalf("%s", r.Decision.AppendCanonical(nil))
	}
	if want := []string{"context.deep.x", "context.device", "context.junk", "context.session"}; !slices.Equal(r.Omitted, want) {
		t.Errorf("omitted: %q, want %q; kept %s", r.Omitted, want, r.Request)
	}
}

// The context that an identity remembers is for one role, for the time before or
// after it expires, and for what the policies of a state read.
func TestRememberedContextIsOfTheRole(t *testing.T) {
	w := &world{t: t, st: authority.New()}
	w.do(aver.EventIdentityRegistered, aver.Identity{Ref: bot, Kind: aver.AIAgent, Owner: "ops", Purpose: "pay", Expires: start + 20_000})
	b, err := policy.Load(map[string][]byte{"main.cedar": []byte(`
		@id("pay") permit (principal, action, resource);
		@id("direct") forbid (principal, action, resource) when { context.aver.acting_for && !(context has mfa) };`)}, "test")
	if err != nil {
		t.Fatal(err)
	}
	w.publish(b)
	const permitted, direct, unproved, expired = "test/pay", "test/direct", "baseline/no-proof-of-delegation", "baseline/expired"
	behalf := `"on_behalf_of":` + aliceJSON
	check := func(context string, at aver.Time, want ...string) {
		t.Helper()
		d, _ := pdp.Decide(w.st, pdp.NewQuery(request(t, pay(botJSON, 50, context))), at, nil)
		var got []string
		for _, r := range d.Reasons {
			got = append(got, r.Policy)
		}
		if d.Outcome.Allowed() != (want[0] == permitted) || !slices.Equal(got, want) {
			t.Errorf("with {%s} at %d: %s because of %v, want %v", context, at-start, d.Outcome, got, want)
		}
	}
	for range 2 {
		check("", start+10_000, permitted)
		check(behalf, start+10_000, direct)
		check(behalf+`,"mfa":true`, start+10_000, permitted)
	}
	w.publish(policy.Baseline())
	for range 2 {
		check(behalf+`,"mfa":true`, start+10_000, unproved)
		check(behalf, start+10_000, unproved, direct)
		check("", start+30_000, expired)
		check(`"mfa":true`, start+10_000, permitted)
	}
}
