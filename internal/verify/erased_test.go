package verify

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pap"
	"github.com/aver-authz/aver/internal/witness/witnesstest"
)

func all(ledger.Indexed) ([]byte, bool) { return nil, true }

func (e *evidence) findings(r Report) string {
	var out []string
	for _, log := range r.Logs {
		for _, f := range log.Findings {
			out = append(out, f.What)
		}
	}
	return strings.Join(out, "; ")
}

// A payload that is gone without an event is damage, whatever else is right (G7).
func TestPayloadsThatAreGoneWithoutAnEventAreDamage(t *testing.T) {
	e := newEvidence(t)
	if err := e.decisions.Erase(t.Context(), 1, 2, all); err != nil {
		t.Fatal(err)
	}
	e.close()
	if r := e.run(); r.OK || !strings.Contains(e.findings(r), "the payloads of the entries 1 to 1 are gone, and no event says that they were erased") {
		t.Errorf("%+v", r)
	}
}

func (e *evidence) now() aver.Time { return aver.TimeOf(time.Now()) }

// do makes a change without a decision, as Aver itself or as a person.
func (e *evidence) do(person string, typ aver.EventType, data any) *pap.Change {
	e.t.Helper()
	who := pap.Administrator{By: aver.By{Name: aver.Self, Method: aver.MethodInternal}}
	if person != "" {
		// asPerson wants a credential; a token of an issuer names the person itself
		who.By = aver.By{Name: person, Method: aver.MethodOIDC, Subject: aver.Ref{Type: "user", ID: person}, Authentication: &aver.Authentication{
			Issuer: "https://login.example.com", Subject: person, KeyID: "k", Digest: aver.Digest(nil), Verified: 1,
		}}
	}
	change, err := e.pap.Do(e.t.Context(), who, "why", typ, data)
	if err != nil {
		e.t.Fatal(err)
	}
	return change
}

// What the holder of the keys says about an erasure is checked against the leaves: what went, of which class, and whether
// its time was over; and that what is said to be gone is gone (G7).
func TestEventsAboutErasureAreChecked(t *testing.T) {
	for name, c := range map[string]struct {
		forge func(e *evidence, d *aver.ErasedEvidence)
		erase bool
		want  string
	}{
		"it was not due":   {func(*evidence, *aver.ErasedEvidence) {}, true, "its period was not over"},
		"another digest":   {func(_ *evidence, d *aver.ErasedEvidence) { d.Class, d.Erasure, d.Digest = "", "e-1", aver.Digest(nil) }, true, "the digest of what it says"},
		"out of its scope": {func(_ *evidence, d *aver.ErasedEvidence) { d.Class, d.Erasure = "", "e-2" }, true, "is not in the scope"},
		"still there":      {func(_ *evidence, d *aver.ErasedEvidence) { d.Class, d.Erasure = "", "e-1" }, false, "has it still: an older copy was put back"},
		"it was held": {func(e *evidence, d *aver.ErasedEvidence) {
			e.do("ann", aver.EventHoldPlaced, aver.LegalHold{ID: "h-1", Scope: aver.EvidenceScope{Class: "standard"}})
			d.Class, d.Erasure, d.Authority = "", "e-1", e.pap.Current().State.Size()
		}, true, "entry 1 was held by h-1"},
		"as it should be": {func(_ *evidence, d *aver.ErasedEvidence) { d.Class, d.Erasure = "", "e-1" }, true, ""},
		"of another log":  {func(_ *evidence, d *aver.ErasedEvidence) { d.Class, d.Erasure, d.Log = "", "e-1", "elsewhere" }, true, "it is about the log elsewhere"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEvidence(t)
			made := e.do("ann", aver.EventRetentionSet, aver.RetentionRule{Class: "standard", Period: 86400})
			e.do("bo", aver.EventRetentionApproved, aver.RetentionApproval{Class: "standard", Proposed: made.Index})
			for recorded := e.now(); e.now() == recorded; { // the approval is to be later than the records
			}
			for id, class := range map[string]string{"e-1": "standard", "e-2": "other"} {
				e.do("ann", aver.EventErasureRequested, aver.ErasureRequest{ID: id, Kind: aver.ErasePayloads, Scope: aver.EvidenceScope{Class: class}})
				e.do("bo", aver.EventErasureApproved, aver.ErasureRef{ID: id})
			}
			text, err := e.decisions.Leaf(1)
			if err != nil {
				t.Fatal(err)
			}
			leaf, err := aver.ParseLeaf(text)
			if err != nil {
				t.Fatal(err)
			}
			var digest aver.ErasedDigest
			digest.Add(1, leaf.Payload)
			d := aver.ErasedEvidence{ID: "er-1", Class: "standard", Log: e.decisions.Origin(), Ranges: []aver.IndexRange{{From: 1, End: 2}}, Count: 1,
				Digest: digest.String(), Authority: e.pap.Current().State.Size()}
			c.forge(e, &d)
			e.do("", aver.EventPayloadErased, d)
			if c.erase {
				if err := e.decisions.Erase(t.Context(), 1, 2, all); err != nil {
					t.Fatal(err)
				}
			}
			e.do("", aver.EventErasureCompleted, aver.ErasedRef{ID: "er-1"})
			e.close()
			r := e.run()
			// The changes of this test name no decision, which is found as well.
			var found []string
			for _, f := range r.Logs[1].Findings {
				found = append(found, f.What)
			}
			got := strings.Join(found, "; ")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("found %q, want %q", got, c.want)
			}
			if len(r.Erased) != 1 || r.Erased[0].Count != 1 || !r.Erased[0].Completed {
				t.Errorf("%+v", r.Erased)
			}
		})
	}
}

