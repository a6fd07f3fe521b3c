package aver

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// A drawer fills records at random, every optional member now set, now not.
type drawer struct{ *rapid.T }

func (d drawer) text() string { return drawString().Draw(d.T, "text") }

func (d drawer) flip() bool { return rapid.Bool().Draw(d.T, "set") }

// optional is empty half of the time.
func (d drawer) optional() string {
	if d.flip() {
		return ""
	}
	return d.text()
}

func (d drawer) texts() []string { return list(d, d.text) }

func (d drawer) number() int64 {
	return rapid.Int64Range(-MaxInteger, MaxInteger).Draw(d.T, "number")
}

func (d drawer) index() *uint64 {
	if d.flip() {
		return nil
	}
	n := rapid.Uint64Range(0, MaxInteger).Draw(d.T, "index")
	return &n
}

func (d drawer) time() Time {
	return Time(rapid.Int64Range(int64(at("0000-01-01T00:00:00Z")), int64(at("9999-12-31T23:59:59.999Z"))).Draw(d.T, "time"))
}

func (d drawer) ref() Ref { return Ref{ID: d.text(), Type: d.text()} }

func list[T any](d drawer, one func() T) []T {
	var out []T
	for range rapid.IntRange(0, 2).Draw(d.T, "length") {
		out = append(out, one())
	}
	return out
}

func (d drawer) frame() Frame {
	f := Frame{
		As: FrameActor, Allowed: d.flip(), Policies: d.texts(),
		Errors: list(d, func() PolicyError { return PolicyError{Policy: d.text(), Message: d.text()} }),
	}
	if f.Grant = d.optional(); f.Grant != "" {
		f.As = FrameGrant
	} else if f.Exception = d.optional(); f.Exception != "" {
		f.As = FrameException
	} else if r := d.ref(); d.flip() && !r.IsZero() {
		f.As, f.Entity = FrameDelegator, r
	}
	return f
}

func (d drawer) reason() Reason {
	return Reason{Code: ReasonCode(d.text()), Policy: d.optional(), Grant: d.optional(), Detail: d.optional()}
}

