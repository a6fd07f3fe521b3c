package api_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aver-authz/aver"
)

// gap is the finding of a rule, as GET /v1/gaps has it; nil if there is none.
func (s *service) gap(rule string) *aver.GapFinding {
	s.t.Helper()
	var report aver.GapReport
	s.as(aver.RoleAuditor, "GET", "/v1/gaps", nil).ok(200).into(&report)
	for i := range report.Findings {
		if report.Findings[i].Rule == rule {
			return &report.Findings[i]
		}
	}
	return nil
}

// Requirements I1 to I5 over HTTP: a gap is found, accepted for a time, closed, and opens again with new evidence. Each
// answer to it is a decided change, and not for whom it is about.
func TestControlGaps(t *testing.T) {
	a := startApprovals(t)
	a.publish("agents", `permit (principal is ai_agent, action, resource);`)
	a.admin("PUT", "/v1/identities/ai_agent/bot", map[string]any{"kind": "ai_agent", "owner": "user:lena", "purpose": "tests"}).ok(201)
	if f := a.gap("no-chain"); f != nil {
		t.Fatalf("before anything was done: %+v", f)
	}
	act := func() { a.evaluate(question("ai_agent:bot", "read", "doc:1")).ok(200) }
	act()
	f := a.gap("no-chain")
	if f == nil || f.Gap != "I3" || f.Severity != aver.SeverityHigh || f.State != aver.GapOpen || f.Owner != "user:lena" ||
		f.Subject.Ref != (aver.Ref{Type: "ai_agent", ID: "bot"}) || len(f.Evidence.Decisions) != 1 {
		t.Fatalf("found %+v", f)
	}
	a.as(aver.RoleAuditor, "GET", "/v1/decisions/"+f.Evidence.Decisions[0].ID, nil).ok(200)

	path := "/v1/gaps/" + f.ID
	year := time.Now().AddDate(2, 0, 0).UTC().Format(time.RFC3339)
	soon := time.Now().AddDate(0, 1, 0).UTC().Format(time.RFC3339)
	a.as(aver.RolePEP, "GET", "/v1/gaps", nil).problem(403, "forbidden")
	a.as(aver.RoleAuditor, "POST", path+"/close", nil).problem(403, "forbidden")
	a.admin("GET", "/v1/gaps?gap=I9", nil).problem(400, "invalid-request", "I1")
	a.person("lena", "POST", "/v1/gaps/I3-no-chain-000000000000/close", map[string]any{"reason": "r"}).problem(404, "not-found")
	a.person("lena", "POST", path+"/accept", map[string]any{"until": year, "reason": "r"}).problem(400, "invalid-request", "365 days")
	a.person("lena", "POST", path+"/accept", map[string]any{"until": soon}).problem(409, "conflict", "a reason is needed")

	made := a.person("lena", "POST", path+"/accept", map[string]any{"until": soon, "reason": "its grant comes next week"}).ok(200)
	if made.at("event", "type") != "gap.accepted" || made.at("event", "decision") == nil {
		t.Errorf("accepting is %s", made.body)
	}
	act()
	if f = a.gap("no-chain"); f.State != aver.GapAccepted || f.Answer == nil || f.Answer.By != `user::"lena"` || f.Count != 2 {
		t.Errorf("accepted, and seen again: %+v", f)
	}
	a.later(40 * 24 * time.Hour)
	if f = a.gap("no-chain"); f.State != aver.GapOpen {
		t.Errorf("after the acceptance ended: %+v", f)
	}
	a.person("lena", "POST", path+"/close", map[string]any{"reason": "it has a grant"}).ok(200)
	if f = a.gap("no-chain"); f.State != aver.GapClosed {
		t.Errorf("closed: %+v", f)
	}
	a.later(time.Second)
	act()
	if f = a.gap("no-chain"); f.State != aver.GapOpen {
		t.Errorf("closed, and seen again: %+v", f)
	}
	if page := a.request("GET", "/metrics", nil, nil).ok(200); !strings.Contains(string(page.body), `aver_control_gaps_open{gap="I3",severity="high"} 1`) {
		t.Errorf("metrics do not count it: %s", page.body)
	}
}

func TestNobodyClosesTheGapThatTheyAre(t *testing.T) {
	a := startExceptions(t)
	a.enable()
	a.person("eve", "POST", "/v1/exceptions", with(exceptional("break_glass"), "activate", true)).ok(201)
	a.later(72 * time.Hour)
	f := a.gap("review-overdue")
	if f == nil || f.Subject.Ref.ID != "eve" {
		t.Fatalf("%+v", f)
	}
	a.person("eve", "POST", "/v1/gaps/"+f.ID+"/close", map[string]any{"reason": "it was fine"}).problem(403, "denied", "neither accepts nor closes")
	a.person("rita", "POST", "/v1/gaps/"+f.ID+"/accept", map[string]any{
		"until": time.Now().AddDate(0, 0, 20).UTC().Format(time.RFC3339), "reason": "I review it on Monday",
	}).ok(200)
}

// Nobody approves their own exception, and who tries leaves a record: requirement I5.
func TestSelfApprovalIsRecorded(t *testing.T) {
	a := startExceptions(t)
	a.enable()
	a.admin("PUT", "/v1/identities/user/eve", map[string]any{"kind": "human_user", "parents": []any{party("group:leads")}}).ok(200)
	a.person("eve", "POST", "/v1/exceptions", exceptional("temporary_access")).ok(201)
	before := a.recorded()
	a.person("eve", "POST", "/v1/exceptions/x-1/approve", nil).problem(409, "conflict", "can't approve their own exception")
	if n := a.recorded(); n != before+1 {
		t.Errorf("%d records of the attempt, want 1", n-before)
	}
	f := a.gap("self-approval")
	if f == nil || f.Subject.Ref.ID != "eve" || f.Severity != aver.SeverityMedium || len(f.Evidence.Decisions) != 1 {
		t.Errorf("%+v", f)
	}
}

// Who a request comes from does not approve it, is told so, and leaves a record: by themselves, by the duty of somebody
// else, or with another credential of theirs (I5, E4).
func TestOwnEscalationIsRecorded(t *testing.T) {
	a := startApprovals(t)
	id := a.asked(500)
	alice := party("user:alice")
	admin := a.admin("POST", "/v1/credentials", map[string]any{"name": "alice-2", "role": "admin", "subject": alice}).ok(201).at("token").(string)
	a.admin("POST", "/v1/duties", map[string]any{"from": party("user:lena"), "to": alice, "expires": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)}).ok(201)
	for _, body := range []map[string]any{{}, {"on_behalf_of": party("user:lena")}} {
		for _, token := range []string{a.people["alice"], admin} {
			before := a.recorded()
			a.request("POST", "/v1/approvals/"+id+"/approve", body, bearer(token)).problem(403, "forbidden", "one of those that the request comes from")
			if n := a.recorded(); n != before+1 {
				t.Errorf("%v: %d records of the attempt, want 1", body, n-before)
			}
		}
	}
	before := a.recorded()
	a.person("eve", "POST", "/v1/approvals/"+id+"/approve", nil).problem(404, "not-found", "yours to see")
	if n := a.recorded(); n != before {
		t.Errorf("who is no approver left %d records", n-before)
	}
	if f := a.gap("self-approval"); f == nil || f.Subject.Ref.ID != "alice" {
		t.Errorf("%+v", f)
	}
}
