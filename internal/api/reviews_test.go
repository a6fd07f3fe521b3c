package api_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/server"
)

// reviewing is a service with an agent of max's to which ann has granted, an idle workload, and people with tokens.
type reviewing struct {
	*service
	clock  *testClock
	people map[string]string // tokens by name
}

func startReviewing(t *testing.T) *reviewing {
	clock := &testClock{}
	r := &reviewing{start(t, func(cfg *server.Config) { cfg.Now = clock.Now }), clock, map[string]string{}}
	r.publish("docs", `
@id("people") permit (principal is user, action == Action::"read", resource is doc);
@id("agents") permit (principal is ai_agent, action == Action::"read", resource is doc);`)
	for _, name := range []string{"ann", "max", "rita", "rolf", "eve"} {
		parents := []any{}
		if name[0] == 'r' {
			parents = append(parents, party("group:reviewers"))
		}
		r.admin("PUT", "/v1/identities/user/"+name, map[string]any{"kind": "human_user", "parents": parents}).ok(201)
		r.people[name] = r.admin("POST", "/v1/credentials", map[string]any{"name": name, "role": "approver", "subject": party("user:" + name)}).ok(201).at("token").(string)
	}
	machine := func(path, kind, owner string) {
		r.admin("PUT", "/v1/identities/"+path, map[string]any{"kind": kind, "owner": owner, "purpose": "work"}).ok(201)
	}
	machine("ai_agent/bot", "ai_agent", "max")
	machine("workload/idle", "workload", "ann")
	for _, id := range []string{"1", "2"} {
		r.admin("PUT", "/v1/entities/doc/"+id, map[string]any{}).ok(201)
	}
	r.admin("POST", "/v1/grants", map[string]any{
		"id": "g-bot", "from": party("user:ann"), "to": party("ai_agent:bot"), "actions": []string{"read"},
		"resources": []any{map[string]any{"type": "doc"}}, "limits": map[string]any{"uses": 9},
	}).ok(201)
	return r
}

func (r *reviewing) by(who, method, path string, body any) *exchange {
	r.t.Helper()
	return r.request(method, path, body, bearer(r.people[who]))
}

func (r *reviewing) in(d time.Duration) string { return aver.TimeOf(r.clock.Now().Add(d)).String() }

// open opens a review of everything: the agent, the workload, the grant.
func (r *reviewing) open(id string) {
	r.t.Helper()
	r.admin("POST", "/v1/reviews", map[string]any{
		"id": id, "scope": map[string]any{"of": "all"}, "reviewers": []any{party("group:reviewers"), party("user:ann")},
		"deadline": r.in(24 * time.Hour), "reason": "half-year",
	}).ok(201)
}

func (r *reviewing) allowed() bool {
	r.t.Helper()
	q := question("ai_agent:bot", "read", "doc:1")
	q["context"] = map[string]any{"on_behalf_of": party("user:ann"), "delegation": []string{"g-bot"}}
	decision, _ := decisionOf(r.t, r.evaluate(q).ok(200).json())
	return decision
}

