package index

import (
	"context"
	"fmt"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/query"
)

// Forget takes out of the index what it has of payloads that were erased (D3,
// G7): all of a decision but what its leaf says, and what an activity said about
// its decision. The ranges are ascending. It reads all postings of the partitions concerned. It can be done
// again.
func (x *Index) Forget(ctx context.Context, ranges []aver.IndexRange) error {
	x.following.Lock()
	defer x.following.Unlock()
	return x.forget(ctx, ranges)
}

func (x *Index) forget(ctx context.Context, ranges []aver.IndexRange) error {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.closed {
		return ErrClosed
	}
	if len(ranges) == 0 {
		return nil
	}
	end := ranges[len(ranges)-1].End
	if x.o.Handed != nil {
		x.o.Handed.forget(end)
	}
	for _, p := range x.parts {
		if p.first >= end { // activities come after their decisions
			break
		}
		if err := p.forget(ctx, ranges, x.o.Decisions); err != nil {
			return x.noteDamage(p.damaged(err))
		}
	}
	return nil
}

func within(ranges []aver.IndexRange, entry uint64) bool {
	for _, r := range ranges {
		if r.From <= entry && entry < r.End {
			return true
		}
	}
	return false
}

// chunk is how many postings, or decisions, are looked at together.
const chunk = 8192

func (p *partition) forget(ctx context.Context, ranges []aver.IndexRange, log Log) error {
	set, err := p.concerned(ctx, ranges)
	if err != nil || set.empty() {
		return err
	}
	w, err := p.writer(ctx)
	if err != nil {
		return err
	}
	// What was deleted is overwritten, in the file and in its own log.
	if _, err := w.exec(ctx, "PRAGMA secure_delete = on"); err != nil {
		return err
	}
	err = p.transact(ctx, func(w *writer) error {
		if err := w.clear(ctx, set, p.size); err != nil {
			return err
		}
		for _, r := range ranges {
			if _, err := w.exec(ctx, "DELETE FROM report WHERE entry >= ? AND entry < ?", int64(r.From), int64(r.End)); err != nil {
				return err
			}
		}
		return p.again(ctx, w, set, ranges, log)
	})
	if err != nil {
		return err
	}
	for _, pragma := range []string{"PRAGMA secure_delete = off", "PRAGMA wal_checkpoint(truncate)"} {
		if _, err := w.exec(ctx, pragma); err != nil {
			return err
		}
	}
	return nil
}

