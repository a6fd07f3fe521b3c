package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aver-authz/aver"
)

// delegated is a service with an agent that acts for alice under a grant.
func delegated(t *testing.T, grant map[string]any) *service {
	t.Helper()
	s := start(t)
	s.publish("pay", `
@id("staff") permit (principal in group::"staff", action == Action::"pay", resource is payment);
@id("agents") permit (principal is ai_agent, action == Action::"pay", resource is payment);
@id("mask") @gate("restrict") @obligation("mask") forbid (principal, action, resource) when { resource.id == "masked" };`)
	s.admin("POST", "/v1/identities", map[string]any{"type": "user", "id": "alice", "kind": "human_user", "parents": []any{party("group:staff")}}).ok(201)
	s.admin("POST", "/v1/identities", map[string]any{"type": "ai_agent", "id": "bot", "kind": "ai_agent", "owner": "ops", "purpose": "pay"}).ok(201)
	body := map[string]any{
		"id": "g-1", "from": party("user:alice"), "to": party("ai_agent:bot"), "actions": []string{"pay"},
		"resources": []any{map[string]any{"type": "payment"}},
	}
	maps.Copy(body, grant)
	s.admin("POST", "/v1/grants", body).ok(201)
	return s
}

func payFor(resource string) map[string]any {
	q := question("ai_agent:bot", "pay", resource)
	q["resource"].(map[string]any)["properties"] = map[string]any{"id": strings.TrimPrefix(resource, "payment:")}
	q["context"] = map[string]any{"delegation": []string{"g-1"}, "supported_obligations": []string{"mask"}}
	return q
}

// allowed decides a request and returns the evaluation id of its permit.
func (s *service) allowed(q any, header ...http.Header) string {
	s.t.Helper()
	h := bearer(s.tokens[aver.RolePEP])
	for _, more := range header {
		maps.Copy(h, more)
	}
	x := s.request("POST", "/access/v1/evaluation", q, h).ok(200)
	if ok, outcome := decisionOf(s.t, x.json()); !ok {
		s.t.Fatalf("%s: %s", outcome, x.body)
	}
	return x.at("context", "evaluation_id").(string)
}

func (s *service) report(id, status string, more ...map[string]any) *exchange {
	s.t.Helper()
	body := map[string]any{"evaluation_id": id, "status": status}
	for _, m := range more {
		maps.Copy(body, m)
	}
	return s.as(aver.RolePEP, "POST", "/v1/activities", body)
}

func findings(x *exchange) []string {
	x.t.Helper()
	var answer aver.ActivityAnswer
	x.into(&answer)
	out := []string{}
	for _, f := range answer.Findings {
		out = append(out, string(f.Code))
	}
	return out
}

