package aver

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func parseRequest(t *testing.T, text string) *Request {
	t.Helper()
	v, err := ParseJSON([]byte(text), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := ParseRequest(v)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return r
}

func TestParseRequest(t *testing.T) {
	got := parseRequest(t, `{
		"subject": {"type": "ai_agent", "id": "ap-agent", "properties": {"version": "2.3"}, "label": "ignored"},
		"action": {"name": "payment.approve", "properties": {"tool": "erp"}, "id": "ignored"},
		"resource": {"type": "payment", "id": "p-1", "properties": {}},
		"context": {"on_behalf_of": {"type": "user", "id": "ann", "properties": {"x": 1}}, "delegation": ["g-1", "g-2"],
			"supported_obligations": ["mask"], "parts": ["a", {"id": "b"}, {"id": "c", "properties": {"class": "secret"}}],
			"averted": 1, "anything": null},
		"evaluations": [], "options": 7, "extra": {"subject": 1}
	}`)
	want := &Request{
		Subject:  Party{Ref{"ap-agent", "ai_agent"}, map[string]any{"version": "2.3"}},
		Action:   Action{"payment.approve", map[string]any{"tool": "erp"}},
		Resource: Party{Ref{"p-1", "payment"}, map[string]any{}},
		Context: map[string]any{
			"on_behalf_of": map[string]any{"type": "user", "id": "ann", "properties": map[string]any{"x": int64(1)}},
			"delegation":   []any{"g-1", "g-2"}, "supported_obligations": []any{"mask"},
			"parts":   []any{"a", map[string]any{"id": "b"}, map[string]any{"id": "c", "properties": map[string]any{"class": "secret"}}},
			"averted": int64(1), "anything": nil,
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if err := got.Validate(); err != nil {
		t.Error(err)
	}
	if who, ok := got.OnBehalfOf(); !ok || who != (Ref{"ann", "user"}) {
		t.Errorf("OnBehalfOf() = %v, %v", who, ok)
	}
	if d := cmp.Diff([]string{"g-1", "g-2"}, got.Delegation()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"mask"}, got.SupportedObligations()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]Part{{ID: "a"}, {ID: "b"}, {"c", map[string]any{"class": "secret"}}}, got.Parts()); d != "" {
		t.Error(d)
	}
	if got.Tool() != "erp" {
		t.Errorf("Tool() = %q", got.Tool())
	}
}

func TestRequestWithNothingSpecial(t *testing.T) {
	for _, text := range []string{
		`{}`, `{"context": null}`, `{"context": {}}`,
		`{"context": {"on_behalf_of": null, "delegation": null, "parts": null, "supported_obligations": null}}`,
		`{"subject": null, "action": null, "resource": null}`,
		`{"subject": {"type": null, "id": null, "properties": null}, "action": {"name": null}}`,
	} {
		r := parseRequest(t, text)
		if who, ok := r.OnBehalfOf(); ok || !who.IsZero() {
			t.Errorf("%s: OnBehalfOf() = %v, %v", text, who, ok)
		}
		if len(r.Delegation()) > 0 || len(r.SupportedObligations()) > 0 || r.Parts() != nil || r.Tool() != "" {
			t.Errorf("%s: %v %v %v %q", text, r.Delegation(), r.SupportedObligations(), r.Parts(), r.Tool())
		}
		if err := r.Validate(); err == nil {
			t.Errorf("%s: nothing is missing", text)
		}
	}
}

// A list that was built in Go rather than parsed may hold anything.
func TestRequestSkipsWhatParseRequestWouldRefuse(t *testing.T) {
	r := &Request{Context: map[string]any{"delegation": []any{"g", 1, nil}, "supported_obligations": "mask", "parts": 1}}
	if got := r.Delegation(); !reflect.DeepEqual(got, []string{"g"}) {
		t.Errorf("Delegation() = %v", got)
	}
	if got := r.SupportedObligations(); len(got) > 0 {
		t.Errorf("SupportedObligations() = %v", got)
	}
	if got := r.Parts(); got != nil {
		t.Errorf("Parts() = %v", got)
	}
}

func TestParseRequestRefuses(t *testing.T) {
	long := strings.Repeat("x", 1025)
	many := func(n int, format string) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf(format, i))
		}
		return "[" + strings.Join(all, ",") + "]"
	}
	const (
		object = "must be an object"
		length = "is longer than 1024 bytes"
		oneOf  = "must be a string of 1 to 1024 bytes"
		partID = "needs an id of 1 to 1024 bytes"
	)
	for _, c := range []struct{ text, pointer, reason string }{
		{`null`, "", "the request must be a JSON object"},
		{`[]`, "", "the request must be a JSON object"},
		{`"x"`, "", "the request must be a JSON object"},

		{`{"Subject":{}}`, "/Subject", `did you mean "subject"? Names are case-sensitive`},
		{"{\"\u017fubject\":{}}", "/\u017fubject", `did you mean "subject"? Names are case-sensitive`},
		{`{"ACTION":{}}`, "/ACTION", `did you mean "action"? Names are case-sensitive`},
		{`{"resourcE":{}}`, "/resourcE", `did you mean "resource"? Names are case-sensitive`},
		{`{"Context":{}}`, "/Context", `did you mean "context"? Names are case-sensitive`},
		{`{"Evaluations":[]}`, "/Evaluations", `did you mean "evaluations"? Names are case-sensitive`},
		{`{"Options":{}}`, "/Options", `did you mean "options"? Names are case-sensitive`},

		{`{"subject":"ann"}`, "/subject", object},
		{`{"subject":[]}`, "/subject", object},
		{`{"subject":{"Type":"user"}}`, "/subject/Type", `did you mean "type"? Names are case-sensitive`},
		{`{"subject":{"type":1}}`, "/subject/type", "must be a string"},
		{`{"subject":{"type":""}}`, "/subject/type", "must not be empty"},
		{`{"subject":{"type":"` + long + `"}}`, "/subject/type", length},
		{`{"subject":{"ID":"a"}}`, "/subject/ID", `did you mean "id"? Names are case-sensitive`},
		{`{"subject":{"id":{}}}`, "/subject/id", "must be a string"},
		{`{"subject":{"id":""}}`, "/subject/id", "must not be empty"},
		{`{"subject":{"id":"` + long + `"}}`, "/subject/id", length},
		{`{"subject":{"properties":[]}}`, "/subject/properties", object},
		{`{"subject":{"Properties":{}}}`, "/subject/Properties", `did you mean "properties"? Names are case-sensitive`},

		{`{"resource":1}`, "/resource", object},
		{`{"resource":{"tYpe":"doc"}}`, "/resource/tYpe", `did you mean "type"? Names are case-sensitive`},
		{`{"resource":{"type":true}}`, "/resource/type", "must be a string"},
		{`{"resource":{"id":101}}`, "/resource/id", "must be a string"},
		{`{"resource":{"properties":"x"}}`, "/resource/properties", object},

		{`{"action":"read"}`, "/action", object},
		{`{"action":{"Name":"read"}}`, "/action/Name", `did you mean "name"? Names are case-sensitive`},
		{`{"action":{"name":["read"]}}`, "/action/name", "must be a string"},
		{`{"action":{"name":""}}`, "/action/name", "must not be empty"},
		{`{"action":{"name":"` + long + `"}}`, "/action/name", length},
		{`{"action":{"properties":1}}`, "/action/properties", object},
		{`{"action":{"PROPERTIES":{}}}`, "/action/PROPERTIES", `did you mean "properties"? Names are case-sensitive`},

		{`{"context":[]}`, "/context", object},
		{`{"context":"x"}`, "/context", object},
		{`{"context":{"aver":{}}}`, "/context/aver", "the name is reserved: what stands there is vouched for by Aver, so callers can't send it"},
		{`{"context":{"a":[1,{"b/c":{"_sd":[]}}]}}`, "/context/a/1/b~1c/_sd", "the name is reserved for withheld values (RFC 9901)"},
		{`{"subject":{"properties":{"_sd":1}}}`, "/subject/properties/_sd", "the name is reserved for withheld values (RFC 9901)"},
		{`{"action":{"properties":{"_sd":1}}}`, "/action/properties/_sd", "the name is reserved for withheld values (RFC 9901)"},
		{`{"resource":{"properties":{"z":{"_sd":1},"y":{"_sd":1}}}}`, "/resource/properties/y/_sd", "the name is reserved for withheld values (RFC 9901)"},
		{`{"context":{"aver":null}}`, "/context/aver", "the name is reserved: what stands there is vouched for by Aver, so callers can't send it"},
		{`{"context":{"Aver":{}}}`, "/context/Aver", `did you mean "aver"? Names are case-sensitive`},
		{`{"context":{"On_behalf_of":{}}}`, "/context/On_behalf_of", `did you mean "on_behalf_of"? Names are case-sensitive`},
		{`{"context":{"Delegation":[]}}`, "/context/Delegation", `did you mean "delegation"? Names are case-sensitive`},
		{`{"context":{"PARTS":[]}}`, "/context/PARTS", `did you mean "parts"? Names are case-sensitive`},
		{`{"context":{"Supported_Obligations":[]}}`, "/context/Supported_Obligations", `did you mean "supported_obligations"? Names are case-sensitive`},

		{`{"context":{"on_behalf_of":"ann"}}`, "/context/on_behalf_of", object},
		{`{"context":{"on_behalf_of":{}}}`, "/context/on_behalf_of", "needs a type and an id"},
		{`{"context":{"on_behalf_of":{"type":"user"}}}`, "/context/on_behalf_of", "needs a type and an id"},
		{`{"context":{"on_behalf_of":{"id":"ann"}}}`, "/context/on_behalf_of", "needs a type and an id"},
		{`{"context":{"on_behalf_of":{"type":"user","id":7}}}`, "/context/on_behalf_of/id", "must be a string"},
		{`{"context":{"on_behalf_of":{"Type":"user","id":"a"}}}`, "/context/on_behalf_of/Type", `did you mean "type"? Names are case-sensitive`},

		{`{"context":{"delegation":"g-1"}}`, "/context/delegation", "must be a list of strings"},
		{`{"context":{"delegation":["g-1",2]}}`, "/context/delegation/1", oneOf},
		{`{"context":{"delegation":[""]}}`, "/context/delegation/0", oneOf},
		{`{"context":{"delegation":["` + long + `"]}}`, "/context/delegation/0", oneOf},
		{`{"context":{"delegation":` + many(101, `"g-%d"`) + `}}`, "/context/delegation", "has more than 100 entries"},
		{`{"context":{"supported_obligations":{}}}`, "/context/supported_obligations", "must be a list of strings"},
		{`{"context":{"supported_obligations":[null]}}`, "/context/supported_obligations/0", oneOf},
		{`{"context":{"supported_obligations":` + many(101, `"o-%d"`) + `}}`, "/context/supported_obligations", "has more than 100 entries"},

		{`{"context":{"parts":[]}}`, "/context/parts", `must be a list of at least one part, each an id or {"id", "properties"}`},
		{`{"context":{"parts":{"a":1}}}`, "/context/parts", `must be a list of at least one part, each an id or {"id", "properties"}`},
		{`{"context":{"parts":` + many(101, `"p-%d"`) + `}}`, "/context/parts", "has more than 100 parts; split the request"},
		{`{"context":{"parts":["a",1]}}`, "/context/parts/1", "must be an id or an object"},
		{`{"context":{"parts":["a",null]}}`, "/context/parts/1", "must be an id or an object"},
		{`{"context":{"parts":[""]}}`, "/context/parts/0", partID},
		{`{"context":{"parts":["` + long + `"]}}`, "/context/parts/0", partID},
		{`{"context":{"parts":[{}]}}`, "/context/parts/0", partID},
		{`{"context":{"parts":[{"id":3}]}}`, "/context/parts/0/id", "must be a string"},
		{`{"context":{"parts":[{"Id":"a"}]}}`, "/context/parts/0/Id", `did you mean "id"? Names are case-sensitive`},
		{`{"context":{"parts":[{"id":"a","properties":[]}]}}`, "/context/parts/0/properties", object},
		{`{"context":{"parts":["a","b",{"id":"a"}]}}`, "/context/parts/2", "has the id of an earlier part"},
	} {
		v, err := ParseJSON([]byte(c.text), Limits{})
		if err != nil {
			t.Fatalf("%.80s: %v", c.text, err)
		}
		_, err = ParseRequest(v)
		var got *RequestError
		if !errors.As(err, &got) || *got != (RequestError{c.pointer, c.reason}) {
			t.Errorf("%.80s\n got %+v\nwant %s: %s", c.text, err, c.pointer, c.reason)
		}
		if err != nil && err.Error() != c.pointer+": "+c.reason {
			t.Errorf("Error() = %q", err)
		}
	}
}

