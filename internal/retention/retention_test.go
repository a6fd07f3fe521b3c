package retention_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/activity"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/ledger/disk"
	"github.com/aver-authz/aver/internal/ledger/ledgertest"
	"github.com/aver-authz/aver/internal/ledger/segment"
	"github.com/aver-authz/aver/internal/pap"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/policy"
	"github.com/aver-authz/aver/internal/retention"
)

// office is a decision log with its authority, on a clock of its own.
type office struct {
	t                    *testing.T
	dir                  string
	keys                 [2]ledger.Key
	now                  time.Time
	fs                   *ledgertest.Faulty
	authority, decisions *ledger.Log
	pap                  *pap.Point
	pdp                  *pdp.Point
	keeper               *retention.Keeper
	forget               func(context.Context, *authority.Erased) error
}

func newOffice(t *testing.T) *office {
	o := &office{t: t, dir: t.TempDir(), now: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)}
	for i, name := range []string{"example.com/authority", "example.com/decisions"} {
		key, err := ledger.LoadOrCreateKey(filepath.Join(o.dir, fmt.Sprint(i)), name)
		if err != nil {
			t.Fatal(err)
		}
		o.keys[i] = key
	}
	o.open()
	t.Cleanup(o.close)
	b, err := policy.Load(map[string][]byte{
		"bundle.yaml": []byte("sensitive: [resource.iban, resource.note]\n"),
		"p.cedar":     []byte(`permit (principal, action, resource) when { resource has iban && resource.iban != "" || resource has note };`),
	}, "test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.pap.Publish(t.Context(), aves(aver.Self), "", b); err != nil {
		t.Fatal(err)
	}
	o.do(aver.Self, "", aver.EventPolicyActivated, aver.PolicyRef{Name: "test", Digest: b.Digest()})
	for _, name := range []string{"ann", "bo"} {
		who := aver.Ref{Type: "user", ID: name}
		o.do(aver.Self, "", aver.EventCredentialIssued, aver.Credential{Name: name, Role: aver.RoleAdmin, Digest: aver.Digest([]byte(name)), Subject: &who})
	}
	return o
}

func aves(name string) pap.Administrator {
	if name == aver.Self {
		return pap.Administrator{By: aver.By{Name: name, Method: aver.MethodInternal}}
	}
	return pap.Administrator{By: aver.By{Name: name, Method: "bearer", Subject: aver.Ref{Type: "user", ID: name}}, Role: aver.RoleAdmin}
}

func (o *office) open() {
	o.t.Helper()
	o.fs = ledgertest.NewFaulty(disk.OS{})
	var err error
	log := func(i int, name string) *ledger.Log {
		var l *ledger.Log
		l, err = ledger.Open(filepath.Join(o.dir, name), ledger.Options{
			Origin: o.keys[i].Signer.Name(), Signer: o.keys[i].Signer, Verifier: o.keys[i].Verifier, FS: o.fs, CheckpointEvery: time.Hour,
		})
		if err != nil {
			o.t.Fatal(err)
		}
		return l
	}
	o.authority, o.decisions = log(0, "authority"), log(1, "decisions")
	clock := func() time.Time { return o.now }
	if o.pap, err = pap.Open(o.t.Context(), o.authority, pap.Options{Now: clock}); err != nil {
		o.t.Fatal(err)
	}
	o.pdp, err = pdp.Open(o.decisions, pdp.Options{Now: clock, State: o.current})
	if err != nil {
		o.t.Fatal(err)
	}
	o.keeper = retention.Start(retention.Options{
		Decisions: o.decisions, PAP: o.pap, Delay: time.Hour, Now: clock,
		Forget: func(ctx context.Context, e *authority.Erased) error {
			if o.forget != nil {
				return o.forget(ctx, e)
			}
			return nil
		},
	})
}

func (o *office) current() (*authority.State, aver.TreeHead) {
	c := o.pap.Current()
	return c.State, c.Head
}

func (o *office) close() {
	if o.keeper == nil {
		return
	}
	o.keeper.Close()
	o.keeper = nil
	if err := errors.Join(o.pap.Close(), o.decisions.Close(), o.authority.Close()); err != nil {
		o.t.Error(err)
	}
}

