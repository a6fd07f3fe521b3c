package api_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/server"
)

// The registered facts of the search scenario.
var (
	staff = []struct{ name, role, department string }{
		{"alice", "manager", "Sales"}, {"bob", "employee", "Legal"}, {"carol", "contractor", "Legal"},
		{"dan", "manager", "Finance"}, {"erin", "employee", "Finance"}, {"felix", "contractor", "Accounting"},
	}
	// From record 101 on; the owners take turns.
	departments = strings.Fields("Legal Legal Legal Accounting Legal Accounting Sales Legal Accounting Sales " +
		"Accounting Legal Sales Accounting Finance Legal Legal Accounting Legal Accounting")
)

func startRecords(t *testing.T, change ...func(*server.Config)) *service {
	s := start(t, change...)
	s.publishDir("testdata/records")
	for _, p := range staff {
		s.admin("PUT", "/v1/identities/user/"+p.name, map[string]any{
			"kind": "human_user", "properties": map[string]any{"department": p.department}, "parents": []any{party("role:" + p.role)},
		}).ok(201)
	}
	for i, d := range departments {
		s.admin("PUT", fmt.Sprintf("/v1/entities/record/%d", 101+i), map[string]any{"properties": map[string]any{
			"department": d, "owner": map[string]any{"__entity": party("user:" + staff[i%len(staff)].name)},
		}}).ok(201)
	}
	return s
}

// may is the scenario in its own words.
func may(p, action string, record int) bool {
	i := record - 101
	owner, department := staff[i%len(staff)].name, departments[i]
	for _, s := range staff {
		if s.name == p {
			same, manager := s.department == department, s.role == "manager"
			return owner == p || action == "view" && (same || manager) || action == "edit" && same && manager
		}
	}
	return false
}

// found returns the results of a search as ids or names, and the token of the next page.
func (s *service) found(what string, body any) (results []string, next string) {
	s.t.Helper()
	var answer struct {
		Page *struct {
			Next  *string `json:"next_token"`
			Count int     `json:"count"`
		} `json:"page"`
		Results []struct{ Type, ID, Name string } `json:"results"`
	}
	x := s.as(aver.RolePEP, "POST", "/access/v1/search/"+what, body).ok(200)
	x.into(&answer)
	if !strings.HasPrefix(string(x.body), `{"page":`) || answer.Page.Next == nil || answer.Page.Count != len(answer.Results) || answer.Results == nil {
		s.t.Fatalf("not a whole answer: %s", x.body)
	}
	results = []string{}
	for _, r := range answer.Results {
		if (what == "action") != (r.Name != "" && r.Type == "" && r.ID == "") {
			s.t.Fatalf("not a %s: %s", what, x.body)
		}
		results = append(results, r.ID+r.Name)
	}
	return results, *answer.Page.Next
}

func searchFor(subject, action, resource string) map[string]any {
	body := map[string]any{}
	for name, ref := range map[string]string{"subject": subject, "resource": resource} {
		typ, id, ok := strings.Cut(ref, ":")
		body[name] = map[string]any{"type": typ}
		if ok {
			body[name] = map[string]any{"type": typ, "id": id}
		}
	}
	if action != "" {
		body["action"] = map[string]any{"name": action}
	}
	return body
}

// The working group's searches, over HTTP.
func TestInteropSearch(t *testing.T) {
	s := startRecords(t)
	for what, n := range map[string]int{"action": 120, "resource": 18, "subject": 60} {
		var p struct {
			Evaluation []struct {
				Request  json.RawMessage `json:"request"`
				Expected struct {
					Results []struct{ ID, Name string } `json:"results"`
				} `json:"expected"`
			} `json:"evaluation"`
		}
		if err := json.Unmarshal(interopFile(t, "search/"+what+"-results.json"), &p); err != nil {
			t.Fatal(err)
		}
		if len(p.Evaluation) != n {
			t.Fatal("the payloads are not those that this test was written for")
		}
		for _, c := range p.Evaluation {
			want := []string{}
			for _, r := range c.Expected.Results {
				want = append(want, r.ID+r.Name)
			}
			slices.Sort(want)
			if got, next := s.found(what, string(c.Request)); !slices.Equal(got, want) || next != "" {
				t.Errorf("%s search %s: %q, want %q", what, c.Request, got, want)
			}
		}
	}
}