func TestParseRequestTakesTheLimitsThemselves(t *testing.T) {
	name := strings.Repeat("x", 1024)
	var hundred []any
	for i := range 100 {
		hundred = append(hundred, fmt.Sprint(i))
	}
	r, err := ParseRequest(map[string]any{
		"subject": map[string]any{"type": name, "id": name},
		"action":  map[string]any{"name": name},
		"context": map[string]any{"delegation": hundred, "parts": hundred, "supported_obligations": hundred},
	})
	if err != nil || len(r.Parts()) != MaxParts || len(r.Delegation()) != 100 {
		t.Errorf("%v", err)
	}
}

func TestValidateNamesTheFirstMissingMember(t *testing.T) {
	members := []string{"/subject/type", "/subject/id", "/action/name", "/resource/type", "/resource/id"}
	for i, want := range members {
		r := &Request{Subject: Party{Ref: Ref{"a", "user"}}, Action: Action{Name: "read"}, Resource: Party{Ref: Ref{"1", "doc"}}}
		for _, clear := range []func(){
			func() { r.Subject.Type = "" }, func() { r.Subject.ID = "" }, func() { r.Action.Name = "" },
			func() { r.Resource.Type = "" }, func() { r.Resource.ID = "" },
		}[i:] {
			clear()
		}
		var got *RequestError
		if err := r.Validate(); !errors.As(err, &got) || *got != (RequestError{want, "is required"}) {
			t.Errorf("got %v, want %s", got, want)
		}
	}
}

