package api_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/aver-authz/aver"
)

func TestPolicies(t *testing.T) {
	s := start(t)
	const first, second = `permit (principal, action == Action::"read", resource);`, `permit (principal, action == Action::"write", resource);`
	publish := func(cedar string, activate bool) *exchange {
		return s.admin("POST", "/v1/policies", map[string]any{"name": "docs", "files": map[string]string{"docs.cedar": cedar}, "activate": activate, "reason": "because"})
	}
	may := func(action string) bool {
		ok, _ := decisionOf(t, s.evaluate(question("user:a", action, "doc:1")).ok(200).json())
		return ok
	}
	one := publish(first, false).ok(201)
	digest := one.at("digest").(string)
	if one.at("active") != false || may("read") {
		t.Error("what is only published decides")
	}
	if got := one.at("published", "event", "reason"); got != "because" {
		t.Errorf("reason %v", got)
	}
	again := publish(first, true).ok(200)
	if again.at("published") != nil || again.at("activated", "event", "type") != "policy.activated" || again.at("active") != true || !may("read") {
		t.Errorf("publish the same again and activate it: %s", again.body)
	}
	if x := publish(first, true).ok(200); x.at("activated") != nil || x.at("active") != true {
		t.Errorf("and again: %s", x.body)
	}
	publish(second, true).ok(201)
	if may("read") || !may("write") {
		t.Error("the second version does not decide alone")
	}
	x := s.as(aver.RoleAuditor, "GET", "/v1/policies/docs", nil).ok(200)
	if versions := x.at("versions").([]any); len(versions) != 2 || x.at("active") == digest {
		t.Errorf("%s", x.body)
	}
	if files := s.as(aver.RoleAuditor, "GET", "/v1/policies/docs/"+digest, nil).ok(200).at("files", "docs.cedar"); files != first {
		t.Errorf("files %v", files)
	}
	s.admin("POST", "/v1/policies/docs/activate", map[string]any{"digest": digest, "reason": "back"}).ok(200)
	if !may("read") || may("write") {
		t.Error("the first version is not back")
	}
	s.admin("POST", "/v1/policies/docs/activate", map[string]any{"digest": digest}).problem(409, "conflict", "already active")
	s.admin("POST", "/v1/policies/docs/activate", map[string]any{"digest": "x"}).problem(404, "not-found")
	s.admin("POST", "/v1/policies/docs/retire?reason=over", nil).ok(200)
	if may("read") {
		t.Error("a retired bundle decides")
	}
	s.admin("POST", "/v1/policies/docs/retire", nil).problem(409, "conflict", "not active")
	s.admin("POST", "/v1/policies/nothing/retire", nil).problem(404, "not-found")
	s.admin("GET", "/v1/policies/nothing", nil).problem(404, "not-found")
	s.admin("GET", "/v1/policies/docs/x", nil).problem(404, "not-found")
}

// A bundle that can't be read is refused with all that is wrong, and what was active stays active.
func TestUnparsableBundle(t *testing.T) {
	s := start(t)
	s.publish("docs", `permit (principal, action == Action::"read", resource);`)
	x := s.admin("POST", "/v1/policies", map[string]any{"name": "docs", "activate": true, "files": map[string]string{
		"docs.cedar":  "permit (principal, action, resource);\npermit (principal, acton, resource);",
		"more.cedar":  "forbid (principal, action, resource) when { context.x + };",
		"bundle.yaml": "review: soon\n",
		"READ.ME":     "hello",
	}})
	x.problem(422, "invalid-bundle", "READ.ME")
	x = s.admin("POST", "/v1/policies", map[string]any{"name": "docs", "activate": true, "files": map[string]string{
		"docs.cedar":  "permit (principal, action, resource);\npermit (principal, acton, resource);",
		"more.cedar":  "forbid (principal, action, resource) when { context.x + };",
		"bundle.yaml": "review: soon\n",
	}})
	x.problem(422, "invalid-bundle")
	found := map[string]bool{}
	for _, e := range x.at("errors").([]any) {
		e := e.(map[string]any)
		found[fmt.Sprintf("%v:%v", e["file"], e["line"])] = e["message"] != "" && e["column"] != nil
	}
	for _, want := range []string{"docs.cedar:2", "more.cedar:1", "bundle.yaml:1"} {
		if !found[want] {
			t.Errorf("no error at %s: %s", want, x.body)
		}
	}
	if ok, _ := decisionOf(t, s.evaluate(question("user:a", "read", "doc:1")).json()); !ok {
		t.Error("the old bundle does not decide any more")
	}
	s.admin("POST", "/v1/policies", map[string]any{"name": "docs"}).problem(400, "invalid-request", "/files")
	s.admin("POST", "/v1/policies", map[string]any{"files": map[string]string{"x.cedar": ""}}).problem(422, "invalid-bundle", "name")
}

