package aver

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// FuzzParseJSON checks that what is accepted has one canonical form that says
// the same, and that encoding/json accepts the same texts but for the refusals
// that ParseJSON documents.
func FuzzParseJSON(f *testing.F) {
	for _, seed := range []string{
		``, ` `, `nul`, `null`, `{"a":[1,-0,1.0,15e-1,1e2],"b":"\ud83d\ude00\n","c":{}}`, `{"a":1,"A":2}`, `{"a":1,"a":2}`,
		`"\ud83d"`, `"\ude00\ud83d"`, "\"\xff\"", "\"\xed\xa0\xbd\\n\"", "\"\u212a\"", "\uFEFF{}", `01`, `-`, `1.`, `1e`, `1e-400`,
		`9007199254740991`, `9007199254740992`, `9007199254740990.9`, `1e99999999999999999999`, `{"a":1,}`, `[1,]`, `[[[[]]]]`,
		"{\"\ufb33\":1,\"\U0001F600\":2}", `{"\u0061":1,"b":2} `, `["\u+123"]`, "\"\x7f\u2028\"",
	} {
		f.Add([]byte(seed))
	}
	refusals := []string{
		"stands twice in one object", "differ only in case", "half of a surrogate pair", notUTF8,
		"is not a whole number", "is beyond the whole numbers", "is longer than", "nested deeper than", "members and elements",
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := ParseJSON(text, Limits{Depth: 16, Members: 1000})
		if err != nil {
			var at *JSONError
			if !errors.As(err, &at) || at.Offset < 0 || at.Offset > len(text) {
				t.Fatalf("%q: %v stands outside of the text", text, err)
			}
			documented := false
			for _, r := range refusals {
				documented = documented || strings.Contains(at.Reason, r)
			}
			if json.Valid(text) && !documented {
				t.Fatalf("%q: encoding/json accepts it, and no documented reason refuses it: %v", text, err)
			}
			return
		}
		if !json.Valid(text) {
			t.Fatalf("%q: accepted, but encoding/json does not", text)
		}
		canonical := AppendCanonical(nil, v)
		again, err := ParseJSON(canonical, Limits{Bytes: 1 << 30})
		if err != nil || !reflect.DeepEqual(again, v) {
			t.Fatalf("%q: its canonical form %s parses to %#v, %v; want %#v", text, canonical, again, err, v)
		}
		if twice := AppendCanonical(nil, again); !bytes.Equal(twice, canonical) {
			t.Fatalf("%q: canonical form %s, then %s", text, canonical, twice)
		}
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		var std any
		if err := d.Decode(&std); err != nil {
			t.Fatal(err)
		}
		if !sameAsStd(v, std) {
			t.Fatalf("%q: %#v, but encoding/json reads %#v", text, v, std)
		}
	})
}

