package api_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/server"
)

// A request whose record would be larger than a record may be is refused, and not decided.
func TestTooLargeToRecord(t *testing.T) {
	s := start(t)
	s.admin("POST", "/v1/policies", map[string]any{"name": "docs", "activate": true, "files": map[string]string{
		"bundle.yaml": "sensitive: [context.blob]\nretain: [context.blob]\n",
		"docs.cedar":  `permit (principal, action, resource) when { context.blob != "" };`,
	}}).ok(201)
	q := question("user:ann", "read", "doc:1")
	q["context"] = map[string]any{"blob": strings.Repeat("x", 900_000)}
	if x := s.evaluate(q).ok(400); !strings.Contains(string(x.body), "too large to be recorded") {
		t.Errorf("%s", x.body)
	}
	q["context"] = map[string]any{"blob": "x"}
	if ok, _ := decisionOf(t, s.evaluate(q).ok(200).json()); !ok {
		t.Error("the next request is not answered as ever")
	}
}

func TestConfiguredLimits(t *testing.T) {
	s := start(t, func(c *server.Config) { c.MaxBody, c.MaxBatch = 400, 2 })
	q := question("user:ann", "read", "doc:1")
	q["evaluations"] = []any{map[string]any{}, map[string]any{}}
	if got := len(s.evaluations(q).decisions()); got != 2 {
		t.Errorf("%d answers", got)
	}
	q["evaluations"] = []any{map[string]any{}, map[string]any{}, map[string]any{}}
	s.evaluations(q).ok(400)
	q["evaluations"] = []any{map[string]any{"context": map[string]any{"x": strings.Repeat("x", 400)}}}
	if x := s.evaluations(q).ok(400); !strings.Contains(string(x.body), "400 bytes") {
		t.Errorf("%s", x.body)
	}
}

// What the items of a batch share counts for each of them, since each is recorded.
func TestSharedMembersAreBounded(t *testing.T) {
	s := start(t, func(c *server.Config) { c.MaxBody = 4000 })
	batch := func(items int) map[string]any {
		q := question("user:ann", "read", "doc:1")
		q["context"] = map[string]any{"x": strings.Repeat("x", 2000)}
		list := make([]any, items)
		for i := range list {
			list[i] = map[string]any{}
		}
		q["evaluations"] = list
		return q
	}
	if got := len(s.evaluations(batch(25)).decisions()); got != 25 {
		t.Errorf("%d answers", got)
	}
	if x := s.evaluations(batch(40)).ok(400); !strings.Contains(string(x.body), "split the request") {
		t.Errorf("%s", x.body)
	}
}

// Whatever is sent, the answer is 200 with whole answers, or 400 with a message.
func FuzzEvaluations(f *testing.F) {
	for _, seed := range []string{
		`{"subject":{"type":"user","id":"ann"},"action":{"name":"read"},"resource":{"type":"doc","id":"1"}}`,
		`{"subject":{"type":"user","id":"ann"},"evaluations":[{"action":{"name":"read"},"resource":{"type":"doc","id":"1"}},{}],"options":{"evaluations_semantic":"deny_on_first_deny"}}`,
		`{"subject":{"type":"user","id":"ann"},"action":{"name":"read"},"resource":{"type":"doc","id":"1"},"context":{"parts":["a",{"id":"b","properties":{"x":{"__extn":{"fn":"decimal","arg":"1.5"}}}}],"delegation":["g"],"on_behalf_of":{"type":"user","id":"bob"}}}`,
		`{"evaluations":null,"options":null}`, `{"evaluations":[[]]}`, `[`, ``,
	} {
		f.Add([]byte(seed))
	}
	s := start(f)
	s.publish("docs", `permit (principal, action, resource is doc) when { resource has x || context has parts || true };`)
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest("POST", "/access/v1/evaluations", bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+s.tokens[aver.RolePEP])
		w := httptest.NewRecorder()
		s.server.Handler().ServeHTTP(w, r)
		switch w.Code {
		case http.StatusBadRequest:
			var message string
			if err := json.Unmarshal(w.Body.Bytes(), &message); err != nil || message == "" {
				t.Errorf("%s", w.Body)
			}
		case http.StatusOK:
			var answer struct {
				Decision    *bool `json:"decision"`
				Evaluations []any `json:"evaluations"`
			}
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || (answer.Decision == nil) == (answer.Evaluations == nil) {
				t.Fatalf("%v %s", err, w.Body)
			}
			for _, a := range answer.Evaluations {
				decisionOf(t, a)
			}
		default:
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}
