package api_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/server"
)

// The names of these tests cite the requirements of AuthZEN 1.0 (R) and of the certification scenario (C) that they hold
// the server to; docs/api.md lists them.

// startDocs permits anybody to read documents, and nothing else; "ask" is a gate.
func startDocs(t *testing.T, change ...func(*server.Config)) *service {
	s := start(t, change...)
	s.publish("docs", `
@id("read") permit (principal, action == Action::"read", resource is doc);
@id("owner") permit (principal, action == Action::"write", resource is doc)
when { resource has owner && resource.owner == principal };
@id("secret") forbid (principal, action, resource) when { context has secret && context.secret };
@id("mfa") @gate("challenge") @acr_values("mfa") forbid (principal, action, resource is doc) when { context has ask && context.ask };
`)
	return s
}

func TestR1R2EvaluationAnswersJSON(t *testing.T) {
	s := startDocs(t)
	x := s.evaluate(question("user:ann", "read", "doc:1")).ok(200)
	if ct := x.header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("content type %q", ct)
	}
	if ok, outcome := decisionOf(t, x.json()); !ok || outcome != "permitted" {
		t.Errorf("%v %s", ok, outcome)
	}
	if x := s.evaluate(`[1]`); x.status != 400 {
		t.Errorf("a body that is no object: %d", x.status)
	}
}

// A denial is an answer like any other (R3).
func TestR3DenialIs200(t *testing.T) {
	s := startDocs(t)
	for _, q := range []map[string]any{
		question("user:ann", "write", "doc:1"), question("user:ann", "unheard-of", "doc:1"), question("unheard-of:x", "read", "unheard-of:y"),
	} {
		if ok, outcome := decisionOf(t, s.evaluate(q).ok(200).json()); ok || outcome != "denied" {
			t.Errorf("%v: %v %s", q, ok, outcome)
		}
	}
	q := question("user:ann", "read", "doc:1")
	q["context"] = map[string]any{"ask": true}
	if ok, outcome := decisionOf(t, s.evaluate(q).ok(200).json()); ok || outcome != "challenged" {
		t.Errorf("%v %s", ok, outcome)
	}
}

