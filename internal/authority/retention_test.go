package authority_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
)

// keeper applies events of people and of Aver itself.
type keeper struct {
	t  *testing.T
	st *authority.State
}

func newKeeper(t *testing.T) *keeper {
	k := &keeper{t, authority.New()}
	for _, name := range []string{"ann", "bo"} {
		who := aver.Ref{Type: "user", ID: name}
		k.must(aver.By{Name: aver.Self, Method: aver.MethodInternal}, "", aver.EventCredentialIssued,
			aver.Credential{Name: name, Role: aver.RoleAdmin, Digest: aver.Digest([]byte(name)), Subject: &who})
	}
	return k
}

func byPerson(name string) aver.By {
	return aver.By{Name: name, Method: "bearer", Subject: aver.Ref{Type: "user", ID: name}}
}

var (
	byAver    = aver.By{Name: aver.Self, Method: aver.MethodInternal}
	byProgram = aver.By{Name: "ci", Method: "bearer"}
)

func (k *keeper) try(by aver.By, reason string, typ aver.EventType, data any) error {
	k.t.Helper()
	e, err := aver.NewEvent(typ, data)
	if err != nil {
		k.t.Fatal(err)
	}
	e.ID, e.Time, e.By, e.Reason = "0193a1b2-0000-7000-8000-000000000001", 1_800_000_000_000, by, reason
	e.Salt = "cmFuZG9tIGJ5dGVzOiAyMQ"
	next, err := k.st.Apply(&e)
	if err == nil {
		k.st = next
	}
	return err
}

func (k *keeper) must(by aver.By, reason string, typ aver.EventType, data any) {
	k.t.Helper()
	if err := k.try(by, reason, typ, data); err != nil {
		k.t.Fatal(err)
	}
}

// chosen is data of an erasure that was chosen just now.
func (k *keeper) chosen(e aver.ErasedEvidence) aver.ErasedEvidence {
	e.Authority = k.st.Size()
	return e
}

func (k *keeper) refused(by aver.By, reason string, typ aver.EventType, data any, want string) {
	k.t.Helper()
	if err := k.try(by, reason, typ, data); err == nil || !strings.Contains(err.Error(), want) {
		k.t.Errorf("%s by %s: %v, want %q", typ, by.Name, err, want)
	}
}

func erased(id, class, erasure string, ranges ...aver.IndexRange) aver.ErasedEvidence {
	e := aver.ErasedEvidence{ID: id, Class: class, Erasure: erasure, Log: "example.com/decisions", Ranges: ranges, Digest: aver.Digest(nil)}
	for _, r := range ranges {
		e.Count += r.End - r.From
	}
	return e
}

// It takes two persons to erase evidence, or to let it expire, and never the same (G7). The rules of the log itself say
// so, whatever the policies of administration are.
func TestErasingTakesTwoPersons(t *testing.T) {
	k := newKeeper(t)
	rule := aver.RetentionRule{Class: "payments", Period: 3600, Actions: []string{"payment.*"}}
	k.refused(byProgram, "why", aver.EventRetentionSet, rule, "ci is no person")
	k.refused(byPerson("ann"), "", aver.EventRetentionSet, rule, "a reason is needed")
	k.must(byPerson("ann"), "why", aver.EventRetentionSet, rule)
	approval := aver.RetentionApproval{Class: "payments", Proposed: k.st.Size() - 1}
	k.refused(byPerson("ann"), "", aver.EventRetentionApproved, approval, "somebody else has to approve it")
	k.refused(byProgram, "", aver.EventRetentionApproved, approval, "ci is no person")
	k.refused(aver.By{Name: "ann", Method: "bearer", Subject: aver.Ref{Type: "user", ID: "bo"}}, "", aver.EventRetentionApproved, approval, "not that of")
	k.refused(byPerson("bo"), "", aver.EventRetentionApproved, aver.RetentionApproval{Class: "payments", Proposed: 0}, "was replaced by event")
	if k.st.RetentionPeriod("payments") != 0 || k.st.RetentionClassOf("payment.approve") != "" {
		t.Error("a rule that nobody approved is in force")
	}
	k.refused(byAver, "", aver.EventPayloadErased, k.chosen(erased("er-0", "payments", "", aver.IndexRange{From: 0, End: 1})), "kept for ever")
	k.must(byPerson("bo"), "", aver.EventRetentionApproved, approval)
	if k.st.RetentionPeriod("payments") != 3600 || k.st.RetentionClassOf("payment.approve") != "payments" || k.st.RetentionClassOf("read") != "" {
		t.Error("the rule that was approved is not in force")
	}

	request := aver.ErasureRequest{ID: "e-1", Kind: aver.ErasePayloads, Scope: aver.EvidenceScope{Class: "payments"}}
	k.refused(byProgram, "why", aver.EventErasureRequested, request, "ci is no person")
	k.must(byPerson("ann"), "why", aver.EventErasureRequested, request)
	k.refused(byAver, "", aver.EventPayloadErased, k.chosen(erased("er-1", "", "e-1", aver.IndexRange{From: 0, End: 1})), "no such erasure")
	k.refused(byPerson("ann"), "", aver.EventErasureApproved, aver.ErasureRef{ID: "e-1"}, "somebody else has to approve it")
	k.must(byPerson("bo"), "", aver.EventErasureApproved, aver.ErasureRef{ID: "e-1"})
	k.refused(byPerson("bo"), "why", aver.EventErasureRefused, aver.ErasureRef{ID: "e-1"}, "approved already")
	k.refused(byPerson("ann"), "", aver.EventPayloadErased, k.chosen(erased("er-1", "", "e-1", aver.IndexRange{From: 0, End: 1})), "only Aver itself")
	k.must(byAver, "", aver.EventPayloadErased, k.chosen(erased("er-1", "", "e-1", aver.IndexRange{From: 0, End: 1})))
}

