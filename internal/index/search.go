package index

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
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

// evaluation is one query on its way through one partition.
type evaluation struct {
	ctx context.Context
	p   *partition
	tx  *sql.Tx // so that all of it is read from one version
	all rows    // the entries that are decisions
}

// search returns the decisions of a partition that match.
func (p *partition) search(ctx context.Context, e query.Expr) (rows, error) {
	tx, err := p.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	v := &evaluation{ctx: ctx, p: p, tx: tx, all: newRows(p.size)}
	if err := v.postings(v.all, "SELECT block, entries FROM block"); err != nil {
		return nil, err
	}
	set, err := v.eval(e)
	if err != nil {
		return nil, err
	}
	set.and(v.all)
	return set, nil
}

// each calls do for every row of a result, and closes it.
func each(list *sql.Rows, do func() error) error {
	defer list.Close()
	for list.Next() {
		if err := do(); err != nil {
			return err
		}
	}
	return list.Err()
}

// postings adds what a statement returns, blocks and entries, to a set.
func (v *evaluation) postings(into rows, statement string, args ...any) error {
	list, err := v.tx.QueryContext(v.ctx, statement, args...)
	if err != nil {
		return err
	}
	var block uint64
	var entries sql.RawBytes
	return each(list, func() error {
		if err := list.Scan(&block, &entries); err != nil {
			return err
		}
		if block >= v.p.size/blockRows || !addPosting(into.block(block), entries) {
			return errContent
		}
		return nil
	})
}

func (v *evaluation) eval(e query.Expr) (rows, error) {
	switch e := e.(type) {
	case query.And:
		set := slices.Clone(v.all)
		for _, x := range e {
			by, err := v.eval(x)
			if err != nil {
				return nil, err
			}
			if set.and(by); set.empty() {
				break
			}
		}
		return set, nil
	case query.Or:
		set := newRows(v.p.size)
		for _, x := range e {
			by, err := v.eval(x)
			if err != nil {
				return nil, err
			}
			set.or(by)
		}
		return set, nil
	case query.Not:
		set := slices.Clone(v.all)
		by, err := v.eval(e.Expr)
		if err == nil {
			set.without(by)
		}
		return set, err
	case query.Is:
		if e.Field == query.ID {
			return v.evaluations(e.Pattern)
		}
		return v.is(e)
	case query.Has:
		return v.has(e)
	case query.Says:
		return v.says(e)
	case query.Compare:
		return v.compare(e)
	case query.When:
		return v.when(e)
	}
	return nil, fmt.Errorf("index: a query holds a %T", e)
}

// term adds the postings of one term.
func (v *evaluation) term(into rows, t query.Term) error {
	return v.postings(into, `SELECT block, entries FROM posting WHERE term = (SELECT id FROM term WHERE field = ? AND text = ? AND type = ?)`,
		int64(t.Field), t.Text, t.Type)
}

// terms adds the postings of all terms of a field that match, of those whose text
// begins with a prefix.
func (v *evaluation) terms(into rows, field query.Field, prefix string, match func(query.Term) bool) error {
	statement, args := "SELECT id, text, type FROM term WHERE field = ? AND text > ''", []any{int64(field)}
	if prefix != "" {
		statement, args = "SELECT id, text, type FROM term WHERE field = ? AND text >= ?", append(args, prefix)
		if end, ok := after(prefix); ok {
			statement, args = statement+" AND text < ?", append(args, end)
		}
	}
	return v.found(into, match, field, statement, args...)
}

