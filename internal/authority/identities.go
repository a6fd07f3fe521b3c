package authority

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/aver-authz/aver"
)

// Identity is a registered identity and where it stands in its life.
type Identity struct {
	aver.Identity
	Status     aver.Status `json:"status"` // active, suspended or retired
	Mark                   // of the last event that set it, status included
	Registered Mark        `json:"registered"`

	entity  types.Entity
	records *actorRecords
}

// Identity returns what is registered about a party that can act.
func (s *State) Identity(ref aver.Ref) (*Identity, bool) { return s.identities.get(ref) }

// Stands tells whether the identity counts at a time: it is active, and has not expired.
func (i *Identity) Stands(now aver.Time) bool {
	return i.Status == aver.Active && (i.Expires == 0 || now < i.Expires)
}

// Identities lists all registered identities, retired ones included, sorted by type, then id.
func (s *State) Identities() []*Identity {
	all := s.identities.values()
	slices.SortFunc(all, func(a, b *Identity) int { return compareRefs(a.Ref, b.Ref) })
	return all
}

func compareRefs(a, b aver.Ref) int {
	return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.ID, b.ID))
}

func (s *State) identityRegistered(i *aver.Identity, m Mark) error {
	if old, ok := s.identities.get(i.Ref); ok {
		if old.Status == aver.Retired {
			return fmt.Errorf("%s was retired by event %d, and a retired identity can't be registered again", i.Ref, old.Event)
		}
		return fmt.Errorf("%s is already registered, by event %d", i.Ref, old.Registered.Event)
	}
	return s.setIdentity(&Identity{Identity: *i, Status: aver.Active, Mark: m, Registered: m})
}

func (s *State) identityUpdated(i *aver.Identity, m Mark) error {
	old, err := s.livingIdentity(i.Ref)
	if err != nil {
		return err
	}
	return s.setIdentity(&Identity{Identity: *i, Status: old.Status, Mark: m, Registered: old.Registered})
}

// setIdentity checks what an event says about an identity and takes it over.
func (s *State) setIdentity(i *Identity) error {
	if err := i.Validate(); err != nil {
		return err
	}
	if e, ok := s.entities.get(i.Ref); ok {
		return fmt.Errorf("%s is already put as an entity, by event %d", i.Ref, e.Event)
	}
	entity, err := cedarEntity(i.Ref, i.Properties, i.Parents)
	if err != nil {
		return err
	}
	if err := s.checkAbove(i.Ref, i.Parents); err != nil {
		return err
	}
	i.entity = entity
	s.putIdentity(i)
	return nil
}

// livingIdentity returns an identity that is not retired.
func (s *State) livingIdentity(ref aver.Ref) (*Identity, error) {
	i, ok := s.identities.get(ref)
	switch {
	case !ok:
		return nil, fmt.Errorf("%s is not registered", ref)
	case i.Status == aver.Retired:
		return nil, fmt.Errorf("%s was retired by event %d", ref, i.Event)
	}
	return i, nil
}

func (s *State) identitySuspended(ref *aver.Ref, m Mark) error {
	i, err := s.livingIdentity(*ref)
	if err != nil {
		return err
	}
	if i.Status != aver.Active {
		return fmt.Errorf("%s is already suspended, by event %d", ref, i.Event)
	}
	s.setStatus(i, aver.Suspended, m)
	return nil
}

func (s *State) identityResumed(ref *aver.Ref, m Mark) error {
	i, err := s.livingIdentity(*ref)
	if err != nil {
		return err
	}
	if i.Status != aver.Suspended {
		return fmt.Errorf("%s is not suspended", ref)
	}
	s.setStatus(i, aver.Active, m)
	return nil
}

func (s *State) identityRetired(ref *aver.Ref, m Mark) error {
	i, err := s.livingIdentity(*ref)
	if err != nil {
		return err
	}
	s.setStatus(i, aver.Retired, m)
	return nil
}

func (s *State) setStatus(i *Identity, status aver.Status, m Mark) {
	next := *i
	next.Status, next.Mark = status, m
	s.putIdentity(&next)
}