// R14, R15: every search of the scenario, and each result is one that the evaluation API allows.
func TestR15SearchResults(t *testing.T) {
	s := startRecords(t)
	actions := []string{"delete", "edit", "view"}
	for _, p := range staff {
		for _, action := range actions {
			want := []string{}
			for record := 101; record <= 120; record++ {
				if may(p.name, action, record) {
					want = append(want, fmt.Sprint(record))
				}
				if ok, _ := decisionOf(t, s.evaluate(question("user:"+p.name, action, fmt.Sprintf("record:%d", record))).ok(200).json()); ok != may(p.name, action, record) {
					t.Errorf("%s may %s %d: %v", p.name, action, record, ok)
				}
			}
			if got, _ := s.found("resource", searchFor("user:"+p.name, action, "record")); !slices.Equal(got, want) {
				t.Errorf("what %s may %s: %q, want %q", p.name, action, got, want)
			}
		}
	}
	for record := 101; record <= 120; record++ {
		ref := fmt.Sprintf("record:%d", record)
		for _, action := range actions {
			want := []string{}
			for _, p := range staff {
				if may(p.name, action, record) {
					want = append(want, p.name)
				}
			}
			if got, _ := s.found("subject", searchFor("user", action, ref)); !slices.Equal(got, want) {
				t.Errorf("who may %s %d: %q, want %q", action, record, got, want)
			}
		}
		for _, p := range staff {
			want := slices.DeleteFunc(slices.Clone(actions), func(a string) bool { return !may(p.name, a, record) })
			if got, _ := s.found("action", searchFor("user:"+p.name, "", ref)); !slices.Equal(got, want) {
				t.Errorf("what %s may do to %d: %q, want %q", p.name, record, got, want)
			}
		}
	}
}