func TestRequestTool(t *testing.T) {
	for text, want := range map[string]string{
		`{"action":{"name":"call","properties":{"tool":"erp"}}}`:                                     "erp",
		`{"action":{"name":"call"},"resource":{"type":"tool","id":"mail"}}`:                          "mail",
		`{"action":{"name":"c","properties":{"tool":"erp"}},"resource":{"type":"tool","id":"mail"}}`: "erp",
		`{"action":{"name":"c","properties":{"tool":5}},"resource":{"type":"payment","id":"mail"}}`:  "",
	} {
		if got := parseRequest(t, text).Tool(); got != want {
			t.Errorf("%s: tool %q, want %q", text, got, want)
		}
	}
}

func TestDigestIsThatOfTheCanonicalRequest(t *testing.T) {
	first := parseRequest(t, `{"subject":{"type":"user","id":"ann","properties":{"b":1,"a":[1,2]}},"action":{"name":"read"},"resource":{"type":"doc","id":"1"},"context":{"y":null,"x":10}}`)
	same := parseRequest(t, ` { "extra": 1, "context" : {"x":1.0e1,"y":null}, "resource":{"id":"1","type":"doc","label":"ignored"},
		"action":{"properties":null,"name":"\u0072ead"},"subject":{"properties":{"a":[1,2],"b":1},"id":"ann","type":"user"}}`)
	if first.Digest() != same.Digest() {
		t.Errorf("the same request has two digests")
	}
	// sha256sum of the canonical form, by hand.
	if got, want := first.Digest(), Digest([]byte(`{"action":{"name":"read"},"context":{"x":10,"y":null},"resource":{"id":"1","type":"doc"},"subject":{"id":"ann","properties":{"a":[1,2],"b":1},"type":"user"}}`)); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
	if got, want := Digest(nil), "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"; got != want {
		t.Errorf("Digest of nothing: %s, want %s", got, want)
	}
	for _, other := range []string{
		`{"subject":{"type":"user","id":"ann","properties":{"b":1,"a":[2,1]}},"action":{"name":"read"},"resource":{"type":"doc","id":"1"},"context":{"y":null,"x":10}}`,
		`{"subject":{"type":"user","id":"ann","properties":{"b":1,"a":[1,2]}},"action":{"name":"read"},"resource":{"type":"doc","id":"1"},"context":{"x":10}}`,
		`{"subject":{"type":"user","id":"ann","properties":{"b":1,"a":[1,2]}},"action":{"name":"read","properties":{}},"resource":{"type":"doc","id":"1"},"context":{"y":null,"x":10}}`,
	} {
		if parseRequest(t, other).Digest() == first.Digest() {
			t.Errorf("another request has the same digest: %s", other)
		}
	}
}

