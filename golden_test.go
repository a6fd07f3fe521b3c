package aver

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// sample is one piece of evidence whose bytes are pinned in testdata.
type sample struct {
	file      string
	canonical []byte
}

func samples() []sample {
	var out []sample
	for _, r := range sampleRecords() {
		out = append(out, sample{"record/" + r.Decision.Outcome.String() + ".json", r.AppendCanonical(nil)})
	}
	for _, e := range sampleEvents() {
		text, err := e.Canonical()
		if err != nil {
			panic(err)
		}
		out = append(out, sample{"event/" + string(e.Type) + ".json", text})
	}
	for name, a := range sampleActivities() {
		out = append(out, sample{"activity/" + name + ".json", must(a.Canonical())})
	}
	for kind, l := range sampleLeaves() {
		out = append(out, sample{"leaf/" + kind + ".json", l.AppendCanonical(nil)})
	}
	return append(out,
		sample{"disclosure/creditor_iban.json", sampleDisclosed},
		sample{"disclosure/private.json", AppendCanonical(nil, []any{sampleDisclosure})},
		sample{"answer/partially_authorized.json", must(CanonicalJSON(json.RawMessage(sampleAnswer().JSON())))},
	)
}

// The golden files pin the bytes of evidence: a change of one would make what
// was logged before unreadable, so it needs a new version of the semantics.
func TestGoldenFiles(t *testing.T) {
	for _, s := range samples() {
		t.Run(s.file, func(t *testing.T) {
			file := filepath.Join("testdata", filepath.FromSlash(s.file))
			if *update {
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, s.canonical, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(s.canonical)); d != "" {
				t.Errorf("the bytes changed (-want +got):\n%s", d)
			}
			v, err := ParseJSON(want, eventLimits)
			if err != nil || !bytes.Equal(AppendCanonical(nil, v), want) {
				t.Errorf("it is not canonical: %v", err)
			}
		})
	}
}

func TestGoldenFilesReadBack(t *testing.T) {
	for _, want := range sampleRecords() {
		got, err := ParseRecord(golden(t, "record/"+want.Decision.Outcome.String()+".json"))
		if err != nil {
			t.Errorf("%s: %v", want.Decision.Outcome, err)
			continue
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s reads back otherwise (-want +got):\n%s", want.Decision.Outcome, d)
		}
	}
	for _, want := range sampleEvents() {
		got, err := ParseEvent(golden(t, "event/"+string(want.Type)+".json"))
		if err != nil {
			t.Errorf("%s: %v", want.Type, err)
			continue
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s reads back otherwise (-want +got):\n%s", want.Type, d)
		}
	}
	for name, want := range sampleActivities() {
		got, err := ParseActivity(golden(t, "activity/"+name+".json"))
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("%s reads back otherwise: %v (-want +got):\n%s", name, err, d)
		}
	}
	for kind, want := range sampleLeaves() {
		got, err := ParseLeaf(golden(t, "leaf/"+kind+".json"))
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("leaf of a %s reads back otherwise: %v (-want +got):\n%s", kind, err, d)
		}
	}
}

// A leaf's payload is what sha256sum prints for the file.
func TestGoldenLeavesCommitToGoldenPayloads(t *testing.T) {
	for leaf, payload := range map[string]string{
		"leaf/decision.json": "record/permitted.json",
		"leaf/activity.json": "activity/lapsed.json",
		"leaf/event.json":    "event/grant.issued.json",
	} {
		l, err := ParseLeaf(golden(t, leaf))
		if err != nil {
			t.Fatal(err)
		}
		text := golden(t, payload)
		if sum := fmt.Sprintf("%x", sha256.Sum256(text)); l.Payload != sum || !l.Matches(text) {
			t.Errorf("%s names the payload %s, and the SHA-256 of %s is %s", leaf, l.Payload, payload, sum)
		}
		if l.Matches(append(text, '\n')) {
			t.Errorf("%s matches a payload with one byte more", leaf)
		}
	}
}

func golden(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", filepath.FromSlash(file)))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestEveryOutcomeAndEventTypeHasAGoldenFile(t *testing.T) {
	for _, o := range Outcomes() {
		golden(t, "record/"+o.String()+".json")
	}
	for _, typ := range constantsOf(t, "event.go", "EventType") {
		golden(t, "event/"+typ+".json")
	}
}

