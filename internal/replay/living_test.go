package replay_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/replay"
)

const livingPolicies = `
@id("clerks") permit (principal in group::"clerks", action == Action::"pay", resource is payment);
@id("agents") permit (principal is ai_agent, action == Action::"pay", resource is payment) when { context.aver.delegated };
@id("frozen") @overridable("break_glass") forbid (principal, action, resource is payment) when { resource.frozen };
@id("barred") forbid (principal in group::"barred", action, resource);
@id("disabled") forbid (principal, action, resource) when { context.aver has signals.account && context.aver.signals.account.status == "disabled" };
@id("revoked") forbid (principal, action, resource) when { context.aver has signals.session };
@id("eyes") @gate("escalate") @approvers("leads") @approvals("2") @within("2m")
forbid (principal, action, resource is payment) when { resource.amount > 100 };
`

const livingRules = `
exceptions:
  - {kind: break_glass, max: 10m, approvers: [leads], reviewers: [leads], review_within: 1m}
  - {kind: temporary_access, max: 10m, approvers: [leads], reviewers: [leads], review_within: 1m}
`

// try makes a change if the rules let it, as somebody whom nobody authenticated.
func (l *logs) try(typ aver.EventType, data any) bool {
	l.t.Helper()
	e, err := aver.NewEvent(typ, data)
	if err != nil {
		l.t.Fatal(err)
	}
	n := l.st.Size()
	e.ID = fmt.Sprintf("019a0000-0000-7000-8000-%012d", n)
	e.Time, e.By, e.Salt, e.Reason = start+aver.Time(n), aver.By{Name: "anonymous", Method: "none"}, strings.Repeat("A", 22), "random"
	next, err := l.st.Apply(&e)
	var refused *authority.InvalidEventError
	if errors.As(err, &refused) {
		return false
	}
	if err != nil {
		l.t.Fatal(err)
	}
	payload, err := e.Canonical()
	if err != nil {
		l.t.Fatal(err)
	}
	leaf := aver.NewLeaf(e.Kind, e.ID, e.Time, payload)
	leaf.Type = string(typ)
	l.authority.entries = append(l.authority.entries, ledger.Entry{Leaf: leaf.AppendCanonical(nil), Payload: payload})
	l.st = next
	return true
}

// Authority changes while requests are made: grants and groups come and go, approvals are asked for, answered and taken
// back, exceptions begin and end. Whatever the order, a permit never exceeds what each who delegated holds at that
// moment nor outlives its chain, an approval is used at most once and by nobody else's leave than the approvers', what
// the policies do not allow only an exception does, nothing is permitted to or for somebody whose account is disabled or in a
// session that was revoked, and everything decides again to the byte.
func TestAuthorityThatLives(t *testing.T) {
	total := map[string]int{}
	for seed := range uint64(12) {
		live(t, rand.New(rand.NewPCG(seed, 7)), total)
	}
	for _, what := range []string{"permitted", "approved", "on behalf", "excepted", "delegated", "approval_used", "approval_expired", "grant_revoked", "signal", "late signal", "heeded"} {
		if total[what] == 0 {
			t.Errorf("nothing random was ever %s, so it was not tested: %v", what, total)
		}
	}
}