// paths are drawn as a record has them.
func (d drawer) paths() Paths {
	var out Paths
	for _, root := range pathRoots {
		for range rapid.IntRange(0, 3).Draw(d.T, "paths") {
			path := root + rapid.SampledFrom([]string{".amount", ".a.b", `["line items"]`, ".Zeta", `["a.b"].c`, `.a["]"]`, "._x", `["\\"][""]`}).Draw(d.T, "path")
			if d.flip() {
				path = root + string(AppendString([]byte("["), d.text())) + "]"
			}
			out = append(out, path)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// kind is now and then what the type of the drawn record's subject says.
func (d drawer) kind() Kind {
	kinds := []Kind{KindUnknown, HumanUser, ServiceAccount, AIAgent, "a kind of its own"}
	return rapid.SampledFrom(kinds).Draw(d.T, "kind")
}

// drawnChain is the chain that a drawn request is made by.
type drawnChain struct {
	context map[string]any
	grants  []string // nil: none that a decision can have allowed by
	origin  Ref
}

func (d drawer) chain() (c drawnChain) {
	c.context = map[string]any{"channel": "x", "parts": []any{"a"}}
	flaw := rapid.SampledFrom([]string{"", "", "", "none", "too long", "no id", "no list", "origin: none", "origin: more", "origin: less"}).Draw(d.T, "flaw")
	if flaw == "none" {
		return c
	}
	length := rapid.IntRange(1, 3).Draw(d.T, "grants")
	if flaw == "too long" {
		length = MaxChain + 1
	}
	var list []any
	for i := range length {
		c.grants = append(c.grants, "g"+strconv.Itoa(i)+d.text())
		list = append(list, c.grants[i])
	}
	c.context["delegation"] = list
	origin := map[string]any{"id": "ann" + d.text(), "type": "user"}
	c.context["on_behalf_of"] = origin
	c.origin = Ref{ID: origin["id"].(string), Type: "user"}
	switch flaw {
	case "too long":
		c.grants = nil
	case "no id":
		list[0], c.grants = "", nil
	case "no list":
		c.context["delegation"], c.grants = "g0", nil
	case "origin: none":
		delete(c.context, "on_behalf_of")
	case "origin: more":
		origin["name"] = d.text()
	case "origin: less":
		delete(origin, "type")
	}
	return c
}

// frames are those of a decision by the chain; now and then one is missing, or says
// more than that it allows.
func (d drawer) chainFrames(c drawnChain, actor Frame) []Frame {
	out := []Frame{actor}
	one := func(f Frame) {
		switch rapid.SampledFrom([]string{"", "", "", "", "", "", "missing", "policies", "more"}).Draw(d.T, "frame") {
		case "missing":
			return
		case "policies":
			f.Policies = d.texts()
		case "more":
			f.Allowed, f.Errors = false, []PolicyError{{d.text(), d.text()}}
		}
		out = append(out, f)
	}
	for i := range c.grants {
		f := Frame{As: FrameDelegator, Allowed: true, Entity: Ref{"a" + strconv.Itoa(i), "ai_agent"}, Policies: actor.Policies}
		if i == len(c.grants)-1 && !c.origin.IsZero() {
			f.Entity = c.origin
		}
		one(f)
	}
	if rapid.IntRange(0, 5).Draw(d.T, "excepted") == 0 {
		out = append(out, Frame{As: FrameException, Exception: "x", Allowed: d.flip()})
	}
	for _, g := range c.grants {
		one(Frame{As: FrameGrant, Grant: g, Allowed: true})
	}
	return out
}

// ruling draws one that can have been made: its reasons hold those that follow from
// the frames, everybody is permitted by some policy, and a chain whose grants are
// known has the frame of one.
func (d drawer) ruling(c drawnChain) Ruling {
	r := d.anyRuling()
	if c.grants != nil && d.flip() {
		r.Frames = d.chainFrames(c, Frame{As: FrameActor, Allowed: d.flip(), Policies: []string{d.text()}})
	}
	if c.grants != nil && r.chained() && mayFollow(r.Frames) {
		r.Frames = append(r.Frames, Frame{As: FrameGrant, Grant: c.grants[0], Allowed: true})
	}
	for i := range r.Frames {
		if f := &r.Frames[i]; f.As == FrameDelegator && f.Allowed && len(f.Policies) == 0 {
			f.Policies = []string{d.text()}
			if shared := r.shared(); d.flip() && len(shared) > 0 {
				f.Policies = shared
			}
		}
	}
	if follow := r.follow(nil); len(follow) > 0 {
		var found []Reason
		if r.Outcome == Denied && d.flip() { // after the frames
			found = append([]Reason{{Code: rapid.SampledFrom([]ReasonCode{ReasonTokenScope, ReasonLimit, ReasonLimitUnread}).Draw(d.T, "code"), Detail: d.text()}}, r.Reasons...)
			r.Reasons = list(d, d.reason)
		}
		if r.Outcome != Denied {
			r.Reasons, found = nil, r.Reasons
		}
		r.Reasons = append(append(r.Reasons, follow...), found...)
	}
	return r
}

func (d drawer) anyRuling() Ruling {
	return Ruling{
		Outcome: rapid.SampledFrom(Outcomes()).Draw(d.T, "outcome"),
		Reasons: list(d, d.reason),
		Frames:  list(d, d.frame),
		Requirements: list(d, func() Requirement {
			return Requirement{
				Gate: Gate(d.text()), Policy: d.text(), ACRValues: d.texts(), AMRValues: d.texts(), MaxAge: new(d.number()),
				Present: d.optional(), Approvers: d.texts(), Approvals: rapid.IntRange(-1, 3).Draw(d.T, "approvals"), Within: d.number(),
			}
		}),
		Obligations: list(d, func() Obligation {
			o := Obligation{ID: d.text(), Type: d.text()}
			if p := drawObject(1).Draw(d.T, "properties"); len(p) > 0 {
				o.Properties = p
			}
			return o
		}),
	}
}

func (d drawer) decision(ruling func() Ruling) Decision {
	return Decision{
		Ruling:   ruling(),
		Actor:    Actor{Kind: d.kind(), Event: d.index()},
		Parts:    list(d, func() PartDecision { return PartDecision{ID: d.text(), Ruling: ruling()} }),
		Counters: list(d, func() Counter { return Counter{d.text(), d.text(), d.number(), d.number(), d.number()} }),
	}
}

func (d drawer) record(decision Decision, c drawnChain) *Record {
	request := drawObject(2).Draw(d.T, "request")
	delete(request, "context")
	if c.context != nil {
		request["context"] = c.context
	}
	decision.Actor.Ref = Ref{ID: d.text(), Type: rapid.SampledFrom([]string{"user", "human_user", "ai_agent", "team", ""}).Draw(d.T, "type")}
	request["subject"] = map[string]any{"id": decision.Actor.ID, "type": decision.Actor.Type}
	return &Record{
		ID: d.text(), Kind: "decision", Time: d.time(), Semantics: d.text(), Engine: d.text(),
		Authority: TreeHead{Root: d.text(), Size: rapid.Uint64Range(0, MaxInteger).Draw(d.T, "size")},
		Policies:  d.text(), PEP: PEP{Credential: d.text(), RequestID: d.optional()},
		Request: AppendCanonical(nil, request), Full: d.text(), Omitted: d.paths(),
		Facts:    Facts{Absent: list(d, d.ref), Events: list(d, func() uint64 { return rapid.Uint64Range(0, MaxInteger).Draw(d.T, "event") })},
		Decision: decision, Salt: d.text(),
	}
}

// The members are written by hand in what has to be the canonical order. Whatever
// is written, is read, and written the same again.
func TestRecordIsWrittenInCanonicalForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawer{t}
		r := d.record(d.decision(d.anyRuling), drawnChain{})
		got := r.AppendCanonical(nil)
		v, err := ParseJSON(got, eventLimits)
		if err != nil {
			t.Fatalf("%s: %v", got, err)
		}
		if want := AppendCanonical(nil, v); !bytes.Equal(got, want) {
			t.Fatalf("not canonical:\n got %s\nwant %s", got, want)
		}
		back, err := ParseRecord(got)
		if err != nil {
			t.Fatalf("%s: %v", got, err)
		}
		if again := back.AppendCanonical(nil); !bytes.Equal(again, got) {
			t.Fatalf("written otherwise once it was read:\n got %s\nwant %s", again, got)
		}
	})
}

