package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/uuid"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/client"
	"github.com/aver-authz/aver/internal/demo"
)

// The scenario: every row of the requirements from A to H, one after the other, shown over HTTP by real processes, and
// then checked from the logs alone. Each subtest is named after its row.
func TestScenario(t *testing.T) {
	t.Parallel()
	s := newScenario(t)
	for _, row := range []struct {
		id   string
		show func(*scenario, *testing.T)
	}{
		{"A1", (*scenario).kinds}, {"A2", (*scenario).hops}, {"A3", (*scenario).authentication}, {"A4", (*scenario).governed},
		{"B1-B4", (*scenario).delegation}, {"B5", (*scenario).continuity}, {"B6", (*scenario).shrinking},
		{"C1-C2", (*scenario).asked},
		{"D1", (*scenario).signals}, {"D2", (*scenario).minimal}, {"D3", (*scenario).withheld},
		{"E1-E2", (*scenario).versions}, {"E3-H1", (*scenario).exceptions}, {"E4", (*scenario).approval}, {"E5", (*scenario).policyReview},
		{"F1-F2", (*scenario).outcomes}, {"F3", (*scenario).failures},
		{"G1", (*scenario).killed}, {"G5-G6", (*scenario).activities}, {"G7", (*scenario).hold}, {"G2-G3-G8", (*scenario).whileServing},
	} {
		if !t.Run(row.id, func(t *testing.T) { row.show(s, t) }) {
			t.FailNow() // what follows builds on it
		}
	}
	s.stop(t)
	t.Run("G2-G3", s.evidence)
	t.Run("G4", s.others)
}

// scenario is the company, its server, and those who talk to it.
type scenario struct {
	dir     string
	process *exec.Cmd
	url     string
	log     *bytes.Buffer

	admin, pep *client.Client
	people     map[string]*client.Client // approvers, by name
	tokens     map[string]string
	signer     jose.Signer // of the workloads' SPIFFE trust domain
	answers    map[string]aver.Receipt
}

const trustDomain = "northwind.example"

func newScenario(t *testing.T) *scenario {
	t.Helper()
	s := &scenario{dir: filepath.Join(t.TempDir(), "data"), people: map[string]*client.Client{}, tokens: map[string]string{}, answers: map[string]aver.Receipt{}}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	s.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "workloads-1"}}, nil)
	check(t, err)
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "workloads-1", Use: "jwt-svid"}}})
	check(t, err)
	check(t, os.MkdirAll(s.dir, 0o700))
	check(t, os.WriteFile(filepath.Join(s.dir, "workloads.json"), keys, 0o600))
	check(t, os.WriteFile(filepath.Join(s.dir, "issuers.yaml"), fmt.Appendf(nil,
		"spiffe: [{trust_domain: %s, bundle: workloads.json, type: workload, tokens: {audiences: [\"https://payments.example\"]}}]\n", trustDomain), 0o600))
	s.start(t)
	t.Cleanup(func() { s.process.Process.Kill() })
	s.admin = s.connect(t, strings.TrimSpace(string(read(t, filepath.Join(s.dir, "admin.token")))))
	s.tokens["pep"], err = demo.Setup(t.Context(), s.admin, nil)
	check(t, err)
	for _, name := range []string{"bob", "dave", "erin", "ivan"} {
		s.tokens[name], _, err = s.admin.IssueCredential(t.Context(),
			aver.Credential{Name: name, Role: aver.RoleApprover, Subject: &aver.Ref{Type: "user", ID: name}}, "answers what is asked for")
		check(t, err)
	}
	s.reconnect(t)
	return s
}

// start starts aver serve in a process of its own.
func (s *scenario) start(t *testing.T) {
	t.Helper()
	s.log = &bytes.Buffer{}
	s.process = exec.Command("aver", "serve", "--data", s.dir, "--listen", "127.0.0.1:0")
	s.process.Env = append(os.Environ(), "AVER_SERVER=", "AVER_TOKEN=", "GORACE="+noSleep)
	s.process.Stderr = s.log
	out, err := s.process.StdoutPipe()
	check(t, err)
	check(t, s.process.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "Aver listens on ")
	if err != nil || !ok {
		s.process.Wait()
		t.Fatalf("the server did not start: %q %v\n%s", line, err, s.log)
	}
	s.url = url
}

