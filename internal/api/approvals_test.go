package api_test

import (
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/server"
)

const escalating = `
@id("pay") permit (principal, action == Action::"pay", resource is payment);
@id("eyes") @reason("Two leads approve payments above 100.") @gate("escalate") @approvers("leads") @approvals("2") @within("30m")
forbid (principal, action == Action::"pay", resource is payment) when { resource.amount > 100 };
`

// approvals is a service with a payment that escalates, two leads, and a clock that tests move.
type approvals struct {
	*service
	people map[string]string // name :: token
	mu     sync.Mutex
	late   time.Duration
}

func startApprovals(t *testing.T, change ...func(*server.Config)) *approvals {
	a := &approvals{people: map[string]string{}}
	a.service = start(t, append(change, func(c *server.Config) {
		c.Now = func() time.Time {
			a.mu.Lock()
			defer a.mu.Unlock()
			return time.Now().Add(a.late)
		}
	})...)
	a.publish("payments", escalating)
	for _, name := range []string{"lena", "luis", "alice", "eve"} {
		parents := []any{}
		if name != "eve" {
			parents = append(parents, party("group:leads"))
		}
		a.admin("PUT", "/v1/identities/user/"+name, map[string]any{"kind": "human_user", "parents": parents}).ok(201)
		a.people[name] = a.admin("POST", "/v1/credentials", map[string]any{"name": name, "role": "approver", "subject": party("user:" + name)}).ok(201).at("token").(string)
	}
	return a
}

func (a *approvals) later(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.late += d
}

func payment(amount int) map[string]any {
	q := question("user:alice", "pay", "payment:p-1")
	q["resource"].(map[string]any)["properties"] = map[string]any{"amount": amount}
	return q
}

func with(q map[string]any, name string, v any) map[string]any {
	q = maps.Clone(q)
	q[name] = v
	return q
}

// escalated asks for a decision that escalates and returns its evaluation id.
func (a *approvals) escalated(q map[string]any) string {
	a.t.Helper()
	x := a.evaluate(q).ok(200)
	if x.at("context", "outcome") != "escalated" || x.at("context", "access_request", "endpoint") != a.url+"/v1/access-requests" {
		a.t.Fatalf("%s", x.body)
	}
	return x.at("context", "evaluation_id").(string)
}

func (a *approvals) ask(q map[string]any, evaluation string) *exchange {
	a.t.Helper()
	return a.as(aver.RolePEP, "POST", "/v1/access-requests", with(q, "denial", map[string]any{"evaluation_id": evaluation}))
}

func (a *approvals) person(name, method, path string, body any) *exchange {
	a.t.Helper()
	return a.request(method, path, body, bearer(a.people[name]))
}

// asked has a payment escalated and asks for its approval.
func (a *approvals) asked(amount int) string {
	a.t.Helper()
	q := payment(amount)
	return a.ask(q, a.escalated(q)).ok(201).at("task", "id").(string)
}

func (a *approvals) decide(q map[string]any, approval string) (outcome string, body string) {
	a.t.Helper()
	x := a.evaluate(with(q, "context", map[string]any{"approval": map[string]any{"id": approval, "approved_until": "whenever"}})).ok(200)
	return x.at("context", "outcome").(string), string(x.body)
}

// E4: an escalated request is allowed once the approvers that the policy names have said yes, and only by deciding again.
func TestApproval(t *testing.T) {
	a := startApprovals(t)
	if got := a.request("GET", "/.well-known/authzen-configuration", nil, nil).ok(200).at("access_request_endpoint"); got != a.url+"/v1/access-requests" {
		t.Errorf("metadata: %v", got)
	}
	if got := a.request("GET", "/.well-known/authzen-configuration", nil, nil).at("capabilities").([]any); len(got) != 1 || got[0] != "urn:openid:authzen:capability:access-request" {
		t.Errorf("capabilities: %v", got)
	}
	q := payment(500)
	evaluation := a.escalated(q)
	made := a.ask(q, evaluation).ok(201)
	id := made.at("task", "id").(string)
	if made.at("task", "status") != "pending" || a.ask(q, evaluation).ok(202).at("task", "id") != id {
		t.Errorf("%s", made.body)
	}
	if outcome, body := a.decide(q, id); outcome != "escalated" || !strings.Contains(body, "approval_pending") {
		t.Errorf("before anybody approved: %s", body)
	}
	path := "/v1/approvals/" + id
	seen := a.person("lena", "GET", path, nil).ok(200)
	if seen.at("shown", "request", "resource", "properties", "amount") == nil || seen.at("shown", "decision", "outcome") != "escalated" {
		t.Errorf("%s", seen.body)
	}
	vote := map[string]any{"reason": "fine", "seen": seen.at("seen"), "approver": party("user:lena")}
	if got := a.person("lena", "POST", path+"/approve", vote).ok(200).at("event", "data", "seen"); got != seen.at("seen") {
		t.Errorf("the event holds %v", got)
	}
	a.person("lena", "POST", path+"/approve", nil).problem(409, "conflict", "answered already")
	if outcome, _ := a.decide(q, id); outcome != "escalated" {
		t.Error("one of two approvals is enough")
	}
	a.person("luis", "POST", path+"/approve", nil).ok(200)
	status := a.as(aver.RolePEP, "GET", "/v1/access-requests/"+id, nil).ok(200)
	if status.at("task", "status") != "approved" || status.at("result", "mode") != "reevaluate" || status.at("result", "approval", "id") != id {
		t.Errorf("%s", status.body)
	}
	for _, other := range []map[string]any{payment(501), with(q, "subject", party("user:bob")), with(q, "resource", with(payment(500)["resource"].(map[string]any), "id", "p-2"))} {
		if outcome, body := a.decide(other, id); outcome != "escalated" || !strings.Contains(body, "approval_out_of_scope") {
			t.Errorf("another request: %s", body)
		}
	}
	// Many at once: one of them gets through.
	outcomes := make(chan string)
	for range 8 {
		go func() {
			outcome, body := a.decide(q, id)
			if outcome == "escalated" && !strings.Contains(body, "approval_used") {
				outcome = body
			}
			outcomes <- outcome
		}()
	}
	count := map[string]int{}
	for range 8 {
		count[<-outcomes]++
	}
	if count["permitted"] != 1 || count["escalated"] != 7 {
		t.Errorf("of eight at once: %v", count)
	}
	list := a.as(aver.RoleAuditor, "GET", "/v1/approvals?state=approved", nil).ok(200)
	if got := list.at("approvals").([]any); len(got) != 1 {
		t.Errorf("%s", list.body)
	}
}

