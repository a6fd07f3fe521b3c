package authority

import (
	"slices"
	"strings"

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