// What follows from the rest is not written, and put back on reading.
func TestRecordReadsBackAsItWasDecided(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawer{t}
		c := d.chain()
		decision := d.decision(func() Ruling { return d.ruling(c) })
		if len(decision.Parts) > 0 { // then they have the frames
			decision.Frames, decision.Reasons = nil, list(d, d.reason)
			if decision.Outcome.whollyAllowed() && (d.flip() || len(decision.Reasons) == 0) {
				decision.Reasons = PartReasons(decision.Parts)
			}
		}
		r := d.record(decision, c)
		back, err := ParseRecord(r.AppendCanonical(nil))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(r, back, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("%s reads back otherwise (-want +got):\n%s", r.AppendCanonical(nil), d)
		}
	})
}

// Nothing that is left out makes a denial look like a permit: a frame that does not
// allow says so, whatever else it has, and so does the outcome.
func TestDenialIsAlwaysWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawer{t}
		c := d.chain()
		r := d.ruling(c)
		text := d.record(Decision{Ruling: r}, c).AppendCanonical(nil)
		var got struct {
			Decision struct {
				Outcome string
				Frames  []map[string]any
			}
		}
		if err := json.Unmarshal(text, &got); err != nil || got.Decision.Outcome != r.Outcome.String() {
			t.Fatalf("%s: %v", text, err)
		}
		denies := func(f Frame) bool { return !f.Allowed }
		written, want := 0, len(slices.DeleteFunc(slices.Clone(r.Frames), func(f Frame) bool { return f.Allowed }))
		for _, f := range got.Decision.Frames {
			if allowed, said := f["allowed"]; said && allowed != false {
				t.Fatalf("%s says that a frame allows", text)
			} else if said {
				written++
			}
		}
		if written != want {
			t.Fatalf("%s says of %d frames that they do not allow, and %d do not", text, written, want)
		}
		if all := len(got.Decision.Frames) == len(r.Frames); !all && slices.ContainsFunc(r.Frames[len(r.Frames)-1:], denies) {
			t.Fatalf("%s leaves out frames, and the last grant does not allow", text)
		}
	})
}

func TestLeafIsWrittenInCanonicalForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawer{t}
		l := NewLeaf(d.text(), d.text(), d.time(), []byte(d.text()))
		l.Class, l.Type = d.optional(), d.optional()
		if d.flip() {
			o := rapid.SampledFrom(Outcomes()).Draw(t, "outcome")
			l.Outcome = &o
		}
		got := l.AppendCanonical(nil)
		v, err := ParseJSON(got, Limits{})
		if err != nil || !bytes.Equal(got, AppendCanonical(nil, v)) {
			t.Fatalf("%s is not canonical: %v", got, err)
		}
		back, err := ParseLeaf(got)
		if err != nil || !reflect.DeepEqual(back, l) {
			t.Fatalf("%s reads back as %+v, %v", got, back, err)
		}
	})
}

