package authority

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/policy"
)

// Grant is a grant that was issued, and whether it was revoked.
type Grant struct {
	aver.Grant
	Mark                   // of the event that issued it
	Revoked *Mark          `json:"revoked,omitempty"` // nil: it stands (if it is not expired)
	Permit  *policy.Permit `json:"-"`                 // compiled from [GrantPolicy]
}

// Grant returns a grant, revoked or not.
func (s *State) Grant(id string) (*Grant, bool) { return s.grants.get(id) }

// Grants lists all grants ever issued, sorted by id.
func (s *State) Grants() []*Grant {
	all := s.grants.values()
	slices.SortFunc(all, func(a, b *Grant) int { return strings.Compare(a.ID, b.ID) })
	return all
}

func (s *State) grantIssued(g *aver.Grant, m Mark) error {
	if err := g.Validate(); err != nil {
		return err
	}
	if old, ok := s.grants.get(g.ID); ok {
		return fmt.Errorf("the id %q was already used, by event %d", g.ID, old.Event)
	}
	if g.Expires != 0 && g.Expires <= m.Time {
		return fmt.Errorf("it expires %s, which is not after the time of issue, %s", g.Expires, m.Time)
	}
	for _, ref := range []aver.Ref{g.From, g.To} {
		if i, ok := s.identities.get(ref); ok && i.Status == aver.Retired {
			return fmt.Errorf("%s was retired by event %d", ref, i.Event)
		}
	}
	if g.Parent != "" {
		if err := s.checkParent(g, m.Time); err != nil {
			return err
		}
	}
	if err := checkCedar(g); err != nil {
		return err
	}
	permit, err := compileGrant(g)
	if err != nil {
		return err
	}
	s.grants.put(g.ID, &Grant{Grant: *g, Mark: m, Permit: permit})
	return nil
}

// checkParent checks a grant that delegates further against the grants above it.
func (s *State) checkParent(g *aver.Grant, now aver.Time) error {
	parent, ok := s.grants.get(g.Parent)
	switch {
	case !ok:
		return fmt.Errorf("its parent %q was never issued", g.Parent)
	case parent.To != g.From:
		return fmt.Errorf("its parent %q is a grant to %s, not to %s", g.Parent, parent.To, g.From)
	case parent.Expires != 0 && parent.Expires <= now:
		return fmt.Errorf("its parent %q expired %s", g.Parent, parent.Expires)
	}
	if why := g.Widens(&parent.Grant); why != "" {
		return fmt.Errorf("it reaches further than its parent: %s", why)
	}
	// What expires below is never later than what is above, so only revocation has to be looked for further up.
	for above := parent; above != nil; above, _ = s.grants.get(above.Parent) {
		if above.Revoked != nil {
			return fmt.Errorf("%q, under which it would be, was revoked by event %d", above.ID, above.Revoked.Event)
		}
		if above.From == g.To {
			return fmt.Errorf("the chain would lead back to %s, from whom %q comes", g.To, above.ID)
		}
	}
	return nil
}

func (s *State) grantRevoked(ref *aver.GrantRef, m Mark) error {
	g, ok := s.grants.get(ref.ID)
	switch {
	case !ok:
		return fmt.Errorf("there is no grant %q", ref.ID)
	case g.Revoked != nil:
		return fmt.Errorf("grant %q is already revoked, by event %d", ref.ID, g.Revoked.Event)
	}
	next := *g
	next.Revoked = &m
	s.grants.put(g.ID, &next)
	return nil
}

// checkCedar checks what only Cedar can tell: that types are names in it and that the condition is an expression.
func checkCedar(g *aver.Grant) error {
	for _, r := range append([]aver.Ref{g.From, g.To}, g.Revokers...) {
		if _, err := cedarUID(r); err != nil {
			return err
		}
	}
	for _, r := range g.Resources {
		if r.Type == "*" {
			continue
		}
		if _, err := cedarUID(aver.Ref{Type: r.Type, ID: r.ID}); err != nil {
			return fmt.Errorf("resource: %w", err)
		}
	}
	if g.Condition != "" {
		if err := policy.ValidateCondition(g.Condition); err != nil {
			return fmt.Errorf("the condition is not a Cedar expression: %w", err)
		}
	}
	return nil
}

func compileGrant(g *aver.Grant) (*policy.Permit, error) {
	permit, err := policy.CompilePermit(g.ID, GrantPolicy(g))
	if err != nil {
		return nil, fmt.Errorf("grant %q cannot be written as a Cedar policy: %w", g.ID, err)
	}
	return permit, nil
}

// GrantPolicy returns the Cedar permit that a grant is. Any implementation must make the same one, so
// docs/formats-authority.md says exactly how.
func GrantPolicy(g *aver.Grant) string {
	var p strings.Builder
	action, actionWhen := actionScope(g.Actions)
	resource, resourceWhen := resourceScope(g.Resources)
	fmt.Fprintf(&p, "permit (principal == %s, %s, %s)", entityLiteral(g.To.Type, g.To.ID), action, resource)
	for _, when := range []string{actionWhen, resourceWhen, g.Condition} {
		if when != "" {
			// On lines of its own, so that a comment at its end swallows nothing.
			fmt.Fprintf(&p, "\nwhen {\n%s\n}", when)
		}
	}
	p.WriteString(";")
	return p.String()
}

func actionScope(actions []string) (scope, when string) {
	var exact, tests []string
	patterns := false
	for _, a := range actions {
		if a == "*" {
			return "action", ""
		}
		if begin, ok := strings.CutSuffix(a, "*"); ok {
			patterns = true
			tests = append(tests, "context.aver.action.name like "+patternLiteral(begin))
			continue
		}
		exact = append(exact, entityLiteral("Action", a))
		tests = append(tests, "context.aver.action.name == "+stringLiteral(a))
	}
	switch {
	case patterns:
		return "action", strings.Join(tests, " || ")
	case len(exact) == 1:
		return "action == " + exact[0], ""
	}
	return "action in [" + strings.Join(exact, ", ") + "]", ""
}

func resourceScope(resources []aver.ResourceScope) (scope, when string) {
	var tests []string
	for _, r := range resources {
		switch {
		case r.Type == "*":
			return "resource", ""
		case r.ID == "":
			tests = append(tests, "resource is "+r.Type)
		default:
			tests = append(tests, "resource == "+entityLiteral(r.Type, r.ID))
		}
	}
	if len(tests) == 1 {
		return tests[0], ""
	}
	return "resource", strings.Join(tests, " || ")
}

func entityLiteral(typ, id string) string { return typ + "::" + stringLiteral(id) }

// stringLiteral writes a string of Cedar: quote and backslash escaped by a backslash, control characters as \u{hex},
// everything else as it is.
func stringLiteral(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\u{%x}`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// patternLiteral writes the pattern of whatever begins with s.
func patternLiteral(s string) string {
	literal := strings.ReplaceAll(stringLiteral(s), "*", `\*`)
	return strings.TrimSuffix(literal, `"`) + `*"`
}
