package api_test

import (
	"strings"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/evidence"
)

// K1: an auditor has a pack made. It verifies, and who had it made is on record.
func TestPacks(t *testing.T) {
	s := startDocs(t)
	id := s.evaluate(question("user:ann", "read", "doc:1")).ok(200).at("context", "evaluation_id").(string)
	for _, form := range []string{"zip", "html"} {
		before := s.recorded()
		x := s.as(aver.RoleAuditor, "POST", "/v1/packs", map[string]any{"form": form, "decisions": []string{id}, "purpose": "compliance-audit"}).ok(200)
		if got := x.header.Get("Content-Disposition"); got != `attachment; filename="evidence.`+form+`"` {
			t.Errorf("%s: Content-Disposition %q", form, got)
		}
		if got := x.header.Get("Content-Security-Policy"); got != "sandbox" {
			t.Errorf("%s: Content-Security-Policy %q", form, got)
		}
		p, err := evidence.Open(x.body)
		if err != nil {
			t.Fatal(err)
		}
		r, err := p.Verify(evidence.Options{Keys: []string{p.Statement.Predicate.Logs[evidence.DecisionLog].Key}})
		if err != nil {
			t.Fatal(err)
		}
		if !r.OK || r.Trust != evidence.TrustEstablished || r.Decisions != 1 || p.Statement.Predicate.Decisions[0].ID != id {
			t.Errorf("%s: %+v", form, r)
		}
		if n := s.recorded() - before; n != 1 {
			t.Errorf("%s: %d records of the access", form, n)
			continue
		}
		request := s.lastAccess(before + 1)["request"].(map[string]any)
		if request["action"].(map[string]any)["name"] != "evidence.export" || request["resource"].(map[string]any)["id"] != "/v1/packs" {
			t.Errorf("%s: %v", form, request)
		}
	}
}

func TestPacksThatAreRefused(t *testing.T) {
	s := startDocs(t)
	s.evaluate(question("user:ann", "read", "doc:1")).ok(200)
	post := func(body map[string]any) *exchange { return s.as(aver.RoleAuditor, "POST", "/v1/packs", body) }
	post(map[string]any{"form": "zip"}).problem(400, "invalid-request", "needs decisions")
	post(map[string]any{"form": "zip", "query": "outcome:maybe"}).problem(400, "invalid-request", "character 9")
	post(map[string]any{"form": "zip", "query": "actor:user/nobody"}).problem(400, "invalid-request", "matches no decision")
	post(map[string]any{"form": "zip", "decisions": []string{"01a20d2e-4401-7d8b-a927-5b36c2ecd94b"}}).problem(400, "invalid-request", "no decision")
	post(map[string]any{"form": "zip", "query": "", "decisions": strings.Split(strings.Repeat("x ", 2000)+"x", " ")}).problem(400, "invalid-request", "2000")
	s.as(aver.RolePEP, "POST", "/v1/packs", map[string]any{"form": "zip", "query": "actor:user/ann"}).problem(403, "forbidden")
}
