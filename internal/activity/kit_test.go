package activity_test

import (
	"fmt"
	"iter"
	"strings"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/policy"
)

const start = aver.Time(1_790_000_000_000) // 2026-09-21T14:13:20Z

// company is an authority log in the making, with the state after each event.
type company struct {
	t       testing.TB
	now     aver.Time
	st      *authority.State
	entries []ledger.Entry
	events  []*aver.Event
	states  []*authority.State // states[n] is that of n events
}

func newCompany(t testing.TB) *company {
	return &company{t: t, now: start, st: authority.New(), states: []*authority.State{authority.New()}}
}

// Entries makes it a log to read.
func (c *company) Entries(from, to uint64) iter.Seq2[ledger.Indexed, error] {
	return func(yield func(ledger.Indexed, error) bool) {
		for i := from; i < to && i < uint64(len(c.entries)); i++ {
			if !yield(ledger.Indexed{Index: i, Entry: c.entries[i]}, nil) {
				return
			}
		}
	}
}

// do makes an event at the current time, and tells whether it could follow.
func (c *company) do(typ aver.EventType, data any) bool {
	c.t.Helper()
	e, err := aver.NewEvent(typ, data)
	if err != nil {
		c.t.Fatal(err)
	}
	e.ID = fmt.Sprintf("019a0000-0000-7000-8000-%012d", len(c.entries))
	e.Time, e.By, e.Salt = c.now, aver.By{Name: "admin", Method: "bearer"}, strings.Repeat("A", 22)
	next, err := c.st.Apply(&e)
	if err != nil {
		return false
	}
	payload, err := e.Canonical()
	if err != nil {
		c.t.Fatal(err)
	}
	leaf := aver.NewLeaf(e.Kind, e.ID, e.Time, payload)
	leaf.Type = string(e.Type)
	c.entries = append(c.entries, ledger.Entry{Leaf: leaf.AppendCanonical(nil), Payload: payload})
	c.st, c.events, c.states = next, append(c.events, &e), append(c.states, next)
	return true
}

func (c *company) must(typ aver.EventType, data any) {
	c.t.Helper()
	if !c.do(typ, data) {
		c.t.Fatalf("%s was refused: %+v", typ, data)
	}
}

// policies activates a bundle and returns its reference.
func (c *company) policies(name, cedar string) aver.PolicyRef {
	c.t.Helper()
	b, err := policy.Load(map[string][]byte{"main.cedar": []byte(cedar)}, name)
	if err != nil {
		c.t.Fatal(err)
	}
	files := map[string]string{}
	for name, text := range b.Files() {
		files[name] = string(text)
	}
	c.do(aver.EventPolicyPublished, aver.PolicyPublished{Name: name, Digest: b.Digest(), Files: files})
	ref := aver.PolicyRef{Name: name, Digest: b.Digest()}
	c.do(aver.EventPolicyActivated, ref)
	return ref
}

// decide decides a request now, and returns its record as a log would hold it.
func (c *company) decide(text string, used pdp.Usage) (*aver.Record, *aver.Request) {
	c.t.Helper()
	v, err := aver.ParseJSON([]byte(text), aver.Limits{})
	if err != nil {
		c.t.Fatal(err, text)
	}
	req, err := aver.ParseRequest(v)
	if err != nil {
		c.t.Fatal(err)
	}
	q := pdp.NewQuery(req)
	d, evidence := pdp.Decide(c.st, q, c.now, used)
	record, _, err := pdp.NewRecord(c.st, q, d, evidence, pdp.Circumstances{
		ID: "019a0000-0001-7000-8000-000000000001", Time: c.now,
		Head: aver.TreeHead{Size: c.st.Size(), Root: "r"}, PEP: aver.PEP{Credential: "gateway"},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	record, err = aver.ParseRecord(record.AppendCanonical(nil))
	if err != nil {
		c.t.Fatal(err)
	}
	kept, missing, err := pdp.Disclose(record.Request, nil)
	if err != nil || len(missing) > 0 {
		c.t.Fatal(err, missing)
	}
	return record, kept
}

func ref(typ, id string) aver.Ref { return aver.Ref{Type: typ, ID: id} }
