package api

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/index"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/query"
)

// reach is what the holder of a grant, or an identity by itself, could do right now without an approval or further
// proof: a sample, bounded in searches, results and time. It is no decision.
type reach struct {
	Found    []reachable `json:"found"`
	Complete bool        `json:"complete"` // false: some actions or types were not looked at, for want of time
	Size     uint64      `json:"authority_size"`
	Time     aver.Time   `json:"evaluated_at"`
}

// reachable are some of the resources of a type to which something can be done.
type reachable struct {
	Action    string   `json:"action"`
	Type      string   `json:"type"`
	Resources []string `json:"resources"`      // the first by id
	More      bool     `json:"more,omitempty"` // there are more
}

// Bounds of what is shown of a reach.
const (
	maxReachSearches = 400
	maxReachResults  = 10 // resources of one action and type
	maxReachTime     = 2 * time.Second
)

// reach searches for what a row's subject can reach: under the grant of the row, or by itself.
func (a *API) reach(ctx context.Context, i *authority.ReviewItem) (*reach, error) {
	st := a.state()
	out := &reach{Found: []reachable{}, Complete: true, Size: st.Size(), Time: a.now()}
	actions, types := st.Policies().Actions(), st.Types()
	req := aver.Request{}
	if i.Identity != nil {
		req.Subject.Ref = *i.Identity
	} else {
		g, ok := st.Grant(i.Grant)
		if !ok {
			return out, nil
		}
		req.Subject.Ref, req.Context = g.To, delegation(st, g)
		actions = slices.DeleteFunc(append(actions, exactly(g.Actions)...), func(action string) bool { return !aver.Covers(g.Actions, action) })
		if !slices.ContainsFunc(g.Resources, func(r aver.ResourceScope) bool { return r.Type == "*" }) {
			types = nil
			for _, r := range g.Resources {
				types = append(types, r.Type)
			}
		}
	}
	slices.Sort(actions)
	slices.Sort(types)
	actions, types = slices.Compact(actions), slices.Compact(types)
	ctx, cancel := context.WithTimeout(ctx, maxReachTime)
	defer cancel()
	searches := 0
	for _, action := range actions {
		for _, typ := range types {
			if searches++; searches > maxReachSearches {
				out.Complete = false
				return out, nil
			}
			req.Action.Name, req.Resource.Type = action, typ
			found, err := a.o.PDP.Search(ctx, pdp.Search{For: pdp.Resources, Request: &req, Limit: maxReachResults})
			if errors.Is(err, context.DeadlineExceeded) {
				out.Complete = false
				return out, nil
			}
			if err != nil {
				return nil, err
			}
			if len(found.IDs) > 0 {
				out.Found = append(out.Found, reachable{action, typ, found.IDs, found.Next != nil})
			}
		}
	}
	return out, nil
}

// exactly lists the patterns that name one action.
func exactly(patterns []string) (out []string) {
	for _, p := range patterns {
		if p[len(p)-1] != '*' {
			out = append(out, p)
		}
	}
	return out
}

// delegation is the context of a request under a grant: the chain from whom the authority comes to it.
func delegation(st *authority.State, g *authority.Grant) map[string]any {
	chain := []any{g.ID}
	from := g.From
	for at, ok := st.Grant(g.Parent); ok && len(chain) < aver.MaxChain; at, ok = st.Grant(at.Parent) {
		chain, from = append(chain, at.ID), at.From
	}
	slices.Reverse(chain)
	return map[string]any{"on_behalf_of": map[string]any{"type": from.Type, "id": from.ID}, "delegation": chain}
}

// lastUse is the newest decision that allowed something to somebody, or under a grant.
type lastUse struct {
	EvaluationID string    `json:"evaluation_id,omitempty"` // "": there is none among those that were searched
	Time         aver.Time `json:"time,omitzero"`
	Searched     uint64    `json:"searched"` // entries of the decision log
}

// quoted writes a value of a query for what it is, without stars or escapes in it.
var quoted = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `*`, `\*`)

// findLastUse finds the last use of a grant, or what an identity last did; nil where decisions can't be searched, or not for
// such an id.
func (a *API) findLastUse(ctx context.Context, i *authority.ReviewItem) (*lastUse, error) {
	if a.o.Finder == nil {
		return nil, nil
	}
	x := a.o.Finder.Index()
	text := `grant:"` + quoted.Replace(i.Grant) + `" allowed:true`
	if i.Identity != nil {
		text = `actor:"` + quoted.Replace(i.Identity.Type+"/"+i.Identity.ID) + `" allowed:true`
	}
	q, err := query.Parse(text)
	if x == nil || err != nil {
		return nil, nil
	}
	size, _ := a.o.Decisions.Head()
	await, cancel := context.WithTimeout(ctx, awaitIndex)
	defer cancel()
	if err := x.Await(await, size); err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	found, err := x.Search(ctx, q, index.Page{Limit: 1})
	if err != nil {
		return nil, err
	}
	out := &lastUse{Searched: found.Indexed}
	for _, at := range found.Entries {
		text, err := a.o.Decisions.Leaf(at)
		if err != nil {
			return nil, err
		}
		leaf, err := aver.ParseLeaf(text)
		if err != nil {
			return nil, err
		}
		out.EvaluationID, out.Time = leaf.ID, leaf.Time
	}
	return out, nil
}
