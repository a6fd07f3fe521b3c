package authority

import (
	"fmt"
	"slices"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/policy"
)

// Entity is a registered fact about something that is not an identity.
type Entity struct {
	aver.Entity
	Mark // of the event that last put it

	entity types.Entity
}

// maxMemberships bounds the memberships above an entity, direct and indirect: they are walked for every event that sets
// parents, and by every evaluation that asks whether the entity is in something.
const maxMemberships = 10_000

// Entity returns what Cedar is to know of a registered identity or entity, whatever the identity's status, and the index
// of the event that last set it.
func (s *State) Entity(uid types.EntityUID) (types.Entity, uint64, bool) {
	k := s.Look(uid)
	if k.Entity == nil {
		return types.Entity{}, 0, false
	}
	return *k.Entity, *k.Event, true
}

// Known is what a state has about an identity or entity, whatever the identity's status. All is nil where nothing is
// registered. What it points to belongs to the state and is not to be changed.
type Known struct {
	Entity   *types.Entity // what Cedar is to know of it
	Event    *uint64       // the index of the event that last set it
	Identity *Identity     // nil for an entity that is not an identity
}

// Look looks up what is registered of an identity or entity.
func (s *State) Look(uid types.EntityUID) Known {
	ref := aver.Ref{Type: string(uid.Type), ID: string(uid.ID)}
	shard := shardOf(ref)
	if i, ok := s.identities.getIn(shard, ref); ok {
		return Known{&i.entity, &i.Event, i}
	}
	if e, ok := s.entities.getIn(shard, ref); ok {
		return Known{Entity: &e.entity, Event: &e.Event}
	}
	return Known{}
}

// EntityFact returns a registered entity that is not an identity.
func (s *State) EntityFact(ref aver.Ref) (*Entity, bool) { return s.entities.get(ref) }

// EntityFacts lists the registered entities that are not identities, sorted by type, then id.
func (s *State) EntityFacts() []*Entity {
	all := s.entities.values()
	slices.SortFunc(all, func(a, b *Entity) int { return compareRefs(a.Ref, b.Ref) })
	return all
}

func (s *State) entityPut(e *aver.Entity, m Mark) error {
	if err := e.Validate(); err != nil {
		return err
	}
	if i, ok := s.identities.get(e.Ref); ok {
		return fmt.Errorf("%s is registered as an identity, by event %d: update that instead", e.Ref, i.Registered.Event)
	}
	entity, err := cedarEntity(e.Ref, e.Properties, e.Parents)
	if err != nil {
		return err
	}
	if err := s.checkAbove(e.Ref, e.Parents); err != nil {
		return err
	}
	s.entities.put(e.Ref, &Entity{Entity: *e, Mark: m, entity: entity})
	return nil
}

func (s *State) entityRemoved(ref *aver.Ref, _ Mark) error {
	if _, ok := s.entities.get(*ref); !ok {
		return fmt.Errorf("there is no entity %s", ref)
	}
	s.entities.delete(*ref)
	return nil
}

// cedarEntity converts what is registered into what Cedar evaluates, and refuses what Cedar cannot hold.
func cedarEntity(ref aver.Ref, properties aver.Properties, parents []aver.Ref) (types.Entity, error) {
	uid, err := cedarUID(ref)
	if err != nil {
		return types.Entity{}, err
	}
	attributes, err := policy.RecordFromJSON(properties, "properties")
	if err != nil {
		return types.Entity{}, err
	}
	above := make([]types.EntityUID, 0, len(parents))
	for _, p := range parents {
		uid, err := cedarUID(p)
		if err != nil {
			return types.Entity{}, fmt.Errorf("parent: %w", err)
		}
		above = append(above, uid)
	}
	return types.Entity{UID: uid, Attributes: attributes, Parents: types.NewEntityUIDSet(above...)}, nil
}

// cedarUID converts a ref; its type must be a name in Cedar, so that policies and other engines can speak of it.
func cedarUID(ref aver.Ref) (types.EntityUID, error) {
	if aver.Reserved(ref.Type) {
		return types.EntityUID{}, fmt.Errorf("type %q is reserved: only Aver says what is so named", ref.Type)
	}
	typ, err := types.NewEntityType(ref.Type)
	if err != nil {
		return types.EntityUID{}, fmt.Errorf("type %q is not a name of Cedar: letters, digits and underscores, not beginning with a digit, "+
			"perhaps in parts joined by ::, and none of Cedar's own words", ref.Type)
	}
	return types.NewEntityUID(typ, types.String(ref.ID)), nil
}

// checkAbove refuses parents that lead back to ref, or to too many others.
func (s *State) checkAbove(ref aver.Ref, parents []aver.Ref) error {
	seen := map[aver.Ref]bool{}
	memberships := 0
	for queue := slices.Clone(parents); len(queue) > 0; {
		at := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		if memberships++; memberships > maxMemberships {
			return fmt.Errorf("%s would be in groups by more than %d memberships, direct and indirect", ref, maxMemberships)
		}
		if at == ref {
			return fmt.Errorf("the parents of %s lead back to itself", ref)
		}
		if seen[at] {
			continue
		}
		seen[at] = true
		if i, ok := s.identities.get(at); ok {
			queue = append(queue, i.Parents...)
		} else if e, ok := s.entities.get(at); ok {
			queue = append(queue, e.Parents...)
		}
	}
	return nil
}
