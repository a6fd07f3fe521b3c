package aver

import (
	"fmt"
	"strings"
)

// Grant is one act of delegation: From lets To do some of what From may do
// (requirements B1 to B4). A chain is a list of grants in which each To is the
// next From, from the originating user to the acting party.
//
// Whatever a grant says, its use is allowed only while From, too, may do what is
// asked: authority only shrinks along a chain (B6).
type Grant struct {
	ID        string          `json:"id"`
	From      Ref             `json:"from"`
	To        Ref             `json:"to"`
	Parent    string          `json:"parent,omitempty"`    // the grant under which this one delegates further
	Actions   []string        `json:"actions"`             // names; "*" any, "payment.*" any with that beginning
	Resources []ResourceScope `json:"resources"`           // any of these
	Condition string          `json:"condition,omitempty"` // a Cedar expression that must hold
	Purpose   string          `json:"purpose,omitempty"`
	NotBefore Time            `json:"not_before,omitzero"`
	Expires   Time            `json:"expires,omitzero"`
	Depth     int             `json:"depth"` // how many further hops may follow; 0: To may not delegate on
	Limits    *GrantLimits    `json:"limits,omitempty"`
	Revokers  []Ref           `json:"revocable_by,omitempty"` // who, besides From, may revoke it
	InFlight  InFlight        `json:"in_flight,omitempty"`    // what its revocation does to work under way; "" is fail
}

// InFlight says what becomes of work that was allowed under a grant and is
// under way when the grant is revoked.
type InFlight string

// What becomes of work under way.
const (
	InFlightFail     InFlight = "fail"             // its authorization lapses
	InFlightComplete InFlight = "allow_completion" // it may be completed; nothing new begins
)

// ResourceScope is what a grant reaches: all resources of a type, or one.
type ResourceScope struct {
	ID   string `json:"id,omitempty"` // "" is every resource of the type
	Type string `json:"type"`         // "*" is every type
}

// GrantLimits are the limits of a grant that count: they are used up by the
// requests that are allowed under it.
type GrantLimits struct {
	Uses int64      `json:"uses,omitempty"` // how many requests; 0: not limited
	Sums []SumLimit `json:"sums,omitempty"`
}

// SumLimit bounds the sum of a whole-number attribute over all requests allowed
// under the grant.
type SumLimit struct {
	Attribute string `json:"attribute"` // "resource.amount", "context.amount", "action.amount"
	Max       int64  `json:"max"`
}

// Bounds of a chain and of a grant.
const (
	MaxChain        = 8   // grants in one chain
	maxGrantEntries = 100 // actions, resources, sums, revokers of one grant
	maxGrantID      = 128 // bytes
)

// Validate checks what can be checked of a grant alone; whether the condition
// is Cedar, and whether it widens its parent, is checked where it is issued.
// The error is one plain sentence.
func (g *Grant) Validate() error {
	if err := g.From.validate(); err != nil {
		return fmt.Errorf("from: %w", err)
	}
	if err := g.To.validate(); err != nil {
		return fmt.Errorf("to: %w", err)
	}
	switch {
	case !isGrantID(g.ID):
		return fmt.Errorf("id %q: a grant's id has 1 to %d visible ASCII characters, without slashes or quotes", brief(g.ID), maxGrantID)
	case g.Parent != "" && !isGrantID(g.Parent):
		return fmt.Errorf("parent %q is not the id of a grant", brief(g.Parent))
	case g.Parent == g.ID:
		return fmt.Errorf("%q can't be its own parent", g.ID)
	case g.From == g.To:
		return fmt.Errorf("%s can't grant to itself", g.From)
	case len(g.Actions) == 0:
		return fmt.Errorf("actions: name at least one, or \"*\" for every action")
	case len(g.Resources) == 0:
		return fmt.Errorf("resources: name at least one, or {\"type\":\"*\"} for every resource")
	case len(g.Actions) > maxGrantEntries || len(g.Resources) > maxGrantEntries || len(g.Revokers) > maxGrantEntries:
		return fmt.Errorf("more than %d actions, resources or revokers", maxGrantEntries)
	case g.Depth < 0 || g.Depth >= MaxChain:
		return fmt.Errorf("depth: from 0 (may not be delegated on) to %d", MaxChain-1)
	case g.Expires != 0 && g.Expires <= g.NotBefore:
		return fmt.Errorf("expires: not after not_before")
	case g.InFlight != "" && g.InFlight != InFlightFail && g.InFlight != InFlightComplete:
		return fmt.Errorf("in_flight: %q, %q, or nothing, which is the first", InFlightFail, InFlightComplete)
	}
	if err := validateText("condition", g.Condition); err != nil {
		return err
	}
	if err := validateText("purpose", g.Purpose); err != nil {
		return err
	}
	for _, r := range g.Revokers {
		if err := r.validate(); err != nil {
			return fmt.Errorf("revocable_by: %w", err)
		}
	}
	for _, a := range g.Actions {
		if err := validateName("name of an action", a); err != nil {
			return err
		}
		if strings.Contains(strings.TrimSuffix(a, "*"), "*") {
			return fmt.Errorf("action %q: a name, or a beginning followed by one *", a)
		}
	}
	for _, r := range g.Resources {
		if err := r.validate(); err != nil {
			return err
		}
	}
	if g.Limits == nil {
		return nil
	}
	return g.Limits.validate()
}