// constantsOf lists the values of the string constants of a type.
func constantsOf(t *testing.T, file, typ string) []string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); ok && name.Name == typ {
			for _, v := range spec.Values {
				s, err := strconv.Unquote(v.(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				values = append(values, s)
			}
		}
		return true
	})
	if len(values) == 0 {
		t.Fatalf("%s has no constants of type %s", file, typ)
	}
	return values
}

func at(s string) Time {
	t, err := ParseTime(s)
	if err != nil {
		panic(err)
	}
	return t
}

func event(n uint64) *uint64 { return &n }

// hashOf stands in for hashes of things that the samples do not hold.
func hashOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// sampleDisclosure is a member that the permitted sample holds as a digest only
// (RFC 9901).
var (
	sampleDisclosed  = AppendCanonical(nil, []any{"bGVnYWwgd2lubmVyIHRoYQ", "creditor_iban", "DE89370400440532013000"})
	sampleDisclosure = base64.RawURLEncoding.EncodeToString(sampleDisclosed)
)

// samplePermittedRequest is the request of the permitted sample as it was sent.
var samplePermittedRequest = string(must(os.ReadFile("testdata/request/permitted.json")))

// sampleRecords holds a record for each outcome, and among them every member
// that a record can have.
func sampleRecords() []*Record {
	record := func(n int, t, request string, d Decision, facts Facts) *Record {
		v, err := ParseJSON([]byte(request), Limits{})
		if err != nil {
			panic(err)
		}
		parsed, err := ParseRequest(v)
		if err != nil {
			panic(err)
		}
		return &Record{
			ID: fmt.Sprintf("0193a1b2-c3d4-7e5f-8a6b-00000000000%d", n), Kind: "decision", Time: at(t),
			Semantics: Semantics, Engine: "cedar-go/v1.9.0",
			Authority: TreeHead{Root: hashOf("authority log at 214"), Size: 214},
			Policies:  Digest([]byte("the active policies")),
			PEP:       PEP{Credential: "payments-gateway"},
			Request:   AppendCanonical(nil, v), Full: parsed.Digest(),
			Facts: facts, Decision: d,
			Salt: base64.RawURLEncoding.EncodeToString([]byte("16 random bytes" + strconv.Itoa(n))),
		}
	}

	permitted := record(1, "2026-11-24T07:33:49.123Z", samplePermittedRequest, Decision{
		Actor: Actor{Ref: Ref{"ap-agent", "ai_agent"}, Kind: AIAgent, Event: event(12)},
		Ruling: Ruling{
			Outcome: Permitted,
			Reasons: []Reason{{Code: ReasonPermitted, Policy: "payments/agents-approve"}},
			Frames: []Frame{
				{As: FrameActor, Allowed: true, Policies: []string{"payments/agents-approve"}},
				{As: FrameDelegator, Entity: Ref{"ann", "user"}, Allowed: true, Policies: []string{"payments/clerks-approve"}},
				{As: FrameGrant, Grant: "g-ap-ann", Allowed: true},
			},
		},
		Counters: []Counter{
			{Grant: "g-ap-ann", Name: "uses", Before: 41, After: 42, Max: 100},
			{Grant: "g-ap-ann", Name: "resource.amount", Before: 1893050, After: 2018050, Max: 5000000},
		},
	}, Facts{Events: []uint64{5, 12}})
	permitted.PEP.RequestID = "bfe9eb29-ab87-4ca3-be83-a1d5d8305716"
	permitted.Omitted = []string{"context.trace", "principal.version", `resource["line items"]`}
	permitted.Request = AppendCanonical(nil, map[string]any{
		"subject": map[string]any{"type": "ai_agent", "id": "ap-agent"},
		"action":  map[string]any{"name": "payment.approve", "properties": map[string]any{"tool": "erp"}},
		"resource": map[string]any{"type": "payment", "id": "p-20931", "properties": map[string]any{
			"amount": 125000, "_sd": []any{Digest([]byte(sampleDisclosure))},
		}},
		"context": map[string]any{"on_behalf_of": map[string]any{"type": "user", "id": "ann"}, "delegation": []any{"g-ap-ann"}},
	})

	restricted := record(2, "2026-11-24T07:34:02.500Z", `{
		"subject": {"type": "api_client", "id": "partner-7"},
		"action": {"name": "statement.read"},
		"resource": {"type": "account", "id": "4711", "properties": {"class": "confidential"}},
		"context": {"supported_obligations": ["mask", "notification"]}
	}`, Decision{
		Actor: Actor{Ref: Ref{"partner-7", "api_client"}, Kind: APIClient, Event: event(31)},
		Ruling: Ruling{
			Outcome: Restricted,
			Reasons: []Reason{
				{Code: ReasonPermitted, Policy: "partners/read-statements"},
				{Code: ReasonRestrict, Policy: "partners/mask-holder"},
				{Code: ReasonRestrict, Policy: "partners/tell-holder"},
			},
			Frames: []Frame{{As: FrameActor, Allowed: true, Policies: []string{"partners/read-statements"}}},
			Obligations: []Obligation{
				{ID: "partners/mask-holder", Type: "mask", Properties: Properties{"fields": []any{"holder", "iban"}, "keep": int64(4)}},
				{ID: "partners/tell-holder", Type: "notification"},
			},
		},
	}, Facts{Events: []uint64{31, 88}})

	part := func(id string, r Ruling, policies ...string) PartDecision {
		r.Frames = []Frame{{
			As:      FrameActor,
			Allowed: r.Outcome.Allowed(), Policies: policies,
		}}
		return PartDecision{id, r}
	}
	mask := []Obligation{{ID: "crm/mask-email", Type: "mask"}}
	partial := record(3, "2026-11-24T07:34:10.000Z", `{
		"subject": {"type": "workload", "id": "crm-export"},
		"action": {"name": "customer.export"},
		"resource": {"type": "customer", "id": "c-17"},
		"context": {"parts": ["name", {"id": "email", "properties": {"class": "personal"}}, {"id": "ssn", "properties": {"class": "secret"}}],
			"supported_obligations": ["mask"]}
	}`, Decision{
		Actor: Actor{Ref: Ref{"crm-export", "workload"}, Kind: Workload, Event: event(40)},
		Ruling: Ruling{
			Outcome:     PartiallyAuthorized,
			Reasons:     []Reason{{Code: ReasonPartsDiffer, Detail: "2 of 3"}},
			Obligations: mask,
		},
		Parts: []PartDecision{
			part("name", Ruling{Outcome: Permitted, Reasons: []Reason{{Code: ReasonPermitted, Policy: "crm/export"}}}, "crm/export"),
			part("email", Ruling{
				Outcome:     Restricted,
				Reasons:     []Reason{{Code: ReasonPermitted, Policy: "crm/export"}, {Code: ReasonRestrict, Policy: "crm/mask-email"}},
				Obligations: mask,
			}, "crm/export"),
			part("ssn", Ruling{Outcome: Denied, Reasons: []Reason{{Code: ReasonForbidden, Policy: "crm/no-secrets"}}}, "crm/no-secrets"),
		},
	}, Facts{Events: []uint64{40}})

	escalated := record(4, "2026-11-24T07:35:00.001Z", `{
		"subject": {"type": "service_account", "id": "batch-payouts"},
		"action": {"name": "payment.release"},
		"resource": {"type": "payment", "id": "p-20940", "properties": {"amount": 25000000}}
	}`, Decision{
		Actor: Actor{Ref: Ref{"batch-payouts", "service_account"}, Kind: ServiceAccount, Event: event(9)},
		Ruling: Ruling{
			Outcome: Escalated,
			Reasons: []Reason{{Code: ReasonEscalate, Policy: "payments/large-needs-two"}},
			Frames: []Frame{{
				As: FrameActor, Allowed: true,
				Policies: []string{"payments/batch-release", "payments/treasury-release"},
			}},
			Requirements: []Requirement{{
				Gate: GateEscalate, Policy: "payments/large-needs-two",
				Approvers: []string{`group::"treasury-leads"`}, Approvals: 2, Within: 3600,
			}},
		},
	}, Facts{Events: []uint64{9}})

	challenged := record(5, "2026-11-24T07:35:30.750Z", `{
		"subject": {"type": "user", "id": "dana"},
		"action": {"name": "limit.raise"},
		"resource": {"type": "account", "id": "4711"},
		"context": {"authentication": {"age": 7200, "methods": ["pwd"]}}
	}`, Decision{
		Actor: Actor{Ref: Ref{"dana", "user"}, Kind: HumanUser},
		Ruling: Ruling{
			Outcome: Challenged,
			Reasons: []Reason{{Code: ReasonChallenge, Policy: "accounts/fresh-login"}},
			Frames:  []Frame{{As: FrameActor, Allowed: true, Policies: []string{"accounts/owner"}}},
			Requirements: []Requirement{{
				Gate: GateChallenge, Policy: "accounts/fresh-login",
				ACRValues: []string{"urn:mace:incommon:iap:silver"}, AMRValues: []string{"hwk", "otp"}, MaxAge: new(int64(300)),
				Present: "a login with a second factor within the last five minutes",
			}},
		},
	}, Facts{Events: []uint64{88}})

	denied := record(6, "2026-11-24T07:36:00.000Z", `{
		"subject": {"type": "application", "id": "report-tool"},
		"action": {"name": "ledger.export"},
		"resource": {"type": "ledger", "id": "eu", "properties": {"region": "EU"}},
		"context": {"on_behalf_of": {"type": "user", "id": "bo"}, "delegation": ["g-reports"]}
	}`, Decision{
		Actor: Actor{Ref: Ref{"report-tool", "application"}, Kind: Application},
		Ruling: Ruling{
			Outcome: Denied,
			Reasons: []Reason{
				{Code: ReasonGrantRevoked, Grant: "g-reports", Detail: "2026-11-23T18:00:00.000Z"},
				{Code: ReasonPolicyError, Policy: "exports/region", Detail: "attribute `region` not found"},
				{Code: ReasonNotPermitted},
				{Code: ReasonForbidden, Policy: "exports/staff-only", Detail: `user::"bo"`},
				{Code: ReasonLimit, Grant: "g-reports", Detail: "uses: 10 of 10 used, 1 asked"},
			},
			Frames: []Frame{
				{As: FrameActor, Errors: []PolicyError{{Policy: "exports/region", Message: "attribute `region` not found"}}},
				{As: FrameDelegator, Entity: Ref{"bo", "user"}, Policies: []string{"exports/staff-only"}},
				{As: FrameGrant, Grant: "g-reports", Allowed: true},
			},
		},
		Counters: []Counter{{Grant: "g-reports", Name: "uses", Before: 10, After: 10, Max: 10}},
	}, Facts{Events: []uint64{6, 90}})

	return []*Record{permitted, restricted, partial, escalated, challenged, denied}
}

