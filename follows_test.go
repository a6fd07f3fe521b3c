package aver

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// The rules of docs/formats.md, "What is left out", one by one: what is written of
// a ruling, and that it reads back.
func TestReasonsThatFollowAreLeftOut(t *testing.T) {
	var (
		bo        = Ref{"bo", "user"}
		permits   = Frame{As: FrameActor, Allowed: true, Policies: []string{"p/a", "p/b"}}
		nothing   = Frame{As: FrameActor}
		forbidden = Frame{As: FrameActor, Policies: []string{"p/f"}}
		fails     = Frame{As: FrameActor, Errors: []PolicyError{{"p/e", "no x"}}}
		unclear   = Frame{As: FrameActor, Policies: []string{"p/f"}, Errors: []PolicyError{{"p/e", "no x"}}}
		delegator = Frame{As: FrameDelegator, Entity: bo, Policies: []string{"p/f"}}
		grant     = Frame{As: FrameGrant, Grant: "g"}
		condition = Frame{As: FrameGrant, Grant: "g", Errors: []PolicyError{{"g", "no y"}}}
		exception = Frame{As: FrameException, Exception: "x"}
		excepted  = Frame{As: FrameException, Exception: "x", Allowed: true}

		isPermitted = []Reason{{Code: ReasonPermitted, Policy: "p/a"}, {Code: ReasonPermitted, Policy: "p/b"}}
		isForbidden = Reason{Code: ReasonForbidden, Policy: "p/f"}
		error       = Reason{Code: ReasonPolicyError, Policy: "p/e", Detail: "no x"}
		none        = Reason{Code: ReasonNotPermitted}
		restrict    = Reason{Code: ReasonRestrict, Policy: "p/r"}
		revoked     = Reason{Code: ReasonGrantRevoked, Grant: "g"}
		mismatch    = Reason{Code: ReasonTokenMismatch}
		scope       = Reason{Code: ReasonTokenScope}
		limit       = Reason{Code: ReasonLimit, Grant: "g"}
		lifted      = Reason{Code: ReasonException, Policy: "p/f", Detail: "x"}
	)
	for _, c := range []struct {
		name    string
		outcome Outcome
		frames  []Frame
		reasons []Reason
		written string // the codes of those that are
	}{
		{"permitted", Permitted, []Frame{permits}, isPermitted, ""},
		{"restricted", Restricted, []Frame{permits}, append(slices.Clip(isPermitted), restrict), "restrict"},
		{"challenged", Challenged, []Frame{permits}, []Reason{{Code: ReasonChallenge}}, "challenge"},
		{"no policy permits it", Denied, []Frame{nothing}, []Reason{none}, ""},
		{"a policy forbids it", Denied, []Frame{forbidden}, []Reason{isForbidden}, ""},
		{"a policy fails", Denied, []Frame{fails}, []Reason{error, none}, ""},
		{"a policy fails, and what the other says can't be told", Denied, []Frame{unclear}, []Reason{error, isForbidden}, "policy_error forbidden"},
		{"a policy fails beside permits", Denied, []Frame{unclear}, []Reason{error}, "policy_error"},
		{"all of a chain", Denied, []Frame{fails, delegator, grant}, []Reason{
			revoked, mismatch, error, none, {Code: ReasonForbidden, Policy: "p/f", Detail: `user::"bo"`}, {Code: ReasonGrantScope, Grant: "g"}, scope, limit,
		}, "grant_revoked token_mismatch token_does_not_cover limit_exhausted"},
		{"a grant that can't be evaluated", Denied, []Frame{permits, condition}, []Reason{{Code: ReasonPolicyError, Grant: "g", Detail: "no y"}}, ""},
		{"something unclear in a chain", Denied, []Frame{unclear, grant}, []Reason{error, {Code: ReasonGrantScope, Grant: "g"}}, "policy_error grant_does_not_cover"},
		{"only a limit", Denied, []Frame{permits}, []Reason{limit}, "limit_exhausted"},
		{"an obligation", Denied, []Frame{permits}, []Reason{{Code: ReasonUnsupported}}, "obligation_unsupported"},
		{"an exception lets it through", Permitted, []Frame{forbidden, excepted}, []Reason{lifted}, "exception"},
		{"an exception does not help", Denied, []Frame{forbidden, exception}, []Reason{isForbidden}, ""},
		{"an exception covers it and lifts nothing", Denied, []Frame{forbidden, excepted}, []Reason{isForbidden}, "forbidden"},
		{"an exception, and then a token", Denied, []Frame{forbidden, excepted}, []Reason{scope}, "token_does_not_cover"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := sampleRecords()[5]
			r.Decision.Ruling = Ruling{Outcome: c.outcome, Frames: c.frames, Reasons: c.reasons}
			text := r.AppendCanonical(nil)
			var got []string
			for _, part := range strings.Split(string(text), `"code":"`)[1:] {
				code, _, _ := strings.Cut(part, `"`)
				got = append(got, code)
			}
			if !slices.Equal(got, strings.Fields(c.written)) {
				t.Errorf("%s\nhas the reasons %q, want %q", text, got, c.written)
			}
			back, err := ParseRecord(text)
			if err != nil || !slices.Equal(back.Decision.Reasons, c.reasons) {
				t.Errorf("%s reads back with %+v, %v", text, back, err)
			}
		})
	}
}

