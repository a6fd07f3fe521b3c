package api_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/server"
)

func isARAP(t *testing.T, x *exchange, status int, slug string) {
	t.Helper()
	if x.ok(status); x.at("type") != "urn:openid:authzen:access-request:error:"+slug {
		t.Errorf("%s", x.body)
	}
}

// bill is an item of a batch: a payment whose decision escalated.
func (a *approvals) bill(id string, amount int) map[string]any {
	a.t.Helper()
	q := payment(amount)
	q["resource"].(map[string]any)["id"] = id
	return map[string]any{"resource": q["resource"], "action": q["action"], "denial": map[string]any{"evaluation_id": a.escalated(q)}}
}

func (a *approvals) both(id string, verb string) {
	a.t.Helper()
	a.person("lena", "POST", "/v1/approvals/"+id+"/"+verb, map[string]any{"reason": "looked"}).ok(200)
	if verb == "approve" {
		a.person("luis", "POST", "/v1/approvals/"+id+"/"+verb, nil).ok(200)
	}
}

// ARAP Bulk: each item is approved by itself, and the whole tells what became of each.
func TestBatchOfAccessRequests(t *testing.T) {
	a := startApprovals(t)
	items := []any{a.bill("p-1", 500), a.bill("p-2", 600), a.bill("p-3", 700)}
	body := map[string]any{"subject": party("user:alice"), "items": items}
	made := a.as(aver.RolePEP, "POST", "/v1/access-requests", body).ok(201)
	id := made.at("task", "id").(string)
	if !strings.HasPrefix(id, "ab-") || made.at("task", "status") != "pending" || len(made.at("task", "items").([]any)) != 3 || made.at("result") != nil ||
		made.header.Get("Location") != made.at("task", "status_endpoint") {
		t.Fatalf("%s", made.body)
	}
	if again := a.as(aver.RolePEP, "POST", "/v1/access-requests", body).ok(202); again.at("task", "id") != id {
		t.Errorf("%s", again.body)
	}
	list := a.as(aver.RoleAuditor, "GET", "/v1/approvals", nil).ok(200).at("approvals").([]any)
	var ids []string
	for _, p := range list {
		ids = append(ids, p.(map[string]any)["id"].(string))
	}
	if len(ids) != 3 {
		t.Fatalf("%v", ids)
	}
	a.both(ids[0], "approve")
	task := func() *exchange { return a.as(aver.RolePEP, "GET", "/v1/access-requests/"+id, nil).ok(200) }
	if x := task(); x.at("task", "status") != "pending" {
		t.Errorf("%s", x.body)
	}
	a.both(ids[1], "refuse")
	done := a.as(aver.RolePEP, "POST", "/v1/access-requests/"+id+"/cancel", map[string]any{"reason": "no_need", "comment": "paid"}).ok(200)
	var got struct {
		Task struct {
			Status string
			Items  []struct {
				Status   string
				Resource struct{ ID string }
				Result   *struct {
					Mode     string
					Approval struct{ ID string }
				}
			}
		}
	}
	done.into(&got)
	var states []string
	for _, i := range got.Task.Items {
		states = append(states, i.Resource.ID+" "+i.Status)
	}
	if s := strings.Join(states, ", "); got.Task.Status != "partial" || s != "p-1 approved, p-2 denied, p-3 cancelled" || got.Task.Items[0].Result.Mode != "reevaluate" || got.Task.Items[1].Result != nil {
		t.Errorf("%s", done.body)
	}
	isARAP(t, a.as(aver.RolePEP, "POST", "/v1/access-requests/"+id+"/cancel", nil), 409, "invalid_task_state")
	// What was approved of it lets that item through, and no other.
	for n, want := range map[int]string{0: "permitted", 1: "escalated"} {
		q := payment(500 + 100*n)
		q["resource"] = items[n].(map[string]any)["resource"]
		if outcome, text := a.decide(q, ids[0]); outcome != want {
			t.Errorf("item %d: %s", n, text)
		}
	}
}