// A4, issue 4 item 10: from the opening of a review to its end, over HTTP; what it revokes is really revoked.
func TestAccessReview(t *testing.T) {
	r := startReviewing(t)
	r.open("h2")
	if got := r.by("rita", "GET", "/v1/reviews/h2", nil).ok(200); got.at("state") != "open" || number(t, got.at("progress", "undecided")) != 3 || number(t, got.at("rows")) != 3 {
		t.Fatalf("%s", got.body)
	}
	rows := r.by("rita", "GET", "/v1/reviews/h2/rows", nil).ok(200)
	if n := len(rows.at("rows").([]any)); n != 3 {
		t.Fatalf("%s", rows.body)
	}
	row := r.by("rita", "GET", "/v1/reviews/h2/rows/3", nil).ok(200)
	found := fmt.Sprint(row.at("reach", "found"))
	if row.at("grant") != "g-bot" || row.at("reach", "complete") != true || found != "[map[action:read resources:[1 2] type:doc]]" {
		t.Errorf("the reach of the grant: %s", row.body)
	}
	if alone := r.by("rita", "GET", "/v1/reviews/h2/rows/2", nil).ok(200); fmt.Sprint(alone.at("reach", "found")) != "[]" {
		t.Errorf("the workload reaches something by itself: %s", alone.body)
	}
	if !r.allowed() {
		t.Fatal("the agent is not allowed before")
	}
	row = r.by("rita", "GET", "/v1/reviews/h2/rows/3", nil).ok(200)
	if row.at("last_use", "evaluation_id") == nil || row.at("last_use", "time") == nil {
		t.Errorf("the last use: %s", row.body)
	}
	decide := func(row int, body map[string]any) *exchange {
		t.Helper()
		return r.by("rita", "POST", fmt.Sprintf("/v1/reviews/h2/rows/%d/decide", row), body).ok(200)
	}
	decide(1, map[string]any{"decision": "keep", "reason": "needed", "next": r.in(90 * 24 * time.Hour)})
	made := decide(2, map[string]any{"decision": "revoke", "reason": "idle"})
	if made.at("not_carried_out") != nil || len(made.at("remediation").([]any)) != 1 {
		t.Errorf("%s", made.body)
	}
	if got := r.admin("GET", "/v1/identities/workload/idle", nil).ok(200).at("status"); got != "suspended" {
		t.Errorf("the workload is %v", got)
	}
	decide(3, map[string]any{"decision": "revoke", "reason": "too wide", "seen": row.at("seen")})
	if r.allowed() {
		t.Error("the agent is allowed after its grant was revoked")
	}
	events := r.admin("GET", "/v1/events?limit=1000", nil).ok(200).at("events").([]any)
	last := events[len(events)-1].(map[string]any)["payload"].(map[string]any)
	if last["type"] != "grant.revoked" || last["review"] != "h2" || last["reason"] != "too wide" || last["decision"] == nil {
		t.Errorf("the event that carried it out: %v", last)
	}

	r.by("eve", "POST", "/v1/reviews/h2/acknowledge", nil).problem(409, "conflict", "no row of review")
	r.by("max", "POST", "/v1/reviews/h2/acknowledge", nil).ok(200) // the agent and its grant
	r.by("ann", "POST", "/v1/reviews/h2/acknowledge", map[string]any{"rows": []int{2}}).ok(200)
	r.by("rita", "POST", "/v1/reviews/h2/close", nil).ok(200)
	end := r.as(aver.RoleAuditor, "GET", "/v1/reviews/h2", nil).ok(200)
	if end.at("state") != "completed" || number(t, end.at("progress", "acknowledged")) != 3 || number(t, end.at("progress", "not_carried_out")) != 0 {
		t.Errorf("%s", end.body)
	}
	if got := r.as(aver.RoleAuditor, "GET", "/v1/reviews?state=completed", nil).ok(200).at("reviews").([]any); len(got) != 1 {
		t.Errorf("%v", got)
	}
}

// A grant is narrowed by one that does not exceed it.
func TestAccessReviewNarrows(t *testing.T) {
	r := startReviewing(t)
	r.open("h2")
	r.by("rita", "POST", "/v1/reviews/h2/rows/3/remediate", nil).problem(409, "conflict", "row 3 is not decided yet")
	r.by("rita", "POST", "/v1/reviews/h2/rows/3/decide", map[string]any{"decision": "modify", "reason": "too wide", "change": "document 1 only"}).ok(200)
	if !r.allowed() {
		t.Error("the grant is gone before it was replaced")
	}
	replacement := func(resource string, uses int) map[string]any {
		return map[string]any{"replacement": map[string]any{
			"id": "g-bot-2", "actions": []string{"read"}, "resources": []any{map[string]any{"type": resource, "id": "1"}}, "limits": map[string]any{"uses": uses},
		}}
	}
	remediate := func(who string, body any) *exchange {
		return r.by(who, "POST", "/v1/reviews/h2/rows/3/remediate", body)
	}
	remediate("rita", replacement("doc", 10)).problem(422, "refused", "no row of review")
	remediate("rolf", replacement("doc", 9)).problem(403, "denied", "grant.issue is not allowed") // rita decided it
	if made := remediate("rita", replacement("doc", 9)).ok(200); len(made.at("remediation").([]any)) != 2 {
		t.Errorf("%s", made.body)
	}
	remediate("rita", nil).problem(409, "conflict", "nothing is left")
	got := r.admin("GET", "/v1/grants/g-bot-2", nil).ok(200)
	if got.at("to", "id") != "bot" || r.admin("GET", "/v1/grants/g-bot", nil).ok(200).at("revoked") == nil {
		t.Errorf("%s", got.body)
	}
}

