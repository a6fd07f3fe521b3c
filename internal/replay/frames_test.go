package replay_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/policy"
	"github.com/aver-authz/aver/internal/replay"
)

var (
	update = flag.Bool("update", false, "rewrite the golden files")
	// What CI hands to .ci/cedar-wasm.
	framesOut  = flag.String("frames-out", "", "write the frames of random decisions to this file")
	framesFrom = flag.Int("frames", 500, "how many random decisions")
)

// memory is a log that holds its entries in memory.
type memory struct{ entries []ledger.Entry }

func (m *memory) Head() (uint64, tlog.Hash) { return uint64(len(m.entries)), tlog.Hash{} }

func (m *memory) TreeHash(uint64) (tlog.Hash, error) { return tlog.Hash{}, nil }

func (m *memory) Entry(i uint64) (ledger.Entry, error) {
	if i >= uint64(len(m.entries)) {
		return ledger.Entry{}, ledger.ErrNotFound
	}
	return m.entries[i], nil
}

func (m *memory) Entries(from, to uint64) iter.Seq2[ledger.Indexed, error] {
	return func(yield func(ledger.Indexed, error) bool) {
		for i := from; i < to; i++ {
			e, err := m.Entry(i)
			if !yield(ledger.Indexed{Index: i, Entry: e}, err) || err != nil {
				return
			}
		}
	}
}

// logs are the two logs of a small company, made as the real points make them.
type logs struct {
	t                    testing.TB
	authority, decisions memory
	st                   *authority.State
	used                 pdp.Usage
	random               *rand.ChaCha8
}

const start = aver.Time(1_790_000_000_000) // 2026-09-21T14:13:20Z

func newLogs(t testing.TB) *logs {
	return &logs{t: t, st: authority.New(), used: pdp.Usage{}, random: rand.NewChaCha8([32]byte{})}
}

func (l *logs) event(typ aver.EventType, data any) {
	l.t.Helper()
	e, err := aver.NewEvent(typ, data)
	if err != nil {
		l.t.Fatal(err)
	}
	n := l.st.Size()
	e.ID = fmt.Sprintf("019a0000-0000-7000-8000-%012d", n)
	e.Time, e.By, e.Salt = start+aver.Time(n), aver.By{Name: "admin", Method: "bearer"}, strings.Repeat("A", 22)
	payload, err := e.Canonical()
	if err != nil {
		l.t.Fatal(err)
	}
	leaf := aver.NewLeaf(e.Kind, e.ID, e.Time, payload)
	leaf.Type = string(e.Type)
	l.authority.entries = append(l.authority.entries, ledger.Entry{Leaf: leaf.AppendCanonical(nil), Payload: payload})
	if l.st, err = l.st.Apply(&e); err != nil {
		l.t.Fatal(err)
	}
}

func (l *logs) publish(b *policy.Bundle) {
	l.t.Helper()
	files := map[string]string{}
	for name, text := range b.Files() {
		files[name] = string(text)
	}
	l.event(aver.EventPolicyPublished, aver.PolicyPublished{Name: b.Name(), Digest: b.Digest(), Files: files})
	l.event(aver.EventPolicyActivated, aver.PolicyRef{Name: b.Name(), Digest: b.Digest()})
}

func (l *logs) decide(request string) *aver.Record {
	l.t.Helper()
	v, err := aver.ParseJSON([]byte(request), aver.Limits{})
	if err != nil {
		l.t.Fatal(err, request)
	}
	req, err := aver.ParseRequest(v)
	if err != nil {
		l.t.Fatal(err, request)
	}
	n := len(l.decisions.entries)
	q := pdp.NewQuery(req)
	now := start + 100_000 + aver.Time(n)*500
	d, evidence := pdp.Decide(l.st, q, now, l.used)
	for _, c := range d.Counters {
		l.used[pdp.LimitKey{Grant: c.Grant, Name: c.Name}] = c.After
	}
	record, disclosures, err := pdp.NewRecord(l.st, q, d, evidence, pdp.Circumstances{
		ID: fmt.Sprintf("019a0000-0001-7000-8000-%012d", n), Time: now,
		Head: aver.TreeHead{Size: l.st.Size(), Root: tlog.Hash{}.String()}, PEP: aver.PEP{Credential: "gateway"}, Random: l.random,
	})
	if err != nil {
		l.t.Fatal(err)
	}
	e := ledger.Entry{Payload: record.AppendCanonical(nil)}
	if disclosures != nil {
		if e.Private, err = json.Marshal(disclosures); err != nil {
			l.t.Fatal(err)
		}
	}
	l.decisions.entries = append(l.decisions.entries, e)
	return record
}

