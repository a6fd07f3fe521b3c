package authority

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/policy"
)

// BundleVersion is one published version of a bundle and what became of it.
type BundleVersion struct {
	Mark   // of its publication
	Bundle *policy.Bundle
	Active bool
	// History lists its activations and retirements, oldest first. That another version took its place is a
	// retirement too, by the event that activated the other.
	History []Activation
}

// Activation is a time from which a version was active or no longer was.
type Activation struct {
	Mark
	Active bool `json:"active"`
}

// bundleVersions are the versions of one bundle, in the order of their publication. It is replaced, never changed.
type bundleVersions struct {
	name     string
	versions []*BundleVersion
}

func (b *bundleVersions) find(digest string) *BundleVersion {
	if b == nil {
		return nil
	}
	for _, v := range b.versions {
		if v.Bundle.Digest() == digest {
			return v
		}
	}
	return nil
}

func (b *bundleVersions) active() *BundleVersion {
	if b == nil {
		return nil
	}
	for _, v := range b.versions {
		if v.Active {
			return v
		}
	}
	return nil
}

// with returns b with versions replaced by others of the same digest, or appended.
func (b *bundleVersions) with(changed ...*BundleVersion) *bundleVersions {
	next := &bundleVersions{name: b.name, versions: slices.Clone(b.versions)}
	for _, c := range changed {
		i := slices.IndexFunc(next.versions, func(v *BundleVersion) bool { return v.Bundle.Digest() == c.Bundle.Digest() })
		if i < 0 {
			next.versions = append(next.versions, c)
		} else {
			next.versions[i] = c
		}
	}
	return next
}

func (v *BundleVersion) turned(active bool, m Mark) *BundleVersion {
	next := *v
	next.Active = active
	next.History = append(slices.Clone(v.History), Activation{Mark: m, Active: active})
	return &next
}

// activePolicies are the active versions of all bundles, sorted by name. All states between two activations share one,
// so each set is compiled once: that of the bundle which decides about Aver's own administration, and that of all others.
type activePolicies struct {
	versions       []*BundleVersion
	digest         string
	compiled       func() *policy.Set
	administration func() *policy.Set
}

func newActivePolicies(versions []*BundleVersion) *activePolicies {
	pairs := []any{}
	var bundles, administration []*policy.Bundle
	for _, v := range versions {
		pairs = append(pairs, []any{v.Bundle.Name(), v.Bundle.Digest()})
		if v.Bundle.Name() == policy.AdministrationName {
			administration = append(administration, v.Bundle)
		} else {
			bundles = append(bundles, v.Bundle)
		}
	}
	return &activePolicies{
		versions:       versions,
		digest:         aver.Digest(aver.AppendCanonical(nil, pairs)),
		compiled:       sync.OnceValue(func() *policy.Set { return policy.NewSet(bundles...) }),
		administration: sync.OnceValue(func() *policy.Set { return policy.NewSet(administration...) }),
	}
}

// PoliciesDigest commits to the active policies: [aver.Digest] of the canonical JSON array of [name, digest] pairs of
// the active bundles, sorted by name ("[]" when there is none).
func (s *State) PoliciesDigest() string { return s.active.digest }

// Active returns the active version of a bundle, and the index of the event that activated it.
func (s *State) Active(name string) (digest string, event uint64, ok bool) {
	b, _ := s.bundles.get(name)
	v := b.active()
	if v == nil {
		return "", 0, false
	}
	return v.Bundle.Digest(), v.History[len(v.History)-1].Event, true
}

// ActiveBundles lists the active versions, sorted by name.
func (s *State) ActiveBundles() []*BundleVersion { return slices.Clone(s.active.versions) }

// Bundle returns a published version.
func (s *State) Bundle(name, digest string) (*BundleVersion, bool) {
	b, _ := s.bundles.get(name)
	v := b.find(digest)
	return v, v != nil
}

// Bundles lists all published versions, sorted by name, then in the order of their publication.
func (s *State) Bundles() []*BundleVersion {
	all := s.bundles.values()
	slices.SortFunc(all, func(a, b *bundleVersions) int { return strings.Compare(a.name, b.name) })
	var out []*BundleVersion
	for _, b := range all {
		out = append(out, b.versions...)
	}
	return out
}

func (s *State) policyPublished(p *aver.PolicyPublished, m Mark) error {
	b, ok := s.bundles.get(p.Name)
	if !ok {
		b = &bundleVersions{name: p.Name}
	}
	if v := b.find(p.Digest); v != nil {
		return fmt.Errorf("bundle %q is already published in this version, by event %d", p.Name, v.Event)
	}
	bundle, err := loadBundle(p)
	if err != nil {
		return err
	}
	s.bundles.put(p.Name, b.with(&BundleVersion{Mark: m, Bundle: bundle}))
	return nil
}

// loadBundle compiles what was published and checks that it is what it says.
func loadBundle(p *aver.PolicyPublished) (*policy.Bundle, error) {
	files := make(map[string][]byte, len(p.Files))
	for name, text := range p.Files {
		files[name] = []byte(text)
	}
	bundle, err := policy.Load(files, p.Name)
	switch {
	case err != nil:
		return nil, fmt.Errorf("bundle %q cannot be loaded: %w", p.Name, err)
	case bundle.Name() != p.Name:
		return nil, fmt.Errorf("the bundle calls itself %q, the event %q", bundle.Name(), p.Name)
	case bundle.Digest() != p.Digest:
		return nil, fmt.Errorf("the digest of the files is %s, the event says %s", bundle.Digest(), p.Digest)
	}
	return bundle, nil
}

func (s *State) policyActivated(p *aver.PolicyRef, m Mark) error {
	b, _ := s.bundles.get(p.Name)
	v := b.find(p.Digest)
	switch {
	case b == nil:
		return fmt.Errorf("no bundle %q is published", p.Name)
	case v == nil:
		return fmt.Errorf("bundle %q is not published in the version %s", p.Name, p.Digest)
	case v.Active:
		return fmt.Errorf("bundle %q is already active in this version", p.Name)
	}
	changed := []*BundleVersion{v.turned(true, m)}
	if old := b.active(); old != nil {
		changed = append(changed, old.turned(false, m))
	}
	s.setBundle(b.with(changed...))
	return nil
}

func (s *State) policyRetired(p *aver.PolicyRef, m Mark) error {
	b, _ := s.bundles.get(p.Name)
	v := b.find(p.Digest)
	if v == nil || !v.Active {
		return fmt.Errorf("bundle %q is not active in the version %s", p.Name, p.Digest)
	}
	s.setBundle(b.with(v.turned(false, m)))
	return nil
}

// setBundle replaces a bundle whose active version changed.
func (s *State) setBundle(b *bundleVersions) {
	s.bundles.put(b.name, b)
	byName := map[string]*BundleVersion{}
	for _, v := range s.active.versions {
		byName[v.Bundle.Name()] = v
	}
	delete(byName, b.name)
	if v := b.active(); v != nil {
		byName[b.name] = v
	}
	var versions []*BundleVersion
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		versions = append(versions, byName[name])
	}
	s.active = newActivePolicies(versions)
}
