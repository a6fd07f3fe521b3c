package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/client"
)

// afterwards is the second act: what happens once decisions are made. Approvals are asked for and answered, exceptions
// used and reviewed, authority is withdrawn while it is used, and not everything ends as it should.
type afterwards struct {
	d     *demonstration
	admin *client.Client
	pep   *client.Client
	as    map[aver.Ref]*client.Client // people, by credentials of their own
	seen  *tally
}

// A scene tells in a line what happened. The error says what was not as it has to be, or that it could not be played.
type scene struct {
	name string
	play func(*afterwards, context.Context) (string, error)
}

// scenes are played in order.
var scenes = []scene{
	{"emergency", (*afterwards).unreviewed}, // first: its review is overdue by the end
	{"approval", (*afterwards).approval},
	{"refusal", (*afterwards).refusal},
	{"break-glass", (*afterwards).breakGlass},
	{"withdrawal", (*afterwards).withdrawal},
	{"lapse", (*afterwards).lapse},
	{"orphan", (*afterwards).orphan},
	{"signal", (*afterwards).signal},
	{"overdue", (*afterwards).overdue},
}

// errScene says that a scene did not end as it has to.
type errScene struct{ text string }

func (e errScene) Error() string { return e.text }

func wrongf(format string, args ...any) error { return errScene{fmt.Sprintf(format, args...)} }

// playAfterwards plays the second act.
func (d *demonstration) playAfterwards(ctx context.Context, admin, pep *client.Client, seen *tally) error {
	a := &afterwards{d: d, admin: admin, pep: pep, as: map[aver.Ref]*client.Client{}, seen: seen}
	for _, person := range []aver.Ref{bob, dave, erin, ivan} {
		token, _, err := admin.IssueCredential(ctx, aver.Credential{Name: person.ID, Role: aver.RoleApprover, Subject: &person}, "answers what others ask for")
		if err != nil {
			return fmt.Errorf("issue the credential of %s: %w", person, err)
		}
		if a.as[person], err = d.connect(token); err != nil {
			return err
		}
	}
	d.say("\nWhat happened afterwards:\n")
	for _, s := range scenes {
		line, err := s.play(a, ctx)
		var wrong errScene
		switch {
		case errors.As(err, &wrong):
			seen.failures = append(seen.failures, s.name+": "+wrong.text)
		case err != nil:
			return fmt.Errorf("%s: %w", s.name, err)
		default:
			d.say("  %-12s %s\n", s.name, line)
		}
	}
	return nil
}

// decide asks for a decision that must be as expected.
func (a *afterwards) decide(ctx context.Context, want aver.Outcome, code aver.ReasonCode, workflow, shows string, req *aver.Request) (*aver.Answer, error) {
	req.Context["workflow"] = workflow
	answer, err := a.pep.Decide(ctx, req)
	if err != nil {
		return nil, err
	}
	a.seen.note(&step{workflow: workflow, shows: shows, request: req, want: want, code: code}, answer)
	return answer, nil
}

// report tells what became of a decision.
func (a *afterwards) report(ctx context.Context, evaluation string, status aver.ActivityStatus, req *aver.Request, result string) (*aver.ActivityAnswer, error) {
	r := &aver.ActivityReport{EvaluationID: evaluation, Status: status, Result: result}
	if req != nil {
		r.Parameters = req.Digest()
	}
	return a.pep.ReportActivity(ctx, r)
}

// largePayment is one that an agent submits and a treasury lead has to approve.
func largePayment(id string) *aver.Request {
	return request(byPayments, "payment.submit", payment(id, 1_300_000), login("phr", 60, "hwk"), tool("bank-gateway"))
}

// ask has a payment held back and asks for its approval.
func (a *afterwards) ask(ctx context.Context, req *aver.Request) (*client.AccessTask, *client.Approval, error) {
	answer, err := a.decide(ctx, aver.Escalated, aver.ReasonEscalate, workflows[0], "an agent submits a payment over 10,000.00", req)
	if err != nil {
		return nil, nil, err
	}
	task, err := a.pep.RequestAccess(ctx, req, answer.EvaluationID, "", "an invoice that is due today")
	if err != nil {
		return nil, nil, err
	}
	shown, err := a.as[bob].Approval(ctx, task.ID)
	return task, shown, err
}

