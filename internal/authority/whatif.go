package authority

import (
	"slices"
	"strings"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/policy"
)

// WithBundle returns the state as it would be if the bundle were active, in
// place of the active version of its name or beside the others. It is for
// asking what would have been; no log has such a state.
func (s *State) WithBundle(b *policy.Bundle) *State {
	next := *s
	versions := slices.DeleteFunc(s.ActiveBundles(), func(v *BundleVersion) bool { return v.Bundle.Name() == b.Name() })
	versions = append(versions, &BundleVersion{Bundle: b, Active: true})
	slices.SortFunc(versions, func(a, b *BundleVersion) int { return strings.Compare(a.Bundle.Name(), b.Bundle.Name()) })
	next.active = newActivePolicies(versions)
	return &next
}

// NewGrant compiles a grant that nobody issued, for [State.WithGrants].
func NewGrant(g aver.Grant) (*Grant, error) {
	if err := checkCedar(&g); err != nil {
		return nil, err
	}
	permit, err := compileGrant(&g)
	if err != nil {
		return nil, err
	}
	return &Grant{Grant: g, Permit: permit}, nil
}

// WithGrants returns the state as it would be if the grants had been issued in
// place of those of the same ids, at the same times. One that was not issued yet
// stays so. A grant that is revoked stays so; one that is not is revoked if the
// one in its place is.
func (s *State) WithGrants(grants ...*Grant) *State {
	next := *s
	for _, g := range grants {
		old, ok := s.grants.get(g.ID)
		if !ok {
			continue
		}
		instead := *g
		instead.Mark = old.Mark
		if old.Revoked != nil {
			instead.Revoked = old.Revoked
		}
		next.grants.put(g.ID, &instead)
	}
	next.grants.freeze()
	return &next
}
