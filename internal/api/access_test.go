package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/api"
	"github.com/aver-authz/aver/internal/server"
)

// lastAccess is the request of the newest record, which is that of an access to evidence.
func (s *service) lastAccess(before int) map[string]any {
	s.t.Helper()
	x := s.admin("GET", fmt.Sprintf("/v1/decisions?limit=1&before=%d", before), nil).ok(200)
	entry := x.at("decisions").([]any)[0].(map[string]any)
	payload := entry["payload"].(map[string]any)
	if payload["pep"].(map[string]any)["credential"] != aver.Self {
		s.t.Fatalf("not Aver's own question: %v", payload)
	}
	return payload
}

// Reading evidence is decided by the bundle administration and recorded: who, how authenticated, what, for which purpose
// (issue 4: reading and exporting evidence is recorded too).
func TestEvidenceAccessIsRecorded(t *testing.T) {
	s := startDocs(t)
	id := s.evaluate(question("user:ann", "read", "doc:1")).ok(200).at("context", "evaluation_id").(string)
	for _, path := range []string{
		"/v1/decisions/" + id, "/v1/decisions/" + id + "/why", "/v1/decisions/" + id + "/activities", "/v1/decisions?outcome=permitted",
		"/v1/events", "/v1/events/0", "/v1/log/decisions/entries", "/v1/log/authority/entries/1",
	} {
		before := s.recorded()
		header := bearer(s.tokens[aver.RoleAuditor])
		header.Set("X-Aver-Purpose", "incident 42")
		s.request("GET", path, nil, header).ok(200)
		if n := s.recorded() - before; n != 1 {
			t.Errorf("%s left %d records", path, n)
			continue
		}
		record := s.lastAccess(before + 1)
		request := record["request"].(map[string]any)
		resource := request["resource"].(map[string]any)
		context := request["context"].(map[string]any)
		route, query, _ := strings.Cut(path, "?")
		if resource["type"] != "Aver::Evidence" || resource["id"] != route || request["action"].(map[string]any)["name"] != "evidence.read" {
			t.Errorf("%s: %v", path, request)
		}
		if context["administration"].(map[string]any)["purpose"] != "incident 42" ||
			context["authentication"].(map[string]any)["credential"] != "the-auditor" {
			t.Errorf("%s: %v", path, context)
		}
		if query != "" && resource["properties"].(map[string]any)["query_digest"] != aver.Digest([]byte(query)) {
			t.Errorf("%s: %v", path, resource)
		}
	}
}

// A page that renews itself does not flood the log, and whatever changes the authority ends what was decided before.
func TestSameEvidenceAccessIsRecordedOnce(t *testing.T) {
	clock := &testClock{}
	s := start(t, func(cfg *server.Config) { cfg.Now = clock.Now })
	before := s.recorded()
	read := func(path string) { s.as(aver.RoleAuditor, "GET", path, nil).ok(200) }
	for range 5 {
		read("/v1/decisions?limit=10")
	}
	if n := s.recorded() - before; n != 1 {
		t.Errorf("the same five times left %d records", n)
	}
	read("/v1/decisions?limit=11")
	s.admin("GET", "/v1/decisions?limit=10", nil).ok(200)
	if n := s.recorded() - before; n != 3 {
		t.Errorf("another query and another reader left %d records in all, not 3", n)
	}
	clock.move(61 * time.Second)
	read("/v1/decisions?limit=10")
	if n := s.recorded() - before; n != 4 {
		t.Errorf("a minute later: %d records in all, not 4", n)
	}
	s.publish("administration", `
@id("admins") permit (principal, action, resource) when { context.administration.role == "admin" };
@id("purpose") permit (principal, action == Action::"evidence.read", resource) when { context.administration has purpose };`)
	s.as(aver.RoleAuditor, "GET", "/v1/decisions?limit=10", nil).problem(403, "denied", "evidence.read is not allowed")
	header := bearer(s.tokens[aver.RoleAuditor])
	header.Set("X-Aver-Purpose", "quarterly sample")
	s.request("GET", "/v1/decisions?limit=10", nil, header).ok(200)
	header.Set("X-Aver-Purpose", strings.Repeat("x", 513))
	s.request("GET", "/v1/decisions?limit=10", nil, header).problem(400, "invalid-request", "X-Aver-Purpose")
}

// What gives records or events by name has them recorded; what is here does not give any.
func TestEvidenceRoutesAreRecorded(t *testing.T) {
	without := map[string]string{
		"GET /v1/decisions/{id}/proof":  "leaves and hashes",
		"GET /v1/events/{index}/proof":  "leaves and hashes",
		"GET /v1/log":                   "heads",
		"GET /v1/log/witnesses":         "who cosigned heads",
		"GET /v1/log/{log}/consistency": "hashes",
	}
	for _, r := range api.Routes() {
		method, path, _ := strings.Cut(r.Pattern, " ")
		of := func(prefix string) bool { return path == prefix || strings.HasPrefix(path, prefix+"/") }
		if method != http.MethodGet || !of("/v1/decisions") && !of("/v1/events") && !of("/v1/log") &&
			!of("/v1/trail") && !of("/v1/gaps") && !of("/v1/reports") && !of("/v1/exports") {
			continue
		}
		if reason, ok := without[r.Pattern]; ok == r.Evidence {
			t.Errorf("%s: recorded %v, and the list here says %q", r.Pattern, r.Evidence, reason)
		}
	}
}

// What is asked for stands in the record as it can be read again, however long and odd the path: a record that can't be
// decided again would make the whole log useless to who verifies it.
func TestEvidenceAccessWithOddPaths(t *testing.T) {
	s := startDocs(t)
	for _, path := range []string{
		"/v1/decisions/" + strings.Repeat("a", 3000), "/v1/decisions/" + strings.Repeat("%22", 1000) + "/why",
		"/v1/decisions/%ff%fe", "/v1/decisions/%00%0a", "/v1/decisions/%e2%80%ae%ef%bf%be", "/v1/events/%c3%28",
	} {
		before := s.recorded()
		if x := s.as(aver.RoleAuditor, "GET", path, nil); x.status != 404 {
			t.Errorf("%.40s: status %d: %s", path, x.status, x.body)
		}
		request := s.lastAccess(before + 1)["request"].(map[string]any)
		delete(request["context"].(map[string]any), "aver")
		if _, err := aver.ParseRequest(request); err != nil {
			t.Errorf("%.40s: the record can't be read again: %v", path, err)
		}
	}
}

// Requests for approval hold what was asked, with its values: who reads them without having to answer them leaves a record.
func TestReadingApprovalsIsRecorded(t *testing.T) {
	a := startApprovals(t)
	id := a.asked(500)
	for _, path := range []string{"/v1/approvals?state=pending", "/v1/approvals/" + id} {
		before := a.recorded()
		a.person("lena", "GET", path, nil).ok(200)
		if n := a.recorded(); n != before {
			t.Errorf("%s: %d records of an approver", path, n-before)
		}
		a.as(aver.RoleAuditor, "GET", path, nil).ok(200)
		if n := a.recorded(); n != before+1 {
			t.Fatalf("%s: %d records of an auditor, want 1", path, n-before)
		}
		route, _, _ := strings.Cut(path, "?")
		if got := a.lastAccess(before + 1)["request"].(map[string]any)["resource"].(map[string]any)["id"]; got != route {
			t.Errorf("%s: %v", path, got)
		}
	}
}