func TestBatchesThatAreRefused(t *testing.T) {
	a := startApprovals(t)
	one, two := a.bill("p-1", 500), a.bill("p-2", 600)
	send := func(body map[string]any) *exchange {
		body["subject"] = party("user:alice")
		return a.as(aver.RolePEP, "POST", "/v1/access-requests", body)
	}
	list := func(items ...any) map[string]any { return map[string]any{"items": items} }
	send(map[string]any{"items": []any{}}).problem(400, "invalid-request", "/items")
	send(map[string]any{"items": "x"}).problem(400, "invalid-request", "/items")
	send(list("x")).problem(400, "invalid-request", "/items/0")
	send(with(list(one), "resource", one["resource"])).problem(400, "invalid-request", "not beside them")
	send(list(one, one)).problem(400, "invalid-request", "/items/1/denial")
	send(list(one, with(two, "action", nil))).problem(400, "invalid-request", "/items/1/action")
	many := []any{}
	for range aver.MaxBatch + 1 {
		many = append(many, one)
	}
	send(list(many...)).problem(400, "invalid-request", "1 to 100")
	without := with(one, "denial", nil)
	isARAP(t, send(with(list(without), "denial", one["denial"])), 400, "invalid_denial_binding")
	swapped := with(one, "denial", two["denial"])
	isARAP(t, send(list(swapped)), 400, "invalid_denial_binding")
	small := a.evaluate(payment(5)).ok(200).at("context", "evaluation_id")
	q := payment(5)
	isARAP(t, send(list(one, map[string]any{"resource": q["resource"], "action": q["action"], "denial": map[string]any{"evaluation_id": small}})), 400, "not_requestable")
	if n := len(a.as(aver.RoleAuditor, "GET", "/v1/approvals", nil).ok(200).at("approvals").([]any)); n != 0 {
		t.Errorf("%d were asked for though the batch was refused", n)
	}
	header := bearer(a.tokens[aver.RolePEP])
	header.Set("Idempotency-Key", "k")
	body := map[string]any{"subject": party("user:alice"), "items": []any{one}}
	a.request("POST", "/v1/access-requests", body, header).ok(201)
	a.request("POST", "/v1/access-requests", body, header).ok(202)
	isARAP(t, a.request("POST", "/v1/access-requests", map[string]any{"subject": party("user:alice"), "items": []any{one, two}}, header), 409, "duplicate_request")
	isARAP(t, send(list(two, one)), 409, "duplicate_request") // one is in a batch already
}

// What a PEP echoes of the denial must be what was answered; a justification may be added to the context.
func TestDenialThatIsEchoed(t *testing.T) {
	a := startApprovals(t)
	q := payment(500)
	x := a.evaluate(q).ok(200)
	good := map[string]any{
		"evaluation_id": x.at("context", "evaluation_id"), "evaluated_at": x.at("context", "evaluated_at"),
		"expires_at": x.at("context", "access_request", "expires_at"), "reason": "escalated",
	}
	send := func(name string, v any) *exchange {
		return a.as(aver.RolePEP, "POST", "/v1/access-requests", with(q, "denial", with(good, name, v)))
	}
	isARAP(t, send("expires_at", "2099-01-01T00:00:00Z"), 400, "invalid_denial_binding")
	isARAP(t, send("expires_at", 7), 400, "invalid_denial_binding")
	isARAP(t, send("evaluated_at", "2020-01-01T00:00:00Z"), 400, "invalid_denial_binding")
	isARAP(t, send("binding_token", "eyJhbGciOiJub25lIn0.e30."), 400, "invalid_denial_binding")
	justified := with(with(q, "denial", good), "context", map[string]any{"business_justification": "the supplier waits"})
	id := a.as(aver.RolePEP, "POST", "/v1/access-requests", justified).ok(201).at("task", "id").(string)
	if got := a.person("lena", "GET", "/v1/approvals/"+id, nil).ok(200).at("shown", "reason"); got != "the supplier waits" {
		t.Errorf("%v", got)
	}
	isARAP(t, a.as(aver.RolePEP, "POST", "/v1/access-requests", with(justified, "context", map[string]any{"business_justification": "x", "amount": 1})), 400, "invalid_denial_binding")
}