// Reviewer independence, and everything else that is refused.
func TestAccessReviewRefuses(t *testing.T) {
	r := startReviewing(t)
	r.open("h2")
	keep := map[string]any{"decision": "keep", "reason": "needed"}
	decide := func(who, row string, body any) *exchange {
		return r.by(who, "POST", "/v1/reviews/h2/rows/"+row+"/decide", body)
	}
	before := r.recorded()
	decide("ann", "3", keep).problem(403, "forbidden", "has a stake in row 3") // she is a reviewer, and the grantor
	if n := r.recorded(); n != before+1 {
		t.Errorf("%d records of who tried to decide about their own grant, want 1", n-before)
	}
	decide("ann", "2", keep).problem(403, "forbidden", "has a stake in row 2") // and the owner of the workload
	decide("max", "3", keep).problem(403, "forbidden", "is none of the reviewers")
	decide("rita", "4", keep).problem(404, "not-found", "has the rows 1 to 3")
	decide("rita", "x", keep).problem(404, "not-found")
	decide("rita", "3", map[string]any{"decision": "keep"}).problem(400, "invalid-request", "says why")
	decide("rita", "3", map[string]any{"decision": "keep", "reason": "x", "seen": strings.Repeat("A", 43)}).problem(409, "conflict", "look at the row again")
	decide("rita", "1", keep).problem(409, "conflict", "next:")
	decide("rita", "3", map[string]any{"decision": "keep", "reason": "x", "reviewer": party("user:rolf")}).problem(403, "forbidden", "not of")
	r.admin("POST", "/v1/reviews/h2/rows/3/decide", keep).problem(403, "forbidden", "belongs to nobody in particular")
	r.as(aver.RoleAuditor, "POST", "/v1/reviews/h2/rows/3/decide", keep).problem(403, "forbidden")
	decide("rita", "3", keep).ok(200)
	decide("rolf", "3", keep).problem(409, "conflict", "row 3 was decided already")
	r.by("rita", "POST", "/v1/reviews/h2/close", nil).problem(409, "conflict", "2 rows are not decided yet")
	r.by("rita", "POST", "/v1/reviews/x/close", nil).problem(404, "not-found")
	open := map[string]any{"scope": map[string]any{"of": "owner", "owner": "nobody"}, "reviewers": []any{party("user:rita")}, "deadline": r.in(time.Hour)}
	r.admin("POST", "/v1/reviews", open).problem(422, "refused", "nothing to review")
	r.by("rita", "POST", "/v1/reviews", open).problem(403, "forbidden")
	r.admin("POST", "/v1/reviews", map[string]any{"id": "h2", "scope": map[string]any{"of": "all"}, "reviewers": []any{party("user:rita")}, "deadline": r.in(time.Hour)}).problem(409, "conflict")

	r.clock.move(25 * time.Hour)
	decide("rita", "2", keep).problem(409, "conflict", "the deadline of review")
	r.by("rita", "POST", "/v1/reviews/h2/close", nil).problem(409, "conflict", "needs a reason")
	r.by("rita", "POST", "/v1/reviews/h2/close", map[string]any{"reason": "nobody had time"}).ok(200)
	if got := r.admin("GET", "/v1/reviews/h2", nil).ok(200); got.at("state") != "incomplete" || number(t, got.at("closed", "undecided")) != 2 {
		t.Errorf("%s", got.body)
	}
}

// E5, A4, H1: what is overdue shows in the API and in a metric.
func TestReviewsDue(t *testing.T) {
	r := startReviewing(t)
	r.open("h2")
	due := func(query string) (out []string) {
		for _, v := range r.by("rita", "GET", "/v1/reviews/due"+query, nil).ok(200).at("reviews").([]any) {
			d := v.(map[string]any)
			out = append(out, fmt.Sprint(d["kind"], " ", d["state"]))
		}
		return out
	}
	if got := due("?state=due"); !slices.Equal(got, []string{"review due"}) {
		t.Errorf("%v", got)
	}
	unscheduled := due("?state=unscheduled")
	if !slices.Contains(unscheduled, "policy unscheduled") || !slices.Contains(unscheduled, "identity unscheduled") {
		t.Errorf("%v", unscheduled)
	}
	review := map[string]any{"verdict": "current", "next": r.in(48 * time.Hour)}
	r.by("rita", "POST", "/v1/policies/docs/review", review).ok(200)
	r.by("rita", "POST", "/v1/policies/none/review", review).problem(404, "not-found")
	r.by("rita", "POST", "/v1/policies/docs/review", map[string]any{"verdict": "outdated", "next": r.in(time.Hour)}).problem(409, "conflict", "follow_up")
	r.by("rita", "POST", "/v1/identities/ai_agent/bot/review", review).ok(200)
	r.by("max", "POST", "/v1/identities/ai_agent/bot/review", review).problem(409, "conflict", "has a stake in")
	if got := due("?state=due"); !slices.Equal(got, []string{"review due", "identity due", "policy due"}) {
		t.Errorf("%v", got)
	}
	// E5: a decision says when its policies were last reviewed, and when they are next.
	id := r.evaluate(question("user:ann", "read", "doc:1")).ok(200).at("context", "evaluation_id").(string)
	why := r.text("/v1/decisions/" + id + "/why")
	if !regexp.MustCompile(`(?s)last reviewed in event \d+, [^\n]*: current\n +next review \d{4}-\d\d-\d\d`).MatchString(why) {
		t.Errorf("why does not say when docs was reviewed:\n%s", why)
	}
	r.clock.move(49 * time.Hour)
	if got := due("?state=overdue"); !slices.Equal(got, []string{"review overdue", "identity overdue", "policy overdue"}) {
		t.Errorf("%v", got)
	}
	metrics := string(r.request("GET", "/metrics", nil, http.Header{}).ok(200).body)
	for _, kind := range []string{"identity", "policy", "review"} {
		if want := `aver_reviews_overdue{kind="` + kind + `"} 1`; !strings.Contains(metrics, want) {
			t.Errorf("the metrics do not say %s", want)
		}
	}
	r.by("rita", "GET", "/v1/reviews/due?days=99999", nil).problem(400, "invalid-request")
}
