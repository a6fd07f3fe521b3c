package authority_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
)

// entryOf makes the leaf and the payload of an event.
func entryOf(t testing.TB, e *aver.Event) (leaf aver.Leaf, payload []byte) {
	t.Helper()
	payload, err := e.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	leaf = aver.NewLeaf("event", e.ID, e.Time, payload)
	leaf.Type = string(e.Type)
	return leaf, payload
}

func TestParseEntry(t *testing.T) {
	for i, c := range life() {
		e := eventAt(uint64(i), c)
		leaf, payload := entryOf(t, e)
		got, err := authority.ParseEntry(leaf.AppendCanonical(nil), payload)
		if err != nil {
			t.Fatal(err)
		}
		if again, _ := got.Canonical(); !bytes.Equal(again, payload) {
			t.Errorf("got %s\nwant %s", again, payload)
		}
	}
}

func TestParseEntryRefuses(t *testing.T) {
	outcome := aver.Permitted
	tests := map[string]struct {
		edit func(*aver.Leaf, *[]byte)
		want string
	}{
		"payload changed":       {func(_ *aver.Leaf, p *[]byte) { *p = bytes.Replace(*p, []byte("reason 0"), []byte("reason 1"), 1) }, "the leaf does not commit to this payload"},
		"payload not canonical": {func(l *aver.Leaf, p *[]byte) { *p = append(*p, '\n'); recommit(l, *p) }, "it is not in the canonical form"},
		"kind":                  {func(l *aver.Leaf, _ *[]byte) { l.Kind = "decision" }, `the leaf is of kind "decision", not an event`},
		"outcome":               {func(l *aver.Leaf, _ *[]byte) { l.Outcome = &outcome }, "the leaf of an event has no outcome"},
		"id":                    {func(l *aver.Leaf, _ *[]byte) { l.ID = "x" }, `the leaf names event "x"`},
		"time":                  {func(l *aver.Leaf, _ *[]byte) { l.Time++ }, "the leaf has the time 2026-01-02T03:04:05.001Z, its payload 2026-01-02T03:04:05.000Z"},
		"type":                  {func(l *aver.Leaf, _ *[]byte) { l.Type = "entity.removed" }, `the leaf is of type "entity.removed", its payload "entity.put"`},
		"salt": {func(l *aver.Leaf, p *[]byte) {
			*p = bytes.Replace(*p, []byte("AAAAAAAAAAAAAAAAAAAAAA"), []byte("AAAA"), 1)
			recommit(l, *p)
		}, "the salt is not 16 random bytes"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			leaf, payload := entryOf(t, eventAt(0, put("doc:1")))
			test.edit(&leaf, &payload)
			_, err := authority.ParseEntry(leaf.AppendCanonical(nil), payload)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
	leaf, payload := entryOf(t, eventAt(0, put("doc:1")))
	if _, err := authority.ParseEntry(append(leaf.AppendCanonical(nil), ' '), payload); err == nil {
		t.Error("a leaf that is not canonical was accepted")
	}
}

func recommit(l *aver.Leaf, payload []byte) {
	l.Payload = aver.NewLeaf("", "", 0, payload).Payload
}

// Whatever stands in a log, reading and folding it gives an event that writes the same bytes again, or an error.
func FuzzParseEntry(f *testing.F) {
	for i, c := range life() {
		_, payload := entryOf(f, eventAt(uint64(i), c))
		f.Add(payload)
	}
	s := after(f, life()...)
	f.Fuzz(func(t *testing.T, payload []byte) {
		e, err := aver.ParseEvent(payload)
		if err != nil {
			return
		}
		leaf, again := entryOf(t, e)
		if !bytes.Equal(again, payload) {
			t.Fatalf("read %s\nwrote %s", payload, again)
		}
		e, err = authority.ParseEntry(leaf.AppendCanonical(nil), payload)
		if err != nil {
			return
		}
		if next, err := s.Apply(e); err == nil && next.Size() != s.Size()+1 {
			t.Fatalf("size %d after one event more than %d", next.Size(), s.Size())
		}
	})
}

func BenchmarkParseEntry(b *testing.B) {
	leaf, payload := entryOf(b, eventAt(0, grant("g", "user:a", "user:b")))
	text := leaf.AppendCanonical(nil)
	for b.Loop() {
		if _, err := authority.ParseEntry(text, payload); err != nil {
			b.Fatal(err)
		}
	}
}
