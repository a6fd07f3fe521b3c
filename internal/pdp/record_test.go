package pdp_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/pdp"
)

func (w *world) record(text string) (*aver.Record, []string) {
	w.t.Helper()
	q := pdp.NewQuery(request(w.t, text))
	d, evidence := pdp.Decide(w.st, q, start+10_000, nil)
	r, disclosures, err := pdp.NewRecord(w.st, q, d, evidence, pdp.Circumstances{ID: "id", Time: start + 10_000, Random: rand.Reader})
	if err != nil {
		w.t.Fatal(err)
	}
	checkReadsBack(w.t, r)
	return r, disclosures
}

// E3: what an exception does to reasons is read back from the record, whether it lifts what forbids or only covers it.
func TestRecordOfExceptions(t *testing.T) {
	w := newWorld(t, "")
	w.bundle("exceptions: [{kind: break_glass, max: 1h, approvers: [leads], reviewers: [leads], review_within: 24h}]\n", `@id("sealed") @overridable("break_glass") forbid (principal, action, resource) when { resource has sealed && resource.sealed };
			@id("frozen") forbid (principal, action, resource) when { resource has frozen && resource.frozen };
			@id("mask") @gate("restrict") @obligation("mask") forbid (principal, action, resource);`)
	for id, group := range map[string]string{"ann": "staff", "boss": "leads"} {
		w.do(aver.EventIdentityRegistered, aver.Identity{Ref: aver.Ref{Type: "user", ID: id}, Kind: aver.HumanUser, Parents: []aver.Ref{{Type: "group", ID: group}}})
	}
	w.do(aver.EventExceptionRequested, aver.ExceptionRequest{
		ID: "x-1", Kind: aver.BreakGlass, Subject: aver.Ref{Type: "user", ID: "ann"}, Actions: []string{"read"}, Resources: []aver.ResourceScope{{Type: "doc"}},
		Justification: "a patient in danger", IdentityConfirmed: "in person", Approver: aver.Ref{Type: "user", ID: "boss"}, Duration: 3600,
	})
	w.do(aver.EventExceptionActivated, aver.ExceptionRef{ID: "x-1"})
	for _, c := range []struct {
		action, properties, supported string
		want                          aver.Outcome
		codes                         []aver.ReasonCode
	}{
		{"read", `"sealed":true`, `"mask"`, aver.Restricted, []aver.ReasonCode{aver.ReasonException, aver.ReasonRestrict}},
		{"read", `"sealed":true`, ``, aver.Denied, []aver.ReasonCode{aver.ReasonException, aver.ReasonUnsupported}},
		{"read", ``, `"mask"`, aver.Restricted, []aver.ReasonCode{aver.ReasonException, aver.ReasonRestrict}},
		{"read", `"sealed":true,"frozen":true`, `"mask"`, aver.Denied, []aver.ReasonCode{aver.ReasonForbidden, aver.ReasonForbidden}},
		{"write", `"sealed":true`, `"mask"`, aver.Denied, []aver.ReasonCode{aver.ReasonForbidden}},
	} {
		r, _ := w.record(fmt.Sprintf(`{"subject":{"type":"user","id":"ann"},"action":{"name":%q},"resource":{"type":"doc","id":"1","properties":{%s}},
			"context":{"supported_obligations":[%s]}}`, c.action, c.properties, c.supported))
		if r.Decision.Outcome != c.want || !slices.Equal(codes(r.Decision.Reasons), c.codes) {
			t.Errorf("%s {%s}: %s %v, want %s %v", c.action, c.properties, r.Decision.Outcome, codes(r.Decision.Reasons), c.want, c.codes)
		}
	}
}

// D2: what is not registered is listed, but not where the record or what it cites names it already.
func TestRecordListsWhatIsNotRegistered(t *testing.T) {
	w := newWorld(t, `@id("pay") permit (principal in group::"staff", action, resource) when { !(resource has owner) || !(resource.owner has blocked) };`)
	for _, r := range []aver.Ref{bot, {Type: "user", ID: "ann"}} {
		id := aver.Identity{Ref: r, Kind: aver.KindOfType(r.Type), Parents: []aver.Ref{{Type: "group", ID: "staff"}, {Type: "group", ID: "night"}}}
		if id.Kind.Machine() {
			id.Owner, id.Purpose = "ops", "pay"
		}
		w.do(aver.EventIdentityRegistered, id)
	}
	w.grant(aver.Grant{ID: "g", From: alice, To: bot})
	const payment = `"action":{"name":"pay"},"resource":{"type":"payment","id":"p","properties":{"owner":{"__entity":{"type":"user","id":"zoe"}}}}`
	zoe := aver.Ref{Type: "user", ID: "zoe"}
	for _, c := range []struct {
		request string
		want    []aver.Ref
	}{
		{`{"subject":{"type":"user","id":"ann"},` + payment + `}`, []aver.Ref{zoe}},
		{`{"subject":` + botJSON + `,` + payment + `,"context":{"delegation":["g"]}}`, []aver.Ref{zoe}}, // alice has a frame
		{`{"subject":` + aliceJSON + `,"action":{"name":"pay"},"resource":{"type":"payment","id":"p"}}`, nil},
	} {
		if r, _ := w.record(c.request); !slices.Equal(r.Facts.Absent, c.want) {
			t.Errorf("%s: absent %v, want %v", c.request, r.Facts.Absent, c.want)
		}
	}
}