// B6: what every party of a chain is permitted by stands once.
func TestPoliciesOfAChainAreLeftOutWhereTheyAreTheActors(t *testing.T) {
	r := sampleRecords()[0]
	r.Decision.Outcome, r.Decision.Reasons = Challenged, []Reason{{Code: ReasonGrantUnknown}} // so that all frames of the chain are written
	r.Decision.Frames = []Frame{
		{As: FrameActor, Allowed: true, Policies: []string{"p/a"}},
		{As: FrameDelegator, Entity: Ref{"x", "user"}, Allowed: true, Policies: []string{"p/a"}},
		{As: FrameDelegator, Entity: Ref{"y", "user"}, Allowed: true, Policies: []string{"p/a", "p/b"}},
	}
	text := string(r.AppendCanonical(nil))
	const want = `"frames":[{"policies":["p/a"]},{"entity":{"id":"x","type":"user"}},{"entity":{"id":"y","type":"user"},"policies":["p/a","p/b"]}]`
	if !strings.Contains(text, want) {
		t.Errorf("%s has not %s", text, want)
	}
	back, err := ParseRecord([]byte(text))
	if err != nil || !slices.EqualFunc(back.Decision.Frames, r.Decision.Frames, func(a, b Frame) bool { return slices.Equal(a.Policies, b.Policies) && a.Allowed == b.Allowed }) {
		t.Errorf("reads back as %+v, %v", back, err)
	}
	// Where the actor is denied, a delegator who is forbidden by the same policy says so.
	r.Decision.Ruling = Ruling{Frames: []Frame{{As: FrameActor, Policies: []string{"p/f"}}, {As: FrameDelegator, Entity: Ref{"x", "user"}, Policies: []string{"p/f"}}}}
	if text := string(r.AppendCanonical(nil)); strings.Count(text, `"policies":["p/f"]`) != 2 {
		t.Errorf("%s does not name the policy twice", text)
	}
}