// B5, G6: a grant that is revoked in mid-run ends the authorization, and the
// completion says so, with the event and for how long the run went on.
func TestActivityContinuity(t *testing.T) {
	s := delegated(t, nil)
	held, lapsed := s.allowed(payFor("payment:p-1")), s.allowed(payFor("payment:p-2"))
	if x := s.report(held, "started").ok(201); x.at("continuity") != "held" || len(findings(x)) != 0 {
		t.Errorf("started: %s", x.body)
	}
	if x := s.report(held, "completed", map[string]any{"result": "paid"}).ok(201); x.at("continuity") != "held" || len(findings(x)) != 0 {
		t.Errorf("completed: %s", x.body)
	}
	s.report(lapsed, "started").ok(201)
	revoked := s.admin("POST", "/v1/grants/g-1/revoke", map[string]any{"reason": "misuse"}).ok(200)
	x := s.report(lapsed, "completed").ok(201)
	var answer aver.ActivityAnswer
	x.into(&answer)
	if answer.Continuity != aver.Lapsed || answer.Details == nil || answer.Details.Lapse == nil {
		t.Fatalf("completed after the revocation: %s", x.body)
	}
	l := answer.Details.Lapse
	if l.Cause != aver.LapseEvent || l.Type != aver.EventGrantRevoked || json.Number(itoa(*l.Event)) != revoked.at("index") ||
		!slices.ContainsFunc(l.Reasons, func(r aver.Reason) bool { return r.Code == aver.ReasonGrantRevoked && r.Grant == "g-1" }) ||
		l.RanOn != int64(answer.Details.Until-l.At) {
		t.Errorf("lapse %+v", l)
	}
	if answer.Receipt.Commit == nil || answer.Receipt.LeafHash == "" {
		t.Errorf("the answer proves nothing: %s", x.body)
	}
	// What is recorded is what was answered, and it stands with its decision.
	list := s.as(aver.RoleAuditor, "GET", "/v1/decisions/"+lapsed+"/activities", nil).ok(200)
	var in struct {
		Activities []struct{ Payload json.RawMessage }
	}
	list.into(&in)
	if len(in.Activities) != 2 {
		t.Fatalf("%d activities: %s", len(in.Activities), list.body)
	}
	recorded, err := aver.ParseActivity(in.Activities[1].Payload)
	if err != nil || recorded.ID != answer.ID || recorded.Continuity.State != aver.Lapsed || recorded.Previous == nil {
		t.Errorf("recorded %+v, %v", recorded, err)
	}
	s.as(aver.RoleAuditor, "GET", "/v1/decisions/"+answer.ID+"/activities", nil).problem(404, "not-found")
	// The decision log lists both kinds by their own.
	if x := s.as(aver.RoleAuditor, "GET", "/v1/decisions?limit=1000", nil).ok(200); strings.Contains(string(x.body), `"kind":"activity"`) {
		t.Errorf("an activity is listed as a decision: %s", x.body)
	}
}

func itoa(n uint64) string { b, _ := json.Marshal(n); return string(b) }

// A grant can let work under way complete; nothing new begins under it.
func TestActivityInFlight(t *testing.T) {
	s := delegated(t, map[string]any{"in_flight": "allow_completion"})
	id := s.allowed(payFor("payment:p-1"))
	s.admin("POST", "/v1/grants/g-1/revoke", nil).ok(200)
	x := s.report(id, "completed").ok(201)
	var answer aver.ActivityAnswer
	x.into(&answer)
	if answer.Continuity != aver.Held || !slices.Equal(answer.Details.Completing, []string{"g-1"}) {
		t.Errorf("completed under a grant that allows it: %s", x.body)
	}
	if ok, outcome := decisionOf(t, s.evaluate(payFor("payment:p-2")).ok(200).json()); ok {
		t.Errorf("a new request under the revoked grant is %s", outcome)
	}
	s.admin("POST", "/v1/grants", map[string]any{
		"from": party("user:alice"), "to": party("ai_agent:bot"), "actions": []string{"pay"},
		"resources": []any{map[string]any{"type": "payment"}}, "in_flight": "perhaps",
	}).problem(422, "refused", "in_flight")
}