func (o *office) do(who, reason string, typ aver.EventType, data any) *pap.Change {
	o.t.Helper()
	change, err := o.pap.Do(o.t.Context(), aves(who), reason, typ, data)
	if err != nil {
		o.t.Fatalf("%s: %v", typ, err)
	}
	return change
}

// rule sets and approves a period for a class.
func (o *office) rule(class string, period time.Duration, actions ...string) {
	o.t.Helper()
	made := o.do("ann", "why", aver.EventRetentionSet, aver.RetentionRule{Class: class, Period: int64(period.Seconds()), Actions: actions})
	o.do("bo", "", aver.EventRetentionApproved, aver.RetentionApproval{Class: class, Proposed: made.Index})
}

func (o *office) erase(id string, kind aver.ErasureKind, scope aver.EvidenceScope) {
	o.t.Helper()
	o.do("ann", "Art. 17", aver.EventErasureRequested, aver.ErasureRequest{ID: id, Kind: kind, Scope: scope})
	o.do("bo", "", aver.EventErasureApproved, aver.ErasureRef{ID: id})
}

// decide records a decision and returns its index.
func (o *office) decide(subject, action, resource string, properties aver.Properties, grants ...any) uint64 {
	o.t.Helper()
	req := &aver.Request{
		Subject: aver.Party{Ref: aver.Ref{Type: "user", ID: subject}}, Action: aver.Action{Name: action},
		Resource: aver.Party{Ref: aver.Ref{Type: "customer", ID: resource}, Properties: properties},
	}
	if len(grants) > 0 {
		req.Context = map[string]any{"delegation": grants, "on_behalf_of": map[string]any{"type": "user", "id": "boss"}}
	}
	a, err := o.pdp.Decide(o.t.Context(), pdp.NewQuery(req), aver.PEP{Credential: "test"})
	if err != nil {
		o.t.Fatal(err)
	}
	o.now = o.now.Add(time.Second)
	return a.Receipt.Index
}

func (o *office) run() retention.Report {
	o.t.Helper()
	r, err := o.keeper.Run(o.t.Context())
	if err != nil {
		o.t.Fatal(err)
	}
	return r
}

// state says what is left of an entry: "whole", "payload" (without some disclosure) or "leaf".
func (o *office) left(index uint64) string {
	o.t.Helper()
	e, err := o.decisions.Entry(index)
	switch {
	case errors.Is(err, ledger.ErrErased):
		return "leaf"
	case err != nil:
		o.t.Fatal(err)
	}
	r, err := aver.ParseRecord(e.Payload)
	if err != nil {
		o.t.Fatal(err)
	}
	disclosures, err := pdp.ParseDisclosures(e.Private)
	if err != nil {
		o.t.Fatal(err)
	}
	_, missing, err := pdp.Disclose(r.Request, disclosures)
	switch {
	case err != nil:
		o.t.Fatal(err)
	case len(missing) > 0:
		return "payload"
	}
	return "whole"
}

func (o *office) check(want map[uint64]string) {
	o.t.Helper()
	st := o.pap.Current().State
	for index, left := range want {
		if got := o.left(index); got != left {
			o.t.Errorf("entry %d: %s is left, want %s", index, got, left)
		}
		if _, gone := st.PayloadErased(index); gone != (left == "leaf") {
			o.t.Errorf("entry %d: the state says gone: %v", index, gone)
		}
		if left == "payload" && len(st.DisclosuresErased(index)) == 0 {
			o.t.Errorf("entry %d: no event says that its disclosures were erased", index)
		}
	}
}

func iban(text string) aver.Properties { return aver.Properties{"iban": text} }

