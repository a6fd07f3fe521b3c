package replay_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/policy"
	"github.com/aver-authz/aver/internal/replay"
)

// randomPolicies use each part of Cedar that a policy of Aver's kind would, on
// values that are now there, now missing, now of another type.
const randomPolicies = `
@id("staff") @reason("Staff work.")
permit (principal, action in [Action::"pay", Action::"read", Action::"export"], resource) when { principal in group::"staff" };
@id("agents") permit (principal is ai_agent, action, resource) when { context.aver.delegated };
@id("services") permit (principal is workload in group::"batch", action == Action::"read", resource is document);
@id("own") permit (principal, action, resource) when { resource has owner && resource.owner == principal };
@id("team") permit (principal, action == Action::"read", resource) when { resource has owner && resource.owner has team && principal has team && resource.owner.team == principal.team };
@id("folder") permit (principal, action, resource in folder::"public");
@id("group-action") permit (principal, action in Action::"harmless", resource);

@id("frozen") @reason("It is frozen.")
forbid (principal, action, resource) when { resource has frozen && resource.frozen };
@id("hours") forbid (principal, action == Action::"export", resource)
unless { context.aver.now.toTime() >= duration("6h") && context.aver.now.toTime() < duration("20h") };
@id("old") forbid (principal, action, resource)
when { resource has made && context.aver.now.durationSince(datetime("2026-01-01T00:00:00Z")) < duration("1d") };
@id("fee") forbid (principal, action == Action::"pay", resource) when { resource.fee.greaterThan(decimal("99.99")) };
@id("net") forbid (principal, action, resource)
when { context has ip && !(context.ip.isInRange(ip("10.0.0.0/8")) || context.ip.isLoopback()) };
@id("tags") forbid (principal, action, resource)
when { resource has tags && (resource.tags.containsAny(["secret", "top secret"]) || resource.tags.isEmpty()) && !(principal has cleared) };
@id("name") forbid (principal, action, resource) when { context has "user agent" && context["user agent"] like "*curl\**" };
@id("math") forbid (principal, action == Action::"pay", resource) when { resource.amount * 3 - 1 > 9007199254740991 };
@id("nested") forbid (principal, action, resource) when { context has device.posture && context.device.posture.score < 20 };
@id("branch") forbid (principal, action, resource)
when { (if context has mode then context.mode else "normal") == "strict" && context.aver.hops > 1 };
@id("origin") forbid (principal, action == Action::"export", resource) when { context.aver.origin in group::"barred" };

@id("mfa") @gate("challenge") @acr_values("mfa") @max_age("300")
forbid (principal, action == Action::"pay", resource) when { resource.amount > 100 } unless { context has acr && context.acr == "mfa" };
@id("eyes") @gate("escalate") @approvers("leads")
forbid (principal, action in [Action::"pay", Action::"export"], resource) when { resource has amount && resource.amount > 5000 };
@id("redact") @gate("restrict") @obligation("redact")
forbid (principal, action == Action::"read", resource) when { resource has tags && resource.tags.contains("personal") };
`

