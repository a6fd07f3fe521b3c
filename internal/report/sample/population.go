// Package sample fixes populations of decisions, proves that they are complete, and draws samples from them that anybody
// can draw again (G2, G4). docs/sampling.md describes every byte.
//
// The order is what makes a sample worth something: first the population is fixed (query, period, signed tree; an event
// of the authority log), then the auditor names a nonce, then the seed follows from both.
package sample

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sort"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/authority"
	"github.com/aver-authz/aver/internal/ledger"
	"github.com/aver-authz/aver/internal/pdp"
	"github.com/aver-authz/aver/internal/query"
)

// Log is the decision log, open for writing or for reading only.
type Log interface {
	Origin() string
	Head() (size uint64, root tlog.Hash)
	Leaf(i uint64) ([]byte, error)
	Entry(i uint64) (ledger.Entry, error)
	Entries(from, to uint64) iter.Seq2[ledger.Indexed, error]
	Hashes(size uint64) (tlog.HashReader, error)
	ConsistencyProof(older, newer uint64) (tlog.TreeProof, error)
}

var (
	_ Log = (*ledger.Log)(nil)
	_ Log = (*ledger.Reader)(nil)
)

const (
	// neighbours is how many leaves on each side of the period a proof shows beside those of the period.
	neighbours = 64
	// reach is how far around the edge of a period, found by halving, leaves with a time on the other side are looked
	// for. Records stand in the order of their times but for those that were decided at the same moment.
	reach = 4096
	// MaxLeaves bounds the leaves of one population, since its proof holds them all.
	MaxLeaves = 1_000_000
	maxGaps   = 1000 // listed
)

// Request is what a population is to be.
type Request struct {
	ID       string
	Query    *query.Query
	From, To aver.Time // [From, To)
	Tree     aver.TreeHead
	Since    *aver.TreeHead // the tree that the auditor had before; nil: none
	Most     uint64         // leaves of the period; 0: [MaxLeaves]
	Progress func(done, total int64)
	// Why says why the payload of an entry is gone; nil: nobody knows more than that it was erased.
	Why func(index uint64) string
}

// Fixed is a population with what proves it.
type Fixed struct {
	aver.Population
	Indexes     []uint64 // of the rows, ascending
	Proof       *RangeProof
	Consistency []tlog.Hash // from Since to Tree
}

// errChanging says that a query can't define a population.
var errChanging = errors.New("what is reported after a decision changes which decisions this query matches (activity, finding, continuity, approval, trace, free text), " +
	"so it can't fix a population; leave those out")

// Fix finds out what a population is, and proves it. It reads the leaves around the edges of the period, then every
// entry of the period once; the index has no part in it.
func Fix(ctx context.Context, log Log, r Request) (*Fixed, error) {
	if !r.Query.Final() {
		return nil, &WishError{errChanging}
	}
	text := r.Query.String()
	f := &Fixed{Population: aver.Population{
		ID: r.ID, Query: text, QueryDigest: aver.Digest([]byte(text)), From: r.From, To: r.To, Log: log.Origin(), Tree: r.Tree, Since: r.Since,
	}}
	if r.To <= r.From {
		return nil, &WishError{errors.New("the period ends before it begins: to must be later than from")}
	}
	var err error
	if f.First, f.End, err = bounds(log, r.Tree.Size, r.From, r.To); err != nil {
		return nil, err
	}
	most := uint64(MaxLeaves)
	if r.Most > 0 {
		most = min(most, r.Most)
	}
	if f.End-f.First > most {
		return nil, &WishError{fmt.Errorf("the period has %d entries, and a population here at most %d: choose a shorter period", f.End-f.First, most)}
	}
	if err := f.scan(ctx, log, r); err != nil {
		return nil, err
	}
	f.Count, f.Rows = uint64(len(f.Indexes)), rowsDigest(f.Indexes)
	begin, end := f.First-min(f.First, neighbours), min(f.End+neighbours, r.Tree.Size)
	if f.Proof, err = prove(log, begin, end, r.Tree.Size); err != nil {
		return nil, err
	}
	if r.Since != nil && r.Since.Size > 0 {
		if f.Consistency, err = log.ConsistencyProof(r.Since.Size, r.Tree.Size); err != nil {
			return nil, fmt.Errorf("the consistency with the earlier checkpoint of %d entries: %w", r.Since.Size, err)
		}
	}
	if err := f.Validate(); err != nil {
		return f, &WishError{err}
	}
	return f, nil
}

// rowsDigest is [aver.Population.Rows].
func rowsDigest(rows []uint64) string {
	var text []byte
	for _, r := range rows {
		text = append(strconv.AppendUint(text, r, 10), '\n')
	}
	return aver.Digest(text)
}