func (a *afterwards) approval(ctx context.Context) (string, error) {
	req := largePayment("invoice-8001")
	task, shown, err := a.ask(ctx, req)
	if err != nil {
		return "", err
	}
	if _, err := a.as[bob].Approve(ctx, task.ID, nil, shown.Seen, "the goods have arrived"); err != nil {
		return "", err
	}
	if task, err = a.pep.AccessRequest(ctx, task.ID); err != nil {
		return "", err
	}
	if task.Approval == nil {
		return "", wrongf("the approval of bob did not complete task %s: it is %s", task.ID, task.Status)
	}
	req.Context["approval"] = map[string]any{"id": task.Approval.ID}
	answer, err := a.decide(ctx, aver.Permitted, aver.ReasonApproved, workflows[0], "the payment that was approved", req)
	if err != nil {
		return "", err
	}
	if _, err := a.report(ctx, answer.EvaluationID, aver.ActivityStarted, req, ""); err != nil {
		return "", err
	}
	end, err := a.report(ctx, answer.EvaluationID, aver.ActivityCompleted, req, "paid")
	if err != nil {
		return "", err
	}
	if end.Continuity != aver.Held {
		return "", wrongf("the approved payment ended with continuity %q", end.Continuity)
	}
	return "bob approved invoice-8001; asked again, it was permitted; when it was paid, the authority still held", nil
}

func (a *afterwards) refusal(ctx context.Context) (string, error) {
	req := largePayment("invoice-8002")
	task, shown, err := a.ask(ctx, req)
	if err != nil {
		return "", err
	}
	if _, err := a.as[bob].Refuse(ctx, task.ID, nil, shown.Seen, "nobody ordered this"); err != nil {
		return "", err
	}
	if task, err = a.pep.AccessRequest(ctx, task.ID); err != nil {
		return "", err
	}
	if task.Status != "denied" || task.Approval != nil {
		return "", wrongf("task %s was refused and is %s", task.ID, task.Status)
	}
	return "bob refused invoice-8002: nobody ordered this", nil
}

// emergency asks for a break-glass of Erin's that is used at once.
func (a *afterwards) emergency(ctx context.Context, id, service string, seconds int64, justification string) error {
	_, err := a.as[erin].RequestException(ctx, aver.ExceptionRequest{
		ID: id, Kind: aver.BreakGlass, Subject: erin,
		Actions: []string{"service.deploy"}, Resources: []aver.ResourceScope{{Type: "service", ID: service}},
		Justification: justification, IdentityConfirmed: "called back by the duty manager", Approver: dave, Duration: seconds,
	}, true, "payments fail for everybody")
	return err
}

// rollback is what Erin does in an emergency, while production is frozen.
func rollback() *aver.Request {
	return request(direct(erin), "service.deploy", registered("service", "payments-api"),
		saying("change_freeze", true), saying("change", "CHG-4912"))
}

func (a *afterwards) unreviewed(ctx context.Context) (string, error) {
	if err := a.emergency(ctx, "x-night-call", "ledger", 1, "the ledger is slow since the last release: roll it back"); err != nil {
		return "", err
	}
	if _, err := a.as[dave].ApproveException(ctx, "x-night-call", nil, "I was on the call"); err != nil {
		return "", err
	}
	return "erin broke the glass at night for a second, and dave approved it", nil
}

func (a *afterwards) breakGlass(ctx context.Context) (string, error) {
	if _, err := a.decide(ctx, aver.Denied, aver.ReasonForbidden, workflows[2], "a release while production is frozen", rollback()); err != nil {
		return "", err
	}
	const id = "x-rollback"
	if err := a.emergency(ctx, id, "payments-api", 600, "release 42 loses payments: roll it back"); err != nil {
		return "", err
	}
	if _, err := a.decide(ctx, aver.Permitted, aver.ReasonException, workflows[2], "the same, with the glass broken", rollback()); err != nil {
		return "", err
	}
	if _, err := a.as[erin].CloseException(ctx, id, "payments work again"); err != nil {
		return "", err
	}
	if _, err := a.as[dave].ApproveException(ctx, id, nil, "I was on the call"); err != nil {
		return "", err
	}
	if _, err := a.as[ivan].ReviewException(ctx, id, nil, aver.Justified, "", "used once, for what it was for"); err != nil {
		return "", err
	}
	return "production was frozen; erin broke the glass, rolled release 42 back and closed it; ivan reviewed it: justified", nil
}

