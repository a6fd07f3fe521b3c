package pdp_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/pdp"
)

const payPolicies = `
@id("may-pay") @reason("Everybody may pay small amounts.")
permit (principal, action == Action::"pay", resource is payment) when { resource.amount <= 1000 };

@id("frozen") @reason("The account is frozen.")
forbid (principal, action, resource) when { resource has frozen && resource.frozen };

@id("mfa") @gate("challenge") @acr_values("mfa") @max_age("300") @reason("Payments over 100 need a second factor.")
forbid (principal, action == Action::"pay", resource is payment)
when { resource.amount > 100 } unless { context has mfa && context.mfa };

@id("four-eyes") @gate("escalate") @approvers("treasury-leads") @reason("Payments over 500 need an approval.")
forbid (principal, action == Action::"pay", resource is payment) when { resource.amount > 500 };

@id("redact") @gate("restrict") @obligation("redact") @obligation_properties("{\"fields\":[\"iban\"]}")
forbid (principal, action == Action::"pay", resource is payment) when { resource has confidential && resource.confidential };
`

func pay(subject string, amount int, context string) string {
	return fmt.Sprintf(`{"subject":%s,"action":{"name":"pay"},"resource":{"type":"payment","id":"p","properties":{"amount":%d}},"context":{%s}}`,
		subject, amount, context)
}

const aliceJSON, botJSON, subJSON = `{"type":"user","id":"alice"}`, `{"type":"ai_agent","id":"bot"}`, `{"type":"ai_agent","id":"sub"}`

// F1: each of the six outcomes is reached by policies a user would write.
func TestSixOutcomes(t *testing.T) {
	w := newWorld(t, payPolicies)
	for _, c := range []struct {
		request string
		want    aver.Outcome
		codes   []aver.ReasonCode
	}{
		{pay(aliceJSON, 50, ""), aver.Permitted, []aver.ReasonCode{aver.ReasonPermitted}},
		{pay(aliceJSON, 2000, ""), aver.Denied, []aver.ReasonCode{aver.ReasonNotPermitted}},
		{pay(aliceJSON, 200, ""), aver.Challenged, []aver.ReasonCode{aver.ReasonChallenge}},
		{pay(aliceJSON, 600, `"mfa":true`), aver.Escalated, []aver.ReasonCode{aver.ReasonEscalate}},
		// All unmet requirements are listed, the first that applies is the outcome.
		{pay(aliceJSON, 600, ""), aver.Challenged, []aver.ReasonCode{aver.ReasonEscalate, aver.ReasonChallenge}},
		{`{"subject":` + aliceJSON + `,"action":{"name":"pay"},"resource":{"type":"payment","id":"p","properties":{"amount":5,"confidential":true}},"context":{"supported_obligations":["redact"]}}`,
			aver.Restricted, []aver.ReasonCode{aver.ReasonPermitted, aver.ReasonRestrict}},
		{`{"subject":` + aliceJSON + `,"action":{"name":"pay"},"resource":{"type":"payment","id":"p","properties":{"amount":5,"confidential":true}}}`,
			aver.Denied, []aver.ReasonCode{aver.ReasonUnsupported}},
		{`{"subject":` + aliceJSON + `,"action":{"name":"pay"},"resource":{"type":"payment","id":"p"},"context":{"parts":[{"id":"a","properties":{"amount":5}},{"id":"b","properties":{"amount":5000}}]}}`,
			aver.PartiallyAuthorized, []aver.ReasonCode{aver.ReasonPartsDiffer}},
		{`{"subject":` + aliceJSON + `,"action":{"name":"pay"},"resource":{"type":"payment","id":"p","properties":{"amount":5}},"context":{"parts":["a","b"]}}`,
			aver.Permitted, []aver.ReasonCode{aver.ReasonPermitted}},
		{`{"subject":` + aliceJSON + `,"action":{"name":"pay"},"resource":{"type":"payment","id":"p","properties":{"amount":5,"frozen":true}},"context":{"parts":["a","b"]}}`,
			aver.Denied, []aver.ReasonCode{aver.ReasonPartsNone}},
	} {
		d := w.decide(c.request)
		if d.Outcome != c.want || !slices.Equal(codes(d.Reasons), c.codes) {
			t.Errorf("%s\n got %s %v\nwant %s %v", c.request, d.Outcome, codes(d.Reasons), c.want, c.codes)
		}
		for _, r := range d.Reasons {
			if r.Text == "" || r.Text == string(r.Code) {
				t.Errorf("%s: reason %s has no sentence", c.request, r.Code)
			}
		}
	}
}

