package index

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/query"
)

// batch is what one transaction adds to a partition. It may be applied again.
type batch struct {
	decisions []*query.Facts // in the order of the log
	late      []late
	next      uint64 // the entry up to which decisions are complete; 0: as before
	authority uint64 // the event up to which the authority log was read; 0: as before
}

// late is what was reported or asked for after a decision.
type late struct {
	decision uint64
	report   uint64                // index of the activity
	asked    *aver.ApprovalRequest // nil: it is a report
	terms    []query.Term
}

// maxTermsKept bounds how many terms a writer remembers from one batch to the next.
const maxTermsKept = 1 << 16

// writer adds to a partition. There is one at a time, in one process.
type writer struct {
	conn       *sql.Conn
	statements map[string]*sql.Stmt
	terms      map[query.Term]*term
	added      []*term // to which this batch added
	last       int64   // the highest number of a term
	fresh      int64   // numbers above it were given in this batch: nothing is stored for them
	pace       *pace
}

// term is a value that decisions have.
type term struct {
	id    int64
	wider [2]*term // those that stand for all of its type and field; nil where there is none but itself
	added []uint32 // decisions of this batch that have it, counted from the partition's first

	posting []byte // what is stored of it in a block, as it was written last; nil: that is not known
	block   uint64
}

// stored reads what is stored of a term in a block; nil if nothing.
func (t *term) stored(ctx context.Context, w *writer, block uint64) ([]byte, error) {
	if t.posting != nil && t.block == block {
		return t.posting, nil
	}
	return w.stored(ctx, "posting", place{t.id, block})
}

func (p *partition) writer(ctx context.Context) (*writer, error) {
	if p.write != nil {
		return p.write, nil
	}
	conn, err := p.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	w := &writer{conn: conn, statements: map[string]*sql.Stmt{}, terms: map[query.Term]*term{}, pace: p.pace}
	if err := conn.QueryRowContext(ctx, "SELECT coalesce(max(id), 0) FROM term").Scan(&w.last); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	p.write = w
	return w, nil
}

func (w *writer) close() error {
	var errs []error
	for _, s := range w.statements {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, w.conn.Close())...)
}

func (w *writer) statement(ctx context.Context, text string) (*sql.Stmt, error) {
	if s := w.statements[text]; s != nil {
		return s, nil
	}
	s, err := w.conn.PrepareContext(ctx, text)
	if err == nil {
		w.statements[text] = s
	}
	return s, err
}

func (w *writer) exec(ctx context.Context, text string, args ...any) (sql.Result, error) {
	s, err := w.statement(ctx, text)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	w.pace.rest() // deciding goes first
	return s.ExecContext(unwatched, args...)
}

// unwatched is the context of short statements: to watch one that can end costs a goroutine for each.
var unwatched = context.Background()

func (w *writer) row(ctx context.Context, text string, args []any, into ...any) error {
	s, err := w.statement(ctx, text)
	if err != nil {
		return err
	}
	return s.QueryRowContext(unwatched, args...).Scan(into...)
}

// apply adds a batch in one transaction.
func (p *partition) apply(ctx context.Context, b *batch) error {
	return p.transact(ctx, func(w *writer) error { return p.add(ctx, w, b) })
}