func (s *scenario) stop(t *testing.T) {
	t.Helper()
	check(t, s.process.Process.Signal(syscall.SIGTERM))
	if err := s.process.Wait(); err != nil {
		t.Fatalf("the server did not stop as it should: %v\n%s", err, s.log)
	}
}

func (s *scenario) connect(t *testing.T, token string) *client.Client {
	t.Helper()
	c, err := client.New(client.Options{URL: s.url, Token: token, Timeout: time.Minute})
	check(t, err)
	return c
}

func (s *scenario) reconnect(t *testing.T) {
	t.Helper()
	s.admin = s.connect(t, strings.TrimSpace(string(read(t, filepath.Join(s.dir, "admin.token")))))
	for name, token := range s.tokens {
		if name == "pep" {
			s.pep = s.connect(t, token)
		} else {
			s.people[name] = s.connect(t, token)
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	check(t, err)
	return text
}

// request reads a request as a PEP would write it.
func reading(t *testing.T, format string, args ...any) *aver.Request {
	t.Helper()
	var r aver.Request
	check(t, json.Unmarshal(fmt.Appendf(nil, format, args...), &r))
	return &r
}

// decide asks; the outcome must be the one given.
func (s *scenario) decide(t *testing.T, want aver.Outcome, format string, args ...any) (*aver.Answer, *aver.Request) {
	t.Helper()
	r := reading(t, format, args...)
	answer, err := s.pep.Decide(t.Context(), r)
	check(t, err)
	if answer.Outcome != want {
		t.Fatalf("%s, want %s: %+v", answer.Outcome, want, answer.Reasons)
	}
	s.answers[answer.EvaluationID] = answer.Receipt
	return answer, r
}

func (s *scenario) record(t *testing.T, id string) (*aver.Record, string) {
	t.Helper()
	r, e, err := s.admin.Record(t.Context(), id)
	check(t, err)
	return r, string(e.Payload)
}

func (s *scenario) why(t *testing.T, id string) string {
	t.Helper()
	text, err := s.admin.Why(t.Context(), id)
	check(t, err)
	return text
}

// says fails for each text that is not there.
func says(t *testing.T, what, text string, all ...string) {
	t.Helper()
	for _, one := range all {
		if !strings.Contains(text, one) {
			t.Errorf("%s does not say %q:\n%s", what, one, text)
		}
	}
}

func because(a *aver.Answer, code aver.ReasonCode) bool {
	return slices.ContainsFunc(a.Reasons, func(r aver.Reason) bool { return r.Code == code })
}

// What the company's agents ask on Alice's authority.
const (
	chain   = `"on_behalf_of":{"type":"user","id":"alice"},"delegation":["g-alice-orchestrator","g-orchestrator-payments"]`
	payment = `"amount":%d,"currency":"EUR","country":"DE","known_beneficiary":true,"iban":"DE89370400440532013000","from":{"__entity":{"type":"account","id":"eur-operating"}}`
	submit  = `{"subject":{"type":"ai_agent","id":"payments-agent"},"action":{"name":"payment.submit","properties":{"tool":"bank-gateway"}},` +
		`"resource":{"type":"payment","id":"%s","properties":{` + payment + `}},"context":{` + chain + `%s}}`
	freshLogin = `,"authentication":{"acr":"phr","age":30,"amr":["hwk"]}`
)

func (s *scenario) kinds(t *testing.T) {
	for typ, who := range map[string][3]string{
		"user": {"judy", "human_user", "workflow"}, "service_account": {"payout-engine", "service_account", "payment"},
		"application": {"identity-console", "application", "role"}, "workload": {"siem", "workload", "security_setting"},
		"api_client": {"acme-marketplace", "api_client", "account"}, "ai_agent": {"payments-agent", "ai_agent", "payment"},
	} {
		answer, err := s.pep.Decide(t.Context(), reading(t, `{"subject":{"type":%q,"id":%q},"action":{"name":"show"},"resource":{"type":%q,"id":"x"}}`, typ, who[0], who[2]))
		check(t, err)
		if r, _ := s.record(t, answer.EvaluationID); string(r.Decision.Actor.Kind) != who[1] || r.Decision.Actor.ID != who[0] || r.Decision.Actor.Event == nil {
			t.Errorf("%s %s is recorded as %+v", typ, who[0], r.Decision.Actor)
		}
	}
}

func (s *scenario) hops(t *testing.T) {
	answer, r := s.decide(t, aver.Permitted, submit, "a2", 50_000, "")
	record, payload := s.record(t, answer.EvaluationID)
	says(t, "the record", payload, `"on_behalf_of":{"id":"alice","type":"user"}`, `"delegation":["g-alice-orchestrator","g-orchestrator-payments"]`)
	var delegators []string
	for _, f := range record.Decision.Frames {
		if f.As == aver.FrameDelegator {
			delegators = append(delegators, f.Entity.ID)
		}
	}
	if !slices.Equal(delegators, []string{"orchestrator", "alice"}) {
		t.Errorf("the delegators of the record are %q", delegators)
	}
	_, err := s.pep.ReportActivity(t.Context(), &aver.ActivityReport{EvaluationID: answer.EvaluationID, Status: aver.ActivityCompleted, Parameters: r.Digest()})
	check(t, err)
	all, err := s.admin.Activities(t.Context(), answer.EvaluationID)
	check(t, err)
	if len(all) != 1 || all[0].EvaluationID != answer.EvaluationID || all[0].Decision == nil {
		t.Errorf("the activities of the decision: %+v", all)
	}
	says(t, "why", s.why(t, answer.EvaluationID), "alice > orchestrator > payments-agent")
}

func (s *scenario) authentication(t *testing.T) {
	id := "spiffe://" + trustDomain + "/settler"
	_, err := s.admin.RegisterIdentity(t.Context(), aver.Identity{
		Ref: aver.Ref{Type: "workload", ID: id}, Kind: aver.Workload, Owner: "treasury", Purpose: "settles payments", Parents: []aver.Ref{{Type: "group", ID: "partners"}},
	}, "a new workload")
	check(t, err)
	token, err := jwt.Signed(s.signer).Claims(jwt.Claims{
		Subject: id, Audience: jwt.Audience{"https://payments.example"}, Expiry: jwt.NewNumericDate(time.Now().Add(time.Minute)), IssuedAt: jwt.NewNumericDate(time.Now()),
	}).Serialize()
	check(t, err)
	ask := func(token string) *aver.Answer {
		answer, err := s.pep.Decide(t.Context(), reading(t, `{"subject":{"type":"workload","id":%q},"action":{"name":"payment.execute"},"resource":{"type":"payment","id":"a3"},"context":{"token":%q}}`, id, token))
		check(t, err)
		return answer
	}
	record, payload := s.record(t, ask(token).EvaluationID)
	if record.Token == nil || record.Token.Issuer != "spiffe://"+trustDomain || record.Token.KeyID != "workloads-1" || record.Token.Fault != "" {
		t.Errorf("the record says of the token: %+v", record.Token)
	}
	if strings.Contains(payload, token) || strings.Contains(payload, token[strings.LastIndex(token, ".")+1:]) {
		t.Error("the token itself is in the record")
	}
	if record.PEP.Credential != "northwind-gateway" {
		t.Errorf("the record names the PEP %+v", record.PEP)
	}
	forged := token[:len(token)-6] + "AAAAAA"
	if answer := ask(forged); answer.Outcome != aver.Denied || !because(answer, aver.ReasonTokenInvalid) {
		t.Errorf("a forged token: %s %+v", answer.Outcome, answer.Reasons)
	}
}

func (s *scenario) governed(t *testing.T) {
	ref := aver.Ref{Type: "service_account", ID: "night-batch"}
	identity := aver.Identity{Ref: ref, Kind: aver.ServiceAccount, Owner: "finance-systems", Purpose: "closes the day", Parents: []aver.Ref{{Type: "group", ID: "accounts-payable"}}}
	_, err := s.admin.RegisterIdentity(t.Context(), identity, "until the new ledger is there")
	check(t, err)
	const ask = `{"subject":{"type":"service_account","id":"night-batch"},"action":{"name":"payment.create"},"resource":{"type":"payment","id":"a4","properties":{` + payment + `}}}`
	s.decide(t, aver.Permitted, ask, 100)
	identity.Expires = aver.TimeOf(time.Now().Add(50 * time.Millisecond))
	_, err = s.admin.PutIdentity(t.Context(), identity, "the new ledger is there")
	check(t, err)
	time.Sleep(time.Until(identity.Expires.Std()) + 2*time.Millisecond) // a purpose ends by time alone
	answer, _ := s.decide(t, aver.Denied, ask, 100)
	says(t, "why", s.why(t, answer.EvaluationID), "baseline/expired", "purpose")
}

func (s *scenario) delegation(t *testing.T) {
	answer, _ := s.decide(t, aver.Permitted, submit, "b1", 50_000, "")
	says(t, "why", s.why(t, answer.EvaluationID),
		"alice (Alice Moreau, human user) gave orchestrator (AI agent) grant g-alice-orchestrator", "issued in event", "by admin", // B1
		"payment.create, payment.read or payment.submit on any payment",          // B2
		"limit on resource.amount", `["EUR", "USD"].contains(resource.currency)`, // B3
		"may be delegated 2 hops further", "valid until", "revocable by alice or bob") // B4
}

// grant issues a grant of Alice's to the payments agent.
func (s *scenario) grant(t *testing.T, id string) string {
	t.Helper()
	_, err := s.admin.IssueGrant(t.Context(), aver.Grant{
		ID: id, From: aver.Ref{Type: "user", ID: "alice"}, To: aver.Ref{Type: "ai_agent", ID: "payments-agent"},
		Actions: []string{"payment.submit"}, Resources: []aver.ResourceScope{{Type: "payment"}}, Purpose: "pay tonight",
		Expires: aver.TimeOf(time.Now().Add(time.Hour)),
	}, "tonight")
	check(t, err)
	return strings.ReplaceAll(submit, `"g-alice-orchestrator","g-orchestrator-payments"`, `"`+id+`"`)
}

func (s *scenario) continuity(t *testing.T) {
	ask := s.grant(t, "g-b5")
	answer, r := s.decide(t, aver.Permitted, ask, "b5", 100, "")
	_, err := s.admin.RevokeGrant(t.Context(), "g-b5", "Alice stops it")
	check(t, err)
	told := false
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for w, err := range s.pep.Withdrawals(ctx, "") {
		check(t, err)
		if told = w.EvaluationID == answer.EvaluationID && w.Type == aver.EventGrantRevoked; told {
			break
		}
	}
	if !told {
		t.Error("the PEP was not told that the authority of its run had ended")
	}
	end, err := s.pep.ReportActivity(t.Context(), &aver.ActivityReport{EvaluationID: answer.EvaluationID, Status: aver.ActivityCompleted, Parameters: r.Digest()})
	check(t, err)
	if end.Continuity != aver.Lapsed || end.Details == nil || end.Details.Lapse == nil || end.Details.Lapse.Event == nil {
		t.Errorf("continuity %s, %+v", end.Continuity, end.Details)
	}
}

func (s *scenario) shrinking(t *testing.T) {
	_, err := s.admin.IssueGrant(t.Context(), aver.Grant{
		ID: "g-wider", From: aver.Ref{Type: "ai_agent", ID: "orchestrator"}, To: aver.Ref{Type: "ai_agent", ID: "payments-agent"}, Parent: "g-alice-orchestrator",
		Actions: []string{"customer.read"}, Resources: []aver.ResourceScope{{Type: "customer"}},
	}, "asks for more")
	var problem *client.Problem
	if !errors.As(err, &problem) {
		t.Errorf("a grant that reaches further than its parent: %v", err)
	}
	// Judy may not pay, so what she gave is worth nothing.
	answer, _ := s.decide(t, aver.Denied, strings.NewReplacer(`"id":"alice"`, `"id":"judy"`, `"g-alice-orchestrator","g-orchestrator-payments"`, `"g-judy-payments"`).Replace(submit), "b6", 100, "")
	if !because(answer, aver.ReasonNotPermitted) {
		t.Errorf("%+v", answer.Reasons)
	}
}

func (s *scenario) asked(t *testing.T) {
	answer, _ := s.decide(t, aver.Permitted, submit, "c1", 77_000, "")
	_, payload := s.record(t, answer.EvaluationID)
	says(t, "the record", payload, `"name":"payment.submit"`, `"tool":"bank-gateway"`, `"id":"c1"`, `"amount":77000`)
	other, _ := s.decide(t, aver.Denied, strings.Replace(submit, `"tool":"bank-gateway"`, `"tool":"mail"`, 1), "c2", 100, "")
	says(t, "why", s.why(t, other.EvaluationID), "baseline/tool-not-permitted")
}

func (s *scenario) signals(t *testing.T) {
	const ask = `{"subject":{"type":"user","id":"kim"},"action":{"name":"customer.contact"},"resource":{"type":"customer","id":"c-2001"}}`
	s.decide(t, aver.Permitted, ask)
	_, err := s.admin.TellSignal(t.Context(), aver.SignalReport{Event: "account-disabled", About: aver.Ref{Type: "user", ID: "kim"}, Details: map[string]any{"reason": "hijacking"}}, "taken over")
	check(t, err)
	answer, _ := s.decide(t, aver.Denied, ask)
	says(t, "why", s.why(t, answer.EvaluationID), "baseline/account-disabled", "context.aver.signals")
	// Place, device and time are attributes like any other, and each says who vouches for it.
	hotel, _ := s.decide(t, aver.Challenged, `{"subject":{"type":"user","id":"ivan"},"action":{"name":"firewall.update"},"resource":{"type":"security_setting","id":"edge-firewall"},
		"context":{"address":{"__extn":{"fn":"ip","arg":"203.0.113.9"}},"source":{"__extn":{"fn":"ip","arg":"10.20.0.0/16"}}%s}}`, freshLogin)
	says(t, "why", s.why(t, hotel.EvaluationID), "203.0.113.9", "claimed by the caller", "registered (event")
}

func (s *scenario) minimal(t *testing.T) {
	answer, _ := s.decide(t, aver.Permitted, submit, "d2", 100, `,"customer_note":"nobody needs this","session":"s-1"`)
	record, payload := s.record(t, answer.EvaluationID)
	if strings.Contains(payload, "nobody needs this") || !slices.Contains(record.Omitted, "context.customer_note") {
		t.Errorf("what no policy reads is kept, or not named: %q\n%s", record.Omitted, payload)
	}
	says(t, "the record, of what the bundle retains", payload, `"session":"s-1"`)
}

func (s *scenario) withheld(t *testing.T) {
	answer, _ := s.decide(t, aver.Permitted, submit, "d3", 100, "")
	_, payload := s.record(t, answer.EvaluationID)
	if strings.Contains(payload, "DE89370400440532013000") || !strings.Contains(payload, `"_sd":[`) {
		t.Errorf("the account number stands in the record:\n%s", payload)
	}
}

func (s *scenario) versions(t *testing.T) {
	answer, _ := s.decide(t, aver.Permitted, submit, "e1", 100, "")
	record, _ := s.record(t, answer.EvaluationID)
	if !strings.HasPrefix(record.Engine, "cedar-go/") || record.Semantics != aver.Semantics || record.Policies == "" ||
		!slices.Contains(record.Decision.Frames[0].Policies, "northwind/agents-prepare-payments") {
		t.Errorf("engine %q, semantics %q, policies %q, frames %+v", record.Engine, record.Semantics, record.Policies, record.Decision.Frames)
	}
	says(t, "why", s.why(t, answer.EvaluationID), "Bundle northwind, version", "published in event", "active since event", "by admin")
}

func (s *scenario) exceptions(t *testing.T) {
	const ask = `{"subject":{"type":"user","id":"erin"},"action":{"name":"service.deploy"},"resource":{"type":"service","id":"ledger"},"context":{"change_freeze":true,"change":"CHG-1"}}`
	s.decide(t, aver.Denied, ask)
	x := aver.ExceptionRequest{
		ID: "x-1", Kind: aver.BreakGlass, Subject: aver.Ref{Type: "user", ID: "erin"}, Actions: []string{"service.deploy"},
		Resources: []aver.ResourceScope{{Type: "service", ID: "ledger"}}, IdentityConfirmed: "called back", Approver: aver.Ref{Type: "user", ID: "dave"}, Duration: 600,
	}
	if _, err := s.people["erin"].RequestException(t.Context(), x, true, "down"); err == nil {
		t.Fatal("an exception without a justification was taken")
	}
	x.Justification = "the ledger is down"
	_, err := s.people["erin"].RequestException(t.Context(), x, true, "down")
	check(t, err)
	answer, _ := s.decide(t, aver.Permitted, ask)
	if !because(answer, aver.ReasonException) { // E3
		t.Errorf("%+v", answer.Reasons)
	}
	says(t, "why", s.why(t, answer.EvaluationID), "x-1", "the ledger is down")
	_, err = s.people["erin"].CloseException(t.Context(), "x-1", "it is up")
	check(t, err)
	s.decide(t, aver.Denied, ask)
	_, err = s.people["dave"].ApproveException(t.Context(), "x-1", nil, "I was there")
	check(t, err)
	if _, err := s.people["erin"].ReviewException(t.Context(), "x-1", nil, aver.Justified, "", "it was me"); err == nil {
		t.Error("who used an exception reviewed it")
	}
	overdue := func() bool {
		x, err := s.admin.Exception(t.Context(), "x-1")
		check(t, err)
		return x.State == "overdue"
	}
	for deadline := time.Now().Add(time.Minute); !overdue(); time.Sleep(50 * time.Millisecond) { // H1: it shows by itself
		if time.Now().After(deadline) {
			t.Fatal("the review does not become overdue")
		}
	}
	_, err = s.people["ivan"].ReviewException(t.Context(), "x-1", nil, aver.Justified, "", "once, for what it was for")
	check(t, err)
	if overdue() {
		t.Error("it is overdue after its review")
	}
}

func (s *scenario) approval(t *testing.T) {
	answer, r := s.decide(t, aver.Escalated, submit, "e4", 1_300_000, freshLogin)
	task, err := s.pep.RequestAccess(t.Context(), r, answer.EvaluationID, "", "due today")
	check(t, err)
	shown, err := s.people["bob"].Approval(t.Context(), task.ID)
	check(t, err)
	if _, err := s.people["erin"].Approve(t.Context(), task.ID, nil, shown.Seen, "fine"); err == nil {
		t.Error("somebody who is no approver of the policy approved")
	}
	_, err = s.people["bob"].Approve(t.Context(), task.ID, nil, shown.Seen, "the goods are here")
	check(t, err)
	task, err = s.pep.AccessRequest(t.Context(), task.ID)
	check(t, err)
	if task.Approval == nil {
		t.Fatalf("the task is %s", task.Status)
	}
	cited := fmt.Sprintf(`%s,"approval":{"id":%q}`, freshLogin, task.Approval.ID)
	s.decide(t, aver.Escalated, submit, "e4", 1_400_000, cited) // another amount than was approved
	paid, _ := s.decide(t, aver.Permitted, submit, "e4", 1_300_000, cited)
	says(t, "why", s.why(t, paid.EvaluationID), "bob", "the goods are here")
	s.decide(t, aver.Escalated, submit, "e4", 1_300_000, cited) // it was for one use
}

func (s *scenario) policyReview(t *testing.T) {
	answer, _ := s.decide(t, aver.Permitted, submit, "e5", 100, "")
	says(t, "why", s.why(t, answer.EvaluationID), "owner security-governance", "next review 2027-06-30", "implements PCI-DSS 7.2")
	next := time.Now().AddDate(0, 3, 0)
	_, err := s.people["ivan"].RecordReview(t.Context(), aver.ReviewRecorded{
		Policy: &aver.PolicyRef{Name: "northwind"}, Verdict: aver.ReviewCurrent, Next: aver.TimeOf(next),
	}, nil, "says what we do")
	check(t, err)
	answer, _ = s.decide(t, aver.Permitted, submit, "e5", 100, "")
	says(t, "why after the review", s.why(t, answer.EvaluationID), "reviewed", "ivan", next.UTC().Format(time.DateOnly))
}

func (s *scenario) outcomes(t *testing.T) {
	seen := map[aver.Outcome]*aver.Answer{}
	for want, ask := range map[aver.Outcome]string{
		aver.Permitted: fmt.Sprintf(submit, "f1", 100, ""), aver.Escalated: fmt.Sprintf(submit, "f1", 1_300_000, freshLogin),
		aver.Denied:     fmt.Sprintf(strings.Replace(submit, `"DE"`, `"KP"`, 1), "f1", 100, ""),
		aver.Challenged: fmt.Sprintf(submit, "f1", 200_000, ""),
		aver.Restricted: fmt.Sprintf(strings.Replace(submit, `"known_beneficiary":true`, `"known_beneficiary":false`, 1), "f1", 100, `,"supported_obligations":["delay_payout"]`),
		aver.PartiallyAuthorized: fmt.Sprintf(submit, "f1", 0,
			`,"parts":[{"id":"rent","properties":{"amount":100}},{"id":"unknown","properties":{"amount":100,"country":"SY"}}]`),
	} {
		seen[want], _ = s.decide(t, want, "%s", ask)
		if allowed := want >= aver.PartiallyAuthorized; seen[want].Outcome.Allowed() != allowed {
			t.Errorf("%s: AuthZEN's decision is %t", want, !allowed)
		}
	}
	if q := seen[aver.Challenged].Requirements; len(q) == 0 || q[0].Gate != aver.GateChallenge || len(q[0].ACRValues) == 0 {
		t.Errorf("challenged: %+v", q)
	}
	if q := seen[aver.Escalated].Requirements; len(q) == 0 || q[0].Gate != aver.GateEscalate || len(q[0].Approvers) == 0 {
		t.Errorf("escalated: %+v", q)
	}
	if o := seen[aver.Restricted].Obligations; len(o) != 1 || o[0].Type != "delay_payout" {
		t.Errorf("restricted: %+v", o)
	}
	if p := seen[aver.PartiallyAuthorized].Parts; len(p) != 2 || !p[0].Outcome.Allowed() || p[1].Outcome.Allowed() {
		t.Errorf("partially authorized: %+v", p)
	}
	says(t, "why of the denial", s.why(t, seen[aver.Denied].EvaluationID), "Payments to this country are under sanctions.", "What would have changed it") // F2
}

func (s *scenario) failures(t *testing.T) {
	nobody, _ := s.decide(t, aver.Denied, `{"subject":{"type":"user","id":"nobody"},"action":{"name":"anything"},"resource":{"type":"thing","id":"1"}}`)
	if !because(nobody, aver.ReasonNotPermitted) {
		t.Errorf("what nothing permits: %+v", nobody.Reasons)
	}
	broken, _ := s.decide(t, aver.Denied, `{"subject":{"type":"user","id":"ivan"},"action":{"name":"firewall.update"},"resource":{"type":"security_setting","id":"edge-firewall"},"context":{"authentication":{"acr":"phr","age":30,"amr":["hwk"]}}}`)
	if !because(broken, aver.ReasonPolicyError) {
		t.Errorf("a policy that fails: %+v", broken.Reasons)
	}
	if r, _ := s.record(t, broken.EvaluationID); r.Decision.Outcome != aver.Denied {
		t.Errorf("it is recorded as %s", r.Decision.Outcome)
	}
}

// killed: every answer that was given is in the log at the place that its receipt names, whatever happens next.
func (s *scenario) killed(t *testing.T) {
	for i := range 50 {
		s.decide(t, aver.Permitted, submit, fmt.Sprint("g1-", i), 100, "")
	}
	check(t, s.process.Process.Kill())
	s.process.Wait()
	s.start(t)
	s.reconnect(t)
	for id, receipt := range s.answers {
		_, e, err := s.admin.Record(t.Context(), id)
		check(t, err)
		if e.Index != receipt.Index {
			t.Errorf("%s is at %d, its receipt says %d", id, e.Index, receipt.Index)
		}
	}
}

func (s *scenario) activities(t *testing.T) {
	answer, r := s.decide(t, aver.Permitted, submit, "g5", 100, "")
	for _, status := range []aver.ActivityStatus{aver.ActivityStarted, aver.ActivityCompleted} {
		got, err := s.pep.ReportActivity(t.Context(), &aver.ActivityReport{EvaluationID: answer.EvaluationID, Status: status, Parameters: r.Digest()})
		check(t, err)
		if len(got.Findings) != 0 || status == aver.ActivityCompleted && got.Continuity != aver.Held { // G6
			t.Errorf("%s: %+v", status, got)
		}
	}
	id, err := uuid.NewV7()
	check(t, err)
	orphan, err := s.pep.ReportActivity(t.Context(), &aver.ActivityReport{EvaluationID: id.String(), Status: aver.ActivityCompleted})
	check(t, err)
	if len(orphan.Findings) != 1 || orphan.Findings[0].Code != aver.FindingNoDecision {
		t.Errorf("an activity without a decision: %+v", orphan.Findings)
	}
	reconciled, err := s.admin.Reconciliation(t.Context(), 0)
	check(t, err)
	if reconciled.Orphans == 0 {
		t.Errorf("the orphan is not counted: %+v", reconciled)
	}
}

func (s *scenario) hold(t *testing.T) {
	two := map[string]*client.Client{}
	for _, name := range []string{"frank", "grace"} {
		token, _, err := s.admin.IssueCredential(t.Context(), aver.Credential{Name: name, Role: aver.RoleAdmin, Subject: &aver.Ref{Type: "user", ID: name}}, "keeps records")
		check(t, err)
		two[name] = s.connect(t, token)
	}
	_, err := two["frank"].PlaceHold(t.Context(), aver.LegalHold{ID: "h-1"}, "a case before the court")
	check(t, err)
	rule, err := two["frank"].SetRetention(t.Context(), aver.RetentionRule{Class: aver.ClassStandard, Period: 86400}, "as the policy on records says")
	check(t, err)
	if _, err := two["frank"].ApproveRetention(t.Context(), aver.ClassStandard, rule.Index, "fine"); err == nil {
		t.Error("who proposed how long records are kept approved it")
	}
	_, err = two["grace"].ApproveRetention(t.Context(), aver.ClassStandard, rule.Index, "read and agreed")
	check(t, err)
	held := 0
	for h, err := range s.admin.Holds(t.Context()) {
		check(t, err)
		if h.ID == "h-1" && h.Released == nil {
			held++
		}
	}
	if held != 1 {
		t.Errorf("%d holds stand, want one", held)
	}
	sweep, err := two["frank"].RunRetention(t.Context())
	check(t, err)
	if sweep.Payloads+sweep.Disclosures != 0 {
		t.Errorf("a sweep under a hold erased something: %+v", sweep)
	}
}

// whileServing: evidence is checked beside a server that goes on answering.
func (s *scenario) whileServing(t *testing.T) {
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			var r aver.Request
			err := json.Unmarshal(fmt.Appendf(nil, submit, "g8", 100, ""), &r)
			if err == nil {
				_, err = s.pep.Decide(context.WithoutCancel(t.Context()), &r)
			}
			if err != nil {
				done <- err
				return
			}
		}
	}()
	s.check(t)
	close(stop)
	check(t, <-done)
}