// D2: a record keeps what policies can read and bundles retain, and names what
// it left out.
func TestRecordIsMinimal(t *testing.T) {
	w := newWorld(t, "")
	w.bundle("name: test\nretain: [context.ticket]\n", `permit (principal, action == Action::"pay", resource is payment) when { resource.amount < 100 && context.device.trusted };`)
	r, _ := w.record(`{"subject":{"type":"user","id":"a","properties":{"name":"Ann"}},"action":{"name":"pay","properties":{"via":"web"}},
		"resource":{"type":"payment","id":"p","properties":{"amount":5,"iban":"DE"}},
		"context":{"device":{"trusted":true,"serial":"x"},"ticket":"T-1","ip":"10.0.0.1","supported_obligations":["o"]}}`)
	const want = `{"action":{"name":"pay"},"context":{"device":{"trusted":true},"supported_obligations":["o"],"ticket":"T-1"},` +
		`"resource":{"id":"p","properties":{"amount":5},"type":"payment"},"subject":{"id":"a","type":"user"}}`
	if string(r.Request) != want {
		t.Errorf("kept\n%s, want\n%s", r.Request, want)
	}
	if want := []string{"action.via", "context.device.serial", "context.ip", "principal.name", "resource.iban"}; !slices.Equal(r.Omitted, want) {
		t.Errorf("omitted %q, want %q", r.Omitted, want)
	}
	if !r.Facts.IsZero() {
		t.Errorf("facts %+v: nothing is registered", r.Facts)
	}
}

// D2: of the parts of a request, too, a record keeps what policies can read.
func TestRecordOfPartsIsMinimal(t *testing.T) {
	w := newWorld(t, `permit (principal, action, resource) when { resource.amount < 100 };`)
	r, _ := w.record(`{"subject":` + aliceJSON + `,"action":{"name":"pay"},"resource":{"type":"batch","id":"b"},
		"context":{"parts":["x",{"id":"y","properties":{"amount":5,"iban":"DE"}},{"id":"z","properties":{"iban":"FR"}}]}}`)
	const want = `"context":{"parts":["x",{"id":"y","properties":{"amount":5}},"z"]}`
	if !bytes.Contains(r.Request, []byte(want)) || !slices.Equal(r.Omitted, []string{"resource.iban"}) {
		t.Errorf("kept %s and omitted %q, want %s", r.Request, r.Omitted, want)
	}
}

// A record says no frames that the chain of its request gives, and all that it does
// not; either way it reads back as it was decided.
func TestFramesOfAChainAreInTheRecordOnce(t *testing.T) {
	const who = `"on_behalf_of":` + aliceJSON
	for _, c := range []struct {
		name, sensitive, request string
		want                     []string // the entities and grants that the frames in the record name
	}{
		{"permitted", "", pay(subJSON, 50, `"delegation":["g1","g2"],`+who), []string{"bot"}},
		{"in parts", "", pay(subJSON, 50, `"delegation":["g1","g2"],`+who+`,"parts":["a","b"]`), []string{"bot", "bot"}},
		{"one hop", "", pay(botJSON, 50, `"delegation":["g1"],`+who), nil},
		{"nobody is named", "", pay(subJSON, 50, `"delegation":["g1","g2"]`), []string{"bot", "alice"}},
		{"more is said of who is", "", pay(subJSON, 50, `"delegation":["g1","g2"],"on_behalf_of":{"type":"user","id":"alice","name":"A"}`), []string{"bot", "alice"}},
		{"denied", "", pay(subJSON, 500, `"delegation":["g1","g2"],`+who), []string{"bot", "alice", "g1", "g2"}},
		{"the chain is withheld", "context.delegation", pay(subJSON, 50, `"delegation":["g1","g2"],`+who), []string{"bot", "alice", "g1", "g2"}},
		{"whom it begins with is withheld", "context.on_behalf_of", pay(subJSON, 50, `"delegation":["g1","g2"],`+who), []string{"bot", "alice"}},
		{"some of whom it begins with is withheld", "context.on_behalf_of.id", pay(subJSON, 50, `"delegation":["g1","g2"],`+who), []string{"bot", "alice"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, "")
			w.bundle("name: test\nsensitive: ["+c.sensitive+"]\n", `@id("pay") permit (principal, action == Action::"pay", resource);`)
			w.agent("bot", nil)
			w.agent("sub", nil)
			w.grant(aver.Grant{ID: "g1", From: alice, To: bot, Depth: 1, Condition: "resource.amount <= 100"})
			w.grant(aver.Grant{ID: "g2", From: bot, To: sub, Parent: "g1"})
			record, _ := w.record(c.request)
			checkReadsBack(t, record)
			var text struct {
				Decision struct {
					Frames []aver.Frame
					Parts  []struct{ Frames []aver.Frame }
				}
			}
			if err := json.Unmarshal(record.AppendCanonical(nil), &text); err != nil {
				t.Fatal(err)
			}
			frames := text.Decision.Frames
			for _, p := range text.Decision.Parts {
				frames = append(frames, p.Frames...)
			}
			var got []string
			for _, f := range frames {
				if name := f.Entity.ID + f.Grant; name != "" {
					got = append(got, name)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s\nnames %q, want %q", record.AppendCanonical(nil), got, c.want)
			}
		})
	}
}