// What is wrong with a request is 400, whatever it is, with the message as a JSON string (R3, R6, R7).
func TestR3R6R7BadRequests(t *testing.T) {
	s := startDocs(t)
	before := s.recorded()
	const good = `{"subject":{"type":"user","id":"ann"},"action":{"name":"read"},"resource":{"type":"doc","id":"1"}}`
	s.evaluate(good).ok(200)
	swap := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%s is not in the good request", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	for _, c := range []struct{ what, body, says string }{
		{"empty body", "", "empty"},
		{"only space", " \n", "empty"},
		{"not JSON", `{"subject":`, "line 1, column 12"},
		{"more after the end", good + "{}", "more follows"},
		{"null", "null", "must be a JSON object"},
		{"a list", "[]", "must be a JSON object"},
		{"a string", `"x"`, "must be a JSON object"},
		{"no subject", swap(`"subject":{"type":"user","id":"ann"},`, ""), "/subject/type: is required"},
		{"no subject type", swap(`"type":"user",`, ""), "/subject/type: is required"},
		{"no subject id", swap(`,"id":"ann"`, ""), "/subject/id: is required"},
		{"no action", swap(`"action":{"name":"read"},`, ""), "/action/name: is required"},
		{"no action name", swap(`"name":"read"`, ""), "/action/name: is required"},
		{"no resource", swap(`,"resource":{"type":"doc","id":"1"}`, ""), "/resource/type: is required"},
		{"no resource type", swap(`"type":"doc",`, ""), "/resource/type: is required"},
		{"no resource id", swap(`,"id":"1"`, ""), "/resource/id: is required"},
		{"null for what is required", swap(`"id":"ann"`, `"id":null`), "/subject/id: is required"},
		{"an empty id", swap(`"ann"`, `""`), "/subject/id: must not be empty"},
		{"subject a string", swap(`{"type":"user","id":"ann"}`, `"ann"`), "/subject: must be an object"},
		{"id a number", swap(`"1"`, `1`), "/resource/id: must be a string"},
		{"type a list", swap(`"user"`, `["user"]`), "/subject/type: must be a string"},
		{"action a string", swap(`{"name":"read"}`, `"read"`), "/action: must be an object"},
		{"action name a bool", swap(`"read"`, `true`), "/action/name: must be a string"},
		{"context a list", swap(`{"subject"`, `{"context":[],"subject"`), "/context: must be an object"},
		{"properties a string", swap(`"id":"ann"`, `"id":"ann","properties":"x"`), "/subject/properties: must be an object"},
		{"a member twice", swap(`"type":"user"`, `"type":"admin","type":"user"`), `"type\" stands twice`},
		{"a member in two cases", swap(`"type":"user"`, `"Type":"admin","type":"user"`), "differ only in case"},
		{"a member in the wrong case", swap(`"subject"`, `"Subject"`), "did you mean"},
		{"half a surrogate pair", swap(`"ann"`, `"\ud800"`), "surrogate"},
		{"not UTF-8", swap(`"ann"`, "\"\xff\""), "UTF-8"},
		{"a fraction", swap(`"id":"ann"`, `"id":"ann","properties":{"n":1.5}`), "not a whole number"},
		{"a huge number", swap(`"id":"ann"`, `"id":"ann","properties":{"n":9007199254740993}`), "send it as a string"},
		{"null where Cedar has none", swap(`"id":"ann"`, `"id":"ann","properties":{"n":[null]}`), "/subject/properties"},
		{"the reserved member", swap(`{"subject"`, `{"context":{"aver":{}},"subject"`), "/context/aver"},
		{"too deep", swap(`{"subject"`, `{"context":{"x":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+`},"subject"`), "nested deeper"},
		{"too long", good + strings.Repeat(" ", 1<<20), "longer than 1048576 bytes"},
		{"too many members", swap(`{"subject"`, `{"context":{"x":[`+strings.Repeat("1,", 30_000)+`1]},"subject"`), "more than"},
		{"a chain that is no list", swap(`{"subject"`, `{"context":{"delegation":"g"},"subject"`), "/context/delegation"},
		{"no parts", swap(`{"subject"`, `{"context":{"parts":[]},"subject"`), "/context/parts"},
	} {
		for _, path := range []string{"/access/v1/evaluation", "/access/v1/evaluations"} {
			x := s.as(aver.RolePEP, "POST", path, c.body)
			message, ok := x.json().(string)
			if x.status != 400 || !ok || x.header.Get("Content-Type") != "application/json" {
				t.Errorf("%s at %s: %d %s", c.what, path, x.status, x.body)
			}
			if !strings.Contains(string(x.body), c.says) {
				t.Errorf("%s at %s: %q does not say %q", c.what, path, message, c.says)
			}
		}
	}
	if n := s.recorded() - before; n != 1 {
		t.Errorf("%d records of one request that could be read", n)
	}
}

func TestR6ContentType(t *testing.T) {
	s := startDocs(t)
	for contentType, want := range map[string]int{
		"application/json": 200, "application/json; charset=utf-8": 200, "Application/JSON": 200,
		"text/plain": 400, "application/x-www-form-urlencoded": 400, "application/authzen+json": 400, "": 400, ";": 400,
	} {
		header := bearer(s.tokens[aver.RolePEP])
		header["Content-Type"] = []string{contentType}
		if contentType == "" {
			header["Content-Type"] = nil
		}
		if x := s.request("POST", "/access/v1/evaluation", question("user:a", "read", "doc:1"), header); x.status != want {
			t.Errorf("%q: %d, want %d: %s", contentType, x.status, want, x.body)
		}
	}
}

// Unknown members are ignored, and the order of members does not matter (R4).
func TestR4UnknownMembersAndOrder(t *testing.T) {
	s := startDocs(t)
	for _, body := range []string{
		`{"resource":{"id":"1","type":"doc"},"action":{"name":"read"},"subject":{"id":"ann","type":"user"}}`,
		`{"foo":1,"subject":{"type":"user","id":"ann","bar":[{}]},"action":{"name":"read","baz":null},"resource":{"type":"doc","id":"1","q":"x"}}`,
		`{"evaluations":"ignored here","subject":{"type":"user","id":"ann"},"action":{"name":"read"},"resource":{"type":"doc","id":"1"},"context":null}`,
	} {
		if ok, _ := decisionOf(t, s.evaluate(body).ok(200).json()); !ok {
			t.Errorf("denied: %s", body)
		}
	}
}

// X-Request-ID comes back as it was sent, with errors as well; without one there is a new one (R5, C-2-5).
func TestR5RequestID(t *testing.T) {
	s := startDocs(t)
	for _, c := range []struct {
		token, body string
		status      int
	}{
		{s.tokens[aver.RolePEP], `{"subject":{"type":"user","id":"a"},"action":{"name":"read"},"resource":{"type":"doc","id":"1"}}`, 200},
		{s.tokens[aver.RolePEP], `{`, 400},
		{"wrong", `{}`, 401},
		{s.tokens[aver.RoleAuditor], `{}`, 403},
	} {
		header := bearer(c.token)
		header.Set("X-Request-ID", "bfe9eb29-ab87-4ca3-be83-a1d5d8305716 é")
		x := s.request("POST", "/access/v1/evaluation", c.body, header).ok(c.status)
		if got := x.header.Get("X-Request-ID"); got != header.Get("X-Request-ID") {
			t.Errorf("status %d: X-Request-ID %q", c.status, got)
		}
	}
	first, second := s.evaluate("{").header.Get("X-Request-ID"), s.evaluate("{").header.Get("X-Request-ID")
	if first == "" || first == second {
		t.Errorf("made up: %q, %q", first, second)
	}
	header := bearer(s.tokens[aver.RolePEP])
	header.Set("X-Request-ID", strings.Repeat("x", 257))
	s.request("POST", "/access/v1/evaluation", question("user:a", "read", "doc:1"), header).ok(400)
	record := s.admin("GET", "/v1/decisions", nil)
	if got := record.json().(map[string]any)["decisions"].([]any)[0].(map[string]any)["payload"].(map[string]any)["pep"].(map[string]any)["request_id"]; got != "bfe9eb29-ab87-4ca3-be83-a1d5d8305716 é" {
		t.Errorf("the record has the request id %v", got)
	}
}

func TestR6SameRequestSameDecision(t *testing.T) {
	s := startDocs(t)
	for _, action := range []string{"read", "write"} {
		var outcomes, ids []string
		for range 5 {
			x := s.evaluate(question("user:ann", action, "doc:1")).ok(200)
			_, outcome := decisionOf(t, x.json())
			outcomes, ids = append(outcomes, outcome), append(ids, x.at("context", "evaluation_id").(string))
		}
		if len(slices.Compact(outcomes)) != 1 {
			t.Errorf("%s: %v", action, outcomes)
		}
		slices.Sort(ids)
		if len(slices.Compact(ids)) != 5 {
			t.Errorf("%s: evaluation ids that are not unique: %v", action, ids)
		}
	}
}

// Without evaluations the batch API is the single one (R9).
func TestR9WithoutEvaluationsItIsOne(t *testing.T) {
	s := startDocs(t)
	for _, evaluations := range []any{nil, []any{}, "absent"} {
		q := question("user:ann", "read", "doc:1")
		q["evaluations"] = evaluations
		if evaluations == "absent" {
			delete(q, "evaluations")
		}
		x := s.evaluations(q).ok(200)
		if ok, _ := decisionOf(t, x.json()); !ok || x.at("evaluations") != nil {
			t.Errorf("%v: %s", evaluations, x.body)
		}
	}
	s.evaluations(map[string]any{"evaluations": []any{}}).ok(400)
}

// decisions are the booleans of a batch's answer.
func (x *exchange) decisions() (out []bool) {
	x.t.Helper()
	x.ok(200)
	if x.at("decision") != nil {
		x.t.Errorf("%s: a decision beside the evaluations: %s", x.what, x.body)
	}
	for _, a := range x.at("evaluations").([]any) {
		decision, _ := decisionOf(x.t, a)
		out = append(out, decision)
	}
	return out
}

// A member of an item stands in for the whole member beside the list (R10, C-3-2-7).
func TestR10DefaultsAreReplacedAsAWhole(t *testing.T) {
	s := startDocs(t)
	body := question("user:ann", "write", "doc:1")
	body["resource"].(map[string]any)["properties"] = map[string]any{"owner": map[string]any{"__entity": map[string]any{"type": "user", "id": "ann"}}}
	body["context"] = map[string]any{"secret": false}
	body["evaluations"] = []any{
		map[string]any{}, // inherits all: the owner writes
		map[string]any{"resource": party("doc:1")},   // no properties, so no owner
		map[string]any{"subject": party("user:bob")}, // not the owner
		map[string]any{"action": map[string]any{"name": "read"}, "subject": party("user:bob")},
		map[string]any{"context": map[string]any{"secret": true}},
		map[string]any{"context": nil, "subject": nil}, // null is the same as not sent
	}
	if got, want := s.evaluations(body).decisions(), []bool{true, false, false, true, false, true}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	// The members beside the list may be missing if every item has them.
	one, two := question("user:ann", "read", "doc:1"), question("user:ann", "write", "doc:1")
	if got := s.evaluations(map[string]any{"evaluations": []any{one, two}}).decisions(); !slices.Equal(got, []bool{true, false}) {
		t.Errorf("%v", got)
	}
}

func TestR11Semantics(t *testing.T) {
	s := startDocs(t)
	for _, c := range []struct {
		semantic any
		actions  string // r is permitted, w is not
		want     []bool
	}{
		{nil, "rwr", []bool{true, false, true}},
		{"execute_all", "wrw", []bool{false, true, false}},
		{"deny_on_first_deny", "rwr", []bool{true, false}},
		{"deny_on_first_deny", "rrr", []bool{true, true, true}},
		{"deny_on_first_deny", "w", []bool{false}},
		{"permit_on_first_permit", "wrw", []bool{false, true}},
		{"permit_on_first_permit", "www", []bool{false, false, false}},
		{"permit_on_first_permit", "rw", []bool{true}},
	} {
		body := question("user:ann", "", "doc:1")
		delete(body, "action")
		if c.semantic != nil {
			body["options"] = map[string]any{"evaluations_semantic": c.semantic, "other": 1}
		}
		var items []any
		for _, a := range c.actions {
			items = append(items, map[string]any{"action": map[string]any{"name": map[rune]string{'r': "read", 'w': "write"}[a]}})
		}
		body["evaluations"] = items
		before := s.admin("GET", "/v1/log", nil).at("decisions", "size")
		x := s.evaluations(body)
		if got := x.decisions(); !slices.Equal(got, c.want) {
			t.Errorf("%v %s: %v, want %v", c.semantic, c.actions, got, c.want)
		}
		// What was not answered was not decided, and so not recorded.
		after := s.admin("GET", "/v1/log", nil).at("decisions", "size")
		if diff := number(t, after) - number(t, before); diff != len(c.want) {
			t.Errorf("%v %s: %d records for %d answers", c.semantic, c.actions, diff, len(c.want))
		}
	}
	for _, options := range []any{"execute_all", []any{}, map[string]any{"evaluations_semantic": "all"}, map[string]any{"evaluations_semantic": 1}} {
		body := question("user:ann", "read", "doc:1")
		body["options"], body["evaluations"] = options, []any{map[string]any{}}
		s.evaluations(body).ok(400)
	}
}

func number(t testing.TB, v any) int {
	t.Helper()
	var n int
	if _, err := fmt.Sscan(fmt.Sprint(v), &n); err != nil {
		t.Fatalf("%v is not a number", v)
	}
	return n
}

// The answers are in the order of the items, however many share a commit (R12).
func TestR12Order(t *testing.T) {
	s := startDocs(t)
	var items []any
	var want []bool
	for i := range 200 {
		action := []string{"read", "write"}[i%3%2]
		items = append(items, map[string]any{"action": map[string]any{"name": action}})
		want = append(want, action == "read")
	}
	body := question("user:ann", "read", "doc:1")
	body["evaluations"] = items
	before := s.recorded()
	x := s.evaluations(body)
	if got := x.decisions(); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	for i, a := range x.at("evaluations").([]any) {
		receipt := a.(map[string]any)["context"].(map[string]any)["receipt"].(map[string]any)
		if number(t, receipt["index"]) != before+i {
			t.Fatalf("item %d has the index %v", i, receipt["index"])
		}
	}
}

// An item that lacks a required member, or holds a value that Cedar can't, is denied by itself, and recorded (R13,
// C-3-4-1). A member of the wrong type makes the whole batch invalid.
func TestR13ItemErrors(t *testing.T) {
	s := startDocs(t)
	body := map[string]any{
		"subject": party("user:ann"), "action": map[string]any{"name": "read"},
		"evaluations": []any{
			map[string]any{"resource": party("doc:1")},
			map[string]any{},
			map[string]any{"resource": map[string]any{"type": "doc"}},
			map[string]any{"resource": party("doc:1"), "context": map[string]any{"x": []any{nil}}},
			map[string]any{"resource": party("doc:2")},
		},
	}
	x := s.evaluations(body)
	if got, want := x.decisions(), []bool{true, false, false, false, true}; !slices.Equal(got, want) {
		t.Fatalf("%v, want %v", got, want)
	}
	for i, a := range x.at("evaluations").([]any) {
		context := a.(map[string]any)["context"].(map[string]any)
		failed, _ := context["error"].(map[string]any)
		if (failed != nil) != (i >= 1 && i <= 3) {
			t.Errorf("item %d: error %v", i, failed)
		}
		if failed != nil && (number(t, failed["status"]) != 400 || !strings.HasPrefix(failed["message"].(string), fmt.Sprintf("/evaluations/%d/", i))) {
			t.Errorf("item %d: error %v", i, failed)
		}
		// Every answer has its record.
		s.admin("GET", "/v1/decisions/"+context["evaluation_id"].(string), nil).ok(200)
	}
	for _, item := range []any{
		1, "x", []any{}, map[string]any{"resource": "doc"}, map[string]any{"resource": map[string]any{"type": 1}},
		map[string]any{"context": "x"}, map[string]any{"Resource": party("doc:1")}, map[string]any{"context": map[string]any{"aver": 1}},
		map[string]any{"context": map[string]any{"_sd": []any{"x"}}},
	} {
		body["evaluations"] = []any{map[string]any{"resource": party("doc:1")}, item}
		x := s.evaluations(body).ok(400)
		if !strings.HasPrefix(x.json().(string), "/evaluations/1") {
			t.Errorf("%v: %s", item, x.body)
		}
	}
	body["evaluations"] = map[string]any{}
	s.evaluations(body).ok(400)
	body["evaluations"] = make([]any, 1001)
	if x := s.evaluations(body).ok(400); !strings.Contains(string(x.body), "more than 1000") {
		t.Errorf("%s", x.body)
	}
}

// The metadata name the identifier they were fetched from, and only endpoints that there are (R17).
func TestR17Metadata(t *testing.T) {
	s := start(t)
	x := s.request("GET", "/.well-known/authzen-configuration", nil, nil).ok(200)
	if ct := x.header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("content type %q", ct)
	}
	if got := x.at("policy_decision_point"); got != s.url {
		t.Errorf("policy_decision_point %v, want %s", got, s.url)
	}
	for name, v := range x.json().(map[string]any) {
		if !strings.HasSuffix(name, "_endpoint") {
			continue
		}
		path := strings.TrimPrefix(v.(string), s.url)
		if name == "access_request_endpoint" {
			s.as(aver.RolePEP, "POST", path, question("user:a", "read", "doc:1")).problem(400, "invalid-request", "/denial/evaluation_id")
			continue
		}
		if x := s.as(aver.RolePEP, "POST", path, question("user:a", "read", "doc:1")); x.status != 200 {
			t.Errorf("%s: %s answers %d", name, path, x.status)
		}
	}
}

func TestR8WithoutAToken(t *testing.T) {
	s := start(t)
	before := s.recorded()
	for _, header := range []http.Header{
		nil, {"Authorization": {"Bearer"}}, {"Authorization": {"Bearer "}}, bearer("aver_" + strings.Repeat("A", 43)),
		{"Authorization": {"Basic " + s.tokens[aver.RolePEP]}}, {"Authorization": {s.tokens[aver.RolePEP]}},
	} {
		x := s.request("POST", "/access/v1/evaluation", question("user:a", "read", "doc:1"), header).ok(401)
		if !strings.HasPrefix(x.header.Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("%v: WWW-Authenticate %q", header, x.header.Get("WWW-Authenticate"))
		}
		if _, ok := x.json().(string); !ok {
			t.Errorf("%v: %s", header, x.body)
		}
	}
	if got := s.recorded(); got != before {
		t.Errorf("%d records of requests without a token", got-before)
	}
}