func TestIdentities(t *testing.T) {
	s := start(t)
	agent := map[string]any{
		"type": "ai_agent", "id": "bot/1 é", "kind": "ai_agent", "owner": "ann", "purpose": "books flights",
		"tools": []string{"search"}, "properties": map[string]any{"level": 3}, "parents": []any{party("team:travel")},
	}
	made := s.admin("POST", "/v1/identities", agent).ok(201)
	if made.at("event", "type") != "identity.registered" || made.at("receipt", "leaf_hash") == nil || made.at("included") != true {
		t.Errorf("%s", made.body)
	}
	s.admin("POST", "/v1/identities", agent).problem(409, "conflict", "already registered")
	path := "/v1/identities/ai_agent/" + url.PathEscape("bot/1 é")
	got := s.as(aver.RoleAuditor, "GET", path, nil).ok(200)
	if got.at("id") != "bot/1 é" || got.at("status") != "active" || got.at("by", "name") != "admin" {
		t.Errorf("%s", got.body)
	}
	for _, c := range []struct {
		verb   string
		status int
		then   string
	}{
		{"resume", 409, "active"}, {"suspend", 200, "suspended"}, {"suspend", 409, "suspended"},
		{"resume", 200, "active"}, {"retire", 200, "retired"}, {"resume", 409, "retired"},
	} {
		s.admin("POST", path+"/"+c.verb, map[string]any{"reason": "why not"}).ok(c.status)
		if status := s.admin("GET", path, nil).at("status"); status != c.then {
			t.Errorf("after %s: %v", c.verb, status)
		}
	}
	s.admin("POST", "/v1/identities/user/nobody/suspend", nil).problem(404, "not-found")
	s.admin("GET", "/v1/identities/user/nobody", nil).problem(404, "not-found")

	s.admin("PUT", "/v1/identities/user/ann", map[string]any{"kind": "human_user"}).ok(201)
	s.admin("PUT", "/v1/identities/user/ann?reason=married", map[string]any{"kind": "human_user", "name": "Ann"}).ok(200)
	if x := s.admin("GET", "/v1/identities/user/ann", nil); x.at("name") != "Ann" || x.at("reason") != "married" {
		t.Errorf("%s", x.body)
	}
	s.admin("PUT", "/v1/identities/user/ann", map[string]any{"kind": "human_user", "id": "bob"}).problem(400, "invalid-request", "/id")
	for says, body := range map[string]map[string]any{
		"owner":      {"kind": "ai_agent", "purpose": "x"},
		"kind":       {"kind": "cat"},
		"own parent": {"kind": "human_user", "parents": []any{party("user:x")}},
	} {
		s.admin("PUT", "/v1/identities/user/x", body).problem(422, "refused", says)
	}
	s.admin("PUT", "/v1/identities/1user/x", map[string]any{"kind": "human_user"}).problem(422, "refused", "not a name of Cedar")
}

func TestEntities(t *testing.T) {
	s := start(t)
	s.publish("docs", `permit (principal, action, resource) when { resource has open && resource.open };`)
	may := func() bool {
		ok, _ := decisionOf(t, s.evaluate(question("user:a", "read", "doc:1")).ok(200).json())
		return ok
	}
	if may() {
		t.Error("permitted before anything is registered")
	}
	s.admin("PUT", "/v1/entities/doc/1", map[string]any{"properties": map[string]any{"open": true}, "reason": "published"}).ok(201)
	if !may() {
		t.Error("denied although it is registered as open")
	}
	// What is registered goes before what the caller says.
	q := question("user:a", "read", "doc:1")
	q["resource"].(map[string]any)["properties"] = map[string]any{"open": false}
	if ok, _ := decisionOf(t, s.evaluate(q).json()); !ok {
		t.Error("the caller's claim goes before the registered fact")
	}
	s.admin("PUT", "/v1/entities/doc/1", map[string]any{"properties": map[string]any{"open": false}}).ok(200)
	if may() {
		t.Error("permitted after it was closed")
	}
	if x := s.admin("GET", "/v1/entities/doc/1", nil).ok(200); x.at("properties", "open") != false {
		t.Errorf("%s", x.body)
	}
	s.admin("DELETE", "/v1/entities/doc/1?reason=gone", nil).ok(200)
	s.admin("DELETE", "/v1/entities/doc/1", nil).problem(404, "not-found")
	s.admin("GET", "/v1/entities/doc/1", nil).problem(404, "not-found")
	s.admin("PUT", "/v1/entities/doc/1", map[string]any{"properties": map[string]any{"x": []any{nil}}}).problem(422, "refused", "properties")
}

