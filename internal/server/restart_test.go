package server_test

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/server"
	"github.com/aver-authz/aver/internal/verify"
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

// A log directory that was put back from a copy, or lost, is not written: its key has signed more than it holds.
func TestOlderCopyOfALogIsNotContinued(t *testing.T) {
	for _, log := range []string{"decisions", "authority"} {
		dir := filepath.Join(t.TempDir(), "data")
		s := open(t, server.Config{DataDir: dir})
		token := adminToken(t, dir)
		change := func(path, body string, want int) {
			t.Helper()
			if w := do(s, token, "POST", path, body); w.Code != want {
				t.Fatalf("%s: %d %s", path, w.Code, w.Body)
			}
		}
		grow := func(id string) {
			t.Helper()
			change("/access/v1/evaluation", `{"subject":{"type":"user","id":"ann"},"action":{"name":"read"},"resource":{"type":"doc","id":"1"}}`, 200)
			change("/v1/identities", `{"type":"ai_agent","id":"`+id+`","kind":"ai_agent","owner":"ann","purpose":"reads"}`, 201)
		}
		grow("one")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		copied := filepath.Join(t.TempDir(), log)
		if err := os.CopyFS(copied, os.DirFS(filepath.Join(dir, log))); err != nil {
			t.Fatal(err)
		}
		s = open(t, server.Config{DataDir: dir})
		grow("two")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		refused := func(what string) {
			t.Helper()
			if s, err := server.Open(t.Context(), server.Config{DataDir: dir}); !errors.Is(err, ledger.ErrShorterThanCheckpoint) {
				t.Errorf("%s of %s: %v", what, log, err)
				if err == nil {
					s.Close()
				}
			}
			if report, err := verify.Run(t.Context(), verify.Options{Dir: dir}); err != nil || report.OK {
				t.Errorf("%s of %s: verify finds nothing: %v", what, log, err)
			}
		}
		if err := os.RemoveAll(filepath.Join(dir, log)); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(filepath.Join(dir, log), os.DirFS(copied)); err != nil {
			t.Fatal(err)
		}
		refused("an older copy")
		if err := os.RemoveAll(filepath.Join(dir, log)); err != nil {
			t.Fatal(err)
		}
		refused("nothing")
	}
}

// What is kept of the last checkpoint beside the key is checked as well: were it passed over, it would protect nothing.
func TestDamagedMemoryOfTheKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := open(t, server.Config{DataDir: dir}).Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "keys", "authority.signed")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Open(t.Context(), server.Config{DataDir: dir}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("open: %v", err)
	}
	report, err := verify.Run(t.Context(), verify.Options{Dir: dir})
	if err != nil || report.OK || report.Logs[0].Findings[0].File != "../keys/authority.signed" {
		t.Errorf("verify: %+v, %v", report, err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := open(t, server.Config{DataDir: dir}).Close(); err != nil {
		t.Error(err)
	}
}
