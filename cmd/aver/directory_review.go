package main

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/client"
	"github.com/aver-authz/aver/internal/authority"
)

func (d *directory) Reviews(context.Context) iter.Seq2[client.Review, error] {
	var at *authority.State
	list := func(st *authority.State) []*authority.Review {
		at = st
		return st.Reviews()
	}
	return items(d, list, func(r *authority.Review) client.Review { return reviewOf(at, r) })
}

func reviewOf(st *authority.State, r *authority.Review) client.Review {
	now := aver.TimeOf(time.Now())
	out := client.Review{ReviewOpened: r.ReviewOpened, Mark: client.Mark(r.Mark), State: r.State(now), Progress: client.ReviewProgress(st.ReviewProgress(r, now))}
	if r.Closed != nil {
		out.Closed = &client.ReviewClosing{Undecided: r.Closed.Undecided, Mark: client.Mark(r.Closed.Mark)}
	}
	return out
}

func (d *directory) Review(_ context.Context, id string) (*client.Review, error) {
	st, r, err := d.review(id)
	if err != nil {
		return nil, err
	}
	out := reviewOf(st, r)
	return &out, nil
}

func (d *directory) review(id string) (*authority.State, *authority.Review, error) {
	st, err := d.state()
	if err != nil {
		return nil, nil, err
	}
	r, ok := st.Review(id)
	if !ok {
		return nil, nil, fmt.Errorf("there is no review %q", id)
	}
	return st, r, nil
}

func (d *directory) ReviewRows(_ context.Context, id string) iter.Seq2[client.ReviewRow, error] {
	return func(yield func(client.ReviewRow, error) bool) {
		st, r, err := d.review(id)
		if err != nil {
			yield(client.ReviewRow{}, err)
			return
		}
		now := aver.TimeOf(time.Now())
		for _, i := range r.Items {
			row := client.ReviewRow{
				ReviewRow: i.ReviewRow, Remediated: (*client.Mark)(i.Remediated),
				Owners: st.Owners(i), Parties: st.Parties(i), Settled: st.Settled(i, now),
			}
			if i.Decided != nil {
				row.Decided = &client.RowDecision{ReviewDecided: i.Decided.ReviewDecided, Mark: client.Mark(i.Decided.Mark)}
			}
			if i.Acknowledged != nil {
				row.Acknowledged = &client.RowAcknowledgement{Owner: i.Acknowledged.Owner, Mark: client.Mark(i.Acknowledged.Mark)}
			}
			if !yield(row, nil) {
				return
			}
		}
	}
}

func (d *directory) ReviewsDue(_ context.Context, days int) iter.Seq2[client.ReviewDue, error] {
	now := time.Now()
	list := func(st *authority.State) []authority.Due {
		return st.ReviewsDue(aver.TimeOf(now), aver.TimeOf(now.AddDate(0, 0, days)))
	}
	return items(d, list, func(v authority.Due) client.ReviewDue {
		return client.ReviewDue{
			Kind: string(v.Kind), State: v.State, Due: v.Due, Identity: v.Identity, Policy: v.Policy, Exception: v.Exception,
			Review: v.Review, Owner: v.Owner, Last: (*client.Mark)(v.Last),
		}
	})
}