func TestGrants(t *testing.T) {
	s := startDocs(t)
	s.admin("PUT", "/v1/identities/ai_agent/bot", map[string]any{"kind": "ai_agent", "owner": "ann", "purpose": "reads"}).ok(201)
	grant := map[string]any{
		"id": "g-1", "from": party("user:ann"), "to": party("ai_agent:bot"), "actions": []string{"read"},
		"resources": []any{map[string]any{"type": "doc"}}, "purpose": "summaries", "reason": "asked for",
		"limits": map[string]any{"uses": 2},
	}
	s.admin("POST", "/v1/grants", grant).ok(201)
	s.admin("POST", "/v1/grants", grant).problem(409, "conflict", "already issued")
	ask := func() string {
		q := question("ai_agent:bot", "read", "doc:1")
		q["context"] = map[string]any{"on_behalf_of": party("user:ann"), "delegation": []string{"g-1"}}
		_, outcome := decisionOf(t, s.evaluate(q).ok(200).json())
		return outcome
	}
	if got := []string{ask(), ask(), ask()}; !slices.Equal(got, []string{"permitted", "permitted", "denied"}) {
		t.Errorf("a grant for two uses: %v", got)
	}
	s.admin("POST", "/v1/grants/g-1/revoke", map[string]any{"reason": "enough"}).ok(200)
	if x := s.as(aver.RoleAuditor, "GET", "/v1/grants/g-1", nil).ok(200); x.at("revoked", "reason") != "enough" {
		t.Errorf("%s", x.body)
	}
	s.admin("POST", "/v1/grants/g-1/revoke", nil).problem(409, "conflict", "already revoked")
	s.admin("POST", "/v1/grants/g-2/revoke", nil).problem(404, "not-found")
	s.admin("GET", "/v1/grants/g-2", nil).problem(404, "not-found")
	delete(grant, "id")
	id, _ := s.admin("POST", "/v1/grants", grant).ok(201).at("event", "data", "id").(string)
	if !strings.HasPrefix(id, "g-") {
		t.Errorf("made-up id %q", id)
	}
	for says, change := range map[string]any{
		"actions":  map[string]any{"actions": []string{}},
		"Cedar":    map[string]any{"condition": "context."},
		"itself":   map[string]any{"to": party("user:ann")},
		"depth":    map[string]any{"depth": 9},
		"parent":   map[string]any{"parent": "g-99"},
		"expires":  map[string]any{"expires": "2020-01-01T00:00:00Z"},
		"resource": map[string]any{"resources": []any{map[string]any{"type": "do*"}}},
	} {
		bad := map[string]any{}
		for k, v := range grant {
			bad[k] = v
		}
		for k, v := range change.(map[string]any) {
			bad[k] = v
		}
		s.admin("POST", "/v1/grants", bad).problem(422, "refused", says)
	}
}