func load(t testing.TB, name string, files map[string]string) *policy.Bundle {
	t.Helper()
	bytes := map[string][]byte{}
	for name, text := range files {
		bytes[name] = []byte(text)
	}
	b, err := policy.Load(bytes, name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func export(t testing.TB, l *logs) (string, replay.FrameSummary) {
	t.Helper()
	var out bytes.Buffer
	summary, err := replay.ExportFrames(t.Context(), &l.authority, &l.decisions, &out, replay.FrameOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), summary
}

// The lines are an interface: engines that are not ours read them. The golden
// file has each sort of frame, every sort of Cedar value, and a decision that
// has none.
func TestExportFrames(t *testing.T) {
	l := newLogs(t)
	l.publish(load(t, "payments", map[string]string{
		"bundle.yaml": "sensitive: [resource.iban]\n",
		"main.cedar": `
@id("pay") @reason("Staff pay.")
permit (principal, action == Action::"pay", resource is payment)
when { principal in group::"staff" && resource.fee.lessThan(decimal("2.50")) && resource.iban like "DE*" };
@id("agents") permit (principal is ai_agent, action == Action::"pay", resource)
when { context.ip.isInRange(ip("10.0.0.0/8")) && context.aver.now < datetime("2030-01-01") && context.age <= duration("1h") };
@id("eyes") @gate("escalate") @approvers("leads") forbid (principal, action, resource) when { resource.amount > 500 };`,
	}))
	l.event(aver.EventEntityPut, aver.Entity{Ref: aver.Ref{Type: "group", ID: "clerks"}, Parents: []aver.Ref{{Type: "group", ID: "staff"}}})
	l.event(aver.EventIdentityRegistered, aver.Identity{
		Ref: aver.Ref{Type: "user", ID: "alice"}, Kind: aver.HumanUser, Parents: []aver.Ref{{Type: "group", ID: "clerks"}},
		Properties: aver.Properties{"limits": map[string]any{"day": int64(10)}, "tags": []any{"b", "a", int64(2)}},
	})
	l.event(aver.EventIdentityRegistered, aver.Identity{Ref: aver.Ref{Type: "ai_agent", ID: "bot"}, Kind: aver.AIAgent, Owner: "ops", Purpose: "pay"})
	l.event(aver.EventGrantIssued, aver.Grant{
		ID: "g-1", From: aver.Ref{Type: "user", ID: "alice"}, To: aver.Ref{Type: "ai_agent", ID: "bot"}, Purpose: "invoices",
		Actions: []string{"pay"}, Resources: []aver.ResourceScope{{Type: "payment"}}, Condition: "resource.amount <= 1000",
	})
	const who = `"subject":{"type":"ai_agent","id":"bot"},"action":{"name":"pay"}`
	const context = `"context":{"delegation":["g-1"],"ip":{"__extn":{"fn":"ip","arg":"10.1.2.3"}},"age":{"__extn":{"fn":"duration","arg":"5m"}}}`
	for _, request := range []string{
		`{` + who + `,"resource":{"type":"payment","id":"p-1","properties":{"amount":600,"iban":"DE02","fee":{"__extn":{"fn":"decimal","arg":"1.5"}},"owner":{"__entity":{"type":"user","id":"alice"}}}},` + context + `}`,
		`{` + who + `,"resource":{"type":"payment","id":"p-2","properties":{"amount":5000,"iban":"FR02","fee":{"__extn":{"fn":"decimal","arg":"1.5"}}}},` + context + `}`,
		`{"subject":{"type":"user","id":"alice"},"action":{"name":"pay"},"resource":{"type":"payment","id":"p-3","properties":{"fee":1}},"context":{"parts":["a",{"id":"b","properties":{"amount":7,"fee":{"__extn":{"fn":"decimal","arg":"1.5"}},"iban":"DE"}}]}}`,
		`{"subject":{"type":"user"}}`,
		`{"subject":{"type":"http://example/user","id":"alice"},"action":{"name":"pay"},"resource":{"type":"payment","id":"p-4"}}`,
	} {
		l.decide(request)
	}
	got, summary := export(t, l)
	if want := (replay.FrameSummary{Decisions: 5, Frames: 11, Skipped: 1}); summary != want {
		t.Errorf("summary %+v, want %+v", summary, want)
	}
	golden(t, "frames.ndjson", got)
	if again, _ := export(t, l); again != got {
		t.Error("a second export gives other bytes")
	}
}

// Nothing is exported as checked that is not what the records say.
func TestExportFramesRefusesAnotherRecord(t *testing.T) {
	l := newLogs(t)
	l.publish(load(t, "p", map[string]string{"main.cedar": `permit (principal, action, resource);`}))
	record := l.decide(`{"subject":{"type":"user","id":"a"},"action":{"name":"x"},"resource":{"type":"r","id":"1"}}`)
	record.Decision.Frames[0].Policies = nil
	l.decisions.entries[0].Payload = record.AppendCanonical(nil)
	_, err := replay.ExportFrames(t.Context(), &l.authority, &l.decisions, &bytes.Buffer{}, replay.FrameOptions{})
	if err == nil || !strings.Contains(err.Error(), "entry 0") || !strings.Contains(err.Error(), "is not what its record says") {
		t.Errorf("error %v", err)
	}
}

// A record whose sensitive values were withheld can't be handed to another
// engine, and the export says so.
func TestExportFramesOfWithheldValues(t *testing.T) {
	l := newLogs(t)
	l.publish(load(t, "p", map[string]string{
		"bundle.yaml": "sensitive: [resource.iban]\n",
		"main.cedar":  `permit (principal, action, resource) when { resource.iban like "DE*" };`,
	}))
	l.decide(`{"subject":{"type":"user","id":"a"},"action":{"name":"x"},"resource":{"type":"r","id":"1","properties":{"iban":"DE1"}}}`)
	l.decisions.entries[0].Private = nil
	got, summary := export(t, l)
	if summary.Frames != 0 || summary.Skipped != 1 || !strings.Contains(got, "the withheld value at /resource/properties/_sd/") {
		t.Errorf("%+v\n%s", summary, got)
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (run with -update and read the diff); got\n%s", file, got)
	}
}