// B6: the frames of grants that allow are not repeated where the request names the
// grants, nor that of the originating user where the request says who it is.
func TestFramesOfAChainAreLeftOutWhereTheyFollow(t *testing.T) {
	const chain, ann = `"delegation":["g1","g2"]`, `"on_behalf_of":{"id":"ann","type":"user"}`
	var (
		actor   = Frame{As: FrameActor, Allowed: true, Policies: []string{"p/a"}}
		through = Frame{As: FrameDelegator, Entity: Ref{"bot", "ai_agent"}, Allowed: true, Policies: []string{"p/a"}}
		origin  = Frame{As: FrameDelegator, Entity: Ref{"ann", "user"}, Allowed: true, Policies: []string{"p/a"}}
		other   = Frame{As: FrameDelegator, Entity: Ref{"ann", "user"}, Allowed: true, Policies: []string{"p/b"}}
		g1      = Frame{As: FrameGrant, Grant: "g1", Allowed: true}
		g2      = Frame{As: FrameGrant, Grant: "g2", Allowed: true}
		fails   = Frame{As: FrameGrant, Grant: "g2"}
		all     = []Frame{actor, through, origin, g1, g2}
	)
	for _, c := range []struct {
		name    string
		outcome Outcome
		context string
		frames  []Frame
		written string // what each is told by
	}{
		{"permitted", Permitted, chain + "," + ann, all, "p/a bot"},
		{"restricted", Restricted, chain + "," + ann, all, "p/a bot"},
		{"one hop", Permitted, `"delegation":["g1"],` + ann, []Frame{actor, origin, g1}, "p/a"},
		{"the id of a grant is escaped", Permitted, `"delegation":["a\"b"]`, []Frame{actor, origin, {As: FrameGrant, Grant: `a"b`, Allowed: true}}, "p/a ann"},
		{"among other members", Permitted, `"a":{"delegation":["x"]},"b":"}\\",` + chain + `,"m":[{"n":"]"},[1]],` + ann + `,"parts":["x"]`, all, "p/a bot"},

		{"denied", Denied, chain + "," + ann, []Frame{actor, through, origin, g1, fails}, "p/a bot ann g1 !g2"},
		{"denied, and every frame allows", Denied, chain + "," + ann, all, "p/a bot"},
		{"challenged", Challenged, chain + "," + ann, all, "p/a bot"},
		{"partially authorized", PartiallyAuthorized, chain + "," + ann, all, "p/a bot"},
		{"permitted, and a grant does not allow", Permitted, chain + "," + ann, []Frame{actor, through, origin, g1, fails}, "p/a bot ann g1 !g2"},
		{"grants in another order", Permitted, chain + "," + ann, []Frame{actor, through, origin, g2, g1}, "p/a bot ann g2 g1"},
		{"a grant is missing", Permitted, chain + "," + ann, []Frame{actor, through, origin, g2}, "p/a bot ann g2"},
		{"a grant too many", Permitted, `"delegation":["g2"],` + ann, []Frame{actor, origin, g1, g2}, "p/a ann g1 g2"},
		{"the request does not say by which grants", Permitted, ann, all, "p/a bot ann g1 g2"},
		{"it says it elsewhere", Permitted, ann + `,"x":{` + chain + `}`, all, "p/a bot ann g1 g2"},

		{"the request does not say for whom", Permitted, chain, all, "p/a bot ann"},
		{"it says more of them", Permitted, chain + `,"on_behalf_of":{"id":"ann","properties":{},"type":"user"}`, all, "p/a bot ann"},
		{"it says somebody else", Permitted, chain + `,"on_behalf_of":{"id":"bo","type":"user"}`, all, "p/a bot ann"},
		{"they are permitted by another policy", Permitted, chain + "," + ann, []Frame{actor, through, other, g1, g2}, "p/a bot ann"},
		{"they do not stand last", Permitted, chain + "," + ann, []Frame{actor, origin, through, g1, g2}, "p/a ann bot"},
		{"more delegators than grants", Permitted, chain + "," + ann, []Frame{actor, through, through, origin, g1, g2}, "p/a bot bot ann"},
		{"no delegator", Permitted, chain + "," + ann, []Frame{actor, g1, g2}, "p/a"},
		{"who would be added is none of them", Permitted, chain + "," + ann, []Frame{actor, through, g1, g2}, "p/a bot g1 g2"},
		{"they are one less, and nobody would be added", Permitted, chain, []Frame{actor, through, g1, g2}, "p/a bot"},
		{"no chain at all", Permitted, ann, []Frame{actor}, "p/a"},
		{"a chain by a token", Permitted, ann, []Frame{actor, through, origin}, "p/a bot ann"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := sampleRecords()[5]
			r.Request = json.RawMessage(`{"action":{"name":"x","properties":{"context":{"delegation":["no"]}}},"context":{` + c.context + `},"resource":{"id":"r","type":"t"},"subject":{"id":"s","type":"ai_agent"}}`)
			r.Decision = Decision{Actor: Actor{Ref: Ref{"s", "ai_agent"}, Kind: AIAgent}, Ruling: Ruling{Outcome: c.outcome, Frames: c.frames}}
			r.Decision.Reasons = r.Decision.follow(nil)
			for _, parts := range []bool{false, true} {
				if parts {
					part := PartDecision{ID: "x", Ruling: r.Decision.Ruling}
					r.Decision.Parts, r.Decision.Ruling = []PartDecision{part, part}, Ruling{Outcome: Permitted, Reasons: PartReasons([]PartDecision{part})}
				}
				text := r.AppendCanonical(nil)
				got := writtenFrames(t, text)
				if want := strings.Fields(c.written); !slices.Equal(got, want) {
					t.Errorf("%s\nhas the frames %q, want %q", text, got, want)
				}
				back, err := ParseRecord(text)
				if err != nil {
					t.Fatalf("%s: %v", text, err)
				}
				if d := cmp.Diff(r, back, cmpopts.EquateEmpty()); d != "" {
					t.Errorf("%s reads back otherwise (-want +got):\n%s", text, d)
				}
			}
		})
	}
}

// writtenFrames tells the frames that stand in a record, or in its first part, each
// by one word.
func writtenFrames(t *testing.T, record []byte) (out []string) {
	var r struct {
		Decision struct {
			Frames []Frame
			Parts  []struct{ Frames []Frame }
		}
	}
	if err := json.Unmarshal(record, &r); err != nil {
		t.Fatal(err)
	}
	frames := r.Decision.Frames
	for _, p := range r.Decision.Parts {
		frames = p.Frames
	}
	for _, f := range frames {
		word := f.Grant + f.Entity.ID
		if word == "" {
			word = strings.Join(f.Policies, "+")
		}
		if !f.Allowed {
			word = "!" + word
		}
		out = append(out, word)
	}
	return out
}