// D3: sensitive values stand in the record only as salted digests, and the
// disclosures bring them back.
func TestSensitiveValuesAreWithheld(t *testing.T) {
	w := newWorld(t, "")
	w.bundle("name: test\nsensitive: [resource.iban, context.customer.name]\n", `permit (principal, action == Action::"pay", resource is payment)
			when { resource.iban like "DE*" && context.customer.name != "Mallory" };`)
	const text = `{"subject":{"type":"user","id":"a"},"action":{"name":"pay"},"resource":{"type":"payment","id":"p","properties":{"iban":"DE12"}},
		"context":{"customer":{"name":"Maria"},"parts":["x",{"id":"y","properties":{"iban":"FR34"}}]}}`
	r, disclosures := w.record(text)
	if len(disclosures) != 3 || bytes.Contains(r.Request, []byte("DE12")) || bytes.Contains(r.Request, []byte("FR34")) || bytes.Contains(r.Request, []byte("Maria")) {
		t.Fatalf("%d disclosures, request %s", len(disclosures), r.Request)
	}
	req, missing, err := pdp.Disclose(r.Request, disclosures)
	if err != nil || len(missing) != 0 {
		t.Fatal(missing, err)
	}
	again, _ := pdp.Decide(w.st, pdp.NewQuery(req), r.Time, nil)
	if got, want := again.AppendCanonical(nil), r.Decision.AppendCanonical(nil); !bytes.Equal(got, want) {
		t.Errorf("decided again:\n%s, want\n%s", got, want)
	}
	if _, missing, err = pdp.Disclose(r.Request, disclosures[1:]); err != nil || len(missing) != 1 {
		t.Errorf("with one erased: missing %q, %v", missing, err)
	}
}

// A disclosure that is damaged is an error and no missing value.
func TestDamagedDisclosureIsAnError(t *testing.T) {
	for _, d := range []string{"bm90anNvbg", "!", "W10"} {
		if _, _, err := pdp.Disclose([]byte(`{"context":{"_sd":["x"],"a":1}}`), []string{d}); err == nil {
			t.Errorf("%q was taken", d)
		}
	}
}

