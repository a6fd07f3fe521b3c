package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/client"
	"github.com/aver-authz/aver/internal/datadir"
	"github.com/aver-authz/aver/internal/index"
	"github.com/aver-authz/aver/internal/query"
	"github.com/aver-authz/aver/internal/trail"
)

// parseQuery reads a query from arguments, and shows a mistake under the query.
func parseQuery(args []string) (*query.Query, error) {
	q, err := query.Parse(strings.Join(args, " "))
	return q, withCaret(err)
}

// withCaret adds to what is wrong with a query where it is.
func withCaret(err error) error {
	var bad *query.Error
	if errors.As(err, &bad) {
		return fmt.Errorf("%w\n  %s", err, strings.ReplaceAll(bad.Caret(), "\n", "\n  "))
	}
	return err
}

// searched is a search index that a command opened.
type searched struct {
	*index.Index
	remove string // a directory that goes when the command ends
}

func (s *searched) close() {
	s.Index.Close()
	if s.remove != "" {
		os.RemoveAll(s.remove)
	}
}

// indexWait is how long a command waits for a server to index what it has just answered.
const indexWait = 5 * time.Second

// search opens the index of the data directory, and brings it up to the logs. While a server keeps it up, it is only
// read. Where nothing can be written, it is made for this one time.
func (d *directory) search(ctx context.Context) (*searched, error) {
	if d.index != nil {
		return d.index, nil
	}
	o := index.Options{Dir: datadir.Index(d.path), Decisions: d.logs.Decisions, Authority: d.logs.Authority}
	x, err := index.Open(ctx, o)
	out := &searched{Index: x}
	switch {
	case errors.Is(err, index.ErrLocked):
		if out.Index, err = readIndex(ctx, o); err != nil {
			return nil, err
		}
		d.index = out
		return out, nil
	case errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS):
		if out.remove, err = os.MkdirTemp("", "aver-index-"); err != nil {
			return nil, err
		}
		o.Dir = out.remove
		out.Index, err = index.Open(ctx, o)
	}
	if err != nil {
		return nil, err
	}
	show, wipe := d.indexing()
	err = out.Refresh(ctx, show)
	wipe()
	if err != nil {
		out.close()
		return nil, err
	}
	d.index = out
	return out, nil
}

