package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/index"
	"github.com/aver-authz/aver/internal/query"
	"github.com/aver-authz/aver/internal/trail"
)

// Finder is what the API needs to find decisions.
type Finder struct {
	// Index is the index, as far as it goes; nil while there is none that can be used.
	Index func() *index.Index
	// Follow tells the story of the decisions that match.
	Follow func(ctx context.Context, x *index.Index, q *query.Query, limit int) (*trail.Trail, error)
	Saved  *index.Saved
}

// awaitIndex bounds how long a search waits for the index to reach what was recorded before it was asked.
const awaitIndex = time.Second

func noIndex() error { return notFound("this server keeps no search index (--no-index)") }

// index returns the index once it has what was recorded when the caller asked, or after a while as far as it goes.
func (a *API) index(c *call) (*index.Index, error) {
	if a.o.Finder == nil {
		return nil, noIndex()
	}
	x := a.o.Finder.Index()
	if x == nil {
		return nil, &problem{Slug: "no-index", Status: http.StatusServiceUnavailable, retryAfter: time.Second,
			Detail: "the search index can't be used at the moment; decisions are made and recorded nevertheless, and the server tries again by itself"}
	}
	ctx, cancel := context.WithTimeout(c.Context(), awaitIndex)
	defer cancel()
	if err := x.Await(ctx, c.asOf); err != nil && c.Context().Err() != nil {
		return nil, c.Context().Err()
	}
	return x, nil
}

// queryProblem is a mistake in a query, with where it is.
func queryProblem(parameter string, err error) error {
	var bad *query.Error
	if errors.As(err, &bad) {
		at := len(string([]rune(bad.Query)[:bad.Position]))
		return &problem{Slug: "invalid-query", Status: http.StatusBadRequest, Detail: "?" + parameter + ": " + bad.Error(),
			Position: &position{Line: 1, Column: at + 1, Offset: at}}
	}
	return err
}

// query is what ?q= says, or the query that is saved under ?saved=.
func (a *API) query(c *call) (*query.Query, error) {
	values := c.URL.Query()
	text, name := values.Get("q"), "q"
	if saved := values.Get("saved"); saved != "" {
		if values.Has("q") {
			return nil, badParameter("saved", "send ?q= or ?saved=, not both")
		}
		all, err := a.saved()
		if err != nil {
			return nil, err
		}
		q, err := all.Get(saved)
		if err != nil {
			return nil, notFound("%v", err)
		}
		text, name = q.Query, "saved"
	}
	q, err := query.Parse(text)
	return q, queryProblem(name, err)
}

// decisions lists records: those that match a query, or, without one, as the log has them.
func (a *API) decisions(c *call) error {
	values := c.URL.Query()
	if !values.Has("q") && !values.Has("saved") && !values.Has("cursor") && !values.Has("order") {
		return a.listDecisions(c)
	}
	for _, name := range []string{"before", "outcome"} {
		if values.Has(name) {
			return badParameter(name, "not beside a query: say outcome:denied or index:<100 in it, and follow its pages by ?cursor=")
		}
	}
	return a.findDecisions(c)
}

// findDecisions lists the records that match a query, newest first.
func (a *API) findDecisions(c *call) error {
	q, err := a.query(c)
	if err != nil {
		return err
	}
	limit, err := c.limit()
	if err != nil {
		return err
	}
	page := index.Page{Limit: limit, To: c.asOf}
	switch order := c.URL.Query().Get("order"); order {
	case "", "newest":
		if page.To, err = c.number("cursor", c.asOf); err == nil && page.To == 0 { // the end of a search
			return c.writeJSON(http.StatusOK, found{Decisions: []entry{}})
		}
		page.To = min(page.To, c.asOf)
	case "oldest":
		page.Oldest = true
		page.From, err = c.number("cursor", 0)
	default:
		err = badParameter("order", "newest or oldest")
	}
	if err != nil {
		return err
	}
	x, err := a.index(c)
	if err != nil {
		return err
	}
	if page.To == 0 { // nothing was recorded yet
		return c.writeJSON(http.StatusOK, found{Decisions: []entry{}})
	}
	got, err := x.Search(c.Context(), q, page)
	if err != nil {
		return err
	}
	out := found{Decisions: []entry{}, Indexed: got.Indexed, Behind: c.asOf - min(c.asOf, got.Indexed)}
	for n, i := range got.Entries {
		if n > 0 && out.bytes > maxPageBytes {
			got.More = true
			if got.Next = got.Entries[n-1]; page.Oldest {
				got.Next++
			}
			break
		}
		e, err := a.entry(&a.o.Decisions, i)
		if err != nil {
			return err
		}
		out.Decisions = append(out.Decisions, e)
		out.bytes += len(e.Payload)
	}
	if got.More {
		out.Next = strconv.FormatUint(got.Next, 10)
	}
	c.notes = append(c.notes, "results", len(out.Decisions))
	return c.writeJSON(http.StatusOK, out)
}

