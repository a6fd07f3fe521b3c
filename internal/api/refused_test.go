package api_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aver-authz/aver/internal/server"
)

// Actors and chains that must not get through, each with the reason that the answer gives, and each recorded.
func TestRefusedActorsAndChains(t *testing.T) {
	var clock testClock
	s := start(t, func(c *server.Config) { c.Now = clock.Now })
	s.publish("bank", `
@id("staff") permit (principal in team::"staff", action == Action::"pay", resource is invoice);
@id("broken") permit (principal, action == Action::"audit", resource) when { context.missing.member == 1 };
`)
	soon := clock.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	agent := func(id string, more map[string]any) {
		body := map[string]any{"kind": "ai_agent", "owner": "ann", "purpose": "pays", "parents": []any{party("team:staff")}}
		for k, v := range more {
			body[k] = v
		}
		s.admin("PUT", "/v1/identities/ai_agent/"+id, body).ok(201)
	}
	for _, user := range []string{"ann", "bob"} {
		s.admin("PUT", "/v1/identities/user/"+user, map[string]any{"kind": "human_user", "parents": []any{party("team:staff")}}).ok(201)
	}
	s.admin("PUT", "/v1/identities/user/guest", map[string]any{"kind": "human_user"}).ok(201)
	agent("bot", nil)
	agent("sub", nil)
	agent("idle", nil)
	agent("brief", map[string]any{"expires": soon})
	agent("tooled", map[string]any{"tools": []string{"ledger"}})
	s.admin("POST", "/v1/identities/ai_agent/idle/suspend", nil).ok(200)
	grant := func(id, from, to string, more map[string]any) {
		body := map[string]any{"id": id, "from": party(from), "to": party(to), "actions": []string{"pay"}, "resources": []any{map[string]any{"type": "invoice"}}}
		for k, v := range more {
			body[k] = v
		}
		s.admin("POST", "/v1/grants", body).ok(201)
	}
	grant("g-ann", "user:ann", "ai_agent:bot", map[string]any{"depth": 1})
	grant("g-on", "ai_agent:bot", "ai_agent:sub", map[string]any{"parent": "g-ann"})
	grant("g-bob", "user:bob", "ai_agent:bot", nil)
	grant("g-guest", "user:guest", "ai_agent:bot", nil) // by somebody who does not hold the permission
	grant("g-revoked", "user:ann", "ai_agent:bot", nil)
	grant("g-short", "user:ann", "ai_agent:bot", map[string]any{"expires": soon})
	grant("g-once", "user:ann", "ai_agent:bot", map[string]any{"limits": map[string]any{"uses": 1}})
	s.admin("POST", "/v1/grants/g-revoked/revoke", nil).ok(200)
	s.admin("POST", "/v1/grants", map[string]any{"id": "g-wide", "from": party("ai_agent:bot"), "to": party("ai_agent:sub"), "parent": "g-ann",
		"actions": []string{"*"}, "resources": []any{map[string]any{"type": "invoice"}}}).problem(422, "refused", "further than its parent")

	ask := func(subject, action, origin string, chain ...string) (outcome string, codes []string) {
		q := question(subject, action, "invoice:1")
		context := map[string]any{}
		if chain != nil {
			context["delegation"] = chain
		}
		if origin != "" {
			context["on_behalf_of"] = party(origin)
		}
		q["context"] = context
		x := s.evaluate(q).ok(200)
		_, outcome = decisionOf(t, x.json())
		for _, r := range x.at("context", "reasons").([]any) {
			codes = append(codes, r.(map[string]any)["code"].(string))
		}
		s.admin("GET", "/v1/decisions/"+x.at("context", "evaluation_id").(string), nil).ok(200)
		return outcome, codes
	}
	if outcome, codes := ask("ai_agent:sub", "pay", "user:ann", "g-ann", "g-on"); outcome != "permitted" {
		t.Fatalf("a whole chain: %s %v", outcome, codes)
	}
	if outcome, codes := ask("ai_agent:bot", "pay", "user:ann", "g-once"); outcome != "permitted" {
		t.Fatalf("the first use: %s %v", outcome, codes)
	}
	type refused struct {
		what, subject, origin string
		chain                 []string
		code                  string
	}
	for _, c := range []refused{
		{"an unregistered machine", "ai_agent:stranger", "", nil, "forbidden"},
		{"a suspended one", "ai_agent:idle", "", nil, "forbidden"},
		{"a tool that is not its own", "ai_agent:tooled", "", nil, "forbidden"},
		{"no chain", "ai_agent:bot", "user:ann", nil, "forbidden"},
		{"a grant to somebody else", "ai_agent:sub", "user:ann", []string{"g-ann"}, "chain_broken"},
		{"a link left out", "ai_agent:sub", "user:ann", []string{"g-on"}, "chain_broken"},
		{"another originating user", "ai_agent:bot", "user:bob", []string{"g-ann"}, "chain_broken"},
		{"links that do not join", "ai_agent:sub", "user:bob", []string{"g-bob", "g-on"}, "chain_broken"},
		{"a forged grant", "ai_agent:bot", "user:ann", []string{"g-made-up"}, "grant_unknown"},
		{"a loop", "ai_agent:bot", "user:ann", []string{"g-ann", "g-ann"}, "chain_loop"},
		{"too long a chain", "ai_agent:bot", "user:ann", slices.Repeat([]string{"g-ann"}, 9), "chain_too_long"},
		{"a revoked grant", "ai_agent:bot", "user:ann", []string{"g-revoked"}, "grant_revoked"},
		{"a delegator without the permission", "ai_agent:bot", "user:guest", []string{"g-guest"}, "not_permitted"},
		{"an exhausted limit", "ai_agent:bot", "user:ann", []string{"g-once"}, "limit_exhausted"},
	} {
		outcome, codes := ask(c.subject, "pay", c.origin, c.chain...)
		if c.what == "a tool that is not its own" {
			q := question(c.subject, "pay", "invoice:1")
			q["action"].(map[string]any)["properties"] = map[string]any{"tool": "browser"}
			x := s.evaluate(q).ok(200)
			_, outcome = decisionOf(t, x.json())
			codes = []string{fmt.Sprint(x.at("context", "reasons").([]any)[0].(map[string]any)["code"])}
		}
		if outcome != "denied" || !slices.Contains(codes, c.code) {
			t.Errorf("%s: %s %v, want %s", c.what, outcome, codes, c.code)
		}
	}
	if outcome, codes := ask("user:ann", "audit", ""); outcome != "denied" || !slices.Contains(codes, "policy_error") {
		t.Errorf("a policy that errors: %s %v", outcome, codes)
	}
	clock.move(2 * time.Hour)
	if outcome, codes := ask("ai_agent:bot", "pay", "user:ann", "g-short"); outcome != "denied" || !slices.Contains(codes, "grant_expired") {
		t.Errorf("an expired grant: %s %v", outcome, codes)
	}
	if outcome, codes := ask("ai_agent:brief", "pay", ""); outcome != "denied" || !slices.Contains(codes, "forbidden") {
		t.Errorf("past its purpose: %s %v", outcome, codes)
	}
	// A clock that jumps back brings nothing back to life.
	clock.move(-3 * time.Hour)
	if outcome, codes := ask("ai_agent:bot", "pay", "user:ann", "g-short"); outcome != "denied" || !slices.Contains(codes, "grant_expired") {
		t.Errorf("after the clock jumped back: %s %v", outcome, codes)
	}
	if x := s.request("GET", "/metrics", nil, nil); !strings.Contains(string(x.body), "aver_clock_behind_seconds 10") {
		t.Error("/metrics does not show that the clock is behind")
	}
}
