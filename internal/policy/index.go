package policy

import (
	"encoding/binary"
	"iter"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// An index finds the policies whose scope can match a request: by the action
// and its groups, then by the type of the resource, then by the principal, its
// type and its groups. It never misses one whose scope matches.
type index struct {
	rules   []*Rule
	actions level[level2]
	// Walking up from an entity costs reads, so it is done only if some scope
	// has a group in it.
	actionGroups, principalGroups bool

	cache *groupCache
}

type level2 map[types.EntityType]*level[[]int32] // by resource type; "" for any

// A level maps the entity in a scope to what is below it. Scopes that name one
// entity match it alone; those that name a group match all below it.
type level[T any] struct {
	any   T
	is    map[types.EntityType]T
	exact map[types.EntityUID]T
	group map[types.EntityUID]T
}

func newIndex(rules []*Rule) index {
	ix := index{rules: rules, cache: &groupCache{groups: map[string]*group{}}}
	ix.actions.any = level2{}
	ix.actions.exact = map[types.EntityUID]level2{}
	ix.actions.group = map[types.EntityUID]level2{}
	for i, r := range rules {
		for _, resources := range ix.actionLevels(r.ast.Action) {
			var typ types.EntityType
			switch s := r.ast.Resource.(type) {
			case ast.ScopeTypeEq:
				typ = s.Entity.Type
			case ast.ScopeTypeIs:
				typ = s.Type
			case ast.ScopeTypeIsIn:
				typ = s.Type
			}
			principals := resources[typ]
			if principals == nil {
				principals = &level[[]int32]{
					is:    map[types.EntityType][]int32{},
					exact: map[types.EntityUID][]int32{},
					group: map[types.EntityUID][]int32{},
				}
				resources[typ] = principals
			}
			ix.addPrincipal(principals, r.ast.Principal, int32(i))
		}
	}
	return ix
}

func (ix *index) actionLevels(scope ast.IsActionScopeNode) []level2 {
	at := func(m map[types.EntityUID]level2, uid types.EntityUID) level2 {
		if m[uid] == nil {
			m[uid] = level2{}
		}
		return m[uid]
	}
	switch s := scope.(type) {
	case ast.ScopeTypeEq:
		return []level2{at(ix.actions.exact, s.Entity)}
	case ast.ScopeTypeIn:
		ix.actionGroups = true
		return []level2{at(ix.actions.group, s.Entity)}
	case ast.ScopeTypeInSet:
		ix.actionGroups = true
		var out []level2
		for _, uid := range s.Entities {
			out = append(out, at(ix.actions.group, uid))
		}
		return out
	}
	return []level2{ix.actions.any}
}

func (ix *index) addPrincipal(l *level[[]int32], scope ast.IsPrincipalScopeNode, i int32) {
	switch s := scope.(type) {
	case ast.ScopeTypeEq:
		l.exact[s.Entity] = append(l.exact[s.Entity], i)
	case ast.ScopeTypeIs:
		l.is[s.Type] = append(l.is[s.Type], i)
	case ast.ScopeTypeIn:
		ix.principalGroups = true
		l.group[s.Entity] = append(l.group[s.Entity], i)
	case ast.ScopeTypeIsIn:
		ix.principalGroups = true
		l.group[s.Entity] = append(l.group[s.Entity], i)
	default:
		l.any = append(l.any, i)
	}
}

// A group is a list of candidates that belong together, as there are few such
// lists however many requests there are.
type group struct {
	id     uint64 // of one that is remembered, unique; else 0
	rules  []*Rule
	reads  func() ReadSet // computed when first needed
	climbs bool           // the evaluation of some policy looks for groups that an entity is in
	found  bool           // by the index, so that of each policy what is inner is evaluated

	seq iter.Seq2[types.PolicyID, *cedar.Policy] // of the policies
}

func newGroup(rules []*Rule, found bool) *group {
	g := &group{
		rules: rules,
		reads: sync.OnceValue(func() ReadSet { return readsOfRules(rules) }),
		found: found,
		climbs: slices.ContainsFunc(rules, func(r *Rule) bool {
			if found {
				return r.innerClimbs
			}
			return r.climbs
		}),
	}
	g.seq = g.walk
	return g
}

// maxGroups bounds what an index remembers. Beyond it, groups are made anew
// for each request.
const maxGroups = 4096

// groupCache remembers groups by the positions of their policies.
type groupCache struct {
	mu     sync.RWMutex
	groups map[string]*group
}

// group gives the policies at the given places.
func (ix *index) group(hits []int32) *group {
	if len(hits) == 0 {
		return &noCandidates
	}
	var keyBuf [256]byte
	key := keyBuf[:0]
	for _, h := range hits {
		key = binary.LittleEndian.AppendUint32(key, uint32(h))
	}
	ix.cache.mu.RLock()
	g := ix.cache.groups[string(key)]
	ix.cache.mu.RUnlock()
	if g != nil {
		return g
	}
	rules := make([]*Rule, len(hits))
	for i, h := range hits {
		rules[i] = ix.rules[h]
	}
	g = newGroup(rules, true)
	ix.cache.mu.Lock()
	defer ix.cache.mu.Unlock()
	if known := ix.cache.groups[string(key)]; known != nil {
		return known
	}
	if len(ix.cache.groups) < maxGroups {
		g.id = noCandidates.id + groupIDs.Add(1)
		ix.cache.groups[string(key)] = g
	}
	return g
}

// groupIDs counts the groups that are remembered, of all sets.
var groupIDs atomic.Uint64

var noCandidates = group{id: 1, reads: func() ReadSet { return ReadSet{} }}

// find gives the policies whose scope can match, in the order of the index.
func (ix *index) find(entities types.EntityGetter, req types.Request) *group {
	if len(ix.rules) == 0 {
		return &noCandidates
	}
	var actionBuf, principalBuf [8]types.EntityUID
	actions := append(actionBuf[:0], req.Action)
	if ix.actionGroups {
		actions = ancestors(actions, entities)
	}
	principals := append(principalBuf[:0], req.Principal)
	if ix.principalGroups {
		principals = ancestors(principals, entities)
	}
	var hitBuf [64]int32
	hits := hitBuf[:0]
	add := func(resources level2) {
		for _, typ := range [2]types.EntityType{"", req.Resource.Type} {
			l := resources[typ]
			if l == nil {
				continue
			}
			hits = append(hits, l.any...)
			hits = append(hits, l.is[req.Principal.Type]...)
			hits = append(hits, l.exact[req.Principal]...)
			if len(l.group) > 0 {
				for _, uid := range principals {
					hits = append(hits, l.group[uid]...)
				}
			}
			if req.Resource.Type == "" {
				break
			}
		}
	}
	add(ix.actions.any)
	add(ix.actions.exact[req.Action])
	for _, uid := range actions {
		add(ix.actions.group[uid])
	}
	slices.Sort(hits)
	return ix.group(slices.Compact(hits))
}

func (ix *index) authorize(entities types.EntityGetter, req types.Request) Result {
	if entities == nil {
		entities = types.EntityMap(nil)
	}
	return authorize(ix.find(entities, req), entities, req)
}

// ancestors adds to the entities in list all that they are in, directly or
// not. The order of what it adds means nothing.
func ancestors(list []types.EntityUID, entities types.EntityGetter) []types.EntityUID {
	var seen map[types.EntityUID]struct{}
	for i := 0; i < len(list); i++ {
		e, ok := entities.Get(list[i])
		if !ok {
			continue
		}
		for parent := range e.Parents.All() {
			if seen == nil && len(list) < 16 {
				if !slices.Contains(list, parent) {
					list = append(list, parent)
				}
				continue
			}
			if seen == nil {
				seen = make(map[types.EntityUID]struct{}, 2*len(list))
				for _, uid := range list {
					seen[uid] = struct{}{}
				}
			}
			if _, ok := seen[parent]; !ok {
				seen[parent] = struct{}{}
				list = append(list, parent)
			}
		}
	}
	return list
}
