package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/aver-authz/aver"
)

// DecisionSearch says which decisions are looked for.
type DecisionSearch struct {
	Query  string // docs/search.md; "" matches all
	Saved  string // in its place: the name of a saved query
	Limit  int    // on one page, at most 1,000; 0 means 100
	Oldest bool   // the oldest first, not the newest
	Cursor string // [DecisionPage.Next] of the page before
}

// DecisionPage is one page of a search.
type DecisionPage struct {
	Decisions []Entry `json:"decisions"`
	Next      string  `json:"next,omitempty"`   // the cursor of the next page; "" at the end
	Indexed   uint64  `json:"indexed"`          // entries of the decision log that were searched
	Behind    uint64  `json:"behind,omitempty"` // entries that were there and could not be searched yet
}

// DecisionCount is how many decisions match.
type DecisionCount struct {
	Count   int           `json:"count"`
	Buckets []CountBucket `json:"buckets,omitempty"` // by time; spans without decisions are left out
	Indexed uint64        `json:"indexed"`           // entries of the decision log that were searched
}

// CountBucket is a number of decisions in a span of time.
type CountBucket struct {
	From  aver.Time `json:"from"`
	Count int       `json:"count"`
}

// SavedQuery is a query that somebody wants to use again.
type SavedQuery struct {
	Name        string    `json:"name"`
	Query       string    `json:"query"`
	Description string    `json:"description,omitempty"`
	By          string    `json:"saved_by"` // the credential
	Time        aver.Time `json:"saved_at"`
}

// IndexStatus says how far the search index of a server goes.
type IndexStatus struct {
	Indexed    uint64 `json:"indexed"`    // entries of the decision log that can be searched
	Log        uint64 `json:"log"`        // entries that are there
	Lag        uint64 `json:"lag"`        // the difference
	Events     uint64 `json:"events"`     // events of the authority log that were read
	Authority  uint64 `json:"authority"`  // events that are there
	From       uint64 `json:"from"`       // the first entry that can be searched
	Partitions int    `json:"partitions"` // files
	Bytes      int64  `json:"bytes"`
}

func (s *DecisionSearch) values() url.Values {
	v := url.Values{}
	if s.Saved != "" {
		v.Set("saved", s.Saved)
	}
	if s.Query != "" || s.Saved == "" {
		v.Set("q", s.Query)
	}
	if s.Limit > 0 {
		v.Set("limit", strconv.Itoa(s.Limit))
	}
	if s.Oldest {
		v.Set("order", "oldest")
	}
	if s.Cursor != "" {
		v.Set("cursor", s.Cursor)
	}
	return v
}

// SearchDecisions returns a page of the decisions that match.
func (c *Client) SearchDecisions(ctx context.Context, s DecisionSearch) (*DecisionPage, error) {
	var out DecisionPage
	if err := c.get(ctx, "/v1/decisions", s.values(), &out); err != nil {
		return nil, err
	}
	return &out, nil
}

// CountDecisions counts the decisions that match, also in spans of time: minute, hour, day, week, or whole seconds such as
// 15m; "" for none. Of the search, query and saved query count.
func (c *Client) CountDecisions(ctx context.Context, s DecisionSearch, by string) (*DecisionCount, error) {
	v := (&DecisionSearch{Query: s.Query, Saved: s.Saved}).values()
	if by != "" {
		v.Set("by", by)
	}
	var out DecisionCount
	if err := c.get(ctx, "/v1/decisions/count", v, &out); err != nil {
		return nil, err
	}
	return &out, nil
}

// Story says whose story a trail tells: exactly one of the first six is set.
type Story struct {
	Trace, Session, Actor, Grant string
	Query, Saved                 string
	Limit                        int // decisions, the latest ones; 0 means 200
}

// Trail returns the story of a trace, a session, a party or a grant in its order: as json, text, mermaid or dot.
func (c *Client) Trail(ctx context.Context, s Story, format string) ([]byte, error) {
	v := url.Values{"format": {format}}
	for name, value := range map[string]string{
		"trace": s.Trace, "session": s.Session, "actor": s.Actor, "grant": s.Grant, "q": s.Query, "saved": s.Saved,
	} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if s.Limit > 0 {
		v.Set("limit", strconv.Itoa(s.Limit))
	}
	return c.do(ctx, call{method: http.MethodGet, path: "/v1/trail", query: v, accept: "application/json, text/plain", repeat: true})
}

// SavedQueries lists the saved queries by name.
func (c *Client) SavedQueries(ctx context.Context) ([]SavedQuery, error) {
	var out struct {
		Searches []SavedQuery `json:"searches"`
	}
	err := c.get(ctx, "/v1/searches", nil, &out)
	return out.Searches, err
}

// SaveQuery saves a query under a name, in place of one that is there.
func (c *Client) SaveQuery(ctx context.Context, name, query, description string) (*SavedQuery, error) {
	var out SavedQuery
	body := struct {
		Query       string `json:"query"`
		Description string `json:"description,omitempty"`
	}{query, description}
	if err := c.doJSON(ctx, call{method: http.MethodPut, path: at("searches", name), body: body, repeat: true}, &out); err != nil {
		return nil, err
	}
	return &out, nil
}

// DeleteQuery forgets a saved query.
func (c *Client) DeleteQuery(ctx context.Context, name string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: at("searches", name), accept: "application/json"})
	return err
}

// IndexStatus says how far the server's search index goes.
func (c *Client) IndexStatus(ctx context.Context) (*IndexStatus, error) {
	var out IndexStatus
	if err := c.get(ctx, "/v1/index", nil, &out); err != nil {
		return nil, err
	}
	return &out, nil
}
