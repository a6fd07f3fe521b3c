package gaps_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/activity"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/datadir"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/ledger/disk"
	"github.com/aver-authz/aver/internal/ledger/ledgertest"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/policy"
	"github.com/aver-authz/aver/internal/report/gaps"
)

const (
	start  = aver.Time(1_790_000_000_000) // 2026-09-21T14:13:20Z
	minute = aver.Time(60_000)
	hour   = 60 * minute
	day    = 24 * hour
	end    = 100 // the day at which reports are made
)

// story is what happens in a small company, in two logs that are made as the real
// points make them. What happens is told first, each thing with its time, and
// then written in the order of the times.
type story struct {
	*world
	name string // in front of what is particular to it; several stories can be told of one world
}

// world is what the stories of a test happen in.
type world struct {
	t                    testing.TB
	dir                  *datadir.Dir
	authority, decisions *ledger.Log
	history              *activity.History
	st                   *authority.State
	used                 pdp.Usage
	random               *rand.ChaCha8
	now                  aver.Time
	by                   aver.By
	steps                []step
	indexes              map[string]uint64 // of decisions
	reports              map[string][]*aver.Activity
}

type step struct {
	at aver.Time
	do func()
}

func newStory(t testing.TB, fs disk.FS) *story {
	t.Helper()
	dir, err := datadir.Open(filepath.Join(t.TempDir(), "data"), "aver.test")
	if err != nil {
		t.Fatal(err)
	}
	s := &story{world: &world{t: t, dir: dir, st: authority.New(), used: pdp.Usage{}, random: rand.NewChaCha8([32]byte{}),
		indexes: map[string]uint64{}, reports: map[string][]*aver.Activity{}}}
	open := func(dir string, key ledger.Key) *ledger.Log {
		l, err := ledger.Open(dir, ledger.Options{Origin: key.Signer.Name(), Signer: key.Signer, Verifier: key.Verifier, FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	s.authority, s.decisions = open(dir.AuthorityLog()), open(dir.DecisionLog())
	s.history = activity.NewHistory(s.authority)
	t.Cleanup(s.close)
	return s
}

func (s *story) close() {
	if s.dir == nil {
		return
	}
	for _, err := range []error{s.decisions.Close(), s.authority.Close(), s.dir.Close()} {
		if err != nil {
			s.t.Error(err)
		}
	}
	s.dir = nil
}

// on tells what happens on a day, which may have a fraction.
func (s *story) on(d float64, do func()) {
	s.steps = append(s.steps, step{start + aver.Time(d*float64(day)), do})
}

// tell writes all that was told.
func (s *story) tell() {
	s.t.Helper()
	slices.SortStableFunc(s.steps, func(a, b step) int { return int(a.at - b.at) })
	for _, x := range s.steps {
		s.now = max(s.now, x.at)
		s.by = aver.By{Name: "admin", Method: "bearer"}
		if s.now > start+50*day {
			s.by.Name = "admin-2"
		}
		x.do()
	}
	s.steps = nil
}

func (s *story) append(l *ledger.Log, leaf aver.Leaf, e ledger.Entry) {
	s.t.Helper()
	e.Leaf = leaf.AppendCanonical(nil)
	if _, err := l.Append(context.Background(), e); err != nil {
		s.t.Fatal(err)
	}
}

func (s *story) id() string {
	var id uuid.UUID
	ms := uint64(s.now)
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	s.random.Read(id[6:])
	id[6], id[8] = id[6]&0x0f|0x70, id[8]&0x3f|0x80
	return id.String()
}

// event makes an event.
func (s *story) event(typ aver.EventType, data any, reason ...string) uint64 {
	s.t.Helper()
	e, err := aver.NewEvent(typ, data)
	if err != nil {
		s.t.Fatal(err)
	}
	s.now++
	e.ID, e.Time, e.By, e.Salt, e.Reason = s.id(), s.now, s.by, strings.Repeat("A", 22), strings.Join(reason, " ")
	index := s.st.Size()
	if s.st, err = s.st.Apply(&e); err != nil {
		s.t.Fatal(err)
	}
	payload, err := e.Canonical()
	if err != nil {
		s.t.Fatal(err)
	}
	leaf := aver.NewLeaf(e.Kind, e.ID, e.Time, payload)
	leaf.Type = string(typ)
	s.append(s.authority, leaf, ledger.Entry{Payload: payload})
	return index
}

// as makes what follows in this step the doing of a person.
func (s *story) as(person string) *story {
	s.by = aver.By{Name: "of-" + person, Method: "bearer", Subject: ref("user", person)}
	return s
}

// asked is a request, and how it is asked.
type asked struct {
	subject    aver.Ref
	action     string
	resource   aver.Ref
	amount     int64
	forUser    string   // acts for this user
	grants     []string // by these
	context    map[string]any
	tool       string
	properties map[string]any // of the resource
	pep        string         // "" is gateway
	token      *aver.Token
}

func (a asked) request() *aver.Request {
	r := &aver.Request{Subject: aver.Party{Ref: a.subject}, Action: aver.Action{Name: a.action}, Resource: aver.Party{Ref: a.resource}, Token: a.token}
	c := map[string]any{"supported_obligations": []any{"log"}}
	for k, v := range a.context {
		c[k] = v
	}
	if a.forUser != "" {
		c["on_behalf_of"] = map[string]any{"type": "user", "id": a.forUser}
	}
	if a.grants != nil {
		var list []any
		for _, g := range a.grants {
			list = append(list, g)
		}
		c["delegation"] = list
	}
	r.Resource.Properties = a.properties
	if a.amount != 0 {
		r.Resource.Properties = map[string]any{"amount": a.amount}
	}
	if a.tool != "" {
		r.Action.Properties = map[string]any{"tool": a.tool}
	}
	r.Context = c
	return r
}

// ask decides a request, fails the test unless it comes out as said, and returns
// the evaluation id.
func (s *story) ask(a asked, want aver.Outcome) string {
	s.t.Helper()
	v, err := aver.ParseJSON(a.request().AppendCanonical(nil), aver.Limits{})
	if err != nil {
		s.t.Fatal(err)
	}
	req, err := aver.ParseRequest(v)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Token = a.token
	q := pdp.NewQuery(req)
	if a.pep == aver.Self {
		q = pdp.NewAdministration(req)
	}
	s.now++
	d, evidence := pdp.Decide(s.st, q, s.now, s.used)
	if d.Outcome != want {
		s.t.Fatalf("%s %s %s: %s, want %s: %+v", a.subject, a.action, a.resource, d.Outcome, want, d.Reasons)
	}
	for _, c := range d.Counters {
		s.used[pdp.LimitKey{Grant: c.Grant, Name: c.Name}] = c.After
	}
	_, root := s.authority.Head()
	pep := a.pep
	if pep == "" {
		pep = "gateway"
		if s.now > start+50*day {
			pep = "gateway-2"
		}
	}
	r, disclosures, err := pdp.NewRecord(s.st, q, d, evidence, pdp.Circumstances{
		ID: s.id(), Time: s.now, Head: aver.TreeHead{Size: s.st.Size(), Root: root.String()}, PEP: aver.PEP{Credential: pep}, Random: s.random,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	e := ledger.Entry{Payload: r.AppendCanonical(nil)}
	if disclosures != nil {
		if e.Private, err = json.Marshal(disclosures); err != nil {
			s.t.Fatal(err)
		}
	}
	leaf := aver.NewLeaf(r.Kind, r.ID, r.Time, e.Payload)
	leaf.Outcome = &r.Decision.Outcome
	s.indexes[r.ID], _ = s.decisions.Head()
	s.append(s.decisions, leaf, e)
	return r.ID
}

// report records an activity of the gateway, as the activity point does.
func (s *story) report(evaluation string, status aver.ActivityStatus, change ...func(*aver.Activity)) {
	s.t.Helper()
	s.now++
	a := &aver.Activity{
		ID: s.id(), Kind: aver.KindActivity, Time: s.now, Semantics: aver.Semantics, PEP: aver.PEP{Credential: "gateway"},
		EvaluationID: evaluation, Status: status, Report: aver.Digest([]byte(evaluation)), Salt: strings.Repeat("A", 22),
	}
	if s.now > start+50*day {
		a.PEP.Credential = "gateway-2"
	}
	events, root := s.authority.Head()
	a.Authority = aver.TreeHead{Size: events, Root: root.String()}
	var decision ledger.Entry
	if index, known := s.indexes[evaluation]; known {
		a.Decision = &index
		var err error
		if decision, err = s.decisions.Entry(index); err != nil {
			s.t.Fatal(err)
		}
	}
	for _, f := range change {
		f(a)
	}
	if err := activity.Judge(s.history, decision, s.reports[evaluation], a); err != nil {
		s.t.Fatal(err)
	}
	s.reports[evaluation] = append(s.reports[evaluation], a)
	payload, err := a.Canonical()
	if err != nil {
		s.t.Fatal(err)
	}
	leaf := aver.NewLeaf(a.Kind, a.ID, a.Time, payload)
	leaf.Type = string(status)
	s.append(s.decisions, leaf, ledger.Entry{Payload: payload})
}

// carryOut asks, and reports that it was done.
func (s *story) carryOut(a asked) string {
	s.t.Helper()
	id := s.ask(a, aver.Permitted)
	s.report(id, aver.ActivityStarted)
	s.report(id, aver.ActivityCompleted)
	return id
}

// found reports what is found at the end.
func (s *story) found(t *gaps.Thresholds) *aver.GapReport {
	s.t.Helper()
	report, err := gaps.Find(context.Background(), s.authority, s.decisions, t, start+end*day)
	if err != nil {
		s.t.Fatal(err)
	}
	return report
}

// names are the rules and subjects of findings, "no-owner service_account::\"x\"".
func names(r *aver.GapReport) []string {
	out := []string{}
	for _, f := range r.Findings {
		out = append(out, f.Rule+" "+f.Subject.ID)
	}
	slices.Sort(out)
	return out
}

func ref(typ, id string) aver.Ref { return aver.Ref{Type: typ, ID: id} }

const policies = `
@id("people") permit (principal is user, action, resource);
@id("machines") permit (principal is service_account, action, resource);
@id("agents") permit (principal is ai_agent, action, resource);
@id("closed") @overridable("break_glass") forbid (principal, action == Action::"ledger.repair", resource);
@id("short") @overridable("temporary_access") forbid (principal, action == Action::"vault.open", resource);
@id("never") forbid (principal, action == Action::"never", resource);
@id("logged") @gate("restrict") @obligation("log") forbid (principal, action == Action::"customer.export", resource);
`

const bundleYAML = `
retain: [context.environment, context.workload, context.session, context.authentication, context.on_behalf_of, action.properties.tool]
exceptions:
  - {kind: break_glass, max: 96h, approvers: [leads], reviewers: [leads], review_within: 72h}
  - {kind: temporary_access, max: 720h, approvers: [leads], reviewers: [leads], review_within: 72h}
`

func (s *story) publish(b *policy.Bundle) {
	s.t.Helper()
	files := map[string]string{}
	for name, text := range b.Files() {
		files[name] = string(text)
	}
	s.event(aver.EventPolicyPublished, aver.PolicyPublished{Name: b.Name(), Digest: b.Digest(), Files: files})
	s.event(aver.EventPolicyActivated, aver.PolicyRef{Name: b.Name(), Digest: b.Digest()})
}

func (s *story) person(id string, groups ...string) {
	s.t.Helper()
	i := aver.Identity{Ref: ref("user", id), Kind: aver.HumanUser, Owner: "people-operations"}
	for _, g := range groups {
		i.Parents = append(i.Parents, ref("group", g))
	}
	s.event(aver.EventIdentityRegistered, i)
}

func (s *story) machine(r aver.Ref, change ...func(*aver.Identity)) {
	s.t.Helper()
	i := aver.Identity{Ref: r, Kind: aver.KindOfType(r.Type), Owner: "platform", Purpose: "works"}
	for _, f := range change {
		f(&i)
	}
	s.event(aver.EventIdentityRegistered, i)
}

func (s *story) credential(name string, role aver.Role, subject *aver.Ref) {
	s.t.Helper()
	s.event(aver.EventCredentialIssued, aver.Credential{Name: name, Role: role, Digest: aver.Digest([]byte(name)), Subject: subject})
}

func (s *story) grant(g aver.Grant, change ...func(*aver.Grant)) {
	s.t.Helper()
	if g.Purpose == "" {
		g.Purpose = "routine"
	}
	if g.Resources == nil {
		g.Resources = []aver.ResourceScope{{Type: "document"}}
	}
	for _, f := range change {
		f(&g)
	}
	s.event(aver.EventGrantIssued, g)
}

var (
	assistant = ref("ai_agent", "assistant")
	helper    = ref("ai_agent", "helper")
	sync      = ref("service_account", "crm-sync")
	document  = ref("document", "1")
)

// company tells the life of a company in which all is well: what is granted is
// used, what is used is granted, and everything is reported.
func company(s *story) {
	s.on(0, func() {
		s.publish(policy.Baseline())
		s.publish(policy.Administration())
		b, err := policy.Load(map[string][]byte{"main.cedar": []byte(policies), "bundle.yaml": []byte(bundleYAML)}, "company")
		if err != nil {
			s.t.Fatal(err)
		}
		s.publish(b)
		for _, p := range []string{"ann", "ben", "cleo"} {
			s.person(p)
		}
		for _, p := range []string{"lena", "max"} {
			s.person(p, "leads")
			r := ref("user", p)
			s.credential("of-"+p, aver.RoleApprover, &r)
		}
		s.machine(assistant)
		s.machine(helper)
		s.machine(sync, func(i *aver.Identity) { i.Owner = "cleo"; tools := []string{"crm"}; i.Tools = &tools })
		s.credential("admin", aver.RoleAdmin, nil)
		s.credential("gateway", aver.RolePEP, nil)
		s.grant(aver.Grant{ID: "g-ann", From: ref("user", "ann"), To: assistant, Actions: []string{"document.read", "document.write"}, Depth: 1, Limits: &aver.GrantLimits{Uses: 60}})
		s.grant(aver.Grant{ID: "g-helper", From: assistant, To: helper, Parent: "g-ann", Actions: []string{"document.read"}})
	})
	s.on(50, func() {
		s.credential("admin-2", aver.RoleAdmin, nil)
		s.credential("gateway-2", aver.RolePEP, nil)
		s.event(aver.EventCredentialRevoked, aver.CredentialRef{Name: "admin"}, "rotated")
		s.event(aver.EventCredentialRevoked, aver.CredentialRef{Name: "gateway"}, "rotated")
	})
	for _, d := range []float64{1, 31, 61, 93.5} {
		s.on(d, func() {
			from := map[string]any{"environment": "production", "session": fmt.Sprintf("s-%d", s.now)}
			s.carryOut(asked{subject: assistant, action: "document.read", resource: document, forUser: "ann", grants: []string{"g-ann"}, context: from})
			s.carryOut(asked{subject: assistant, action: "document.write", resource: document, forUser: "ann", grants: []string{"g-ann"}, context: from})
			s.carryOut(asked{subject: helper, action: "document.read", resource: document, forUser: "ann", grants: []string{"g-ann", "g-helper"}})
			s.carryOut(asked{subject: sync, action: "customer.copy", resource: ref("customer", "1"), tool: "crm",
				context: map[string]any{"workload": map[string]any{"id": "crm-1"}, "authentication": map[string]any{"amr": []any{"hwk"}, "credential_id": "key-7"}}})
			s.carryOut(asked{subject: ref("user", "ben"), action: "document.read", resource: document})
			s.event(aver.EventEntityPut, aver.Entity{Ref: ref("customer", "1")})
		})
	}
}

// tellOf tells stories of one world, each with a name of its own, and writes it.
func tellOf(s *story, stories ...func(*story)) {
	s.t.Helper()
	for n, f := range stories {
		story := &story{s.world, storyName(n)}
		story.on(0, func() { story.person(story.name + "dan") })
		f(story)
	}
	s.tell()
}

// storyName is what stands in front of what is particular to a story.
func storyName(n int) string { return fmt.Sprintf("s%d-", n) }

// dan is a person of the story.
func (s *story) dan() aver.Ref { return ref("user", s.name+"dan") }

// scene tells a company and what else happened, and writes it.
func scene(t testing.TB, more ...func(*story)) *story {
	t.Helper()
	s := newStory(t, ledgertest.NewMem())
	company(s)
	tellOf(s, more...)
	return s
}