func live(t *testing.T, r *rand.Rand, total map[string]int) {
	l := newLogs(t)
	l.publish(load(t, "living", map[string]string{"main.cedar": livingPolicies, "bundle.yaml": livingRules}))
	ref := func(typ, id string) aver.Ref { return aver.Ref{Type: typ, ID: id} }
	people := []string{"ann", "ben", "cleo", "dan"}
	one := func(list []string) string { return list[r.IntN(len(list))] }
	groups := []string{"clerks", "leads", "leads", "barred"}
	for i, name := range people {
		l.event(aver.EventIdentityRegistered, aver.Identity{Ref: ref("user", name), Kind: aver.HumanUser, Parents: []aver.Ref{ref("group", groups[2*min(i, 1)]), ref("group", "clerks")}})
	}
	l.event(aver.EventIdentityRegistered, aver.Identity{Ref: ref("ai_agent", "bot"), Kind: aver.AIAgent, Owner: "ops", Purpose: "pay"})
	grants, approvals, exceptions := []string{"g-0"}, []string{"none"}, []string{"none"}
	asked := map[string]string{} // approval :: the request it is for
	used := map[string]int{}
	told := watched{account: map[aver.Ref]said{}, session: map[string]bool{}}
	for n := range 250 {
		switch r.IntN(13) {
		case 12:
			told.signal(l, r, fmt.Sprint("s-", n), ref("user", one(people)), total)
		case 0:
			id := fmt.Sprint("g-", n)
			if l.try(aver.EventGrantIssued, aver.Grant{ID: id, From: ref("user", one(people)), To: ref("ai_agent", "bot"), Actions: []string{"pay"}, Resources: []aver.ResourceScope{{Type: "payment"}}, Limits: &aver.GrantLimits{Uses: 5}}) {
				grants = append(grants, id)
			}
		case 1:
			if r.IntN(3) == 0 {
				l.try(aver.EventGrantRevoked, aver.GrantRef{ID: one(grants)})
			}
		case 2:
			l.try(aver.EventIdentityUpdated, aver.Identity{Ref: ref("user", one(people)), Kind: aver.HumanUser, Parents: []aver.Ref{ref("group", one(groups)), ref("group", one(groups))}})
		case 3, 4:
			duty := aver.DutyDelegation{ID: fmt.Sprint("d-", n), From: ref("user", one(people)), To: ref("user", one(people)), Expires: l.st.Time() + 60_000}
			if l.try(aver.EventDutyDelegated, duty) {
				l.try(aver.EventApprovalGranted, aver.ApprovalVote{ID: approvals[len(approvals)-1], Approver: duty.To, Duty: duty.ID, Seen: aver.Digest(nil)})
				if r.IntN(2) == 0 {
					l.try(aver.EventDutyRevoked, aver.DutyRef{ID: duty.ID})
				}
			}
			for _, name := range people {
				l.try(aver.EventApprovalGranted, aver.ApprovalVote{ID: approvals[len(approvals)-1], Approver: ref("user", name), Seen: aver.Digest(nil)})
			}
		case 5:
			switch id := one(approvals); r.IntN(8) {
			case 0:
				l.try(aver.EventApprovalRefused, aver.ApprovalVote{ID: id, Approver: ref("user", one(people)), Seen: aver.Digest(nil)})
			case 1:
				l.try(aver.EventApprovalCancelled, aver.ApprovalRef{ID: id})
			}
		case 6:
			id := fmt.Sprint("x-", n)
			kind := aver.ExceptionKinds()[r.IntN(3)]
			if l.try(aver.EventExceptionRequested, aver.ExceptionRequest{
				ID: id, Kind: kind, Subject: ref("user", one(people)), Actions: []string{one([]string{"pay", "read"})}, Resources: []aver.ResourceScope{{Type: "payment"}},
				Justification: "random", IdentityConfirmed: "random", Approver: ref("user", one(people)), Duration: int64(60 + r.IntN(240)),
			}) {
				exceptions = append(exceptions, id)
			}
		case 7:
			id, who := exceptions[len(exceptions)-1], ref("user", one(people))
			l.try(aver.EventExceptionApproved, aver.ExceptionVote{ID: id, Approver: who})
			l.try(aver.EventExceptionActivated, aver.ExceptionRef{ID: id})
			if r.IntN(4) == 0 {
				l.try(aver.EventExceptionClosed, aver.ExceptionRef{ID: id})
			}
			l.try(aver.EventExceptionReviewed, aver.ExceptionReview{ID: id, Reviewer: ref("user", one(people)), Verdict: aver.Justified})
		default:
			request := randomPayment(r, one(people), one(grants), asked, approvals)
			record := l.decide(request)
			checkPermit(t, l, record, request, used, total)
			told.check(t, record, parsed(t, request), l, total)
			if a := askFor(l, request, fmt.Sprint("ap-", n)); a != "" {
				approvals, asked[a] = append(approvals, a), request
			}
		}
	}
	for id, n := range used {
		if n > 1 {
			t.Errorf("approval %s was used %d times", id, n)
		}
	}
	summary, err := replay.Run(t.Context(), &l.authority, &l.decisions, replay.Options{})
	if err != nil || summary.Match != summary.Decisions || summary.Decisions == 0 {
		t.Errorf("replay: %+v, %v", summary, err)
	}
	if _, frames := export(t, l); frames.Skipped != 0 {
		t.Errorf("export: %+v", frames)
	}
	var file bytes.Buffer
	if err := l.st.WriteSnapshot(&file, "root"); err != nil {
		t.Fatal(err)
	}
	again, _, err := authority.ReadSnapshot(&file)
	if err != nil || again.Digest() != l.st.Digest() {
		t.Fatalf("the snapshot gives another state: %v", err)
	}
	before := len(l.decisions.entries)
	for range 20 {
		request := randomPayment(r, one(people), one(grants), asked, approvals)
		was := l.decide(request)
		l.decisions.entries = l.decisions.entries[:before]
		q := pdp.NewQuery(parsed(t, request))
		used := pdp.Usage{}
		for _, c := range was.Decision.Counters {
			used[pdp.LimitKey{Grant: c.Grant, Name: c.Name}] = c.Before
		}
		if d, _ := pdp.Decide(again, q, was.Time, used); !bytes.Equal(d.AppendCanonical(nil), was.Decision.AppendCanonical(nil)) {
			t.Errorf("from the snapshot it is decided otherwise:\n%s\n%s", d.AppendCanonical(nil), was.Decision.AppendCanonical(nil))
		}
	}
}