// F3: an evaluation error is a denial that names the policy and the error, even
// where Cedar would pass over the policy.
func TestPolicyErrorDenies(t *testing.T) {
	w := newWorld(t, payPolicies)
	d := w.decide(`{"subject":` + aliceJSON + `,"action":{"name":"pay"},"resource":{"type":"payment","id":"p","properties":{"amount":5,"frozen":"yes"}}}`)
	if d.Outcome != aver.Denied || len(d.Reasons) != 1 || d.Reasons[0].Code != aver.ReasonPolicyError ||
		d.Reasons[0].Policy != "test/frozen" || !strings.Contains(d.Reasons[0].Detail, "type error") {
		t.Errorf("got %s %+v", d.Outcome, d.Reasons)
	}
	if !strings.Contains(d.Reasons[0].Text, "test/frozen could not be evaluated") {
		t.Errorf("text %q", d.Reasons[0].Text)
	}
}

// A4: the baseline refuses machines that are unregistered, suspended, past their
// purpose or outside of their tools, and agents that act for somebody without a
// chain.
func TestBaselineGovernsMachines(t *testing.T) {
	tools := []string{"ledger-api"}
	w := newWorld(t, payPolicies)
	w.agent("bot", nil)
	w.do(aver.EventIdentityRegistered, aver.Identity{Ref: aver.Ref{Type: "ai_agent", ID: "old"}, Kind: aver.AIAgent, Owner: "o", Purpose: "p", Expires: start + 5000})
	w.do(aver.EventIdentityRegistered, aver.Identity{Ref: aver.Ref{Type: "ai_agent", ID: "tooled"}, Kind: aver.AIAgent, Owner: "o", Purpose: "p", Tools: &tools})
	w.agent("paused", nil)
	w.do(aver.EventIdentitySuspended, aver.Ref{Type: "ai_agent", ID: "paused"})
	tool := func(name string) string {
		return `{"subject":{"type":"ai_agent","id":"tooled"},"action":{"name":"pay","properties":{"tool":"` + name + `"}},"resource":{"type":"payment","id":"p","properties":{"amount":5}}}`
	}
	for _, c := range []struct {
		name, request string
		want          aver.Outcome
	}{
		{"registered", pay(botJSON, 5, ""), aver.Permitted},
		{"unregistered", pay(`{"type":"ai_agent","id":"ghost"}`, 5, ""), aver.Denied},
		{"unregistered service", pay(`{"type":"service_account","id":"ghost"}`, 5, ""), aver.Denied},
		{"unregistered person", pay(aliceJSON, 5, ""), aver.Permitted},
		{"unknown kind", pay(`{"type":"identity","id":"x"}`, 5, ""), aver.Permitted},
		{"expired", pay(`{"type":"ai_agent","id":"old"}`, 5, ""), aver.Denied},
		{"suspended", pay(`{"type":"ai_agent","id":"paused"}`, 5, ""), aver.Denied},
		{"for somebody without a chain", pay(botJSON, 5, `"on_behalf_of":{"type":"user","id":"alice"}`), aver.Denied},
		{"permitted tool", tool("ledger-api"), aver.Permitted},
		{"other tool", tool("shell"), aver.Denied},
	} {
		d := w.decide(c.request)
		if d.Outcome != c.want {
			t.Errorf("%s: %s %+v", c.name, d.Outcome, d.Reasons)
		}
		if c.want == aver.Denied && !strings.HasPrefix(d.Reasons[0].Policy, "baseline/") {
			t.Errorf("%s: denied by %q", c.name, d.Reasons[0].Policy)
		}
	}
}

