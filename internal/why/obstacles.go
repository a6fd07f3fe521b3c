package why

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/policy"
)

// Obstacle is one thing that stood in the way of a permit, and what would have
// removed it. A change is one of the condition that it names: nobody has decided
// the request again with it.
type Obstacle struct {
	What   string   `json:"what"` // one sentence
	Parts  []string `json:"parts,omitempty"`
	Policy string   `json:"policy,omitempty"`
	Grant  string   `json:"grant,omitempty"`
	AnyOf  []string `json:"any_of,omitempty"` // phrases such as "resource.amount below 10000 (was 48200)"; empty: none is known
}

// obstacles lists what stood in the way in a scene.
func (x *explainer) obstacles(s scene) {
	gates := true // asked only where everything else allowed
	excepted := s.excepted()
	for i, f := range s.Frames {
		if f.Allowed || f.As == aver.FrameException || excepted && f.As == aver.FrameActor {
			continue
		}
		gates = false
		for _, e := range f.Errors {
			x.failed(s, i, e.Policy)
		}
		switch {
		case len(f.Errors) > 0:
		case f.As == aver.FrameGrant:
			x.outside(s, f.Grant)
		case len(f.Policies) == 0:
			x.notPermitted(s, i)
		default:
			for _, id := range f.Policies {
				x.forbidden(s, i, id)
			}
		}
	}
	for _, r := range s.Reasons {
		x.because(s, r, gates)
	}
}

func (x *explainer) because(s scene, r aver.Reason, gates bool) {
	say := func(anyOf ...string) {
		what := x.sentences([]aver.Reason{r})[0]
		if r.Policy != "" && !strings.Contains(what, r.Policy) {
			what += " (policy " + r.Policy + ")"
		}
		x.obstacle(s, Obstacle{What: what, Policy: r.Policy, Grant: r.Grant, AnyOf: anyOf})
	}
	switch r.Code {
	case aver.ReasonInvalid:
		say("a request without this mistake: " + r.Detail)
	case aver.ReasonChainBroken:
		say("a chain in which grant " + r.Grant + " joins the one before it and the party that asks")
	case aver.ReasonChainTooLong:
		say("a shorter chain (" + r.Detail + ")")
	case aver.ReasonChainLoop:
		say("a chain in which " + r.Detail + " stands once")
	case aver.ReasonGrantUnknown:
		say("a grant that was issued, in place of " + r.Grant)
	case aver.ReasonGrantRevoked:
		how := "it was at " + r.Detail
		if g, ok := x.st.Grant(r.Grant); ok && g.Revoked != nil {
			how = "it was, " + eventOf(*g.Revoked).String()
		}
		say("grant " + r.Grant + " not revoked (" + how + ")")
	case aver.ReasonGrantExpired:
		say(fmt.Sprintf("grant %s not expired (it expired %s)", r.Grant, x.instant(r.Detail)))
	case aver.ReasonGrantPending:
		say(fmt.Sprintf("grant %s valid already (it is from %s on)", r.Grant, x.instant(r.Detail)))
	case aver.ReasonTokenInvalid:
		say("a token that its issuer signed for this PEP, or none")
	case aver.ReasonTokenExpired, aver.ReasonTokenPending:
		say("a token that is good at the time of the request")
	case aver.ReasonTokenMismatch:
		say("the request made by those whom the token names")
	case aver.ReasonTokenScope:
		say("a token whose authorization_details cover the action and the resource")
	case aver.ReasonLimit:
		anyOf := []string{fmt.Sprintf("grant %s with enough of its limit left", r.Grant)}
		var used, most int64
		name, numbers, _ := strings.Cut(r.Detail, ": ")
		if n, _ := fmt.Sscanf(numbers, "%d of %d used", &used, &most); n == 2 && name != "uses" && most > used {
			anyOf = append(anyOf, fmt.Sprintf("%s at most %d (that much was left)", name, most-used))
		}
		say(anyOf...)
	case aver.ReasonLimitUnread:
		say(r.Detail + " present, as a whole number of 0 or more")
	case aver.ReasonUnsupported:
		say(append([]string{fmt.Sprintf("a PEP that declares it can carry out %q (context.supported_obligations)", r.Detail)}, x.without(s, r.Policy)...)...)
	case aver.ReasonChallenge, aver.ReasonEscalate:
		for _, q := range s.Requirements {
			if q.Policy == r.Policy {
				say(append([]string{met(q)}, x.without(s, r.Policy)...)...)
			}
		}
	case aver.ReasonApprovalUnknown, aver.ReasonApprovalScope, aver.ReasonApprovalRefused, aver.ReasonApprovalExpired, aver.ReasonApprovalUsed:
		say("an approval that was asked for with this very request, and neither refused, expired nor used")
	case aver.ReasonApprovalPending:
		say("the approval complete already")
	case aver.ReasonRestrict:
		say(x.without(s, r.Policy)...)
	case aver.ReasonPolicyError:
		if gates && r.Policy != "" { // of a gate; those of frames are told with the frames
			x.failed(s, 0, r.Policy)
		}
	}
}

func (x *explainer) instant(detail string) string {
	t, err := aver.ParseTime(detail)
	if err != nil {
		return detail
	}
	return at(t)
}

// obstacle takes an obstacle in, together with the same one of another part.
func (x *explainer) obstacle(s scene, o Obstacle) {
	for i := range x.out.Obstacles {
		if same := &x.out.Obstacles[i]; same.What == o.What && slices.Equal(same.AnyOf, o.AnyOf) {
			if s.part != "" {
				same.Parts = appendNew(same.Parts, s.part)
			}
			return
		}
	}
	if s.part != "" {
		o.Parts = []string{s.part}
	}
	x.out.Obstacles = append(x.out.Obstacles, o)
}