// check verifies both logs and decides everything again.
func (s *scenario) check(t *testing.T) {
	t.Helper()
	s.aver(t, 0, "verify", "--data", s.dir)
	var again struct {
		Decisions, Match, Mismatch, Undetermined int
	}
	check(t, json.Unmarshal(s.aver(t, 0, "replay", "--data", s.dir, "--json"), &again))
	if again.Decisions < len(s.answers) || again.Match != again.Decisions || again.Mismatch+again.Undetermined != 0 {
		t.Errorf("replay: %+v, %d were answered", again, len(s.answers))
	}
}

func (s *scenario) evidence(t *testing.T) {
	s.check(t)
	// One byte of a payload, in a copy: it is found.
	copied := filepath.Join(t.TempDir(), "copy")
	check(t, os.CopyFS(copied, os.DirFS(s.dir)))
	segments, err := filepath.Glob(filepath.Join(copied, "decisions", "segments", "*"))
	check(t, err)
	if len(segments) == 0 {
		t.Fatal("no segments")
	}
	text := read(t, segments[0])
	text[len(text)/2] ^= 1
	check(t, os.WriteFile(segments[0], text, 0o600))
	s.aver(t, 1, "verify", "--data", copied)
}

// others: a program that shares nothing with ours, not even the language, checks the logs on the disk.
func (s *scenario) others(t *testing.T) {
	for _, tool := range []string{"python3", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not here; .ci/run has it", tool)
		}
	}
	for _, log := range []string{"authority", "decisions"} {
		key := strings.TrimSpace(string(read(t, filepath.Join(s.dir, "keys", log+".vkey"))))
		entries := filepath.Join(t.TempDir(), "entries")
		check(t, os.WriteFile(entries, s.aver(t, 0, "log", "entries", "--log", log, "--data", s.dir), 0o600))
		out, err := exec.Command("python3", filepath.Join("..", "..", "docs", "verify.py"), filepath.Join(s.dir, log), key, "--entries", entries).CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("checkpoint, leaves and tiles agree")) {
			t.Errorf("%s: %v\n%s", log, err, out)
		}
		check(t, os.WriteFile(entries, []byte("[]\n"), 0o600))
		var exit *exec.ExitError
		err = exec.Command("python3", filepath.Join("..", "..", "docs", "verify.py"), filepath.Join(s.dir, log), key, "--entries", entries).Run()
		if !errors.As(err, &exit) || exit.ExitCode() != 2 {
			t.Errorf("%s, of something that is no list of entries: %v, want exit status 2", log, err)
		}
	}
}

// aver runs the command, which must end with the status.
func (s *scenario) aver(t *testing.T, status int, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("aver", args...)
	cmd.Env = append(os.Environ(), "AVER_SERVER=", "AVER_TOKEN=", "GORACE="+noSleep)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		check(t, err)
	}
	if got != status {
		t.Fatalf("aver %s: exit status %d, want %d\n%s%s", strings.Join(args, " "), got, status, out, stderr.String())
	}
	return out
}