// D2, G3: deciding the minimised request gives the same bytes as deciding the
// whole, whatever the policies read.
func TestMinimisedRequestDecidesTheSame(t *testing.T) {
	conditions := []string{
		`resource.a == 1`, `principal has b && principal.b`, `context has c && context.c.d == "x"`,
		`principal == resource`, `resource has owner && resource.owner has b`, `context.aver.action has z`,
		`context.aver has part && context.aver.part.id == "p1"`, `(if context has c then principal else resource) has a`,
		`context has c`, `resource has tags`, `context.aver.origin has b && context.aver.origin.b`, `context has r && context.r == {"d": 1}`,
		`principal in resource`, `context.aver.hops > 0`, `resource.a > 2`, `context.aver has origin`, `context.aver.chain.contains(principal)`,
		`context == {"aver": context.aver}`, `(if context has c then context else context.aver) has hops`, `context.aver.action.name == "pay"`,
	}
	rapid.Check(t, func(rt *rapid.T) {
		var text strings.Builder
		for i := range rapid.IntRange(1, 6).Draw(rt, "policies") {
			effect := rapid.SampledFrom([]string{"permit", "permit", "forbid", "@gate(\"restrict\") @obligation(\"o\")\nforbid"}).Draw(rt, "effect")
			fmt.Fprintf(&text, "@id(%q) %s (principal, action, resource) when { %s && %s };\n", fmt.Sprint("p", i), effect,
				rapid.SampledFrom(conditions).Draw(rt, "c1"), rapid.SampledFrom(conditions).Draw(rt, "c2"))
		}
		w := newWorld(t, text.String())
		w.agent("bot", nil)
		w.grant(aver.Grant{ID: "g", From: alice, To: bot, Condition: rapid.SampledFrom(conditions).Draw(rt, "condition")})
		if rapid.Bool().Draw(rt, "registered") {
			w.do(aver.EventEntityPut, aver.Entity{Ref: alice, Properties: aver.Properties{"b": true}})
		}
		values := map[string]*rapid.Generator[string]{
			"a": rapid.SampledFrom([]string{"1", "2", "3", `"x"`}), "b": rapid.SampledFrom([]string{"true", "false"}),
			"owner": rapid.SampledFrom([]string{`{"__entity":{"type":"user","id":"alice"}}`, `{"__entity":{"type":"ai_agent","id":"bot"}}`}),
			"tags":  rapid.SampledFrom([]string{`["a","b"]`}), "c": rapid.SampledFrom([]string{`{"d":"x","e":1}`, `"c"`}),
			"r": rapid.SampledFrom([]string{`{"d":1}`, `{"d":1,"f":2}`}), "z": rapid.SampledFrom([]string{"1", "null"}), "junk": rapid.SampledFrom([]string{`{"deep":{"er":1}}`}),
		}
		object := func(label string) string {
			var members []string
			for _, name := range []string{"a", "b", "owner", "tags", "c", "r", "z", "junk"} {
				if rapid.Bool().Draw(rt, label+name) {
					members = append(members, fmt.Sprintf("%q:%s", name, values[name].Draw(rt, name)))
				}
			}
			return "{" + strings.Join(members, ",") + "}"
		}
		parties := []string{"ai_agent::bot", "user::alice", "doc::d"}
		party := func(label string) string {
			typ, id, _ := strings.Cut(rapid.SampledFrom(parties).Draw(rt, label), "::")
			return fmt.Sprintf(`{"type":%q,"id":%q,"properties":%s}`, typ, id, object(label))
		}
		context := strings.TrimSuffix(object("context"), "}")
		add := func(member string) {
			if context != "{" {
				context += ","
			}
			context += member
		}
		if rapid.Bool().Draw(rt, "delegated") {
			add(`"delegation":["g"]`)
		}
		if rapid.Bool().Draw(rt, "parts") {
			add(`"parts":["p1",{"id":"p2","properties":` + object("part") + `}]`)
		}
		if rapid.Bool().Draw(rt, "supports") {
			add(`"supported_obligations":["o"]`)
		}
		full := request(t, fmt.Sprintf(`{"subject":%s,"action":{"name":"pay","properties":%s},"resource":%s,"context":%s}`,
			party("subject"), object("action"), party("resource"), context+"}"))
		q := pdp.NewQuery(full)
		d, evidence := pdp.Decide(w.st, q, start+10_000, nil)
		if whole := pdp.DecideWhole(w.st, q, start+10_000, nil); !bytes.Equal(whole.AppendCanonical(nil), d.AppendCanonical(nil)) {
			rt.Fatalf("policies:\n%s\nrequest %s\nwith what they read:\n%s\nwith everything:\n%s", text.String(), aver.AppendCanonical(nil, full.JSON()),
				d.AppendCanonical(nil), whole.AppendCanonical(nil))
		}
		r, _, err := pdp.NewRecord(w.st, q, d, evidence, pdp.Circumstances{Random: rand.Reader})
		if err != nil {
			rt.Fatal(err)
		}
		if r.Full != full.Digest() {
			rt.Fatalf("the record of %s has the digest %s, want %s", aver.AppendCanonical(nil, full.JSON()), r.Full, full.Digest())
		}
		kept := request(t, string(r.Request))
		again, evidenceAgain := pdp.Decide(w.st, pdp.NewQuery(kept), start+10_000, nil)
		if got, want := again.AppendCanonical(nil), d.AppendCanonical(nil); !bytes.Equal(got, want) {
			rt.Fatalf("policies:\n%s\nrequest %s\nkept %s\ndecided\n%s\nagain\n%s", text.String(), aver.AppendCanonical(nil, full.JSON()), r.Request, want, got)
		}
		if lacks := evidenceAgain.Lacks(r.Omitted); len(lacks) != 0 {
			rt.Fatalf("the record omits %q, which its own policies read", lacks)
		}
	})
}
