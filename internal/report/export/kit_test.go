package export_test

import (
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/client"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/datadir"
	"github.com/aver-authz/aver/internal/replay"
	"github.com/aver-authz/aver/internal/report/export"
	"github.com/aver-authz/aver/internal/server"
)

const payments = `
@id("pay") @reason("Clerks pay.")
permit (principal, action, resource) when { resource has amount && resource.amount < 100 };
@id("large") @gate("escalate") @approvers("leads")
forbid (principal, action == Action::"payment.approve", resource) when { resource has amount && resource.amount > 50 };
@id("iban") permit (principal, action, resource) when { resource has iban && resource.iban == "DE00" };
`

const iban = "DE89370400440532013000"

// service is a real server on a data directory.
type service struct {
	t      testing.TB
	dir    string
	client *client.Client
	close  func()
}

func start(t testing.TB) *service {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	s, err := server.Open(context.Background(), server.Config{DataDir: dir, Origin: "example.com", CheckpointEvery: 20 * time.Millisecond})
	must(t, err)
	h := httptest.NewServer(s.Handler())
	token, err := os.ReadFile(s.Dir().AdminToken())
	must(t, err)
	c, err := client.New(client.Options{URL: h.URL, Token: strings.TrimSpace(string(token))})
	must(t, err)
	svc := &service{t: t, dir: dir, client: c}
	closed := false
	svc.close = func() {
		if !closed {
			closed = true
			h.Close()
			must(t, s.Close())
		}
	}
	t.Cleanup(svc.close)
	_, err = c.Publish(context.Background(), "payments", map[string]string{
		"payments.cedar": payments, "bundle.yaml": "name: payments\nowner: treasury\ncontrols: [PCI-DSS-8.2.2, 'SOX 404']\nsensitive: [resource.iban]\n",
	}, true, "first")
	must(t, err)
	return svc
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// decide makes a decision about a payment, and returns its evaluation id.
func (s *service) decide(subject, action, id string, amount int64) string {
	s.t.Helper()
	a, err := s.client.Decide(context.Background(), &aver.Request{
		Subject: aver.Party{Ref: aver.Ref{Type: "user", ID: subject}}, Action: aver.Action{Name: action, Properties: map[string]any{"tool": "erp"}},
		Resource: aver.Party{Ref: aver.Ref{Type: "payment", ID: id}, Properties: map[string]any{"amount": amount, "iban": iban}},
		Context:  map[string]any{"supported_obligations": []any{}},
	})
	must(s.t, err)
	return a.EvaluationID
}

// some makes decisions of several outcomes, and activities.
func (s *service) some() {
	s.t.Helper()
	s.decide("ann", "payment.read", "p-1", 10)
	id := s.decide("ann", "payment.approve", "p-2", 10)
	_, err := s.client.ReportActivity(context.Background(), &aver.ActivityReport{EvaluationID: id, Status: aver.ActivityStarted})
	must(s.t, err)
	_, err = s.client.ReportActivity(context.Background(), &aver.ActivityReport{EvaluationID: id, Status: aver.ActivityCompleted, Result: "settled"})
	must(s.t, err)
	s.decide("ann", "payment.approve", "p-3", 60)                   // escalated
	s.decide("ann", "payment.create", "p-4", 500)                   // denied
	s.decide("=cmd|' /C calc'!A0", "payment.create", "@SUM(1)", 10) // what a spreadsheet would run
	s.decide("bob, \"the\" builder\n", "frobnicate", "-2+3", 10)
	_, err = s.client.ReportActivity(context.Background(), &aver.ActivityReport{EvaluationID: "0193a1b2-c3d4-7e5f-8a6b-000000000001", Status: aver.ActivityFailed})
	must(s.t, err) // an orphan
	_, err = s.client.PutIdentity(context.Background(), aver.Identity{Ref: aver.Ref{Type: "ai_agent", ID: "bot"}, Kind: aver.AIAgent, Owner: "ann", Purpose: "invoices"}, "a reason")
	must(s.t, err)
}

// source opens what was recorded so far.
func (s *service) source() *export.Source {
	s.t.Helper()
	logs, err := datadir.OpenReaders(s.dir)
	must(s.t, err)
	s.t.Cleanup(func() { logs.Close() })
	return &export.Source{
		Decisions: logs.Decisions, Authority: logs.Authority, Version: "0.0.0", Now: aver.TimeOf(time.Now()),
		State: func() (*authority.State, error) {
			size, _ := logs.Authority.Head()
			return replay.StateAt(logs.Authority, size)
		},
	}
}

func size(l export.Log) uint64 {
	n, _ := l.Head()
	return n
}
