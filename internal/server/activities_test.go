package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/datadir"
	"github.com/aver-authz/aver/internal/replay"
	"github.com/aver-authz/aver/internal/server"
	"github.com/aver-authz/aver/internal/verify"
)

// delegate lets bot read for ann under the grant g.
func delegate(t testing.TB, s *server.Server, token string) {
	t.Helper()
	for _, made := range [][2]string{
		{"/v1/policies", `{"name":"docs","files":{"docs.cedar":"permit (principal, action, resource);"},"activate":true}`},
		{"/v1/identities", `{"type":"ai_agent","id":"bot","kind":"ai_agent","owner":"ann","purpose":"reads"}`},
		{"/v1/grants", `{"id":"g","from":{"type":"user","id":"ann"},"to":{"type":"ai_agent","id":"bot"},"actions":["read"],"resources":[{"type":"doc"}]}`},
	} {
		if w := do(s, token, "POST", made[0], made[1]); w.Code != 201 {
			t.Fatalf("%s: %d %s", made[0], w.Code, w.Body)
		}
	}
}

func readDoc(n int) string {
	return fmt.Sprintf(`{"subject":{"type":"ai_agent","id":"bot"},"action":{"name":"read"},"resource":{"type":"doc","id":"%d"},"context":{"delegation":["g"]}}`, n)
}

func evaluationID(t testing.TB, w *httptest.ResponseRecorder) string {
	t.Helper()
	var answer struct {
		Decision bool
		Context  struct {
			ID string `json:"evaluation_id"`
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || !answer.Decision {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return answer.Context.ID
}

// What is known of activities follows from the logs alone: after a restart, open
// authorizations that ended are told, repetitions are known, the numbers of
// instances go on; and a replay finds everything out again.
func TestActivitiesOverRestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := open(t, server.Config{DataDir: dir})
	token := adminToken(t, dir)
	delegate(t, s, token)
	ids := make([]string, 3)
	for i := range ids {
		ids[i] = evaluationID(t, do(s, token, "POST", "/access/v1/evaluation", readDoc(i)))
	}
	report := func(id, status string) aver.ActivityAnswer {
		t.Helper()
		w := do(s, token, "POST", "/v1/activities", fmt.Sprintf(`{"evaluation_id":%q,"status":%q}`, id, status))
		var answer aver.ActivityAnswer
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.ID == "" {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		return answer
	}
	first := report(ids[0], "started")
	report(ids[1], "completed")
	if w := do(s, token, "POST", "/v1/grants/g/revoke", `{}`); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	restart := func() {
		t.Helper()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, server.Config{DataDir: dir})
	}
	restart()
	if again := report(ids[0], "started"); !again.Repeated || again.ID != first.ID {
		t.Errorf("the repetition after the restart is %+v", again)
	}
	withdrawn := func() (out []string) {
		t.Helper()
		var in struct{ Withdrawals []aver.Withdrawal }
		w := do(s, token, "GET", "/v1/withdrawals", "")
		if err := json.Unmarshal(w.Body.Bytes(), &in); err != nil {
			t.Fatal(err, w.Body)
		}
		for _, each := range in.Withdrawals {
			if each.Type != aver.EventGrantRevoked {
				t.Errorf("withdrawal %+v", each)
			}
			out = append(out, each.EvaluationID)
		}
		return out
	}
	if got := withdrawn(); len(got) != 2 || got[0] != ids[0] || got[1] != ids[2] {
		t.Errorf("withdrawn: %q, want %q and %q", got, ids[0], ids[2])
	}
	if done := report(ids[0], "failed"); done.Continuity != aver.Lapsed {
		t.Errorf("ended after the revocation: %+v", done)
	}
	restart()
	if got := withdrawn(); len(got) != 1 || got[0] != ids[2] {
		t.Errorf("withdrawn after an end: %q, want %q", got, ids[2])
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	checked, err := verify.Run(t.Context(), verify.Options{Dir: dir})
	if err != nil || !checked.Integrity {
		t.Errorf("verify: %+v, %v", checked, err)
	}
	logs, err := datadir.OpenReaders(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	summary, err := replay.Run(t.Context(), logs.Authority, logs.Decisions, replay.Options{})
	if a := summary.Activities; err != nil || a.Total != 3 || a.Match != 3 || summary.Match != summary.Decisions {
		t.Errorf("replay: %+v, %v", summary, err)
	}
}

// A stream of withdrawals that nobody reads neither holds up decisions nor keeps
// the server from stopping.
func TestStopWithAStreamOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := open(t, server.Config{DataDir: dir})
	token := adminToken(t, dir)
	delegate(t, s, token)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://"+l.Addr().String()+"/v1/withdrawals", nil)
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for i := range 300 {
		evaluationID(t, do(s, token, "POST", "/access/v1/evaluation", readDoc(i)))
	}
	if w := do(s, token, "POST", "/v1/grants/g/revoke", `{}`); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if w := do(s, token, "POST", "/access/v1/evaluation", readDoc(1)); w.Code != 200 {
		t.Errorf("a decision while nobody reads the stream: %d %s", w.Code, w.Body)
	}
	stop()
	select {
	case err := <-served:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the server does not stop")
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Errorf("the stream broke off: %v", err)
	}
}
