package index

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/query"
)

// Page asks for some of the decisions that match.
type Page struct {
	// From and To bound the entries of the decision log: [From, To). To 0 means all.
	// The next page of a search continues there, see [Found].
	From, To uint64
	Limit    int  // decisions, at least 1
	Oldest   bool // the oldest first, not the newest
}

// Found are decisions by their indexes in the decision log.
type Found struct {
	Entries []uint64
	More    bool   // there may be more
	Next    uint64 // then: what to send as To, or as From if the oldest come first
	Indexed uint64 // entries that the index had: later ones were not looked at
}

// Search returns the decisions that match, the newest first. Which they are does
// not change while later entries come, but for what is reported about them.
func (x *Index) Search(ctx context.Context, q *query.Query, page Page) (Found, error) {
	if page.Limit < 1 {
		return Found{}, fmt.Errorf("index: a page of %d", page.Limit)
	}
	out := Found{Indexed: x.next.Load()}
	if page.To == 0 || page.To > out.Indexed {
		page.To = out.Indexed
	}
	err := x.matching(ctx, q, page, func(p *partition, set rows) error {
		walk := set.down
		if page.Oldest {
			walk = set.each
		}
		walk(func(row uint64) bool {
			if len(out.Entries) == page.Limit {
				out.More = true
				return false
			}
			out.Entries = append(out.Entries, p.first+row)
			return true
		})
		if out.More {
			return errEnough
		}
		return nil
	})
	if out.More {
		if out.Next = out.Entries[len(out.Entries)-1]; page.Oldest {
			out.Next++
		}
	}
	return out, err
}

// Bucket is a number of decisions in a span of time.
type Bucket struct {
	From  aver.Time `json:"from"`
	Count int       `json:"count"`
}

// Counted is how many decisions match.
type Counted struct {
	Count   int      `json:"count"`
	Buckets []Bucket `json:"buckets,omitempty"` // by time; those without decisions are left out
	Indexed uint64   `json:"indexed"`           // entries that the index had
}

// Count counts the decisions between the page's bounds that match, also in spans
// of a length, which begin at multiples of it since 1970 in UTC; 0: not in spans.
func (x *Index) Count(ctx context.Context, q *query.Query, page Page, by time.Duration) (Counted, error) {
	out := Counted{Indexed: x.next.Load()}
	if page.To == 0 || page.To > out.Indexed {
		page.To = out.Indexed
	}
	span := by.Milliseconds()
	buckets := map[int64]int{}
	err := x.matching(ctx, q, page, func(p *partition, set rows) error {
		out.Count += set.count()
		if span <= 0 {
			return nil
		}
		return p.buckets(ctx, set, span, buckets)
	})
	for at, n := range buckets {
		out.Buckets = append(out.Buckets, Bucket{aver.Time(at * span), n})
	}
	slices.SortFunc(out.Buckets, func(a, b Bucket) int { return cmp.Compare(a.From, b.From) })
	return out, err
}

// Reports lists the activities of a decision by their indexes in the decision
// log, in their order.
func (x *Index) Reports(ctx context.Context, decision uint64) (out []uint64, err error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.closed {
		return nil, ErrClosed
	}
	p := x.partition(decision)
	if p == nil {
		return nil, nil
	}
	list, err := p.db.QueryContext(ctx, "SELECT entry FROM report WHERE decision = ? ORDER BY entry", int64(decision))
	if err != nil {
		return nil, x.noteDamage(p.damaged(err))
	}
	err = each(list, func() error {
		var entry uint64
		err := list.Scan(&entry)
		out = append(out, entry)
		return err
	})
	return out, x.noteDamage(p.damaged(err))
}

// errEnough ends a walk over partitions.
var errEnough = errors.New("enough")

// matching calls do with what matches of each partition, in the page's order.
func (x *Index) matching(ctx context.Context, q *query.Query, page Page, do func(*partition, rows) error) error {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.closed {
		return ErrClosed
	}
	parts := slices.Clone(x.parts)
	if !page.Oldest {
		slices.Reverse(parts)
	}
	for _, p := range parts {
		if p.first >= page.To || p.first+p.size <= page.From {
			continue
		}
		set, err := p.search(ctx, q.Expr)
		if err != nil {
			return x.noteDamage(p.damaged(err))
		}
		bounds := newRows(p.size)
		bounds.setRange(max(page.From, p.first)-p.first, min(page.To, p.first+p.size)-p.first)
		if set.and(bounds); set.empty() {
			continue
		}
		switch err := do(p, set); {
		case err == errEnough:
			return nil
		case err != nil:
			return x.noteDamage(p.damaged(err))
		}
	}
	return nil
}

// buckets counts decisions by their times.
func (p *partition) buckets(ctx context.Context, set rows, span int64, into map[int64]int) error {
	list, err := p.db.QueryContext(ctx, `SELECT block, first, last, CASE WHEN first / ?1 = last / ?1 AND first >= 0 THEN NULL ELSE times END FROM block`, span)
	if err != nil {
		return err
	}
	var block uint64
	var first, last int64
	var times sql.RawBytes
	return each(list, func() error {
		if err := list.Scan(&block, &first, &last, &times); err != nil {
			return err
		}
		if block >= p.size/blockRows {
			return errContent
		}
		part := set.block(block)
		if part.empty() {
			return nil
		}
		if times == nil {
			into[first/span] += part.count()
			return nil
		}
		ok := decodeTimes(times, func(row uint64, at aver.Time) {
			if part.has(row) {
				n := int64(at) / span
				if int64(at)%span < 0 {
					n--
				}
				into[n]++
			}
		})
		if !ok {
			return errContent
		}
		return nil
	})
}

// ParseSpan reads the length of a bucket: minute, hour, day or week, or a
// duration such as 15m. Weeks begin on Mondays only by chance: spans begin at
// multiples of their length since 1970-01-01, a Thursday.
func ParseSpan(text string) (time.Duration, error) {
	named := map[string]time.Duration{"": 0, "minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour, "week": 7 * 24 * time.Hour}
	if d, ok := named[strings.ToLower(text)]; ok {
		return d, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second || d%time.Second != 0 {
		return 0, fmt.Errorf("%q is not minute, hour, day, week, or whole seconds such as 15m", text)
	}
	return d, nil
}