// ARAP Callback, over HTTP: registered for the PEP, or refused; told of the end, signed.
func TestCallbackOfAnAccessRequest(t *testing.T) {
	got := make(chan *http.Request, 10)
	bodies := make(chan string, 10)
	desk := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- r
		bodies <- string(body)
	}))
	t.Cleanup(desk.Close)
	a := startApprovals(t, func(c *server.Config) {
		c.ExternalURL = "https://pdp.example.com"
		c.Webhooks = filepath.Join(t.TempDir(), "hooks.yaml")
		text := fmt.Sprintf("callbacks: [{pep: the-pep, urls: [%q], secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]}]", desk.URL+"/done")
		if err := os.WriteFile(c.Webhooks, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	q := payment(500)
	evaluation := a.evaluate(q).ok(200).at("context", "evaluation_id").(string)
	send := func(callback any) *exchange {
		return a.as(aver.RolePEP, "POST", "/v1/access-requests", with(with(q, "denial", map[string]any{"evaluation_id": evaluation}), "callback", callback))
	}
	for name, c := range map[string]any{
		"another path":       map[string]any{"endpoint": desk.URL + "/other"},
		"inside (SSRF)":      map[string]any{"endpoint": "http://169.254.169.254/latest/meta-data"},
		"no endpoint":        map[string]any{"state": "x"},
		"no object":          "https://example.com",
		"unknown event":      map[string]any{"endpoint": desk.URL + "/done", "events": []any{"granted"}},
		"state of no string": map[string]any{"endpoint": desk.URL + "/done", "state": 7},
		"state too long":     map[string]any{"endpoint": desk.URL + "/done", "state": strings.Repeat("x", 3000)},
	} {
		if x := send(c); x.status != 400 || !strings.Contains(string(x.body), "/callback") {
			t.Errorf("%s: %d %s", name, x.status, x.body)
		}
	}
	id := send(map[string]any{"endpoint": desk.URL + "/done", "state": "run-7", "events": []any{"approved"}}).ok(201).at("task", "id").(string)
	a.both(id, "approve")
	r := <-got
	var told struct {
		State string
		Task  struct{ ID, Status, StatusEndpoint string }
	}
	if err := json.Unmarshal([]byte(<-bodies), &told); err != nil || told.State != "run-7" || told.Task.ID != id || told.Task.Status != "approved" ||
		r.URL.Path != "/done" || !strings.HasPrefix(r.Header.Get("webhook-signature"), "v1,") {
		t.Errorf("%+v, %v", told, err)
	}
	var states struct {
		Webhooks []struct{ Kind, Name, State string }
	}
	// Deliveries are made behind the answer, and their state is all that shows.
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		a.as(aver.RoleAuditor, "GET", "/v1/webhooks", nil).ok(200).into(&states)
		if states.Webhooks[0].State == "idle" || time.Now().After(deadline) {
			break
		}
	}
	if w := states.Webhooks[0]; w.Kind != "callback" || w.Name != "the-pep" || w.State != "idle" {
		t.Errorf("%+v", states)
	}
	a.as(aver.RolePEP, "GET", "/v1/webhooks", nil).problem(403, "forbidden")
	if page := string(a.request("GET", "/metrics", nil, nil).ok(200).body); !strings.Contains(page, `aver_webhook_deliveries_total{kind="callback",receiver="1",result="delivered"} 1`) {
		t.Error("the metrics do not count it")
	}
}