// run begins work under a grant that is about to be revoked.
func (a *afterwards) run(ctx context.Context, grant, payee string) (evaluation string, req *aver.Request, err error) {
	_, err = a.admin.IssueGrant(ctx, aver.Grant{
		ID: grant, From: alice, To: paymentsAgent, Actions: []string{"payment.submit"}, Resources: []aver.ResourceScope{{Type: "payment"}},
		Purpose: "pay what is due tonight", Expires: aver.TimeOf(time.Now().AddDate(0, 0, 1)),
	}, "the night run")
	if err != nil {
		return "", nil, err
	}
	req = request(chain{alice, []string{grant}, paymentsAgent}, "payment.submit", payment(payee, 60_000), tool("bank-gateway"))
	answer, err := a.decide(ctx, aver.Permitted, "", workflows[0], "a payment of the night run", req)
	if err != nil {
		return "", nil, err
	}
	_, err = a.report(ctx, answer.EvaluationID, aver.ActivityStarted, req, "")
	return answer.EvaluationID, req, err
}

func (a *afterwards) withdrawal(ctx context.Context) (string, error) {
	id, _, err := a.run(ctx, "g-night-run", "rent-12")
	if err != nil {
		return "", err
	}
	if _, err := a.admin.RevokeGrant(ctx, "g-night-run", "Alice stops the night run"); err != nil {
		return "", err
	}
	begun := time.Now()
	waiting, stop := context.WithTimeout(ctx, 30*time.Second)
	defer stop()
	for w, err := range a.pep.Withdrawals(waiting, "") {
		if err != nil {
			return "", err
		}
		if w.EvaluationID != id {
			continue
		}
		if _, err := a.report(ctx, id, aver.ActivityCancelled, nil, "told to stop"); err != nil {
			return "", err
		}
		return fmt.Sprintf("alice's grant was revoked in mid-run; the agent was told after %d ms and stopped", time.Since(begun).Milliseconds()), nil
	}
	return "", wrongf("the agent was not told that %s had ended", id)
}

func (a *afterwards) lapse(ctx context.Context) (string, error) {
	id, req, err := a.run(ctx, "g-late-run", "rent-13")
	if err != nil {
		return "", err
	}
	if _, err := a.admin.RevokeGrant(ctx, "g-late-run", "Alice stops the late run"); err != nil {
		return "", err
	}
	end, err := a.report(ctx, id, aver.ActivityCompleted, req, "paid")
	if err != nil {
		return "", err
	}
	if end.Continuity != aver.Lapsed {
		return "", wrongf("a payment that was completed after its grant was revoked ended with continuity %q", end.Continuity)
	}
	return "another run went on after its grant was revoked, and paid: its authority had lapsed", nil
}

func (a *afterwards) orphan(ctx context.Context) (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", err
	}
	end, err := a.report(ctx, id.String(), aver.ActivityCompleted, nil, "paid")
	if err != nil {
		return "", err
	}
	if len(end.Findings) != 1 || end.Findings[0].Code != aver.FindingNoDecision {
		return "", wrongf("an activity without a decision was recorded with the findings %+v", end.Findings)
	}
	return "a payment was reported that nobody had decided on", nil
}

func (a *afterwards) signal(ctx context.Context) (string, error) {
	if _, err := a.admin.TellSignal(ctx, aver.SignalReport{Event: "account-disabled", About: kim, Details: map[string]any{"reason": "hijacking"}},
		"somebody else has her password"); err != nil {
		return "", err
	}
	_, err := a.decide(ctx, aver.Denied, aver.ReasonForbidden, workflows[1], "somebody whose account was taken over",
		request(direct(kim), "customer.contact", registered("customer", customers[0])))
	return "kim's account was taken over: a signal said so, and the next decision knew", err
}

func (a *afterwards) overdue(ctx context.Context) (string, error) {
	x, err := a.admin.Exception(ctx, "x-night-call")
	if err != nil {
		return "", err
	}
	t := time.NewTimer(time.Until(x.ReviewDue.Std()) + time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if x, err = a.admin.Exception(ctx, "x-night-call"); err != nil {
		return "", err
	}
	if x.State != "overdue" {
		return "", wrongf("the review of x-night-call was due %s and it is %s", x.ReviewDue, x.State)
	}
	return "nobody has reviewed erin's emergency at night: overdue", nil
}
