package pdp

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
)

// Searched is what a search looks for.
type Searched int

// What can be searched for (AuthZEN 1.0, section 8).
const (
	Subjects Searched = iota
	Resources
	Actions
)

// Search is a request with one member left open. What it finds is what would be
// allowed, at one authority state and one time; it is no decision and leaves no
// record.
type Search struct {
	For Searched
	// Request is the request to be completed. Of the party that is searched for,
	// its type and properties count; if actions are, the action does not.
	Request *aver.Request
	Limit   int     // how many results at most
	From    *Cursor // where an earlier page ended; nil to begin
}

// Cursor says where a page of results ended.
type Cursor struct {
	Size  uint64    // of the authority log, whose state is searched
	Time  aver.Time // at which all is decided
	After string    // the last id or name that was looked at
}

// Found is a page of results.
type Found struct {
	// IDs are, in their order, the ids of subjects or resources of the type that
	// was asked for, or the names of actions.
	IDs []string
	// Next is where to go on; nil at the end. A page can have fewer results than
	// its limit and not be the last: a search stops when it has taken too long.
	Next *Cursor
	Size uint64    // of the authority log
	Time aver.Time // at which all was decided
	// Unknown names the members of the request, subject or resource, of which
	// nothing is registered and nothing was sent. There are no results then.
	Unknown []string
}

// ErrSearchGone says that a search can't go on: too much time has passed, or the
// authority has changed and the earlier state is not remembered any more.
var ErrSearchGone = errors.New("this search can't go on, since what it began with is not remembered any more; begin again")

// Search finds what would be allowed. The error is a [*aver.RequestError], that
// of ctx, or [ErrSearchGone].
func (p *Point) Search(ctx context.Context, s Search) (*Found, error) {
	st, _ := p.o.State()
	now := p.now(st)
	if s.From != nil {
		if now > s.From.Time+aver.Time(searchLife.Milliseconds()) {
			return nil, ErrSearchGone
		}
		now = s.From.Time
		if s.From.Size != st.Size() {
			if st = p.searched.state(s.From.Size); st == nil {
				return nil, ErrSearchGone
			}
		}
	}
	found, err := search(ctx, st, s, now, p.usageOf(st, s.Request), p.o.Now)
	if err != nil {
		return nil, err
	}
	if found.Next != nil {
		p.searched.remember(st, now)
	}
	return found, nil
}

const (
	// searchLife is how long a search can be gone on with.
	searchLife = 5 * time.Minute
	// searchTime is how long a page may take; then what was found is returned.
	searchTime = 2 * time.Second
	// maxSearched bounds the states that are remembered for searches to go on.
	maxSearched = 8
)

// searchedStates are the states of searches that have not come to their end, the
// latest last.
type searchedStates struct {
	mu     sync.Mutex
	states []searchedState
}

type searchedState struct {
	*authority.State
	since aver.Time
}

func (s *searchedStates) state(size uint64) *authority.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.states {
		if st.Size() == size {
			return st.State
		}
	}
	return nil
}

func (s *searchedStates) remember(st *authority.State, now aver.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.states = slices.DeleteFunc(s.states, func(old searchedState) bool {
		return old.Size() == st.Size() || now > old.since+aver.Time(searchLife.Milliseconds())
	})
	if len(s.states) == maxSearched {
		s.states = slices.Delete(s.states, 0, 1)
	}
	s.states = append(s.states, searchedState{st, now})
}

// usageOf is what has been used of the limits that can matter to a request.
func (p *Point) usageOf(st *authority.State, req *aver.Request) Usage {
	var keys []LimitKey
	for _, id := range req.Delegation() {
		if g, ok := st.Grant(id); ok && g.Limits != nil {
			keys = append(keys, LimitKey{id, usesName})
			for _, sum := range g.Limits.Sums {
				keys = append(keys, LimitKey{id, sum.Attribute})
			}
		}
	}
	if id := req.Approval(); id != "" {
		keys = append(keys, LimitKey{id, approvalName})
	}
	used := Usage{}
	if len(keys) == 0 {
		return used
	}
	p.counted.Lock()
	defer p.counted.Unlock()
	for _, key := range keys {
		used[key] = p.usage.Usage[key]
	}
	return used
}