// Each class keeps its records for its own period; a hold stops what it covers, and only that (G7).
func TestExpiryAndHold(t *testing.T) {
	o := newOffice(t)
	o.rule("short", time.Hour, "list")
	o.rule("long", 48*time.Hour, "pay")
	list, pay := o.decide("carla", "list", "c-1", iban("1")), o.decide("carla", "pay", "c-1", iban("2"))
	held, other := o.decide("dora", "list", "c-2", iban("3")), o.decide("carla", "read", "c-1", iban("4"))
	o.do("ann", "case 7", aver.EventHoldPlaced, aver.LegalHold{ID: "h-1", Scope: aver.EvidenceScope{Subject: aver.Ref{Type: "user", ID: "dora"}}})
	if r := o.run(); r.Payloads != 0 || r.Held != 0 {
		t.Errorf("%+v", r)
	}
	o.now = o.now.Add(2 * time.Hour)
	if r := o.run(); r.Payloads != 1 || r.Held != 1 || len(r.Events) != 1 {
		t.Errorf("%+v", r)
	}
	o.check(map[uint64]string{list: "leaf", pay: "whole", held: "whole", other: "whole"})
	o.now = o.now.Add(48 * time.Hour)
	if r := o.run(); r.Payloads != 1 || r.Held != 1 {
		t.Errorf("%+v", r)
	}
	o.do("bo", "closed", aver.EventHoldReleased, aver.HoldRef{ID: "h-1"})
	if r := o.run(); r.Payloads != 1 || r.Held != 0 {
		t.Errorf("%+v", r)
	}
	o.check(map[uint64]string{list: "leaf", pay: "leaf", held: "leaf", other: "whole"})
	if r := o.run(); len(r.Events) != 0 {
		t.Errorf("there was something left: %+v", r)
	}
	for _, e := range o.pap.Current().State.ErasedEvidence() {
		if e.Completed == nil || e.Class == "" {
			t.Errorf("%+v", e)
		}
	}
	o.close()
	o.open()
	o.check(map[uint64]string{list: "leaf", pay: "leaf", held: "leaf", other: "whole"})
}

// report records an activity of a decision, as [activity.Point] does, and returns its index.
func (o *office) report(decision uint64) uint64 {
	o.t.Helper()
	e, err := o.decisions.Entry(decision)
	if err != nil {
		o.t.Fatal(err)
	}
	r, err := aver.ParseRecord(e.Payload)
	if err != nil {
		o.t.Fatal(err)
	}
	tracker, err := activity.Open(activity.Options{
		Decisions: o.decisions, History: activity.NewHistory(o.authority), State: func() *authority.State { return o.pap.Current().State },
		Now: func() time.Time { return o.now },
	})
	if err != nil {
		o.t.Fatal(err)
	}
	defer tracker.Close()
	if _, err := activity.NewPoint(o.pdp, tracker).Report(o.t.Context(), &aver.ActivityReport{EvaluationID: r.ID, Status: aver.ActivityCompleted}, r.PEP); err != nil {
		o.t.Fatal(err)
	}
	size, _ := o.decisions.Head()
	return size - 1
}

// To hold what a search finds one gives its ids: then what was reported of these decisions is held with them, and by the
// same ids it is erased with them.
func TestActivitiesGoWithTheDecisionsThatAreNamed(t *testing.T) {
	o := newOffice(t)
	first, second := o.decide("carla", "list", "c-1", iban("1")), o.decide("carla", "list", "c-1", iban("2"))
	reported, other := o.report(first), o.report(second)
	named := aver.EvidenceScope{IDs: []string{o.id(first)}}
	o.do("ann", "case 7", aver.EventHoldPlaced, aver.LegalHold{ID: "h-1", Scope: named})
	o.now = o.now.Add(time.Minute)
	o.erase("e-1", aver.ErasePayloads, aver.EvidenceScope{Subject: aver.Ref{Type: "user", ID: "carla"}})
	o.run()
	if got := o.gone(first, second, reported, other); !slices.Equal(got, []bool{false, true, false, true}) {
		t.Errorf("while the first is held, gone are %v", got)
	}
}

func TestActivitiesAreErasedWithTheDecisionsThatAreNamed(t *testing.T) {
	o := newOffice(t)
	first, second := o.decide("carla", "list", "c-1", iban("1")), o.decide("carla", "list", "c-1", iban("2"))
	reported, other := o.report(first), o.report(second)
	o.now = o.now.Add(time.Minute)
	o.erase("e-1", aver.ErasePayloads, aver.EvidenceScope{IDs: []string{o.id(first)}})
	o.run()
	if got := o.gone(first, second, reported, other); !slices.Equal(got, []bool{true, false, true, false}) {
		t.Errorf("gone are %v", got)
	}
}

