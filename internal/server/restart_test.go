package server_test

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/aver-authz/aver/internal/server"
)

func outcome(t testing.TB, w *httptest.ResponseRecorder) string {
	t.Helper()
	var answer struct {
		Context struct {
			Outcome string `json:"outcome"`
		} `json:"context"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return answer.Context.Outcome
}

// Whatever decided before a restart decides after it: policies, grants, and what was used of their limits. The state
// directory only makes the start faster.
func TestRestart(t *testing.T) {
	for _, what := range []string{"with its state", "without its state"} {
		dir := filepath.Join(t.TempDir(), "data")
		s := open(t, server.Config{DataDir: dir})
		token := adminToken(t, dir)
		for path, body := range map[string]string{
			"/v1/policies":   `{"name":"docs","files":{"docs.cedar":"permit (principal, action, resource);"},"activate":true}`,
			"/v1/identities": `{"type":"ai_agent","id":"bot","kind":"ai_agent","owner":"ann","purpose":"reads"}`,
			"/v1/grants":     `{"id":"g","from":{"type":"user","id":"ann"},"to":{"type":"ai_agent","id":"bot"},"actions":["read"],"resources":[{"type":"doc"}],"limits":{"uses":2}}`,
		} {
			if w := do(s, token, "POST", path, body); w.Code != 201 {
				t.Fatalf("%s: %d %s", path, w.Code, w.Body)
			}
		}
		use := func() string {
			return outcome(t, do(s, token, "POST", "/access/v1/evaluation", `{"subject":{"type":"ai_agent","id":"bot"},"action":{"name":"read"},
				"resource":{"type":"doc","id":"1"},"context":{"on_behalf_of":{"type":"user","id":"ann"},"delegation":["g"]}}`))
		}
		if got := use(); got != "permitted" {
			t.Fatalf("the first use: %s", got)
		}
		for i, want := range []string{"permitted", "denied"} {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if what == "without its state" {
				if err := os.RemoveAll(filepath.Join(dir, "state")); err != nil {
					t.Fatal(err)
				}
			}
			s = open(t, server.Config{DataDir: dir})
			if got := use(); got != want {
				t.Errorf("%s, after start %d: %s, want %s", what, i+2, got, want)
			}
		}
	}
}