// What a record does not keep: the sentences of its reasons, and the difference
// between an empty list or object and none.
func TestWhatARecordDoesNotKeep(t *testing.T) {
	r := sampleRecords()[0]
	want := string(r.AppendCanonical(nil))
	r.Decision.Reasons[0].Text = "An agent may approve what its clerk may."
	r.Decision.Frames[2].Policies = []string{}
	r.Decision.Frames[2].Errors = []PolicyError{}
	r.Decision.Parts = []PartDecision{}
	r.Decision.Requirements = []Requirement{}
	r.Decision.Obligations = []Obligation{}
	if got := string(r.AppendCanonical(nil)); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	o := Obligation{ID: "a", Type: "b", Properties: Properties{}}
	if got, want := string(o.appendCanonical(nil)), `{"id":"a","type":"b"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestZeroRecordIsADenial(t *testing.T) {
	r := Record{Kind: "decision", Request: json.RawMessage("{}")}
	back, err := ParseRecord(r.AppendCanonical(nil))
	if err != nil || back.Decision.Outcome != Denied {
		t.Errorf("%+v, %v", back, err)
	}
}

func TestParseRecordRefuses(t *testing.T) {
	good := string(sampleRecords()[0].AppendCanonical(nil))
	for _, c := range []struct{ name, old, new, want string }{
		{"space", `{"authority"`, `{ "authority"`, "canonical"},
		{"line feed at the end", `49.123Z"}`, "49.123Z\"}\n", "canonical"},
		{"member order", `"semantics":"aver/1","time":"2026-11-24T07:33:49.123Z"`, `"time":"2026-11-24T07:33:49.123Z","semantics":"aver/1"`, "canonical"},
		{"unknown member", `"engine":`, `"enemy":1,"engine":`, "canonical"},
		{"unknown member deep", `{"policies":["payments/agents-approve"]}`, `{"at":1,"policies":["payments/agents-approve"]}`, "canonical"},
		{"member in another case", `"salt":`, `"SALT":`, "canonical"},
		{"member twice", `"kind":"decision"`, `"kind":"decision","kind":"decision"`, "canonical"},
		{"member missing", `"semantics":"aver/1",`, ``, "canonical"},
		{"escaped letter", `"engine":"cedar`, `"engine":"\u0063edar`, "canonical"},
		{"escaped slash", `cedar-go/v1`, `cedar-go\/v1`, "canonical"},
		{"invalid UTF-8", `cedar-go/v1`, "cedar-go\xff", "canonical"},
		{"empty list", `,"outcome"`, `,"obligations":[],"outcome"`, "canonical"},
		{"null", `"engine":"cedar-go/v1.9.0"`, `"engine":null`, "canonical"},
		{"time to the second", `49.123Z`, `49Z`, "canonical"},
		{"time of another zone", `T07:33:49.123Z`, `T08:33:49.123+01:00`, "canonical"},
		{"number with a fraction", `"size":214`, `"size":214.0`, "record: json: "},
		{"negative size", `"size":214`, `"size":-1`, "record: json: "},
		{"unknown outcome", `"outcome":"permitted"`, `"outcome":"granted"`, `"granted" is not an outcome`},
		{"reason that follows", `"outcome":"permitted"`, `"outcome":"permitted","reasons":[{"code":"permitted","policy":"payments/agents-approve"}]`, "canonical"},
		{"frame that says that it allows", `{"entity":{"id":"ann"`, `{"allowed":true,"entity":{"id":"ann"`, "canonical"},
		{"policies that follow", `{"entity":{"id":"ann","type":"user"},"policies":["payments/clerks-approve"]}`,
			`{"entity":{"id":"ann","type":"user"},"policies":["payments/agents-approve"]}`, "canonical"},
		{"frame of a grant that follows", `"policies":["payments/clerks-approve"]}]`, `"policies":["payments/clerks-approve"]},{"grant":"g-ap-ann"}]`, "canonical"},
		{"who the actor is", `"actor":{"event":12}`, `"actor":{"event":12,"id":"ap-agent"}`, "canonical"},
		{"kind that follows", `"actor":{"event":12}`, `"actor":{"event":12,"kind":"ai_agent"}`, "canonical"},
		{"empty kind", `"actor":{"event":12}`, `"actor":{"event":12,"kind":""}`, "canonical"},
		{"list of whole paths", `"omitted":{"context":["trace"],"principal":["version"],"resource":["[\"line items\"]"]}`, `"omitted":["context.trace"]`, "record: json: "},
		{"omitted by another order", `"omitted":{"context":["trace"],"principal":["version"],`, `"omitted":{"principal":["version"],"context":["trace"],`, "canonical"},
		{"omitted of what is no part", `"omitted":{"context"`, `"omitted":{"aver":["x"],"context"`, "a path begins with"},
		{"omitted by an empty list", `"omitted":{"context"`, `"omitted":{"action":[],"context"`, "canonical"},
		{"omitted twice", `"omitted":{"context"`, `"omitted":{"context":["a"],"context"`, "canonical"},
		{"empty actor", `"actor":{"event":12}`, `"actor":{}`, "canonical"},
		{"not a time", `2026-11-24T07:33:49.123Z`, `yesterday`, "is not a time"},
		{"another kind", `"kind":"decision"`, `"kind":"activity"`, `kind "activity" is not known to this version`},
		{"space in the request", `"request":{"action"`, `"request":{ "action"`, "canonical"},
		{"member order in the request", `"name":"payment.approve","properties":{"tool":"erp"}`, `"properties":{"tool":"erp"},"name":"payment.approve"`, "canonical"},
		{"member of the request twice", `"amount":125000`, `"amount":1,"amount":125000`, "request: line 1"},
		{"number in the request", `"amount":125000`, `"amount":125000.0`, "canonical"},
		{"fraction in the request", `"amount":125000`, `"amount":1250.5`, "not a whole number"},
		{"no request", `"request":{`, `"Request":{`, "canonical"},
		{"cut short", `49.123Z"}`, `49.123Z"`, "record: unexpected end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.Count(good, c.old) != 1 {
				t.Fatalf("%q stands %d times in the sample", c.old, strings.Count(good, c.old))
			}
			bad := strings.Replace(good, c.old, c.new, 1)
			if r, err := ParseRecord([]byte(bad)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, %v; want an error with %q", r, err, c.want)
			}
		})
	}
	if _, err := ParseRecord([]byte(good)); err != nil {
		t.Errorf("the sample itself is refused: %v", err)
	}
	for _, text := range []string{``, `null`, `{}`, `[]`, `1`, `{"kind":"decision"}`} {
		if _, err := ParseRecord([]byte(text)); err == nil {
			t.Errorf("%q is read", text)
		}
	}
}