// Who may not answer, and what they get.
func TestApprovalByTheWrongPeople(t *testing.T) {
	a := startApprovals(t)
	id := a.asked(500)
	path := "/v1/approvals/" + id + "/approve"
	a.person("alice", "POST", path, nil).problem(403, "forbidden", "somebody else has to answer") // the requester, though a lead
	a.person("eve", "POST", path, nil).problem(404, "not-found")                                  // no lead
	a.admin("POST", path, nil).problem(403, "forbidden", "belongs to nobody")
	a.admin("POST", path, map[string]any{"approver": party("user:lena")}).problem(403, "forbidden", "belongs to nobody")
	a.person("lena", "POST", path, map[string]any{"approver": party("user:luis")}).problem(403, "forbidden", "not of user")
	a.as(aver.RolePEP, "POST", path, nil).problem(403, "forbidden")
	a.as(aver.RoleAuditor, "POST", path, nil).problem(403, "forbidden")
	a.person("eve", "GET", "/v1/decisions", nil).problem(403, "forbidden")
	token := a.admin("POST", "/v1/credentials", map[string]any{"name": "alice-admin", "role": "admin", "subject": party("user:alice")}).ok(201).at("token").(string)
	a.request("POST", path, nil, bearer(token)).problem(403, "forbidden", "somebody else has to answer")
	a.admin("POST", "/v1/identities/user/lena/suspend", nil).ok(200)
	a.person("lena", "POST", path, nil).problem(404, "not-found")
	a.admin("POST", "/v1/credentials", map[string]any{"name": "nobody", "role": "approver"}).problem(422, "refused", "subject")
	a.person("luis", "POST", path, map[string]any{"seen": strings.Repeat("A", 43)}).problem(409, "conflict", "look at")
	if got := a.person("eve", "GET", "/v1/approvals", nil).ok(200).at("approvals").([]any); len(got) != 0 {
		t.Errorf("eve sees %v", got)
	}
}

// Nobody who delegated in the chain answers what an agent asks on their authority, whoever else approves (E4, B6).
func TestApprovalByWhoDelegated(t *testing.T) {
	a := startApprovals(t)
	a.admin("PUT", "/v1/identities/ai_agent/bot", map[string]any{"kind": "ai_agent", "owner": "ops", "purpose": "pay"}).ok(201)
	a.admin("POST", "/v1/grants", map[string]any{"id": "g", "from": party("user:lena"), "to": party("ai_agent:bot"), "actions": []any{"pay"}, "resources": []any{map[string]any{"type": "payment"}}}).ok(201)
	q := payment(500)
	q["subject"], q["context"] = party("ai_agent:bot"), map[string]any{"delegation": []any{"g"}}
	path := "/v1/approvals/" + a.ask(q, a.escalated(q)).ok(201).at("task", "id").(string) + "/approve"
	a.person("lena", "POST", path, nil).problem(403, "forbidden", "one of those that the request comes from")
	token := a.admin("POST", "/v1/credentials", map[string]any{"name": "lena-admin", "role": "admin", "subject": party("user:lena")}).ok(201).at("token").(string)
	a.request("POST", path, nil, bearer(token)).problem(403, "forbidden", "one of those that the request comes from")
	a.person("luis", "POST", path, nil).ok(200)
}