// changes are what would have turned a policy: for a permit all of them, for a
// forbid any. Unknown is what can't be told since it depends on values that are
// not here.
func (x *explainer) changes(s scene, v pdp.View, e policy.Explanation) (known, unknown []string) {
	e.Clauses = slices.Clone(e.Clauses)
	for i, c := range x.conditions(s, v, e.Clauses) {
		if c.State == Unknown {
			e.Clauses[i].Change = ""
			unknown = append(unknown, fmt.Sprintf("%s (not known: %s)", c.Text, lacking([]Condition{c})))
		}
	}
	return e.Changes(), unknown
}

// lacking says which values conditions looked at that are not here.
func lacking(conditions []Condition) string {
	var out []string
	for _, c := range flatten(conditions) {
		for _, seen := range c.Seen {
			switch {
			case seen.Withheld:
				out = appendNew(out, seen.Path+" is withheld")
			case seen.NotKept:
				out = appendNew(out, seen.Path+" was not kept")
			}
		}
	}
	return strings.Join(out, ", ")
}

// without are the changes by which a gate would not have stood in the way.
func (x *explainer) without(s scene, id string) []string {
	for i, f := range s.Frames {
		if alone(f) {
			continue
		}
		if e, ok := x.explain(s, i, id); ok && e.State == policy.Held {
			known, unknown := x.changes(s, s.views[i], e)
			return append(known, unknown...)
		}
	}
	return nil
}

func (x *explainer) forbidden(s scene, frame int, id string) {
	o := Obstacle{What: fmt.Sprintf("Policy %s forbids it %s.", id, x.forWhom(s.Frames[frame])), Policy: id}
	if e, ok := x.explain(s, frame, id); ok {
		known, unknown := x.changes(s, s.views[frame], e)
		o.AnyOf = append(known, unknown...)
	}
	x.obstacle(s, o)
}

func (x *explainer) notPermitted(s scene, frame int) {
	o := Obstacle{What: fmt.Sprintf("No policy permits it %s.", x.forWhom(s.Frames[frame]))}
	for _, miss := range x.closest(s, frame) {
		known, unknown := x.changes(s, s.views[frame], miss)
		if changes := append(known, unknown...); len(changes) > 0 {
			o.AnyOf = append(o.AnyOf, list(changes)+", by policy "+miss.Policy)
		}
	}
	if len(o.AnyOf) == 0 {
		o.AnyOf = []string{fmt.Sprintf("a policy that permits %s on %s; there is none", x.request.Action.Name, x.request.Resource.Type)}
	}
	x.obstacle(s, o)
}

func (x *explainer) failed(s scene, frame int, id string) {
	o := Obstacle{What: "Policy " + id + " could not be evaluated, so nothing is allowed.", Policy: id}
	if frame < len(s.Frames) && s.Frames[frame].As == aver.FrameGrant {
		o = Obstacle{What: "The condition of grant " + id + " could not be evaluated, so nothing is allowed.", Grant: id}
	}
	e, ok := x.explain(s, frame, id)
	if ok {
		for _, c := range flatten(x.conditions(s, s.views[frame], e.Clauses)) {
			if c.State == policy.Errored {
				o.AnyOf = appendNew(o.AnyOf, "values with which "+c.Text+" can be evaluated ("+seenWords(c.Seen)+")")
			}
		}
	}
	if len(o.AnyOf) == 0 {
		o.AnyOf = []string{"values with which it can be evaluated"}
	}
	x.obstacle(s, o)
}

func flatten(conditions []Condition) []Condition {
	var out []Condition
	for _, c := range conditions {
		if len(c.Alternatives) == 0 {
			out = append(out, c)
		}
		for _, alternative := range c.Alternatives {
			out = append(out, flatten(alternative)...)
		}
	}
	return out
}

// outside says in plain words in what a grant does not cover the request.
func (x *explainer) outside(s scene, id string) {
	o := Obstacle{What: fmt.Sprintf("What is asked lies outside of grant %s.", id), Grant: id}
	g, ok := x.st.Grant(id)
	if !ok {
		x.obstacle(s, o)
		return
	}
	var lacks []string
	if name := x.request.Action.Name; !coversAction(g, name) {
		lacks = append(lacks, fmt.Sprintf("a grant that covers %s (%s covers %s)", name, id, list(g.Actions)))
	}
	if r := x.request.Resource.Ref; !coversResource(g, r) {
		var scopes []string
		for _, scope := range g.Resources {
			scopes = append(scopes, scopeWords(scope))
		}
		lacks = append(lacks, fmt.Sprintf("a grant that covers %s %s (%s covers %s)", r.Type, r.ID, id, list(scopes)))
	}
	_, changes := x.grantCondition(s, g)
	if lacks = append(lacks, changes...); len(lacks) > 0 {
		o.AnyOf = []string{list(lacks)}
	}
	x.obstacle(s, o)
}

func coversAction(g *authority.Grant, name string) bool {
	return slices.ContainsFunc(g.Actions, func(a string) bool {
		begin, pattern := strings.CutSuffix(a, "*")
		return a == name || pattern && strings.HasPrefix(name, begin)
	})
}

func coversResource(g *authority.Grant, r aver.Ref) bool {
	return slices.ContainsFunc(g.Resources, func(s aver.ResourceScope) bool {
		return s.Type == "*" || s.Type == r.Type && (s.ID == "" || s.ID == r.ID)
	})
}

// forWhom says for whom a frame did not allow.
func (x *explainer) forWhom(f aver.Frame) string { return "for " + x.frameName(f) }