// randomLogs decides n random requests of a small company, with changes of
// authority in between.
func randomLogs(t testing.TB, n int) *logs {
	l := newLogs(t)
	r := rand.New(rand.NewPCG(1, 2))
	ref := func(typ, id string) aver.Ref { return aver.Ref{Type: typ, ID: id} }
	oneOf := func(list ...string) string { return list[r.IntN(len(list))] }
	bundle := map[string]string{"bundle.yaml": "sensitive: [resource.tags, context.ip]\nretain: [context.note]\n", "main.cedar": randomPolicies}
	l.publish(policy.Baseline())
	l.publish(load(t, "company", bundle))
	put := func(of aver.Ref, parents ...aver.Ref) {
		l.event(aver.EventEntityPut, aver.Entity{Ref: of, Parents: parents})
	}
	put(ref("group", "clerks"), ref("group", "staff"))
	put(ref("group", "seniors"), ref("group", "clerks"), ref("group", "managers"))
	put(ref("folder", "press"), ref("folder", "public"))
	put(ref("Action", "list"), ref("Action", "harmless"))
	put(ref("document", "d-1"), ref("folder", "press"))
	l.event(aver.EventEntityPut, aver.Entity{Ref: ref("document", "d-2"), Properties: aver.Properties{
		"owner": map[string]any{"__entity": map[string]any{"type": "user", "id": "alice"}}, "tags": []any{"personal"},
	}})
	for i, name := range []string{"alice", "bert", "carla"} {
		l.event(aver.EventIdentityRegistered, aver.Identity{
			Ref: ref("user", name), Kind: aver.HumanUser, Properties: aver.Properties{"team": oneOf("a", "b")},
			Parents: []aver.Ref{ref("group", []string{"clerks", "seniors", "barred"}[i])},
		})
	}
	tools := []string{"bank"}
	l.event(aver.EventIdentityRegistered, aver.Identity{Ref: ref("ai_agent", "planner"), Kind: aver.AIAgent, Owner: "o", Purpose: "p"})
	l.event(aver.EventIdentityRegistered, aver.Identity{Ref: ref("ai_agent", "payer"), Kind: aver.AIAgent, Owner: "o", Purpose: "p", Tools: &tools})
	l.event(aver.EventIdentityRegistered, aver.Identity{
		Ref: ref("workload", "nightly"), Kind: aver.Workload, Owner: "o", Purpose: "p", Parents: []aver.Ref{ref("group", "batch")},
	})
	grant := func(id string, from, to aver.Ref, edit func(*aver.Grant)) {
		g := aver.Grant{ID: id, From: from, To: to, Actions: []string{"*"}, Resources: []aver.ResourceScope{{Type: "*"}}, Depth: 2}
		edit(&g)
		l.event(aver.EventGrantIssued, g)
	}
	grant("g-any", ref("user", "alice"), ref("ai_agent", "planner"), func(g *aver.Grant) { g.Purpose = "invoices" })
	grant("g-down", ref("ai_agent", "planner"), ref("ai_agent", "payer"), func(g *aver.Grant) {
		g.Parent, g.Depth, g.Actions = "g-any", 1, []string{"pay", "re*"}
		g.Condition = "resource has amount && resource.amount <= 20000 // per payment"
		g.Limits = &aver.GrantLimits{Uses: int64(n / 40), Sums: []aver.SumLimit{{Attribute: "resource.amount", Max: int64(n) * 200}}}
	})
	grant("g-docs", ref("user", "carla"), ref("ai_agent", "payer"), func(g *aver.Grant) {
		g.Resources = []aver.ResourceScope{{Type: "document"}, {Type: "payment", ID: "p-1"}}
	})
	for i := range n {
		switch i {
		case n / 3:
			l.event(aver.EventIdentitySuspended, ref("workload", "nightly"))
		case n / 2:
			bundle["main.cedar"] = strings.Replace(randomPolicies, "> 5000", "> 4000", 1)
			b := load(t, "company", bundle)
			l.publish(b)
		case 3 * n / 4:
			l.event(aver.EventGrantRevoked, aver.GrantRef{ID: "g-docs"})
		}
		l.decide(randomRequest(r))
	}
	return l
}