func TestApprovalRefusedCancelledExpired(t *testing.T) {
	a := startApprovals(t)
	refused := a.asked(500)
	a.person("lena", "POST", "/v1/approvals/"+refused+"/refuse", nil).problem(400, "invalid-request", "/reason")
	a.person("lena", "POST", "/v1/approvals/"+refused+"/refuse", map[string]any{"reason": "unknown account"}).ok(200)
	if x := a.as(aver.RolePEP, "GET", "/v1/access-requests/"+refused, nil); x.at("task", "status") != "denied" || x.at("task", "display", "description") != "unknown account" || x.at("result") != nil {
		t.Errorf("%s", x.body)
	}
	a.person("luis", "POST", "/v1/approvals/"+refused+"/approve", nil).problem(409, "conflict", "refused already")
	if _, body := a.decide(payment(500), refused); !strings.Contains(body, "approval_refused") {
		t.Errorf("%s", body)
	}
	arap := func(x *exchange, status int, slug string) {
		t.Helper()
		if x.ok(status); x.at("type") != "urn:openid:authzen:access-request:error:"+slug {
			t.Errorf("%s", x.body)
		}
	}
	arap(a.as(aver.RolePEP, "POST", "/v1/access-requests/"+refused+"/cancel", nil), 409, "invalid_task_state")
	arap(a.as(aver.RolePEP, "GET", "/v1/access-requests/ap-none", nil), 404, "unknown_task")

	cancelled := a.asked(600)
	a.as(aver.RolePEP, "POST", "/v1/access-requests/"+cancelled+"/cancel", map[string]any{"reason": "no need"}).ok(200)
	if _, body := a.decide(payment(600), cancelled); !strings.Contains(body, "cancelled") {
		t.Errorf("%s", body)
	}

	approved, pending := a.asked(700), a.asked(800)
	for _, name := range []string{"lena", "luis"} {
		a.person(name, "POST", "/v1/approvals/"+approved+"/approve", nil).ok(200)
	}
	a.later(31 * time.Minute)
	for id, amount := range map[string]int{approved: 700, pending: 800} {
		if outcome, body := a.decide(payment(amount), id); outcome != "escalated" || !strings.Contains(body, "approval_expired") {
			t.Errorf("%s", body)
		}
	}
	a.person("lena", "POST", "/v1/approvals/"+pending+"/approve", nil).problem(409, "conflict", "deadline")
	arap(a.as(aver.RolePEP, "POST", "/v1/access-requests/"+pending+"/cancel", nil), 410, "task_expired")
}

// An approval holds for the version of the policy that asked for it.
func TestApprovalIsVoidAfterThePolicyChanged(t *testing.T) {
	a := startApprovals(t)
	approved, pending := a.asked(500), a.asked(600)
	for _, name := range []string{"lena", "luis"} {
		a.person(name, "POST", "/v1/approvals/"+approved+"/approve", nil).ok(200)
	}
	a.publish("other", `permit (principal, action == Action::"read", resource);`)
	a.publish("payments", escalating+"// changed")
	if outcome, body := a.decide(payment(500), approved); outcome != "escalated" || !strings.Contains(body, "approval_out_of_scope") {
		t.Errorf("%s", body)
	}
	a.person("lena", "POST", "/v1/approvals/"+pending+"/approve", nil).problem(409, "conflict", "has changed since")
}

func TestAccessRequestsThatAreRefused(t *testing.T) {
	a := startApprovals(t)
	q := payment(500)
	evaluation := a.escalated(q)
	header := bearer(a.tokens[aver.RolePEP])
	header.Set("Idempotency-Key", "k-1")
	send := func(q map[string]any, evaluation string, header http.Header) *exchange {
		return a.request("POST", "/v1/access-requests", with(q, "denial", map[string]any{"evaluation_id": evaluation}), header)
	}
	arap := func(x *exchange, status int, slug string) {
		t.Helper()
		if x.ok(status); x.at("type") != "urn:openid:authzen:access-request:error:"+slug {
			t.Errorf("%s", x.body)
		}
	}
	arap(send(payment(501), evaluation, header), 400, "invalid_denial_binding")
	arap(send(q, "019a0000-0000-7000-8000-000000000000", header), 400, "invalid_denial_binding")
	other := a.admin("POST", "/v1/credentials", map[string]any{"name": "other-pep", "role": "pep"}).ok(201).at("token").(string)
	arap(send(q, evaluation, bearer(other)), 400, "invalid_denial_binding")
	send(q, evaluation, header).ok(201)
	send(q, evaluation, header).ok(202)
	again := payment(600)
	arap(send(again, a.escalated(again), header), 409, "duplicate_request")
	small := payment(5)
	arap(send(small, a.evaluate(small).at("context", "evaluation_id").(string), bearer(a.tokens[aver.RolePEP])), 400, "not_requestable")
	a.as(aver.RolePEP, "POST", "/v1/access-requests", q).problem(400, "invalid-request", "/denial/evaluation_id")
	late := payment(700)
	evaluation = a.escalated(late)
	a.later(61 * time.Minute)
	arap(a.ask(late, evaluation), 410, "expired_denial")
	a.evaluate(with(q, "context", map[string]any{"approval": map[string]any{}})).ok(400)
	a.evaluate(with(q, "context", map[string]any{"challenge": "x"})).ok(400)
	if _, body := a.decide(q, "ap-none"); !strings.Contains(body, "approval_unknown") {
		t.Errorf("%s", body)
	}
}
