package api_test

import (
	"strings"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/server"
)

// E2: a change that the policies of administration do not allow is answered with the decision, which is recorded.
func TestChangeIsDenied(t *testing.T) {
	s := start(t)
	s.publish("administration", `
@id("all") permit (principal, action, resource);
@id("no-agents") @reason("Agents are not registered here.")
forbid (principal, action == Action::"identity.register", resource is Aver::Identity) when { resource.kind == "ai_agent" };`)
	agent := map[string]any{"kind": "ai_agent", "owner": "ann", "purpose": "pay"}
	x := s.admin("PUT", "/v1/identities/ai_agent/bot", agent)
	x.problem(403, "denied", "identity.register is not allowed: Agents are not registered here.", `"policy":"administration/no-agents"`)
	s.admin("GET", "/v1/identities/ai_agent/bot", nil).problem(404, "not-found")
	why := s.text("/v1/decisions/" + x.at("evaluation_id").(string) + "/why")
	for _, says := range []string{"DENIED", "asked by Aver itself", "administration/no-agents", "Aver, which administers it", "decided again for this page: the same"} {
		if !strings.Contains(why, says) {
			t.Errorf("why does not say %q:\n%s", says, why)
		}
	}
	made := s.admin("PUT", "/v1/identities/user/ann", map[string]any{"kind": "human_user"}).ok(201)
	record := s.admin("GET", "/v1/decisions/"+made.at("event", "decision").(string), nil).ok(200)
	if record.at("payload", "decision", "outcome") != "permitted" || record.at("payload", "pep", "credential") != aver.Self {
		t.Errorf("%s", record.body)
	}
}

// Ordinary requests never reach the policies of administration.
func TestNobodyAsksAboutAdministration(t *testing.T) {
	s := start(t)
	before := s.recorded()
	q := question("user:ann", "policy.activate", "x:payments")
	q["resource"] = map[string]any{"type": "Aver::Policy", "id": "payments"}
	x := s.evaluate(q).ok(400)
	if !strings.Contains(string(x.body), "is reserved") {
		t.Errorf("%s", x.body)
	}
	if n := s.recorded(); n != before {
		t.Errorf("%d records of it", n-before)
	}
}

// Without authentication everybody on the machine is the administrator, and each change is decided all the same.
func TestChangesAreDecidedWithoutAuthentication(t *testing.T) {
	s := start(t, func(cfg *server.Config) { cfg.InsecureNoAuth = true })
	x := s.request("PUT", "/v1/entities/doc/1", map[string]any{}, nil).ok(201)
	if x.at("event", "decision") == nil || x.at("event", "by", "method") != "none" {
		t.Errorf("%s", x.body)
	}
}

// B4: who gave a grant revokes it, with a token of their own.
func TestGrantIsRevokedByItsGrantor(t *testing.T) {
	s := start(t)
	token := func(name string) string {
		return s.admin("POST", "/v1/credentials", map[string]any{"name": name, "role": "pep", "subject": party("user:" + name)}).ok(201).at("token").(string)
	}
	ann, eve := token("ann"), token("eve")
	s.admin("POST", "/v1/grants", map[string]any{
		"id": "g-1", "from": party("user:ann"), "to": party("user:bob"), "actions": []string{"read"}, "resources": []any{map[string]any{"type": "doc"}},
	}).ok(201)
	s.request("POST", "/v1/grants/g-1/revoke", nil, bearer(eve)).problem(403, "denied", "grant.revoke is not allowed")
	s.request("POST", "/v1/grants/g-1/revoke", nil, bearer(ann)).ok(200)
	s.as(aver.RoleAuditor, "POST", "/v1/grants/g-1/revoke", nil).problem(403, "forbidden")
}