// randomRequest makes a request that is usually in order, and wrong in one
// place or another now and then.
func randomRequest(r *rand.Rand) string {
	type object = map[string]any
	// sometimes sets a member in so many percent of the cases, to any of the values.
	sometimes := func(o object, percent int, name string, values ...any) {
		if r.IntN(100) < percent {
			o[name] = values[r.IntN(len(values))]
		}
	}
	extension := func(fn, arg string) object { return object{"__extn": object{"fn": fn, "arg": arg}} }
	user := func(id string) object { return object{"__entity": object{"type": "user", "id": id}} }
	amount := []int64{int64(r.IntN(100)), int64(r.IntN(100)), int64(r.IntN(1000)), int64(r.IntN(9000)), 25_000}[r.IntN(5)]

	resource := object{"fee": extension("decimal", fmt.Sprintf("%d.%d", r.IntN(101), r.IntN(100))), "amount": amount}
	sometimes(resource, 3, "amount", "many", int64(aver.MaxInteger), true)
	sometimes(resource, 3, "fee", "free", int64(1), extension("decimal", "-3.0"))
	sometimes(resource, 50, "tags", []any{"personal", "eu"}, []any{"eu", int64(7), []any{"x"}}, []any{"secret"}, []any{})
	sometimes(resource, 10, "frozen", true, false, false, "no")
	sometimes(resource, 40, "owner", user("alice"), user("bert"), user("nobody"), "alice")
	sometimes(resource, 5, "made", true)

	context := object{"noise": []any{object{"a": int64(1)}}, "supported_obligations": []any{"redact"}}
	sometimes(context, 10, "supported_obligations", []any{}, []any{"log"})
	sometimes(context, 60, "ip", extension("ip", "10.1.2.3"), extension("ip", "10.0.0.0/9"), extension("ip", "::1"), extension("ip", "192.168.0.1"))
	sometimes(context, 3, "ip", "10.1.2.3")
	sometimes(context, 60, "acr", "mfa", "mfa", "pwd")
	sometimes(context, 30, "mode", "normal", "normal", "strict", int64(1))
	sometimes(context, 30, "user agent", "curl/8", "Mozilla\t\u0000", "a curl*8")
	sometimes(context, 30, "device", object{"posture": object{"score": int64(90)}}, object{}, object{"posture": object{"score": int64(10)}}, object{"posture": object{}})
	sometimes(context, 50, "note", "kept")

	subject := [][2]string{
		{"user", "alice"}, {"user", "bert"}, {"user", "carla"}, {"user", "zoë \"z\" 🦊"}, {"identity", "x"},
		{"ai_agent", "planner"}, {"ai_agent", "payer"}, {"ai_agent", "payer"}, {"ai_agent", "ghost"}, {"workload", "nightly"},
	}[r.IntN(10)]
	switch subject[1] {
	case "planner":
		sometimes(context, 90, "delegation", []any{"g-any"})
	case "payer":
		sometimes(context, 95, "delegation", []any{"g-any", "g-down"}, []any{"g-any", "g-down"}, []any{"g-docs"}, []any{"g-down"}, []any{"g-unknown"})
	}
	if r.IntN(6) == 0 {
		context["parts"] = []any{"a", object{"id": "b", "properties": object{
			"amount": int64(r.IntN(8000)), "fee": extension("decimal", fmt.Sprintf("%d.%d", r.IntN(120), r.IntN(100))),
		}}}
	}
	properties, action := object{}, object{}
	sometimes(properties, 30, "cleared", true)
	sometimes(properties, 30, "team", "b")
	sometimes(action, 60, "tool", "bank", "bank", "bank", "shell")
	oneOf := func(list ...string) string { return list[r.IntN(len(list))] }
	return string(aver.AppendCanonical(nil, object{
		"subject":  object{"type": subject[0], "id": subject[1], "properties": properties},
		"action":   object{"name": oneOf("pay", "pay", "pay", "read", "read", "export", "list", "erase"), "properties": action},
		"resource": object{"type": oneOf("payment", "payment", "document"), "id": oneOf("d-1", "d-2", "p-1"), "properties": resource},
		"context":  context,
	}))
}

// Random decisions, of every outcome, match when they are decided again, and are
// exported whole. With -frames-out they go to a file, which .ci/cedar-wasm has
// decided by Cedar's own engine.
func TestRandomDecisions(t *testing.T) {
	l := randomLogs(t, *framesFrom)
	summary, err := replay.Run(t.Context(), &l.authority, &l.decisions, replay.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if summary.Match != uint64(*framesFrom) || summary.Decisions != summary.Match {
		t.Errorf("replay: %+v", summary)
	}
	outcomes := map[aver.Outcome]int{}
	for _, e := range l.decisions.entries {
		record, err := aver.ParseRecord(e.Payload)
		if err != nil {
			t.Fatal(err)
		}
		outcomes[record.Decision.Outcome]++
	}
	for _, o := range aver.Outcomes() {
		if outcomes[o] == 0 {
			t.Errorf("no random decision was %s: %v", o, outcomes)
		}
	}
	text, frames := export(t, l)
	if frames.Skipped != 0 || frames.Frames < frames.Decisions || uint64(strings.Count(text, `"expect":`)) != frames.Frames {
		t.Errorf("export: %+v", frames)
	}
	for _, some := range []string{`"decision":"allow"`, `"errors":["company/`, `"frame":"grant"`, `"frame":"gates:delegator"`, `"reasons":["company/redact"`} {
		if !strings.Contains(text, some) {
			t.Errorf("no frame has %s", some)
		}
	}
	if *framesOut != "" {
		if err := os.WriteFile(*framesOut, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("outcomes %v, %+v", outcomes, frames)
}