// id is that of an entry.
func (o *office) id(index uint64) string {
	o.t.Helper()
	text, err := o.decisions.Leaf(index)
	if err != nil {
		o.t.Fatal(err)
	}
	leaf, err := aver.ParseLeaf(text)
	if err != nil {
		o.t.Fatal(err)
	}
	return leaf.ID
}

// gone tells of which entries the payload is not there.
func (o *office) gone(indexes ...uint64) (out []bool) {
	for _, index := range indexes {
		_, err := o.decisions.Entry(index)
		out = append(out, errors.Is(err, ledger.ErrErased))
	}
	return out
}

// Of a person's records all disclosures go, of others those that name the person; the records stay, and nothing of what
// went lies in any segment (D3).
func TestErasureOfASubject(t *testing.T) {
	o := newOffice(t)
	about := o.decide("carla", "read", "c-9", aver.Properties{"iban": "secret-one", "note": "x"})
	names := o.decide("carla", "read", "c-1", aver.Properties{"iban": "stays", "note": "c-9"})
	other := o.decide("carla", "read", "c-1", aver.Properties{"iban": "stays too"})
	o.erase("e-1", aver.EraseDisclosures, aver.EvidenceScope{Subject: aver.Ref{Type: "customer", ID: "c-9"}})
	later := o.decide("carla", "read", "c-9", iban("after the approval"))
	if r := o.run(); r.Disclosures != 2 || r.Payloads != 0 {
		t.Errorf("%+v", r)
	}
	o.check(map[uint64]string{about: "payload", names: "payload", other: "whole", later: "whole"})
	if e, _ := o.pap.Current().State.Erasure("e-1"); e.State() != "completed" {
		t.Errorf("the request is %s", e.State())
	}
	o.close()
	private := o.privateParts()
	for text, want := range map[string]bool{"secret-one": false, `"note","c-9"`: false, "stays": true, "stays too": true, "after the approval": true} {
		if bytes.Contains(private, []byte(text)) != want {
			t.Errorf("%q is in the files: %v", text, !want)
		}
	}
	o.open()
	o.check(map[uint64]string{about: "payload", names: "payload", other: "whole", later: "whole"})
}

// Decisions that are made at once can stand in the log in another order than that of their times: one from before the
// approval is erased though a younger one stands before it (D3).
func TestErasureBehindAYoungerDecision(t *testing.T) {
	o := newOffice(t)
	now := o.now
	state, head := o.current()
	slow, err := pdp.Open(o.decisions, pdp.Options{
		Now: func() time.Time { return now }, State: func() (*authority.State, aver.TreeHead) { return state, head },
	})
	if err != nil {
		t.Fatal(err)
	}
	o.now = o.now.Add(time.Second)
	o.erase("e-1", aver.EraseDisclosures, aver.EvidenceScope{Subject: aver.Ref{Type: "customer", ID: "c-9"}})
	younger := o.decide("carla", "read", "c-9", iban("after the approval"))
	quick := o.pdp
	o.pdp = slow
	older := o.decide("carla", "read", "c-9", iban("before the approval"))
	o.pdp = quick
	o.run()
	o.check(map[uint64]string{younger: "whole", older: "payload"})
}

// privateParts reads all disclosures that lie in any file of the decision log.
func (o *office) privateParts() []byte {
	var out []byte
	err := filepath.WalkDir(filepath.Join(o.dir, "decisions"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		out = append(out, text...)
		if filepath.Ext(path) != ".sealed" {
			return nil
		}
		r := bytes.NewReader(text)
		s, err := segment.OpenSealed(r, int64(len(text)))
		if err != nil {
			return err
		}
		for b := range s.Blocks() {
			entries, err := s.Entries(r, b)
			if err != nil {
				return err
			}
			for _, e := range entries {
				list, err := pdp.ParseDisclosures(e.Private)
				if err != nil {
					return err
				}
				for _, d := range list {
					plain, err := base64.RawURLEncoding.DecodeString(d)
					if err != nil {
						return err
					}
					out = append(out, plain...)
				}
			}
		}
		return nil
	})
	if err != nil {
		o.t.Fatal(err)
	}
	return out
}