// bounds finds the smallest index with a time from from on, and the one after the largest with a time before to.
func bounds(log Log, size uint64, from, to aver.Time) (first, end uint64, err error) {
	at := func(i uint64) aver.Time {
		text, e := log.Leaf(i)
		if e == nil {
			var leaf aver.Leaf
			if leaf, e = aver.ParseLeaf(text); e == nil {
				return leaf.Time
			}
		}
		err = cmp.Or(err, fmt.Errorf("entry %d: %w", i, e))
		return 0
	}
	edge := func(t aver.Time) uint64 {
		return uint64(sort.Search(int(size), func(i int) bool { return err != nil || at(uint64(i)) >= t }))
	}
	low := edge(from)
	first = low
	for i := low; i > low-min(low, reach) && err == nil; i-- {
		if at(i-1) >= from {
			first = i - 1
		}
	}
	high := edge(to)
	end = high
	for i := high; i < min(high+reach, size) && err == nil; i++ {
		if at(i) < to {
			end = i + 1
		}
	}
	// A leaf of the period that stands among those after it moves the end; one before it, the beginning.
	return first, max(first, end), err
}

// scan asks the query of every entry of the period.
func (f *Fixed) scan(ctx context.Context, log Log, r Request) error {
	numbers := map[[2]string][]uint64{} // by credential and instance
	saw := func(p aver.PEP) {
		if p.Sequence != 0 {
			key := [2]string{p.Credential, p.Instance}
			numbers[key] = append(numbers[key], p.Sequence)
		}
	}
	for e, err := range log.Entries(f.First, f.End) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if r.Progress != nil {
			r.Progress(int64(e.Index-f.First), int64(f.End-f.First))
		}
		leaf, err := aver.ParseLeaf(e.Leaf)
		if err != nil {
			return fmt.Errorf("entry %d: %w", e.Index, err)
		}
		switch {
		case leaf.Time < f.From || leaf.Time >= f.To:
			f.Excluded.Outside++
		case leaf.Kind == aver.KindActivity:
			f.Excluded.Activities++
			if e.Erased {
				break
			}
			a, err := pdp.ParseActivityEntry(e.Entry)
			if err != nil {
				return fmt.Errorf("entry %d: %w", e.Index, err)
			}
			saw(a.PEP)
		case e.Erased:
			f.lack(e.Index, r.Why)
		default:
			record, err := parse(leaf, e)
			if err != nil {
				return err
			}
			saw(record.PEP)
			if r.Query.Match(query.FactsOf(e.Index, record)) {
				f.Indexes = append(f.Indexes, e.Index)
			} else {
				f.Excluded.NotMatching++
			}
		}
	}
	f.Gaps = gapsIn(numbers)
	return nil
}

// parse reads a record and checks that its leaf commits to it.
func parse(leaf aver.Leaf, e ledger.Indexed) (*aver.Record, error) {
	if !leaf.Matches(e.Payload) {
		return nil, fmt.Errorf("entry %d: its leaf does not commit to the payload that lies beside it", e.Index)
	}
	record, err := aver.ParseRecord(e.Payload)
	if err != nil {
		return nil, fmt.Errorf("entry %d: %w", e.Index, err)
	}
	return record, nil
}

// lack notes that a leaf's payload is gone.
func (f *Fixed) lack(index uint64, reason func(uint64) string) {
	why := "erased"
	if reason != nil {
		why = reason(index)
	}
	if n := len(f.Missing); n > 0 && f.Missing[n-1].End == index && f.Missing[n-1].Why == why {
		f.Missing[n-1].End++
		return
	}
	f.Missing = append(f.Missing, aver.MissingRange{First: index, End: index + 1, Why: why})
}

// WhyGone says by the authority's state why payloads are gone: those of a retention class whose period is over expired,
// others were erased for a request.
func WhyGone(st *authority.State) func(index uint64) string {
	return func(index uint64) string {
		if e, ok := st.PayloadErased(index); ok && e.Class != "" {
			return "expired"
		}
		return "erased"
	}
}

// gapsIn lists the numbers that are missing between those that are there.
func gapsIn(numbers map[[2]string][]uint64) (gaps []aver.SequenceGap) {
	for _, key := range slices.SortedFunc(maps.Keys(numbers), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }) {
		seen := numbers[key]
		slices.Sort(seen)
		for i := 1; i < len(seen); i++ {
			if seen[i] > seen[i-1]+1 && len(gaps) < maxGaps {
				gaps = append(gaps, aver.SequenceGap{Credential: key[0], Instance: key[1], First: seen[i-1] + 1, Last: seen[i] - 1})
			}
		}
	}
	return gaps
}
