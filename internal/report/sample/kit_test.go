package sample_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/query"
	"github.com/aver-authz/aver/internal/report/sample"
)

const origin = "example.com/decisions"

// start is the time of the first record; each next one is a second later.
const start = aver.Time(1_790_000_000_000)

func second(n int) aver.Time { return start + aver.Time(n)*1000 }

// testLog is a decision log of records that differ in outcome, action and PEP.
type testLog struct {
	*ledger.Log
	key ledger.Key
}

// newLog makes a log of n entries; every seventh is an activity.
func newLog(t testing.TB, n int, edit func(i int, r *aver.Record)) *testLog {
	t.Helper()
	key, _, err := ledger.NewKey(origin)
	if err != nil {
		t.Fatal(err)
	}
	log, err := ledger.Open(t.TempDir(), ledger.Options{Origin: origin, Signer: key.Signer, Verifier: key.Verifier})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	l := &testLog{log, key}
	l.add(t, 0, n, edit)
	return l
}

func (l *testLog) add(t testing.TB, from, to int, edit func(i int, r *aver.Record)) {
	t.Helper()
	var last *ledger.Ticket
	for i := from; i < to; i++ {
		e := entryOf(t, i, edit)
		var err error
		if last, err = l.Enqueue(e); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := last.Wait(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func id(i int) string { return fmt.Sprintf("0193a1b2-c3d4-7e5f-8a6b-%012x", i) }

const salt = "MTYgcmFuZG9tIGJ5dGVzMQ"

func entryOf(t testing.TB, i int, edit func(i int, r *aver.Record)) ledger.Entry {
	t.Helper()
	if i%7 == 6 {
		a := aver.Activity{
			ID: id(i), Kind: aver.KindActivity, Time: second(i), Semantics: aver.Semantics, EvaluationID: id(i - 1), Status: aver.ActivityCompleted,
			Report: aver.Digest(nil), Salt: salt, PEP: aver.PEP{Credential: "gateway", Instance: "one", Sequence: uint64(i + 1)},
		}
		payload, err := a.Canonical()
		if err != nil {
			t.Fatal(err)
		}
		leaf := aver.NewLeaf(a.Kind, a.ID, a.Time, payload)
		leaf.Type = string(a.Status)
		return ledger.Entry{Leaf: leaf.AppendCanonical(nil), Payload: payload}
	}
	r := aver.Record{
		ID: id(i), Kind: aver.KindDecision, Time: second(i), Semantics: aver.Semantics, Engine: "cedar-go/v1.9.0", Policies: aver.Digest([]byte("p")),
		PEP: aver.PEP{Credential: "gateway", Instance: "one", Sequence: uint64(i + 1)}, Full: aver.Digest(nil), Salt: salt,
		Request: fmt.Appendf(nil, `{"action":{"name":"payment.%s"},"resource":{"id":"p-%d","type":"payment"},"subject":{"id":"ann","type":"user"}}`,
			[]string{"approve", "create", "read"}[i%3], i),
		Decision: aver.Decision{Actor: aver.Actor{Ref: aver.Ref{Type: "user", ID: "ann"}, Kind: aver.HumanUser}},
	}
	r.Decision.Outcome = []aver.Outcome{aver.Permitted, aver.Denied, aver.Escalated, aver.Permitted}[i%4]
	if edit != nil {
		edit(i, &r)
	}
	payload := r.AppendCanonical(nil)
	leaf := aver.NewLeaf(r.Kind, r.ID, r.Time, payload)
	leaf.Outcome = &r.Decision.Outcome
	return ledger.Entry{Leaf: leaf.AppendCanonical(nil), Payload: payload}
}

// checkpoint returns a signed checkpoint of all there is, and its tree.
func (l *testLog) checkpoint(t testing.TB) ([]byte, aver.TreeHead) {
	t.Helper()
	msg, err := l.CheckpointNow(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	size, root, err := ledger.ParseCheckpoint(msg, origin, l.key.Verifier)
	if err != nil {
		t.Fatal(err)
	}
	return msg, aver.TreeHead{Size: size, Root: root.String()}
}

func mustParse(t testing.TB, text string) *query.Query {
	t.Helper()
	q, err := query.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// fix fixes a population of the seconds [from, to).
func (l *testLog) fix(t testing.TB, text string, from, to int) *sample.Document {
	t.Helper()
	checkpoint, tree := l.checkpoint(t)
	f, err := sample.Fix(context.Background(), l, sample.Request{ID: "p", Query: mustParse(t, text), From: second(from), To: second(to), Tree: tree})
	if err != nil {
		t.Fatal(err)
	}
	return document(t, f, l.key, checkpoint, nil)
}

func document(t testing.TB, f *sample.Fixed, key ledger.Key, checkpoint, since []byte) *sample.Document {
	t.Helper()
	d, err := sample.NewDocument(f, key.VKey, string(checkpoint), string(since))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Sign(key.Signer); err != nil {
		t.Fatal(err)
	}
	return d
}
