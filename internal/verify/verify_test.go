package verify

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/datadir"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pap"
	"github.com/aver-authz/aver/internal/pdp"
)

// evidence is a data directory with four events and three decisions, open for writing.
type evidence struct {
	t                    *testing.T
	dir                  *datadir.Dir
	authority, decisions *ledger.Log
	pap                  *pap.Point
}

func newEvidence(t *testing.T) *evidence {
	t.Helper()
	e := open(t, filepath.Join(t.TempDir(), "data"))
	point, err := pdp.Open(e.decisions, pdp.Options{State: func() (*authority.State, aver.TreeHead) {
		c := e.pap.Current()
		return c.State, c.Head
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"ann", "bob", "eve"} {
		q := pdp.NewQuery(&aver.Request{
			Subject:  aver.Party{Ref: aver.Ref{Type: "user", ID: id}},
			Action:   aver.Action{Name: "read"},
			Resource: aver.Party{Ref: aver.Ref{Type: "document", ID: "1"}},
		})
		if _, err := point.Decide(t.Context(), q, aver.PEP{Credential: "test"}); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

func open(t *testing.T, path string) *evidence {
	t.Helper()
	e := &evidence{t: t}
	var err error
	if e.dir, err = datadir.Open(path, "verify.example"); err != nil {
		t.Fatal(err)
	}
	log := func(dir string, k ledger.Key) *ledger.Log {
		l, err := ledger.Open(dir, ledger.Options{Origin: k.Signer.Name(), Signer: k.Signer, Verifier: k.Verifier, CheckpointEvery: 10 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	e.authority, e.decisions = log(e.dir.AuthorityLog()), log(e.dir.DecisionLog())
	if e.pap, err = pap.Open(t.Context(), e.authority, pap.Options{}); err != nil {
		t.Fatal(err)
	}
	return e
}

func (e *evidence) close() {
	e.t.Helper()
	if err := errors.Join(e.pap.Close(), e.decisions.Close(), e.authority.Close(), e.dir.Close()); err != nil {
		e.t.Fatal(err)
	}
}

func (e *evidence) run(keys ...string) Report {
	e.t.Helper()
	r, err := Run(context.Background(), Options{Dir: e.dir.Path(), Keys: keys, patience: 100 * time.Millisecond})
	if err != nil {
		e.t.Fatal(err)
	}
	return r
}

func (e *evidence) vkeys() (authority, decisions string) {
	_, a := e.dir.AuthorityLog()
	_, d := e.dir.DecisionLog()
	return a.VKey, d.VKey
}

// forge appends to the decision log what only the holder of its key can: a record of no decision. change alters the
// latest one; the leaf is then made to fit, and leaf alters that.
func (e *evidence) forge(change func(*aver.Record), leaf func(*aver.Leaf)) {
	e.t.Helper()
	last, err := e.decisions.Entry(2)
	if err != nil {
		e.t.Fatal(err)
	}
	r, err := aver.ParseRecord(last.Payload)
	if err != nil {
		e.t.Fatal(err)
	}
	change(r)
	payload := r.AppendCanonical(nil)
	l := aver.NewLeaf(r.Kind, r.ID, r.Time, payload)
	l.Outcome = &r.Decision.Outcome
	leaf(&l)
	if _, err := e.decisions.Append(e.t.Context(), ledger.Entry{Leaf: l.AppendCanonical(nil), Payload: payload}); err != nil {
		e.t.Fatal(err)
	}
}

func TestIntact(t *testing.T) {
	e := newEvidence(t)
	for _, state := range []string{"while it is written", "after it was closed"} {
		if state == "while it is written" {
			_, err := e.decisions.CheckpointNow(t.Context())
			_, err2 := e.authority.CheckpointNow(t.Context())
			if err := errors.Join(err, err2); err != nil {
				t.Fatal(err)
			}
		}
		r := e.run()
		if !r.OK || !r.Integrity || r.Trust != Unchecked || len(r.Logs) != 2 || r.Logs[0].Size != 4 || r.Logs[1].Size != 3 {
			t.Errorf("%s: %+v", state, r)
		}
		if state == "while it is written" {
			e.close()
		}
	}
}

func TestTrust(t *testing.T) {
	e := newEvidence(t)
	e.close()
	authority, decisions := e.vkeys()
	stranger, _, err := ledger.NewKey("other.example/decisions")
	if err != nil {
		t.Fatal(err)
	}
	impostor, _, err := ledger.NewKey("verify.example/decisions")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name          string
		keys          []string
		trust         Trust
		integrity, ok bool
	}{
		{"both keys", []string{decisions, authority + "\n"}, Trusted, true, true},
		{"one key", []string{authority}, Unchecked, true, true},
		{"the key of another log", []string{stranger.VKey}, Distrust, true, false},
		{"another key of that name", []string{impostor.VKey}, Unchecked, false, false},
	} {
		r := e.run(c.keys...)
		if r.Trust != c.trust || r.Integrity != c.integrity || r.OK != c.ok {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
	if _, err := Run(t.Context(), Options{Dir: e.dir.Path(), Keys: []string{"nonsense"}}); err == nil {
		t.Error("a key that is none was taken")
	}
	// Who brings both keys needs none from the directory.
	if err := os.RemoveAll(filepath.Join(e.dir.Path(), "keys")); err != nil {
		t.Fatal(err)
	}
	if r := e.run(authority, decisions); !r.OK || r.Trust != Trusted {
		t.Errorf("without the directory's keys: %+v", r)
	}
	var none *datadir.NotInitializedError
	if _, err := Run(t.Context(), Options{Dir: e.dir.Path(), Keys: []string{authority}}); !errors.As(err, &none) {
		t.Errorf("with one key and none in the directory: %v", err)
	}
}

// Checksums, signatures and proofs all hold; only what the record says is wrong.
func TestForgedRecords(t *testing.T) {
	root := func(r *aver.Record) { r.Authority.Root = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" }
	denied, permitted := aver.Denied, aver.Permitted
	for _, c := range []struct {
		name   string
		change func(*aver.Record)
		leaf   func(*aver.Leaf)
		want   string
	}{
		{"another authority", root, nil, "cites the authority log at size 4 with the root AAAA"},
		{"an earlier size", func(r *aver.Record) { r.Authority.Size = 1 }, nil, "cites the authority log at size 1 with the root"},
		{"a size that never was", func(r *aver.Record) { r.Authority.Size = 99 }, nil, "cites the authority log at size 99"},
		{"a leaf for another payload", nil, func(l *aver.Leaf) { l.Payload = strings.Repeat("0", 64) }, "does not commit to this payload"},
		{"a leaf with another outcome", nil, func(l *aver.Leaf) { l.Outcome = &permitted }, "does not have the outcome of its payload, denied"},
		{"a leaf without one", nil, func(l *aver.Leaf) { l.Outcome = nil }, "does not have the outcome of its payload, denied"},
		{"a leaf with another id", nil, func(l *aver.Leaf) { l.ID = "x" }, `names decision "x"`},
		{"a leaf with another time", nil, func(l *aver.Leaf) { l.Time++ }, "has the time"},
		{"a leaf of another kind", nil, func(l *aver.Leaf) { l.Kind = "event" }, `is of kind "event"`},
		{"a leaf with a type", nil, func(l *aver.Leaf) { l.Type = "x"; l.Outcome = &denied }, "has no type"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newEvidence(t)
			if c.change == nil {
				c.change = func(*aver.Record) {}
			}
			if c.leaf == nil {
				c.leaf = func(*aver.Leaf) {}
			}
			e.forge(c.change, c.leaf)
			e.close()
			r := e.run()
			if r.OK || r.Integrity || !r.Logs[0].OK() || len(r.Logs[1].Findings) != 1 {
				t.Fatalf("%+v", r)
			}
			if f := r.Logs[1].Findings[0]; f.Index != 3 || !strings.Contains(f.What, c.want) {
				t.Errorf("finding %+v", f)
			}
		})
	}
}

// An event in good form that can't follow the ones before it shows when the log is folded.
func TestForgedEvent(t *testing.T) {
	e := newEvidence(t)
	if err := e.pap.Close(); err != nil {
		t.Fatal(err)
	}
	data, _ := json.Marshal(aver.GrantRef{ID: "g-never"})
	event := aver.Event{ID: "01a20ca9-e892-74d1-8308-da7eb447ad93", Kind: "event", Type: aver.EventGrantRevoked, Time: aver.TimeOf(time.Now().Add(time.Hour)),
		By: aver.By{Name: "admin", Method: "bearer"}, Data: data, Salt: "AAAAAAAAAAAAAAAAAAAAAA"}
	payload, err := event.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	leaf := aver.NewLeaf("event", event.ID, event.Time, payload)
	leaf.Type = string(event.Type)
	if _, err := e.authority.Append(t.Context(), ledger.Entry{Leaf: leaf.AppendCanonical(nil), Payload: payload}); err != nil {
		t.Fatal(err)
	}
	e.close()
	r := e.run()
	if r.OK || len(r.Logs[0].Findings) != 1 || !r.Logs[1].OK() {
		t.Fatalf("%+v", r)
	}
	if f := r.Logs[0].Findings[0]; f.Index != 4 || !strings.Contains(f.What, `there is no grant "g-never"`) {
		t.Errorf("finding %+v", f)
	}
}

// Without the authority log the decisions are still checked by themselves, and it is said what was not.
func TestAuthorityLogGone(t *testing.T) {
	e := newEvidence(t)
	e.close()
	dir, _ := e.dir.AuthorityLog()
	if err := os.RemoveAll(filepath.Join(dir, "segments")); err != nil {
		t.Fatal(err)
	}
	r := e.run()
	if r.OK || r.Logs[0].OK() || r.Logs[1].Size != 3 || len(r.Logs[1].Findings) != 1 {
		t.Fatalf("%+v", r)
	}
	if f := r.Logs[1].Findings[0]; !strings.Contains(f.What, "what the decisions cite of it was not checked") {
		t.Errorf("finding %+v", f)
	}
}

// A reader of a log that is being written shows what came since, once it is asked for.
func TestFollow(t *testing.T) {
	e := newEvidence(t)
	defer e.close()
	_, key := e.dir.AuthorityLog()
	dir, _ := e.dir.AuthorityLog()
	reader, err := ledger.OpenReader(dir, ledger.Options{Origin: key.Signer.Name(), Verifier: key.Verifier})
	if err != nil {
		t.Fatal(err)
	}
	follow := Follow(reader)
	ref := aver.Identity{Ref: aver.Ref{Type: "user", ID: "ann"}, Kind: aver.HumanUser}
	if _, err := e.pap.Do(t.Context(), pap.Administrator{By: aver.By{Name: "aver", Method: aver.MethodInternal}}, "", aver.EventIdentityRegistered, ref); err != nil {
		t.Fatal(err)
	}
	n := 0
	for entry, err := range follow.Entries(0, 5) {
		if err != nil {
			t.Fatal(err)
		}
		n = int(entry.Index) + 1
	}
	if n != 5 {
		t.Errorf("%d entries", n)
	}
	want, err := e.authority.TreeHash(5)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := follow.TreeHash(5); err != nil || got != want {
		t.Errorf("root %s, error %v", got, err)
	}
	follow.patience = 100 * time.Millisecond
	if _, err := follow.TreeHash(99); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("a tree that never comes: %v", err)
	}
}
