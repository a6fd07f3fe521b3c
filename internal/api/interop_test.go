package api_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/aver-authz/aver/internal/datadir"
	"github.com/aver-authz/aver/internal/replay"
	"github.com/aver-authz/aver/internal/server"
)

// people are the users of the interop scenarios: their subject id, email and roles.
var people = []struct {
	id, email string
	roles     []string
}{
	{"CiRmZDA2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs", "rick@the-citadel.com", []string{"admin", "evil_genius"}},
	{"CiRmZDE2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs", "morty@the-citadel.com", []string{"editor"}},
	{"CiRmZDI2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs", "summer@the-smiths.com", []string{"editor"}},
	{"CiRmZDM2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs", "beth@the-smiths.com", []string{"viewer"}},
	{"CiRmZDQ2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs", "jerry@the-smiths.com", []string{"viewer"}},
}

// registerPeople registers them under a subject type; roles adds to what they have.
func (s *service) registerPeople(typ string, roles func(own []string) []string) {
	s.t.Helper()
	for _, p := range people {
		var parents []map[string]any
		for _, r := range roles(p.roles) {
			parents = append(parents, party("role:"+r))
		}
		s.admin("PUT", "/v1/identities/"+typ+"/"+url.PathEscape(p.id), map[string]any{
			"kind": "human_user", "properties": map[string]any{"email": p.email}, "parents": parents,
		}).ok(201)
	}
}

// payloads is a file of the interop harnesses.
type payloads struct {
	Evaluation []struct {
		Request  json.RawMessage `json:"request"`
		Expected bool            `json:"expected"`
	} `json:"evaluation"`
	Evaluations []struct {
		Request  json.RawMessage `json:"request"`
		Expected []struct {
			Decision bool `json:"decision"`
		} `json:"expected"`
	} `json:"evaluations"`
}

func interop(t *testing.T, name string) (p payloads) {
	t.Helper()
	if err := json.Unmarshal(interopFile(t, name), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// interopFile reads a file of the AuthZEN interop payloads, which lie beside the repository and are no part of it.
func interopFile(t *testing.T, name string) []byte {
	t.Helper()
	file := filepath.Join("..", "..", "..", "shared", "authzen", name)
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("the AuthZEN interop payloads are not there (%s); TestTodo, TestGateway and TestR15SearchResults cover the same policies", file)
	}
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (s *service) holdTo(p payloads) {
	s.t.Helper()
	for i, c := range p.Evaluation {
		if got, outcome := decisionOf(s.t, s.evaluate(string(c.Request)).ok(200).json()); got != c.Expected {
			s.t.Errorf("evaluation %d: %v (%s), want %v: %s", i, got, outcome, c.Expected, c.Request)
		}
	}
	for i, c := range p.Evaluations {
		answers, _ := s.evaluations(string(c.Request)).ok(200).at("evaluations").([]any)
		if len(answers) != len(c.Expected) {
			s.t.Fatalf("evaluations %d: %d answers, want %d", i, len(answers), len(c.Expected))
		}
		for k, answer := range answers {
			if got, _ := decisionOf(s.t, answer); got != c.Expected[k].Decision {
				s.t.Errorf("evaluations %d, item %d: %v, want %v", i, k, got, c.Expected[k].Decision)
			}
		}
	}
}

// replays stops the server and decides everything again from the logs on the disk.
func (s *service) replays(decisions uint64) {
	s.t.Helper()
	if err := s.server.Close(); err != nil {
		s.t.Fatal(err)
	}
	logs, err := datadir.OpenReaders(s.server.Dir().Path())
	if err != nil {
		s.t.Fatal(err)
	}
	defer logs.Close()
	summary, err := replay.Run(s.t.Context(), logs.Authority, logs.Decisions, replay.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	if asked := summary.Decisions - summary.Administration; asked != decisions || summary.Match != summary.Decisions {
		s.t.Errorf("replay: %d decisions, %d match; want %d", asked, summary.Match, decisions)
	}
}

func startTodo(t *testing.T, change ...func(*server.Config)) *service {
	s := start(t, change...)
	s.publishDir("testdata/todo")
	s.registerPeople("user", func(own []string) []string { return own })
	return s
}

func startGateway(t *testing.T, change ...func(*server.Config)) *service {
	s := start(t, change...)
	s.publishDir("testdata/gateway")
	s.registerPeople("identity", func(own []string) []string {
		if own[0] == "admin" {
			own = append(own, "editor")
		}
		return append(own, "viewer")
	})
	return s
}

func TestInteropTodo(t *testing.T) {
	draft, final := interop(t, "todo/decisions-authorization-api-1_0-01.json"), interop(t, "todo/decisions-authorization-api-1_0-02.json")
	if len(draft.Evaluation) != 40 || len(final.Evaluation) != 40 || len(final.Evaluations) != 3 {
		t.Fatal("the payloads are not those that this test was written for")
	}
	s := startTodo(t, onDisk)
	s.holdTo(draft)
	s.holdTo(final)
	s.replays(86)
}

func TestInteropGateway(t *testing.T) {
	p := interop(t, "gateway/decisions.json")
	if len(p.Evaluation) != 25 {
		t.Fatal("the payloads are not those that this test was written for")
	}
	s := startGateway(t, onDisk)
	s.holdTo(p)
	s.replays(25)
}

// The todo policies, by the words of the scenario: whoever may do it, and nobody else.
func TestTodo(t *testing.T) {
	s := startTodo(t)
	own := func(p int) string { return people[p].email }
	for _, c := range []struct {
		action string
		owner  func(actor int) string
		may    string // one letter a person: rick, morty, summer, beth, jerry
	}{
		{"can_read_user", own, "rmsbj"},
		{"can_read_todos", own, "rmsbj"},
		{"can_create_todo", own, "rms"},
		{"can_update_todo", own, "rms"},
		{"can_update_todo", func(int) string { return "somebody@else.example" }, "r"},
		{"can_delete_todo", own, "rms"},
		{"can_delete_todo", func(int) string { return "somebody@else.example" }, "r"},
		{"can_do_what_nobody_wrote", own, ""},
	} {
		allowed := ""
		for i, p := range people {
			q := question("user:"+p.id, c.action, "todo:1")
			q["resource"].(map[string]any)["properties"] = map[string]any{"ownerID": c.owner(i)}
			if ok, _ := decisionOf(t, s.evaluate(q).ok(200).json()); ok {
				allowed += p.email[:1]
			}
		}
		if allowed != c.may {
			t.Errorf("%s (owner %s): %q may, want %q", c.action, c.owner(0), allowed, c.may)
		}
	}
}

func TestGateway(t *testing.T) {
	s := startGateway(t)
	for method, may := range map[string]string{"GET": "rmsbj", "POST": "rms", "PUT": "rms", "DELETE": "rms", "PATCH": ""} {
		allowed := ""
		for _, p := range people {
			if ok, _ := decisionOf(t, s.evaluate(question("identity:"+p.id, method, "route:/todos/{todoId}")).ok(200).json()); ok {
				allowed += p.email[:1]
			}
		}
		if allowed != may {
			t.Errorf("%s: %q may, want %q", method, allowed, may)
		}
	}
}