// B1-B6: a chain holds only while every link does, and authority never exceeds
// what each delegator holds.
func TestChains(t *testing.T) {
	const policies = `
@id("staff") permit (principal in group::"staff", action == Action::"pay", resource is payment);
@id("agents") permit (principal is ai_agent, action == Action::"pay", resource is payment);`
	build := func() *world {
		w := newWorld(t, policies)
		w.agent("bot", nil)
		w.agent("sub", nil)
		w.do(aver.EventIdentityRegistered, aver.Identity{Ref: alice, Kind: aver.HumanUser, Parents: []aver.Ref{{Type: "group", ID: "staff"}}})
		w.do(aver.EventIdentityRegistered, aver.Identity{Ref: aver.Ref{Type: "user", ID: "eve"}, Kind: aver.HumanUser})
		w.grant(aver.Grant{ID: "g1", From: alice, To: bot, Depth: 1, Condition: "resource.amount <= 100"})
		w.grant(aver.Grant{ID: "g2", From: bot, To: sub, Parent: "g1"})
		w.grant(aver.Grant{ID: "eve1", From: aver.Ref{Type: "user", ID: "eve"}, To: bot, Depth: 0})
		w.grant(aver.Grant{ID: "read", From: alice, To: bot, Actions: []string{"read"}})
		w.grant(aver.Grant{ID: "short", From: alice, To: bot, Expires: start + 5000})
		w.grant(aver.Grant{ID: "late", From: alice, To: bot, NotBefore: start + 50_000})
		w.grant(aver.Grant{ID: "back", From: sub, To: bot, Depth: 1})
		w.grant(aver.Grant{ID: "own", From: bot, To: sub})
		return w
	}
	chain := func(ids ...string) string { return `"delegation":["` + strings.Join(ids, `","`) + `"]` }
	for _, c := range []struct {
		name, request string
		want          aver.Outcome
		codes         []aver.ReasonCode
	}{
		{"one hop", pay(botJSON, 50, chain("g1")), aver.Permitted, []aver.ReasonCode{aver.ReasonPermitted}},
		{"two hops", pay(subJSON, 50, chain("g1", "g2")), aver.Permitted, []aver.ReasonCode{aver.ReasonPermitted}},
		{"the originating user named", pay(subJSON, 50, chain("g1", "g2")+`,"on_behalf_of":`+aliceJSON), aver.Permitted, []aver.ReasonCode{aver.ReasonPermitted}},
		{"another originating user named", pay(botJSON, 50, chain("g1")+`,"on_behalf_of":{"type":"user","id":"eve"}`), aver.Denied, []aver.ReasonCode{aver.ReasonChainBroken}},
		{"outside of the first grant", pay(subJSON, 500, chain("g1", "g2")), aver.Denied, []aver.ReasonCode{aver.ReasonGrantScope}},
		{"another action", pay(botJSON, 50, chain("read")), aver.Denied, []aver.ReasonCode{aver.ReasonGrantScope}},
		{"the delegator may not", pay(botJSON, 50, chain("eve1")), aver.Denied, []aver.ReasonCode{aver.ReasonNotPermitted}},
		{"unknown grant", pay(botJSON, 50, chain("nope")), aver.Denied, []aver.ReasonCode{aver.ReasonGrantUnknown}},
		{"expired", pay(botJSON, 50, chain("short")), aver.Denied, []aver.ReasonCode{aver.ReasonGrantExpired}},
		{"not yet", pay(botJSON, 50, chain("late")), aver.Denied, []aver.ReasonCode{aver.ReasonGrantPending}},
		{"somebody else's grant", pay(subJSON, 50, chain("g1")), aver.Denied, []aver.ReasonCode{aver.ReasonChainBroken}},
		{"a link missing", pay(subJSON, 50, chain("g2")), aver.Denied, []aver.ReasonCode{aver.ReasonChainBroken}},
		{"a link that was not given under the one before", pay(subJSON, 50, chain("g1", "own")), aver.Denied, []aver.ReasonCode{aver.ReasonChainBroken}},
		{"wrong order", pay(subJSON, 50, chain("g2", "g1")), aver.Denied, []aver.ReasonCode{aver.ReasonChainBroken, aver.ReasonChainTooLong, aver.ReasonChainBroken, aver.ReasonChainBroken}},
		{"a circle", pay(botJSON, 50, chain("g1", "g2", "back")), aver.Denied, []aver.ReasonCode{aver.ReasonChainTooLong, aver.ReasonChainTooLong, aver.ReasonChainBroken, aver.ReasonChainLoop}},
		{"too long", pay(botJSON, 50, chain("a", "b", "c", "d", "e", "f", "g", "h", "i")), aver.Denied, []aver.ReasonCode{aver.ReasonChainTooLong}},
	} {
		d := build().decide(c.request)
		if d.Outcome != c.want || !slices.Equal(codes(d.Reasons), c.codes) {
			t.Errorf("%s: got %s %+v", c.name, d.Outcome, d.Reasons)
		}
	}

	w := build()
	w.do(aver.EventGrantRevoked, aver.GrantRef{ID: "g1"})
	if d := w.decide(pay(subJSON, 50, chain("g1", "g2"))); d.Outcome != aver.Denied || d.Reasons[0].Code != aver.ReasonGrantRevoked {
		t.Errorf("revoked above: %s %+v", d.Outcome, d.Reasons)
	}
	w = build()
	w.do(aver.EventIdentitySuspended, bot)
	if d := w.decide(pay(subJSON, 50, chain("g1", "g2"))); d.Outcome != aver.Denied {
		t.Errorf("a delegator that is suspended: %s", d.Outcome)
	}
}

