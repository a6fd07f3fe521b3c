package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/client"
	"github.com/aver-authz/aver/internal/server"
)

var latency = flag.Int("withdrawal-latency", 0, "measure so many revocations, from the request to the PEP's stream")

// TestWithdrawalLatency measures, on a real server and its real disk, how long it
// takes from asking for a revocation until a PEP that holds an authorization
// under the grant has read of it, with 1,000 authorizations open and 500
// decisions a second. Run it with -withdrawal-latency 200; docs/activities.md has
// the numbers.
func TestWithdrawalLatency(t *testing.T) {
	if *latency == 0 {
		t.Skip("a measurement: give -withdrawal-latency N")
	}
	dir := filepath.Join(t.TempDir(), "data")
	s := open(t, server.Config{DataDir: dir})
	token := adminToken(t, dir)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	c, err := client.New(client.Options{URL: "http://" + l.Addr().String(), Token: token})
	if err != nil {
		t.Fatal(err)
	}
	delegate(t, s, token)
	const open = 1000
	request := func(grant string, n int) *aver.Request {
		return &aver.Request{
			Subject: aver.Party{Ref: aver.Ref{Type: "ai_agent", ID: "bot"}}, Action: aver.Action{Name: "read"},
			Resource: aver.Party{Ref: aver.Ref{Type: "doc", ID: fmt.Sprint(n)}}, Context: map[string]any{"delegation": []any{grant}},
		}
	}
	for i := range *latency {
		_, err := c.IssueGrant(ctx, aver.Grant{
			ID: fmt.Sprintf("m-%d", i), From: aver.Ref{Type: "user", ID: "ann"}, To: aver.Ref{Type: "ai_agent", ID: "bot"},
			Actions: []string{"read"}, Resources: []aver.ResourceScope{{Type: "doc"}},
		}, "measure")
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range open {
		a, err := c.Decide(ctx, request(fmt.Sprintf("m-%d", i%*latency), i))
		if err != nil || a.Outcome != aver.Permitted {
			t.Fatal(a, err)
		}
	}
	req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+l.Addr().String()+"/v1/withdrawals", nil)
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	arrived := make(chan string, open) // grants
	go func() {
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				var w aver.Withdrawal
				if json.Unmarshal([]byte(data), &w) == nil && len(w.Reasons) > 0 {
					arrived <- w.Reasons[0].Grant
				}
			}
		}
	}()
	// Decisions at 500 a second, each reported as completed, so that 1,000 stay open.
	var load sync.WaitGroup
	loading, endLoad := context.WithCancel(ctx)
	work := make(chan int)
	for range 16 {
		load.Go(func() {
			for n := range work {
				a, err := c.Decide(loading, request("g", n))
				if err != nil {
					continue
				}
				_, _ = c.ReportActivity(loading, &aver.ActivityReport{EvaluationID: a.EvaluationID, Status: aver.ActivityCompleted})
			}
		})
	}
	decided := 0
	load.Go(func() {
		defer close(work)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-loading.Done():
				return
			case <-tick.C:
				select {
				case work <- n:
					decided++
				case <-loading.Done():
					return
				}
			}
		}
	})
	begun := time.Now()
	var took []time.Duration
	for i := range *latency {
		grant := fmt.Sprintf("m-%d", i)
		asked := time.Now()
		if w := do(s, token, "POST", "/v1/grants/"+grant+"/revoke", `{}`); w.Code != 200 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		for range open / *latency { // until all that were open under it were told
			if got := <-arrived; got != grant {
				t.Fatalf("told of %s while %s was revoked", got, grant)
			}
		}
		took = append(took, time.Since(asked))
	}
	rate := float64(decided) / time.Since(begun).Seconds()
	endLoad()
	load.Wait()
	slices.Sort(took)
	t.Logf("revocation to delivery, %d open authorizations, %.0f decisions/s with as many reports, %d revocations: p50 %s, p99 %s, max %s",
		open, rate, len(took), took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
