package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/datadir"
	"github.com/aver-authz/aver/internal/replay"
	"github.com/aver-authz/aver/internal/server"
	"github.com/aver-authz/aver/internal/verify"
)

// Decisions while policies, identities, entities and grants change: each cites the state it was made at, and is the same
// when it is made again there. Whoever was told of a change meets no decision of before it.
func TestDecisionsUnderChanges(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := open(t, server.Config{DataDir: dir, FirstSegment: 256 << 10, MaxSegment: 256 << 10})
	token := adminToken(t, dir)
	send := func(method, path, body string) uint64 {
		w := do(s, token, method, path, body)
		if w.Code/100 != 2 {
			t.Errorf("%s %s: %d %s", path, body, w.Code, w.Body)
		}
		var made struct {
			Index     uint64                 `json:"index"`
			Activated struct{ Index uint64 } `json:"activated"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &made); err != nil {
			t.Error(err)
		}
		index := max(made.Index, made.Activated.Index)
		if index == 0 {
			t.Errorf("%s: no index in %s", path, w.Body)
		}
		return index
	}
	change := func(path, body string) uint64 { return send("POST", path, body) }
	publish := func(limit int) uint64 {
		return change("/v1/policies", fmt.Sprintf(`{"name":"docs","activate":true,"files":{"docs.cedar":`+
			`"@id(\"small\") permit (principal, action, resource) when { resource.amount < %d && !(resource has frozen && resource.frozen) };"}}`, limit))
	}
	publish(50)
	change("/v1/identities", `{"type":"ai_agent","id":"bot","kind":"ai_agent","owner":"ann","purpose":"pays"}`)

	var told atomic.Uint64 // events that somebody has been told of
	var done atomic.Bool
	var changing, deciding sync.WaitGroup
	const rounds = 30
	changers := []func(i int) uint64{
		func(i int) uint64 { return publish(51 + i) },
		func(i int) uint64 {
			return change("/v1/identities/ai_agent/bot/"+[]string{"suspend", "resume"}[i%2], `{"reason":"test"}`)
		},
		func(i int) uint64 {
			return send("PUT", "/v1/entities/payment/p1", fmt.Sprintf(`{"properties":{"frozen":%v}}`, i%2 == 0))
		},
		func(i int) uint64 {
			return change("/v1/grants", fmt.Sprintf(`{"id":"g-%d","from":{"type":"user","id":"ann"},"to":{"type":"ai_agent","id":"bot"},
				"actions":["pay"],"resources":[{"type":"payment"}],"limits":{"uses":3,"sums":[{"attribute":"resource.amount","max":100}]}}`, i))
		},
	}
	for _, f := range changers {
		changing.Go(func() {
			for i := range rounds {
				index := f(i)
				for {
					seen := told.Load()
					if seen > index || told.CompareAndSwap(seen, index+1) {
						break
					}
				}
			}
		})
	}
	outcomes := map[string]int{}
	var mu sync.Mutex
	for c := range 8 {
		deciding.Go(func() {
			for n := c; !done.Load(); n += 8 {
				body := fmt.Sprintf(`{"subject":{"type":"user","id":"ann"},"action":{"name":"pay"},"resource":{"type":"payment","id":"p%d","properties":{"amount":%d}}}`, n%3, n%100)
				if n%2 == 0 {
					body = strings.Replace(strings.TrimSuffix(body, "}")+fmt.Sprintf(`,"context":{"delegation":["g-%d"]}}`, n/8%rounds), `"user","id":"ann"`, `"ai_agent","id":"bot"`, 1)
				}
				least := told.Load()
				w := do(s, token, "POST", "/access/v1/evaluation", body)
				got := outcome(t, w)
				mu.Lock()
				outcomes[got]++
				mu.Unlock()
				if n%16 < 8 {
					if size := cited(t, s, token, w); size < least {
						t.Errorf("a decision cites the authority at size %d, after somebody had been told of %d events", size, least)
					}
				}
			}
		})
	}
	changing.Wait()
	done.Store(true)
	deciding.Wait()
	if outcomes["permitted"] == 0 || outcomes["denied"] == 0 {
		t.Fatalf("outcomes %v: hardly anything was tested", outcomes)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if report, err := verify.Run(t.Context(), verify.Options{Dir: dir}); err != nil || !report.OK {
		t.Errorf("verify: %v %+v", err, report)
	}
	logs, err := datadir.OpenReaders(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	summary, err := replay.Run(t.Context(), logs.Authority, logs.Decisions, replay.Options{})
	if err != nil || summary.Match != summary.Decisions || summary.Decisions == 0 {
		t.Errorf("replay: %v %+v", err, summary)
	}
}

// cited is the size of the authority log that the record of an answer cites.
func cited(t *testing.T, s *server.Server, token string, answer *httptest.ResponseRecorder) uint64 {
	var a struct {
		Context struct {
			ID string `json:"evaluation_id"`
		} `json:"context"`
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &a); err != nil {
		t.Error(err)
	}
	w := do(s, token, "GET", "/v1/decisions/"+a.Context.ID, "")
	var entry struct {
		Payload struct {
			Authority aver.TreeHead `json:"authority"`
		} `json:"payload"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &entry); err != nil || w.Code != http.StatusOK {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	return entry.Payload.Authority.Size
}