// readIndex opens the index that another process writes, and waits until it has what was there when it was asked. After
// a while it is taken as it is.
func readIndex(ctx context.Context, o index.Options) (*index.Index, error) {
	o.ReadOnly = true
	size, _ := o.Decisions.Head()
	var x *index.Index
	var err error
	for deadline := time.Now().Add(indexWait); ; {
		if x == nil {
			x, err = index.Open(ctx, o) // the other may be making a file just now
		} else {
			err = x.Reload(ctx)
		}
		if err == nil && x.Indexed() >= size || time.Now().After(deadline) {
			break
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	if err != nil && x != nil {
		x.Close()
	}
	return x, err
}

// query is what a search asks for; the names of saved queries are the server's.
func (d *directory) query(s client.DecisionSearch) (*query.Query, error) {
	if s.Saved == "" {
		return parseQuery([]string{s.Query})
	}
	saved, err := index.OpenSaved(datadir.Searches(d.path), datadir.WriteFile)
	if err != nil {
		return nil, err
	}
	q, err := saved.Get(s.Saved)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", s.Saved, err)
	}
	return parseQuery([]string{q.Query})
}

func (d *directory) SearchDecisions(ctx context.Context, s client.DecisionSearch) (*client.DecisionPage, error) {
	q, err := d.query(s)
	if err != nil {
		return nil, err
	}
	page := index.Page{Limit: s.Limit, Oldest: s.Oldest}
	if s.Cursor != "" {
		at, err := strconv.ParseUint(s.Cursor, 10, 62)
		switch {
		case err != nil:
			return nil, fmt.Errorf("the cursor %q is not one that a page gave as next", s.Cursor)
		case s.Oldest:
			page.From = at
		case at == 0:
			return &client.DecisionPage{Decisions: []client.Entry{}}, nil
		default:
			page.To = at
		}
	}
	x, err := d.search(ctx)
	if err != nil {
		return nil, err
	}
	found, err := x.Search(ctx, q, page)
	if err != nil {
		return nil, err
	}
	size, _ := d.logs.Decisions.Head()
	out := &client.DecisionPage{Decisions: []client.Entry{}, Indexed: found.Indexed, Behind: size - min(size, found.Indexed)}
	if found.More {
		out.Next = strconv.FormatUint(found.Next, 10)
	}
	for _, i := range found.Entries {
		e, err := d.Entry(ctx, client.Decisions, i)
		if err != nil {
			return nil, err
		}
		out.Decisions = append(out.Decisions, *e)
	}
	return out, nil
}

func (d *directory) CountDecisions(ctx context.Context, s client.DecisionSearch, by string) (*client.DecisionCount, error) {
	q, err := d.query(s)
	if err != nil {
		return nil, err
	}
	span, err := index.ParseSpan(by)
	if err != nil {
		return nil, err
	}
	x, err := d.search(ctx)
	if err != nil {
		return nil, err
	}
	counted, err := x.Count(ctx, q, index.Page{}, span)
	if err != nil {
		return nil, err
	}
	out := &client.DecisionCount{Count: counted.Count, Indexed: counted.Indexed}
	for _, b := range counted.Buckets {
		out.Buckets = append(out.Buckets, client.CountBucket(b))
	}
	return out, nil
}

func (d *directory) Trail(ctx context.Context, s client.Story, format string) ([]byte, error) {
	var q *query.Query
	var err error
	for thing, value := range map[trail.Thing]string{
		trail.ByTrace: s.Trace, trail.BySession: s.Session, trail.ByActor: s.Actor, trail.ByGrant: s.Grant,
	} {
		if value != "" {
			q, err = trail.QueryFor(thing, value)
		}
	}
	if q == nil && err == nil {
		q, err = d.query(client.DecisionSearch{Query: s.Query, Saved: s.Saved})
	}
	if err != nil {
		return nil, err
	}
	x, err := d.search(ctx)
	if err != nil {
		return nil, err
	}
	limit := s.Limit
	if limit == 0 {
		limit = trail.DefaultLimit
	}
	story, err := trail.Follow(ctx, trail.Source{Index: x.Index, Decisions: d.logs.Decisions, Authority: d.logs.Authority}, q, limit)
	if err != nil {
		return nil, err
	}
	if trail.Format(format) == trail.JSON {
		return json.Marshal(story)
	}
	return []byte(story.Render(trail.Format(format))), nil
}

func (d *directory) IndexStatus(ctx context.Context) (*client.IndexStatus, error) {
	o := index.Options{Dir: datadir.Index(d.path), Decisions: d.logs.Decisions, Authority: d.logs.Authority, ReadOnly: true}
	x, err := index.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	defer x.Close()
	s := x.Status()
	return &client.IndexStatus{
		Indexed: s.Indexed, Log: s.Log, Lag: s.Lag(), Events: s.Events, Authority: s.Authority, From: s.From,
		Partitions: s.Partitions, Bytes: s.Bytes,
	}, nil
}

// foundRow is a decision in a table.
func foundRow(e client.Entry) ([]string, error) {
	leaf, err := aver.ParseLeaf(e.Leaf)
	if err != nil {
		return nil, fmt.Errorf("entry %d: %w", e.Index, err)
	}
	outcome := ""
	if leaf.Outcome != nil {
		outcome = leaf.Outcome.String()
	}
	if len(e.Payload) == 0 || string(e.Payload) == "null" {
		return []string{leaf.Time.String(), outcome, "erased", "", "", "", leaf.ID}, nil
	}
	r, err := aver.ParseRecord(e.Payload)
	if err != nil {
		return nil, fmt.Errorf("entry %d: %w", e.Index, err)
	}
	f := query.FactsOf(e.Index, r)
	return []string{leaf.Time.String(), outcome, first(f, query.Actor), first(f, query.Origin), first(f, query.Action), first(f, query.Resource), leaf.ID}, nil
}

// first is the first of a decision's values of a field.
func first(f *query.Facts, field query.Field) string {
	for _, t := range f.Terms {
		if t.Field == field {
			if t.Type != "" {
				return trail.Plain(t.Type + "/" + t.Text)
			}
			return trail.Plain(t.Text)
		}
	}
	return "-"
}
