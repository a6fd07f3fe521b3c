package api_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/aver-authz/aver"
)

const excepting = `
@id("read") permit (principal in group::"staff", action == Action::"read", resource is record);
@id("frozen") @overridable("break_glass")
forbid (principal, action, resource is record) when { resource has frozen && resource.frozen };
@id("secret") forbid (principal, action, resource is record) when { resource has secret && resource.secret };
@id("large") @gate("challenge") @max_age("60")
forbid (principal, action == Action::"export", resource is record) unless { context has fresh && context.fresh };
`

const exceptionRules = `
exceptions:
  - {kind: break_glass, max: 1h, approvers: [leads], reviewers: [audit], review_within: 24h, block_overdue: true}
  - {kind: temporary_access, max: 8h, approvers: [leads], reviewers: [audit], review_within: 48h}
`

func startExceptions(t *testing.T) *approvals {
	a := startApprovals(t)
	a.admin("PUT", "/v1/identities/user/rita", map[string]any{"kind": "human_user", "parents": []any{party("group:audit"), party("group:leads")}}).ok(201)
	a.people["rita"] = a.admin("POST", "/v1/credentials", map[string]any{"name": "rita", "role": "approver", "subject": party("user:rita")}).ok(201).at("token").(string)
	return a
}

func (a *approvals) enable() {
	a.t.Helper()
	a.admin("POST", "/v1/policies", map[string]any{"name": "records", "activate": true, "files": map[string]string{
		"records.cedar": excepting, "bundle.yaml": exceptionRules,
	}}).ok(201)
}

func exceptional(kind string) map[string]any {
	return map[string]any{
		"id": "x-1", "kind": kind, "subject": party("user:eve"), "actions": []string{"read", "export"}, "resources": []any{map[string]any{"type": "record"}},
		"justification": "INC-7: the ledger is down", "identity_confirmed": "call-back by the duty desk", "approver": party("user:lena"), "duration": 1800,
	}
}

func record(action string, properties map[string]any) map[string]any {
	q := question("user:eve", action, "record:1")
	q["resource"].(map[string]any)["properties"] = properties
	return q
}

// H1: break-glass from its use to its review.
func TestBreakGlass(t *testing.T) {
	a := startExceptions(t)
	request := with(exceptional("break_glass"), "activate", true)
	a.person("eve", "POST", "/v1/exceptions", request).problem(422, "refused", "no active bundle enables")
	a.enable()
	outcome := func(q map[string]any) string {
		t.Helper()
		return a.evaluate(q).ok(200).at("context", "outcome").(string)
	}
	frozen, secret := record("read", map[string]any{"frozen": true}), record("read", map[string]any{"secret": true, "frozen": true})
	if outcome(frozen) != "denied" {
		t.Error("before")
	}
	if got := a.person("eve", "POST", "/v1/exceptions", request).ok(201).at("event", "type"); got != "exception.activated" {
		t.Errorf("%v", got)
	}
	x := a.evaluate(frozen).ok(200)
	if x.at("context", "outcome") != "permitted" || !strings.Contains(string(x.body), `"code":"exception","detail":"x-1","policy":"records/frozen"`) {
		t.Errorf("%s", x.body)
	}
	text := a.text("/v1/decisions/" + x.at("context", "evaluation_id").(string) + "/why")
	for _, s := range []string{"Exception x-1 sets policy records/frozen aside", "exception x-1", "INC-7", "decided again for this page: the same"} {
		if !strings.Contains(text, s) {
			t.Errorf("why does not say %q:\n%s", s, text)
		}
	}
	for want, q := range map[string]map[string]any{
		"permitted":  record("read", nil),   // a permit of its own
		"denied":     secret,                // no kind of exception may lift that
		"challenged": record("export", nil), // a gate stays a gate
	} {
		if got := outcome(q); got != want {
			t.Errorf("%v: %s, want %s", q, got, want)
		}
	}
	for _, q := range []map[string]any{
		with(frozen, "action", map[string]any{"name": "delete"}), with(frozen, "subject", party("user:alice")),
		with(frozen, "context", map[string]any{"on_behalf_of": party("user:alice")}),
	} {
		if got := outcome(q); got != "denied" {
			t.Errorf("%v: %s", q, got)
		}
	}

	review := func(who string, verdict, followUp string) *exchange {
		return a.person(who, "POST", "/v1/exceptions/x-1/review", map[string]any{"verdict": verdict, "follow_up": followUp})
	}
	review("rita", "justified", "").problem(409, "conflict", "still active")
	a.later(31 * time.Minute)
	if got := outcome(frozen); got != "denied" {
		t.Errorf("after its time: %s", got)
	}
	review("rita", "justified", "").problem(409, "conflict", "has not answered")
	a.later(25 * time.Hour)
	if got := a.as(aver.RoleAuditor, "GET", "/v1/exceptions?state=overdue", nil).ok(200).at("exceptions").([]any); len(got) != 1 {
		t.Errorf("overdue: %v", got)
	}
	if page := a.request("GET", "/metrics", nil, nil).body; !strings.Contains(string(page), "aver_exception_reviews_overdue 1") {
		t.Error("the metric does not tell the overdue review")
	}
	a.person("eve", "POST", "/v1/exceptions", with(request, "id", "x-2")).problem(422, "refused", "review of exception")
	a.person("eve", "POST", "/v1/exceptions/x-1/approve", nil).problem(409, "conflict", "own exception")
	a.person("lena", "POST", "/v1/exceptions/x-1/approve", map[string]any{"reason": "was needed"}).ok(200)
	review("eve", "justified", "").problem(409, "conflict", "used the exception")
	review("lena", "justified", "").problem(409, "conflict", "answered for")
	review("luis", "justified", "").problem(409, "conflict", "none of those who review")
	review("rita", "unjustified", "").problem(409, "conflict", "follow_up")
	review("rita", "unjustified", "train the duty desk").ok(200)
	review("rita", "justified", "").problem(409, "conflict", "reviewed already")
	if got := a.as(aver.RoleAuditor, "GET", "/v1/exceptions/x-1", nil).ok(200); got.at("state") != "reviewed" || got.at("reviewed", "verdict") != "unjustified" {
		t.Errorf("%s", got.body)
	}
	a.person("eve", "POST", "/v1/exceptions", with(request, "id", "x-2")).ok(201)
	a.person("eve", "POST", "/v1/exceptions/x-2/close", nil).ok(200)
	if got := outcome(frozen); got != "denied" {
		t.Errorf("after it was closed: %s", got)
	}
}