func TestRequestSurvivesItsJSONForm(t *testing.T) {
	for _, text := range []string{
		`{}`,
		`{"subject":{"properties":{"a":1}}}`,
		`{"subject":{"type":"user"},"action":{"properties":{}},"resource":{"id":"1","properties":{}},"context":{}}`,
		samplePermittedRequest,
	} {
		checkSurvives(t, parseRequest(t, text))
	}
	rapid.Check(t, func(t *rapid.T) {
		d := drawer{t}
		party := func() Party {
			p := Party{Ref: Ref{ID: d.optional(), Type: d.optional()}}
			if d.flip() {
				p.Properties = drawObject(2).Draw(t, "properties")
			}
			return p
		}
		r := &Request{Subject: party(), Resource: party(), Action: Action{Name: d.optional()}}
		if d.flip() {
			r.Action.Properties = drawObject(1).Draw(t, "properties")
		}
		if d.flip() {
			r.Context = map[string]any{"x": drawValue(1).Draw(t, "x"), "parts": []any{"a", map[string]any{"id": "b"}}}
		}
		checkSurvives(t, r)
	})
}

func checkSurvives(t rapid.TB, r *Request) {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var again Request
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if d := cmp.Diff(r, &again); d != "" {
		t.Fatalf("%s reads back otherwise (-want +got):\n%s", text, d)
	}
	if again.Digest() != r.Digest() {
		t.Fatalf("%s reads back with another digest", text)
	}
}