// concerned are the decisions that are gone, and those of which something that
// was reported is.
func (p *partition) concerned(ctx context.Context, ranges []aver.IndexRange) (rows, error) {
	v, err := p.evaluation(ctx)
	if err != nil {
		return nil, err
	}
	defer v.tx.Rollback()
	set := newRows(p.size)
	for _, r := range ranges {
		if from, to := max(r.From, p.first), min(r.End, p.first+p.size); from < to {
			set.setRange(from-p.first, to-p.first)
		}
		list, err := v.tx.QueryContext(ctx, "SELECT DISTINCT decision FROM report WHERE entry >= ? AND entry < ?", int64(r.From), int64(r.End))
		if err != nil {
			return nil, err
		}
		var decision uint64
		err = each(list, func() error {
			if err := list.Scan(&decision); err != nil {
				return err
			}
			if decision < p.first || decision >= p.first+p.size {
				return errContent
			}
			set.set(decision - p.first)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	set.and(v.all)
	return set, nil
}

// clear takes decisions out of all postings and numbers, and then what has none
// any more out of the terms.
func (w *writer) clear(ctx context.Context, set rows, size uint64) error {
	for _, table := range []string{"posting", "number"} {
		at := place{-1, 0}
		for {
			places, entries, err := w.chunk(ctx, table, at)
			if err != nil {
				return err
			}
			if len(places) == 0 {
				break
			}
			for i, place := range places {
				if place.block >= size/blockRows {
					return errContent
				}
				if err := w.clearOne(ctx, table, place, entries[i], set.block(place.block)); err != nil {
					return err
				}
			}
			at = places[len(places)-1]
		}
	}
	clear(w.terms)
	_, err := w.exec(ctx, `DELETE FROM term WHERE NOT EXISTS (SELECT 1 FROM posting WHERE posting.term = term.id)
		AND NOT EXISTS (SELECT 1 FROM number WHERE number.term = term.id)`)
	return err
}

// chunk reads a few rows of a table, in the order of their places.
func (w *writer) chunk(ctx context.Context, table string, after place) (places []place, entries [][]byte, err error) {
	s, err := w.statement(ctx, "SELECT term, block, entries FROM "+table+" WHERE (term, block) > (?, ?) ORDER BY term, block LIMIT ?")
	if err != nil {
		return nil, nil, err
	}
	list, err := s.QueryContext(ctx, after.term, int64(after.block), chunk)
	if err != nil {
		return nil, nil, err
	}
	err = each(list, func() error {
		var at place
		var content []byte
		err := list.Scan(&at.term, &at.block, &content)
		places, entries = append(places, at), append(entries, content)
		return err
	})
	return places, entries, err
}

func (w *writer) clearOne(ctx context.Context, table string, at place, before []byte, gone rows) error {
	if gone.empty() {
		return nil
	}
	var after []byte
	if table == "posting" {
		block := newRows(blockRows)
		if !addPosting(block, before) {
			return errContent
		}
		block.without(gone)
		after = encodePosting(block)
	} else {
		var left []numbered
		if !decodeNumbers(before, func(row uint64, value int64) {
			if !gone.has(row) {
				left = append(left, numbered{uint16(row), value})
			}
		}) {
			return errContent
		}
		after = encodeNumbers(left)
	}
	if string(after) == string(before) {
		return nil
	}
	if len(after) == 0 {
		_, err := w.exec(ctx, "DELETE FROM "+table+" WHERE term = ? AND block = ?", at.term, int64(at.block))
		return err
	}
	_, err := w.exec(ctx, "UPDATE "+table+" SET entries = ? WHERE term = ? AND block = ?", after, at.term, int64(at.block))
	return err
}

// again indexes decisions anew: of those that are gone the leaf, and of all what
// was said about them and is not gone.
func (p *partition) again(ctx context.Context, w *writer, set rows, ranges []aver.IndexRange, log Log) (err error) {
	b := &batch{}
	flush := func() {
		err = p.add(ctx, w, b)
		b = &batch{}
	}
	set.each(func(row uint64) bool {
		if err = p.decideAgain(ctx, w, b, p.first+row, ranges, log); err == nil && len(b.decisions) >= chunk {
			flush()
		}
		return err == nil
	})
	if err == nil {
		flush()
	}
	return err
}

func (p *partition) decideAgain(ctx context.Context, w *writer, b *batch, entry uint64, ranges []aver.IndexRange, log Log) error {
	e, err := entryAt(log, entry)
	if err != nil {
		return err
	}
	e.Erased = e.Erased || within(ranges, entry)
	facts, _, err := read(e)
	if facts == nil {
		return err
	}
	b.decisions = append(b.decisions, facts)
	reports, err := column[uint64](ctx, w, "SELECT entry FROM report WHERE decision = ?", entry)
	if err != nil {
		return err
	}
	asked, err := column[string](ctx, w, "SELECT approval FROM asked WHERE decision = ?", entry)
	if err != nil {
		return err
	}
	for _, at := range reports {
		e, err := entryAt(log, at)
		if err != nil {
			return err
		}
		if _, l, _ := read(e); l != nil {
			b.late = append(b.late, *l)
		}
	}
	for _, id := range asked {
		request := &aver.ApprovalRequest{ID: id}
		b.late = append(b.late, late{decision: entry, asked: request, terms: query.Asked(request)})
	}
	return nil
}

// column reads what a statement returns about a decision.
func column[T any](ctx context.Context, w *writer, statement string, decision uint64) (out []T, err error) {
	s, err := w.statement(ctx, statement)
	if err != nil {
		return nil, err
	}
	list, err := s.QueryContext(ctx, int64(decision))
	if err != nil {
		return nil, err
	}
	err = each(list, func() error {
		var v T
		err := list.Scan(&v)
		out = append(out, v)
		return err
	})
	return out, err
}

func entryAt(log Log, index uint64) (ledger.Indexed, error) {
	for e, err := range log.Entries(index, index+1) {
		if err != nil {
			return e, fmt.Errorf("index: decision log: %w", err)
		}
		return e, nil
	}
	return ledger.Indexed{}, fmt.Errorf("index: decision log: entry %d: %w", index, ledger.ErrNotFound)
}
