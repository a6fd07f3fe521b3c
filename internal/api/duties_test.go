package api_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aver-authz/aver"
)

func inAnHour() string { return aver.TimeOf(time.Now().Add(time.Hour)).String() }

// E4: a duty that was delegated is done in somebody's name, and that shows everywhere.
func TestDelegatedDuty(t *testing.T) {
	a := startApprovals(t)
	id := a.asked(500)
	path := "/v1/approvals/" + id
	a.person("eve", "GET", path, nil).problem(404, "not-found")
	made := a.person("lena", "POST", "/v1/duties", map[string]any{"to": party("user:eve"), "expires": inAnHour(), "reason": "on leave"}).ok(201)
	duty := made.at("event", "data", "id").(string)
	if made.at("event", "decision") == nil {
		t.Error("nobody decided whether she may")
	}
	if x := a.person("eve", "GET", "/v1/duties/"+duty, nil).ok(200); x.at("state") != "active" || x.at("from", "id") != "lena" {
		t.Errorf("%s", x.body)
	}
	a.person("luis", "GET", "/v1/duties/"+duty, nil).problem(404, "not-found")
	a.person("eve", "POST", path+"/approve", map[string]any{"on_behalf_of": party("user:luis")}).problem(403, "forbidden", "delegated no duty")
	if x := a.person("eve", "POST", path+"/approve", map[string]any{"reason": "fine"}).ok(200); x.at("event", "data", "duty") != duty {
		t.Errorf("%s", x.body)
	}
	a.person("lena", "POST", path+"/approve", nil).problem(409, "conflict", "answered already on behalf of")
	a.person("luis", "POST", path+"/approve", nil).ok(200)
	vote := a.as(aver.RoleAuditor, "GET", path, nil).ok(200).at("votes").([]any)[0].(map[string]any)
	if on := vote["on_behalf_of"].(map[string]any); on["id"] != "lena" || vote["approver"].(map[string]any)["id"] != "eve" {
		t.Errorf("%v", vote)
	}
	x := a.evaluate(with(payment(500), "context", map[string]any{"approval": map[string]any{"id": id}})).ok(200)
	if x.at("context", "outcome") != "permitted" || !strings.Contains(string(x.body), `user::\"eve\" on behalf of user::\"lena\"`) {
		t.Errorf("%s", x.body)
	}
	if text := a.text("/v1/decisions/" + x.at("context", "evaluation_id").(string) + "/why"); !strings.Contains(text, `user::"eve" approved it on behalf of user::"lena"`) {
		t.Errorf("%s", text)
	}
	// Both may end it; then it is worth nothing.
	a.person("eve", "POST", "/v1/duties/"+duty+"/revoke", nil).ok(200)
	a.person("lena", "POST", "/v1/duties/"+duty+"/revoke", nil).problem(409, "conflict", "already revoked")
	second := a.asked(600)
	a.person("eve", "POST", "/v1/approvals/"+second+"/approve", nil).problem(404, "not-found")
	list := a.as(aver.RoleAuditor, "GET", "/v1/duties", nil).ok(200).at("duties").([]any)
	if len(list) != 1 || list[0].(map[string]any)["state"] != "revoked" {
		t.Errorf("%v", list)
	}
}

// Who may delegate whose duty, to whom.
func TestDutyDelegatedByTheWrongPeople(t *testing.T) {
	a := startApprovals(t)
	body := func(from, to string) map[string]any {
		b := map[string]any{"to": party(to), "expires": inAnHour()}
		if from != "" {
			b["from"] = party(from)
		}
		return b
	}
	a.person("eve", "POST", "/v1/duties", body("user:lena", "user:eve")).problem(403, "denied")
	a.person("lena", "POST", "/v1/duties", body("user:luis", "user:eve")).problem(403, "denied")
	a.person("lena", "POST", "/v1/duties", body("", "user:nobody")).problem(422, "refused", "registered human user")
	a.person("lena", "POST", "/v1/duties", map[string]any{"to": party("user:eve")}).problem(422, "refused", "expires")
	a.as(aver.RolePEP, "POST", "/v1/duties", body("user:lena", "user:eve")).problem(403, "forbidden")
	a.as(aver.RoleAuditor, "POST", "/v1/duties", body("user:lena", "user:eve")).problem(403, "forbidden")
	token := a.admin("POST", "/v1/credentials", map[string]any{"name": "eve-admin", "role": "admin", "subject": party("user:eve")}).ok(201).at("token").(string)
	a.request("POST", "/v1/duties", body("user:lena", "user:eve"), bearer(token)).problem(403, "denied", "own hand")
	a.admin("POST", "/v1/duties", body("user:lena", "user:eve")).ok(201) // the duty manager is ill
	// The requester, in whose hands a lead's duty is, stays the requester.
	a.admin("POST", "/v1/duties", body("user:luis", "user:alice")).ok(201)
	id := a.asked(500)
	a.person("alice", "POST", "/v1/approvals/"+id+"/approve", nil).problem(403, "forbidden", "one of those that the request comes from")
}