func TestUnmarshalRequestIsStrict(t *testing.T) {
	for text, want := range map[string]string{
		`{"subject":{},"subject":{}}`:        "stands twice",
		`{"context":{"a":1.5}}`:              "not a whole number",
		`{"Subject":{}}`:                     `/Subject: did you mean "subject"?`,
		`[]`:                                 "the request must be a JSON object",
		`{"context":{"aver":{"now":"now"}}}`: "the name is reserved",
	} {
		r := Request{Action: Action{Name: "kept"}}
		if err := json.Unmarshal([]byte(text), &r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
		if r.Action.Name != "kept" {
			t.Errorf("%s: it is changed although refused", text)
		}
	}
}

// Whoever puts a request together in Go uses the types at hand.
func TestMarshalRequestMadeInGo(t *testing.T) {
	r := &Request{
		Subject: Party{Ref: Ref{"ann", "user"}, Properties: map[string]any{"groups": []string{"clerks"}, "level": 3.0}},
		Context: map[string]any{"delegation": []string{"g-1"}, "device": struct {
			Trusted bool `json:"trusted"`
		}{true}},
	}
	text, err := json.Marshal(r)
	want := `{"context":{"delegation":["g-1"],"device":{"trusted":true}},"subject":{"id":"ann","properties":{"groups":["clerks"],"level":3},"type":"user"}}`
	if err != nil || string(text) != want {
		t.Errorf("got %s, %v; want %s", text, err, want)
	}
	r.Context["risk"] = 0.87
	if _, err := json.Marshal(r); err == nil || !strings.Contains(err.Error(), "/context/risk: 0.87 is not a whole number") {
		t.Errorf("a fraction: %v", err)
	}
}

// The canonical form that is written directly is that of the object.
func TestRequestAppendCanonical(t *testing.T) {
	for _, text := range []string{
		`{}`, `{"subject":{"type":"u","id":"i"}}`, `{"action":{"properties":{}},"context":{}}`,
		`{"subject":{"id":"i","properties":{"b":1,"a":[1,{"z":null}]}},"action":{"name":"n","properties":{"x":"y"}},"resource":{"type":"t","id":"é"},"context":{"c":true}}`,
	} {
		v, err := ParseJSON([]byte(text), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		r, err := ParseRequest(v)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := string(r.AppendCanonical(nil)), string(AppendCanonical(nil, r.JSON())); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