func randomPayment(r *rand.Rand, person, grant string, asked map[string]string, approvals []string) string {
	if r.IntN(3) == 0 { // the one that an approval is for, or nearly
		id := approvals[r.IntN(len(approvals))]
		if request := asked[id]; request != "" {
			if r.IntN(3) == 0 {
				request = strings.Replace(request, `"amount":`, `"amount":1`, 1)
			}
			return strings.Replace(request, `"context":{`, `"context":{"approval":{"id":"`+id+`"},`, 1)
		}
	}
	subject, context := `{"type":"user","id":"`+person+`"}`, `"n":1`
	if r.IntN(2) == 0 {
		subject, context = `{"type":"ai_agent","id":"bot"}`, `"delegation":["`+grant+`"]`
	}
	if r.IntN(4) == 0 {
		context += fmt.Sprintf(`,"session":"session-%d"`, r.IntN(20))
	}
	return fmt.Sprintf(`{"subject":%s,"action":{"name":"pay"},"resource":{"type":"payment","id":"p-%d","properties":{"amount":%d,"frozen":%t}},"context":{%s}}`,
		subject, r.IntN(3), 50+r.IntN(2)*150, r.IntN(4) == 0, context)
}

func parsed(t *testing.T, text string) *aver.Request {
	t.Helper()
	var req aver.Request
	if err := req.UnmarshalJSON([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return &req
}

// askFor asks for the approval of the latest decision, if there is something to ask for.
func askFor(l *logs, request, id string) string {
	record, err := aver.ParseRecord(l.decisions.entries[len(l.decisions.entries)-1].Payload)
	if err != nil {
		l.t.Fatal(err)
	}
	var req aver.Request
	if err := req.UnmarshalJSON([]byte(request)); err != nil {
		l.t.Fatal(err)
	}
	a, err := pdp.NewApprovalRequest(l.st, record, &req, l.st.Time()+1)
	if err != nil || strings.Contains(request, `"approval"`) {
		return ""
	}
	a.ID = id
	if !l.try(aver.EventApprovalRequested, a) {
		return ""
	}
	return id
}

// checkPermit holds a decision to what is known without deciding it.
func checkPermit(t *testing.T, l *logs, record *aver.Record, request string, used, total map[string]int) {
	t.Helper()
	d, req, now := record.Decision, parsed(t, request), record.Time
	total[d.Outcome.String()]++
	for _, reason := range d.Reasons {
		total[string(reason.Code)]++
	}
	if !d.Outcome.Allowed() {
		return
	}
	for _, id := range req.Delegation() {
		total["delegated"]++
		g, ok := l.st.Grant(id)
		if !ok || g.Revoked != nil || g.Expires != 0 && g.Expires <= now || g.To != req.Subject.Ref {
			t.Errorf("permitted by grant %s, which does not hold", id)
			continue
		}
		own := *req
		own.Subject, own.Context = aver.Party{Ref: g.From}, nil
		alone, _ := pdp.Decide(l.st, pdp.NewQuery(&own), now, nil)
		if !alone.Frames[0].Allowed {
			t.Errorf("permitted for %s, who may not do it: %s", g.From, request)
		}
	}
	amount, _ := req.Resource.Properties["amount"].(int64)
	if amount > 100 {
		total["approved"]++
		id := req.Approval()
		a, ok := l.st.Approval(id)
		if !ok || a.Status != authority.ApprovalApproved || now >= a.Until || a.Binding != req.Binding() || len(a.Votes) < 2 {
			t.Fatalf("permitted without an approval that holds: %s", request)
		}
		voted := map[aver.Ref]bool{}
		for _, v := range a.Votes {
			if v.Duty != "" {
				total["on behalf"]++
			}
			if slices.Contains(a.Parties, v.Approver) || slices.Contains(a.Parties, v.As()) || v.Approver == req.Subject.Ref {
				t.Errorf("%s approved their own request", v.Who())
			}
			if voted[v.Approver] || voted[v.As()] {
				t.Errorf("%s: one of them answered before", v.Who())
			}
			voted[v.Approver], voted[v.As()] = true, true
		}
		used[id]++
	}
	if !d.Frames[0].Allowed {
		total["excepted"]++
		frozen, _ := req.Resource.Properties["frozen"].(bool)
		if !slices.ContainsFunc(l.st.Exceptions(), func(x *authority.Exception) bool {
			return x.Subject == req.Subject.Ref && x.Activated != nil && now < x.Until && x.Closed == nil && x.Rejected == nil && slices.Contains(x.Actions, "pay") && (!frozen || x.Kind == aver.BreakGlass)
		}) {
			t.Errorf("permitted where the policies do not allow, without an exception that holds: %s", request)
		}
		if slices.Contains(d.Frames[0].Policies, "living/barred") {
			t.Errorf("an exception lifted a forbid that none may: %s", request)
		}
	}
}

// watched is what signals have said, kept without the fold.
type watched struct {
	account map[aver.Ref]said
	session map[string]bool
}

type said struct {
	disabled bool
	at       aver.Time
}

// signal tells something of somebody or of a session, sometimes late.
func (w *watched) signal(l *logs, r *rand.Rand, id string, who aver.Ref, total map[string]int) {
	event := []string{"account-disabled", "account-enabled", "account-enabled", "session-revoked"}[r.IntN(4)]
	report := aver.SignalReport{ID: id, Event: event, About: who, At: start + aver.Time(l.st.Size()) - aver.Time(r.IntN(40))}
	if event == "session-revoked" {
		report.About = aver.Ref{Type: aver.SessionType, ID: fmt.Sprint("session-", r.IntN(20))}
	}
	s, err := report.Signal(`credential::"anonymous"`, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	if !l.try(aver.EventSignalReceived, s) {
		l.t.Fatalf("refused: %+v", s)
	}
	total["signal"]++
	switch known := w.account[who]; {
	case event == "session-revoked":
		w.session[report.About.ID] = true
	case s.At >= known.at:
		w.account[who] = said{event == "account-disabled", s.At}
	default:
		total["late signal"]++
	}
}

// check holds a permit to what signals have said, by whomever it was asked and on whosever behalf.
func (w *watched) check(t *testing.T, record *aver.Record, req *aver.Request, l *logs, total map[string]int) {
	t.Helper()
	parties := []aver.Ref{req.Subject.Ref}
	for _, id := range req.Delegation() {
		if g, ok := l.st.Grant(id); ok {
			parties = append(parties, g.From)
		}
	}
	session, _ := req.Context["session"].(string)
	barred := w.session[session]
	for _, p := range parties {
		barred = barred || w.account[p].disabled
	}
	if barred && record.Decision.Outcome.Allowed() {
		t.Errorf("permitted in spite of a signal: %s", record.AppendCanonical(nil))
	}
	for _, reason := range record.Decision.Reasons {
		if reason.Policy == "living/disabled" || reason.Policy == "living/revoked" {
			total["heeded"]++
			if !barred {
				t.Errorf("refused for a signal that nobody sent: %s", record.AppendCanonical(nil))
			}
		}
	}
}