// Who makes a credential for somebody else is not two persons, whatever stands between (G7).
func TestTheSecondPersonIsNotOfTheFirstOnesMaking(t *testing.T) {
	k := newKeeper(t)
	issue := func(by aver.By, name, person string) aver.By {
		c := aver.Credential{Name: name, Role: aver.RoleAdmin, Digest: aver.Digest([]byte(name))}
		if person != "" {
			c.Subject = &aver.Ref{Type: "user", ID: person}
		}
		k.must(by, "", aver.EventCredentialIssued, c)
		out := aver.By{Name: name, Method: "bearer"}
		if person != "" {
			out.Subject = *c.Subject
		}
		return out
	}
	puppet := issue(byPerson("ann"), "cleo-of-ann", "cleo")
	robot := issue(byPerson("ann"), "robot", "")
	deeper := issue(robot, "cleo-of-robot", "cleo")
	good := issue(byPerson("bo"), "cleo-of-bo", "cleo")
	k.must(byPerson("ann"), "why", aver.EventErasureRequested, aver.ErasureRequest{ID: "e-1", Kind: aver.ErasePayloads, Scope: aver.EvidenceScope{Class: "payments"}})
	for _, by := range []aver.By{puppet, deeper} {
		k.refused(by, "", aver.EventErasureApproved, aver.ErasureRef{ID: "e-1"}, `made the credential "`+by.Name+`"`)
	}
	k.must(good, "", aver.EventErasureApproved, aver.ErasureRef{ID: "e-1"})
}

func TestWhatIsErasedIsFoundByIndex(t *testing.T) {
	k := newKeeper(t)
	k.must(byPerson("ann"), "why", aver.EventRetentionSet, aver.RetentionRule{Class: "standard", Period: 1})
	k.must(byPerson("bo"), "", aver.EventRetentionApproved, aver.RetentionApproval{Class: "standard", Proposed: k.st.Size() - 1})
	k.must(byPerson("ann"), "Art. 17", aver.EventErasureRequested, aver.ErasureRequest{
		ID: "e-1", Kind: aver.EraseDisclosures, Scope: aver.EvidenceScope{Subject: aver.Ref{Type: "customer", ID: "c"}},
	})
	k.must(byPerson("bo"), "", aver.EventErasureApproved, aver.ErasureRef{ID: "e-1"})
	first := erased("er-1", "standard", "", aver.IndexRange{From: 10, End: 20}, aver.IndexRange{From: 30, End: 31})
	first.Counters = []aver.Counter{{Grant: "g", Name: "uses", Before: 6, After: 7, Max: 9}}
	k.must(byAver, "", aver.EventPayloadErased, k.chosen(first))
	second := erased("er-2", "standard", "", aver.IndexRange{From: 20, End: 30})
	second.Counters = []aver.Counter{{Grant: "g", Name: "uses", Before: 4, After: 5, Max: 9}}
	k.must(byAver, "", aver.EventPayloadErased, k.chosen(second))
	k.must(byAver, "", aver.EventDisclosureErased, k.chosen(erased("er-3", "", "e-1", aver.IndexRange{From: 5, End: 12})))
	k.refused(byAver, "", aver.EventErasureCompleted, aver.ErasedRef{Erasure: "e-1"}, "is not completed")
	k.must(byAver, "", aver.EventErasureCompleted, aver.ErasedRef{ID: "er-1"})
	k.refused(byAver, "", aver.EventErasureCompleted, aver.ErasedRef{ID: "er-1"}, "completed already")
	for _, r := range []aver.IndexRange{{From: 0, End: 11}, {From: 19, End: 20}, {From: 30, End: 40}, {From: 12, End: 13}} {
		k.refused(byAver, "", aver.EventPayloadErased, k.chosen(erased("er-4", "standard", "", r)), "were erased before")
	}

	var buffer bytes.Buffer
	if err := k.st.WriteSnapshot(&buffer, "root"); err != nil {
		t.Fatal(err)
	}
	restored, _, err := authority.ReadSnapshot(&buffer)
	if err != nil {
		t.Fatal(err)
	}
	if restored.Digest() != k.st.Digest() {
		t.Error("the state that a snapshot brings back is another one")
	}
	for name, st := range map[string]*authority.State{"folded": k.st, "restored": restored} {
		for index, want := range map[uint64]string{0: "", 9: "", 10: "er-1", 19: "er-1", 20: "er-2", 29: "er-2", 30: "er-1", 31: "", 1000: ""} {
			e, ok := st.PayloadErased(index)
			if ok != (want != "") || ok && e.ID != want {
				t.Errorf("%s: payload %d: %v", name, index, ok)
			}
		}
		if got := st.DisclosuresErased(11); len(got) != 1 || got[0].ID != "er-3" || len(st.DisclosuresErased(12)) != 0 {
			t.Errorf("%s: disclosures of 11: %v", name, got)
		}
		if c := st.ErasedCounters(); len(c) != 1 || c[0].After != 7 {
			t.Errorf("%s: counters %v", name, c)
		}
		if all := st.ErasedEvidence(); len(all) != 3 || all[0].Completed == nil || all[1].Completed != nil {
			t.Errorf("%s: %v", name, all)
		}
	}
}