// SearchAt finds what would be allowed at a state and a time, with so much of the
// limits used, where no point runs: in reports on a data directory. It is one
// page, from the beginning: s.From counts for nothing.
func SearchAt(ctx context.Context, st *authority.State, s Search, now aver.Time, used Usage) (*Found, error) {
	s.From = nil
	return search(ctx, st, s, now, used, time.Now)
}

// search goes through all that could be the open member, in order. A sieve takes
// out most of what would be denied; what is left is decided as any request is,
// so that each result is one that [Decide] allows.
func search(ctx context.Context, st *authority.State, s Search, now aver.Time, used Usage, clock func() time.Time) (*Found, error) {
	found := &Found{IDs: []string{}, Size: st.Size(), Time: now}
	model := NewQuery(s.complete("*"))
	if err := model.Err(); err != nil {
		return nil, err
	}
	if found.Unknown = s.unknown(st); found.Unknown != nil {
		return found, nil
	}
	after := ""
	if s.From != nil {
		after = s.From.After
	}
	candidates := s.candidates(st, after)
	sieve := newSieve(st, model, s.For, now)
	deadline := clock().Add(searchTime)
	for i, id := range candidates {
		if i%64 == 63 {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if clock().After(deadline) {
				found.Next = &Cursor{found.Size, now, after}
				return found, nil
			}
		}
		if sieve == nil || sieve.passes(id) {
			if d, _ := Decide(st, NewQuery(s.complete(id)), now, used); d.Outcome.Allowed() {
				if len(found.IDs) == s.Limit {
					found.Next = &Cursor{found.Size, now, after}
					return found, nil
				}
				found.IDs = append(found.IDs, id)
			}
		}
		after = id
	}
	return found, nil
}

// complete is the request with the open member filled in.
func (s *Search) complete(id string) *aver.Request {
	req := *s.Request
	switch s.For {
	case Subjects:
		req.Subject.ID = id
	case Resources:
		req.Resource.ID = id
	case Actions:
		req.Action = aver.Action{Name: id}
	}
	return &req
}

// unknown names the parties that are not searched for and of which nothing is
// known.
func (s *Search) unknown(st *authority.State) (names []string) {
	check := func(name string, p aver.Party) {
		if _, _, known := st.Entity(uid(p.Ref)); !known && len(p.Properties) == 0 {
			names = append(names, name)
		}
	}
	if s.For != Subjects {
		check("subject", s.Request.Subject)
	}
	if s.For != Resources {
		check("resource", s.Request.Resource)
	}
	return names
}

// candidates are all that could be the open member and come after what was
// looked at: what is registered of the type, or the actions that anybody has
// spoken of.
func (s *Search) candidates(st *authority.State, after string) []string {
	typ := ""
	switch s.For {
	case Subjects:
		typ = s.Request.Subject.Type
	case Resources:
		typ = s.Request.Resource.Type
	case Actions:
		return actionsAfter(st, after)
	}
	refs := st.RefsOfType(typ, after)
	ids := make([]string, len(refs))
	for i, r := range refs {
		ids[i] = r.ID
	}
	return ids
}

// actionsAfter are the actions of the policies and their schemas, and those that
// are registered to be in groups of actions.
func actionsAfter(st *authority.State, after string) []string {
	names := st.Policies().Actions()
	for _, r := range st.RefsOfType("Action", "") {
		names = append(names, r.ID)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	from, found := slices.BinarySearchFunc(names, after, strings.Compare)
	if found {
		from++
	}
	return names[from:]
}
