package pap_test

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pap"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/policy"
)

// office is an authority log whose changes are decided, and the log of those decisions.
type office struct {
	t         *testing.T
	point     *pap.Point
	decisions *ledger.Log
}

func newOffice(t *testing.T) *office {
	t.Helper()
	point, _, _ := newPlace(t).open(t)
	key, err := ledger.LoadOrCreateKey(filepath.Join(t.TempDir(), "key"), "example.com/aver/decisions")
	if err != nil {
		t.Fatal(err)
	}
	decisions, err := ledger.Open(filepath.Join(t.TempDir(), "decisions"), ledger.Options{
		Origin: "example.com/aver/decisions", Signer: key.Signer, Verifier: key.Verifier,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { decisions.Close() })
	d, err := pdp.Open(decisions, pdp.Options{State: func() (*authority.State, aver.TreeHead) {
		c := point.Current()
		return c.State, c.Head
	}})
	if err != nil {
		t.Fatal(err)
	}
	point.Govern(d)
	o := &office{t, point, decisions}
	o.credential("root", aver.RoleAdmin, aver.Ref{})
	return o
}

// credential issues a credential as Aver itself, which needs no decision.
func (o *office) credential(name string, role aver.Role, subject aver.Ref) pap.Administrator {
	o.t.Helper()
	c := aver.Credential{Name: name, Role: role}
	if !subject.IsZero() {
		c.Subject = &subject
	}
	if _, _, err := o.point.IssueCredential(o.t.Context(), internal, "", c); err != nil {
		o.t.Fatal(err)
	}
	return pap.Administrator{By: aver.By{Name: name, Method: "bearer", Subject: subject}, Role: role}
}

var internal = pap.Administrator{By: aver.By{Name: aver.Self, Method: aver.MethodInternal}}

func (o *office) do(who pap.Administrator, typ aver.EventType, data any) (*pap.Change, error) {
	return o.point.Do(o.t.Context(), who, "", typ, data)
}

func (o *office) must(who pap.Administrator, typ aver.EventType, data any) *pap.Change {
	o.t.Helper()
	change, err := o.do(who, typ, data)
	if err != nil {
		o.t.Fatalf("%s: %v", typ, err)
	}
	return change
}

// denied checks that a change is denied by a policy, recorded, and not made.
func (o *office) denied(who pap.Administrator, typ aver.EventType, data any, by string) {
	o.t.Helper()
	before, _ := o.decisions.Head()
	size := o.point.Current().State.Size()
	change, err := o.do(who, typ, data)
	var denied *pap.DeniedError
	if change != nil || !errors.As(err, &denied) {
		o.t.Fatalf("%s by %s is not denied: %v, %v", typ, who.Name, change, err)
	}
	ids := []string{}
	for _, r := range denied.Answer.Reasons {
		ids = append(ids, r.Policy)
	}
	if by == "" && denied.Answer.Reasons[0].Code != aver.ReasonNotPermitted || by != "" && !slices.Contains(ids, policy.AdministrationName+"/"+by) {
		o.t.Errorf("%s by %s is denied for %v, not by %q", typ, who.Name, denied.Answer.Reasons, by)
	}
	if r := o.record(before); r.ID != denied.Answer.EvaluationID || r.Decision.Outcome != aver.Denied {
		o.t.Errorf("the record of %s is of %s, %s", typ, r.ID, r.Decision.Outcome)
	}
	if now := o.point.Current().State.Size(); now != size {
		o.t.Errorf("%s was denied and there are %d events more", typ, now-size)
	}
}

func (o *office) record(index uint64) *aver.Record {
	o.t.Helper()
	e, err := o.decisions.Entry(index)
	if err != nil {
		o.t.Fatal(err)
	}
	r, err := aver.ParseRecord(e.Payload)
	if err != nil {
		o.t.Fatal(err)
	}
	return r
}

func (o *office) bundle(name, cedar string) aver.PolicyRef {
	o.t.Helper()
	b, err := policy.Load(map[string][]byte{"p.cedar": []byte(cedar)}, name)
	if err != nil {
		o.t.Fatal(err)
	}
	return aver.PolicyRef{Name: name, Digest: b.Digest()}
}

func (o *office) publish(who pap.Administrator, name, cedar string) aver.PolicyRef {
	o.t.Helper()
	b, err := policy.Load(map[string][]byte{"p.cedar": []byte(cedar)}, name)
	if err != nil {
		o.t.Fatal(err)
	}
	if _, err := o.point.Publish(o.t.Context(), who, "", b); err != nil {
		o.t.Fatal(err)
	}
	return aver.PolicyRef{Name: name, Digest: b.Digest()}
}

const anything = "permit (principal, action, resource);"

func TestChangeIsDecidedAtTheStateThatItFollows(t *testing.T) {
	o := newOffice(t)
	lena := aver.Ref{Type: "user", ID: "lena"}
	who := o.credential("lena", aver.RoleAdmin, lena)
	for i, typ := range []aver.EventType{aver.EventEntityPut, aver.EventEntityRemoved} {
		change := o.must(who, typ, doc("1").Ref)
		r := o.record(uint64(i))
		switch {
		case change.Event.Decision != r.ID:
			t.Errorf("the event names decision %q, the record is %s", change.Event.Decision, r.ID)
		case r.Authority.Size != change.Index:
			t.Errorf("event %d was decided at size %d", change.Index, r.Authority.Size)
		case r.PEP != (aver.PEP{Credential: aver.Self}) || r.Decision.Outcome != aver.Permitted:
			t.Errorf("record %+v", r)
		}
		req, err := aver.ParseRequest(mustJSON(t, r.Request))
		if err != nil {
			t.Fatal(err)
		}
		want := map[aver.EventType]string{aver.EventEntityPut: "entity.put", aver.EventEntityRemoved: "entity.remove"}[typ]
		if req.Subject.Ref != lena || req.Action.Name != want || req.Resource.Ref != (aver.Ref{Type: "Aver::Entity", ID: `doc::"1"`}) {
			t.Errorf("asked: %s", r.Request)
		}
		for _, kept := range []string{`"administrators":2`, `"role":"admin"`, `"credential":"lena"`, `"method":"bearer"`} {
			if !strings.Contains(string(r.Request), kept) {
				t.Errorf("the record does not keep %s: %s", kept, r.Request)
			}
		}
	}
}

func mustJSON(t *testing.T, text []byte) any {
	t.Helper()
	v, err := aver.ParseJSON(text, aver.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestRolesMayDoNoMoreThanTheirs(t *testing.T) {
	o := newOffice(t)
	for _, role := range []aver.Role{aver.RolePEP, aver.RoleAuditor, aver.RoleApprover} {
		o.denied(o.credential(string(role), role, aver.Ref{Type: "user", ID: string(role)}), aver.EventEntityPut, doc("1"), "")
	}
}

// Permits of other bundles do not reach the administration, nor those of administration other decisions.
func TestAdministrationIsDecidedByItsBundleAlone(t *testing.T) {
	o := newOffice(t)
	o.must(root, aver.EventPolicyActivated, o.publish(root, "wide", anything))
	o.denied(o.credential("gateway", aver.RolePEP, aver.Ref{}), aver.EventEntityPut, doc("1"), "")
	o.must(root, aver.EventPolicyRetired, o.bundle("wide", anything))

	req := &aver.Request{
		Subject: aver.Party{Ref: aver.Ref{Type: "credential", ID: "root"}}, Action: aver.Action{Name: "policy.activate"},
		Resource: aver.Party{Ref: aver.Ref{Type: "policy", ID: "wide"}},
		Context:  map[string]any{"administration": map[string]any{"role": "admin", "administrators": int64(1)}},
	}
	st := o.point.Current().State
	if d, _ := pdp.Decide(st, pdp.NewQuery(req), st.Time(), nil); d.Outcome != aver.Denied {
		t.Errorf("a permit of the administration bundle made an ordinary request %s", d.Outcome)
	}
	req.Resource.Type = "Aver::Policy"
	if err := pdp.NewQuery(req).Err(); err == nil || !strings.Contains(err.Error(), "/resource/type: is reserved") {
		t.Errorf("a PEP may ask about administration: %v", err)
	}
	req.Resource.Type, req.Subject.Type = "policy", "Aver::Policy"
	if err := pdp.NewQuery(req).Err(); err == nil || !strings.Contains(err.Error(), "/subject/type: is reserved") {
		t.Errorf("a PEP may ask as what is administered: %v", err)
	}
}

// Break-glass is for what people do, not for what Aver decides from.
func TestExceptionsDoNotReachAdministration(t *testing.T) {
	o := newOffice(t)
	eve, lena := aver.Ref{Type: "user", ID: "eve"}, aver.Ref{Type: "user", ID: "lena"}
	leads := []aver.Ref{{Type: "group", ID: "leads"}}
	o.must(root, aver.EventIdentityRegistered, aver.Identity{Ref: eve, Kind: aver.HumanUser})
	o.must(root, aver.EventIdentityRegistered, aver.Identity{Ref: lena, Kind: aver.HumanUser, Parents: leads})
	b, err := policy.Load(map[string][]byte{"bundle.yaml": []byte(`exceptions:
  - kind: break_glass
    max: 2h
    approvers: [leads]
    reviewers: [audit]
    review_within: 72h
`), "p.cedar": []byte(`forbid (principal, action, resource) when { resource has frozen };`)}, "p")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.point.Publish(t.Context(), root, "", b); err != nil {
		t.Fatal(err)
	}
	o.must(root, aver.EventPolicyActivated, aver.PolicyRef{Name: "p", Digest: b.Digest()})
	o.must(root, aver.EventExceptionRequested, aver.ExceptionRequest{
		ID: "x-1", Kind: aver.BreakGlass, Subject: eve, Actions: []string{"entity.put"}, Resources: []aver.ResourceScope{{Type: "*"}},
		Justification: "INC-7", IdentityConfirmed: "by telephone", Approver: lena, Duration: 600,
	})
	o.must(root, aver.EventExceptionActivated, aver.ExceptionRef{ID: "x-1"})
	st := o.point.Current().State
	req := &aver.Request{Subject: aver.Party{Ref: eve}, Action: aver.Action{Name: "entity.put"}, Resource: aver.Party{Ref: doc("1").Ref}}
	if d, _ := pdp.Decide(st, pdp.NewQuery(req), st.Time(), nil); d.Outcome != aver.Permitted {
		t.Fatalf("the exception covers nothing: %+v", d)
	}
	o.denied(o.credential("eve", aver.RolePEP, eve), aver.EventEntityPut, doc("1"), "")
}

func TestNothingIsRegisteredUnderReservedTypes(t *testing.T) {
	o := newOffice(t)
	ref := aver.Ref{Type: "Aver::Policy", ID: "payments"}
	for typ, data := range map[aver.EventType]any{
		aver.EventEntityPut:          aver.Entity{Ref: ref},
		aver.EventIdentityRegistered: aver.Identity{Ref: ref, Kind: aver.HumanUser},
		aver.EventCredentialIssued:   aver.Credential{Name: "x", Role: aver.RolePEP, Digest: strings.Repeat("a", 43), Subject: &ref},
	} {
		var refused *pap.RefusedError
		if _, err := o.do(root, typ, data); !errors.As(err, &refused) || !strings.Contains(err.Error(), "is reserved") {
			t.Errorf("%s: %v", typ, err)
		}
	}
}

func TestAuthorActivatesOnlyWhereThereIsNobodyElse(t *testing.T) {
	o := newOffice(t)
	o.must(root, aver.EventPolicyActivated, o.publish(root, "alone", anything)) // a fresh installation

	again := o.credential("again", aver.RoleAdmin, aver.Ref{Type: "credential", ID: "root"}) // the same principal
	o.must(again, aver.EventPolicyActivated, o.publish(again, "same", anything))

	lena := o.credential("lena", aver.RoleAdmin, aver.Ref{Type: "user", ID: "lena"})
	ref := o.publish(root, "payments", anything)
	o.denied(root, aver.EventPolicyActivated, ref, "author-does-not-activate")
	o.denied(again, aver.EventPolicyActivated, ref, "author-does-not-activate")
	o.must(lena, aver.EventPolicyActivated, ref)

	// Whoever is on duty may go back to what was in force before.
	o.must(root, aver.EventPolicyRetired, ref)
	o.must(root, aver.EventPolicyActivated, ref)

	// Where the other is gone, there is one administrator again.
	o.must(root, aver.EventCredentialRevoked, aver.CredentialRef{Name: "lena"})
	o.must(root, aver.EventPolicyActivated, o.publish(root, "alone-again", anything))
	if _, err := o.do(lena, aver.EventEntityPut, doc("1")); !errors.Is(err, pap.ErrBadToken) {
		t.Errorf("a revoked credential makes a change: %v", err)
	}
}

func TestGrantIsRevokedByThoseItNames(t *testing.T) {
	o := newOffice(t)
	user := func(id string) aver.Ref { return aver.Ref{Type: "user", ID: id} }
	team := aver.Ref{Type: "team", ID: "desk"}
	o.must(root, aver.EventIdentityRegistered, aver.Identity{Ref: user("max"), Kind: aver.HumanUser, Parents: []aver.Ref{team}})
	issue := func(id string) {
		o.must(root, aver.EventGrantIssued, aver.Grant{
			ID: id, From: user("ann"), To: aver.Ref{Type: "ai_agent", ID: "bot"}, Actions: []string{"read"},
			Resources: []aver.ResourceScope{{Type: "doc"}}, Revokers: []aver.Ref{user("tom"), team},
		})
	}
	issue("g-kept")
	for _, other := range []pap.Administrator{
		o.credential("eve", aver.RolePEP, user("eve")), o.credential("gateway", aver.RolePEP, aver.Ref{}),
		o.credential("bot", aver.RolePEP, aver.Ref{Type: "ai_agent", ID: "bot"}),
	} {
		o.denied(other, aver.EventGrantRevoked, aver.GrantRef{ID: "g-kept"}, "")
	}
	for i, who := range []pap.Administrator{
		root, o.credential("ann", aver.RolePEP, user("ann")), o.credential("tom", aver.RoleApprover, user("tom")),
		o.credential("max", aver.RolePEP, user("max")),
	} {
		id := "g-" + who.Name
		issue(id)
		if change := o.must(who, aver.EventGrantRevoked, aver.GrantRef{ID: id}); change.Event.By.Name != who.Name {
			t.Errorf("%d: by %v", i, change.Event.By)
		}
	}
}

func TestSuspendedAdministratorChangesNothing(t *testing.T) {
	o := newOffice(t)
	lena := aver.Ref{Type: "user", ID: "lena"}
	who := o.credential("lena", aver.RoleAdmin, lena)
	o.must(root, aver.EventIdentityRegistered, aver.Identity{Ref: lena, Kind: aver.HumanUser})
	o.must(who, aver.EventEntityPut, doc("1"))
	o.must(root, aver.EventIdentitySuspended, lena)
	o.denied(who, aver.EventEntityPut, doc("2"), "suspended-or-retired")
	o.must(root, aver.EventPolicyActivated, o.publish(root, "p", anything)) // who is suspended is no other administrator
}

func TestLastOwnerIsNotLockedOut(t *testing.T) {
	o := newOffice(t)
	lena := aver.Ref{Type: "user", ID: "lena"}
	other := o.credential("lena", aver.RoleAdmin, lena)
	o.must(root, aver.EventIdentityRegistered, aver.Identity{Ref: lena, Kind: aver.HumanUser})
	refused := func(typ aver.EventType, data any) {
		t.Helper()
		size := o.point.Current().State.Size()
		var refused *pap.RefusedError
		if _, err := o.do(root, typ, data); !errors.As(err, &refused) || !strings.Contains(err.Error(), "aver admin recover") {
			t.Errorf("%s %v: %v", typ, data, err)
		}
		if now := o.point.Current().State.Size(); now != size {
			t.Errorf("%s was refused and made", typ)
		}
	}
	shippedBundle := policy.Administration()
	refused(aver.EventPolicyRetired, aver.PolicyRef{Name: shippedBundle.Name(), Digest: shippedBundle.Digest()})
	for _, locked := range []string{
		`permit (principal, action, resource) when { context.administration.role == "owner" };`,
		`permit (principal, action == Action::"policy.publish", resource);`, // nobody activates
		anything + ` forbid (principal, action == Action::"policy.activate", resource) when { resource.administration };`,
		anything + ` forbid (principal, action, resource) when { resource.no_such_attribute };`, // an error denies
	} {
		refused(aver.EventPolicyActivated, o.publish(root, policy.AdministrationName, locked))
	}
	// Only lena may from now on, so what takes her away is refused.
	o.must(other, aver.EventPolicyActivated, o.publish(root, policy.AdministrationName,
		anything+` forbid (principal, action in [Action::"policy.activate", Action::"policy.publish"], resource) when { principal != user::"lena" };
		forbid (principal, action, resource) when { context.aver.actor.status == "suspended" };`))
	refused(aver.EventCredentialRevoked, aver.CredentialRef{Name: "lena"})
	refused(aver.EventIdentitySuspended, lena)
	o.must(root, aver.EventCredentialRevoked, aver.CredentialRef{Name: "root"})
	// Nor by a time that comes later; of somebody else it is fine.
	refused = func(typ aver.EventType, data any) {
		t.Helper()
		var refused *pap.RefusedError
		if _, err := o.do(other, typ, data); !errors.As(err, &refused) || !strings.Contains(err.Error(), "aver admin recover") {
			t.Errorf("%s %v: %v", typ, data, err)
		}
	}
	later := aver.TimeOf(time.Now().Add(1000 * time.Hour))
	refused(aver.EventIdentityUpdated, aver.Identity{Ref: lena, Kind: aver.HumanUser, Expires: later})
	o.must(other, aver.EventIdentityRegistered, aver.Identity{Ref: aver.Ref{Type: "user", ID: "bob"}, Kind: aver.HumanUser, Expires: later})
}

func TestLastAdministratorsCredentialIsNotRevoked(t *testing.T) {
	o := newOffice(t)
	var refused *pap.RefusedError
	if _, err := o.do(root, aver.EventCredentialRevoked, aver.CredentialRef{Name: "root"}); !errors.As(err, &refused) {
		t.Fatalf("the last administrator is gone: %v", err)
	}
	o.credential("second", aver.RoleAdmin, aver.Ref{})
	o.must(root, aver.EventCredentialRevoked, aver.CredentialRef{Name: "root"})
}