// The class that keeps a record longest wins, for ever above all; of equals the first by name.
func TestRetentionClassOfADecision(t *testing.T) {
	k := newKeeper(t)
	for _, r := range []aver.RetentionRule{
		{Class: "short", Period: 60, Actions: []string{"*"}}, {Class: "long-b", Period: 3600, Actions: []string{"payment.*"}},
		{Class: "long-a", Period: 3600, Actions: []string{"payment.*"}}, {Class: "ever", Period: 0, Actions: []string{"payment.approve"}},
	} {
		k.must(byPerson("ann"), "why", aver.EventRetentionSet, r)
		k.must(byPerson("bo"), "", aver.EventRetentionApproved, aver.RetentionApproval{Class: r.Class, Proposed: k.st.Size() - 1})
	}
	for action, want := range map[string]string{"read": "short", "payment.list": "long-a", "payment.approve": "ever"} {
		if got := k.st.RetentionClassOf(action); got != want {
			t.Errorf("%s: %q, want %q", action, got, want)
		}
	}
}

// What was chosen before a hold was placed, or before the rule was in force, is not erased.
func TestAHoldStopsWhatWasChosenBeforeIt(t *testing.T) {
	k := newKeeper(t)
	early := k.st.Size()
	k.must(byPerson("ann"), "why", aver.EventRetentionSet, aver.RetentionRule{Class: "standard", Period: 1})
	k.must(byPerson("bo"), "", aver.EventRetentionApproved, aver.RetentionApproval{Class: "standard", Proposed: k.st.Size() - 1})
	e := erased("er-1", "standard", "", aver.IndexRange{From: 0, End: 1})
	e.Authority = early
	k.refused(byAver, "", aver.EventPayloadErased, e, "or was when it was chosen")
	e.Authority = k.st.Size()
	k.must(byPerson("ann"), "case 7", aver.EventHoldPlaced, aver.LegalHold{ID: "h-1"})
	k.refused(byAver, "", aver.EventPayloadErased, e, "a hold was placed since")
	k.must(byAver, "", aver.EventPayloadErased, k.chosen(e)) // that it is not covered is for who chose it to see
}

func TestHolds(t *testing.T) {
	k := newKeeper(t)
	k.refused(byPerson("ann"), " ", aver.EventHoldPlaced, aver.LegalHold{ID: "h-1"}, "a reason is needed")
	k.must(byPerson("ann"), "case 7", aver.EventHoldPlaced, aver.LegalHold{ID: "h-1"})
	k.refused(byPerson("ann"), "again", aver.EventHoldPlaced, aver.LegalHold{ID: "h-1"}, "already used")
	k.refused(byPerson("ann"), "", aver.EventHoldReleased, aver.HoldRef{ID: "h-1"}, "a reason is needed")
	if h, ok := k.st.Hold("h-1"); !ok || h.Released != nil {
		t.Errorf("it is not held: %+v", h)
	}
	k.must(byPerson("bo"), "closed", aver.EventHoldReleased, aver.HoldRef{ID: "h-1"})
	k.refused(byPerson("bo"), "closed", aver.EventHoldReleased, aver.HoldRef{ID: "h-1"}, "released already")
	if h, ok := k.st.Hold("h-1"); !ok || h.Released == nil || h.Reason != "case 7" {
		t.Errorf("%+v", h)
	}
}