// Each thing that is not as it should be is named.
func TestActivityFindings(t *testing.T) {
	s := delegated(t, nil)
	at := func(d time.Duration) map[string]any {
		return map[string]any{"event_time": time.Now().Add(d).UTC().Format(time.RFC3339Nano)}
	}
	permit := func() string { return s.allowed(payFor("payment:p-1")) }
	denied := s.evaluate(question("ai_agent:bot", "steal", "payment:p-1")).ok(200).at("context", "evaluation_id").(string)
	const unknown = "0193b2c1-7d3e-7f00-8000-1a2b3c4d5e6f"
	other := payFor("payment:p-9")
	for _, c := range []struct {
		name    string
		id      string
		reports []any // status and more, in turn
		want    []string
	}{
		{"an orphan", unknown, []any{"completed"}, []string{"no_decision"}},
		{"after a denial", denied, []any{"started"}, []string{"after_deny"}},
		{"cancelled after a denial", denied, []any{"cancelled"}, []string{"second_use"}[:0]},
		{"another request", permit(), []any{"started", map[string]any{"request": other}}, []string{"parameters_differ"}},
		{"the same request", permit(), []any{"started", map[string]any{"request": payFor("payment:p-1")}}, []string{}},
		{"started twice", permit(), []any{"started", "started", map[string]any{"result": "again"}}, []string{"second_use"}},
		{"ended twice", permit(), []any{"completed", "failed"}, []string{"second_use"}},
		{"started after the end", permit(), []any{"completed", "started"}, []string{"out_of_order"}},
		{"ended before the start", permit(), []any{"started", "completed", at(-10 * time.Second)}, []string{"out_of_order", "before_decision"}},
		{"late", permit(), []any{"started", at(-5 * time.Minute)}, []string{"late", "before_decision"}},
		{"from the future", permit(), []any{"started", at(time.Minute)}, []string{"from_the_future"}},
		{"an obligation that nobody set", permit(), []any{"completed", map[string]any{"obligations": []string{"pay/x"}}}, []string{"unknown_obligation"}},
		{"an obligation not carried out", s.allowed(payFor("payment:masked")), []any{"started", "completed"}, []string{"obligation_not_reported"}},
		{"an obligation carried out before", s.allowed(payFor("payment:masked")), []any{"started", map[string]any{"obligations": []string{"pay/mask"}}, "completed"}, []string{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.t = t
			var x *exchange
			for i := 0; i < len(c.reports); i++ {
				more := map[string]any{}
				if i+1 < len(c.reports) {
					if m, ok := c.reports[i+1].(map[string]any); ok {
						more = m
					}
				}
				x = s.report(c.id, c.reports[i].(string), more).ok(201)
				if len(more) > 0 {
					i++
				}
			}
			if got := findings(x); !slices.Equal(got, c.want) {
				t.Errorf("findings %q, want %q: %s", got, c.want, x.body)
			}
		})
	}
	s.t = t
	// A start under what has ended, by expiry or by an event.
	expiring := delegated(t, map[string]any{"expires": time.Now().Add(1500 * time.Millisecond).UTC().Format(time.RFC3339Nano)})
	id := expiring.allowed(payFor("payment:p-1"))
	time.Sleep(1600 * time.Millisecond) // until the grant has expired
	if x := expiring.report(id, "started").ok(201); !slices.Equal(findings(x), []string{"after_expiry"}) ||
		x.at("continuity_details", "lapse", "grant") != "g-1" {
		t.Errorf("started after the expiry: %s", x.body)
	}
	id = permit()
	s.admin("POST", "/v1/identities/ai_agent/bot/suspend", nil).ok(200)
	if x := s.report(id, "started").ok(201); !slices.Equal(findings(x), []string{"after_withdrawal"}) {
		t.Errorf("started after the suspension: %s", x.body)
	}
}

// The same report has one entry and one answer, whatever comes between.
func TestActivityRepeated(t *testing.T) {
	s := delegated(t, nil)
	id := s.allowed(payFor("payment:p-1"))
	first := s.report(id, "started").ok(201)
	again := s.report(id, "started").ok(200)
	if first.at("activity_id") != again.at("activity_id") || again.at("repeated") != true ||
		first.at("receipt", "leaf_hash") != again.at("receipt", "leaf_hash") {
		t.Errorf("%s, then %s", first.body, again.body)
	}
	key := map[string]any{"idempotency_key": "run-7"}
	s.report(id, "completed", key).ok(201)
	s.report(id, "completed", key).ok(200)
	s.report(id, "failed", key).problem(409, "conflict", "idempotency key")
	if x := s.as(aver.RoleAuditor, "GET", "/v1/decisions/"+id+"/activities", nil).ok(200); len(x.at("activities").([]any)) != 2 {
		t.Errorf("activities: %s", x.body)
	}
}