// sameAsStd compares numbers as encoding/json does when it reads a float64.
func sameAsStd(v, std any) bool {
	switch v := v.(type) {
	case int64:
		n, ok := std.(json.Number)
		if !ok {
			return false
		}
		f, err := n.Float64()
		return err == nil && f == float64(v)
	case []any:
		list, ok := std.([]any)
		if !ok || len(list) != len(v) {
			return false
		}
		for i := range v {
			if !sameAsStd(v[i], list[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		object, ok := std.(map[string]any)
		if !ok || len(object) != len(v) {
			return false
		}
		for name := range v {
			if other, ok := object[name]; !ok || !sameAsStd(v[name], other) {
				return false
			}
		}
		return true
	}
	return v == std
}

// FuzzReadRequest checks that a request is read the same by the short way and by
// the long way, its errors too.
func FuzzReadRequest(f *testing.F) {
	for _, seed := range []string{
		anEvaluation, ` { "context" : { } , "subject":{"properties":{}} } `, `{}`, `{"subject":{}}`, `[]`, `null`, `{`, `{}}`, ``, "\uFEFF{}",
		`{"subject":{"type":"user","id":"a","extra":1},"extra":{"_sd":[]}}`, `{"subject":{"type":"user","Type":"b"}}`,
		`{"subject":{"Type":"user"}}`, `{"Context":{}}`, `{"subject":null,"action":null,"resource":null,"context":null}`,
		`{"subject":{"type":"","id":"a"}}`, `{"subject":{"type":1}}`, `{"subject":{"type":null,"properties":null}}`, `{"action":"read"}`,
		`{"action":{"name":"read","properties":{"_sd":1}}}`, `{"action":{"name":"read","properties":{"a":[{"\u005fsd":1}]}}}`,
		`{"action":{"properties":[]}}`, `{"context":{"token":"t"}}`, `{"context":{"token":1}}`, `{"context":{"aver":1}}`, `{"context":{"Token":"t"}}`,
		`{"context":{"parts":[]}}`, `{"context":{"parts":["a","a"]}}`, `{"context":{"delegation":["g"],"on_behalf_of":{"type":"user","id":"a"}}}`,
		`{"subject":{"type":"user","id":1},"subject":{}}`, `{"subject":{"id":1},"context":{"a":01}}`, `{"context":1.5}`,
		`{"context":{"a":{"b":[1,{"c":"\ud83d"}]}}}`, `{"subject":{"id":"` + strings.Repeat("x", maxNameSize) + `"}}`,
		`{"subject":{"id":"` + strings.Repeat("x", maxNameSize+1) + `"}}`, `{"context":` + strings.Repeat(`{"a":`, 8) + `1` + strings.Repeat(`}`, 9),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		limits := Limits{Bytes: 4 << 10, Depth: 8, Members: 60}
		got, err := ReadRequest(text, limits)
		var want *Request
		v, wrong := ParseJSON(text, limits)
		if wrong == nil {
			want, wrong = ParseRequest(v)
		}
		if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(err, wrong) {
			t.Fatalf("%q: read as %+v, %v; parsed as %+v, %v", text, got, err, want, wrong)
		}
	})
}

// FuzzParseRequest checks that a request that is accepted keeps its digest
// through its own JSON form.
func FuzzParseRequest(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"subject":{"type":"user","id":"a"},"action":{"name":"read"},"resource":{"type":"doc","id":"1"}}`,
		`{"subject":{"properties":{}},"action":{},"resource":null,"context":{"parts":["a",{"id":"b","properties":{"x":1}}]}}`,
		`{"context":{"on_behalf_of":{"type":"user","id":"a"},"delegation":["g"],"supported_obligations":["log"]}}`,
		`{"context":{"Aver":1}}`, `{"Subject":1}`, `{"\u017fubject":1}`, `{"extra":[1,2,{"context":3}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var r, again Request
		if err := r.UnmarshalJSON(text); err != nil {
			return
		}
		canonical, err := r.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if err := again.UnmarshalJSON(canonical); err != nil {
			t.Fatalf("%q: its own form %s is refused: %v", text, canonical, err)
		}
		if !reflect.DeepEqual(again, r) || again.Digest() != r.Digest() {
			t.Fatalf("%q: %s reads back as %+v, want %+v", text, canonical, again, r)
		}
	})
}

// FuzzPayloads checks that only the canonical bytes of a leaf, a record or an
// event are read, so that nothing else can pass for them.
func FuzzPayloads(f *testing.F) {
	for _, sample := range samples() {
		f.Add(sample.canonical)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if l, err := ParseLeaf(text); err == nil && !bytes.Equal(l.AppendCanonical(nil), text) {
			t.Errorf("leaf: %q is read, but is written %s", text, l.AppendCanonical(nil))
		}
		if r, err := ParseRecord(text); err == nil {
			if !bytes.Equal(r.AppendCanonical(nil), text) {
				t.Errorf("record: %q is read, but is written %s", text, r.AppendCanonical(nil))
			}
			checkCanonical(t, text)
		}
		if e, err := ParseEvent(text); err == nil {
			if canonical, err := e.Canonical(); err != nil || !bytes.Equal(canonical, text) {
				t.Errorf("event: %q is read, but is written %s, %v", text, canonical, err)
			}
			checkCanonical(t, text)
		}
	})
}

func checkCanonical(t *testing.T, text []byte) {
	t.Helper()
	v, err := ParseJSON(text, eventLimits)
	if err != nil || !bytes.Equal(AppendCanonical(nil, v), text) {
		t.Errorf("%q is read, but is not canonical: %v", text, err)
	}
}