// sampleAnswer is the answer that goes with the third sample.
func sampleAnswer() *Answer {
	r := sampleRecords()[2]
	leaf := NewLeaf(r.Kind, r.ID, r.Time, r.AppendCanonical(nil))
	leaf.Outcome = &r.Decision.Outcome
	hash := sha256.Sum256(leaf.AppendCanonical([]byte{0})) // RFC 6962
	r.Decision.Reasons[0].Text = "2 of 3 parts are allowed."
	return &Answer{
		Decision: r.Decision, EvaluationID: r.ID, Time: r.Time,
		Receipt: Receipt{Origin: "example.com/decisions", Index: 7, LeafHash: base64.StdEncoding.EncodeToString(hash[:])},
	}
}

// sampleEvents holds one event of each type.
func sampleEvents() []*Event {
	text := `@id("clerks-approve") permit(principal in group::"clerks", action == Action::"payment.approve", resource);` + "\n"
	agent := Ref{"ap-agent", "ai_agent"}
	tools := []string{"erp", "mail"}
	var out []*Event
	for i, e := range []struct {
		typ    EventType
		reason string
		data   any
	}{
		{EventPolicyPublished, "Payments, reviewed by risk", PolicyPublished{
			Name: "payments", Digest: Digest([]byte("the bundle")), Files: map[string]string{"bundle.yaml": "name: payments\n", "payments.cedar": text},
		}},
		{EventPolicyActivated, "Change CHG-1207", PolicyRef{"payments", Digest([]byte("the bundle"))}},
		{EventPolicyRetired, "", PolicyRef{"payments", Digest([]byte("the bundle before"))}},
		{EventIdentityRegistered, "Onboarding of the invoice agent", Identity{
			Ref: agent, Kind: AIAgent, Name: "Invoice agent", Owner: "ann@example.com", Purpose: "Approve supplier invoices",
			Expires: at("2027-06-30T22:00:00Z"), ReviewBy: at("2027-01-31T00:00:00+01:00"), Tools: &tools,
			Properties: Properties{"model": map[string]any{"name": "m-3", "size": int64(70)}}, Parents: []Ref{{"agents", "group"}},
		}},
		{EventIdentityUpdated, "No tools until the review is done", Identity{
			Ref: agent, Kind: AIAgent, Owner: "ann@example.com", Purpose: "Approve supplier invoices", Tools: &[]string{},
		}},
		{EventIdentitySuspended, "Incident INC-88", agent},
		{EventIdentityResumed, "Incident INC-88 closed", agent},
		{EventIdentityRetired, "Replaced", agent},
		{EventEntityPut, "", Entity{Ref{"4711", "account"}, Properties{"class": "confidential", "closed": false}, []Ref{{"retail", "portfolio"}}}},
		{EventEntityRemoved, "Closed", Ref{"4711", "account"}},
		{EventGrantIssued, "Invoices of the fourth quarter", Grant{
			ID: "g-ap-ann", From: Ref{"ann", "user"}, To: agent, Parent: "g-clerks",
			Actions: []string{"payment.approve", "invoice.*"}, Resources: []ResourceScope{{Type: "payment"}, {Type: "account", ID: "4711"}},
			Condition: "resource.amount < 1000000", Purpose: "Supplier invoices",
			NotBefore: at("2026-10-01T00:00:00Z"), Expires: at("2026-12-31T23:59:59.999Z"), Depth: 1,
			Limits:   &GrantLimits{Uses: 100, Sums: []SumLimit{{"resource.amount", 5000000}}},
			Revokers: []Ref{{"treasury-leads", "group"}},
		}},
		{EventGrantRevoked, "The quarter is closed", GrantRef{"g-ap-ann"}},
		{EventCredentialIssued, "", Credential{Name: "payments-gateway", Role: RolePEP, Digest: Digest([]byte("a token")), Expires: at("2027-11-24T00:00:00Z")}},
		{EventCredentialRevoked, "Rotated", CredentialRef{"payments-gateway"}},
		{EventApprovalRequested, "The supplier waits", ApprovalRequest{
			ID: "ap-20940", Evaluation: "0193a1b2-c3d4-7e5f-8a6b-000000000004", Key: "payout-20940", Binding: Digest([]byte("what was asked")),
			Request: json.RawMessage(`{"action":{"name":"payment.release"},"resource":{"id":"p-20940","type":"payment"},"subject":{"id":"batch-payouts","type":"service_account"}}`),
			Parties: []Ref{{"batch-payouts", "service_account"}},
			Gates: []ApprovalGate{{
				Policy: "payments/large-needs-two", Bundle: Digest([]byte("the bundle")),
				Approvers: []string{`group::"treasury-leads"`}, Approvals: 2, Within: 3600,
			}},
			Deadline: at("2026-11-24T08:35:00Z"),
			Batch:    &ApprovalBatch{ID: "ab-7", Item: 1, Of: 2},
			Callback: &ApprovalCallback{Endpoint: "https://erp.example.com/aver", State: "run-77", Events: []string{"approved", "denied"}},
		}},
		{EventApprovalGranted, "Checked with the supplier", ApprovalVote{ID: "ap-20940", Approver: Ref{"cleo", "user"}, Seen: Digest([]byte("what was shown")), Duty: "d-lena"}},
		{EventApprovalRefused, "The account is new", ApprovalVote{ID: "ap-20940", Approver: Ref{"dan", "user"}, Seen: Digest([]byte("what was shown"))}},
		{EventApprovalCancelled, "Paid otherwise", ApprovalRef{"ap-20940"}},
		{EventExceptionRequested, "", ExceptionRequest{
			ID: "x-7", Kind: BreakGlass, Subject: Ref{"dana", "user"}, Actions: []string{"ledger.*"}, Resources: []ResourceScope{{Type: "ledger"}},
			Justification: "INC-7: the ledger is down", IdentityConfirmed: "Call-back by the duty desk", Approver: Ref{"cleo", "user"}, Duration: 3600,
		}},
		{EventExceptionApproved, "It was needed", ExceptionVote{"x-7", Ref{"cleo", "user"}}},
		{EventExceptionRejected, "It was not", ExceptionVote{"x-7", Ref{"cleo", "user"}}},
		{EventExceptionActivated, "", ExceptionRef{"x-7"}},
		{EventExceptionClosed, "The ledger is up", ExceptionRef{"x-7"}},
		{EventExceptionReviewed, "", ExceptionReview{"x-7", Ref{"rita", "user"}, Unjustified, "Train the duty desk"}},
		{EventDutyDelegated, "On leave", DutyDelegation{
			ID: "d-lena", From: Ref{"lena", "user"}, To: Ref{"cleo", "user"}, NotBefore: at("2026-11-23T00:00:00Z"), Expires: at("2026-12-07T00:00:00Z"),
		}},
		{EventDutyRevoked, "Back", DutyRef{"d-lena"}},
		{EventGapAccepted, "The supplier rotates it in June", GapAcceptance{
			ID: "I1-no-rotation-0d1e2f3a4b5c", Gap: "I1", Rule: "no-rotation", Until: at("2027-06-30T00:00:00Z"),
		}},
		{EventGapClosed, "It has a workload identity of its own now", GapClosing{
			ID: "I1-shared-identity-6a7b8c9d0e1f", Gap: "I1", Rule: "shared-identity", Subject: Ref{"crm-sync", "service_account"},
		}},
		{EventPopulationFixed, "Payments of the third quarter", Population{
			ID: "p-2026q3", Query: "outcome:escalated", QueryDigest: Digest([]byte("outcome:escalated")),
			From: at("2026-07-01T00:00:00Z"), To: at("2026-10-01T00:00:00Z"), Log: "example.com/decisions",
			Tree:  TreeHead{Root: "FM4m2GWAuxcyJwZuh24FD+fuWgfEW8R4dcuDVdgva64=", Size: 30000},
			First: 12000, End: 12010, Count: 3, Rows: Digest([]byte("12001\n12005\n12008\n")),
			Excluded: Excluded{Activities: 1, NotMatching: 3, Outside: 1},
			Missing:  []MissingRange{{12002, 12004, "expired"}},
			Gaps:     []SequenceGap{{"erp-gateway", "erp-7f6d", 1040, 1041}},
			Since:    &TreeHead{Root: "nB9Rht5uQJSI2zGgWqlw2C8YbW3VTQDDWTEz4QWkyeM=", Size: 9000},
		}},
		{EventSampleDrawn, "", SampleDrawn{
			Population: "p-2026q3", Digest: Digest([]byte("the statement")), Nonce: "7f3a-91c2", Method: SampleStratified, Strata: "action", Size: 2,
			Rows: []uint64{12008, 12001}, Discarded: []DiscardedSample{{12005, "the supplier has left"}},
		}},
		{EventSignalReceived, "", Signal{
			ID: "4d3559ec67504aaba65d40b0363faad8", Source: "https://login.example.com",
			Type: "https://schemas.openid.net/secevent/caep/event-type/session-revoked", About: Ref{"sess-6f1c", SessionType},
			Issuer: "https://login.example.com", Party: Ref{"dana", "user"}, Fact: FactSession, Values: map[string]string{"status": "revoked"},
			At: at("2026-11-20T08:59:58Z"), Token: &SignalToken{Digest([]byte("the token")), "k1", at("2026-11-20T08:59:59Z")},
		}},
		{EventRetentionSet, "PCI DSS 10.5.1 asks for a year; ours is seven, by the tax code", RetentionRule{Class: "payments", Period: 220924800, Actions: []string{"payment.*"}}},
		{EventRetentionApproved, "", RetentionApproval{Class: "payments", Proposed: 31}},
		{EventHoldPlaced, "Case 2026-118, letter of the court of 20 November", LegalHold{ID: "h-2026-118", Scope: EvidenceScope{
			Class: "payments", Subject: Ref{"ann", "user"}, Actions: []string{"payment.approve"},
			From: at("2026-01-01T00:00:00Z"), Until: at("2026-07-01T00:00:00Z"), IDs: []string{"0193a1b2-c3d4-7e5f-8a6b-000000000001"},
		}}},
		{EventHoldReleased, "The case is closed", HoldRef{"h-2026-118"}},
		{EventErasureRequested, "Request of the customer, GDPR Art. 17, ticket DS-77", ErasureRequest{
			ID: "e-77", Kind: EraseDisclosures, Scope: EvidenceScope{Subject: Ref{"c-1024", "customer"}},
		}},
		{EventErasureApproved, "Nothing stands against it", ErasureRef{"e-77"}},
		{EventErasureRefused, "There is a dispute", ErasureRef{"e-77"}},
		{EventPayloadErased, "", ErasedEvidence{
			ID: "er-1", Class: "payments", Log: "example.com/decisions", Ranges: []IndexRange{{120, 4096}, {4100, 4101}}, Count: 3977, Authority: 35,
			Digest: "-MBUidk8Fz0P7I3PO6S0ByQ7PZzAqaN7uorHkac6hoI", Counters: []Counter{{Name: "uses", Grant: "g-ap-ann", Before: 41, After: 42, Max: 100}},
		}},
		{EventDisclosureErased, "", ErasedEvidence{
			ID: "er-2", Erasure: "e-77", Log: "example.com/decisions", Ranges: []IndexRange{{5000, 5001}}, Count: 1, Authority: 36, Digest: (&ErasedDigest{}).String(),
		}},
		{EventErasureCompleted, "", ErasedRef{ID: "er-1"}},
		{EventReviewOpened, "The half-year review of agents", ReviewOpened{
			ID: "rv-2026h2", Scope: ReviewScope{Of: ReviewOfOwner, Owner: "payments"}, Reviewers: []Ref{{"reviewers", "group"}, {"rita", "user"}},
			Deadline: at("2026-12-15T00:00:00Z"), Size: 214, Rows: 2, Digest: ReviewDigest([]ReviewRow{
				{Row: 1, Identity: &agent, Event: 12}, {Row: 2, Grant: "g-ap-ann", Event: 13},
			}),
		}},
		{EventReviewDecided, "Not used since March", ReviewDecided{
			ID: "rv-2026h2", Row: 2, Reviewer: Ref{"rita", "user"}, Decision: ReviewModify, Change: "invoices below 1000 only", Seen: Digest([]byte("the row")),
		}},
		{EventReviewAcknowledged, "", ReviewAcknowledged{ID: "rv-2026h2", Owner: Ref{"ann", "user"}, Rows: []int{1, 2}}},
		{EventReviewClosed, "", ReviewRef{"rv-2026h2"}},
		{EventReviewRecorded, "Against the rules for payments of 2026", ReviewRecorded{
			Policy: &PolicyRef{"payments", Digest([]byte("the bundle"))}, Reviewer: Ref{"rita", "user"},
			Verdict: ReviewOutdated, FollowUp: "Instant payments are missing", Next: at("2027-05-20T00:00:00Z"),
		}},
	} {
		made, err := NewEvent(e.typ, e.data)
		if err != nil {
			panic(err)
		}
		made.ID = fmt.Sprintf("0193a1b2-0000-7000-8000-0000000000%02x", i)
		made.Time = at("2026-11-20T09:00:00Z") + Time(i)*1000
		made.By, made.Reason = By{Name: "admin", Method: "bearer"}, e.reason
		made.Salt = base64.RawURLEncoding.EncodeToString([]byte(fmt.Sprintf("random bytes: %02x", i)))
		out = append(out, &made)
	}
	return out
}

// sampleLeaves holds one leaf of each kind.
func sampleLeaves() map[string]Leaf {
	r := sampleRecords()[0]
	decision := NewLeaf(r.Kind, r.ID, r.Time, r.AppendCanonical(nil))
	decision.Outcome = &r.Decision.Outcome
	a := sampleActivities()["lapsed"]
	activity := NewLeaf(a.Kind, a.ID, a.Time, must(a.Canonical()))
	activity.Type = string(a.Status)
	out := map[string]Leaf{decision.Kind: decision, activity.Kind: activity}
	for _, e := range sampleEvents() {
		if e.Type != EventGrantIssued {
			continue
		}
		payload, err := e.Canonical()
		if err != nil {
			panic(err)
		}
		leaf := NewLeaf(e.Kind, e.ID, e.Time, payload)
		leaf.Type, leaf.Class = string(e.Type), "authority"
		out[leaf.Kind] = leaf
	}
	return out
}