func TestActivityRefused(t *testing.T) {
	s := delegated(t, nil)
	id := s.allowed(payFor("payment:p-1"))
	for _, c := range []struct {
		body map[string]any
		says string
	}{
		{map[string]any{"status": "started"}, "/evaluation_id"},
		{map[string]any{"evaluation_id": "x", "status": "started"}, "not an evaluation id"},
		{map[string]any{"evaluation_id": id}, "/status"},
		{map[string]any{"evaluation_id": id, "status": "begun"}, "must be one of"},
		{map[string]any{"evaluation_id": id, "status": "started", "traceparent": "00-0"}, "traceparent"},
		{map[string]any{"evaluation_id": id, "status": "started", "parameters_digest": "x"}, "SHA-256"},
		{map[string]any{"evaluation_id": id, "status": "started", "request": payFor("payment:p-1"), "parameters_digest": strings.Repeat("A", 43)}, "one of them is enough"},
		{map[string]any{"evaluation_id": id, "status": "started", "result": strings.Repeat("x", 257)}, "/result"},
		{map[string]any{"evaluation_id": id, "status": "started", "obligations": []string{"a", "a"}}, "/obligations/1"},
		{map[string]any{"evaluation_id": id, "status": "started", "idempotency_key": "a b"}, "/idempotency_key"},
		{map[string]any{"evaluation_id": id, "status": "started", "amount": 1}, "amount"},
	} {
		s.as(aver.RolePEP, "POST", "/v1/activities", c.body).problem(400, "invalid-request", c.says)
	}
	s.as(aver.RoleAuditor, "POST", "/v1/activities", map[string]any{"evaluation_id": id, "status": "started"}).problem(403, "forbidden")
	s.as(aver.RolePEP, "GET", "/v1/reconciliation", nil).problem(403, "forbidden")
	h := bearer(s.tokens[aver.RolePEP])
	h.Set("X-Aver-PEP-Sequence", "0")
	s.request("POST", "/v1/activities", map[string]any{"evaluation_id": id, "status": "started"}, h).problem(400, "invalid-request", "X-Aver-PEP-Sequence")
}

// A withdrawal reaches the PEP that holds the authorization, and no other; what
// was missed comes first; what has ended is not told again.
func TestWithdrawals(t *testing.T) {
	s := delegated(t, nil)
	if x := s.as(aver.RolePEP, "GET", "/v1/withdrawals", nil).ok(200); len(x.at("withdrawals").([]any)) != 0 {
		t.Fatalf("nothing was withdrawn: %s", x.body)
	}
	id, done := s.allowed(payFor("payment:p-1")), s.allowed(payFor("payment:p-2"))
	s.report(done, "completed").ok(201)
	stream := s.stream(aver.RolePEP, "")
	s.admin("POST", "/v1/grants/g-1/revoke", nil).ok(200)
	w := stream.next()
	if w.EvaluationID != id || w.Type != aver.EventGrantRevoked || w.Event == nil {
		t.Errorf("withdrawal %+v", w)
	}
	// Missed by who was not there, known to who was.
	x := s.as(aver.RolePEP, "GET", "/v1/withdrawals?wait=10s", nil).ok(200)
	if list := x.at("withdrawals").([]any); len(list) != 1 || list[0].(map[string]any)["evaluation_id"] != id {
		t.Errorf("missed: %s", x.body)
	}
	if again := s.stream(aver.RolePEP, "").next(); again.Cursor != w.Cursor {
		t.Errorf("a new stream begins with %+v", again)
	}
	if x := s.as(aver.RolePEP, "GET", "/v1/withdrawals?after="+w.Cursor, nil).ok(200); len(x.at("withdrawals").([]any)) != 0 {
		t.Errorf("told again: %s", x.body)
	}
	// Another credential holds nothing.
	if x := s.admin("GET", "/v1/withdrawals", nil).ok(200); len(x.at("withdrawals").([]any)) != 0 {
		t.Errorf("told to another credential: %s", x.body)
	}
	s.report(id, "cancelled").ok(201)
	if x := s.as(aver.RolePEP, "GET", "/v1/withdrawals", nil).ok(200); len(x.at("withdrawals").([]any)) != 0 {
		t.Errorf("told after its end: %s", x.body)
	}
	s.as(aver.RolePEP, "GET", "/v1/withdrawals?wait=2h", nil).problem(400, "invalid-request", "wait")
}