func TestParseLeafRefuses(t *testing.T) {
	leaf := sampleLeaves()["decision"]
	good := string(leaf.AppendCanonical(nil))
	for _, c := range []struct{ name, text string }{
		{"nothing", ``}, {"null", `null`}, {"no members", `{}`}, {"another shape", `[]`},
		{"space", " " + good}, {"line feed at the end", good + "\n"}, {"cut short", good[:len(good)-1]},
		{"unknown member", strings.Replace(good, `"time"`, `"then":1,"time"`, 1)},
		{"member twice", strings.Replace(good, `"kind":"decision"`, `"kind":"decision","kind":"decision"`, 1)},
		{"member in another case", strings.Replace(good, `"kind"`, `"Kind"`, 1)},
		{"empty class", strings.Replace(good, `{"id"`, `{"class":"","id"`, 1)},
		{"null outcome", strings.Replace(good, `"permitted"`, `null`, 1)},
		{"unknown outcome", strings.Replace(good, `"permitted"`, `"Permitted"`, 1)},
		{"time to the second", strings.Replace(good, `49.123Z`, `49Z`, 1)},
	} {
		if c.text == good {
			t.Fatalf("%s: nothing was changed", c.name)
		}
		if l, err := ParseLeaf([]byte(c.text)); err == nil || !strings.HasPrefix(err.Error(), "leaf: ") {
			t.Errorf("%s: got %+v, %v", c.name, l, err)
		}
	}
	if got, err := ParseLeaf([]byte(good)); err != nil || !reflect.DeepEqual(got, leaf) {
		t.Errorf("the sample itself reads as %+v, %v", got, err)
	}
}

// A single flipped bit anywhere in a payload breaks the leaf's commitment.
func TestLeafMatchesOnlyItsPayload(t *testing.T) {
	payload := sampleRecords()[0].AppendCanonical(nil)
	l := NewLeaf("decision", "id", 1, payload)
	if !l.Matches(payload) {
		t.Fatal("it does not match its payload")
	}
	for i := range payload {
		payload[i] ^= 1
		if l.Matches(payload) {
			t.Fatalf("it matches with byte %d changed", i)
		}
		payload[i] ^= 1
	}
	if l.Payload = strings.ToUpper(l.Payload); l.Matches(payload) {
		t.Error("it matches in capitals, which is not how the payload is written")
	}
}

func TestSortRefs(t *testing.T) {
	refs := []Ref{{"b", "user"}, {"\ufb33", "t"}, {"a", "user"}, {"z", "group"}, {"\U0001F600", "t"}, {"", "user"}}
	want := []Ref{{"z", "group"}, {"\U0001F600", "t"}, {"\ufb33", "t"}, {"", "user"}, {"a", "user"}, {"b", "user"}}
	SortRefs(refs)
	if d := cmp.Diff(want, refs); d != "" {
		t.Error(d)
	}
}