// Gates apply to whoever it is done for: an agent does not pass where the one it
// acts for would have to stop.
func TestGatesOfDelegators(t *testing.T) {
	w := newWorld(t, `
permit (principal, action, resource);
@id("people-ask") @gate("escalate") @approvers("leads")
forbid (principal is user, action, resource) when { resource.amount > 100 };`)
	w.agent("bot", nil)
	w.grant(aver.Grant{ID: "g1", From: alice, To: bot})
	d := w.decide(pay(botJSON, 500, `"delegation":["g1"]`))
	if d.Outcome != aver.Escalated || d.Requirements[0].Policy != "test/people-ask" {
		t.Errorf("got %s %+v", d.Outcome, d.Requirements)
	}
}

// B3: limits count over the allowed requests only, and parts in their order.
func TestLimits(t *testing.T) {
	w := newWorld(t, `permit (principal, action, resource) when { resource.amount < 1000 };`)
	w.agent("bot", nil)
	w.grant(aver.Grant{ID: "g", From: alice, To: bot, Limits: &aver.GrantLimits{Uses: 3, Sums: []aver.SumLimit{{Attribute: "resource.amount", Max: 100}}}})
	usage := pdp.Usage{}
	ask := func(text string) aver.Decision {
		d, _ := pdp.Decide(w.st, pdp.NewQuery(request(t, text)), start+10_000, usage)
		for _, c := range d.Counters {
			usage[pdp.LimitKey{Grant: c.Grant, Name: c.Name}] = c.After
		}
		return d
	}
	const g = `"delegation":["g"]`
	if d := ask(pay(botJSON, 60, g)); d.Outcome != aver.Permitted || d.Counters[0].After != 1 || d.Counters[1].After != 60 {
		t.Fatalf("first: %s %+v", d.Outcome, d.Counters)
	}
	if d := ask(pay(botJSON, 50, g)); d.Outcome != aver.Denied || d.Reasons[0].Code != aver.ReasonLimit || d.Counters[1].After != 60 {
		t.Fatalf("over the sum: %s %+v", d.Outcome, d.Counters)
	}
	d := ask(`{"subject":` + botJSON + `,"action":{"name":"pay"},"resource":{"type":"payment","id":"p"},"context":{` + g + `,
		"parts":[{"id":"a","properties":{"amount":30}},{"id":"b","properties":{"amount":30}},{"id":"c","properties":{"amount":10}}]}}`)
	if d.Outcome != aver.PartiallyAuthorized || d.Parts[0].Outcome != aver.Permitted || d.Parts[1].Outcome != aver.Denied ||
		d.Parts[2].Outcome != aver.Permitted || d.Counters[0].After != 2 || d.Counters[1].After != 100 {
		t.Fatalf("parts: %s %+v", d.Outcome, d.Counters)
	}
	if d := ask(pay(botJSON, 0, g)); d.Outcome != aver.Permitted || d.Counters[0].After != 3 {
		t.Fatalf("third use: %s", d.Outcome)
	}
	if d := ask(pay(botJSON, 0, g)); d.Outcome != aver.Denied || d.Reasons[0].Grant != "g" {
		t.Fatalf("fourth use: %s", d.Outcome)
	}
	if d := ask(`{"subject":` + botJSON + `,"action":{"name":"pay"},"resource":{"type":"payment","id":"p","properties":{"amount":-5}},"context":{` + g + `}}`); d.Outcome != aver.Denied {
		t.Fatalf("a negative amount must not give back: %s", d.Outcome)
	}
}

