package client_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/client"
	"github.com/aver-authz/aver/internal/server"
)

// perform does what a request is about, if and as long as it is authorized, and tells what became of it.
func perform(ctx context.Context, pep *client.Client, req *aver.Request, work func(context.Context) error) error {
	answer, err := pep.Decide(ctx, req)
	if err != nil {
		return fmt.Errorf("no answer is no permission: %w", err)
	}
	if answer.Outcome == aver.Escalated {
		if answer, err = whenApproved(ctx, pep, req, answer.EvaluationID); err != nil {
			return err
		}
	}
	if !answer.Outcome.Allowed() {
		return errors.New(answer.Reasons[0].Text)
	}
	report := aver.ActivityReport{EvaluationID: answer.EvaluationID, Status: aver.ActivityStarted, Parameters: req.Digest()}
	if _, err := pep.ReportActivity(ctx, &report); err != nil {
		return err
	}
	working, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() { // one stream for each process is enough, for all of its work
		for w, err := range pep.Withdrawals(working, "") {
			if err == nil && w.EvaluationID == answer.EvaluationID {
				stop(fmt.Errorf("withdrawn: %s", w.Type))
			}
		}
	}()
	report.Status = aver.ActivityCompleted
	failed := work(working)
	if cause := context.Cause(working); cause != nil {
		failed, report.Status = cause, aver.ActivityCancelled
	} else if failed != nil {
		report.Status = aver.ActivityFailed
	}
	end, err := pep.ReportActivity(ctx, &report)
	if err == nil && end.Continuity == aver.Lapsed && failed == nil {
		err = fmt.Errorf("done, but its authority had ended at %s", end.Details.Lapse.At)
	}
	return errors.Join(failed, err)
}

// whenApproved asks for the approval that a decision lacked, waits for it, and asks for the decision again.
func whenApproved(ctx context.Context, pep *client.Client, req *aver.Request, evaluation string) (*aver.Answer, error) {
	task, err := pep.RequestAccess(ctx, req, evaluation, "", "the invoice is due today")
	for ; err == nil && task.Status == "pending"; task, err = pep.AccessRequest(ctx, task.ID) {
		select {
		case <-time.After(500 * time.Millisecond): // or be called back
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err != nil {
		return nil, err
	}
	if task.Approval == nil {
		return nil, fmt.Errorf("not approved: %s %s", task.Status, task.Reason)
	}
	req.Context["approval"] = map[string]any{"id": task.Approval.ID}
	return pep.Decide(ctx, req)
}

const agentPolicies = `
@id("owners-pay") @reason("People pay from their own accounts.")
permit (principal is user, action == Action::"pay", resource is account);
@id("agents-pay") @reason("Agents pay for whom they act for.")
permit (principal is ai_agent, action == Action::"pay", resource is account) when { context.aver.delegated };
@id("large") @reason("Somebody approves what is large.") @gate("escalate") @approvers("user::\"lena\"")
forbid (principal is ai_agent, action == Action::"pay", resource is account) when { context.amount > 50000 };
`

// The agent of docs/integrating.md, on a real server (B5, E4, G5, G6).
func TestAgentThatAsksWaitsAndStops(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s, err := server.Open(ctx, server.Config{DataDir: filepath.Join(t.TempDir(), "data"), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l, err := s.Listen()
	if err != nil {
		t.Fatal(err)
	}
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- s.Serve(serving, l) }()
	defer func() { stop(); <-served }()

	connect := func(token, instance string) *client.Client {
		c, err := client.New(client.Options{URL: "http://" + l.Addr().String(), Token: strings.TrimSpace(token), Instance: instance})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ann, lena, helper := aver.Ref{Type: "user", ID: "ann"}, aver.Ref{Type: "user", ID: "lena"}, aver.Ref{Type: "ai_agent", ID: "helper"}
	token, err := os.ReadFile(s.Dir().AdminToken())
	if err != nil {
		t.Fatal(err)
	}
	admin := connect(string(token), "")
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(admin.Publish(ctx, "payments", map[string]string{"payments.cedar": agentPolicies}, true, "first version"))
	must(admin.RegisterIdentity(ctx, aver.Identity{Ref: ann, Kind: aver.HumanUser}, ""))
	must(admin.RegisterIdentity(ctx, aver.Identity{Ref: lena, Kind: aver.HumanUser}, ""))
	must(admin.RegisterIdentity(ctx, aver.Identity{Ref: helper, Kind: aver.AIAgent, Owner: "ann", Purpose: "pays Ann's bills"}, ""))
	must(admin.IssueGrant(ctx, aver.Grant{ID: "g-ann", From: ann, To: helper, Actions: []string{"pay"}, Resources: []aver.ResourceScope{{Type: "account"}}}, ""))
	pepToken, _, err := admin.IssueCredential(ctx, aver.Credential{Name: "gateway", Role: aver.RolePEP}, "")
	must(nil, err)
	lenaToken, _, err := admin.IssueCredential(ctx, aver.Credential{Name: "lena", Role: aver.RoleApprover, Subject: &lena}, "")
	must(nil, err)
	pep, approver := connect(pepToken, "gateway-1"), connect(lenaToken, "")

	pay := func(amount int64) *aver.Request {
		return &aver.Request{
			Subject: aver.Party{Ref: helper}, Action: aver.Action{Name: "pay"}, Resource: aver.Party{Ref: aver.Ref{Type: "account", ID: "77"}},
			Context: map[string]any{"amount": amount, "delegation": []any{"g-ann"}},
		}
	}
	answered := make(chan error, 1) // of the approver
	go func() {
		for e, err := range approver.WatchApprovals(ctx, "") {
			if err == nil {
				shown, failed := approver.Approval(ctx, e.Approval.ID)
				if err = failed; err == nil {
					_, err = approver.Approve(ctx, shown.ID, nil, shown.Seen, "the invoice is right")
				}
			}
			answered <- err
			return
		}
		answered <- ctx.Err()
	}()
	paid := 0
	if err := perform(ctx, pep, pay(60_000), func(context.Context) error { paid++; return nil }); err != nil || paid != 1 {
		t.Errorf("an approved payment: %v, paid %d times", err, paid)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}

	// The grant is revoked while the agent works.
	err = perform(ctx, pep, pay(100), func(working context.Context) error {
		if _, err := admin.RevokeGrant(ctx, "g-ann", "Ann has changed her mind"); err != nil {
			return err
		}
		<-working.Done()
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "withdrawn: grant.revoked") {
		t.Errorf("work whose authority ended went on: %v", err)
	}
	if err := perform(ctx, pep, pay(100), func(context.Context) error { paid++; return nil }); err == nil || paid != 1 {
		t.Errorf("after the revocation: %v, paid %d times", err, paid)
	}
}