// found adds the postings of the terms that a statement returns, id, text and
// type, and that match.
func (v *evaluation) found(into rows, match func(query.Term) bool, field query.Field, statement string, args ...any) error {
	list, err := v.tx.QueryContext(v.ctx, statement, args...)
	if err != nil {
		return err
	}
	var ids []int64
	err = each(list, func() error {
		var id int64
		t := query.Term{Field: field}
		if err := list.Scan(&id, &t.Text, &t.Type); err != nil {
			return err
		}
		if match(t) {
			ids = append(ids, id)
		}
		return nil
	})
	if err != nil || len(ids) == 0 {
		return err
	}
	// Numbers are given in the order in which terms come up, so these are read from one place after the other.
	slices.Sort(ids)
	s, err := v.tx.PrepareContext(v.ctx, "SELECT block, entries FROM posting WHERE term = ?")
	if err != nil {
		return err
	}
	defer s.Close()
	var block uint64
	var entries sql.RawBytes
	for _, id := range ids {
		list, err := s.QueryContext(v.ctx, id)
		if err != nil {
			return err
		}
		err = each(list, func() error {
			if err := list.Scan(&block, &entries); err != nil {
				return err
			}
			if block >= v.p.size/blockRows || !addPosting(into.block(block), entries) {
				return errContent
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// after is the least text above all that begin with a prefix.
func after(prefix string) (string, bool) {
	end := []byte(prefix)
	for len(end) > 0 {
		if end[len(end)-1]++; end[len(end)-1] != 0 {
			return string(end), true
		}
		end = end[:len(end)-1]
	}
	return "", false
}

func (v *evaluation) is(e query.Is) (rows, error) {
	set := newRows(v.p.size)
	if e.Pattern.Any() {
		return set, v.term(set, query.Term{Field: e.Field})
	}
	if text, ok := e.Pattern.Literal(); ok && !e.Field.IsRef() {
		return set, v.term(set, query.Term{Field: e.Field, Text: text})
	}
	if err := v.terms(set, e.Field, e.Pattern.Prefix(), e.Term); err != nil {
		return nil, err
	}
	typ, id, ok := e.Party()
	if !ok {
		return set, nil
	}
	if name, ok := typ.Literal(); ok && id.Any() {
		return set, v.term(set, query.Term{Field: e.Field, Type: name})
	}
	return set, v.terms(set, e.Field, id.Prefix(), e.Term)
}

func (v *evaluation) has(e query.Has) (rows, error) {
	set := newRows(v.p.size)
	var err error
	if text, ok := e.Pattern.Literal(); ok {
		err = v.term(set, query.Term{Field: query.Attribute, Type: e.Name, Text: text})
	} else if e.Pattern.Any() {
		err = v.term(set, query.Term{Field: query.Attribute, Type: e.Name})
	} else {
		err = v.terms(set, query.Attribute, e.Pattern.Prefix(), e.Term)
	}
	if err != nil {
		return nil, err
	}
	return set, v.numbers(set, e.Name, func(n int64) bool { return e.Pattern.Match(strconv.FormatInt(n, 10)) })
}

func (v *evaluation) says(e query.Says) (rows, error) {
	set := newRows(v.p.size)
	if word, ok := e.Pattern.Literal(); ok {
		return set, v.found(set, e.Term, query.Word, "SELECT id, text, type FROM term WHERE field = ? AND text > '' AND instr(text, ?) > 0", int64(query.Word), word)
	}
	return set, v.terms(set, query.Word, "", e.Term)
}

func (v *evaluation) compare(e query.Compare) (rows, error) {
	set := newRows(v.p.size)
	if e.Field != query.Index {
		return set, v.numbers(set, e.NumberName(), func(n int64) bool { return e.Op.Holds(n, e.Value) })
	}
	first, end := int64(v.p.first), int64(v.p.first+v.p.size)
	from, to := first, end
	switch e.Op {
	case query.Equal:
		from, to = e.Value, e.Value+1
	case query.Less:
		to = e.Value
	case query.AtMost:
		to = e.Value + 1
	case query.More:
		from = e.Value + 1
	case query.AtLeast:
		from = e.Value
	}
	if from, to = max(from, first), min(to, end); from < to {
		set.setRange(uint64(from-first), uint64(to-first))
	}
	return set, nil
}

// numbers adds the decisions of which a number of that name holds.
func (v *evaluation) numbers(into rows, name string, holds func(int64) bool) error {
	list, err := v.tx.QueryContext(v.ctx,
		"SELECT block, entries FROM number WHERE term = (SELECT id FROM term WHERE field = ? AND text = ? AND type = '')", int64(numberName), name)
	if err != nil {
		return err
	}
	var block uint64
	var entries sql.RawBytes
	return each(list, func() error {
		if err := list.Scan(&block, &entries); err != nil {
			return err
		}
		if block >= v.p.size/blockRows {
			return errContent
		}
		set := into.block(block)
		ok := decodeNumbers(entries, func(row uint64, value int64) {
			if holds(value) {
				set.set(row)
			}
		})
		if !ok {
			return errContent
		}
		return nil
	})
}

func (v *evaluation) when(e query.When) (rows, error) {
	set := newRows(v.p.size)
	holds := func(at aver.Time) bool { return at >= e.Time == (e.Field == query.After) }
	list, err := v.tx.QueryContext(v.ctx, `SELECT block, CASE WHEN first >= ?1 OR last < ?1 THEN 0 ELSE 1 END, first, entries,
		CASE WHEN first >= ?1 OR last < ?1 THEN NULL ELSE times END FROM block`, int64(e.Time))
	if err != nil {
		return nil, err
	}
	var block, mixed uint64
	var first int64
	var entries, times sql.RawBytes
	return set, each(list, func() error {
		if err := list.Scan(&block, &mixed, &first, &entries, &times); err != nil {
			return err
		}
		if block >= v.p.size/blockRows {
			return errContent
		}
		part := set.block(block)
		ok := true
		switch {
		case mixed != 0:
			ok = decodeTimes(times, func(row uint64, at aver.Time) {
				if holds(at) {
					part.set(row)
				}
			})
		case holds(aver.Time(first)):
			ok = addPosting(part, entries)
		}
		if !ok {
			return errContent
		}
		return nil
	})
}

// evaluations returns the decisions whose evaluation id matches.
func (v *evaluation) evaluations(pattern query.Pattern) (rows, error) {
	set := newRows(v.p.size)
	statement, args := "SELECT id, entry FROM evaluation", []any{}
	if id, ok := pattern.Literal(); ok {
		statement, args = statement+" WHERE id = ?", append(args, evaluationKey(id))
	} else if from, to, ok := evaluationRange(pattern.Prefix()); ok {
		statement, args = statement+" WHERE id >= ? AND id <= ?", append(args, from, to)
	}
	list, err := v.tx.QueryContext(v.ctx, statement, args...)
	if err != nil {
		return nil, err
	}
	var key sql.RawBytes
	var entry uint64
	return set, each(list, func() error {
		if err := list.Scan(&key, &entry); err != nil {
			return err
		}
		if entry < v.p.first || entry >= v.p.first+v.p.size {
			return errContent
		}
		if pattern.Match(evaluationID(key)) {
			set.set(entry - v.p.first)
		}
		return nil
	})
}

// evaluationRange is the least and the greatest stored evaluation id that begins
// with a prefix; not ok if the prefix is not that of a UUID.
func evaluationRange(prefix string) (from, to []byte, ok bool) {
	if prefix == "" || len(prefix) > 36 {
		return nil, nil, false
	}
	const lowest, highest = "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"
	from, to = evaluationKey(prefix+lowest[len(prefix):]), evaluationKey(prefix+highest[len(prefix):])
	return from, to, len(from) == 16 && len(to) == 16
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
