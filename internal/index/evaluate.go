package index

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/query"
)

// evaluation is one query on its way through one partition.
type evaluation struct {
	ctx context.Context
	p   *partition
	tx  *sql.Tx // so that all of it is read from one version
	all rows    // the entries that are decisions
}

// evaluation begins one. Its transaction is the caller's to end.
func (p *partition) evaluation(ctx context.Context) (*evaluation, error) {
	tx, err := p.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	v := &evaluation{ctx: ctx, p: p, tx: tx, all: newRows(p.size)}
	if err := v.postings(v.all, "SELECT block, entries FROM block"); err != nil {
		return nil, errors.Join(err, tx.Rollback())
	}
	return v, nil
}

// search returns the decisions of a partition that match.
func (p *partition) search(ctx context.Context, e query.Expr) (rows, error) {
	v, err := p.evaluation(ctx)
	if err != nil {
		return nil, err
	}
	defer v.tx.Rollback()
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
	return v.add(into, list)
}

// add adds blocks and entries to a set.
func (v *evaluation) add(into rows, list *sql.Rows) error {
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
	for _, id := range ids {
		list, err := s.QueryContext(v.ctx, id)
		if err != nil {
			return err
		}
		if err := v.add(into, list); err != nil {
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