// What is registered overrides what the caller says; what the caller says of
// the subject and the resource fills the rest and reaches nobody else.
func TestRegisteredFactsOverrideClaims(t *testing.T) {
	w := newWorld(t, `
@id("role") permit (principal, action == Action::"see", resource) when { principal.role == "manager" };
@id("owner") permit (principal, action == Action::"own", resource) when { resource.owner.role == "manager" };`)
	w.do(aver.EventEntityPut, aver.Entity{Ref: aver.Ref{Type: "user", ID: "bob"}, Properties: aver.Properties{"role": "clerk"}})
	ask := func(subject, action, resource string) aver.Outcome {
		return w.decide(`{"subject":` + subject + `,"action":{"name":"` + action + `"},"resource":` + resource + `}`).Outcome
	}
	doc := `{"type":"doc","id":"d","properties":{"owner":{"__entity":{"type":"user","id":"carol"}}}}`
	if got := ask(`{"type":"user","id":"bob","properties":{"role":"manager"}}`, "see", doc); got != aver.Denied {
		t.Errorf("a claim overrode a registered fact: %s", got)
	}
	if got := ask(`{"type":"user","id":"dan","properties":{"role":"manager"}}`, "see", doc); got != aver.Permitted {
		t.Errorf("a claim about an unregistered subject was not used: %s", got)
	}
	if got := ask(`{"type":"user","id":"dan","properties":{"role":"manager"}}`, "own", doc); got != aver.Denied {
		t.Errorf("a claim about the subject reached the owner: %s", got)
	}
}

// Invalid requests are denied, never decided.
func TestInvalidQueryDenies(t *testing.T) {
	w := newWorld(t, `permit (principal, action, resource);`)
	for _, text := range []string{
		`{"subject":{"type":"user","id":"a"},"action":{"name":"x"}}`,
		`{"subject":{"type":"user","id":"a","properties":{"l":[null]}},"action":{"name":"x"},"resource":{"type":"t","id":"i"}}`,
		`{"subject":{"type":"user","id":"a"},"action":{"name":"x"},"resource":{"type":"t","id":"i"},"context":{"d":{"__extn":{"fn":"decimal","arg":"1.23456"}}}}`,
	} {
		q := pdp.NewQuery(request(t, text))
		if q.Err() == nil {
			t.Errorf("%s: no error", text)
		}
		if d, _ := pdp.Decide(w.st, q, start, nil); d.Outcome != aver.Denied || d.Reasons[0].Code != aver.ReasonInvalid {
			t.Errorf("%s: %s %+v", text, d.Outcome, d.Reasons)
		}
	}
}

// The zero decision denies.
func TestZeroDecisionDenies(t *testing.T) {
	var d aver.Decision
	if d.Outcome.Allowed() || d.Outcome != aver.Denied {
		t.Error("the zero decision allows")
	}
}