// found is a page of a search.
type found struct {
	Decisions []entry `json:"decisions"`
	Next      string  `json:"next,omitempty"`
	Indexed   uint64  `json:"indexed"`          // entries of the decision log that were searched
	Behind    uint64  `json:"behind,omitempty"` // entries that were there and are not indexed yet
	bytes     int
}

// countDecisions counts the records that match a query, also by time.
func (a *API) countDecisions(c *call) error {
	q, err := a.query(c)
	if err != nil {
		return err
	}
	by, err := index.ParseSpan(c.URL.Query().Get("by"))
	if err != nil {
		return badParameter("by", "%v", err)
	}
	x, err := a.index(c)
	if err != nil {
		return err
	}
	counted, err := x.Count(c.Context(), q, index.Page{To: c.asOf}, by)
	if err != nil {
		return err
	}
	if len(counted.Buckets) > maxBuckets {
		return badParameter("by", "that makes %d spans, more than %d: ask for longer ones, or for less time with after: and before:", len(counted.Buckets), maxBuckets)
	}
	return c.writeJSON(http.StatusOK, counted)
}

// maxBuckets bounds the spans of one count.
const maxBuckets = 10_000

// trail tells a story in its order.
func (a *API) trail(c *call) error {
	values := c.URL.Query()
	var by []trail.Thing
	for _, thing := range trail.Things() {
		if values.Has(string(thing)) {
			by = append(by, thing)
		}
	}
	if len(by)+len(values["q"])+len(values["saved"]) != 1 {
		return badParameter("trace", "a trail is that of one ?trace=, ?session=, ?actor= or ?grant=, or of the decisions of one ?q= or ?saved=")
	}
	var q *query.Query
	var err error
	if len(by) == 1 {
		if q, err = trail.QueryFor(by[0], values.Get(string(by[0]))); err != nil {
			return badParameter(string(by[0]), "%v", err)
		}
	} else if q, err = a.query(c); err != nil {
		return err
	}
	limit, err := c.number("limit", trail.DefaultLimit)
	if err != nil || limit < 1 || limit > trail.MaxLimit {
		return badParameter("limit", "a number from 1 to %d", trail.MaxLimit)
	}
	format := trail.Format(values.Get("format"))
	if format == "" {
		if format = trail.JSON; c.wantsText() {
			format = trail.Text
		}
	}
	if !slices.Contains(trail.Formats(), format) {
		return badParameter("format", "one of %v", trail.Formats())
	}
	x, err := a.index(c)
	if err != nil {
		return err
	}
	story, err := a.o.Finder.Follow(c.Context(), x, q, int(limit))
	if err != nil {
		return err
	}
	if format == trail.JSON {
		return c.writeJSON(http.StatusOK, story)
	}
	c.writeText(story.Render(format))
	return nil
}

func (a *API) saved() (*index.Saved, error) {
	if a.o.Finder == nil {
		return nil, noIndex()
	}
	return a.o.Finder.Saved, nil
}

func (a *API) listSearches(c *call) error {
	saved, err := a.saved()
	if err != nil {
		return err
	}
	return c.writeJSON(http.StatusOK, map[string]any{"searches": saved.List()})
}

func (a *API) getSearch(c *call) error {
	saved, err := a.saved()
	if err != nil {
		return err
	}
	q, err := saved.Get(c.PathValue("name"))
	if err != nil {
		return notFound("%v", err)
	}
	return c.writeJSON(http.StatusOK, q)
}

func (a *API) putSearch(c *call) error {
	saved, err := a.saved()
	if err != nil {
		return err
	}
	var body struct {
		Query       string `json:"query"`
		Description string `json:"description,omitempty"`
	}
	if err := a.decode(c, a.o.MaxBody, &body); err != nil {
		return err
	}
	q := index.SavedQuery{Name: c.PathValue("name"), Query: body.Query, Description: body.Description, By: c.caller.name, Time: aver.TimeOf(a.o.Now())}
	switch err := saved.Put(q); {
	case errors.Is(err, index.ErrSavedName), errors.Is(err, index.ErrSavedText):
		return &aver.RequestError{Pointer: "", Reason: err.Error()}
	case errors.Is(err, index.ErrTooMany):
		return conflict("%v", err)
	case err != nil:
		return queryProblem("query", err)
	}
	return c.writeJSON(http.StatusOK, q)
}

func (a *API) deleteSearch(c *call) error {
	saved, err := a.saved()
	if err != nil {
		return err
	}
	if err := saved.Delete(c.PathValue("name")); errors.Is(err, index.ErrNotSaved) {
		return notFound("%v", err)
	} else if err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// indexStatus says how far the index goes.
func (a *API) indexStatus(c *call) error {
	x, err := a.index(c)
	if err != nil {
		return err
	}
	s := x.Status()
	return c.writeJSON(http.StatusOK, struct {
		index.Status
		Lag uint64 `json:"lag"`
	}{s, s.Lag()})
}
