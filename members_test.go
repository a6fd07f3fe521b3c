package aver

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// Every record that is written is read member by member, and to the same record as
// by encoding/json: none is left to it, and none means something else.
func TestMembersReadAsEncodingJSON(t *testing.T) {
	check := func(t interface{ Fatalf(string, ...any) }, text []byte) {
		var got, want Record
		m := readMembers(text)
		if got.read(&m); m.failed || m.pos != len(text) {
			t.Fatalf("%s is not read, beyond byte %d", text, m.pos)
		}
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("%s reads otherwise (-encoding/json +members):\n%s", text, d)
		}
	}
	for _, r := range sampleRecords() {
		check(t, r.AppendCanonical(nil))
	}
	rapid.Check(t, func(t *rapid.T) {
		d := drawer{t}
		r := d.record(d.decision(d.anyRuling), d.chain())
		if r.PEP.Instance, r.PEP.Sequence = d.optional(), uint64(len(d.optional())); d.flip() {
			r.PEP.Authentication = &Authentication{Issuer: d.text(), Digest: d.text(), Verified: d.time(), AMR: d.texts()}
		}
		if d.flip() {
			r.Token = &Token{Authentication: Authentication{Subject: d.text(), Digest: d.text(), Verified: d.time()}, Scope: d.texts(), Party: d.ref()}
		}
		check(t, r.AppendCanonical(nil))
	})
}

func TestCitedAuthority(t *testing.T) {
	long := strings.Repeat("A", 300)
	for _, r := range sampleRecords() {
		for _, root := range []string{r.Authority.Root, "", long} {
			r.Authority.Root = root
			if got, ok := CitedAuthority(r.AppendCanonical(nil)); !ok || got != r.Authority {
				t.Errorf("got %+v, %v; want %+v", got, ok, r.Authority)
			}
		}
	}
	for _, text := range []string{``, `{`, `{}`, `{"authority":`, `{"authority":{"root":"` + long, `{"decision":{}}`, `{"authority":{"root":"","size":-1}}`} {
		if got, ok := CitedAuthority([]byte(text)); ok {
			t.Errorf("%s cites %+v", text, got)
		}
	}
}

func TestMembersReadLeaves(t *testing.T) {
	for name, l := range sampleLeaves() {
		text := l.AppendCanonical(nil)
		var got Leaf
		m := readMembers(text)
		if got.read(&m); m.failed || m.pos != len(text) || !reflect.DeepEqual(got, l) {
			t.Errorf("%s: %s reads as %+v", name, text, got)
		}
	}
}

// A text that is cut anywhere is not read, and does no harm.
func TestMembersReadWhatIsCut(t *testing.T) {
	for _, r := range sampleRecords() {
		text := r.AppendCanonical(nil)
		for i := range text {
			if r, err := ParseRecord(text[:i]); err == nil {
				t.Fatalf("%s is read as %+v", text[:i], r)
			}
		}
	}
}

func BenchmarkParseRecord(b *testing.B) {
	text := sampleRecords()[0].AppendCanonical(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseRecord(text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseLeaf(b *testing.B) {
	l := sampleLeaves()["decision"]
	text := l.AppendCanonical(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseLeaf(text); err != nil {
			b.Fatal(err)
		}
	}
}