func TestTemporaryAccess(t *testing.T) {
	a := startExceptions(t)
	a.enable()
	plain := record("read", nil)
	a.person("eve", "POST", "/v1/exceptions", exceptional("temporary_access")).ok(201)
	a.person("eve", "POST", "/v1/exceptions/x-1/activate", nil).problem(409, "conflict", "not approved yet")
	a.admin("POST", "/v1/exceptions/x-1/approve", nil).problem(403, "forbidden", "belongs to nobody")
	a.person("lena", "POST", "/v1/exceptions/x-1/approve", nil).ok(200)
	if got := a.evaluate(plain).at("context", "outcome"); got != "denied" {
		t.Errorf("approved and not activated: %v", got)
	}
	a.person("luis", "POST", "/v1/exceptions/x-1/activate", nil).problem(403, "forbidden")
	a.person("eve", "POST", "/v1/exceptions/x-1/activate", nil).ok(200)
	if got := a.evaluate(plain); got.at("context", "outcome") != "permitted" || !strings.Contains(string(got.body), "Exception x-1 permits it.") {
		t.Errorf("%s", got.body)
	}
	if got := a.evaluate(record("read", map[string]any{"frozen": true})).at("context", "outcome"); got != "denied" {
		t.Errorf("it lifts what only break_glass may: %v", got)
	}
	// It is never extended beyond what its rule allows: not while it lasts, not after it, and not as another one of the same id.
	a.person("eve", "POST", "/v1/exceptions/x-1/activate", nil).problem(409, "conflict", "ask for another one")
	a.later(2 * time.Hour)
	a.person("eve", "POST", "/v1/exceptions/x-1/activate", nil).problem(409, "conflict", "ask for another one")
	a.person("eve", "POST", "/v1/exceptions", exceptional("temporary_access")).problem(409, "conflict", "already requested")
	if got := a.evaluate(plain).at("context", "outcome"); got != "denied" {
		t.Errorf("after its end: %v", got)
	}
}

// PCI DSS 8.2.2: an exception that lacks one of its fields is refused.
func TestExceptionsThatAreRefused(t *testing.T) {
	a := startExceptions(t)
	a.enable()
	a.admin("PUT", "/v1/identities/ai_agent/bot", map[string]any{"kind": "ai_agent", "owner": "ann", "purpose": "books"}).ok(201)
	good := exceptional("break_glass")
	for says, body := range map[string]map[string]any{
		"justification: it is missing":      with(good, "justification", " "),
		"identity_confirmed: it is missing": with(good, "identity_confirmed", "\n"),
		"more than the 3600":                with(good, "duration", 3601),
		"none of those who approve":         with(good, "approver", party("user:alice2")),
		"can't approve their own":           with(good, "approver", party("user:eve")),
		"human user":                        with(good, "subject", party("ai_agent:bot")),
		"no active bundle enables":          with(good, "kind", "override"),
		"no single purpose":                 with(with(good, "actions", []string{"*"}), "resources", []any{map[string]any{"type": "*"}}),
	} {
		a.admin("POST", "/v1/exceptions", body).problem(422, "refused", says)
	}
	for _, name := range []string{"subject", "actions", "resources", "justification", "identity_confirmed", "approver", "duration"} {
		lacking := maps.Clone(good)
		delete(lacking, name)
		if x := a.admin("POST", "/v1/exceptions", lacking); x.status != 422 {
			t.Errorf("without %s: %d %s", name, x.status, x.body)
		}
	}
	a.person("luis", "POST", "/v1/exceptions", good).problem(403, "forbidden")
	a.admin("POST", "/v1/exceptions", with(exceptional("temporary_access"), "activate", true)).problem(400, "invalid-request", "/activate")
	a.admin("POST", "/v1/exceptions/x-9/close", nil).problem(404, "not-found")
}

// A retry after a challenge says which one it has met, and why tells it.
func TestChallengeIsLinkedToItsRetry(t *testing.T) {
	a := startExceptions(t)
	a.enable()
	a.publish("exports", `permit (principal, action == Action::"export", resource is record);`)
	q := record("export", nil)
	first := a.evaluate(q).ok(200)
	id := first.at("context", "evaluation_id").(string)
	if first.at("context", "outcome") != "challenged" {
		t.Fatalf("%s", first.body)
	}
	second := a.evaluate(with(q, "context", map[string]any{"fresh": true, "challenge": map[string]any{"evaluation_id": id}})).ok(200)
	if second.at("context", "outcome") != "permitted" {
		t.Fatalf("%s", second.body)
	}
	if text := a.text("/v1/decisions/" + second.at("context", "evaluation_id").(string) + "/why"); !strings.Contains(text, "it has met what decision "+id+" asked for") {
		t.Errorf("why does not name the challenge:\n%s", text)
	}
}