// Whoever writes out what follows is refused, and whoever leaves out what does not
// gets no permit by it.
func TestChainCannotBeToldOtherwise(t *testing.T) {
	const (
		head    = `{"authority":{"root":"r","size":1},"decision":{"frames":[{"policies":["p/a"]}`
		tail    = `,"engine":"e","id":"i","kind":"decision","pep":{"credential":"c"},"policies":"d","request":{"context":{"delegation":["g1"],"on_behalf_of":{"id":"ann","type":"user"}},"subject":{"id":"s","type":"user"}},"request_digest":"d","salt":"s","semantics":"aver/1","time":"2026-11-24T07:33:49.123Z"}`
		entity  = `,{"entity":{"id":"ann","type":"user"}}`
		another = `,{"entity":{"id":"ann","type":"user"},"policies":["p/b"]}`
		grant   = `,{"grant":"g1"}`
		allowed = `],"outcome":"permitted"}`
		denied  = `],"outcome":"denied"}`
		unknown = `],"outcome":"denied","reasons":[{"code":"grant_unknown","grant":"g1"}]}`
	)
	for _, c := range []struct {
		name, frames, outcome string
		want                  string // the frames that are read; "": it is refused
	}{
		{"what follows is left out", "", allowed, "actor delegator grant"},
		{"a delegator of other policies is not", another, allowed, "actor delegator grant"},
		{"the delegator is written out", entity, allowed, ""},
		{"the grant is written out", another + grant, allowed, ""},
		{"both are", entity + grant, allowed, ""},
		{"it says that the grant allows", another + `,{"allowed":true,"grant":"g1"}`, allowed, ""},
		{"only the grant is written", grant, allowed, "actor grant"}, // a delegator who does not say anything did not say that it is left out
		{"also of a denial", "", denied, "actor delegator grant"},
		{"of a denial, and the grant is written out", entity + grant, denied, ""},
		{"of grants that are not known nothing is", "", unknown, "actor"},
		{"of these all is written", entity + grant, unknown, "actor delegator grant"},
		{"a grant that does not allow stays", entity + `,{"allowed":false,"grant":"g1"}`, denied, "actor delegator !grant"},
		{"also in what says it is permitted", entity + `,{"allowed":false,"grant":"g1"}`, allowed, "actor delegator !grant"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := head + c.frames + c.outcome + tail
			r, err := ParseRecord([]byte(text))
			if err != nil {
				if c.want != "" {
					t.Errorf("%s: %v", text, err)
				}
				return
			}
			var got []string
			for _, f := range r.Decision.Frames {
				word := string(f.As)
				if !f.Allowed {
					word = "!" + word
				}
				got = append(got, word)
			}
			if !slices.Equal(got, strings.Fields(c.want)) {
				t.Errorf("%s\nreads with the frames %q, want %q", text, got, c.want)
			}
			if said := strings.Contains(c.outcome, "permitted"); said != r.Decision.Outcome.Allowed() {
				t.Errorf("%s\nis read as %s", text, r.Decision.Outcome)
			}
		})
	}
}

// The whole does not repeat the reasons of its parts when all are allowed.
func TestReasonsOfPartsAreNotRepeated(t *testing.T) {
	part := func(id, policy string, more ...Reason) PartDecision {
		return PartDecision{ID: id, Ruling: Ruling{
			Outcome: Restricted, Frames: []Frame{{As: FrameActor, Allowed: true, Policies: []string{policy}}},
			Reasons: append([]Reason{{Code: ReasonPermitted, Policy: policy}}, more...),
		}}
	}
	r := sampleRecords()[2]
	restrict := Reason{Code: ReasonRestrict, Policy: "p/r"}
	r.Decision.Parts = []PartDecision{part("a", "p/a", restrict), part("b", "p/b", restrict)}
	want := []Reason{{Code: ReasonPermitted, Policy: "p/a"}, restrict, {Code: ReasonPermitted, Policy: "p/b"}}
	r.Decision.Ruling = Ruling{Outcome: Restricted, Reasons: want}
	text := string(r.AppendCanonical(nil))
	if strings.Count(text, `"reasons"`) != 2 {
		t.Errorf("%s repeats the reasons of its parts", text)
	}
	if back, err := ParseRecord([]byte(text)); err != nil || !slices.Equal(back.Decision.Reasons, want) {
		t.Errorf("reads back as %+v, %v", back, err)
	}
}