// R14, R15: what is searched for is ignored, and what is unknown gives no results, not an error.
func TestR15SearchIgnoresAndKnowsNot(t *testing.T) {
	s := startRecords(t)
	for name, c := range map[string]struct {
		what string
		body any
		want []string
	}{
		"an id of the subject":         {"subject", searchFor("user:bob", "delete", "record:101"), []string{"alice"}},
		"an id of a wrong type":        {"subject", `{"subject":{"type":"user","id":7},"action":{"name":"delete"},"resource":{"type":"record","id":"101"}}`, []string{"alice"}},
		"an id of the resource":        {"resource", searchFor("user:felix", "delete", "record:101"), []string{"106", "112", "118"}},
		"an action":                    {"action", searchFor("user:felix", "delete", "record:120"), []string{"view"}},
		"members that nobody defined":  {"action", `{"subject":{"type":"user","id":"felix","x":1},"resource":{"type":"record","id":"120"},"y":{}}`, []string{"view"}},
		"a type of which nobody is":    {"subject", searchFor("nobody", "view", "record:101"), []string{}},
		"a type of which nothing is":   {"resource", searchFor("user:alice", "view", "nothing"), []string{}},
		"a subject unknown":            {"resource", searchFor("user:zoe", "view", "record"), []string{}},
		"a resource unknown":           {"action", searchFor("user:alice", "", "record:999"), []string{}},
		"a resource of a type unknown": {"subject", searchFor("user", "view", "nothing:101"), []string{}},
		"an action unknown":            {"resource", searchFor("user:alice", "shred", "record"), []string{}},
		"no limit reached":             {"subject", with(searchFor("user", "delete", "record:101"), "page", map[string]any{"limit": 100}), []string{"alice"}},
		"properties of the page":       {"subject", with(searchFor("user", "delete", "record:101"), "page", map[string]any{"properties": map[string]any{"sort": "up"}, "x": 1}), []string{"alice"}},
		"a subject whom the caller describes": {"resource", `{"subject":{"type":"user","id":"guest","properties":{"department":"Finance"}},
			"action":{"name":"view"},"resource":{"type":"record"}}`, []string{"115"}},
	} {
		if got, next := s.found(c.what, c.body); !slices.Equal(got, c.want) || next != "" {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if x := s.as(aver.RolePEP, "POST", "/access/v1/search/resource", searchFor("user:zoe", "view", "record")); fmt.Sprint(x.at("context", "unknown")) != "[subject]" {
		t.Errorf("the answer does not say what is unknown: %s", x.body)
	}
}

// R15: what is given must be given whole.
func TestR15SearchRefusals(t *testing.T) {
	s := startRecords(t)
	for name, c := range map[string]struct {
		what, body, says string
	}{
		"no subject type":           {"subject", `{"subject":{},"action":{"name":"view"},"resource":{"type":"record","id":"101"}}`, "/subject/type"},
		"no subject":                {"subject", `{"action":{"name":"view"},"resource":{"type":"record","id":"101"}}`, "/subject/type"},
		"subject, no action":        {"subject", `{"subject":{"type":"user"},"resource":{"type":"record","id":"101"}}`, "/action/name"},
		"subject, no resource id":   {"subject", `{"subject":{"type":"user"},"action":{"name":"view"},"resource":{"type":"record"}}`, "/resource/id"},
		"resource, no subject id":   {"resource", `{"subject":{"type":"user"},"action":{"name":"view"},"resource":{"type":"record"}}`, "/subject/id"},
		"resource, no type":         {"resource", `{"subject":{"type":"user","id":"bob"},"action":{"name":"view"},"resource":{}}`, "/resource/type"},
		"resource, empty name":      {"resource", `{"subject":{"type":"user","id":"bob"},"action":{"name":""},"resource":{"type":"record"}}`, "/action/name"},
		"action, no subject":        {"action", `{"resource":{"type":"record","id":"101"}}`, "/subject/type"},
		"action, no resource id":    {"action", `{"subject":{"type":"user","id":"bob"},"resource":{"type":"record"}}`, "/resource/id"},
		"a list":                    {"action", `[]`, "object"},
		"nothing":                   {"action", ``, "empty"},
		"a wrong type":              {"subject", `{"subject":{"type":5},"action":{"name":"view"},"resource":{"type":"record","id":"101"}}`, "/subject/type"},
		"a page of a wrong type":    {"action", `{"subject":{"type":"user","id":"bob"},"resource":{"type":"record","id":"101"},"page":3}`, "/page"},
		"a negative limit":          {"action", `{"subject":{"type":"user","id":"bob"},"resource":{"type":"record","id":"101"},"page":{"limit":-1}}`, "/page/limit"},
		"a limit in words":          {"action", `{"subject":{"type":"user","id":"bob"},"resource":{"type":"record","id":"101"},"page":{"limit":"two"}}`, "/page/limit"},
		"a token of a wrong type":   {"action", `{"subject":{"type":"user","id":"bob"},"resource":{"type":"record","id":"101"},"page":{"token":1}}`, "/page/token"},
		"a token made up":           {"action", `{"subject":{"type":"user","id":"bob"},"resource":{"type":"record","id":"101"},"page":{"token":"AAAA"}}`, "/page/token"},
		"a context that is claimed": {"action", `{"subject":{"type":"user","id":"bob"},"resource":{"type":"record","id":"101"},"context":{"aver":{}}}`, "/context/aver"},
	} {
		x := s.as(aver.RolePEP, "POST", "/access/v1/search/"+c.what, c.body).ok(400)
		if message, ok := x.json().(string); !ok || !strings.Contains(message, c.says) {
			t.Errorf("%s: %s, want what is wrong with %s", name, x.body, c.says)
		}
	}
}

// R16: pages of any size hold the same results in the same order, each once.
func TestR16SearchPages(t *testing.T) {
	s := startRecords(t)
	all, _ := s.found("resource", searchFor("user:alice", "view", "record"))
	for limit := 1; limit <= 21; limit++ {
		body := with(searchFor("user:alice", "view", "record"), "page", map[string]any{"limit": limit})
		var got []string
		for pages := 0; ; pages++ {
			results, next := s.found("resource", body)
			if len(results) > limit || len(results) < min(limit, 20) && next != "" || pages > 20 {
				t.Fatalf("limit %d: a page of %d", limit, len(results))
			}
			got = append(got, results...)
			if next == "" {
				break
			}
			body["page"] = map[string]any{"limit": limit, "token": next}
		}
		if !slices.Equal(got, all) || len(all) != 20 {
			t.Errorf("limit %d: %q, want %q", limit, got, all)
		}
	}
	if results, next := s.found("resource", with(searchFor("user:alice", "view", "record"), "page", map[string]any{"limit": 0})); len(results) != 0 || next == "" {
		t.Errorf("limit 0: %q, next %q", results, next)
	}
	if _, next := s.found("resource", with(searchFor("user:zoe", "view", "record"), "page", map[string]any{"limit": 0})); next != "" {
		t.Errorf("limit 0 of nothing: next %q", next)
	}
}

// R16: a token is good for the request it was given for, and for none other.
func TestR16SearchTokenIsBound(t *testing.T) {
	s := startRecords(t)
	page := func(token string, limit int) map[string]any { return map[string]any{"token": token, "limit": limit} }
	_, token := s.found("resource", with(searchFor("user:alice", "view", "record"), "page", map[string]any{"limit": 3}))
	changed := []byte(token)
	changed[len(changed)/2] ^= 1
	for name, c := range map[string]struct {
		what string
		body map[string]any
	}{
		"another subject":    {"resource", with(searchFor("user:dan", "view", "record"), "page", page(token, 3))},
		"another action":     {"resource", with(searchFor("user:alice", "edit", "record"), "page", page(token, 3))},
		"another type":       {"resource", with(searchFor("user:alice", "view", "user"), "page", page(token, 3))},
		"another limit":      {"resource", with(searchFor("user:alice", "view", "record"), "page", page(token, 4))},
		"another context":    {"resource", with(with(searchFor("user:alice", "view", "record"), "page", page(token, 3)), "context", map[string]any{"a": 1})},
		"another search":     {"subject", with(searchFor("user:alice", "view", "record:101"), "page", page(token, 3))},
		"changed on the way": {"resource", with(searchFor("user:alice", "view", "record"), "page", page(string(changed), 3))},
	} {
		if x := s.as(aver.RolePEP, "POST", "/access/v1/search/"+c.what, c.body).ok(400); !strings.Contains(string(x.body), "/page/token") {
			t.Errorf("%s: %s", name, x.body)
		}
	}
	if got, _ := s.found("resource", with(searchFor("user:alice", "view", "record"), "page", page(token, 3))); !slices.Equal(got, []string{"104", "105", "106"}) {
		t.Errorf("the second page: %q", got)
	}
	if strings.Contains(token, "103") {
		t.Errorf("the token shows where it stands: %s", token)
	}
}

// A search goes on as of the state it began with, though the authority has changed since.
func TestSearchGoesOnAsItBegan(t *testing.T) {
	s := startRecords(t)
	body := with(searchFor("user:alice", "view", "record"), "page", map[string]any{"limit": 10})
	first, token := s.found("resource", body)
	s.admin("DELETE", "/v1/entities/record/115", nil).ok(200)
	s.admin("PUT", "/v1/entities/record/1155", map[string]any{"properties": map[string]any{"department": "Sales", "owner": "nobody"}}).ok(201)
	second, next := s.found("resource", with(body, "page", map[string]any{"limit": 10, "token": token}))
	if got := append(first, second...); len(got) != 20 || !slices.Contains(got, "115") || slices.Contains(got, "1155") || next != "" {
		t.Errorf("%q, next %q", got, next)
	}
	if now, _ := s.found("resource", searchFor("user:alice", "view", "record")); slices.Contains(now, "115") || !slices.Contains(now, "1155") {
		t.Errorf("a search that begins now: %q", now)
	}
}

// A search is no decision: it leaves the decision log as it was.
func TestSearchLeavesNoRecord(t *testing.T) {
	s := startRecords(t)
	records := func() any { return s.admin("GET", "/v1/log", nil).ok(200).at("decisions", "size") }
	s.evaluate(question("user:alice", "view", "record:101")).ok(200)
	before := records()
	s.found("action", searchFor("user:alice", "", "record:101"))
	s.as(aver.RoleAuditor, "POST", "/access/v1/search/subject", searchFor("user", "view", "record:101")).ok(200)
	s.request("POST", "/access/v1/search/subject", searchFor("user", "view", "record:101"), nil).ok(401)
	if after := records(); before == nil || after != before {
		t.Errorf("%v records after the searches, %v before", after, before)
	}
}