// Lists come in pages of a stable order, each thing once, also while things are added.
func TestPages(t *testing.T) {
	s := start(t)
	var want []string
	for i := range 7 {
		id := fmt.Sprintf("u%d", i)
		s.admin("PUT", "/v1/identities/user/"+id, map[string]any{"kind": "human_user"}).ok(201)
		want = append(want, id)
	}
	var got []string
	after := ""
	for pages := 0; ; pages++ {
		x := s.admin("GET", "/v1/identities?limit=3&after="+after, nil).ok(200)
		for _, i := range x.at("identities").([]any) {
			got = append(got, i.(map[string]any)["id"].(string))
		}
		if pages == 0 { // it belongs before the second page
			s.admin("PUT", "/v1/identities/user/u00", map[string]any{"kind": "human_user"}).ok(201)
		}
		next, ok := x.at("next").(string)
		if !ok {
			break
		}
		after = next
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for _, q := range []string{"limit=0", "limit=1001", "limit=x", "after=%2b%2b"} {
		s.admin("GET", "/v1/identities?"+q, nil).problem(400, "invalid-request")
	}
	for _, list := range []string{"policies", "entities", "grants", "credentials", "events", "decisions"} {
		if x := s.admin("GET", "/v1/"+list, nil).ok(200); x.at(list) == nil {
			t.Errorf("%s: %s", list, x.body)
		}
	}
}

// Bodies under /v1/ are read as strictly as requests for decisions.
func TestBadBodies(t *testing.T) {
	s := start(t)
	for _, c := range []struct {
		body   string
		status int
		slug   string
		says   string
	}{
		{"", 400, "invalid-json", "empty"},
		{"{", 400, "invalid-json", `"line":1`},
		{"[]", 400, "invalid-request", "object"},
		{`{"kind":"human_user","kind":"ai_agent"}`, 400, "invalid-json", "stands twice"},
		{`{"kind":"human_user","owners":"x"}`, 400, "invalid-request", "owners"},
		{`{"kind":"human_user","Owner":"x"}`, 400, "invalid-request", "/Owner"},
		{`{"kind":"human_user","parents":[{"Type":"a","id":"b"}]}`, 400, "invalid-request", "/parents/0/Type"},
		{`{"kind":1}`, 400, "invalid-request", "/kind"},
		{`{"kind":"human_user","expires":"tomorrow"}`, 400, "invalid-request", "RFC 3339"},
		{`{"kind":"human_user","name":"` + strings.Repeat("x", 1<<20) + `"}`, 413, "too-large", "1048576"},
		{`{"kind":"human_user","name":"` + strings.Repeat("x", 5000) + `"}`, 422, "refused", "name"},
		{`{"kind":"human_user","reason":"` + strings.Repeat("x", 5000) + `"}`, 422, "refused", "reason"},
	} {
		s.admin("PUT", "/v1/identities/user/x", c.body).problem(c.status, c.slug, c.says)
	}
	header := bearer(s.tokens[aver.RoleAdmin])
	header.Set("Content-Type", "text/plain")
	s.request("PUT", "/v1/identities/user/x", `{"kind":"human_user"}`, header).problem(415, "unsupported-media-type")
	s.admin("GET", "/v1/identities/user/x", nil).problem(404, "not-found")
}

func TestMethodsAndPaths(t *testing.T) {
	s := start(t)
	x := s.admin("DELETE", "/v1/identities", nil)
	x.problem(405, "method-not-allowed")
	if allow := x.header.Get("Allow"); allow != "GET, HEAD, POST" {
		t.Errorf("Allow: %s", allow)
	}
	if x := s.admin("GET", "/access/v1/evaluation", nil).ok(405); x.header.Get("Allow") != "POST" {
		t.Errorf("Allow: %s", x.header.Get("Allow"))
	}
	if x := s.request("OPTIONS", "/v1/grants/g-1", nil, nil).ok(204); x.header.Get("Allow") != "GET, HEAD, OPTIONS" {
		t.Errorf("Allow: %s", x.header.Get("Allow"))
	}
	if x := s.admin("HEAD", "/v1/policies", nil).ok(200); len(x.body) != 0 || x.header.Get("Content-Length") == "" {
		t.Errorf("HEAD: %v %s", x.header, x.body)
	}
	for _, path := range []string{"/", "/v1", "/v2/policies", "/v1/decisions/x/y", "/favicon.ico"} {
		s.admin("GET", path, nil).problem(404, "not-found")
	}
	if x := s.admin("POST", "/access/v1/search/nothing", "{}").ok(404); x.header.Get("Content-Type") != "application/json" {
		t.Errorf("%v", x.header)
	}
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"} {
		if got := s.admin("GET", "/v1/policies", nil).header.Get(name); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
	if x := s.request("GET", "/v1/openapi.yaml", nil, nil).ok(http.StatusOK); !strings.HasPrefix(string(x.body), "openapi: 3") {
		t.Errorf("%.40s", x.body)
	}
}
