package aver

import (
	"slices"
	"strings"
	"testing"
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