func isGrantID(id string) bool {
	return id != "" && len(id) <= maxGrantID && !strings.ContainsFunc(id, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`/\"'`+"`", r)
	})
}

func (r ResourceScope) validate() error {
	// A star elsewhere would look like a pattern and be none.
	if strings.Contains(r.Type, "*") && r != (ResourceScope{Type: "*"}) {
		return fmt.Errorf("resource %q %q: a type, or a type and an id, or the type \"*\" alone", brief(r.Type), brief(r.ID))
	}
	if err := validateName("type of a resource", r.Type); err != nil || r.ID == "" {
		return err
	}
	return validateName("id of a resource", r.ID)
}

func (l *GrantLimits) validate() error {
	if l.Uses < 0 || l.Uses > MaxInteger {
		return fmt.Errorf("limits: uses must be from 1 to %d, or 0 for no limit", int64(MaxInteger))
	}
	if len(l.Sums) > maxGrantEntries {
		return fmt.Errorf("limits: more than %d sums", maxGrantEntries)
	}
	seen := map[string]bool{}
	for _, s := range l.Sums {
		root, rest, _ := strings.Cut(s.Attribute, ".")
		switch {
		case root != "resource" && root != "context" && root != "action" || rest == "":
			return fmt.Errorf("limits: attribute %q must be resource., context. or action. and a name", brief(s.Attribute))
		case s.Max <= 0 || s.Max > MaxInteger:
			return fmt.Errorf("limits: the sum of %s must have a maximum from 1 to %d", brief(s.Attribute), int64(MaxInteger))
		case seen[s.Attribute]:
			return fmt.Errorf("limits: %s stands twice", brief(s.Attribute))
		}
		if err := validateName("attribute to sum", s.Attribute); err != nil {
			return err
		}
		seen[s.Attribute] = true
	}
	return nil
}

// Widens says in plain words in what g reaches further than the parent it was
// made under, or "" when it does not.
//
// What it does not compare is the parent's beginning of validity, condition and
// limits: wherever g is used the parent stands before it in the chain, so those
// bind by themselves, and limits count for all that was delegated under them
// together. It is conservative: resources are compared one by one, so that all
// of a type under a list of ids is refused, whether or not there are others.
func (g *Grant) Widens(parent *Grant) string {
	if g.From != parent.To {
		return fmt.Sprintf("%q was granted to %s, so %s can't delegate under it", parent.ID, parent.To, g.From)
	}
	for _, a := range g.Actions {
		if !Covers(parent.Actions, a) {
			return fmt.Sprintf("action %q is not in %q", a, parent.ID)
		}
	}
	for _, r := range g.Resources {
		inside := false
		for _, p := range parent.Resources {
			inside = inside || p.Type == "*" || p.Type == r.Type && (p.ID == "" || p.ID == r.ID)
		}
		if !inside {
			return fmt.Sprintf("resource %q %q is not in %q", r.Type, r.ID, parent.ID)
		}
	}
	switch {
	case parent.Expires != 0 && (g.Expires == 0 || g.Expires > parent.Expires):
		return fmt.Sprintf("it outlives %q, which expires %s", parent.ID, parent.Expires)
	case parent.Depth == 0:
		return fmt.Sprintf("%q may not be delegated on (its depth is 0)", parent.ID)
	case g.Depth >= parent.Depth:
		return fmt.Sprintf("depth %d: at most %d is left under %q", g.Depth, parent.Depth-1, parent.ID)
	}
	return ""
}

// Covers tells whether an action is one of those that patterns name: "*" is any,
// "payment.*" any with that beginning.
func Covers(patterns []string, action string) bool {
	for _, p := range patterns {
		if begin, ok := strings.CutSuffix(p, "*"); p == action || ok && strings.HasPrefix(action, begin) {
			return true
		}
	}
	return false
}
