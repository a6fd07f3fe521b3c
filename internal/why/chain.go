package why

import (
	"fmt"
	"strings"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/policy"
)

// Authority is on whose authority the actor acted.
type Authority struct {
	Text  string `json:"text"` // the whole in a sentence
	Chain []Hop  `json:"chain,omitempty"`
}

// Hop is one act of delegation (requirements B1 to B4).
type Hop struct {
	Grant       string         `json:"grant"`
	From        *Party         `json:"from,omitempty"` // nil: the grant was never issued
	To          *Party         `json:"to,omitempty"`
	Parent      string         `json:"parent,omitempty"`
	Issued      *Event         `json:"issued,omitempty"`
	Revoked     *Event         `json:"revoked,omitempty"`
	Actions     []string       `json:"actions,omitempty"`
	Resources   []string       `json:"resources,omitempty"` // in words
	Purpose     string         `json:"purpose,omitempty"`
	NotBefore   aver.Time      `json:"not_before,omitzero"`
	Expires     aver.Time      `json:"expires,omitzero"`
	Depth       int            `json:"depth"` // how many further hops may follow
	RevocableBy []string       `json:"revocable_by,omitempty"`
	Conditions  []Condition    `json:"conditions,omitempty"`
	Counters    []aver.Counter `json:"counters,omitempty"`
	Problems    []string       `json:"problems,omitempty"` // why it did not carry the request
}

// authority tells the chain hop by hop.
func (x *explainer) authority() {
	ids := x.request.Delegation()
	for _, id := range ids {
		x.out.Authority.Chain = append(x.out.Authority.Chain, x.hop(id))
	}
	actor := x.out.Asked.Actor.name()
	origin, claimed := x.request.OnBehalfOf()
	switch {
	case len(ids) > 0:
		var names []string
		for _, hop := range x.out.Authority.Chain {
			if hop.From == nil {
				names = append(names, "?")
				continue
			}
			if n := len(names); n == 0 || names[n-1] != hop.From.ID {
				names = append(names, hop.From.ID)
			}
			names = append(names, hop.To.ID)
		}
		by := fmt.Sprintf("%s: %s", count(len(ids), "grant"), strings.Join(names, " > "))
		if x.chainHolds() {
			x.out.Authority.Text = fmt.Sprintf("%s asked on the authority of %s, by %s.", actor, x.out.Asked.For.ID, by)
			break
		}
		x.out.Authority.Text = fmt.Sprintf("%s showed %s. That chain does not hold, so nobody's authority was passed on.", actor, by)
	case x.byToken() != "":
		x.out.Authority.Text = x.byToken()
	case claimed:
		x.out.Authority.Text = fmt.Sprintf("%s says that it acts for %s, and names no grant that lets it.", actor, origin.ID)
	default:
		whose := "its"
		if x.out.Asked.Actor.Kind == aver.HumanUser {
			whose = "their"
		}
		x.out.Authority.Text = fmt.Sprintf("%s asked on %s own authority; nobody delegated any for this.", x.out.Asked.Actor.name(), whose)
	}
}

// chainHolds tells whether nothing is wrong with the chain by itself, whatever
// was asked.
func (x *explainer) chainHolds() bool {
	for _, s := range x.all {
		for _, r := range s.Reasons {
			switch r.Code {
			case aver.ReasonChainBroken, aver.ReasonChainTooLong, aver.ReasonChainLoop,
				aver.ReasonGrantUnknown, aver.ReasonGrantRevoked, aver.ReasonGrantExpired, aver.ReasonGrantPending:
				return false
			}
		}
	}
	return x.out.Asked.For != nil
}

func (x *explainer) hop(id string) Hop {
	hop := Hop{Grant: id}
	for _, s := range x.all {
		for _, r := range s.Reasons {
			if r.Grant == id {
				hop.Problems = appendNew(hop.Problems, x.sentences([]aver.Reason{r})...)
			}
		}
	}
	g, ok := x.st.Grant(id)
	if !ok {
		return hop
	}
	from, to := x.party(g.From), x.party(g.To)
	hop.From, hop.To, hop.Parent, hop.Issued = &from, &to, g.Parent, eventOf(g.Mark)
	if g.Revoked != nil {
		hop.Revoked = eventOf(*g.Revoked)
	}
	hop.Actions, hop.Purpose, hop.NotBefore, hop.Expires, hop.Depth = g.Actions, g.Purpose, g.NotBefore, g.Expires, g.Depth
	for _, r := range g.Resources {
		hop.Resources = append(hop.Resources, scopeWords(r))
	}
	hop.RevocableBy = []string{g.From.ID}
	for _, r := range g.Revokers {
		hop.RevocableBy = append(hop.RevocableBy, r.ID)
	}
	for _, c := range x.record.Decision.Counters {
		if c.Grant == id {
			hop.Counters = append(hop.Counters, c)
		}
	}
	for _, s := range x.all {
		if conditions, _ := x.grantCondition(s, g); conditions != nil {
			hop.Conditions = conditions
			break
		}
	}
	return hop
}

func scopeWords(r aver.ResourceScope) string {
	switch {
	case r.Type == "*":
		return "any resource"
	case r.ID == "":
		return "any " + r.Type
	}
	return r.Type + " " + r.ID
}

// grantCondition explains a grant's own condition, apart from its actions and
// resources, and what would have made it hold.
func (x *explainer) grantCondition(s scene, g *authority.Grant) ([]Condition, []string) {
	if g.Condition == "" {
		return nil, nil
	}
	permit, err := policy.CompilePermit(g.ID, "permit (principal, action, resource) when {\n"+g.Condition+"\n};")
	if err != nil {
		return nil, nil // it was compiled when it was issued
	}
	for _, v := range s.views {
		if v.As == aver.FrameGrant && v.Grant == g.ID {
			e := policy.Explain(permit.Rule(), v.Entities, v.Request)
			x.values(s, v, e.Clauses)
			known, unknown := x.changes(s, v, e)
			return x.conditions(s, v, e.Clauses), append(known, unknown...)
		}
	}
	return nil, nil
}