// What was interrupted after its event is finished at the next start, wherever it was interrupted: never half, and nothing
// else is lost (G7).
func TestInterruptedErasureIsFinished(t *testing.T) {
	for name, interrupt := range map[string]func(*office){
		"writing the new segment": func(o *office) { inject(o, "write of .e1.sealed before EIO") },
		"giving it its name":      func(o *office) { inject(o, "rename of .e1.sealed before EIO") },
		"after it has its name":   func(o *office) { inject(o, "rename of .e1.sealed after EIO") },
		"removing the old one":    func(o *office) { inject(o, "remove of .sealed before EIO") },
		"forgetting in the index": func(o *office) { o.forget = func(context.Context, *authority.Erased) error { return errors.New("no") } },
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			gone, kept := o.decide("carla", "read", "c-1", iban("1")), o.decide("dora", "read", "c-1", iban("2"))
			o.close()
			o.open() // so that what is erased is in a sealed segment
			interrupt(o)
			o.erase("e-1", aver.ErasePayloads, aver.EvidenceScope{Subject: aver.Ref{Type: "user", ID: "carla"}})
			if _, err := o.keeper.Run(t.Context()); err == nil {
				t.Fatal("it was not interrupted")
			}
			all := o.pap.Current().State.ErasedEvidence()
			if len(all) != 1 || all[0].Completed != nil {
				t.Fatalf("events: %+v", all)
			}
			o.forget = nil
			o.keeper.Close()
			o.keeper = nil
			if err := errors.Join(o.pap.Close(), o.decisions.Close(), o.authority.Close()); err != nil {
				t.Log(err) // the disk fails still
			}
			o.open() // begins with what is unfinished, at once
			o.run()
			o.check(map[uint64]string{gone: "leaf", kept: "whole"})
			st := o.pap.Current().State
			if all := st.ErasedEvidence(); len(all) != 1 || all[0].Completed == nil {
				t.Errorf("events: %+v", all)
			}
			if e, _ := st.Erasure("e-1"); e.State() != "completed" {
				t.Errorf("the request is %s", e.State())
			}
		})
	}
}

func inject(o *office, fault string) {
	o.t.Helper()
	if err := o.fs.Inject(fault); err != nil {
		o.t.Fatal(err)
	}
}

// A limit that was used up stays so when the records that say so are gone, and so is the cache.
func TestLimitsStayUsed(t *testing.T) {
	o := newOffice(t)
	o.do(aver.Self, "", aver.EventGrantIssued, aver.Grant{
		ID: "g-1", From: aver.Ref{Type: "user", ID: "boss"}, To: aver.Ref{Type: "user", ID: "carla"},
		Actions: []string{"*"}, Resources: []aver.ResourceScope{{Type: "*"}}, Limits: &aver.GrantLimits{Uses: 2},
	})
	first := o.decide("carla", "read", "c-1", iban("1"), "g-1")
	second := o.decide("carla", "read", "c-1", iban("1"), "g-1")
	o.rule("standard", time.Minute)
	o.now = o.now.Add(time.Hour)
	if r := o.run(); r.Payloads != 2 {
		t.Fatalf("%+v", r)
	}
	o.check(map[uint64]string{first: "leaf", second: "leaf"})
	o.close()
	o.open() // without a file of the usage: it follows from the logs
	third := o.decide("carla", "read", "c-1", iban("1"), "g-1")
	e, err := o.decisions.Entry(third)
	if err != nil {
		t.Fatal(err)
	}
	r, err := aver.ParseRecord(e.Payload)
	if err != nil {
		t.Fatal(err)
	}
	if r.Decision.Outcome != aver.Denied || len(r.Decision.Counters) != 1 || r.Decision.Counters[0].Before != 2 {
		t.Errorf("%s, %+v", r.Decision.Outcome, r.Decision.Counters)
	}
}