// sse reads a stream of withdrawals.
type sse struct {
	t     *testing.T
	lines *bufio.Scanner
}

func (s *service) stream(role aver.Role, last string) *sse {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	s.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", s.url+"/v1/withdrawals", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header = bearer(s.tokens[role])
	req.Header.Set("Accept", "text/event-stream")
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { resp.Body.Close() })
	if ct := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || ct != "text/event-stream" {
		s.t.Fatalf("status %d, content type %q", resp.StatusCode, ct)
	}
	return &sse{s.t.(*testing.T), bufio.NewScanner(resp.Body)}
}

func (s *sse) next() aver.Withdrawal {
	s.t.Helper()
	var w aver.Withdrawal
	id := ""
	for s.lines.Scan() {
		if text, ok := strings.CutPrefix(s.lines.Text(), "id: "); ok {
			id = text
		}
		if data, ok := strings.CutPrefix(s.lines.Text(), "data: "); ok {
			if err := json.Unmarshal([]byte(data), &w); err != nil || w.Cursor != id {
				s.t.Fatalf("%s (id %q): %v", data, id, err)
			}
			return w
		}
	}
	s.t.Fatalf("the stream ended: %v", s.lines.Err())
	return w
}

// I4: what never arrived is found: numbers, instances, outcomes.
func TestReconciliation(t *testing.T) {
	s := delegated(t, nil)
	numbered := func(n string) http.Header {
		return http.Header{"X-Aver-Pep-Instance": {"till-1"}, "X-Aver-Pep-Sequence": {n}}
	}
	open := s.allowed(payFor("payment:p-1"), numbered("1"))
	s.allowed(payFor("payment:p-2"), numbered("4"))
	s.report("0193b2c1-7d3e-7f00-8000-1a2b3c4d5e6f", "completed").ok(201)
	s.as(aver.RolePEP, "POST", "/v1/pep/heartbeat", map[string]any{"instance": "till-1", "sequence": 6, "counts": map[string]any{"requests": 6}}).ok(204)
	var r aver.Reconciliation
	for deadline := time.Now().Add(10 * time.Second); ; {
		s.as(aver.RoleAuditor, "GET", "/v1/reconciliation?older_than=0", nil).ok(200).into(&r)
		if r.Open == 2 || time.Now().After(deadline) {
			break
		}
	}
	if r.Open != 2 || r.WithoutOutcome != 2 || r.Examples[0] != open || r.Orphans != 1 || r.Findings[aver.FindingNoDecision] != 1 {
		t.Errorf("%+v", r)
	}
	if len(r.Instances) != 1 {
		t.Fatalf("instances %+v", r.Instances)
	}
	i := r.Instances[0]
	if i.Instance != "till-1" || i.Credential != "the-pep" || i.First != 1 || i.Last != 6 || i.Missing != 4 ||
		!slices.Equal(i.Gaps, [][2]uint64{{2, 3}, {5, 6}}) || i.Silent || i.Counts["requests"] != 6 {
		t.Errorf("instance %+v", i)
	}
	page := string(s.request("GET", "/metrics", nil, nil).ok(200).body)
	for _, line := range []string{
		"aver_authorizations_open 2", "aver_pep_requests_missing 4", `aver_activity_findings_total{finding="no_decision"} 1`,
		`aver_activities_total{status="completed"} 1`,
	} {
		if !strings.Contains(page, "\n"+line+"\n") {
			t.Errorf("the metrics lack %s", line)
		}
	}
}
