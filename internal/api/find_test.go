package api_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/server"
)

// asked makes decisions about documents: twelve reads by ann in a session, every third on another document, and one
// denial.
func asked(t *testing.T, change ...func(*server.Config)) *service {
	t.Helper()
	s := startDocs(t, change...)
	for i := range 12 {
		q := question("user:ann", "read", fmt.Sprintf("doc:%d", 1+i%3))
		q["context"] = map[string]any{"session": "s-1"}
		s.evaluate(q).ok(200)
	}
	s.evaluate(question("user:bob", "erase", "doc:1")).ok(200)
	return s
}

func (s *service) find(path string, parameters ...string) *exchange {
	s.t.Helper()
	q := url.Values{}
	for i := 0; i < len(parameters); i += 2 {
		q.Set(parameters[i], parameters[i+1])
	}
	return s.as(aver.RoleAuditor, "GET", path+"?"+q.Encode(), nil)
}

// resources are the ids of the resources of the records on a page.
func resources(x *exchange) (out []string) {
	x.t.Helper()
	for _, e := range x.ok(200).at("decisions").([]any) {
		out = append(out, e.(map[string]any)["payload"].(map[string]any)["request"].(map[string]any)["resource"].(map[string]any)["id"].(string))
	}
	return out
}

func TestSearchDecisions(t *testing.T) {
	s := asked(t)
	for query, want := range map[string]string{
		"resource:doc/1 allowed:true":            "1 1 1 1",
		"action:read -resource:1 -resource:2":    "3 3 3 3",
		"actor:user/ann (resource:2 OR index:0)": "2 2 2 2",
		"outcome:denied actor:bob":               "1",
		"actor:nobody":                           "",
	} {
		if got := strings.Join(resources(s.find("/v1/decisions", "q", query)), " "); got != want {
			t.Errorf("%q found %q, want %q", query, got, want)
		}
	}
	// Pages, in both orders; what is recorded meanwhile, the accesses included, changes none of them.
	for order, want := range map[string]string{"newest": "3 2 1 3 2 1 3 2 1 3 2 1", "oldest": "1 2 3 1 2 3 1 2 3 1 2 3"} {
		var got []string
		cursor := ""
		for pages := 0; pages < 10; pages++ {
			parameters := []string{"q", "actor:ann", "limit", "5", "order", order}
			if cursor != "" {
				parameters = append(parameters, "cursor", cursor)
			}
			x := s.find("/v1/decisions", parameters...)
			got = append(got, resources(x)...)
			next, more := x.at("next").(string)
			if cursor = next; !more {
				break
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s first: %v", order, got)
		}
	}
	if x := s.find("/v1/decisions", "q", "actor:ann", "cursor", "0"); len(resources(x)) != 0 {
		t.Errorf("beyond the end: %s", x.body)
	}
	if n := number(t, s.find("/v1/decisions/count", "q", "actor:ann").ok(200).at("count")); n != 12 {
		t.Errorf("%d decisions of ann", n)
	}
	x := s.find("/v1/decisions/count", "q", "actor:ann OR actor:bob", "by", "hour").ok(200)
	sum := 0
	for _, b := range x.at("buckets").([]any) {
		sum += number(t, b.(map[string]any)["count"])
	}
	if sum != 13 || number(t, x.at("count")) != 13 {
		t.Errorf("%s", x.body)
	}
	status := s.find("/v1/index").ok(200)
	if number(t, status.at("indexed")) < 13 || number(t, status.at("partitions")) != 1 {
		t.Errorf("%s", status.body)
	}
}

func TestSearchMistakes(t *testing.T) {
	s := asked(t)
	x := s.find("/v1/decisions", "q", "actor:ann colour:red")
	x.problem(400, "invalid-query", "character 11", "there is no field colour")
	if at := number(t, x.at("position", "offset")); at != 10 {
		t.Errorf("the mistake is at %d: %s", at, x.body)
	}
	for _, parameters := range [][]string{
		{"q", "a", "saved", "b"}, {"q", "a", "before", "5"}, {"q", "a", "outcome", "denied"}, {"q", "a", "order", "random"},
		{"q", "a", "cursor", "x"}, {"q", "a", "limit", "0"},
	} {
		s.find("/v1/decisions", parameters...).problem(400, "invalid-request")
	}
	s.find("/v1/decisions", "saved", "nothing").problem(404, "not-found")
	s.find("/v1/decisions/count", "by", "soon").problem(400, "invalid-request", "soon")
	s.find("/v1/trail", "trace", "a", "session", "b").problem(400, "invalid-request")
	s.find("/v1/trail").problem(400, "invalid-request")
	s.find("/v1/trail", "trace", "a", "format", "png").problem(400, "invalid-request")
	s.find("/v1/trail", "trace", "a", "limit", "5000").problem(400, "invalid-request")
	for _, path := range []string{"/v1/decisions/count", "/v1/trail?trace=a", "/v1/searches", "/v1/index"} {
		s.as(aver.RolePEP, "GET", path, nil).problem(403, "forbidden")
	}
}

// Whoever searches, counts or follows a trail is recorded (issue 4: reading evidence is recorded too).
func TestSearchesAreAccessesToEvidence(t *testing.T) {
	s := asked(t)
	for _, path := range []string{"/v1/decisions?q=actor%3Aann", "/v1/decisions/count?q=", "/v1/trail?session=s-1"} {
		before := s.recorded()
		s.as(aver.RoleAuditor, "GET", path, nil).ok(200)
		if n := s.recorded() - before; n != 1 {
			t.Errorf("%s left %d records", path, n)
		}
	}
}

func TestTrail(t *testing.T) {
	s := asked(t)
	x := s.find("/v1/trail", "actor", "user/ann").ok(200)
	if number(t, x.at("decisions")) != 12 || x.at("query") != "hop:user/ann" {
		t.Errorf("%s", x.body)
	}
	if text := s.text("/v1/trail?actor=bob"); !strings.Contains(text, `DENIED  user::"bob": erase on doc::"1"`) {
		t.Error(text)
	}
	for format, want := range map[string]string{"text": "hop:ann: 2 decisions", "mermaid": "flowchart TD\n", "dot": "digraph trail {\n"} {
		if x := s.find("/v1/trail", "actor", "ann", "limit", "2", "format", format).ok(200); !strings.HasPrefix(string(x.body), want) {
			t.Errorf("%s: %s", format, x.body)
		}
	}
	if x := s.find("/v1/trail", "grant", "none").ok(200); number(t, x.at("decisions")) != 0 {
		t.Errorf("%s", x.body)
	}
}

func TestSavedQueries(t *testing.T) {
	s := asked(t)
	put := func(name string, body any) *exchange {
		return s.as(aver.RoleAuditor, "PUT", "/v1/searches/"+name, body)
	}
	saved := put("denials", map[string]any{"query": "outcome:denied", "description": "what was refused"}).ok(200)
	if saved.at("saved_by") != "the-auditor" || saved.at("saved_at") == nil {
		t.Errorf("%s", saved.body)
	}
	if got := resources(s.find("/v1/decisions", "saved", "denials")); len(got) != 1 {
		t.Errorf("found %v", got)
	}
	if n := number(t, s.find("/v1/decisions/count", "saved", "denials").ok(200).at("count")); n != 1 {
		t.Errorf("counted %d", n)
	}
	put("bad", map[string]any{"query": "outcome:maybe"}).problem(400, "invalid-query", "outcome is one of")
	put("Bad.Name", map[string]any{"query": "a"}).problem(400, "invalid-request", "name of a saved query")
	s.as(aver.RolePEP, "PUT", "/v1/searches/x", map[string]any{"query": "a"}).problem(403, "forbidden")
	if list := s.find("/v1/searches").ok(200).at("searches").([]any); len(list) != 1 {
		t.Errorf("%v", list)
	}
	if q := s.find("/v1/searches/denials").ok(200).at("query"); q != "outcome:denied" {
		t.Error(q)
	}
	s.as(aver.RoleAuditor, "DELETE", "/v1/searches/denials", nil).ok(204)
	s.as(aver.RoleAuditor, "DELETE", "/v1/searches/denials", nil).problem(404, "not-found")
}

// A server without an index decides, and lists what it decided from the log.
func TestWithoutAnIndex(t *testing.T) {
	s := asked(t, func(cfg *server.Config) { cfg.NoIndex = true })
	if got := resources(s.find("/v1/decisions", "outcome", "permitted")); len(got) < 12 {
		t.Errorf("listed %v", got)
	}
	for _, path := range []string{"/v1/decisions?q=a", "/v1/decisions/count", "/v1/trail?trace=a", "/v1/searches", "/v1/index"} {
		s.as(aver.RoleAuditor, "GET", path, nil).problem(404, "not-found", "--no-index")
	}
}