// Two histories under one key: each is whole by itself, and only one leads to the checkpoint that others have (G2).
func TestSplitViewIsFoundByACheckpointFromElsewhere(t *testing.T) {
	e := newEvidence(t)
	elsewhere, err := e.decisions.CheckpointNow(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	run := func(o Options) Report {
		t.Helper()
		o.Dir, o.patience = e.dir.Path(), 100*time.Millisecond
		r, err := Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := run(Options{Checkpoints: [][]byte{elsewhere}}); !r.OK {
		t.Errorf("%+v", r)
	}
	e.close()

	// The holder of the keys writes another one.
	decisions := filepath.Join(e.dir.Path(), "decisions")
	for _, path := range []string{decisions, filepath.Join(e.dir.Path(), "keys", "decisions.signed")} {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	_, key := e.dir.DecisionLog()
	other, err := ledger.Open(decisions, ledger.Options{Origin: key.Signer.Name(), Signer: key.Signer, Verifier: key.Verifier})
	if err != nil {
		t.Fatal(err)
	}
	forged := newEvidence(t)
	for i := range uint64(3) {
		entry, err := forged.decisions.Entry(2 - i)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := other.Append(t.Context(), entry); err != nil {
			t.Fatal(err)
		}
	}
	forged.close()
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if r := run(Options{Checkpoints: [][]byte{elsewhere}}); r.OK || !strings.Contains(e.findings(r), "TWO HISTORIES UNDER ONE KEY") {
		t.Errorf("%+v", r)
	}
}

// Who names a witness trusts nothing that it has not cosigned (G2).
func TestNamedWitnessMustHaveCosigned(t *testing.T) {
	e := newEvidence(t)
	_, authority := e.dir.AuthorityLog()
	_, decisions := e.dir.DecisionLog()
	w := witnesstest.New("w.example", authority.Verifier, decisions.Verifier)
	keys := Options{Dir: e.dir.Path(), Keys: []string{authority.VKey, decisions.VKey}, Witnesses: []string{w.Key()}, patience: 100 * time.Millisecond}
	run := func() Report {
		t.Helper()
		r, err := Run(t.Context(), keys)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := run(); r.OK || r.Trust != Distrust || !r.Integrity || r.Logs[0].Witnessed[0].Size != 0 {
		t.Errorf("not cosigned: %+v", r)
	}
	for _, l := range []*ledger.Log{e.authority, e.decisions} {
		cp, err := l.CheckpointNow(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		line := w.Cosign(cp)
		if err := e.dir.KeepCosigned(map[bool]string{true: "authority", false: "decisions"}[l == e.authority], append(append([]byte{}, cp...), line...)); err != nil {
			t.Fatal(err)
		}
	}
	if r := run(); !r.OK || r.Trust != Trusted || r.Logs[1].Witnessed[0].Size != 3 || r.Logs[1].Witnessed[0].Time == 0 {
		t.Errorf("cosigned: %+v", r)
	}
	keys.Witnesses = append(keys.Witnesses, witnesstest.New("w.example").Key())
	if r := run(); r.OK || r.Trust != Distrust {
		t.Errorf("another key of the same name: %+v", r)
	}
	e.close()
}