// transact does something in one transaction.
func (p *partition) transact(ctx context.Context, do func(*writer) error) (err error) {
	w, err := p.writer(ctx)
	if err != nil {
		return p.damaged(err)
	}
	defer func() {
		if err != nil { // what it remembers may not be in the file
			err = p.damaged(errors.Join(err, w.close()))
			p.write = nil
		}
	}()
	if _, err := w.exec(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	if err = do(w); err != nil {
		_, rollback := w.exec(context.WithoutCancel(ctx), "ROLLBACK")
		return errors.Join(err, rollback)
	}
	_, err = w.exec(ctx, "COMMIT")
	return err
}

type place struct {
	term  int64
	block uint64
}

func comparePlaces(a, b place) int {
	return cmp.Or(cmp.Compare(a.term, b.term), cmp.Compare(a.block, b.block))
}

func (p *partition) add(ctx context.Context, w *writer, b *batch) error {
	w.fresh = w.last
	if len(w.terms) >= maxTermsKept {
		clear(w.terms)
	}
	numbers := map[place][]numbered{}
	for _, f := range b.decisions {
		w.pace.rest()
		row := f.Index - p.first
		if err := w.put(ctx, row, f.Terms); err != nil {
			return err
		}
		for _, n := range f.Numbers {
			t, err := w.term(ctx, query.Term{Field: numberName, Text: n.Name})
			if err != nil {
				return err
			}
			at := place{t.id, row / blockRows}
			numbers[at] = append(numbers[at], numbered{uint16(row % blockRows), n.Value})
		}
	}
	if err := w.putEvaluations(ctx, b.decisions); err != nil {
		return err
	}
	for _, l := range b.late {
		if err := w.put(ctx, l.decision-p.first, l.terms); err != nil {
			return err
		}
		statement, value := "INSERT OR IGNORE INTO report VALUES (?, ?)", any(int64(l.report))
		if l.asked != nil {
			statement, value = "INSERT OR IGNORE INTO asked VALUES (?, ?)", l.asked.ID
		}
		if _, err := w.exec(ctx, statement, int64(l.decision), value); err != nil {
			return err
		}
	}
	if err := w.putPostings(ctx); err != nil {
		return err
	}
	if err := w.putNumbers(ctx, numbers); err != nil {
		return err
	}
	if err := p.putBlocks(ctx, w, b.decisions); err != nil {
		return err
	}
	for name, value := range map[string]uint64{"next": b.next, "authority": b.authority} {
		if value == 0 {
			continue
		}
		if _, err := w.exec(ctx, "UPDATE meta SET value = ? WHERE name = ?", strconv.FormatUint(value, 10), name); err != nil {
			return err
		}
	}
	return nil
}

// put adds a decision to its terms and to those that stand for all of their types and fields.
func (w *writer) put(ctx context.Context, row uint64, terms []query.Term) error {
	for _, of := range terms {
		t, err := w.term(ctx, of)
		if err != nil {
			return err
		}
		w.addTo(t, uint32(row))
		for _, t := range t.wider {
			if t != nil {
				w.addTo(t, uint32(row))
			}
		}
	}
	return nil
}

func (w *writer) addTo(t *term, row uint32) {
	switch n := len(t.added); {
	case n == 0:
		w.added = append(w.added, t)
	case t.added[n-1] == row:
		return
	}
	t.added = append(t.added, row)
}

// term returns a term with its number, and gives it one if it has none.
func (w *writer) term(ctx context.Context, of query.Term) (*term, error) {
	if t := w.terms[of]; t != nil {
		return t, nil
	}
	res, err := w.exec(ctx, "INSERT OR IGNORE INTO term VALUES (?, ?, ?, ?)", int64(of.Field), of.Text, of.Type, w.last+1)
	if err != nil {
		return nil, err
	}
	t := &term{id: w.last + 1}
	if n, err := res.RowsAffected(); err != nil {
		return nil, err
	} else if n == 1 {
		w.last++
	} else if err := w.row(ctx, "SELECT id FROM term WHERE field = ? AND text = ? AND type = ?", []any{int64(of.Field), of.Text, of.Type}, &t.id); err != nil {
		return nil, err
	}
	of.Text, of.Type = strings.Clone(of.Text), strings.Clone(of.Type) // not the record that they were cut from
	w.terms[of] = t
	if of.Field == numberName {
		return t, nil
	}
	for i, wider := range []query.Term{{Field: of.Field, Type: of.Type}, {Field: of.Field}} {
		if wider == of || i == 0 && of.Type == "" {
			continue
		}
		if t.wider[i], err = w.term(ctx, wider); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// putEvaluations writes by which evaluation ids decisions are found, several in one statement as far as that goes.
func (w *writer) putEvaluations(ctx context.Context, decisions []*query.Facts) error {
	const several = 32
	for len(decisions) > 0 {
		n := 1
		if len(decisions) >= several {
			n = several
		}
		args := make([]any, 0, 2*n)
		for _, f := range decisions[:n] {
			args = append(args, evaluationKey(f.ID), int64(f.Index))
		}
		if _, err := w.exec(ctx, "INSERT OR IGNORE INTO evaluation VALUES (?, ?)"+strings.Repeat(", (?, ?)", n-1), args...); err != nil {
			return err
		}
		decisions = decisions[n:]
	}
	return nil
}

func sortedPlaces[T any](m map[place][]T) []place {
	out := make([]place, 0, len(m))
	for at := range m {
		out = append(out, at)
	}
	slices.SortFunc(out, comparePlaces)
	return out
}

// stored reads what a table has at a place; nil if nothing.
func (w *writer) stored(ctx context.Context, table string, at place) ([]byte, error) {
	if at.term > w.fresh {
		return nil, nil
	}
	var entries []byte
	err := w.row(ctx, "SELECT entries FROM "+table+" WHERE term = ? AND block = ?", []any{at.term, int64(at.block)}, &entries)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return entries, err
}

// putPostings writes what this batch added to terms.
func (w *writer) putPostings(ctx context.Context) error {
	block := newRows(blockRows)
	slices.SortFunc(w.added, func(a, b *term) int { return cmp.Compare(a.id, b.id) })
	for _, t := range w.added {
		slices.Sort(t.added)
		for list := t.added; len(list) > 0; {
			n := uint64(list[0] / blockRows)
			clear(block)
			before, err := t.stored(ctx, w, n)
			if err != nil {
				return err
			}
			if !addPosting(block, before) {
				return errContent
			}
			for len(list) > 0 && uint64(list[0]/blockRows) == n {
				block.set(uint64(list[0] % blockRows))
				list = list[1:]
			}
			t.posting, t.block = encodePosting(block), n
			if _, err := w.exec(ctx, "INSERT OR REPLACE INTO posting VALUES (?, ?, ?)", t.id, int64(n), t.posting); err != nil {
				return err
			}
		}
		t.added = t.added[:0]
	}
	clear(w.added)
	w.added = w.added[:0]
	return nil
}

func (w *writer) putNumbers(ctx context.Context, numbers map[place][]numbered) error {
	for _, at := range sortedPlaces(numbers) {
		before, err := w.stored(ctx, "number", at)
		if err != nil {
			return err
		}
		list := numbers[at]
		if before != nil {
			var all []numbered
			if !decodeNumbers(before, func(row uint64, value int64) { all = append(all, numbered{uint16(row), value}) }) {
				return errContent
			}
			list = append(all, list...)
			slices.SortStableFunc(list, func(a, b numbered) int { return cmp.Or(cmp.Compare(a.row, b.row), cmp.Compare(a.value, b.value)) })
			list = slices.Compact(list)
		}
		if _, err := w.exec(ctx, "INSERT OR REPLACE INTO number VALUES (?, ?, ?)", at.term, int64(at.block), encodeNumbers(list)); err != nil {
			return err
		}
	}
	return nil
}

// putBlocks notes which entries are decisions, and when they were made.
func (p *partition) putBlocks(ctx context.Context, w *writer, decisions []*query.Facts) error {
	for len(decisions) > 0 {
		n := (decisions[0].Index - p.first) / blockRows
		of := 1
		for of < len(decisions) && (decisions[of].Index-p.first)/blockRows == n {
			of++
		}
		block := newRows(blockRows)
		times := map[uint16]int64{}
		var entries, stored []byte
		err := w.row(ctx, "SELECT entries, times FROM block WHERE block = ?", []any{int64(n)}, &entries, &stored)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if !addPosting(block, entries) || !decodeTimes(stored, func(row uint64, at aver.Time) { times[uint16(row)] = int64(at) }) {
			return errContent
		}
		for _, f := range decisions[:of] {
			row := (f.Index - p.first) % blockRows
			block.set(row)
			times[uint16(row)] = int64(f.Time)
		}
		list := make([]numbered, 0, len(times))
		first, last := int64(1<<62), int64(-1<<62)
		block.each(func(row uint64) bool {
			at := times[uint16(row)]
			list = append(list, numbered{uint16(row), at})
			first, last = min(first, at), max(last, at)
			return true
		})
		if _, err := w.exec(ctx, "INSERT OR REPLACE INTO block VALUES (?, ?, ?, ?, ?)", int64(n), first, last, encodePosting(block), encodeTimes(list)); err != nil {
			return err
		}
		decisions = decisions[of:]
	}
	return nil
}

// encodeTimes writes times as numbers, each as the difference to the one before.
func encodeTimes(list []numbered) []byte {
	differences := make([]numbered, len(list))
	var last int64
	for i, n := range list {
		differences[i] = numbered{n.row, n.value - last}
		last = n.value
	}
	return encodeNumbers(differences)
}

func decodeTimes(list []byte, yield func(row uint64, at aver.Time)) bool {
	var at int64
	return decodeNumbers(list, func(row uint64, difference int64) {
		at += difference
		yield(row, aver.Time(at))
	})
}

// evaluationKey is an evaluation id as it is stored: the 16 bytes of the UUID, or
// what is not written as one byte by byte.
func evaluationKey(id string) []byte {
	if key, err := uuid.Parse(id); err == nil && key.String() == id {
		return key[:]
	}
	return []byte(id)
}

// evaluationID writes a stored evaluation id.
func evaluationID(key []byte) string {
	if id, err := uuid.FromBytes(key); err == nil {
		return id.String()
	}
	return string(key)
}
